package wasm

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// goneCode begins the name of an entry that is being removed, newCode of one that is being made.
const (
	newCode  = "new-"
	goneCode = "old-"
)

// entry is one program's compiled code in the cache.
type entry struct {
	path string
	size int64
	used time.Time
}

// prune removes what was not used for the longest time until the cache is within its size: strangers choose what is compiled here.
// The entry keep stays. If an entry goes just before a child loads it, Open has it compiled again.
func (e *Engine) prune(keep string) {
	list, err := os.ReadDir(e.cfg.Cache)
	if err != nil {
		e.log.Warn("The cache of compiled code cannot be listed", "error", err)
		return
	}
	var all []entry
	var total int64
	for _, d := range list {
		it := weigh(filepath.Join(e.cfg.Cache, d.Name()))
		left := strings.HasPrefix(d.Name(), newCode) && time.Since(it.used) > 2*e.cfg.CompileTime // by a node that was killed
		switch {
		case left || strings.HasPrefix(d.Name(), goneCode):
			e.forget(it.path)
		case !strings.HasPrefix(d.Name(), newCode):
			all = append(all, it)
			total += it.size
		}
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Or(a.used.Compare(b.used), strings.Compare(a.path, b.path)) })
	for _, it := range all {
		if total <= e.cfg.CacheSize {
			return
		}
		if it.path == keep {
			continue
		}
		total -= it.size
		gone := filepath.Join(e.cfg.Cache, goneCode+filepath.Base(it.path)) // in one step, so that nobody finds half of it
		if err := os.Rename(it.path, gone); err != nil {
			e.log.Warn("Compiled code stays", "entry", it.path, "error", err)
			continue
		}
		e.forget(gone)
	}
}

func (e *Engine) forget(path string) {
	if err := os.RemoveAll(path); err != nil {
		e.log.Warn("Compiled code stays", "entry", path, "error", err)
	}
}

// weigh adds up the files of an entry. It was used when its folder was last touched.
func weigh(path string) entry {
	it := entry{path: path}
	if info, err := os.Stat(path); err == nil {
		it.used = info.ModTime()
	}
	_ = filepath.WalkDir(path, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				it.size += info.Size()
			}
		}
		return nil // what is gone meanwhile weighs nothing
	})
	return it
}

// touch notes that an entry was used now.
func (e *Engine) touch(path string) {
	now := time.Now()
	if err := os.Chtimes(path, now, now); err != nil {
		e.log.Debug("Compiled code looks older than it is", "entry", path, "error", err)
	}
}
