package requester

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

// The leaves of a lease whose payer wants a jury:
//
//  1. give notes the statement of a task that lies in the journal when it is assigned; that of others is made when it is asked for.
//  2. leaf adds a result's when that counts for the purse: that is its place. The writer reckons the root (payment.reckon), and the leaves are in the
//     transaction of the voucher that pays for them (writeSheet). A kill at any instant leaves both or neither.
//  3. voucher says which tasks it pays for that the provider has not told to have taken (taken).
//  4. Leaf and Statement show one later.

// keepWork keeps what all tasks of the phase have in common, for those who are to run one again.
func (g *gathering) keepWork(ctx context.Context) error {
	if !g.r.jury(g.e) || g.r.deps.Payer == nil {
		return nil
	}
	return g.r.journal.addWork(ctx, g.e.id, g.p.number, g.p.work)
}

// digest is that of a task's statement.
func (g *gathering) digest(t job.Task) ([32]byte, error) {
	if g.statement == nil {
		each, err := g.p.work.Digests()
		if err != nil {
			return [32]byte{}, err
		}
		g.statement = each
	}
	return g.statement(t), nil
}

// kept tells whether the phase's tasks have to be read from the journal: others are known from their index.
func (g *gathering) kept() bool {
	over := g.e.spec.Over
	return g.p.input == nil && over != nil && over.Count == 0 && len(over.Matrix) == 0
}

// give notes that a hire is given task i, so that it need not be read again.
func (g *gathering) give(h *hire, i uint64, t job.Task) {
	if h.purse == nil || h.purse.tally == nil || !g.kept() {
		return
	}
	if sum, err := g.digest(t); err == nil { // else leaf tells
		h.purse.given[i] = sum
	}
}

// recollect makes sure that the statement of a task is known whose result has come: it may have been given in an earlier life.
func (g *gathering) recollect(ctx context.Context, h *hire, i uint64) error {
	if h.purse == nil || h.purse.tally == nil || i >= g.p.count || !g.kept() {
		return nil
	}
	if _, known := h.purse.given[i]; known {
		return nil
	}
	t, err := g.task(ctx, i)
	if err != nil {
		return fmt.Errorf("statement of task %d: %w", i+g.p.base, err)
	}
	g.give(h, i, t)
	return nil
}

// leaf puts the leaf of a result that is paid for behind all others of its lease. index is that on the wire.
func (g *gathering) leaf(h *hire, r *job.Result, index uint64, used voucher.Usage) {
	p := h.purse
	if p == nil || p.tally == nil || used.Tasks == 0 {
		return
	}
	i := index - g.p.base
	sum, known := p.given[i]
	if known {
		delete(p.given, i)
	} else {
		t, err := g.task(context.Background(), i) // it is reckoned, not read
		if err == nil {
			sum, err = g.digest(t)
		}
		if err != nil {
			p.broken = true
			g.r.log.Error("Nothing more can be signed under a lease: a task has no statement", "job", g.e.id, "task", index, "err", err)
		}
	}
	p.tally.Add(pay.Deed{Index: index, Statement: sum, Result: r.Digest(), Work: used.Work})
}

// owe notes what was done and does not come into the journal as a result, with its leaf. The result's index is the board's.
func (g *gathering) owe(h *hire, r job.Result, used voucher.Usage, now time.Time) {
	g.leaf(h, &r, r.Index+g.p.base, used)
	h.owe(used, now)
}

// doubt notes that a task of the lease may have been executed twice.
func (h *hire) doubt() {
	if h.purse != nil && h.purse.tally != nil {
		h.purse.tally.Doubt()
	}
}

// taken notes how many results the provider has taken vouchers for.
func (h *hire) taken(n uint64) {
	if h.purse != nil && h.purse.tally != nil {
		h.purse.tally.Taken(n)
	}
}

// voucher is the last one as it is sent.
func (p *purse) voucher() *lease.Voucher {
	v := lease.Voucher{Signed: *p.last}
	if p.tally != nil {
		v = p.tally.Message(*p.last)
	}
	return &v
}

// reckon returns the root that a payment's voucher signs.
func (p *payment) reckon() [32]byte {
	if p.draft == nil {
		return [32]byte{}
	}
	root, sheet, some := p.draft.Reckon()
	if some {
		p.sheet = &sheet
	}
	return root
}

// writeSheet writes leaves within a transaction.
func writeSheet(ctx context.Context, tx *sql.Tx, id string, s pay.Sheet, now time.Time) error {
	if _, err := tx.ExecContext(ctx, `INSERT INTO leaf VALUES (?, ?, ?, ?, ?, ?)`, id, int64(s.Place), int64(s.Before), s.Peaks, s.Deeds, now.UnixMilli()); err != nil {
		return err
	}
	if s.Place < pay.MostLeaves || s.Place>>14 == s.End()>>14 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM leaf WHERE lease = ?1 AND place < (SELECT max(place) FROM leaf WHERE lease = ?1 AND place <= ?2)`, id, int64(s.End()-pay.MostLeaves))
	return err
}

// pruneLeaves drops leaves that were kept long enough, but those of leases that go on.
func (j *journal) pruneLeaves(ctx context.Context, before time.Time) error {
	_, err := j.w.ExecContext(ctx, `DELETE FROM leaf WHERE at < ? AND lease NOT IN (SELECT lease FROM purse WHERE state = ?)`, before.UnixMilli(), purseOpen)
	return j.wrap("forget leaves", err)
}

// tally is the tally of a lease of an earlier life.
func (j *journal) tally(ctx context.Context, l lease.Lease) (*pay.Tally, error) {
	sheets, err := j.sheets(ctx, `WHERE lease = ?1 AND place >= coalesce((SELECT max(place) FROM leaf WHERE lease = ?1 AND place <= (SELECT max(place) FROM leaf WHERE lease = ?1) - ?2), 0)`,
		l.ID(), pay.MostOpen)
	if err != nil {
		return nil, err
	}
	return pay.Resume(l.Terms, sheets)
}

func (j *journal) sheets(ctx context.Context, where string, args ...any) ([]pay.Sheet, error) {
	rows, err := j.r.QueryContext(ctx, `SELECT place, before, peaks, body FROM leaf `+where+` ORDER BY place`, args...)
	if err != nil {
		return nil, j.wrap("read leaves", err)
	}
	defer rows.Close()
	var all []pay.Sheet
	for rows.Next() {
		var s pay.Sheet
		var place, before int64
		if err := rows.Scan(&place, &before, &s.Peaks, &s.Deeds); err != nil {
			return nil, j.wrap("read leaves", err)
		}
		s.Place, s.Before = uint64(place), uint64(before)
		all = append(all, s)
	}
	return all, j.wrap("read leaves", rows.Err())
}

func (j *journal) addWork(ctx context.Context, id string, phase int, w lease.Work) error {
	_, err := j.w.ExecContext(ctx, `INSERT OR IGNORE INTO work VALUES (?, ?, ?)`, id, phase, canon.MustEncode(w))
	return j.wrap("add work", err)
}

// sworn finds a paid lease by its ID, with its job and phase.
func (j *journal) sworn(ctx context.Context, id string) (l lease.Lease, jobID string, phase int, err error) {
	var body []byte
	err = j.r.QueryRowContext(ctx, `SELECT body, job, phase FROM purse WHERE lease = ?`, id).Scan(&body, &jobID, &phase)
	if errors.Is(err, sql.ErrNoRows) {
		return l, "", 0, fmt.Errorf("lease %s: %w: this node does not pay for it", id, pay.ErrLeaf)
	}
	if err == nil {
		err = canon.Decode(body, lease.MaxLease, &l)
	}
	return l, jobID, phase, j.wrap("find lease", err)
}

// Leaf shows what stands at a place under the root of a lease's first size results.
func (r *Requester) Leaf(ctx context.Context, id string, place, size uint64) (pay.Shown, error) {
	l, _, _, err := r.journal.sworn(ctx, id)
	if err != nil {
		return pay.Shown{}, err
	}
	sheets, err := r.journal.sheets(ctx, `WHERE lease = ?1 AND place < ?3 AND place >= (SELECT max(place) FROM leaf WHERE lease = ?1 AND place <= ?2)`, id, int64(place), int64(size))
	if err != nil {
		return pay.Shown{}, err
	}
	return pay.Show(l.Terms.Digest(), sheets, place, size)
}

// Statement is all that decides what comes of a task under a lease whose payer wants a jury; index is the task's on the wire (pay.Shown.Index).
func (r *Requester) Statement(ctx context.Context, id string, index uint64) (lease.Statement, error) {
	_, jobID, phase, err := r.journal.sworn(ctx, id)
	if err != nil {
		return lease.Statement{}, err
	}
	rec, err := r.find(ctx, jobID)
	if err != nil {
		return lease.Statement{}, err
	}
	var body []byte
	var w lease.Work
	if err := r.journal.r.QueryRowContext(ctx, `SELECT body FROM work WHERE job = ? AND phase = ?`, jobID, phase).Scan(&body); err != nil {
		return lease.Statement{}, r.journal.wrap("read work", err)
	}
	if err := canon.Decode(body, lease.MaxMessage, &w); err != nil {
		return lease.Statement{}, r.journal.wrap("read work", err)
	}
	t := reduceTask(index)
	if phase == 0 {
		if t, err = (&errand{id: rec.ID, spec: rec.Spec}).task(ctx, r.journal, index); err != nil {
			return lease.Statement{}, err
		}
	}
	return w.Statement(t)
}
