package seal

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/hpips/hpips/store"
)

// The limits of a folder that is opened.
const (
	maxEntries = 1 << 20
	maxName    = 4096 // bytes of a path below the folder
)

// Pack seals a file or folder of this machine into to. A folder becomes a tar archive of names, bytes and symbolic links, folders before what is in them; modes, times
// and owners are left out, as in the store. progress (may be nil) is told of the bytes so far. What is neither file, folder nor link, a link out of the folder, and what
// cannot be read are errors that name it. kind says what it was.
func Pack(ctx context.Context, to io.Writer, key Key, hostPath string, progress func(bytes int64)) (kind Kind, err error) {
	info, err := os.Stat(hostPath) // follows a link: the person named it
	if err != nil {
		return "", err
	}
	p := &packing{ctx: ctx, progress: progress}
	switch {
	case info.IsDir():
		w, err := New(to, key, Folder)
		if err != nil {
			return "", err
		}
		p.tar = tar.NewWriter(w)
		if err := p.folder(hostPath, "", maxEntries); err != nil {
			return "", err
		}
		return Folder, errors.Join(p.tar.Close(), w.Close())
	case info.Mode().IsRegular():
		w, err := New(to, key, File)
		if err != nil {
			return "", err
		}
		f, err := os.Open(hostPath)
		if err != nil {
			return "", err
		}
		defer f.Close()
		if _, err := io.Copy(w, p.watch(f)); err != nil {
			return "", err
		}
		return File, w.Close()
	}
	return "", oddKind(hostPath)
}

func oddKind(hostPath string) error {
	return fmt.Errorf("%w: %s is neither file, folder nor symbolic link", store.ErrUnsafe, hostPath)
}

// packing is one Pack under way.
type packing struct {
	ctx      context.Context
	tar      *tar.Writer
	progress func(int64)
	bytes    int64
	entries  int
}

func (p *packing) folder(hostPath, below string, most int) error {
	all, err := os.ReadDir(hostPath)
	if err != nil {
		return err
	}
	for _, d := range all {
		if p.entries++; p.entries > most {
			return fmt.Errorf("%w: %s has more than %d entries", store.ErrTooLarge, hostPath, most)
		}
		at, name := filepath.Join(hostPath, d.Name()), path.Join(below, d.Name())
		if len(name) > maxName {
			return fmt.Errorf("%w: %s", store.ErrTooLarge, at)
		}
		switch {
		case d.IsDir():
			if err := p.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755}); err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
			err = p.folder(at, name, most)
		case d.Type()&fs.ModeSymlink != 0:
			err = p.link(at, name)
		case d.Type().IsRegular():
			err = p.file(at, name)
		default:
			err = oddKind(at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *packing) link(hostPath, name string) error {
	target, err := os.Readlink(hostPath)
	if err != nil {
		return err
	}
	target = filepath.ToSlash(target)
	if err := store.CheckLink(name, target); err != nil {
		return err
	}
	return p.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777})
}

func (p *packing) file(hostPath, name string) error {
	f, err := os.Open(hostPath)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := p.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: 0o644}); err != nil {
		return fmt.Errorf("%s: %w", hostPath, err)
	}
	if n, err := io.Copy(p.tar, io.LimitReader(p.watch(f), info.Size())); err != nil {
		return fmt.Errorf("%s: %w", hostPath, err)
	} else if n < info.Size() {
		return fmt.Errorf("%s became shorter while it was read", hostPath)
	}
	return nil
}

// watch counts what is read and ends with the context.
func (p *packing) watch(r io.Reader) io.Reader {
	return reading(func(b []byte) (int, error) {
		if err := p.ctx.Err(); err != nil {
			return 0, err
		}
		n, err := r.Read(b)
		if p.bytes += int64(n); p.progress != nil {
			p.progress(p.bytes)
		}
		return n, err
	})
}

type reading func([]byte) (int, error)

func (r reading) Read(b []byte) (int, error) { return r(b) }

// Unpack writes what r opens to hostPath. It is all or nothing: nothing stands there before the last byte was checked. A target that exists is store.ErrExists, or is
// replaced with over; a name or link that could reach outside is store.ErrUnsafe. size are the bytes of all files.
func Unpack(ctx context.Context, r *Reader, hostPath string, over bool, progress func(bytes int64)) (size int64, err error) {
	hostPath = filepath.Clean(hostPath)
	temp, err := os.MkdirTemp(filepath.Dir(hostPath), ".hpips-open-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	root, err := os.OpenRoot(temp)
	if err != nil {
		return 0, err
	}
	p := &packing{ctx: ctx, progress: progress}
	if r.Kind == Folder {
		size, err = p.open(root, r)
	} else {
		size, err = create(root, top, p.watch(r))
	}
	if err = errors.Join(err, root.Close()); err != nil {
		return 0, err
	}
	return size, store.Place(filepath.Join(temp, top), hostPath, temp, over)
}

// top is what the finished tree is called until it is at its place.
const top = "content"

func create(root *os.Root, at string, r io.Reader) (int64, error) {
	f, err := root.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(f, r)
	return n, errors.Join(err, f.Close())
}

// open writes a folder out, and reads to the very end.
func (p *packing) open(root *os.Root, r *Reader) (size int64, err error) {
	if err := root.Mkdir(top, 0o755); err != nil {
		return 0, err
	}
	archive := tar.NewReader(p.watch(r))
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, err
		}
		if p.entries++; p.entries > maxEntries {
			return 0, fmt.Errorf("%w: more than %d entries", store.ErrTooLarge, maxEntries)
		}
		n, err := entry(root, h, archive)
		if err != nil {
			return 0, err
		}
		size += n
	}
	_, err = io.Copy(io.Discard, r)
	return size, err
}

func entry(root *os.Root, h *tar.Header, r io.Reader) (int64, error) {
	name := strings.TrimSuffix(h.Name, "/")
	if len(name) > maxName || !fs.ValidPath(name) || name == "." || !filepath.IsLocal(filepath.FromSlash(name)) || filepath.Separator == '\\' && strings.ContainsRune(name, '\\') {
		return 0, fmt.Errorf("%w: %.200q", store.ErrUnsafe, h.Name)
	}
	for record := range h.PAXRecords {
		if strings.HasPrefix(record, "GNU.sparse.") { // holes: a small archive of what would fill the disk
			return 0, fmt.Errorf("%w: %.200q has holes", store.ErrUnsafe, h.Name)
		}
	}
	at := filepath.Join(top, filepath.FromSlash(name))
	switch h.Typeflag {
	case tar.TypeDir:
		return 0, root.Mkdir(at, 0o755)
	case tar.TypeReg:
		return create(root, at, r)
	case tar.TypeSymlink:
		if err := store.CheckLink(name, h.Linkname); err != nil {
			return 0, err
		}
		return 0, root.Symlink(filepath.FromSlash(h.Linkname), at)
	}
	return 0, fmt.Errorf("%w: %.200q is neither file, folder nor symbolic link", store.ErrUnsafe, h.Name)
}
