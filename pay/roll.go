package pay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/hpips/hpips/spec/trust"
)

// Deed is one result that a lease is paid for, before it has its place: what a leaf (spec/trust.Leaf) says of it, and whose task it was.
type Deed struct {
	Index     uint64       // of the task
	Statement trust.Digest // spec/lease.Statement
	Result    trust.Digest // spec/job.Result
	Work      uint64
}

// answer tells executions of one task apart.
func (d Deed) answer() trust.Digest { return trust.Answer(d.Result, d.Work) }

// deedSize is how many bytes one deed takes in a book.
const deedSize = 8 + 32 + 32 + 8

// AppendDeeds and ReadDeeds are the form of deeds in books.
func AppendDeeds(b []byte, deeds []Deed) []byte {
	b = slices.Grow(b, deedSize*len(deeds))
	for i := range deeds {
		d := &deeds[i]
		b = append(append(binary.BigEndian.AppendUint64(b, d.Index), d.Statement[:]...), d.Result[:]...)
		b = binary.BigEndian.AppendUint64(b, d.Work)
	}
	return b
}

func ReadDeeds(b []byte) ([]Deed, error) {
	if len(b)%deedSize != 0 {
		return nil, fmt.Errorf("deeds: %d bytes are no whole number of them: the book is damaged", len(b))
	}
	deeds := make([]Deed, len(b)/deedSize)
	for i := range deeds {
		d, r := &deeds[i], b[deedSize*i:]
		d.Index, d.Work = binary.BigEndian.Uint64(r), binary.BigEndian.Uint64(r[72:])
		copy(d.Statement[:], r[8:])
		copy(d.Result[:], r[40:])
	}
	return deeds, nil
}

// Roll is the tree over the leaves of one lease, in the order in which its results are paid for. It keeps no leaves: those are in Sheets.
type Roll struct {
	terms [32]byte // SHA-256 of the lease's terms
	tree  trust.Tree
	work  uint64
}

// Sheet is a run of leaves as one row of a book keeps it, with what comes before it, so that the rows before it may go.
type Sheet struct {
	Place  uint64 // of its first leaf
	Before uint64 // the work of all leaves before it
	Peaks  []byte // of the tree before it
	Deeds  []byte // see AppendDeeds
}

// End is the place after its last leaf.
func (s Sheet) End() uint64 { return s.Place + uint64(len(s.Deeds)/deedSize) }

// NewRoll returns the empty roll of a lease whose terms have this SHA-256.
func NewRoll(terms [32]byte) Roll { return Roll{terms: terms} }

// Size is the number of leaves.
func (r *Roll) Size() uint64 { return r.tree.Size() }

// Work is what all leaves took together.
func (r *Roll) Work() uint64 { return r.work }

// Root is what the payer of all leaves signs.
func (r *Roll) Root() [32]byte { return r.tree.Root() }

// Next is the roll with further leaves, and their sheet; r stays as it is. The sheet is written into room, as far as that is enough.
func (r *Roll) Next(deeds []Deed, room []byte) (Roll, Sheet) {
	s := Sheet{Place: r.Size(), Before: r.work, Peaks: r.tree.Bytes(), Deeds: AppendDeeds(room[:0], deeds)}
	next := Roll{r.terms, r.tree.Clone(), r.work}
	for i := range deeds {
		next.add(&deeds[i])
	}
	return next, s
}

// add appends a leaf and returns it as it stands in the tree.
func (r *Roll) add(d *Deed) (trust.Leaf, [32]byte) {
	l := trust.Leaf{Statement: d.Statement, Result: d.Result, Work: d.Work, Before: r.work}
	sealed := l.Seal(trust.Salt(r.terms, r.Size()))
	r.tree.Add(sealed)
	r.work = plus(r.work, d.Work)
	return l, sealed
}

// begin is the roll of what comes before a sheet.
func (s Sheet) begin(terms [32]byte) (Roll, error) {
	tree, err := trust.ReadTree(s.Place, s.Peaks)
	return Roll{terms, tree, s.Before}, err
}

// ReadRoll is the roll whose last sheet this is.
func ReadRoll(terms [32]byte, last Sheet) (Roll, error) {
	r, err := last.begin(terms)
	if err != nil {
		return Roll{}, err
	}
	deeds, err := ReadDeeds(last.Deeds)
	for i := range deeds {
		r.add(&deeds[i])
	}
	return r, err
}

// Shown is one leaf, with all that somebody needs to find it under a root.
type Shown struct {
	Index uint64 // of its task
	Leaf  trust.Leaf
	Salt  [32]byte
	Path  [][32]byte
}

// ErrLeaf is returned for leaves that are not kept, or are not there yet.
var ErrLeaf = errors.New("no such leaf: it is not paid for yet, or no longer kept")

// Show finds the leaf at a place under the root of the first size leaves. sheets are all from the one on in which the place is to the one with the last leaf, in order.
func Show(terms [32]byte, sheets []Sheet, place, size uint64) (Shown, error) {
	if len(sheets) == 0 || place >= size {
		return Shown{}, fmt.Errorf("leaf %d of %d: %w", place, size, ErrLeaf)
	}
	before, err := sheets[0].begin(terms)
	if err != nil {
		return Shown{}, err
	}
	all := before
	all.tree = before.tree.Clone()
	found := false
	shown := Shown{Salt: trust.Salt(terms, place)}
	var after [][32]byte
	for _, s := range sheets {
		deeds, err := ReadDeeds(s.Deeds)
		if err != nil {
			return Shown{}, err
		}
		for i := range deeds {
			at := all.Size()
			if at == size {
				break
			}
			leaf, sealed := all.add(&deeds[i])
			if after = append(after, sealed); at == place {
				shown.Index, shown.Leaf, found = deeds[i].Index, leaf, true
			}
		}
	}
	if !found || all.Size() != size {
		return Shown{}, fmt.Errorf("leaf %d of %d: %w", place, size, ErrLeaf)
	}
	shown.Path, err = before.tree.Path(after, place)
	return shown, err
}
