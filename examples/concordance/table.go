package main

import (
	"go/token"
	"io"
	"slices"
	"strconv"
)

// FNV-1a, 32 bits: http://www.isthe.com/chongo/tech/comp/fnv/
const (
	hashSeed  = 2166136261
	hashPrime = 16777619
)

func hashOf(name []byte) uint32 {
	h := uint32(hashSeed)
	for _, b := range name {
		h = (h ^ uint32(b)) * hashPrime
	}
	return h
}

// table counts names. It is an open-addressing hash table over one list of entries: a program in a WASM sandbox pays
// much for a call, and the built-in map makes several for each word.
type table struct {
	slots   []uint32 // place in entries plus one; 0 is free; the length is a power of two
	entries []entry
	file    uint32 // number of the file at hand, from 1
}

type entry struct {
	name  string
	count uint64
	files uint64
	hash  uint32
	last  uint32 // the last file that the name was seen in
}

func newTable() *table { return &table{slots: make([]uint32, 1<<14)} }

// nextFile says that what is added from now on stands in another file.
func (t *table) nextFile() { t.file++ }

// add counts name n times in the file at hand.
func (t *table) add(name []byte, hash uint32, n uint64) {
	e := t.find(name, hash)
	e.count += n
	if e.last != t.file {
		e.last = t.file
		e.files++
	}
}

// find gives the entry of name, a new one where there is none yet. It stays valid until the next find.
func (t *table) find(name []byte, hash uint32) *entry {
	mask := uint32(len(t.slots) - 1)
	at := hash & mask
	for ; t.slots[at] != 0; at = (at + 1) & mask {
		if e := &t.entries[t.slots[at]-1]; e.hash == hash && e.name == string(name) {
			return e
		}
	}
	t.entries = append(t.entries, entry{name: string(name), hash: hash})
	t.slots[at] = uint32(len(t.entries))
	if 2*len(t.entries) > len(t.slots) {
		t.grow()
	}
	return &t.entries[len(t.entries)-1]
}

func (t *table) grow() {
	t.slots = make([]uint32, 2*len(t.slots))
	mask := uint32(len(t.slots) - 1)
	for i := range t.entries {
		at := t.entries[i].hash & mask
		for t.slots[at] != 0 {
			at = (at + 1) & mask
		}
		t.slots[at] = uint32(i + 1)
	}
}

// write gives one line for each identifier, "identifier\tcount\tfiles", in the order of the identifiers' bytes.
func (t *table) write(out io.Writer) error {
	return writeLines(out, t.sorted(func(a, b entry) int { return compare(a.name, b.name) }))
}

// writeTop gives the n most frequent identifiers, those of equal count in the order of their bytes.
func (t *table) writeTop(out io.Writer, n int) error {
	list := t.sorted(func(a, b entry) int {
		if a.count != b.count {
			if a.count > b.count {
				return -1
			}
			return 1
		}
		return compare(a.name, b.name)
	})
	return writeLines(out, list[:min(n, len(list))])
}

func (t *table) sorted(order func(a, b entry) int) []entry {
	list := slices.DeleteFunc(slices.Clone(t.entries), func(e entry) bool { return token.IsKeyword(e.name) })
	slices.SortFunc(list, order)
	return list
}

func compare(a, b string) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

func writeLines(out io.Writer, list []entry) error {
	var line []byte
	for _, e := range list {
		line = append(append(line[:0], e.name...), '\t')
		line = append(strconv.AppendUint(line, e.count, 10), '\t')
		line = append(strconv.AppendUint(line, e.files, 10), '\n')
		if _, err := out.Write(line); err != nil {
			return err
		}
	}
	return nil
}
