package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// Add imports one file from r and makes it durable. It holds no pin: without a Reserve
// over Add and Pin a GC in between may take it.
func (s *Store) Add(ctx context.Context, r io.Reader) (Entry, error) {
	return s.adding(ctx, "add stream", func() (Entry, error) {
		p, err := s.file(ctx, r, newMeter(nil, 0))
		return Entry{CID: p.cid, Kind: Regular, Size: p.size, Total: p.total}, err
	})
}

// AddBytes is Add for bytes in memory.
func (s *Store) AddBytes(ctx context.Context, data []byte) (Entry, error) {
	return s.Add(ctx, bytes.NewReader(data))
}

// AddPath imports a file or a whole folder of this machine and makes it durable; progress
// (may be nil) is told of it. Symbolic links below the path are kept as such, the path
// itself is followed; modes and times are not stored. An entry that cannot be read, and
// anything that is no file, folder or symbolic link, is an error that names it.
func (s *Store) AddPath(ctx context.Context, hostPath string, progress func(Progress)) (Entry, error) {
	return s.adding(ctx, "add "+hostPath, func() (Entry, error) {
		scan := scan{left: s.cfg.MaxEntries}
		top, err := scan.path(ctx, hostPath)
		if err != nil {
			return Entry{}, err
		}
		m := newMeter(progress, scan.bytes)
		p, err := s.item(ctx, top, m)
		if err != nil {
			return Entry{}, err
		}
		m.done()
		kind := Regular
		if top.mode.IsDir() {
			kind = Directory
		}
		return Entry{Name: top.name, CID: p.cid, Kind: kind, Size: p.size, Total: p.total}, nil
	})
}

// adding frames an import: reserve, import, flush.
func (s *Store) adding(ctx context.Context, what string, build func() (Entry, error)) (Entry, error) {
	release, err := s.gate.enter(ctx)
	if err != nil {
		return Entry{}, fmt.Errorf("%s: %w", what, err)
	}
	defer release()
	mark, whole := s.blocks.mark(), s.whole.mark()
	e, err := build()
	if err == nil {
		err = s.blocks.flushSince(ctx, mark)
	}
	if err != nil {
		return Entry{}, fmt.Errorf("%s: %w", what, err)
	}
	if e.CID.Defined() {
		s.whole.note(e.CID, whole)
	}
	return e, nil
}

// item is one entry of a folder on this machine.
type item struct {
	name     string
	path     string
	mode     fs.FileMode
	target   string // of a symbolic link
	children []*item
}

// scan looks at a folder before anything of it is imported.
type scan struct {
	left  int // entries still allowed
	bytes int64
}

func (sc *scan) path(ctx context.Context, path string) (*item, error) {
	info, err := os.Stat(path) // follows a link: the person named it
	if err != nil {
		return nil, explain(err, path)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return sc.entry(ctx, path, filepath.Base(abs), info)
}

func (sc *scan) entry(ctx context.Context, path, name string, info fs.FileInfo) (*item, error) {
	if sc.left--; sc.left < 0 {
		return nil, fmt.Errorf("%s: %w: too many entries", path, ErrTooLarge)
	}
	it := &item{name: name, path: path, mode: info.Mode()}
	switch {
	case it.mode.IsRegular():
		sc.bytes += info.Size()
		return it, nil
	case it.mode&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		it.target = filepath.ToSlash(target)
		return it, explain(err, path)
	case it.mode.IsDir():
		return it, sc.children(ctx, it)
	}
	return nil, refuseKind(path, it.mode)
}

func (sc *scan) children(ctx context.Context, it *item) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(it.path)
	if err != nil {
		return explain(err, it.path)
	}
	for _, entry := range entries {
		path := filepath.Join(it.path, entry.Name())
		info, err := entry.Info()
		if err != nil {
			return explain(err, path)
		}
		child, err := sc.entry(ctx, path, entry.Name(), info)
		if err != nil {
			return err
		}
		it.children = append(it.children, child)
	}
	return nil
}

func refuseKind(path string, mode fs.FileMode) error {
	kind := "neither file, folder nor symbolic link"
	switch {
	case mode&fs.ModeSocket != 0:
		kind = "a socket"
	case mode&fs.ModeNamedPipe != 0:
		kind = "a named pipe"
	case mode&fs.ModeDevice != 0:
		kind = "a device"
	}
	return hint(fmt.Errorf("%s is %s, which has no content to store", path, kind), "remove it or add the other entries one by one")
}

func (s *Store) item(ctx context.Context, it *item, m *meter) (piece, error) {
	switch {
	case it.mode.IsDir():
		return s.folder(ctx, it, m)
	case it.mode.IsRegular():
		return s.hostFile(ctx, it, m)
	}
	p, err := s.symlink(ctx, it.target)
	m.add(1, 0, it.path)
	return p, err
}

// folder imports the children, files several at a time, and makes the directory.
func (s *Store) folder(ctx context.Context, it *item, m *meter) (piece, error) {
	links := make([]Link, len(it.children))
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(min(runtime.GOMAXPROCS(0)+1, 8))
	for i, child := range it.children {
		put := func() error {
			p, err := s.item(within, child, m)
			links[i] = Link{Name: child.name, CID: p.cid, Size: p.size, Total: p.total}
			return err
		}
		if !child.mode.IsDir() {
			group.Go(put)
		} else if err := put(); err != nil { // here, so that depth does not multiply workers
			return piece{}, errors.Join(group.Wait(), err)
		}
	}
	if err := group.Wait(); err != nil {
		return piece{}, err
	}
	return s.directory(ctx, links)
}

func (s *Store) hostFile(ctx context.Context, it *item, m *meter) (piece, error) {
	// Non-blocking, in case the file has become a pipe since the scan.
	f, err := os.OpenFile(it.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return piece{}, explain(err, it.path)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return piece{}, explain(err, it.path)
	}
	if !info.Mode().IsRegular() {
		return piece{}, refuseKind(it.path, info.Mode())
	}
	p, err := s.file(ctx, f, m)
	if err != nil {
		return piece{}, fmt.Errorf("%s: %w", it.path, err)
	}
	m.add(1, 0, it.path)
	return p, nil
}

// file imports r:
//  1. cut it into chunks of 1 MiB;
//  2. hash and write the chunks as raw leaves, several at a time;
//  3. stack the balanced tree over them. A file of one chunk is its leaf.
func (s *Store) file(ctx context.Context, r io.Reader, m *meter) (piece, error) {
	group, within := errgroup.WithContext(ctx)
	var leaves []*piece
	err := s.cut(within, r, func(buf *[]byte, n int, last bool) error {
		leaf := new(piece)
		leaves = append(leaves, leaf)
		work := func() (err error) {
			defer s.buffers.Put(buf)
			if *leaf, err = s.leaf(within, (*buf)[:n]); err == nil {
				m.add(0, int64(n), "")
			}
			return err
		}
		if last {
			return work()
		}
		s.chunks <- struct{}{}
		group.Go(func() error {
			defer func() { <-s.chunks }()
			return work()
		})
		return nil
	})
	// A failed leaf cancels the cutting: its error is the cause.
	if leafErr := group.Wait(); leafErr != nil && !errors.Is(leafErr, context.Canceled) {
		err = leafErr
	}
	if err != nil {
		return piece{}, err
	}
	return s.stack(ctx, leaves)
}

// cut reads chunks until the end and gives each to fn, which owns the buffer from then on;
// an empty file has one empty chunk.
func (s *Store) cut(ctx context.Context, r io.Reader, fn func(buf *[]byte, n int, last bool) error) error {
	for first := true; ; first = false {
		if err := ctx.Err(); err != nil {
			return err
		}
		buf := s.buffers.Get().(*[]byte)
		n, err := io.ReadFull(r, *buf)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last || n == 0 && !first {
			s.buffers.Put(buf)
			if last {
				return nil
			}
			return fmt.Errorf("read: %w", err)
		}
		if err := fn(buf, n, last); err != nil {
			return err
		}
		if last {
			return nil
		}
	}
}
