package pay

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

// Both sides keep a lease's last leaves, so many of them and for so long.
const (
	MostLeaves = 1_000_000
	KeepLeaves = 30 * 24 * time.Hour
)

// The bounds of what a payee keeps of one lease whose payer wants a jury and has not paid.
const (
	mostUnpaid = 1 << 20 // deeds; beyond it the oldest are dropped
	mostKept   = 2 << 20 // deeds in memory: paid ones stay until all are that were done with them
)

// sheaf is what a payee keeps of a lease whose payer wants a jury:
//
//  1. put: what was done and is not paid for, in order. A task may have been executed several times, of which the payer may have seen any.
//  2. match: a voucher names tasks in the order of their leaves. Their deeds get those places, if that comes to the voucher's root.
//  3. write, in the voucher's transaction: the leaves are a sheet, and the deeds are gone. Then done, or undo where that fails.
type sheaf struct {
	roll    Roll
	bundles []*bundle // the oldest first; each has something that is not paid for
	unpaid  int
	kept    int     // deeds of all bundles
	dropped []int64 // rows of bundles that are too old to be paid for, and still in the book

	deeds []Deed // room for match, which is called again only after its settlement is done or undone
	room  []byte
}

// bundle is what was done together: a row of the book.
type bundle struct {
	row   int64 // 0: it is not in the book
	deeds []Deed
	paid  []bool
	left  int
}

// spot is where a deed is.
type spot struct {
	in *bundle
	i  int
}

func (s spot) deed() *Deed { return &s.in.deeds[s.i] }

// put adds what was done together.
func (s *sheaf) put(row int64, deeds []Deed) {
	if len(deeds) == 0 {
		return
	}
	s.bundles = append(s.bundles, &bundle{row: row, deeds: deeds, paid: make([]bool, len(deeds)), left: len(deeds)})
	s.unpaid, s.kept = s.unpaid+len(deeds), s.kept+len(deeds)
	for (s.unpaid > mostUnpaid || s.kept > mostKept) && len(s.bundles) > 1 { // nobody has paid for what is left of the oldest, and nobody will
		if row := s.bundles[0].row; row != 0 {
			s.dropped = append(s.dropped, row)
		}
		s.unpaid, s.kept = s.unpaid-s.bundles[0].left, s.kept-len(s.bundles[0].deeds)
		s.bundles = s.bundles[1:]
	}
}

// search finds the deeds of tasks that are named in nearly the order in which they were done: it looks a little ahead of where it is, and for what is not there in an
// index that it makes when it is first needed.
type search struct {
	s     *sheaf
	b, i  int // the first deed that is not paid for is not before it
	index map[uint64][]spot
}

// ahead is how far a search looks before it makes an index.
const ahead = 64

// find is the first execution of a task that is not paid for; with an answer, of those that gave it.
func (x *search) find(task uint64, answer *[lease.AnswerSize]byte) (spot, bool) {
	for x.b < len(x.s.bundles) {
		if b := x.s.bundles[x.b]; x.i == len(b.deeds) {
			x.b, x.i = x.b+1, 0
		} else if !b.paid[x.i] {
			break
		} else {
			x.i++
		}
	}
	left := ahead
	for b, i := x.b, x.i; b < len(x.s.bundles) && left > 0; b, i = b+1, 0 {
		in := x.s.bundles[b]
		for ; i < len(in.deeds) && left > 0; i++ {
			if o := (spot{in, i}); o.is(task, answer) {
				return o, true
			}
			left--
		}
	}
	if x.index == nil {
		x.index = make(map[uint64][]spot, x.s.unpaid)
		for _, in := range x.s.bundles {
			for i := range in.deeds {
				x.index[in.deeds[i].Index] = append(x.index[in.deeds[i].Index], spot{in, i})
			}
		}
	}
	for _, o := range x.index[task] {
		if o.is(task, answer) {
			return o, true
		}
	}
	return spot{}, false
}

// is tells whether a deed is of that task, gave that answer, and is not paid for.
func (s spot) is(task uint64, answer *[lease.AnswerSize]byte) bool {
	d := s.deed()
	if d.Index != task || s.in.paid[s.i] {
		return false
	}
	if answer == nil {
		return true
	}
	full := d.answer()
	return [lease.AnswerSize]byte(full[:]) == *answer
}

// settlement is what one voucher does to a sheaf. A nil one does nothing.
type settlement struct {
	of    *sheaf
	picks []spot
	next  Roll
	sheet Sheet
}

// match finds the deeds that a voucher pays for in the order in which it names them, and refuses one whose root they do not come to.
func (s *sheaf) match(v lease.Voucher) (*settlement, error) {
	tasks, answers, err := v.Named()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRoot, err)
	}
	size, all := s.roll.Size(), v.Voucher.Usage.Tasks
	if v.From > size || all < size || all-v.From != uint64(len(tasks)) || all < v.From {
		return nil, fmt.Errorf("%w: %d tasks named from %d on, %d have their places, %d are paid for", ErrRoot, len(tasks), v.From, size, all)
	}
	known := size - v.From
	m := &settlement{of: s, picks: make([]spot, 0, all-size)}
	deeds := s.deeds[:0]
	x := search{s: s}
	for i := known; i < uint64(len(tasks)); i++ {
		var answer *[lease.AnswerSize]byte
		if answers != nil {
			answer = &answers[i]
		}
		o, found := x.find(tasks[i], answer)
		if !found {
			m.undo()
			return nil, fmt.Errorf("%w: no such execution of task %d is left to be paid for", ErrRoot, tasks[i])
		}
		o.in.paid[o.i] = true // nobody is paid twice for it
		m.picks, deeds = append(m.picks, o), append(deeds, *o.deed())
	}
	m.next, m.sheet = s.roll.Next(deeds, s.room)
	s.deeds, s.room = deeds, m.sheet.Deeds
	if m.next.Root() != v.Voucher.Root || m.next.Work() != v.Voucher.Usage.Work {
		m.undo()
		return nil, fmt.Errorf("%w: of %d results", ErrRoot, all)
	}
	return m, nil
}

// undo leaves the sheaf as it was.
func (m *settlement) undo() {
	if m == nil {
		return
	}
	for _, o := range m.picks {
		o.in.paid[o.i] = false
	}
}

// done takes the settlement in, once it is in the book.
func (m *settlement) done() {
	if m == nil {
		return
	}
	s := m.of
	s.roll = m.next
	s.unpaid -= len(m.picks)
	empty := false
	for _, o := range m.picks {
		o.in.left--
		empty = empty || o.in.left == 0
	}
	if !empty {
		return
	}
	s.bundles = slices.DeleteFunc(s.bundles, func(b *bundle) bool {
		if b.left == 0 {
			s.kept -= len(b.deeds)
		}
		return b.left == 0
	})
}

// write is the settlement in the book.
func (m *settlement) write(ctx context.Context, tx *sql.Tx, id voucher.ID, now time.Time) error {
	if len(m.picks) == 0 {
		return nil
	}
	x := &m.sheet
	if _, err := tx.ExecContext(ctx, `INSERT INTO leaf VALUES (?, ?, ?, ?, ?, ?, ?)`, id[:], int64(x.Place), int64(x.Before), x.Peaks, x.Deeds, m.next.terms[:], nanos(now)); err != nil {
		return err
	}
	touched := map[*bundle]int{}
	for _, o := range m.picks {
		touched[o.in]++
	}
	for b, n := range touched {
		if err := b.write(ctx, tx, n); err != nil {
			return err
		}
	}
	if size := m.next.Size(); size > MostLeaves && size>>14 != x.Place>>14 { // rarely: it is a look through the lease's rows
		_, err := tx.ExecContext(ctx, `DELETE FROM leaf WHERE lease = ?1 AND place < (SELECT max(place) FROM leaf WHERE lease = ?1 AND place <= ?2)`, id[:], int64(size-MostLeaves))
		return err
	}
	return nil
}

// write leaves of a bundle's row what is not paid for, after n more of it were.
func (b *bundle) write(ctx context.Context, tx *sql.Tx, n int) error {
	if b.row == 0 {
		return nil
	}
	if b.left == n {
		_, err := tx.ExecContext(ctx, `DELETE FROM deed WHERE row = ?`, b.row)
		return err
	}
	rest := make([]Deed, 0, b.left-n)
	for i := range b.deeds {
		if !b.paid[i] {
			rest = append(rest, b.deeds[i])
		}
	}
	_, err := tx.ExecContext(ctx, `UPDATE deed SET body = ? WHERE row = ?`, AppendDeeds(nil, rest), b.row)
	return err
}

// sheafOf finds a lease's sheaf, as an earlier life left it. Needs p.mu.
func (p *Payee) sheafOf(ctx context.Context, id voucher.ID, t *tab, terms lease.Terms) (*sheaf, error) {
	if t.sheaf != nil {
		return t.sheaf, nil
	}
	s := &sheaf{roll: NewRoll(terms.Digest())}
	if err := p.book.sheaf(ctx, id, s); err != nil {
		return nil, err
	}
	t.sheaf = s
	return s, nil
}

// settle matches a voucher with what was done; nil: its payer wants no jury. Needs p.mu.
func (p *Payee) settle(ctx context.Context, id voucher.ID, t *tab, terms lease.Terms, v lease.Voucher) (*settlement, error) {
	if !terms.Pay.Jury {
		if v.Voucher.Root != ([32]byte{}) {
			return nil, fmt.Errorf("%w: its terms want no jury", ErrRoot)
		}
		return nil, nil
	}
	s, err := p.sheafOf(ctx, id, t, terms)
	if err != nil {
		return nil, err
	}
	return s.match(v)
}

// Taken is how many results of a lease whose payer wants a jury are paid for by the vouchers that were taken.
func (p *Payee) Taken(ctx context.Context, l lease.Lease) uint64 {
	if l.Terms.Pay == nil || !l.Terms.Pay.Jury {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tabs[l.Terms.Key()]
	if t == nil {
		return 0
	}
	s, err := p.sheafOf(ctx, l.Terms.Key(), t, l.Terms)
	if err != nil {
		p.log.Warn("The leaves of a lease cannot be read: promises for it are not taken", "lease", t.name, "err", err)
		return 0
	}
	return s.roll.Size()
}

// Leaf shows what stands at a place under the root of a lease's first size results: of one for which a voucher was taken in the last 30 days, and of a lease's last
// million.
func (p *Payee) Leaf(ctx context.Context, id voucher.ID, place, size uint64) (Shown, error) {
	sheets, terms, err := p.book.sheets(ctx, id, place, size)
	if err != nil {
		return Shown{}, err
	}
	return Show(terms, sheets, place, size)
}

// forget drops rows that nobody will pay for. Those of a lease that is forgotten go with it.
func (b *book) forget(s *sheaf) error {
	for _, row := range s.dropped {
		if _, err := b.quick.Exec(`DELETE FROM deed WHERE row = ?`, row); err != nil {
			return b.wrap("forget deeds", err)
		}
	}
	s.dropped = nil
	return nil
}

// sheaf reads what an earlier life left of a lease.
func (b *book) sheaf(ctx context.Context, id voucher.ID, s *sheaf) error {
	var last Sheet
	var place, before int64
	err := b.safe.QueryRowContext(ctx, `SELECT place, before, peaks, body FROM leaf WHERE lease = ? ORDER BY place DESC LIMIT 1`, id[:]).Scan(&place, &before, &last.Peaks, &last.Deeds)
	switch {
	case err == nil:
		last.Place, last.Before = uint64(place), uint64(before)
		if s.roll, err = ReadRoll(s.roll.terms, last); err != nil {
			return b.wrap("read leaves", err)
		}
	case !errors.Is(err, sql.ErrNoRows):
		return b.wrap("read leaves", err)
	}
	rows, err := b.safe.QueryContext(ctx, `SELECT row, body FROM deed WHERE lease = ? ORDER BY row`, id[:])
	if err != nil {
		return b.wrap("read deeds", err)
	}
	defer rows.Close()
	for rows.Next() {
		var row int64
		var body []byte
		if err := rows.Scan(&row, &body); err != nil {
			return b.wrap("read deeds", err)
		}
		deeds, err := ReadDeeds(body)
		if err != nil {
			return b.wrap("read deeds", err)
		}
		s.put(row, deeds)
	}
	return b.wrap("read deeds", rows.Err())
}

// sheets reads the leaves from the sheet in which a place is up to size.
func (b *book) sheets(ctx context.Context, id voucher.ID, place, size uint64) (sheets []Sheet, terms [32]byte, err error) {
	rows, err := b.safe.QueryContext(ctx, `SELECT place, before, peaks, body, terms FROM leaf WHERE lease = ?1 AND place < ?3
		AND place >= (SELECT max(place) FROM leaf WHERE lease = ?1 AND place <= ?2) ORDER BY place`, id[:], int64(place), int64(size))
	if err != nil {
		return nil, terms, b.wrap("read leaves", err)
	}
	defer rows.Close()
	for rows.Next() {
		var s Sheet
		var place, before int64
		var of []byte
		if err := rows.Scan(&place, &before, &s.Peaks, &s.Deeds, &of); err != nil {
			return nil, terms, b.wrap("read leaves", err)
		}
		s.Place, s.Before = uint64(place), uint64(before)
		copy(terms[:], of)
		sheets = append(sheets, s)
	}
	return sheets, terms, b.wrap("read leaves", rows.Err())
}

// prune drops the leaves that were kept long enough.
func (p *Payee) prune(ctx context.Context, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.book.prune(ctx, now.Add(-KeepLeaves))
}

// prune drops leaves that were kept long enough, but for the last of each lease that goes on: its tree grows from there.
func (b *book) prune(ctx context.Context, before time.Time) error {
	_, err := b.safe.ExecContext(ctx, `DELETE FROM leaf WHERE at < ? AND (lease NOT IN (SELECT id FROM lease)
		OR place < (SELECT max(place) FROM leaf AS l WHERE l.lease = leaf.lease))`, nanos(before))
	return b.wrap("forget leaves", err)
}
