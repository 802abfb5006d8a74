package gateway

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"
)

// pinSchema is version 1 of the list. created is Unix nanoseconds, different for each; root is the folder that holds the content, "" before it
// was made; instead is the root of a request that this one replaced, held until this one is pinned.
const pinSchema = `
CREATE TABLE IF NOT EXISTS request (id TEXT PRIMARY KEY, created INTEGER NOT NULL UNIQUE, status TEXT NOT NULL, cid TEXT NOT NULL, name TEXT NOT NULL,
	origins TEXT NOT NULL, meta TEXT NOT NULL, root TEXT NOT NULL DEFAULT '', instead TEXT NOT NULL DEFAULT '', details TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS request_status ON request (status, created);
CREATE INDEX IF NOT EXISTS request_cid ON request (cid);
PRAGMA user_version = 1;`

const pinVersion = 1

// The errors of the list that a client is told.
var (
	errNoRequest = errors.New("there is no such request")
	errFull      = errors.New("this service keeps no more requests")
)

// pinList keeps the requests in SQLite; each change is on the disk when it returns.
type pinList struct{ db *sql.DB }

func openPinList(path string) (*pinList, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) // SQLite would make it readable for everybody
	if err == nil {
		err = errors.Join(f.Chmod(0o600), f.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("pins: %w", err)
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()+
		"?_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=cache_size(-1024)&_txlock=immediate")
	if err != nil {
		return nil, fmt.Errorf("pins %s: %w", path, err)
	}
	db.SetMaxOpenConns(2)
	var version int
	err = db.QueryRow("PRAGMA user_version").Scan(&version)
	if err == nil && version > pinVersion {
		err = fmt.Errorf("version %d is newer than this program", version)
	}
	if err == nil {
		_, err = db.Exec("BEGIN IMMEDIATE;" + pinSchema + "COMMIT;")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("pins %s: %w", path, err), db.Close())
	}
	return &pinList{db}, nil
}

func (l *pinList) close() error { return l.db.Close() }

// begin puts what was under way back into the queue and gives all roots that requests hold.
func (l *pinList) begin(ctx context.Context) (roots map[string]bool, err error) {
	if _, err := l.db.ExecContext(ctx, "UPDATE request SET status = ? WHERE status = ?", Queued, Pinning); err != nil {
		return nil, err
	}
	rows, err := l.db.QueryContext(ctx, "SELECT root, instead FROM request")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	roots = map[string]bool{}
	for rows.Next() {
		var root, instead string
		if err := rows.Scan(&root, &instead); err != nil {
			return nil, err
		}
		roots[root], roots[instead] = true, true
	}
	return roots, rows.Err()
}

// pinWork is a request whose turn it is.
type pinWork struct {
	id, cid, instead string
	origins          []string
	rate             uint64 // see rateOf
}

// next takes the oldest request out of the queue; nil: none waits.
func (l *pinList) next(ctx context.Context) (*pinWork, error) {
	w := &pinWork{}
	var origins, meta string
	err := l.db.QueryRowContext(ctx, `UPDATE request SET status = ? WHERE id = (SELECT id FROM request WHERE status = ? ORDER BY created LIMIT 1)
		RETURNING id, cid, instead, origins, meta`, Pinning, Queued).Scan(&w.id, &w.cid, &w.instead, &origins, &meta)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var said map[string]string
	if err := errors.Join(json.Unmarshal([]byte(origins), &w.origins), json.Unmarshal([]byte(meta), &said)); err != nil {
		return nil, err
	}
	w.rate, err = rateOf(said)
	return w, err
}

// change runs an update of one request and tells whether that is still there.
func (l *pinList) change(ctx context.Context, query string, args ...any) (bool, error) {
	r, err := l.db.ExecContext(ctx, query, args...)
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n > 0, err
}

// rooted writes down which pin will hold a request, before there is one.
func (l *pinList) rooted(ctx context.Context, id, root string) (bool, error) {
	return l.change(ctx, "UPDATE request SET root = ? WHERE id = ?", root, id)
}

func (l *pinList) pinned(ctx context.Context, id string) (bool, error) {
	return l.change(ctx, "UPDATE request SET status = ?, instead = '' WHERE id = ?", Pinned, id)
}

func (l *pinList) fail(ctx context.Context, id, why string) error {
	_, err := l.change(ctx, "UPDATE request SET status = ?, details = ? WHERE id = ?", Failed, why, id)
	return err
}

// add writes a request; old, if there is one, is removed in the same transaction, and what it held is held on until this one is pinned.
func (l *pinList) add(ctx context.Context, id string, p Pin, old string, most int) (Status, error) {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return Status{}, err
	}
	defer func() { _ = tx.Rollback() }() // after Commit this does nothing
	instead := ""
	if old != "" {
		roots, err := takeOut(ctx, tx, old)
		if err != nil {
			return Status{}, err
		}
		instead = cmp.Or(roots...) // where old still held what it replaced itself, its own root is let go of by whoever works on it
	}
	var count int
	var last int64
	if err := tx.QueryRowContext(ctx, "SELECT count(*), coalesce(max(created), 0) FROM request").Scan(&count, &last); err != nil {
		return Status{}, err
	}
	if count >= most {
		return Status{}, errFull
	}
	created := max(time.Now().UnixNano(), last+1)
	origins, err := json.Marshal(append([]string{}, p.Origins...))
	if err != nil {
		return Status{}, err
	}
	meta, err := json.Marshal(p.Meta)
	if err != nil {
		return Status{}, err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO request (id, created, status, cid, name, origins, meta, instead) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		id, created, Queued, p.CID, p.Name, string(origins), string(meta), instead)
	if err != nil {
		return Status{}, err
	}
	return Status{Request: id, Status: Queued, Created: time.Unix(0, created).UTC(), Pin: p}, tx.Commit()
}

// takeOut deletes a request and gives the roots that it held: what it replaced, then its own.
func takeOut(ctx context.Context, tx *sql.Tx, id string) ([]string, error) {
	var root, instead string
	err := tx.QueryRowContext(ctx, "DELETE FROM request WHERE id = ? RETURNING root, instead", id).Scan(&root, &instead)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errNoRequest
	}
	return []string{instead, root}, err
}

func (l *pinList) remove(ctx context.Context, id string) ([]string, error) {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }() // after Commit this does nothing
	roots, err := takeOut(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	return roots, tx.Commit()
}

const pinColumns = "SELECT id, created, status, cid, name, origins, meta, details FROM request"

func (l *pinList) get(ctx context.Context, id string) (Status, error) {
	all, err := l.read(ctx, pinColumns+" WHERE id = ?", id)
	if err == nil && len(all) == 0 {
		err = errNoRequest
	}
	if err != nil {
		return Status{}, err
	}
	return all[0], nil
}

// query is what a client looks for. Zero fields are not looked at; limit is.
type query struct {
	cids, statuses []string
	name, match    string
	before, after  time.Time
	meta           map[string]string
	limit          int
}

// names says how a name is compared, by the words of the specification. Letters without case are ASCII's.
var names = map[string]string{"exact": "name = ?", "iexact": "lower(name) = lower(?)", "partial": "instr(name, ?) > 0", "ipartial": "instr(lower(name), lower(?)) > 0"}

// find gives the newest requests that match, and how many there are in all.
func (l *pinList) find(ctx context.Context, q query) (count int, found []Status, err error) {
	where, args := []string{"1"}, []any{}
	also := func(condition string, values ...any) { where, args = append(where, condition), append(args, values...) }
	among := func(column string, values []string) {
		if len(values) > 0 {
			also(column+" IN (?"+strings.Repeat(", ?", len(values)-1)+")", anys(values)...)
		}
	}
	among("cid", q.cids)
	among("status", q.statuses)
	if q.name != "" {
		also(names[q.match], q.name)
	}
	if !q.before.IsZero() {
		also("created < ?", q.before.UnixNano())
	}
	if !q.after.IsZero() {
		also("created > ?", q.after.UnixNano())
	}
	for k, v := range q.meta {
		also("EXISTS (SELECT 1 FROM json_each(meta) WHERE key = ? AND value = ?)", k, v)
	}
	condition := " WHERE " + strings.Join(where, " AND ")
	if err := l.db.QueryRowContext(ctx, "SELECT count(*) FROM request"+condition, args...).Scan(&count); err != nil {
		return 0, nil, err
	}
	found, err = l.read(ctx, pinColumns+condition+" ORDER BY created DESC LIMIT ?", append(args, q.limit)...)
	return count, found, err
}

func anys(all []string) []any {
	out := make([]any, len(all))
	for i, v := range all {
		out[i] = v
	}
	return out
}

func (l *pinList) read(ctx context.Context, text string, args ...any) ([]Status, error) {
	rows, err := l.db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := []Status{}
	for rows.Next() {
		var s Status
		var created int64
		var origins, meta, details string
		if err := rows.Scan(&s.Request, &created, &s.Status, &s.Pin.CID, &s.Pin.Name, &origins, &meta, &details); err != nil {
			return nil, err
		}
		if err := errors.Join(json.Unmarshal([]byte(origins), &s.Pin.Origins), json.Unmarshal([]byte(meta), &s.Pin.Meta)); err != nil {
			return nil, err
		}
		s.Created = time.Unix(0, created).UTC()
		if details != "" {
			s.Info = map[string]string{"status_details": details}
		}
		all = append(all, s)
	}
	return all, rows.Err()
}
