package store

import (
	"context"
	"encoding/base32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/multiformats/go-multihash"
)

// fileFolder is where version 1 of the store had the large blocks: a file for each, named by its hash, as flatfs has it.
const fileFolder = "big"

// takeOver brings the large blocks of version 1 into the packs, and may be interrupted at any moment: a file goes once its block is durable.
func (b *blocks) takeOver(ctx context.Context) error {
	old := filepath.Join(b.dir, fileFolder)
	if _, err := os.Stat(old); os.IsNotExist(err) {
		return nil
	}
	b.log.Info("bringing the blocks of an earlier version into packs", "folder", old)
	var done []string
	size, kept := 0, 0
	flush := func() error {
		err := b.Flush(ctx)
		for _, path := range done {
			if err == nil {
				err = os.Remove(path)
			}
		}
		done, size = nil, 0
		return err
	}
	err := filepath.WalkDir(old, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, ok := strings.CutSuffix(d.Name(), ".data")
		h, wrong := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(name)
		info, err := d.Info()
		if err != nil || !ok || wrong != nil || info.Size() > maxBlockSize {
			return err // not a block
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !matches(multihash.Multihash(h), data) {
			b.log.Warn("dropped a damaged block", "file", path, "bytes", len(data))
			return nil
		}
		if err := b.put(ctx, h, data); err != nil {
			return err
		}
		done, size, kept = append(done, path), size+len(data), kept+1
		if size >= commitBig/4 {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err == nil {
		err = os.RemoveAll(old)
	}
	if err == nil {
		b.log.Info("brought the blocks of an earlier version into packs", "blocks", kept)
	}
	return explain(err, old)
}
