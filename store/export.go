package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
)

// Export writes the file or directory c to hostPath, fetching what is missing. It is all or
// nothing: a temporary neighbour is renamed at the end. A target that exists is ErrExists;
// content of more than limit bytes (0 is no limit) is ErrTooLarge; a name or symbolic link
// that could reach outside the target is ErrUnsafe. With a limit each entry below the top
// counts for 4 KiB, in progress too, as an empty folder takes room on a disk as well.
func (s *Store) Export(ctx context.Context, c cid.Cid, hostPath string, limit int64, progress func(Progress)) error {
	return s.export(ctx, c, hostPath, limit, progress, false)
}

// Replace is Export over a target that may exist.
func (s *Store) Replace(ctx context.Context, c cid.Cid, hostPath string, limit int64, progress func(Progress)) error {
	return s.export(ctx, c, hostPath, limit, progress, true)
}

func (s *Store) export(ctx context.Context, c cid.Cid, hostPath string, limit int64, progress func(Progress), over bool) error {
	release, err := s.gate.enter(ctx)
	if err != nil {
		return fmt.Errorf("export %s: %w", c, err)
	}
	defer release()
	e := s.exporting(s.service, s.dag, over, limit)
	e.before = func(ctx context.Context) error {
		if s.whole.has(c) {
			return nil
		}
		_, err := s.pull(ctx, c, s.cfg.MaxFetch, nil, 0, nil)
		return err
	}
	return e.export(ctx, c, hostPath, limit, progress)
}

// exporting is one export under way.
type exporting struct {
	s       *Store
	service blockservice.BlockService // of dag
	dag     ipld.DAGService           // what is read
	over    bool                      // the target may exist
	before  func(context.Context) error
	after   func(context.Context) error // its error keeps the target as it was
	meter   *meter
	left    int64 // bytes still allowed
	entry   int64 // bytes that an entry below the top counts for
}

const entryCost = 4 << 10 // bytes of disk that an entry takes, however small it is

func (s *Store) exporting(service blockservice.BlockService, dag ipld.DAGService, over bool, limit int64) *exporting {
	nothing := func(context.Context) error { return nil }
	e := &exporting{s: s, service: service, dag: dag, over: over, before: nothing, after: nothing, left: limit, entry: entryCost}
	if limit <= 0 {
		e.left, e.entry = 1<<63-1, 0
	}
	return e
}

// export finds out what is to be written and whether it is allowed, and writes it.
func (e *exporting) export(ctx context.Context, c cid.Cid, hostPath string, limit int64, progress func(Progress)) error {
	if !e.over {
		if err := vacant(hostPath); err != nil {
			return fmt.Errorf("export %s: %w", c, err)
		}
	}
	most := e.s.cfg.MaxEntries
	if limit > 0 {
		most = int(min(int64(most), limit/entryCost))
	}
	ctx = blockservice.ContextWithSession(ctx, e.service)
	all, err := e.s.walk(ctx, e.dag, c, most)
	if err != nil {
		return e.s.missing("export", c, err)
	}
	var total uint64
	for i, n := range all {
		if total += n.size; limit > 0 && i > 0 {
			total += entryCost
		}
		if limit > 0 && (n.size > uint64(limit) || total > uint64(limit)) {
			return fmt.Errorf("export %s: %w: more than %d bytes", c, ErrTooLarge, limit)
		}
	}
	if err := e.before(ctx); err != nil {
		return err
	}
	e.meter = newMeter(progress, int64(total))
	if err := e.run(ctx, all, hostPath); err != nil {
		return fmt.Errorf("export %s to %s: %w", c, hostPath, explain(err, hostPath))
	}
	e.meter.done()
	return nil
}

func vacant(hostPath string) error {
	_, err := os.Lstat(hostPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return hint(fmt.Errorf("%s: %w", hostPath, ErrExists), "choose another path, or allow it to be overwritten")
}

// run builds a neighbour of the target and renames it:
//  1. a fresh folder next to the target, seen through os.Root, which nothing leaves;
//  2. the tree inside it, folders before what is in them;
//  3. the rename.
func (e *exporting) run(ctx context.Context, all []node, hostPath string) (err error) {
	hostPath = filepath.Clean(hostPath)
	if all[0].kind == Symlink {
		return hint(fmt.Errorf("%w: a symbolic link alone", ErrUnsafe), "get the folder that it stands in, or what it leads to")
	}
	temp, err := os.MkdirTemp(filepath.Dir(hostPath), ".hpips-export-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	root, err := os.OpenRoot(temp)
	if err != nil {
		return err
	}
	const top = "content"
	for _, n := range all {
		if err = e.write(ctx, root, path.Join(top, n.path), n); err != nil {
			break
		}
	}
	if err = errors.Join(err, root.Close()); err != nil {
		return err
	}
	if err := e.after(ctx); err != nil {
		return err
	}
	return Place(filepath.Join(temp, top), hostPath, temp, e.over)
}

// Place renames a finished tree to its target; with over, an old one there is moved into temp,
// a folder beside it that the caller removes, and back when the rename fails. Without it a
// target that exists is ErrExists.
func Place(made, target, temp string, over bool) error {
	if !over {
		if err := vacant(target); err != nil {
			return err
		}
		return os.Rename(made, target)
	}
	old := filepath.Join(temp, "old")
	moved := os.Rename(target, old)
	if moved != nil && !errors.Is(moved, fs.ErrNotExist) {
		return moved
	}
	err := os.Rename(made, target)
	if err != nil && moved == nil {
		err = errors.Join(err, os.Rename(old, target))
	}
	return err
}

func (e *exporting) write(ctx context.Context, root *os.Root, at string, n node) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n.path != "" {
		if err := e.charge(e.entry); err != nil {
			return err
		}
	}
	switch n.kind {
	case Directory:
		if err := root.Mkdir(filepath.FromSlash(at), 0o755); err != nil {
			return fmt.Errorf("folder %q: %w", n.path, err)
		}
		return nil
	case Symlink:
		if err := CheckLink(n.path, n.target); err != nil {
			return hint(err, "a link may lead to what is in the folder, and nowhere else; hpips ls prints the addresses of the other entries, which can be had one by one")
		}
		if err := root.Symlink(filepath.FromSlash(n.target), filepath.FromSlash(at)); err != nil {
			return fmt.Errorf("symbolic link %q: %w", n.path, err)
		}
	default:
		if err := e.file(ctx, root, filepath.FromSlash(at), n); err != nil {
			return fmt.Errorf("file %q: %w", n.path, err)
		}
	}
	e.meter.add(1, 0, n.path)
	return nil
}

func (e *exporting) file(ctx context.Context, root *os.Root, at string, n node) error {
	r, err := e.s.open(ctx, e.dag, n.cid)
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := root.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = r.WriteTo(&meteredFile{to: f, e: e})
	return errors.Join(err, f.Close())
}

// meteredFile counts what is written and stops past the limit.
type meteredFile struct {
	to io.Writer
	e  *exporting
}

// Write writes all of p or fails.
func (w *meteredFile) Write(p []byte) (int, error) {
	if err := w.e.charge(int64(len(p))); err != nil {
		return 0, err
	}
	return w.to.Write(p)
}

// charge counts bytes that are about to be written.
func (e *exporting) charge(n int64) error {
	if n > e.left {
		return fmt.Errorf("%w: more bytes than allowed", ErrTooLarge)
	}
	e.left -= n
	e.meter.add(0, n, "")
	return nil
}

// CheckLink refuses, with ErrUnsafe, a symbolic link that could leave the tree: at is its path
// below the top, with slashes. Only leading ".." are allowed, and no more than the link is
// deep: "a/../.." is safe as a text but not when "a" is itself a link.
func CheckLink(at, target string) error {
	bad := func() error { return fmt.Errorf("%w: symbolic link %q to %q", ErrUnsafe, at, target) }
	if target == "" || len(target) > maxPath || strings.ContainsRune(target, 0) ||
		strings.HasPrefix(target, "/") || filepath.IsAbs(target) || filepath.VolumeName(target) != "" ||
		filepath.Separator == '\\' && strings.ContainsRune(target, '\\') {
		return bad()
	}
	up, down := 0, false
	for _, name := range strings.Split(target, "/") {
		switch {
		case name == "" || name == ".":
		case name == ".." && down:
			return bad()
		case name == "..":
			up++
		default:
			down = true
		}
	}
	if up > strings.Count(at, "/") {
		return bad()
	}
	return nil
}
