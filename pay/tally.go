package pay

import (
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

// MostOpen is how many results a payer lets stand for which its payee has taken no voucher: one message has to name them all.
const MostOpen = lease.MaxNamed / 2

// Tally is the payer's side of the leaves of a lease whose terms want a jury:
//
//  1. Add puts results in the order in which they are paid for.
//  2. Draft reckons root and sheet of what was added; both are written down together with the usage and the voucher, and Kept takes them in. A draft
//     that could not be written changes nothing: the next one contains the same results in the same order.
//  3. Message says with a voucher which results it pays for that the payee does not know to have their places, until Taken tells that it does.
type Tally struct {
	roll  Roll     // of what is written down
	fresh []Deed   // not written down
	open  [][]Deed // written down, from place taken on
	many  int      // of open
	taken uint64
	doubt bool
	room  []byte // for the sheet of the draft under way
}

// NewTally returns the tally of a lease of which nothing is paid.
func NewTally(terms lease.Terms) *Tally { return &Tally{roll: NewRoll(terms.Digest())} }

// Resume is the tally of an earlier life, from its last sheets: as many as hold MostOpen leaves, or all. What the payee has taken is not known, and there may be executions
// that the payer never heard of.
func Resume(terms lease.Terms, sheets []Sheet) (*Tally, error) {
	t := NewTally(terms)
	t.doubt = true
	if len(sheets) == 0 {
		return t, nil
	}
	t.taken = sheets[0].Place
	for _, s := range sheets {
		deeds, err := ReadDeeds(s.Deeds)
		if err != nil {
			return nil, err
		}
		t.put(deeds)
	}
	var err error
	t.roll, err = ReadRoll(t.roll.terms, sheets[len(sheets)-1])
	return t, err
}

func (t *Tally) put(deeds []Deed) {
	if len(deeds) > 0 {
		t.open, t.many = append(t.open, deeds), t.many+len(deeds)
	}
}

// Add puts a result behind all others.
func (t *Tally) Add(d Deed) { t.fresh = append(t.fresh, d) }

// Doubt notes that a task may have been executed twice under the lease, so that its index alone does not tell which execution is paid for.
func (t *Tally) Doubt() { t.doubt = true }

// Taken notes how many results the payee has taken vouchers for. It may be repeated; less than before changes nothing.
func (t *Tally) Taken(n uint64) {
	for n = min(n, t.roll.Size()); n > t.taken; {
		first := t.open[0]
		some := min(n-t.taken, uint64(len(first)))
		t.taken, t.many = t.taken+some, t.many-int(some)
		if t.open[0] = first[some:]; len(t.open[0]) == 0 {
			t.open[0] = nil
			t.open = t.open[1:]
		}
	}
}

// Open is how many results the payee has taken no voucher for, as far as is known.
func (t *Tally) Open() int { return t.many + len(t.fresh) }

// Draft is all that was added, with those that are written down before it. Only one is under way at once.
type Draft struct {
	from  Roll
	deeds []Deed
	next  Roll
	sheet Sheet
	room  []byte
}

// Draft is cheap; Reckon does the work and may be called beside the tally's owner.
func (t *Tally) Draft() *Draft {
	return &Draft{from: t.roll, deeds: t.fresh[:len(t.fresh):len(t.fresh)], next: t.roll, room: t.room}
}

// Reckon returns the root over all results of the draft, and the sheet to be written; false: there is nothing new to write. The sheet is good until the draft is kept, or
// there is another.
func (d *Draft) Reckon() (root [32]byte, s Sheet, some bool) {
	if len(d.deeds) > 0 {
		d.next, d.sheet = d.from.Next(d.deeds, d.room)
	}
	return d.next.Root(), d.sheet, len(d.deeds) > 0
}

// Kept takes in a draft that is written down.
func (t *Tally) Kept(d *Draft) {
	t.roll, t.room = d.next, d.sheet.Deeds
	t.put(d.deeds)
	t.fresh = append(make([]Deed, 0, len(d.deeds)), t.fresh[len(d.deeds):]...)
}

// Message is a voucher as it is sent. It must be written down.
func (t *Tally) Message(s voucher.Signed) lease.Voucher {
	v := lease.Voucher{Signed: s, From: min(t.taken, s.Voucher.Usage.Tasks)}
	named := make([]*Deed, 0, min(uint64(t.many), s.Voucher.Usage.Tasks-v.From, lease.MaxNamed))
	for _, some := range t.open {
		for i := 0; i < len(some) && len(named) < cap(named); i++ {
			named = append(named, &some[i])
		}
	}
	if len(named) == 0 {
		return v
	}
	tasks := make([]uint64, len(named))
	for i, d := range named {
		tasks[i] = d.Index
	}
	v.Tasks = lease.NameTasks(tasks)
	if !t.doubt {
		return v
	}
	v.Answers = make([]byte, 0, lease.AnswerSize*len(named))
	for _, d := range named {
		answer := d.answer()
		v.Answers = append(v.Answers, answer[:lease.AnswerSize]...)
	}
	return v
}
