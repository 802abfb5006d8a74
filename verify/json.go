package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deep a JSON value may be nested.
const maxDepth = 256

// value is a JSON value. Its kind is '{', '[', '"', '0' (a number) or 'w' (true, false, null).
type value struct {
	kind byte
	text string // of a string, a word, or a number in its one form
	num  number
	keys []string // of an object, sorted
	kids []value  // of an object in the order of keys, or of a list
}

// sameJSON reports whether two texts hold the same JSON values in the same order.
func sameJSON(a, b []byte) bool {
	x, err := parseJSON(a)
	if err != nil {
		return false
	}
	y, err := parseJSON(b)
	return err == nil && slices.EqualFunc(x, y, value.equal)
}

func (v value) equal(w value) bool {
	return v.kind == w.kind && v.text == w.text && slices.Equal(v.keys, w.keys) && slices.EqualFunc(v.kids, w.kids, value.equal)
}

// parseJSON reads one JSON value after the other (RFC 8259). A name that stands twice in an object, a text that is no UTF-8, half a surrogate pair and
// a number whose exponent has more than 15 digits are refused: readers disagree about them.
func parseJSON(text []byte) ([]value, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("json: it is no UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var all []value
	for {
		token, err := dec.Token()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("json: %w", err)
		}
		v, err := readValue(dec, token, 1)
		if err != nil {
			return nil, fmt.Errorf("json: %w", err)
		}
		all = append(all, v)
	}
}

func readValue(dec *json.Decoder, token json.Token, depth int) (value, error) {
	if depth > maxDepth {
		return value{}, errors.New("it is nested too deep")
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '{' {
			return readObject(dec, depth)
		}
		return readList(dec, depth)
	case json.Number:
		text, err := canonicalNumber(t.String())
		return value{kind: '0', text: text, num: parseNumber(t.String())}, err
	case string:
		if strings.ContainsRune(t, utf8.RuneError) {
			return value{}, errors.New("a text holds what is no character")
		}
		return value{kind: '"', text: t}, nil
	}
	return value{kind: 'w', text: fmt.Sprint(token)}, nil
}

func readList(dec *json.Decoder, depth int) (value, error) {
	v := value{kind: '['}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return v, err
		}
		kid, err := readValue(dec, token, depth+1)
		if err != nil {
			return v, err
		}
		v.kids = append(v.kids, kid)
	}
	_, err := dec.Token() // the bracket
	return v, err
}

func readObject(dec *json.Decoder, depth int) (value, error) {
	type member struct {
		name string
		value
	}
	var members []member
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return value{}, err
		}
		key, err := readValue(dec, name, depth+1)
		if err != nil {
			return value{}, err
		}
		token, err := dec.Token()
		if err != nil {
			return value{}, err
		}
		kid, err := readValue(dec, token, depth+1)
		if err != nil {
			return value{}, err
		}
		members = append(members, member{key.text, kid})
	}
	if _, err := dec.Token(); err != nil { // the brace
		return value{}, err
	}
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	v := value{kind: '{'}
	for i, m := range members {
		if i > 0 && m.name == members[i-1].name {
			return v, fmt.Errorf("%q stands twice in an object", m.name)
		}
		v.keys, v.kids = append(v.keys, m.name), append(v.kids, m.value)
	}
	return v, nil
}

// maxExponent is the largest exponent that a number may have before it is no number here.
const maxExponent = 1_000_000_000_000_000

// canonicalNumber is the one form of a JSON number's value: a sign, digits that neither begin nor end with 0, and a power of ten; "0" is zero of
// either sign.
func canonicalNumber(text string) (string, error) {
	sign := ""
	if rest, ok := strings.CutPrefix(text, "-"); ok {
		sign, text = "-", rest
	}
	exponent := int64(0)
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		n, err := strconv.ParseInt(strings.TrimPrefix(text[i+1:], "+"), 10, 64)
		if err != nil || n > maxExponent || n < -maxExponent {
			return "", fmt.Errorf("the exponent of %.40q is too large", text)
		}
		text, exponent = text[:i], n
	}
	whole, part, _ := strings.Cut(text, ".")
	digits := strings.TrimLeft(whole+part, "0")
	exponent -= int64(len(part))
	short := strings.TrimRight(digits, "0")
	if short == "" {
		return "0", nil
	}
	exponent += int64(len(digits) - len(short))
	return sign + short + "e" + strconv.FormatInt(exponent, 10), nil
}
