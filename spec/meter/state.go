package meter

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

const (
	statePrefix = "hpips/state/v1\x00"
	statePage   = 64 << 10 // bytes that are left out together where all of them are zero
	noMorePages = ^uint64(0)
)

// State is what a metered program has come to where its host looks at it: at the end of an execution whose limit of work is the point that was asked for.
// Past it the program was stopped where the metering looks, so that the place is the same on every machine; else it has ended by itself before. What the host
// cannot see, locals and operands, shows in what comes of it.
type State struct {
	Passed  bool   // more was charged than the point
	Count   uint64 // charged so far
	Memory  []byte // the whole memory; nil where there is none
	Globals []Global
}

// Global is the value of a global: its type as the binary format writes it (core spec 5.3) and its bits, as many as the type has. Of a vector they are the low
// half; of a reference it is told only whether there is one.
type Global struct {
	Type byte
	Bits uint64
}

// Sum is the SHA-256 over all of it, as the README writes it down. Pages of zeros cost a look and no more.
func (s State) Sum() [32]byte {
	h := sha256.New()
	head := append([]byte(statePrefix), 0)
	if s.Passed {
		head[len(head)-1] = 1
	}
	head = binary.BigEndian.AppendUint64(head, s.Count)
	h.Write(binary.BigEndian.AppendUint64(head, uint64(len(s.Memory))))
	sumPages(h, s.Memory)
	tail := binary.BigEndian.AppendUint64(nil, uint64(len(s.Globals)))
	for _, g := range s.Globals {
		tail = binary.BigEndian.AppendUint64(append(tail, g.Type), g.canonical())
	}
	h.Write(tail)
	return [32]byte(h.Sum(nil))
}

// sumPages writes each page that holds anything, after its index.
func sumPages(h hash.Hash, memory []byte) {
	var zeros [statePage]byte
	for at := 0; at < len(memory); at += statePage {
		page := memory[at:min(at+statePage, len(memory))]
		if bytes.Equal(page, zeros[:len(page)]) {
			continue
		}
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(at/statePage)))
		h.Write(page)
	}
	h.Write(binary.BigEndian.AppendUint64(nil, noMorePages))
}

// canonical leaves the bits that a type has.
func (g Global) canonical() uint64 {
	switch t := valueType(g.Type); {
	case t == i32 || t == f32:
		return uint64(uint32(g.Bits))
	case t.reference() && g.Bits != 0:
		return 1
	}
	return g.Bits
}
