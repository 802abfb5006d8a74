package pay

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

// schema is version 3 of the book; version 1 had a tree in each lease's row that nobody read, version 2 let go of no lease. A row of deed is what was done together and is not paid for, a row of
// leaf a Sheet; both are of leases whose payers want a jury. Leaves outlive their lease's row. Amounts are 64 bits without sign, kept as SQLite's integers with the same bits; times are Unix nanoseconds, 0 is none.
const schema = `
CREATE TABLE IF NOT EXISTS lease (id BLOB PRIMARY KEY, name TEXT NOT NULL, key BLOB NOT NULL, denom TEXT NOT NULL, until INTEGER NOT NULL, deposit INTEGER NOT NULL,
	done BLOB NOT NULL,
	voucher BLOB, signature BLOB, since INTEGER NOT NULL, ended INTEGER NOT NULL,
	redeemed INTEGER NOT NULL, redeemed_at INTEGER NOT NULL, leaving INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS terms (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS redemption (lease TEXT NOT NULL, denom TEXT NOT NULL, amount INTEGER NOT NULL, tx TEXT NOT NULL, at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS deed (row INTEGER PRIMARY KEY AUTOINCREMENT, lease BLOB NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS deed_lease ON deed (lease, row);
CREATE TABLE IF NOT EXISTS leaf (lease BLOB NOT NULL, place INTEGER NOT NULL, before INTEGER NOT NULL, peaks BLOB NOT NULL, body BLOB NOT NULL, terms BLOB NOT NULL, at INTEGER NOT NULL,
	PRIMARY KEY (lease, place));
CREATE INDEX IF NOT EXISTS leaf_at ON leaf (at);
PRAGMA user_version = 3;`

// later makes a book of a version one of the next.
var later = map[int]string{
	1: `ALTER TABLE lease DROP COLUMN leaves; ALTER TABLE lease DROP COLUMN peaks;`,
	2: `ALTER TABLE lease ADD COLUMN leaving INTEGER NOT NULL DEFAULT 0;`,
}

// book keeps what a payee must not lose, in SQLite. Promises and redemptions are written through safe, whose commits are synced to the disk; what was
// done through quick, whose commits outlive this process but perhaps not a loss of power: a promise syncs them as well. Nobody writes side by side.
type book struct {
	safe, quick *sql.DB
	count, keep *sql.Stmt // of quick
	path        string
	room        []byte // for did
}

func openBook(path string) (*book, error) {
	b := &book{path: path}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("pay book: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) // SQLite would make it readable for everybody
	if err == nil {
		err = errors.Join(f.Chmod(0o600), f.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("pay book: %w", err)
	}
	if b.safe, err = openDB(path, "FULL"); err == nil {
		err = b.make()
	}
	if err == nil {
		b.quick, err = openDB(path, "NORMAL")
	}
	if err == nil {
		b.count, err = b.quick.Prepare(`UPDATE lease SET done = ? WHERE id = ?`)
	}
	if err == nil {
		b.keep, err = b.quick.Prepare(`INSERT INTO deed (lease, body) VALUES (?, ?)`)
	}
	if err != nil {
		return nil, b.wrap("open", errors.Join(err, b.Close()))
	}
	return b, nil
}

// make makes the tables, or those that an older version did not have.
func (b *book) make() error {
	var version int
	if err := b.safe.QueryRow(`PRAGMA user_version`).Scan(&version); err != nil {
		return err
	}
	for ; later[version] != ""; version++ {
		if _, err := b.safe.Exec(fmt.Sprintf("BEGIN IMMEDIATE; %s PRAGMA user_version = %d; COMMIT", later[version], version+1)); err != nil {
			return err
		}
	}
	_, err := b.safe.Exec(schema)
	return err
}

func openDB(path, sync string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()+
		"?_pragma=journal_mode(WAL)&_pragma=synchronous("+sync+")&_pragma=busy_timeout(10000)&_pragma=cache_size(-1000)&_txlock=immediate")
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

// Close may be called on a book that is half open.
func (b *book) Close() error {
	var errs []error
	for _, s := range []*sql.Stmt{b.count, b.keep} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	for _, db := range []*sql.DB{b.quick, b.safe} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

func (b *book) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("pay book %s: %s: %w", b.path, op, err)
}

// add keeps a lease with its terms, or its terms as they are now.
func (b *book) add(ctx context.Context, id voucher.ID, t *tab, l lease.Lease) error {
	tx, err := b.safe.BeginTx(ctx, nil)
	if err != nil {
		return b.wrap("add lease", err)
	}
	defer tx.Rollback()
	_, err = tx.ExecContext(ctx, `INSERT INTO lease (id, name, key, denom, until, deposit, done, since, ended, redeemed, redeemed_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0) ON CONFLICT (id) DO UPDATE SET until = excluded.until, deposit = excluded.deposit`,
		id[:], t.name, t.key, t.denom, nanos(t.until), int64(t.deposit), canon.MustEncode(t.done))
	if err == nil {
		_, err = tx.ExecContext(ctx, `INSERT OR REPLACE INTO terms VALUES (?, ?)`, t.name, canon.MustEncode(l))
	}
	if err != nil {
		return b.wrap("add lease", err)
	}
	return b.wrap("add lease", tx.Commit())
}

// deposited keeps what the chain says of a lease: its deposit and its end.
func (b *book) deposited(ctx context.Context, id voucher.ID, t *tab) error {
	_, err := b.safe.ExecContext(ctx, `UPDATE lease SET until = ?, deposit = ? WHERE id = ?`, nanos(t.until), int64(t.deposit), id[:])
	return b.wrap("keep deposit", err)
}

// lease finds a lease by its name.
func (b *book) lease(ctx context.Context, name string) (l lease.Lease, found bool, err error) {
	var body []byte
	err = b.safe.QueryRowContext(ctx, `SELECT body FROM terms WHERE name = ?`, name).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return l, false, nil
	}
	if err == nil {
		err = canon.Decode(body, lease.MaxLease, &l)
	}
	return l, err == nil, b.wrap("find lease", err)
}

// counted keeps what was done under a lease. It is not synced.
func (b *book) counted(id voucher.ID, done voucher.Usage) error {
	_, err := b.count.Exec(canon.MustEncode(done), id[:])
	return b.wrap("count results", err)
}

// did is counted with the deeds, all or nothing. It returns their row.
func (b *book) did(id voucher.ID, done voucher.Usage, deeds []Deed) (row int64, err error) {
	b.room = AppendDeeds(b.room[:0], deeds)
	tx, err := b.quick.Begin()
	if err != nil {
		return 0, b.wrap("count results", err)
	}
	defer tx.Rollback()
	var kept sql.Result
	if _, err = tx.Stmt(b.count).Exec(canon.MustEncode(done), id[:]); err == nil {
		if kept, err = tx.Stmt(b.keep).Exec(id[:], b.room); err == nil {
			row, err = kept.LastInsertId()
		}
	}
	if err == nil {
		err = tx.Commit()
	}
	return row, b.wrap("count results", err)
}

// promised keeps a voucher, synced, and with it how the results that it pays for stand under its root; nil: it has none.
func (b *book) promised(ctx context.Context, id voucher.ID, c voucher.Claim, since time.Time, s *settlement) error {
	tx, err := b.safe.BeginTx(ctx, nil)
	if err != nil {
		return b.wrap("keep voucher", err)
	}
	defer tx.Rollback()
	_, err = tx.ExecContext(ctx, `UPDATE lease SET voucher = ?, signature = ?, since = ? WHERE id = ?`, c.Voucher, c.Signature, nanos(since), id[:])
	if err == nil && s != nil {
		err = s.write(ctx, tx, id, time.Now())
	}
	if err != nil {
		return b.wrap("keep voucher", err)
	}
	return b.wrap("keep voucher", tx.Commit())
}

// ended keeps that a lease is over.
func (b *book) ended(ctx context.Context, id voucher.ID, at time.Time) error {
	_, err := b.safe.ExecContext(ctx, `UPDATE lease SET ended = ? WHERE id = ?`, nanos(at), id[:])
	return b.wrap("end lease", err)
}

// leaves keeps, synced, that leases are let go.
func (b *book) leaves(ctx context.Context, ids []voucher.ID) error {
	tx, err := b.safe.BeginTx(ctx, nil)
	if err != nil {
		return b.wrap("let go of leases", err)
	}
	defer tx.Rollback()
	for _, id := range ids {
		if _, err := tx.ExecContext(ctx, `UPDATE lease SET leaving = 1 WHERE id = ?`, id[:]); err != nil {
			return b.wrap("let go of leases", err)
		}
	}
	return b.wrap("let go of leases", tx.Commit())
}

// redemption is one lease's part of a transaction.
type redemption struct {
	id     voucher.ID
	name   string
	denom  string
	total  uint64 // redeemed in all
	amount uint64 // by this one
}

// redeemed keeps what a transaction brought, all of it or nothing. tx "" means that it is not known which one it was.
func (b *book) redeemed(ctx context.Context, list []redemption, tx string, at time.Time) error {
	t, err := b.safe.BeginTx(ctx, nil)
	if err != nil {
		return b.wrap("keep redemption", err)
	}
	defer t.Rollback()
	for _, r := range list {
		_, err := t.ExecContext(ctx, `UPDATE lease SET redeemed = ?, redeemed_at = ? WHERE id = ?`, int64(r.total), nanos(at), r.id[:])
		if err == nil && r.amount > 0 {
			_, err = t.ExecContext(ctx, `INSERT INTO redemption VALUES (?, ?, ?, ?, ?)`, r.name, r.denom, int64(r.amount), tx, nanos(at))
		}
		if err != nil {
			return b.wrap("keep redemption", err)
		}
	}
	return b.wrap("keep redemption", t.Commit())
}

// drop forgets a lease for which nothing is left to redeem.
func (b *book) drop(ctx context.Context, id voucher.ID) error {
	_, err := b.safe.ExecContext(ctx, `DELETE FROM terms WHERE name = (SELECT name FROM lease WHERE id = ?1); DELETE FROM lease WHERE id = ?1; DELETE FROM deed WHERE lease = ?1`, id[:])
	return b.wrap("forget lease", err)
}

// tabs reads all leases.
func (b *book) tabs() (map[voucher.ID]*tab, error) {
	rows, err := b.safe.Query(`SELECT id, lease.name, key, denom, until, deposit, done, voucher, signature, since, ended, redeemed, redeemed_at, leaving, body
		FROM lease LEFT JOIN terms ON terms.name = lease.name`)
	if err != nil {
		return nil, b.wrap("read leases", err)
	}
	defer rows.Close()
	all := map[voucher.ID]*tab{}
	for rows.Next() {
		id, t, err := scanTab(rows)
		if err != nil {
			return nil, b.wrap("read leases", err)
		}
		all[id] = t
	}
	return all, b.wrap("read leases", rows.Err())
}

func scanTab(rows *sql.Rows) (id voucher.ID, _ *tab, err error) {
	var key, done, body []byte
	var until, deposit, since, ended, redeemed, redeemedAt int64
	t := &tab{funded: true}
	if err := rows.Scan(&key, &t.name, &t.key, &t.denom, &until, &deposit, &done, &t.claim.Voucher, &t.claim.Signature, &since, &ended, &redeemed, &redeemedAt, &t.leaving, &body); err != nil {
		return id, nil, err
	}
	copy(id[:], key)
	t.until, t.since, t.ended, t.redeemedAt = fromNanos(until), fromNanos(since), fromNanos(ended), fromNanos(redeemedAt)
	t.deposit, t.redeemed = uint64(deposit), uint64(redeemed)
	if err := canon.Decode(done, voucher.MaxVoucher, &t.done); err != nil {
		return id, nil, err
	}
	t.old = t.done
	var l lease.Lease
	if canon.Decode(body, lease.MaxLease, &l) == nil { // else its price is not known, and it is not let go
		t.rates = &l.Terms.Quote.Rates
	}
	if t.claim.Voucher != nil {
		t.last, err = voucher.Parse(t.claim.Voucher)
	}
	return id, t, err
}

// redemptions counts the redemptions of all times.
func (b *book) redemptions() (n int, err error) {
	err = b.safe.QueryRow(`SELECT count(*) FROM redemption`).Scan(&n)
	return n, b.wrap("count redemptions", err)
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanos(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}
