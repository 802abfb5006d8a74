package proof

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func challenge(seed, holder string, day uint64) Challenge {
	return Challenge{sha256.Sum256([]byte(seed)), sha256.Sum256([]byte(holder)), day}
}

func TestOneOfEachFifthIsAsked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64Range(1, MaxHeld).Draw(t, "leaves")
		if rapid.Bool().Draw(t, "few") {
			n = n%20 + 1
		}
		points := challenge("seed", "bob", rapid.Uint64().Draw(t, "day")).Points(n)
		for i, p := range points {
			low, high := uint64(i)*n/Asked, (uint64(i+1)*n-1)/Asked
			if p < low || p > high || p >= n {
				t.Fatalf("point %d of %d is %d, not within %d and %d", i, n, p, low, high)
			}
		}
	})
	if got := challenge("seed", "bob", 1).Points(0); got != nil {
		t.Errorf("nothing is held, and %v is asked", got)
	}
}

// Whichever leaves carol threw away, one run of them or every tenth, all that lie in one fifth or any, she is found out as often as by five independent draws
// at least, and each leaf is asked for alike.
func TestWhoLostAShareIsFoundOut(t *testing.T) {
	const days, n = 20_000, 103
	for what, lost := range map[string]func(leaf uint64) bool{
		"every tenth":       func(l uint64) bool { return l%10 == 0 },
		"the first tenth":   func(l uint64) bool { return l < n/10 },
		"some in each half": func(l uint64) bool { return l%50 < 5 },
		"one":               func(l uint64) bool { return l == 20 }, // on the border of two fifths
		"the last half":     func(l uint64) bool { return l >= n/2 },
	} {
		share := 0.0
		for l := range uint64(n) {
			if lost(l) {
				share += 1.0 / n
			}
		}
		passed, hits := 0, make([]int, n)
		for day := range uint64(days) {
			points := challenge("seed", "carol", day).Points(n)
			if !slices.ContainsFunc(points, lost) {
				passed++
			}
			for _, p := range points {
				hits[p]++
			}
		}
		got, most := float64(passed)/days, math.Pow(1-share, Asked)
		if slack := 4 * math.Sqrt(most*(1-most)/days); got > most+slack {
			t.Errorf("%s: passes with %.4f, at most %.4f", what, got, most)
		}
		mean, x := float64(days*Asked)/n, 0.0
		for _, h := range hits {
			x += (float64(h) - mean) * (float64(h) - mean) / mean
		}
		if x > 160 { // chi-square, 102 degrees: 2e-4
			t.Errorf("%s: leaves are asked for unevenly: chi-square %.0f", what, x)
		}
	}
}

func TestAPointIsALeafOfAPiece(t *testing.T) {
	p, err := NewPieces([]Piece{{Size: 0}, {Size: 1}, {Size: 3*LeafSize + 1}, {Size: 0}, {Size: LeafSize}, {Size: 0}})
	if err != nil || p.Leaves() != 6 {
		t.Fatal(p.Leaves(), err)
	}
	want := []Place{{1, 0}, {2, 0}, {2, 1}, {2, 2}, {2, 3}, {4, 0}}
	for point, w := range want {
		if got := p.At(uint64(point)); got != w {
			t.Errorf("point %d is %v, want %v", point, got, w)
		}
	}
	none, err := NewPieces(nil)
	if err != nil || none.Leaves() != 0 || challenge("seed", "bob", 1).Places(none) != nil {
		t.Error("who holds nothing is asked for nothing")
	}
	if _, err := NewPieces([]Piece{{Size: MaxSize + 1}}); !errors.Is(err, ErrLarge) {
		t.Errorf("a piece that is too large: %v", err)
	}
	if _, err := NewPieces(slices.Repeat([]Piece{{Size: MaxSize}}, MaxHeld/maxLeaves+1)); err == nil {
		t.Error("more leaves than can be held")
	}
	if _, err := NewPieces(make([]Piece, MaxPieces+1)); err == nil {
		t.Error("more pieces than can be held")
	}
}

// bob holds three pieces and answers for the day.
func bob(t testing.TB, day uint64) (ed25519.PrivateKey, Challenge, Pieces, Answer) {
	t.Helper()
	return bobWith(t, day, data("one", 40*LeafSize), data("two", 100), data("three", SpanSize+5))
}

func bobWith(t testing.TB, day uint64, held ...[]byte) (ed25519.PrivateKey, Challenge, Pieces, Answer) {
	t.Helper()
	secret := sha256.Sum256([]byte("bob"))
	key := ed25519.NewKeyFromSeed(secret[:])
	c := Challenge{sha256.Sum256([]byte("seed")), [32]byte(key.Public().(ed25519.PublicKey)), day}
	var list []Piece
	var outlines []Outline
	for _, b := range held {
		o := outline(t, b)
		outlines, list = append(outlines, o), append(list, o.Piece())
	}
	pieces, err := NewPieces(list)
	if err != nil {
		t.Fatal(err)
	}
	a := Answer{Chain: "hpips-1", Day: day}
	for _, at := range c.Places(pieces) {
		p, err := outlines[at.Piece].Prove(bytes.NewReader(held[at.Piece]), at.Leaf)
		if err != nil {
			t.Fatal(err)
		}
		a.Proofs = append(a.Proofs, p)
	}
	if a, err = a.Sign(key); err != nil {
		t.Fatal(err)
	}
	return key, c, pieces, a
}

func TestAnAnswerIsForOneHolderAndDay(t *testing.T) {
	key, c, pieces, a := bob(t, 7)
	b, err := a.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	read, err := ParseAnswer(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := read.Check("hpips-1", c, pieces); err != nil {
		t.Fatal(err)
	}
	with := func(change func(*Answer)) Answer {
		other, err := ParseAnswer(b)
		if err != nil {
			t.Fatal(err)
		}
		change(&other)
		return other
	}
	signed := func(change func(*Answer)) Answer {
		other, err := with(change).Sign(key)
		if err != nil {
			t.Fatal(err)
		}
		return other
	}
	tomorrow, carol := c, c
	tomorrow.Day++
	carol.Holder[0] ^= 1
	later := c
	later.Seed[0] ^= 1
	fewer, err := NewPieces(pieces.list[:2])
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		what string
		err  error
		want error
	}{
		{"another chain", a.Check("hpips-2", c, pieces), ErrOther},
		{"yesterday's", a.Check("hpips-1", tomorrow, pieces), ErrOther},
		{"another holder's", a.Check("hpips-1", carol, pieces), ErrOther},
		{"yesterday's with today's date", signed(func(a *Answer) { a.Day++ }).Check("hpips-1", tomorrow, pieces), ErrWrong},
		{"another seed", a.Check("hpips-1", later, pieces), ErrWrong},
		{"without a signature", with(func(a *Answer) { a.Signature = nil }).Check("hpips-1", c, pieces), ErrSignature},
		{"another signature", with(func(a *Answer) { a.Signature[0] ^= 1 }).Check("hpips-1", c, pieces), ErrSignature},
		{"a changed leaf", with(func(a *Answer) { a.Proofs[3].Leaf[0] ^= 1 }).Check("hpips-1", c, pieces), ErrSignature},
		{"a changed leaf, signed", signed(func(a *Answer) { a.Proofs[3].Leaf[0] ^= 1 }).Check("hpips-1", c, pieces), ErrWrong},
		{"another order", signed(func(a *Answer) { a.Proofs[0], a.Proofs[4] = a.Proofs[4], a.Proofs[0] }).Check("hpips-1", c, pieces), ErrWrong},
		{"other pieces", a.Check("hpips-1", c, fewer), ErrWrong},
		{"nothing held", a.Check("hpips-1", c, Pieces{}), ErrOther},
		{"too few", with(func(a *Answer) { a.Proofs = a.Proofs[1:] }).Check("hpips-1", c, pieces), ErrMalformed},
	} {
		if !errors.Is(row.err, row.want) {
			t.Errorf("%s: %v, want %v", row.what, row.err, row.want)
		}
	}
}

func FuzzParseAnswer(f *testing.F) {
	_, c, pieces, a := bobWith(f, 7, []byte("a"), []byte("b"), []byte("c"), []byte("d"), data("e", LeafSize+1)) // small, for the fuzzer makes what it finds small first
	b, err := a.Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, got []byte) {
		a, err := ParseAnswer(got)
		if err != nil {
			return
		}
		again, err := a.Bytes()
		if err != nil || !bytes.Equal(again, got) {
			t.Fatalf("%x is read, and written as %x: %v", got, again, err)
		}
		if a.Check("hpips-1", c, pieces) == nil && !bytes.Equal(got, b) {
			t.Fatal("another answer is right")
		}
	})
}

func BenchmarkCheckAnswer(b *testing.B) {
	_, c, pieces, a := bob(b, 7)
	for b.Loop() {
		if err := a.Check("hpips-1", c, pieces); err != nil {
			b.Fatal(err)
		}
	}
}
