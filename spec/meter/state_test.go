package meter_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"pgregory.net/rapid"

	"github.com/hpips/hpips/spec/meter"
)

const statesFile = "testdata/states.json"

// stateVector is a state in words: of its memory each run of bytes that are not zero.
type stateVector struct {
	Name    string  `json:"name"`
	Passed  bool    `json:"passed"`
	Count   uint64  `json:"count"`
	Memory  int     `json:"memory"`
	Bytes   []bits  `json:"bytes,omitempty"`
	Globals []value `json:"globals,omitempty"`
	Sum     string  `json:"sum"`
}

type bits struct {
	At  int    `json:"at"`
	Hex string `json:"hex"`
}

type value struct {
	Type byte   `json:"type"`
	Bits uint64 `json:"bits"`
}

func (v stateVector) state(t *testing.T) meter.State {
	s := meter.State{Passed: v.Passed, Count: v.Count, Memory: make([]byte, v.Memory)}
	for _, r := range v.Bytes {
		b, err := hex.DecodeString(r.Hex)
		if err != nil {
			t.Fatal(err)
		}
		copy(s.Memory[r.At:], b)
	}
	for _, g := range v.Globals {
		s.Globals = append(s.Globals, meter.Global(g))
	}
	return s
}

// TestStateVectors holds the bytes that every machine must hash.
func TestStateVectors(t *testing.T) {
	b, err := os.ReadFile(statesFile)
	if err != nil {
		t.Fatal(err)
	}
	var all []stateVector
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for i := range all {
		v := &all[i]
		sum := v.state(t).Sum()
		got := hex.EncodeToString(sum[:])
		if *anew {
			v.Sum = got
		} else if got != v.Sum {
			t.Errorf("%s: %s, want %s", v.Name, got, v.Sum)
		}
		if other, twice := seen[got]; twice {
			t.Errorf("%s and %s are the same", v.Name, other)
		}
		seen[got] = v.Name
	}
	if *anew {
		out, err := json.MarshalIndent(all, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(statesFile, append(out, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever differs between two states shows in their sums, and what an engine keeps beyond a value's bits does not.
func TestNoTwoStatesAreOne(t *testing.T) {
	types := []byte{0x7f, 0x7e, 0x7d, 0x7c, 0x7b, 0x70, 0x6f}
	draw := func(t *rapid.T, name string) meter.State {
		s := meter.State{Passed: rapid.Bool().Draw(t, name+" passed"), Count: uint64(rapid.IntRange(0, 2).Draw(t, name+" count"))}
		for range rapid.IntRange(0, 3).Draw(t, name+" pages") {
			s.Memory = append(s.Memory, bytes.Repeat([]byte{byte(rapid.IntRange(0, 1).Draw(t, "page"))}, 64<<10)...)
		}
		for range rapid.IntRange(0, 3).Draw(t, name+" globals") {
			s.Globals = append(s.Globals, meter.Global{Type: rapid.SampledFrom(types[:5]).Draw(t, "type"), Bits: uint64(rapid.IntRange(0, 2).Draw(t, "bits"))})
		}
		return s
	}
	same := func(a, b meter.State) bool {
		if a.Passed != b.Passed || a.Count != b.Count || !bytes.Equal(a.Memory, b.Memory) || len(a.Globals) != len(b.Globals) {
			return false
		}
		for i := range a.Globals {
			if a.Globals[i] != b.Globals[i] {
				return false
			}
		}
		return true
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw(t, "alice's"), draw(t, "bob's")
		if (a.Sum() == b.Sum()) != same(a, b) {
			t.Fatalf("alike: %t, %+v", same(a, b), [2]meter.State{{Passed: a.Passed, Count: a.Count, Globals: a.Globals}, {Passed: b.Passed, Count: b.Count, Globals: b.Globals}})
		}
	})
	for of, row := range map[byte]struct {
		a, b uint64
		same bool
	}{0x7f: {5, 1<<40 | 5, true}, 0x7d: {5, 1<<40 | 5, true}, 0x7e: {5, 1<<40 | 5, false}, 0x70: {4096, 8192, true}, 0x6f: {0, 8192, false}} {
		a, b := meter.State{Globals: []meter.Global{{of, row.a}}}, meter.State{Globals: []meter.Global{{of, row.b}}}
		if (a.Sum() == b.Sum()) != row.same {
			t.Errorf("type %x: %d and %d", of, row.a, row.b)
		}
	}
}
