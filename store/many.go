package store

import (
	"bytes"
	"context"
	"iter"
)

// AddFiles imports many small files held in memory, by name, and makes them durable together: one sync for all instead of one for each. The
// links are in the order of files, ready for Dir. The contents may be reused by the caller between two files.
func (s *Store) AddFiles(ctx context.Context, files iter.Seq2[string, []byte]) ([]Link, error) {
	var links []Link
	here := s.whole.mark() + 1
	_, err := s.adding(ctx, "add files", func() (Entry, error) {
		for name, data := range files {
			if err := ctx.Err(); err != nil {
				return Entry{}, err
			}
			p, err := s.small(ctx, data)
			if err != nil {
				return Entry{}, err
			}
			links = append(links, Link{Name: name, CID: p.cid, Size: p.size, Total: p.total, here: here})
		}
		return Entry{}, nil
	})
	return links, err
}

// small imports bytes that are one leaf without the machinery for streams.
func (s *Store) small(ctx context.Context, data []byte) (piece, error) {
	if len(data) <= chunkSize {
		return s.leaf(ctx, data)
	}
	return s.file(ctx, bytes.NewReader(data), newMeter(nil, 0))
}
