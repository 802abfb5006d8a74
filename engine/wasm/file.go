package wasm

import (
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/tetratelabs/wazero/experimental/sys"
	wsys "github.com/tetratelabs/wazero/sys"
)

// offset keeps go vet from taking the Seek of sys.File for a wrong one of io.Seeker.
type offset = int64

// OpenFile opens a file or folder. A file opened for writing must lie in a writable mount; anything but a file or a folder
// (a pipe, a device) is refused.
func (t *tree) OpenFile(name string, flag sys.Oflag, _ fs.FileMode) (sys.File, sys.Errno) {
	p, e := t.find(name)
	if e != 0 {
		return nil, e
	}
	if t.open >= maxOpen {
		return nil, sys.EAGAIN
	}
	if p.mount == nil {
		return t.openDir(p, flag)
	}
	info, err := p.mount.stat(p.name)
	switch {
	case err != nil && (errno(err) != sys.ENOENT || flag&sys.O_CREAT == 0):
		return nil, t.errno(err)
	case err == nil && info.IsDir():
		return t.openDir(p, flag)
	case err == nil && !info.Mode().IsRegular():
		return nil, sys.EACCES
	case strings.HasSuffix(name, "/"):
		return nil, sys.ENOTDIR
	case err == nil && flag&sys.O_DIRECTORY != 0:
		return nil, sys.ENOTDIR
	case err == nil && flag&sys.O_CREAT != 0 && flag&sys.O_EXCL != 0:
		return nil, sys.EEXIST
	}
	return t.openRegular(p, flag, err != nil)
}

func (t *tree) openRegular(p place, flag sys.Oflag, fresh bool) (sys.File, sys.Errno) {
	write := flag&(sys.O_RDWR|sys.O_WRONLY|sys.O_TRUNC|sys.O_APPEND) != 0 || fresh
	mode := os.O_RDONLY
	switch {
	case write && !p.writable():
		return nil, sys.EROFS
	case fresh && len(p.name) > longest:
		return nil, sys.ENAMETOOLONG
	case fresh && !t.disk.take(entryCost):
		return nil, sys.EIO
	case write:
		mode = os.O_RDWR
	}
	if fresh {
		mode |= os.O_CREATE | os.O_EXCL
	} else if flag&sys.O_TRUNC != 0 {
		mode |= os.O_TRUNC
	}
	f, err := p.mount.open(p.name, mode)
	if err != nil {
		return nil, t.errno(err)
	}
	t.open++
	return &file{tree: t, f: f, guest: p.guest, read: flag&sys.O_WRONLY == 0, write: write && flag&(sys.O_RDWR|sys.O_WRONLY) != 0, append: flag&sys.O_APPEND != 0}, 0
}

func (t *tree) openDir(p place, flag sys.Oflag) (sys.File, sys.Errno) {
	switch {
	case flag&sys.O_CREAT != 0 && flag&sys.O_EXCL != 0:
		return nil, sys.EEXIST
	case flag&(sys.O_RDWR|sys.O_WRONLY|sys.O_TRUNC) != 0:
		return nil, sys.EISDIR
	}
	t.open++
	return &dir{tree: t, at: p}, 0
}

// file is an open file. It keeps its own position, so that appending and positioned access mix.
type file struct {
	sys.UnimplementedFile
	tree                *tree
	f                   *os.File
	guest               string
	pos                 int64
	read, write, append bool
}

// Dev, Ino and IsDir are as in Stat.
func (f *file) Dev() (uint64, sys.Errno) { return 1, 0 }

// Ino is a function of the path.
func (f *file) Ino() (wsys.Inode, sys.Errno) { return inode(f.guest), 0 }

// IsDir is false.
func (f *file) IsDir() (bool, sys.Errno) { return false, 0 }

// IsAppend says whether writes go to the end.
func (f *file) IsAppend() bool { return f.append }

// SetAppend changes that.
func (f *file) SetAppend(on bool) sys.Errno { f.append = on; return 0 }

func (f *file) size() (int64, sys.Errno) {
	info, err := f.f.Stat()
	if err != nil {
		return 0, f.tree.errno(err)
	}
	return info.Size(), 0
}

// Stat gives the size; all else is fixed.
func (f *file) Stat() (wsys.Stat_t, sys.Errno) {
	n, e := f.size()
	return stat(f.guest, 0, n), e
}

// Read reads on from the position.
func (f *file) Read(buf []byte) (int, sys.Errno) {
	n, e := f.Pread(buf, f.pos)
	f.pos += int64(n)
	return n, e
}

// Pread reads at off; 0 bytes without an error are the end.
func (f *file) Pread(buf []byte, off int64) (int, sys.Errno) {
	switch {
	case !f.read:
		return 0, sys.EBADF
	case off < 0:
		return 0, sys.EINVAL
	case len(buf) == 0:
		return 0, 0
	}
	n, err := f.f.ReadAt(buf, off)
	if err == io.EOF {
		err = nil
	}
	return n, f.tree.errno(err)
}

// Seek moves the position.
func (f *file) Seek(off offset, whence int) (int64, sys.Errno) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		off += f.pos
	case io.SeekEnd:
		n, e := f.size()
		if e != 0 {
			return 0, e
		}
		off += n
	default:
		return 0, sys.EINVAL
	}
	if off < 0 {
		return 0, sys.EINVAL
	}
	f.pos = off
	return off, 0
}

// Write writes at the position, or at the end of a file opened for appending.
func (f *file) Write(buf []byte) (int, sys.Errno) {
	if f.append {
		n, e := f.size()
		if e != 0 {
			return 0, e
		}
		f.pos = n
	}
	n, e := f.Pwrite(buf, f.pos)
	f.pos += int64(n)
	return n, e
}

// Pwrite writes at off, as far as the disk limit goes.
func (f *file) Pwrite(buf []byte, off int64) (int, sys.Errno) {
	switch {
	case !f.write:
		return 0, sys.EBADF
	case off < 0:
		return 0, sys.EINVAL
	case len(buf) == 0:
		return 0, 0
	}
	if e := f.grow(off + int64(len(buf))); e != 0 {
		return 0, e
	}
	n, err := f.f.WriteAt(buf, off)
	return n, f.tree.errno(err)
}

// grow charges for a file that becomes size bytes long.
func (f *file) grow(size int64) sys.Errno {
	now, e := f.size()
	if e != 0 {
		return e
	}
	if size < 0 || (size > now && !f.tree.disk.take(size-now)) {
		return sys.EIO
	}
	return 0
}

// Truncate sets the size.
func (f *file) Truncate(size int64) sys.Errno {
	switch {
	case !f.write:
		return sys.EBADF
	case size < 0:
		return sys.EINVAL
	}
	if e := f.grow(size); e != 0 {
		return e
	}
	return f.tree.errno(f.f.Truncate(size))
}

// Sync, Datasync and Utimens have nothing to do: a task's files need not outlive the machine's power.
func (f *file) Sync() sys.Errno { return 0 }

// Datasync does nothing.
func (f *file) Datasync() sys.Errno { return 0 }

// Utimens does nothing.
func (f *file) Utimens(_, _ int64) sys.Errno { return 0 }

// Close may be called once.
func (f *file) Close() sys.Errno {
	f.tree.open--
	return f.tree.errno(f.f.Close())
}

// dir is an open folder, listed when it is first read and again after each rewind.
type dir struct {
	sys.DirFile
	tree *tree
	at   place
	list []sys.Dirent
	read bool
}

// Dev is fixed.
func (d *dir) Dev() (uint64, sys.Errno) { return 1, 0 }

// Ino is a function of the path.
func (d *dir) Ino() (wsys.Inode, sys.Errno) { return inode(d.at.guest), 0 }

// Stat is fixed but for the inode.
func (d *dir) Stat() (wsys.Stat_t, sys.Errno) { return stat(d.at.guest, fs.ModeDir, 0), 0 }

// Seek rewinds; folders know no other position.
func (d *dir) Seek(off offset, whence int) (int64, sys.Errno) {
	if off != 0 || whence != io.SeekStart {
		return 0, sys.EINVAL
	}
	d.list, d.read = nil, false
	return 0, 0
}

// Readdir gives the next n entries, all that are left for n <= 0.
func (d *dir) Readdir(n int) ([]sys.Dirent, sys.Errno) {
	if !d.read {
		list, e := d.tree.entries(d.at)
		if e != 0 {
			return nil, e
		}
		d.list, d.read = list, true
	}
	if n <= 0 || n > len(d.list) {
		n = len(d.list)
	}
	out := d.list[:n:n]
	d.list = d.list[n:]
	return out, 0
}

// Sync does nothing.
func (d *dir) Sync() sys.Errno { return 0 }

// Datasync does nothing.
func (d *dir) Datasync() sys.Errno { return 0 }

// Utimens does nothing.
func (d *dir) Utimens(_, _ int64) sys.Errno { return 0 }

// Close may be called once.
func (d *dir) Close() sys.Errno {
	d.tree.open--
	return 0
}
