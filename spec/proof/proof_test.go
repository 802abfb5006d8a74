package proof

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"testing"

	"pgregory.net/rapid"

	"github.com/hpips/hpips/spec/merkle"
)

// data are size bytes that nobody would guess, the same for the same name.
func data(name string, size int) []byte {
	var b []byte
	for i := uint64(0); len(b) < size; i++ {
		h := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(name), i))
		b = append(b, h[:]...)
	}
	return b[:size]
}

func outline(t testing.TB, b []byte) Outline {
	t.Helper()
	o := NewOutliner()
	if _, err := o.Write(b); err != nil {
		t.Fatal(err)
	}
	return o.Outline()
}

// rows are the hashes of all leaves, made without the builder.
func rows(b []byte) [][32]byte {
	var list [][32]byte
	for ; len(b) > 0; b = b[min(len(b), LeafSize):] {
		list = append(list, sha256.Sum256(append([]byte{0}, b[:min(len(b), LeafSize)]...)))
	}
	return list
}

var sizes = []int{0, 1, LeafSize - 1, LeafSize, LeafSize + 1, 7*LeafSize + 5, SpanSize - 1, SpanSize, SpanSize + 1, 2 * SpanSize, 3*SpanSize + 3*LeafSize + 3, 5*SpanSize - LeafSize}

// Whatever way the bytes come in, and whether spans are kept or not, the piece is that of all leaves at once.
func TestAPieceIsTheTreeOfItsLeaves(t *testing.T) {
	for _, size := range sizes {
		b := data("alice", size)
		want := Piece{merkle.Root(rows(b)), uint64(size)}
		if got := outline(t, b).Piece(); got != want {
			t.Errorf("%d bytes: %x, want %x", size, got.Root, want.Root)
		}
		if want.Leaves() != uint64(len(rows(b))) {
			t.Errorf("%d bytes have %d leaves", size, want.Leaves())
		}
	}
	b := data("alice", 2*SpanSize+12345)
	want := merkle.Root(rows(b))
	rapid.Check(t, func(t *rapid.T) {
		var one Builder
		for rest := b; len(rest) > 0; {
			n := min(len(rest), rapid.IntRange(0, 400_000).Draw(t, "part"))
			if _, err := one.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
			if rapid.IntRange(0, 9).Draw(t, "look") == 0 {
				one.Piece() // looking changes nothing
			}
		}
		if one.Piece() != (Piece{want, uint64(len(b))}) {
			t.Fatal("another piece")
		}
	})
}

// bob shows any leaf from the outline and one span; carol shows others, or changed ones, and is refused.
func TestALeafIsShownFromOneSpan(t *testing.T) {
	for _, size := range sizes {
		b := data("bob", size)
		o := outline(t, b)
		p := o.Piece()
		again, err := ReadOutline(p, o.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		n := p.Leaves()
		for _, place := range []uint64{0, 1, n / 3, n / 2, SpanLeaves - 1, SpanLeaves, n - 2, n - 1} {
			disk := &counted{r: bytes.NewReader(b)}
			shown, err := again.Prove(disk, place)
			if place >= n {
				if !errors.Is(err, ErrPlace) {
					t.Errorf("%d bytes, leaf %d: %v", size, place, err)
				}
				continue
			}
			if err != nil || disk.n > SpanSize {
				t.Fatalf("%d bytes, leaf %d: %v, %d bytes read", size, place, err, disk.n)
			}
			if err := shown.Check(p, place); err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			written, err := shown.Bytes()
			if err != nil || len(written) > MaxProof {
				t.Fatal(err)
			}
			read, err := ParseProof(written)
			if err != nil || read.Check(p, place) != nil {
				t.Fatalf("%d bytes, leaf %d, read again: %v", size, place, err)
			}
			refused(t, p, place, shown)
		}
	}
}

func refused(t *testing.T, p Piece, place uint64, good Proof) {
	t.Helper()
	flip := func(change func(*Proof)) Proof {
		bad := Proof{bytes.Clone(good.Leaf), append([][32]byte(nil), good.Path...)}
		change(&bad)
		return bad
	}
	for what, err := range map[string]error{
		"a changed leaf": flip(func(b *Proof) { b.Leaf[len(b.Leaf)/2] ^= 1 }).Check(p, place),
		"a short leaf":   flip(func(b *Proof) { b.Leaf = b.Leaf[1:] }).Check(p, place),
		"a long leaf":    flip(func(b *Proof) { b.Leaf = append(b.Leaf, 0) }).Check(p, place),
		"a longer path":  flip(func(b *Proof) { b.Path = append(b.Path, [32]byte{}) }).Check(p, place),
		"another piece":  good.Check(Piece{[32]byte{1}, p.Size}, place),
	} {
		if !errors.Is(err, ErrWrong) {
			t.Errorf("%d bytes, leaf %d: %s: %v", p.Size, place, what, err)
		}
	}
	for i := range good.Path {
		if err := flip(func(b *Proof) { b.Path[i][31] ^= 0x80 }).Check(p, place); !errors.Is(err, ErrWrong) {
			t.Errorf("a changed path: %v", err)
		}
	}
	if place == p.Leaves()-1 { // the size shows in the last leaf
		if err := good.Check(Piece{p.Root, p.Size + 1}, place); !errors.Is(err, ErrWrong) {
			t.Errorf("another size: %v", err)
		}
	}
	if n := p.Leaves(); n > 1 {
		if err := good.Check(p, (place+1)%n); !errors.Is(err, ErrWrong) {
			t.Errorf("another place: %v", err)
		}
	}
	if err := good.Check(p, p.Leaves()); !errors.Is(err, ErrPlace) {
		t.Errorf("beyond the end: %v", err)
	}
	if err := good.Check(Piece{p.Root, MaxSize + 1}, place); !errors.Is(err, ErrLarge) {
		t.Errorf("a piece that cannot be: %v", err)
	}
}

type counted struct {
	r io.ReaderAt
	n int
}

func (c *counted) ReadAt(b []byte, off int64) (int, error) {
	c.n += len(b)
	return c.r.ReadAt(b, off)
}

type gone struct{}

func (gone) ReadAt([]byte, int64) (int, error) { return 0, fs.ErrNotExist }

// bob's disk changed one bit, lost its end, or is not plugged in: he learns which before he is asked in vain.
func TestAHolderFindsWhatItsDiskDid(t *testing.T) {
	b := data("bob", 3*SpanSize+17)
	o := outline(t, b)
	rotten := bytes.Clone(b)
	rotten[SpanSize+4711] ^= 4
	if _, err := o.Prove(bytes.NewReader(rotten), 0); err != nil {
		t.Errorf("another span is as it was: %v", err)
	}
	if _, err := o.Prove(bytes.NewReader(rotten), SpanLeaves+700); !errors.Is(err, ErrChanged) {
		t.Errorf("a changed span: %v", err)
	}
	if _, err := o.Prove(bytes.NewReader(b[:len(b)-1]), 3*SpanLeaves); !errors.Is(err, ErrChanged) {
		t.Errorf("a piece that was cut: %v", err)
	}
	if _, err := o.Prove(gone{}, 5); errors.Is(err, ErrChanged) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a disk that is not there: %v", err)
	}
	for what, err := range map[string]error{
		"cut":           second(ReadOutline(o.Piece(), o.Bytes()[32:])),
		"another piece": second(ReadOutline(Piece{[32]byte{1}, o.size}, o.Bytes())),
		"too large":     second(ReadOutline(Piece{o.Piece().Root, MaxSize + 1}, o.Bytes())),
	} {
		if !errors.Is(err, ErrOutline) {
			t.Errorf("an outline that is %s: %v", what, err)
		}
	}
	full := Builder{size: MaxSize}
	if _, err := full.Write([]byte{1}); !errors.Is(err, ErrLarge) {
		t.Errorf("a byte too many: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// large is a piece of 1 GiB as one whose leaves are all the same, so that a test has it at once, and a proof of one of them.
func large(t testing.TB) (Piece, uint64, Proof) {
	t.Helper()
	var span [SpanSize]byte
	h := merkle.Leaf(span[:LeafSize])
	var low merkle.Tree
	leaves := make([][32]byte, SpanLeaves)
	for i := range leaves {
		leaves[i] = h
		low.Push(h)
	}
	o := Outline{size: 1 << 30}
	for range 1 << 10 {
		o.spans = append(o.spans, low.Root())
	}
	const place = 777_777
	shown, err := o.Prove(zeros{}, place)
	if err != nil {
		t.Fatal(err)
	}
	return o.Piece(), place, shown
}

type zeros struct{}

func (zeros) ReadAt(b []byte, _ int64) (int, error) { clear(b); return len(b), nil }

func TestAProofIsSmall(t *testing.T) {
	piece, place, shown := large(t)
	if err := shown.Check(piece, place); err != nil {
		t.Fatal(err)
	}
	b, err := shown.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes at 1 GiB", len(b))
	if len(b) > 1700 {
		t.Errorf("%d bytes at 1 GiB, at most 1700", len(b))
	}
}

func BenchmarkCheck(b *testing.B) {
	piece, place, shown := large(b)
	bytes, err := shown.Bytes()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		p, err := ParseProof(bytes)
		if err == nil {
			err = p.Check(piece, place)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	bytes := data("bench", 8<<20)
	b.SetBytes(int64(len(bytes)))
	for b.Loop() {
		var one Builder
		if _, err := one.Write(bytes); err != nil {
			b.Fatal(err)
		}
		one.Piece()
	}
}

func BenchmarkProve(b *testing.B) {
	o := outline(b, make([]byte, 64<<20))
	for b.Loop() {
		if _, err := o.Prove(zeros{}, 33_333); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzParseProof(f *testing.F) {
	o := outline(f, data("alice", 3*LeafSize))
	p, err := o.Prove(bytes.NewReader(data("alice", 3*LeafSize)), 1)
	if err != nil {
		f.Fatal(err)
	}
	b, err := p.Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseProof(b)
		if err != nil {
			return
		}
		again, err := p.Bytes()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x is read, and written as %x: %v", b, again, err)
		}
		if p.Check(Piece{Size: MaxSize}, MaxSize/LeafSize-1) == nil {
			t.Fatal("a root of zeros has leaves")
		}
	})
}

func FuzzReadOutline(f *testing.F) {
	o := outline(f, data("alice", SpanSize+1))
	f.Add(o.size, o.Bytes())
	f.Fuzz(func(t *testing.T, size uint64, b []byte) {
		var any Outline
		any.size = size
		for rest := b; len(rest) >= 32; rest = rest[32:] {
			any.spans = append(any.spans, [32]byte(rest))
		}
		o, err := ReadOutline(Piece{merkle.Root(any.spans), size}, b)
		if err == nil && !bytes.Equal(o.Bytes(), b) {
			t.Fatal("read, and written otherwise")
		}
	})
}
