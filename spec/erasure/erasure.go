// Package erasure keeps in how many pieces an object of a user is held, and how many of them give it back: copies, or a Reed–Solomon code.
// It promises the same choice on every machine from the same three numbers, and that a scheme which comes from outside is checked before it is used.
// It leaves the coding itself to store/replica, who holds a piece to spec/placement, and what a deal says of it to the chain.
package erasure

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The limits of a scheme, and the numbers of the default.
const (
	MaxPieces   = 255     // of a scheme: the code is over the field of 256 elements
	SmallObject = 1 << 20 // bytes from which an object is coded by default: one leaf of the profile unixfs-v1-2025
	FewHolders  = 30      // eligible holders from which it is
	FewNodes    = 200     // nodes of the network from which the code is of 60 pieces
	Copies      = 6       // at most, where it is not coded
)

// Scheme says of how many pieces any Need give an object back. Where that is one, the pieces are alike: copies. The zero Scheme is none.
type Scheme struct {
	Need   int // k
	Pieces int // n, one for each holder
}

// The two codes of the default.
var (
	Large = Scheme{20, 60}
	Small = Scheme{10, 30}
)

// ErrScheme is why a scheme cannot be.
var ErrScheme = errors.New("no such scheme")

// Default is how an object is held when its owner does not say: RS(20,60); RS(10,30) where the network has fewer than 200 nodes, or fewer than 60 of them may hold it; and as many copies as there are eligible holders, six
// at most, where those are fewer than 30, or for an object below 1 MiB. Where nobody is eligible it is the zero Scheme.
func Default(bytes uint64, eligible, nodes int) Scheme {
	switch {
	case eligible < 1:
		return Scheme{}
	case eligible < FewHolders || bytes < SmallObject:
		return Scheme{1, min(Copies, eligible)}
	case nodes < FewNodes || eligible < Large.Pieces:
		return Small
	}
	return Large
}

// Check tells, by ErrScheme, what cannot be: pieces are 1 to 255, and fewer are needed than there are, but for a single copy.
func (s Scheme) Check() error {
	switch {
	case s.Pieces < 1 || s.Pieces > MaxPieces:
		return fmt.Errorf("%w: %d pieces, 1 to %d are possible", ErrScheme, s.Pieces, MaxPieces)
	case s.Need < 1:
		return fmt.Errorf("%w: %d of %d pieces give the object back, at least 1 does", ErrScheme, s.Need, s.Pieces)
	case s.Need >= s.Pieces && s.Pieces > 1 || s.Need > s.Pieces:
		return fmt.Errorf("%w: %d of %d pieces give the object back: fewer have to, or none may be lost", ErrScheme, s.Need, s.Pieces)
	}
	return nil
}

// Coded tells whether pieces differ: more than one is needed.
func (s Scheme) Coded() bool { return s.Need > 1 }

// Parity is how many pieces are not of the object's own leaves, and how many may be lost.
func (s Scheme) Parity() int { return s.Pieces - s.Need }

// Threshold is how many pieces are to be kept: when there are fewer, all that nobody keeps are made anew. Until then they wait, since whoever kept them may come back, and each that is made costs as many bytes as the object
// has. Of copies it is all: one more is read for one that is lost. Of a code it is k and a margin of ⌊√(29k ÷ 4)⌋, 32 of RS(20,60) and 18 of RS(10,30): what is lost by chance grows with the root of how many there are.
func (s Scheme) Threshold() int {
	if !s.Coded() {
		return s.Pieces
	}
	return min(s.Need+s.margin(), s.Pieces)
}

// Danger is how many pieces are near too few: with no more than these nobody waits for his turn. It is k and half the margin, 26 of RS(20,60) and 14 of RS(10,30), and two copies.
func (s Scheme) Danger() int { return s.Need + s.margin()/2 }

// margin is ⌊√(29k ÷ 4)⌋.
func (s Scheme) margin() (m int) {
	for 4*(m+1)*(m+1) <= 29*s.Need {
		m++
	}
	return m
}

// String is what people read: "6 copies", "RS(20,60)".
func (s Scheme) String() string {
	switch {
	case s == Scheme{1, 1}:
		return "1 copy"
	case s.Need == 1:
		return strconv.Itoa(s.Pieces) + " copies"
	}
	return fmt.Sprintf("RS(%d,%d)", s.Need, s.Pieces)
}

// Flag is what people type: "--copies 6", "--rs 20/60".
func (s Scheme) Flag() string {
	if s.Need == 1 {
		return "--copies " + strconv.Itoa(s.Pieces)
	}
	return fmt.Sprintf("--rs %d/%d", s.Need, s.Pieces)
}

// ParseCopies reads what follows --copies.
func ParseCopies(text string) (Scheme, error) {
	n, err := number(text)
	if err != nil {
		return Scheme{}, fmt.Errorf("--copies %s: %w: a number from 1 to %d is wanted", strconv.Quote(text), ErrScheme, MaxPieces)
	}
	s := Scheme{1, n}
	if err := s.Check(); err != nil {
		return Scheme{}, fmt.Errorf("--copies %s: %w", text, err)
	}
	return s, nil
}

// ParseCode reads what follows --rs: k/n. A code of which one piece is enough is that many copies.
func ParseCode(text string) (Scheme, error) {
	need, pieces, two := strings.Cut(text, "/")
	k, err1 := number(need)
	n, err2 := number(pieces)
	if !two || err1 != nil || err2 != nil {
		return Scheme{}, fmt.Errorf("--rs %s: %w: two numbers are wanted, how many pieces give the object back and how many there are, as in 20/60", strconv.Quote(text), ErrScheme)
	}
	s := Scheme{k, n}
	if k >= n {
		return Scheme{}, fmt.Errorf("--rs %s: %w: the first number has to be below the second one, or no piece may be lost", text, ErrScheme)
	}
	if err := s.Check(); err != nil {
		return Scheme{}, fmt.Errorf("--rs %s: %w", text, err)
	}
	return s, nil
}

// number reads a whole number in its one form: digits alone, without a zero before them.
func number(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err == nil && strconv.FormatUint(n, 10) != text {
		err = strconv.ErrSyntax
	}
	return int(n), err
}
