package job

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes. It reads "64MiB", "1GB", "512" and prints the largest binary unit that divides it.
type Size int64

type unit struct {
	name  string
	bytes int64
}

// sizeUnits lists suffixes, longest first so that "MiB" is not read as "B". K, M, G, T alone are binary, as in docker and Slurm.
func sizeUnits() []unit {
	return []unit{
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
		{"KB", 1e3}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
		{"K", 1 << 10}, {"k", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"T", 1 << 40}, {"B", 1},
	}
}

// ParseSize reads a size; a bare number is bytes.
func ParseSize(s string) (Size, error) {
	text, factor := strings.TrimSpace(s), int64(1)
	for _, u := range sizeUnits() {
		if rest, ok := strings.CutSuffix(text, u.name); ok {
			text, factor = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n < 0 || math.IsNaN(n) || n*float64(factor) > math.MaxInt64/2 {
		return 0, fmt.Errorf("size %q: want a number with a unit, such as 64MiB", s)
	}
	return Size(n * float64(factor)), nil
}

func (s Size) String() string {
	for _, u := range []unit{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalJSON writes the text form.
func (s Size) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// UnmarshalJSON reads the text form or a number of bytes.
func (s *Size) UnmarshalJSON(b []byte) error {
	v, err := ParseSize(strings.Trim(string(b), `"`))
	*s = v
	return err
}

// Duration is a span of time. It reads "90s", "2h" and bare seconds.
type Duration time.Duration

// ParseDuration reads a duration; a bare number is seconds.
func ParseDuration(s string) (Duration, error) {
	if n, err := strconv.ParseFloat(s, 64); err == nil && n >= 0 && n < 1e9 {
		return Duration(n * float64(time.Second)), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("duration %q: want a number with a unit, such as 30s, 10m or 2h", s)
	}
	return Duration(d), nil
}

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON writes the text form.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads the text form or a number of seconds.
func (d *Duration) UnmarshalJSON(b []byte) error {
	v, err := ParseDuration(strings.Trim(string(b), `"`))
	*d = v
	return err
}

// Axis is one named list of values of a matrix.
type Axis struct {
	Name   string   `cbor:"name"`
	Values []string `cbor:"values"`
}

// OrderedMap is a matrix: its axes sorted by name, so that a task's index means the same combination everywhere; the last axis turns fastest.
type OrderedMap []Axis

// MarshalJSON writes {"name": ["value", …]}; an axis without values is [], for null would be read as a value of that name.
func (m OrderedMap) MarshalJSON() ([]byte, error) {
	o := make(map[string][]string, len(m))
	for _, a := range m {
		o[a.Name] = append([]string{}, a.Values...)
	}
	return json.Marshal(o)
}
