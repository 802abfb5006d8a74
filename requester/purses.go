package requester

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

// pursed is a paid lease as the journal has it, from before its deposit is made until long after it is closed.
type pursed struct {
	Lease   lease.Lease
	Deposit uint64
	Used    voucher.Usage
	Voucher *voucher.Signed // the last that was signed; nil: none
	State   purseState
	At      time.Time // of the last change
}

// promised is what was signed for in all.
func (p pursed) promised() uint64 {
	if p.Voucher == nil {
		return 0
	}
	return p.Voucher.Voucher.Amount
}

type purseState int

const (
	purseOpen   purseState = iota
	purseEnded             // no more is signed; the chain is to be told
	purseClosed            // the chain has been told
)

// payment is what one transaction of the journal says of a purse.
type payment struct {
	purse  *purse
	lease  lease.Lease
	id     string
	used   voucher.Usage
	sign   bool       // a voucher for it is to be signed
	draft  *pay.Draft // of its leaves; nil: nobody wants a jury
	sheet  *pay.Sheet // of the draft, to be written
	signed *voucher.Signed
	err    error // why nothing was signed, or less than all
}

// addPurses notes leases whose deposits are about to be made, so that they are closed whatever becomes of this process.
func (j *journal) addPurses(ctx context.Context, id string, phase int, leases []lease.Lease, now time.Time) error {
	tx, err := j.w.BeginTx(ctx, nil)
	if err != nil {
		return j.wrap("add purses", err)
	}
	defer tx.Rollback()
	for _, l := range leases {
		if _, err := tx.ExecContext(ctx, `INSERT OR IGNORE INTO purse VALUES (?, ?, ?, ?, ?, ?, NULL, ?, ?)`,
			l.ID(), id, phase, canon.MustEncode(l), int64(l.Terms.Pay.Deposit), canon.MustEncode(voucher.Usage{}), purseOpen, now.UnixMilli()); err != nil {
			return j.wrap("add purses", err)
		}
	}
	return j.wrap("add purses", tx.Commit())
}

// writePayments writes, within a transaction, what was used and the vouchers for it.
func writePayments(ctx context.Context, tx *sql.Tx, payments []payment, now time.Time) error {
	for _, p := range payments {
		var signed any
		if p.signed != nil {
			signed = canon.MustEncode(*p.signed)
		}
		if _, err := tx.ExecContext(ctx, `UPDATE purse SET used = ?, voucher = coalesce(?, voucher), at = ? WHERE lease = ?`,
			canon.MustEncode(p.used), signed, now.UnixMilli(), p.id); err != nil {
			return err
		}
		if p.sheet != nil {
			if err := writeSheet(ctx, tx, p.id, *p.sheet, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// setDeposit notes that a deposit has grown, or is about to.
func (j *journal) setDeposit(ctx context.Context, leaseID string, l lease.Lease, deposit uint64) error {
	_, err := j.w.ExecContext(ctx, `UPDATE purse SET deposit = ?, body = ? WHERE lease = ?`, int64(deposit), canon.MustEncode(l), leaseID)
	return j.wrap("set deposit", err)
}

// endPurses notes that no more is signed under a lease, or under all of a phase where the lease is "".
func (j *journal) endPurses(ctx context.Context, id string, phase int, leaseID string, now time.Time) error {
	_, err := j.w.ExecContext(ctx, `UPDATE purse SET state = ?, at = ? WHERE job = ? AND phase = ? AND (lease = ? OR ? = '') AND state = ?`,
		purseEnded, now.UnixMilli(), id, phase, leaseID, leaseID, purseOpen)
	return j.wrap("end purses", err)
}

// endOrphans ends the purses of jobs that are over: an earlier life did not come to it.
func (j *journal) endOrphans(ctx context.Context, now time.Time) error {
	_, err := j.w.ExecContext(ctx, `UPDATE purse SET state = ?, at = ? WHERE state = ? AND job IN (SELECT id FROM job WHERE final = 1)`, purseEnded, now.UnixMilli(), purseOpen)
	return j.wrap("end purses", err)
}

// closePurses notes that the chain knows of the end of leases.
func (j *journal) closePurses(ctx context.Context, leases []lease.Lease) error {
	tx, err := j.w.BeginTx(ctx, nil)
	if err != nil {
		return j.wrap("close purses", err)
	}
	defer tx.Rollback()
	for _, l := range leases {
		if _, err := tx.ExecContext(ctx, `UPDATE purse SET state = ? WHERE lease = ?`, purseClosed, l.ID()); err != nil {
			return j.wrap("close purses", err)
		}
	}
	return j.wrap("close purses", tx.Commit())
}

// purses lists the paid leases of a job in the order in which they were made.
func (j *journal) purses(ctx context.Context, id string) ([]pursed, error) {
	return j.readPurses(ctx, `WHERE job = ? ORDER BY rowid`, id)
}

// pursesIn lists the paid leases in a state that have changed since a time.
func (j *journal) pursesIn(ctx context.Context, s purseState, since time.Time) ([]pursed, error) {
	return j.readPurses(ctx, `WHERE state = ? AND at >= ? ORDER BY rowid`, s, since.UnixMilli())
}

func (j *journal) readPurses(ctx context.Context, where string, args ...any) ([]pursed, error) {
	rows, err := j.r.QueryContext(ctx, `SELECT body, deposit, used, voucher, state, at FROM purse `+where, args...)
	if err != nil {
		return nil, j.wrap("read purses", err)
	}
	defer rows.Close()
	var found []pursed
	for rows.Next() {
		var p pursed
		var body, used, signed []byte
		var deposit, at int64
		err := rows.Scan(&body, &deposit, &used, &signed, &p.State, &at)
		if err == nil {
			err = canon.Decode(body, lease.MaxLease, &p.Lease)
		}
		if err == nil {
			err = canon.Decode(used, voucher.MaxVoucher, &p.Used)
		}
		if err == nil && signed != nil {
			p.Voucher = &voucher.Signed{}
			err = canon.Decode(signed, 2*voucher.MaxVoucher, p.Voucher)
		}
		if err != nil {
			return nil, j.wrap("read purses", err)
		}
		p.Deposit, p.At = uint64(deposit), time.UnixMilli(at)
		found = append(found, p)
	}
	return found, j.wrap("read purses", rows.Err())
}

// Cost tells what a job has cost so far, lease by lease.
func (r *Requester) Cost(ctx context.Context, id string) (job.Cost, error) {
	rec, err := r.find(ctx, id)
	if err != nil {
		return job.Cost{}, err
	}
	c := job.Cost{Job: rec.ID, Ceiling: rec.Spec.Limits.Price, Leases: []job.LeaseCost{}}
	purses, err := r.journal.purses(ctx, rec.ID)
	if err != nil {
		return job.Cost{}, fmt.Errorf("cost of job %s: %w", rec.ID, err)
	}
	for _, p := range purses {
		t := p.Lease.Terms
		if p.State == purseClosed && p.promised() == 0 {
			continue // it cost nothing: its deposit returned, or was never made
		}
		l := job.LeaseCost{Node: t.Quote.Provider, Owner: t.Quote.Owner, Lease: p.Lease.ID(), Denom: t.Pay.Denom,
			Deposited: p.Deposit, Promised: p.promised(), Rates: t.Quote.Rates, Usage: p.Used, Closed: p.State == purseClosed}
		if r.deps.Court != nil && t.Pay.Jury {
			if l.Juries, err = r.deps.Court.Paid(ctx, t.Key()); err != nil {
				return job.Cost{}, fmt.Errorf("cost of job %s: %w", rec.ID, err)
			}
		}
		c.Deposited, c.Promised, c.Juries = c.Deposited+l.Deposited, c.Promised+l.Promised, c.Juries+l.Juries
		c.Leases = append(c.Leases, l)
	}
	return c, nil
}
