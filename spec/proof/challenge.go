package proof

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"sort"
)

// Asked is how many leaves a holder shows each day, however many pieces it has.
const Asked = 5

const challengePrefix = "hpips/challenge/v1\x00"

// MaxPieces and MaxHeld are how many pieces a holder may have, and of how many leaves all of them may be.
const (
	MaxPieces = 1 << 24
	MaxHeld   = 1 << 56
)

// Pieces are all that a holder answers for, one after another as one row of leaves, in an order that all agree on. The order and the pieces are those of before the
// seed was known.
type Pieces struct {
	list []Piece
	ends []uint64 // in the row, of each piece
}

// NewPieces puts pieces in a row; the order is the caller's, and a piece that comes twice counts twice. It refuses what is beyond the limits.
func NewPieces(list []Piece) (Pieces, error) {
	if len(list) > MaxPieces {
		return Pieces{}, fmt.Errorf("pieces: %d of them, at most %d", len(list), MaxPieces)
	}
	p := Pieces{slices.Clone(list), make([]uint64, len(list))}
	end := uint64(0)
	for i, piece := range list {
		if piece.Size > MaxSize {
			return Pieces{}, fmt.Errorf("pieces: %w: %d bytes, at most %d", ErrLarge, piece.Size, int64(MaxSize))
		}
		if end += piece.Leaves(); end > MaxHeld {
			return Pieces{}, fmt.Errorf("pieces: more than %d leaves", int64(MaxHeld))
		}
		p.ends[i] = end
	}
	return p, nil
}

// Leaves is how many leaves all pieces have together.
func (p Pieces) Leaves() uint64 {
	if len(p.ends) == 0 {
		return 0
	}
	return p.ends[len(p.ends)-1]
}

// Place is where a leaf is: which of the pieces, counted from 0, and which leaf of it.
type Place struct {
	Piece int
	Leaf  uint64
}

// At finds the leaf at a point of the row, below Leaves.
func (p Pieces) At(point uint64) Place {
	i := sort.Search(len(p.ends), func(i int) bool { return p.ends[i] > point })
	return Place{i, point - (p.ends[i] - p.list[i].Leaves())}
}

// Challenge is what a holder is asked on a day: the chain's seed, drawn when nobody could change what the holder keeps of before, its node key, and the day's number.
type Challenge struct {
	Seed, Holder [32]byte
	Day          uint64
}

// Points are the points of a row of n leaves that are asked for, rising: one in each fifth of it, so that a holder that lost a share x of its leaves, whichever they
// are, is found out with 1 − (1 − x)^5 at least. Of a row of fewer leaves than Asked some are asked for twice; of an empty one nothing is. n is MaxHeld at most.
//
// The i-th point is ⌊(i + u) × n ÷ 5⌋, u = x ÷ 2^64, x the first 8 bytes of SHA-256("hpips/challenge/v1" 0x00 ‖ seed ‖ holder ‖ day ‖ i).
func (c Challenge) Points(n uint64) []uint64 {
	if n == 0 {
		return nil
	}
	points := make([]uint64, Asked)
	for i := range points {
		b := append(append([]byte(challengePrefix), c.Seed[:]...), c.Holder[:]...)
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, c.Day), uint64(i))
		sum := sha256.Sum256(b)
		whole, _ := bits.Mul64(binary.BigEndian.Uint64(sum[:]), n) // ⌊u × n⌋; what is cut off is less than 1, and changes no fifth
		points[i] = (uint64(i)*n + whole) / Asked
	}
	return points
}

// Places are where among the pieces the points are.
func (c Challenge) Places(p Pieces) []Place {
	var places []Place
	for _, point := range c.Points(p.Leaves()) {
		places = append(places, p.At(point))
	}
	return places
}
