package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	_ "modernc.org/sqlite" // the driver named "sqlite"

	"github.com/hpips/hpips/store/pack"
)

// schema is version 2 of index.db. Small blocks lie in it; of large ones it tells where those
// lie whose record is known to be on the disk for good. total has one row.
const schema = `
CREATE TABLE small (id INTEGER PRIMARY KEY, mh BLOB NOT NULL UNIQUE, data BLOB NOT NULL);
CREATE TABLE pins (cid BLOB PRIMARY KEY, name TEXT NOT NULL, since INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE total (blocks INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO total VALUES (0, 0);
` + schemaBig

const schemaBig = `
CREATE TABLE big (mh BLOB PRIMARY KEY, size INTEGER NOT NULL, pack INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX packed ON big (pack, at, size);
PRAGMA user_version = 2;
`

// schemaFrom1 forgets the large blocks of version 1, each of which had a file of its own: takeOver puts them where they lie now.
const schemaFrom1 = `
UPDATE total SET (blocks, bytes) = (SELECT count(*), coalesce(sum(length(data)), 0) FROM small);
DROP TABLE big;
` + schemaBig

// index is the SQLite side of the blocks.
type index struct {
	db    *sql.DB
	path  string
	made  bool // it was not there before
	get   *sql.Stmt
	size  *sql.Stmt
	where *sql.Stmt
}

func openIndex(dir string) (*index, error) {
	path := filepath.Join(dir, "index.db")
	// A page of 16 KiB holds three blocks of 4 KiB; FULL makes each commit durable.
	query := url.Values{"_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(20000)", "page_size(16384)", "auto_vacuum(2)", "journal_mode(WAL)",
		"synchronous(FULL)", "cache_size(-2048)", "wal_autocheckpoint(1000)", "journal_size_limit(4194304)",
	}}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()+"?"+query.Encode())
	if err != nil {
		return nil, fmt.Errorf("index %s: %w", path, err)
	}
	db.SetMaxOpenConns(4)
	db.SetMaxIdleConns(4)
	x := &index{db: db, path: path}
	if err := x.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("index %s: %w", path, explain(err, path)), db.Close())
	}
	return x, nil
}

func (x *index) prepare() error {
	var version int
	if err := x.db.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	switch version {
	case 0:
		if _, err := x.db.Exec("BEGIN IMMEDIATE;" + schema + "COMMIT;"); err != nil {
			return err
		}
		x.made = true
	case 1:
		if _, err := x.db.Exec("BEGIN IMMEDIATE;" + schemaFrom1 + "COMMIT;"); err != nil {
			return err
		}
	case 2:
	default:
		return hint(fmt.Errorf("version %d is newer than this program", version), "install a newer hpips")
	}
	for text, to := range map[string]**sql.Stmt{
		"SELECT data FROM small WHERE mh = ?":         &x.get,
		"SELECT length(data) FROM small WHERE mh = ?": &x.size,
		"SELECT pack, at, size FROM big WHERE mh = ?": &x.where,
	} {
		stmt, err := x.db.Prepare(text)
		if err != nil {
			return err
		}
		*to = stmt
	}
	return nil
}

func (x *index) close() error {
	return errors.Join(x.get.Close(), x.size.Close(), x.where.Close(), x.db.Close())
}

// load reads a small block; nil when absent.
func (x *index) load(ctx context.Context, h multihash.Multihash) ([]byte, error) {
	var data []byte
	err := x.get.QueryRowContext(ctx, []byte(h)).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if data == nil && err == nil {
		data = []byte{}
	}
	return data, err
}

// smallSize is the size of a small block, -1 when absent.
func (x *index) smallSize(ctx context.Context, h multihash.Multihash) (int, error) {
	n := -1
	err := x.size.QueryRowContext(ctx, []byte(h)).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return -1, nil
	}
	return n, err
}

// place tells where a large block lies that was once made durable.
func (x *index) place(ctx context.Context, h multihash.Multihash) (p pack.Place, ok bool, err error) {
	err = x.where.QueryRowContext(ctx, []byte(h)).Scan(&p.Pack, &p.At, &p.Size)
	if errors.Is(err, sql.ErrNoRows) {
		return p, false, nil
	}
	return p, err == nil, err
}

// store commits a batch in one durable transaction and reports how many blocks and bytes
// were new.
func (x *index) store(ctx context.Context, small map[string][]byte, big map[string]pack.Place) (n, bytes int64, err error) {
	tx, err := x.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = tx.Rollback() }() // after Commit this does nothing
	count := func(r sql.Result, size int) error {
		k, err := r.RowsAffected()
		n, bytes = n+k, bytes+k*int64(size)
		return err
	}
	putSmall, err := tx.PrepareContext(ctx, "INSERT OR IGNORE INTO small (mh, data) VALUES (?, ?)")
	if err != nil {
		return 0, 0, err
	}
	defer putSmall.Close()
	heal, err := tx.PrepareContext(ctx, "UPDATE small SET data = ?1 WHERE mh = ?2 AND data IS NOT ?1")
	if err != nil {
		return 0, 0, err
	}
	defer heal.Close()
	for h, data := range small {
		r, err := putSmall.ExecContext(ctx, []byte(h), data)
		if err != nil {
			return 0, 0, err
		}
		before := n
		if err := count(r, len(data)); err != nil {
			return 0, 0, err
		}
		if n > before {
			continue
		}
		// There already: a good copy heals a damaged one.
		if _, err := heal.ExecContext(ctx, data, []byte(h)); err != nil {
			return 0, 0, err
		}
	}
	for h, p := range big {
		r, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO big (mh, size, pack, at) VALUES (?, ?, ?, ?)", []byte(h), p.Size, p.Pack, p.At)
		if err != nil {
			return 0, 0, err
		}
		before := n
		if err := count(r, p.Size); err != nil {
			return 0, 0, err
		}
		if n > before {
			continue
		}
		// There already: the new copy may have been made because the old one cannot be read.
		if _, err := tx.ExecContext(ctx, "UPDATE big SET pack = ?, at = ? WHERE mh = ?", p.Pack, p.At, []byte(h)); err != nil {
			return 0, 0, err
		}
	}
	if _, err := tx.ExecContext(ctx, "UPDATE total SET blocks = blocks + ?, bytes = bytes + ?", n, bytes); err != nil {
		return 0, 0, err
	}
	return n, bytes, tx.Commit()
}

// drop forgets blocks of both sizes and reports how many and how many bytes.
func (x *index) drop(ctx context.Context, hashes ...multihash.Multihash) (n, bytes int64, err error) {
	tx, err := x.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = tx.Rollback() }() // after Commit this does nothing
	for _, h := range hashes {
		for _, text := range []string{
			"DELETE FROM small WHERE mh = ? RETURNING length(data)",
			"DELETE FROM big WHERE mh = ? RETURNING size",
		} {
			var size int64
			switch err := tx.QueryRowContext(ctx, text, []byte(h)).Scan(&size); {
			case errors.Is(err, sql.ErrNoRows):
			case err != nil:
				return 0, 0, err
			default:
				n, bytes = n+1, bytes+size
			}
		}
	}
	if _, err := tx.ExecContext(ctx, "UPDATE total SET blocks = blocks - ?, bytes = bytes - ?", n, bytes); err != nil {
		return 0, 0, err
	}
	return n, bytes, tx.Commit()
}

func (x *index) totals(ctx context.Context) (n, bytes int64, err error) {
	err = x.db.QueryRowContext(ctx, "SELECT blocks, bytes FROM total").Scan(&n, &bytes)
	return n, bytes, err
}

// keys calls fn with pages of multihashes. No transaction is open while fn runs.
func (x *index) keys(ctx context.Context, fn func([]multihash.Multihash) error) error {
	const page = 1000
	for _, table := range []string{"big", "small"} {
		after := []byte{}
		for {
			found, err := x.page(ctx, "SELECT mh FROM "+table+" WHERE mh > ? ORDER BY mh LIMIT ?", after, page)
			if err != nil {
				return err
			}
			if len(found) > 0 {
				if err := fn(found); err != nil {
					return err
				}
				after = found[len(found)-1]
			}
			if len(found) < page {
				break
			}
		}
	}
	return nil
}

func (x *index) page(ctx context.Context, query string, args ...any) ([]multihash.Multihash, error) {
	rows, err := x.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []multihash.Multihash
	for rows.Next() {
		var h []byte
		if err := rows.Scan(&h); err != nil {
			return nil, err
		}
		found = append(found, h)
	}
	return found, rows.Err()
}

// shrink gives pages freed by drops back to the disk.
func (x *index) shrink(ctx context.Context) error {
	_, err := x.db.ExecContext(ctx, "PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE);")
	return err
}

func (x *index) pin(ctx context.Context, c cid.Cid, name string, since int64) error {
	_, err := x.db.ExecContext(ctx, `INSERT INTO pins (cid, name, since) VALUES (?, ?, ?)
		ON CONFLICT (cid) DO UPDATE SET name = excluded.name`, c.Bytes(), name, since)
	return err
}

func (x *index) unpin(ctx context.Context, c cid.Cid) (bool, error) {
	r, err := x.db.ExecContext(ctx, "DELETE FROM pins WHERE cid = ?", c.Bytes())
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n > 0, err
}

func (x *index) countPins(ctx context.Context) (n int, err error) {
	err = x.db.QueryRowContext(ctx, "SELECT count(*) FROM pins").Scan(&n)
	return n, err
}
