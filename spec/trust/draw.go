package trust

import (
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"math/bits"
)

const auditPrefix = "hpips/audit/v1\x00"

// Span is the part of a lease's results that one redemption is for: Tasks of them that took Work, after TasksBefore that took WorkBefore.
type Span struct {
	TasksBefore, Tasks uint64
	WorkBefore, Work   uint64
}

// Draw picks which results of a span are checked: one point of work in each stretch of equal length, so that a result is drawn in proportion to its work,
// which is what it is paid by, and whoever is wrong where it is dear is looked at more often there. The mean result is drawn with the rate asked for. (Auditors
// call it monetary unit sampling.) Where the rate is Whole, or no work was counted, it is by places: every one, or one in each stretch of places.
type Draw struct {
	seed, root [32]byte
	span       Span
	stretch    uint64 // of work, or of places
	places     bool
}

// NewDraw prepares a draw. The seed is that of the first block with one that is at least two blocks after the redemption's: nobody knew it when the root was
// given. rate is in millionths.
func NewDraw(seed, root [32]byte, span Span, rate uint64) Draw {
	d := Draw{seed: seed, root: root, span: span, places: rate >= Whole || span.Work < span.Tasks}
	if rate == 0 || span.Tasks == 0 {
		return d
	}
	whole := span.Work
	if d.places {
		whole = span.Tasks
	}
	n := new(big.Int).Mul(new(big.Int).SetUint64(whole), big.NewInt(Whole))
	n.Quo(n, new(big.Int).Mul(new(big.Int).SetUint64(span.Tasks), new(big.Int).SetUint64(min(rate, Whole))))
	d.stretch = ^uint64(0) // what does not fit is longer than any span
	if n.IsUint64() {
		d.stretch = max(1, n.Uint64())
	}
	return d
}

// Len is how many are drawn: the last stretch, which may end with the span, counts if its point is still within.
func (d Draw) Len() uint64 {
	if d.stretch == 0 {
		return 0
	}
	whole := d.whole()
	n := whole / d.stretch
	if whole%d.stretch != 0 && d.offset(n) < whole%d.stretch {
		n++
	}
	return n
}

func (d Draw) whole() uint64 {
	if d.places {
		return d.span.Tasks
	}
	return d.span.Work
}

// offset is where within stretch i its point lies.
func (d Draw) offset(i uint64) uint64 {
	h := sha256.New()
	h.Write([]byte(auditPrefix))
	h.Write(d.seed[:])
	h.Write(d.root[:])
	h.Write(binary.BigEndian.AppendUint64(nil, i))
	hi, _ := bits.Mul64(binary.BigEndian.Uint64(h.Sum(nil)), d.stretch)
	return hi
}

// Hits tells whether the i-th draw, below Len, falls on the leaf at a place.
func (d Draw) Hits(i, place uint64, l Leaf) bool {
	at := i*d.stretch + d.offset(i)
	if d.places {
		return place == d.span.TasksBefore+at
	}
	at += d.span.WorkBefore
	return l.Before <= at && at-l.Before < l.Work
}

// At is the work, under the lease, or with byPlace the place that the i-th draw falls on.
func (d Draw) At(i uint64) (at uint64, byPlace bool) {
	at = i*d.stretch + d.offset(i)
	if d.places {
		return d.span.TasksBefore + at, true
	}
	return d.span.WorkBefore + at, false
}
