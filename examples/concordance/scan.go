package main

import (
	"unicode"
	"unicode/utf8"
)

// Classes of bytes that the scanner tells apart.
const (
	other = iota
	letter
	digit
	wide   // first byte of a rune past ASCII
	opener // may open a comment, string, rune or fraction
)

var class = func() (c [256]byte) {
	for b := range 256 {
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', b == '_':
			c[b] = letter
		case '0' <= b && b <= '9':
			c[b] = digit
		case b >= utf8.RuneSelf:
			c[b] = wide
		case b == '"', b == '\'', b == '`', b == '/', b == '.':
			c[b] = opener
		}
	}
	return c
}()

// scan finds the same identifiers as go/scanner, keywords included, and hands each to t. It goes over the bytes once:
//
//  1. a letter opens an identifier, which runs over letters and digits and is hashed on the way;
//  2. a digit, or a dot before a digit, opens a number, whose letters are no identifiers (0xFF, 1e9, 2i);
//  3. quotes and comments are skipped; broken ones end where go/scanner ends them;
//  4. all else stands for itself.
//
// Any bytes are good input. A file in UTF-16, known by its first two bytes, holds nothing for go/scanner either.
func scan(src []byte, t *table) {
	if len(src) > 1 && (src[0] == 0xFE && src[1] == 0xFF || src[0] == 0xFF && src[1] == 0xFE) {
		return
	}
	for i := 0; i < len(src); {
		b := src[i]
		switch class[b] {
		case letter:
			start, hash := i, uint32(hashSeed)
			for i < len(src) && (class[src[i]] == letter || class[src[i]] == digit) {
				hash = (hash ^ uint32(src[i])) * hashPrime
				i++
			}
			if i < len(src) && class[src[i]] == wide {
				i = wideIdent(src, i)
				hash = hashOf(src[start:i])
			}
			t.add(src[start:i], hash, 1)
		case digit:
			i = number(src, i)
		case wide:
			end := wideStart(src, i)
			if end > i {
				t.add(src[i:end], hashOf(src[i:end]), 1)
				i = end
				continue
			}
			_, n := utf8.DecodeRune(src[i:])
			i += n
		case opener:
			i = skip(src, i)
		default:
			i++
		}
	}
}

// wideStart gives the end of an identifier that opens at i with a rune past ASCII, or i where none does.
func wideStart(src []byte, i int) int {
	if r, n := utf8.DecodeRune(src[i:]); unicode.IsLetter(r) {
		return wideIdent(src, i+n)
	}
	return i
}

// wideIdent gives the end of an identifier that is under way at i.
func wideIdent(src []byte, i int) int {
	for i < len(src) {
		r, n := utf8.DecodeRune(src[i:])
		if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			break
		}
		i += n
	}
	return i
}

// skip passes what opens at i: a comment, a quoted text, a fraction, or the lone byte.
func skip(src []byte, i int) int {
	next := byte(0)
	if i+1 < len(src) {
		next = src[i+1]
	}
	switch src[i] {
	case '"', '\'':
		return quoted(src, i+1, src[i])
	case '`':
		return past(src, i+1, '`')
	case '/':
		if next == '/' {
			return past(src, i+2, '\n')
		}
		if next == '*' {
			return blockComment(src, i+2)
		}
	case '.':
		if class[next] == digit {
			return number(src, i)
		}
		if next == '.' && i+2 < len(src) && src[i+2] == '.' {
			return i + 3
		}
	}
	return i + 1
}

// past gives the place after the next end byte, or the end of src.
func past(src []byte, i int, end byte) int {
	for i < len(src) {
		i++
		if src[i-1] == end {
			break
		}
	}
	return i
}

func blockComment(src []byte, i int) int {
	for i+1 < len(src) {
		if src[i] == '*' && src[i+1] == '/' {
			return i + 2
		}
		i++
	}
	return len(src)
}

// quoted passes a string or a rune up to its quote; a newline ends a broken one.
func quoted(src []byte, i int, quote byte) int {
	for i < len(src) && src[i] != '\n' {
		b := src[i]
		i++
		if b == quote {
			return i
		}
		if b == '\\' && i < len(src) && (src[i] == quote || src[i] == '\\') {
			i++
		}
	}
	return i
}

// number passes an integer, floating-point or imaginary literal by the rules of go/scanner.
func number(src []byte, i int) int {
	at := func() byte {
		if i < len(src) {
			return src[i]
		}
		return 0
	}
	hex := false
	digits := func(hex bool) {
		for c := at(); class[c] == digit || c == '_' || hex && 'a' <= c|0x20 && c|0x20 <= 'f'; c = at() {
			i++
		}
	}
	if at() != '.' {
		if at() == '0' {
			i++
			switch at() | 0x20 {
			case 'x':
				i, hex = i+1, true
			case 'o', 'b':
				i++
			}
		}
		digits(hex)
	}
	if at() == '.' {
		i++
		digits(hex)
	}
	if e := at() | 0x20; e == 'e' || e == 'p' {
		i++
		if at() == '+' || at() == '-' {
			i++
		}
		digits(false)
	}
	if at() == 'i' {
		i++
	}
	return i
}
