package store

import (
	"bytes"
	"context"
	"fmt"
	"iter"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/go-cid"
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

// Join makes files of blocks that exist, by name, and makes the nodes above them durable together. Each part is a raw leaf, 1 MiB at most, and need not be on this disk; its Size is believed. A node of another DAG may be a part by the raw
// address of its bytes: the file then has those bytes in it, and the disk has them once. The links are in the order of files, ready for Dir.
func (s *Store) Join(ctx context.Context, files iter.Seq2[string, []Link]) ([]Link, error) {
	var links []Link
	_, err := s.adding(ctx, "join files", func() (Entry, error) {
		for name, parts := range files {
			if err := ctx.Err(); err != nil {
				return Entry{}, err
			}
			for i, p := range parts {
				if p.CID.Prefix().Codec != cid.Raw || p.Size > chunkSize || p.Total != p.Size {
					return Entry{}, fmt.Errorf("%q: part %d, %s of %d bytes, is no leaf", name, i, p.CID, p.Size)
				}
			}
			root, err := FileTree(parts, func(node *merkledag.ProtoNode) error { return s.blocks.Put(ctx, node) })
			if err != nil {
				return Entry{}, fmt.Errorf("%q: %w", name, err)
			}
			root.Name = name
			links = append(links, root)
		}
		return Entry{}, nil
	})
	return links, err
}
