package lease

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
)

const statementPrefix = "hpips/statement/v1\x00"

// MaxStatement is the limit of one statement that is read from outside, in bytes.
const MaxStatement = 1 << 20

// ErrLive is returned for tasks whose input is not kept: nobody can run them again.
var ErrLive = errors.New("statement: standard input came live, and is not kept")

// Statement is all that decides what comes of a task, wherever it runs: the program, its inputs and limits, and the task itself. Both sides of a lease
// have it, and whoever is asked to run the task again gets it.
type Statement struct {
	Work Work     `cbor:"work"`
	Task job.Task `cbor:"task"`
}

// Statement is what both sides know of a task under w. Limits by the clock, prices and streaming decide nothing of what comes of it, and are left out.
func (w Work) Statement(t job.Task) (Statement, error) {
	if w.Live {
		return Statement{}, ErrLive
	}
	w.Stream = false
	w.Limits = job.Limits{Output: w.Limits.Output, Work: w.Limits.Work}
	w.Resources = job.Resources{Memory: w.Resources.Memory, Disk: w.Resources.Disk}
	return Statement{w, t}, nil
}

// Digest binds the statement; it is what a leaf of spec/trust holds. The shared part is hashed by itself, so that Digests does it once.
func (s Statement) Digest() [32]byte { return digest(sha256.Sum256(canon.MustEncode(s.Work)), s.Task) }

func digest(work [32]byte, t job.Task) [32]byte {
	var room [128]byte
	b := append(append(room[:0], statementPrefix...), work[:]...)
	if len(t.Env) > 0 || t.Path != "" || t.Input != nil {
		b = append(b, canon.MustEncode(t)...)
	} else { // as canon writes it: one is made for each tiny task, on both sides
		b = appendUint(append(b, 0xa1, 0x61, 'i'), t.Index)
	}
	return sha256.Sum256(b)
}

// appendUint is a whole number in canonical CBOR.
func appendUint(b []byte, u uint64) []byte {
	switch {
	case u < 24:
		return append(b, byte(u))
	case u < 1<<8:
		return append(b, 24, byte(u))
	case u < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 25), uint16(u))
	case u < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, 26), uint32(u))
	}
	return binary.BigEndian.AppendUint64(append(b, 27), u)
}

// Digests gives the digest of the statement of each task under one Work.
func (w Work) Digests() (func(job.Task) [32]byte, error) {
	s, err := w.Statement(job.Task{})
	if err != nil {
		return nil, err
	}
	work := sha256.Sum256(canon.MustEncode(s.Work))
	return func(t job.Task) [32]byte { return digest(work, t) }, nil
}

// ReadStatement reads a statement strictly.
func ReadStatement(b []byte) (Statement, error) {
	var s Statement
	if err := canon.Decode(b, MaxStatement, &s); err != nil {
		return Statement{}, err
	}
	if s.Work.Live || s.Work.Module == "" {
		return Statement{}, errors.New("statement: it names no program, or its input came live")
	}
	return s, nil
}
