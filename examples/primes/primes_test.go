package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"
)

// The counts of primes below powers of ten: OEIS A006880.
func TestKnownCounts(t *testing.T) {
	for _, row := range []struct{ limit, want uint64 }{
		{0, 0}, {2, 0}, {3, 1}, {4, 2}, {5, 2}, {6, 3}, {9, 4}, {10, 4}, {26, 9}, {100, 25}, {1000, 168},
		{1e4, 1229}, {1e5, 9592}, {1e6, 78498}, {1e7, 664579},
	} {
		if got := countPrimes(0, row.limit); got != row.want {
			t.Errorf("below %d: %d primes, want %d", row.limit, got, row.want)
		}
	}
	if got := countPrimes(1e12, 1e12+1e5); got != 3614 {
		t.Errorf("1e5 numbers from 1e12 on: %d primes, want 3614", got)
	}
}

// Alice hands the range out in parts, bob and carol count them, and the reduce must say what one machine says.
func TestPartsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Uint64Range(0, 50_000).Draw(t, "limit")
		count := rapid.IntRange(1, 12).Draw(t, "count")
		parts := fstest.MapFS{}
		for i := range count {
			var out bytes.Buffer
			env := map[string]string{"HPIPS_INDEX": strconv.Itoa(i), "HPIPS_COUNT": strconv.Itoa(count)}
			if err := run([]string{fmt.Sprint(limit)}, func(k string) string { return env[k] }, &out); err != nil {
				t.Fatal(err)
			}
			parts["part/"+strconv.Itoa(i)] = &fstest.MapFile{Data: out.Bytes()}
		}
		got, err := reduce(parts, "/in")
		if want := countPrimes(0, limit); err != nil || got != want {
			t.Fatalf("%d parts of %d: %d primes, error %v, want %d", count, limit, got, err, want)
		}
	})
}

func TestBadInputIsNamed(t *testing.T) {
	for _, row := range []struct {
		args  []string
		index string
		count string
		want  string
	}{
		{nil, "", "", "one argument"},
		{[]string{"many"}, "", "", `LIMIT "many"`},
		{[]string{"-5"}, "", "", `LIMIT "-5"`},
		{[]string{"1125899906842625"}, "", "", "LIMIT"},
		{[]string{"10"}, "0", "none", "HPIPS_COUNT"},
		{[]string{"10"}, "3", "3", "reduce /in"},
		{[]string{"10"}, "x", "3", "HPIPS_INDEX"},
		{[]string{"reduce", "/nowhere"}, "", "", "nowhere"},
	} {
		env := map[string]string{"HPIPS_INDEX": row.index, "HPIPS_COUNT": row.count}
		err := run(row.args, func(k string) string { return env[k] }, &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%v: error %v, want one that names %s", row.args, err, row.want)
		}
	}
	for _, text := range []string{"", "12 13", "-1", "x"} {
		if _, err := reduce(fstest.MapFS{"part/7": {Data: []byte(text)}}, "/in"); err == nil || !strings.Contains(err.Error(), "/in/part/7") {
			t.Errorf("%q: error %v, want one that names the part", text, err)
		}
	}
}
