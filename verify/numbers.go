package verify

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/hpips/hpips/spec/job"
)

// number is a word that may be a 64-bit float; one beyond them is none.
type number struct {
	float float64
	ok    bool
}

func parseNumber(word string) number {
	f, err := strconv.ParseFloat(word, 64)
	return number{f, err == nil}
}

// numbers compares texts whose numbers may be a little apart.
type numbers struct {
	general tolerance
	fields  map[string]tolerance // by column, from "1", or JSON pointer
}

func newNumbers(v job.Verify) numbers {
	n := numbers{general: newTolerance(job.Tolerance{Absolute: v.Absolute, Relative: v.Relative, ULP: v.ULP}), fields: map[string]tolerance{}}
	for name, t := range v.Fields {
		n.fields[name] = newTolerance(t)
	}
	return n
}

func (n numbers) of(field string) tolerance {
	if t, ok := n.fields[field]; ok {
		return t
	}
	return n.general
}

// same compares JSON values where both texts look like them and can be read, else lines of columns.
func (n numbers) same(a, b []byte) bool {
	if looksJSON(a) && looksJSON(b) {
		x, errA := parseJSON(a)
		y, errB := parseJSON(b)
		if errA == nil && errB == nil {
			return slices.EqualFunc(x, y, func(v, w value) bool { return n.alike(v, w, "") })
		}
	}
	return n.lines(string(a), string(b))
}

func looksJSON(text []byte) bool {
	text = bytes.TrimLeft(text, " \t\r\n")
	return len(text) > 0 && (text[0] == '{' || text[0] == '[')
}

// alike compares two JSON values at a JSON pointer (RFC 6901).
func (n numbers) alike(v, w value, at string) bool {
	if v.kind != w.kind {
		return false
	}
	if v.kind == '0' {
		if v.num.ok && w.num.ok {
			return n.of(at).near(v.num.float, w.num.float)
		}
		return v.text == w.text
	}
	if v.text != w.text || len(v.kids) != len(w.kids) || !slices.Equal(v.keys, w.keys) {
		return false
	}
	for i := range v.kids {
		below := ""
		if len(n.fields) > 0 {
			below = at + "/" + step(v, i)
		}
		if !n.alike(v.kids[i], w.kids[i], below) {
			return false
		}
	}
	return true
}

// step is the last part of the JSON pointer to a value's i-th kid.
func step(v value, i int) string {
	if v.kind == '[' {
		return strconv.Itoa(i)
	}
	return strings.ReplaceAll(strings.ReplaceAll(v.keys[i], "~", "~0"), "/", "~1")
}

// lines compares two texts line by line; blank ends do not count.
func (n numbers) lines(a, b string) bool {
	a, b = strings.TrimRight(a, " \t\r\n"), strings.TrimRight(b, " \t\r\n")
	for more := true; more; {
		var x, y string
		var moreA, moreB bool
		x, a, moreA = strings.Cut(a, "\n")
		y, b, moreB = strings.Cut(b, "\n")
		if moreA != moreB || !n.columns(columns(x), columns(y)) {
			return false
		}
		more = moreA
	}
	return true
}

// columns cuts a line at commas and blanks; nothing between two commas is a column too.
func columns(line string) []string {
	if !strings.Contains(line, ",") {
		return strings.Fields(line)
	}
	var all []string
	for _, part := range strings.Split(line, ",") {
		words := strings.Fields(part)
		if len(words) == 0 {
			words = []string{""}
		}
		all = append(all, words...)
	}
	return all
}

func (n numbers) columns(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] == b[i] {
			continue
		}
		x, y := parseNumber(a[i]), parseNumber(b[i])
		if !x.ok || !y.ok || !n.of(strconv.Itoa(i+1)).near(x.float, y.float) {
			return false
		}
	}
	return true
}
