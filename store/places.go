package store

import (
	"context"

	"github.com/multiformats/go-multihash"

	"github.com/hpips/hpips/store/pack"
)

// packed is what the index lists of one pack.
type packed struct {
	bytes int64 // of blocks
	end   int64 // first byte behind the last record
}

// packs tells of all packs that have listed blocks.
func (x *index) packs(ctx context.Context) (map[uint32]packed, error) {
	// With max() SQLite takes the other columns from the row that has it.
	rows, err := x.db.QueryContext(ctx, "SELECT pack, sum(size), max(at), size, length(mh) FROM big GROUP BY pack")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[uint32]packed{}
	for rows.Next() {
		var p packed
		var last pack.Place
		var hash int
		if err := rows.Scan(&last.Pack, &p.bytes, &last.At, &last.Size, &hash); err != nil {
			return nil, err
		}
		p.end = last.End(hash)
		all[last.Pack] = p
	}
	return all, rows.Err()
}

// lastPack is the highest number of a pack with listed blocks, 0 when there is none.
func (x *index) lastPack(ctx context.Context) (id uint32, err error) {
	err = x.db.QueryRowContext(ctx, "SELECT coalesce(max(pack), 0) FROM big").Scan(&id)
	return id, err
}

// placed is a large block and where it lies.
type placed struct {
	hash multihash.Multihash
	at   pack.Place
}

// inPack lists the blocks of one pack as they lie.
func (x *index) inPack(ctx context.Context, id uint32) ([]placed, error) {
	rows, err := x.db.QueryContext(ctx, "SELECT mh, at, size FROM big WHERE pack = ? ORDER BY at", id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []placed
	for rows.Next() {
		p := placed{at: pack.Place{Pack: id}}
		var h []byte
		if err := rows.Scan(&h, &p.at.At, &p.at.Size); err != nil {
			return nil, err
		}
		p.hash = h
		all = append(all, p)
	}
	return all, rows.Err()
}

// move lists blocks of one pack at other places, durably. One that was removed meanwhile stays so.
func (x *index) move(ctx context.Context, from uint32, to map[string]pack.Place) error {
	tx, err := x.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit this does nothing
	stmt, err := tx.PrepareContext(ctx, "UPDATE big SET pack = ?, at = ? WHERE mh = ? AND pack = ?")
	if err != nil {
		return err
	}
	defer stmt.Close()
	for h, p := range to {
		if _, err := stmt.ExecContext(ctx, p.Pack, p.At, []byte(h), from); err != nil {
			return err
		}
	}
	return tx.Commit()
}
