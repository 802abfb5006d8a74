package requester

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// ErrUnknownJob is returned for an identity that no job of this node has.
var ErrUnknownJob = errors.New("unknown job")

// schema is version 1 of the journal. A result row is a task that counts; a vote row is an execution whose task is still being checked, or whose result
// a checker has refused; a checked row is a task that somebody checked; a class row is the hardware of a node that voted; a record row is what this node saw of another one as one hardware
// class; a purse row is what a paid lease costs, and a leaf row some of its leaves (pay.Sheet) where its payer wants a jury; a work row is what the tasks of a phase had in common then;
// a review row is a result of a node that was convicted later, and that nobody had checked; a question row is a dispute whose verdict is not known here, and a chance row a program that is not deterministic.
const schema = `
CREATE TABLE IF NOT EXISTS job (id TEXT PRIMARY KEY, created INTEGER NOT NULL, live INTEGER NOT NULL, secret BLOB NOT NULL, spec BLOB NOT NULL, status BLOB NOT NULL, final INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS event (job TEXT NOT NULL, at INTEGER NOT NULL, state TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS event_job ON event (job, at);
CREATE TABLE IF NOT EXISTS part (job TEXT NOT NULL, idx INTEGER NOT NULL, path TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (job, idx)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS node (id INTEGER PRIMARY KEY, peer TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS result (job TEXT NOT NULL, idx INTEGER NOT NULL, node INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (job, idx)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS vote (job TEXT NOT NULL, idx INTEGER NOT NULL, node INTEGER NOT NULL, owner TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (job, idx, node)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checked (job TEXT NOT NULL, idx INTEGER NOT NULL, PRIMARY KEY (job, idx)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS class (node INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS lease (id TEXT PRIMARY KEY, job TEXT NOT NULL, phase INTEGER NOT NULL, body BLOB NOT NULL, addrs TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS purse (lease TEXT PRIMARY KEY, job TEXT NOT NULL, phase INTEGER NOT NULL, body BLOB NOT NULL, deposit INTEGER NOT NULL, used BLOB NOT NULL, voucher BLOB, state INTEGER NOT NULL, at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS record (node INTEGER NOT NULL, class TEXT NOT NULL, rights INTEGER NOT NULL, wrongs INTEGER NOT NULL, lost INTEGER NOT NULL, unverified INTEGER NOT NULL, good REAL NOT NULL, bad REAL NOT NULL, at INTEGER NOT NULL, seen INTEGER NOT NULL, erred INTEGER NOT NULL, before INTEGER NOT NULL, PRIMARY KEY (node, class)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS purse_job ON purse (job);
CREATE TABLE IF NOT EXISTS leaf (lease TEXT NOT NULL, place INTEGER NOT NULL, before INTEGER NOT NULL, peaks BLOB NOT NULL, body BLOB NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (lease, place));
CREATE INDEX IF NOT EXISTS leaf_at ON leaf (at);
CREATE TABLE IF NOT EXISTS work (job TEXT NOT NULL, phase INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (job, phase)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS review (lease TEXT NOT NULL, place INTEGER NOT NULL, job TEXT NOT NULL, idx INTEGER NOT NULL, node TEXT NOT NULL, state INTEGER NOT NULL, tries INTEGER NOT NULL, at INTEGER NOT NULL, told INTEGER NOT NULL, PRIMARY KEY (lease, place)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS review_node ON review (node, state);
CREATE INDEX IF NOT EXISTS review_job ON review (job);
CREATE TABLE IF NOT EXISTS question (node BLOB NOT NULL, sequence INTEGER NOT NULL, place INTEGER NOT NULL, accused BLOB NOT NULL, lease TEXT NOT NULL, idx INTEGER NOT NULL, PRIMARY KEY (node, sequence, place, accused)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chance (program TEXT PRIMARY KEY, job TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS conviction (node TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (node, until)) WITHOUT ROWID;
PRAGMA user_version = 1;`

// journal keeps jobs, results and leases in SQLite, so that whatever is in it survives a kill at any instant.
// Writing goes through one connection whose commits are synced to the disk; reading never waits for writing (WAL).
type journal struct {
	w, r *sql.DB
	path string

	committing sync.Mutex // held by commit, so that known follows the file
	known      standings
}

func openJournal(dir string) (*journal, error) {
	j := &journal{path: filepath.Join(dir, "node.db")}
	f, err := os.OpenFile(j.path, os.O_RDWR|os.O_CREATE, 0o600) // SQLite would make it readable for everybody
	if err == nil {
		err = errors.Join(f.Chmod(0o600), f.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if j.w, err = openDB(j.path, 1); err != nil {
		return nil, err
	}
	if _, err := j.w.Exec(schema); err != nil {
		j.w.Close()
		return nil, fmt.Errorf("journal %s: %w", j.path, err)
	}
	if j.r, err = openDB(j.path, 4); err != nil {
		j.w.Close()
		return nil, err
	}
	if err := j.recall(); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

func openDB(path string, conns int) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(10000)&_pragma=cache_size(-8000)&_txlock=immediate")
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w", path, err)
	}
	db.SetMaxOpenConns(conns)
	return db, nil
}

func (j *journal) Close() error { return errors.Join(j.r.Close(), j.w.Close()) }

// wrap names the journal in an error, and the remedy where the disk is full.
func (j *journal) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	if strings.Contains(err.Error(), "disk is full") || strings.Contains(err.Error(), "no space left") {
		return &job.Failure{Code: job.CodeDisk, Message: fmt.Sprintf("journal %s: the disk is full", j.path), Hint: "free some space; nothing that was counted is lost, and hpips up takes the job up again"}
	}
	return fmt.Errorf("journal %s: %s: %w", j.path, op, err)
}

// maxRecord is the largest specification that is kept, in bytes of its canonical form, in which ranges are written out.
const maxRecord = 4 * job.MaxSpec

// record is one job as the journal has it.
type record struct {
	ID     string
	Live   bool // its standard input is streamed
	Secret [32]byte
	Spec   job.Spec
	Status job.Status
}

func (j *journal) addJob(ctx context.Context, r record) error {
	spec, status := canon.MustEncode(r.Spec), mustJSON(r.Status)
	_, err := j.w.ExecContext(ctx, `INSERT INTO job (id, created, live, secret, spec, status, final) VALUES (?, ?, ?, ?, ?, ?, 0)`,
		r.ID, r.Status.Created.UnixNano(), r.Live, r.Secret[:], spec, status)
	return j.wrap("add job", err)
}

func (j *journal) saveStatus(ctx context.Context, s job.Status) error {
	_, err := j.w.ExecContext(ctx, `UPDATE job SET status = ?, final = ? WHERE id = ?`, mustJSON(s), s.State.Final(), s.Job)
	return j.wrap("save status", err)
}

// job finds a job by its identity or a prefix that only one job has.
func (j *journal) job(ctx context.Context, id string) (record, error) {
	rows, err := j.r.QueryContext(ctx, `SELECT id, live, secret, spec, status FROM job WHERE substr(id, 1, ?) = ? LIMIT 2`, len(id), id)
	if err != nil {
		return record{}, j.wrap("read job", err)
	}
	found, err := scanJobs(rows)
	switch {
	case err != nil:
		return record{}, j.wrap("read job", err)
	case len(found) == 0 || id == "":
		return record{}, fmt.Errorf("job %q: %w", id, ErrUnknownJob)
	case len(found) > 1:
		return record{}, fmt.Errorf("job %q: more than one job begins so: %w", id, ErrUnknownJob)
	}
	return found[0], nil
}

// jobs lists all jobs, or only those that are not over, the oldest first.
func (j *journal) jobs(ctx context.Context, openOnly bool) ([]record, error) {
	rows, err := j.r.QueryContext(ctx, `SELECT id, live, secret, spec, status FROM job WHERE final = 0 OR NOT ? ORDER BY created`, openOnly)
	if err != nil {
		return nil, j.wrap("list jobs", err)
	}
	found, err := scanJobs(rows)
	return found, j.wrap("list jobs", err)
}

func scanJobs(rows *sql.Rows) ([]record, error) {
	defer rows.Close()
	var found []record
	for rows.Next() {
		var r record
		var secret, spec, status []byte
		if err := rows.Scan(&r.ID, &r.Live, &secret, &spec, &status); err != nil {
			return nil, err
		}
		copy(r.Secret[:], secret)
		if err := errors.Join(canon.Decode(spec, maxRecord, &r.Spec), json.Unmarshal(status, &r.Status)); err != nil {
			return nil, err
		}
		found = append(found, r)
	}
	return found, rows.Err()
}

func (j *journal) addEvent(ctx context.Context, id string, e job.Event) error {
	_, err := j.w.ExecContext(ctx, `INSERT INTO event VALUES (?, ?, ?, ?)`, id, e.Time.UnixNano(), e.State, e.Text)
	return j.wrap("add event", err)
}

func (j *journal) events(ctx context.Context, id string) ([]job.Event, error) {
	rows, err := j.r.QueryContext(ctx, `SELECT at, state, text FROM event WHERE job = ? ORDER BY at, rowid`, id)
	if err != nil {
		return nil, j.wrap("read events", err)
	}
	defer rows.Close()
	var events []job.Event
	for rows.Next() {
		var e job.Event
		var at int64
		if err := rows.Scan(&at, &e.State, &e.Text); err != nil {
			return nil, j.wrap("read events", err)
		}
		e.Time = time.Unix(0, at)
		events = append(events, e)
	}
	return events, j.wrap("read events", rows.Err())
}

// part is what one task of a Map is given.
type part struct {
	Path    string
	Content job.Content
}

// partsPerCommit is how many parts are written in one transaction. Making parts takes long, and no other job waits for it.
const partsPerCommit = 256

// addParts writes the parts of a job, in place of those that an earlier life has left behind.
func (j *journal) addParts(ctx context.Context, id string, parts func(yield func(part) error) error) (n uint64, err error) {
	if _, err := j.w.ExecContext(ctx, `DELETE FROM part WHERE job = ?`, id); err != nil {
		return 0, j.wrap("add parts", err)
	}
	var rows []any
	flush := func() error {
		if len(rows) == 0 {
			return nil
		}
		_, err := j.w.ExecContext(ctx, `INSERT INTO part VALUES `+strings.TrimSuffix(strings.Repeat("(?,?,?,?),", len(rows)/4), ","), rows...)
		rows = rows[:0]
		return j.wrap("add parts", err)
	}
	err = parts(func(p part) error {
		rows = append(rows, id, n, p.Path, canon.MustEncode(p.Content))
		n++
		if len(rows) == 4*partsPerCommit {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	return n, err
}

func (j *journal) part(ctx context.Context, id string, index uint64) (part, error) {
	var p part
	var body []byte
	err := j.r.QueryRowContext(ctx, `SELECT path, body FROM part WHERE job = ? AND idx = ?`, id, index).Scan(&p.Path, &body)
	if err == nil {
		err = canon.Decode(body, lease.MaxMessage, &p.Content)
	}
	return p, j.wrap("read part", err)
}

func (j *journal) addLease(ctx context.Context, id string, phase int, l lease.Lease, addrs []string) error {
	_, err := j.w.ExecContext(ctx, `INSERT OR REPLACE INTO lease VALUES (?, ?, ?, ?, ?)`, l.ID(), id, phase, canon.MustEncode(l), strings.Join(addrs, " "))
	return j.wrap("add lease", err)
}

func (j *journal) dropLease(ctx context.Context, leaseID string) error {
	_, err := j.w.ExecContext(ctx, `DELETE FROM lease WHERE id = ?`, leaseID)
	return j.wrap("drop lease", err)
}

// kept is a lease of an earlier life of this process.
type kept struct {
	Lease lease.Lease
	Addrs []string
}

func (j *journal) leases(ctx context.Context, id string, phase int) ([]kept, error) {
	rows, err := j.r.QueryContext(ctx, `SELECT body, addrs FROM lease WHERE job = ? AND phase = ?`, id, phase)
	if err != nil {
		return nil, j.wrap("read leases", err)
	}
	defer rows.Close()
	var found []kept
	for rows.Next() {
		var k kept
		var body []byte
		var addrs string
		if err := rows.Scan(&body, &addrs); err != nil {
			return nil, j.wrap("read leases", err)
		}
		if err := canon.Decode(body, lease.MaxLease, &k.Lease); err != nil {
			return nil, j.wrap("read leases", err)
		}
		k.Addrs = strings.Fields(addrs)
		found = append(found, k)
	}
	return found, j.wrap("read leases", rows.Err())
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain fields only
	}
	return b
}
