package wasm

import (
	"errors"
	"hash/fnv"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/hpips/hpips/engine"
	"github.com/tetratelabs/wazero/experimental/sys"
	wsys "github.com/tetratelabs/wazero/sys"
)

// epoch is 2000-01-01T00:00:00Z in nanoseconds: the time of every file, and where the wall clock starts.
const epoch = 946684800_000000000

const (
	maxOpen   = 256  // files that a task may hold open
	entryCost = 4096 // bytes of disk that a new file or folder counts for
	longest   = 1024 // bytes of a path that a task makes, below its mount: what is deeper, the host cannot name, nor remove without many open files
)

// tree is the file system of a task: folders that exist only here ("/", "/in"), and below them mounts of the host, each reached
// through an os.Root, which no "..", no absolute name and no symbolic link leaves. Names, order, times and numbers that a program can
// see are functions of the mounted content alone, so that they are the same on every machine.
type tree struct {
	sys.UnimplementedFS
	root  *node
	disk  *quota
	open  int
	roots []*os.Root // to be closed with the tree
	fault error      // what failed on the host that is not the program's doing: a full disk, a broken one
}

// node is a folder of the tree; with a mount it shows what is on the host, and its own kids on top.
type node struct {
	kids  map[string]*node
	mount *mount
}

// mount is a file or folder of the host. lazy makes its folder when it is first used.
type mount struct {
	root  *os.Root
	file  string // the host path of the one file shown; "" shows the folder root
	write bool
	lazy  func() (*os.Root, error)
}

func (m *mount) stat(name string) (fs.FileInfo, error) {
	if m.file != "" {
		return os.Stat(m.file)
	}
	return m.root.Stat(name)
}

func (m *mount) open(name string, mode int) (*os.File, error) {
	if m.file != "" {
		return os.OpenFile(m.file, mode, 0)
	}
	return m.root.OpenFile(name, mode, 0o600)
}

// quota is what a task may still write.
type quota struct {
	left    int64
	refused bool
}

// take charges n bytes and says whether they were there.
func (q *quota) take(n int64) bool {
	if n > q.left {
		q.refused = true
		return false
	}
	q.left -= n
	return true
}

func newTree(disk *quota) *tree { return &tree{root: &node{}, disk: disk} }

// at finds or makes the folder of an absolute guest path.
func (t *tree) at(guest string) *node {
	n := t.root
	for name := range strings.SplitSeq(strings.Trim(path.Clean(guest), "/"), "/") {
		if name == "" {
			continue
		}
		if n.kids == nil {
			n.kids = map[string]*node{}
		}
		if n.kids[name] == nil {
			n.kids[name] = &node{}
		}
		n = n.kids[name]
	}
	return n
}

// show mounts a host file or folder read-only.
func (t *tree) show(m engine.Mount) error {
	info, err := os.Stat(m.Host)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		t.at(m.Guest).mount = &mount{file: m.Host}
		return nil
	}
	root, err := os.OpenRoot(m.Host)
	if err != nil {
		return err
	}
	t.roots = append(t.roots, root)
	t.at(m.Guest).mount = &mount{root: root}
	return nil
}

// lend mounts a host folder that the task may write.
func (t *tree) lend(guest, host string) error {
	root, err := os.OpenRoot(host)
	if err != nil {
		return err
	}
	t.roots = append(t.roots, root)
	t.at(guest).mount = &mount{root: root, write: true}
	return nil
}

func (t *tree) close() {
	for _, r := range t.roots {
		r.Close()
	}
	t.roots = nil
}

// place is where a guest path leads.
type place struct {
	guest string // absolute and clean
	node  *node  // set if the path names a folder of the tree itself
	mount *mount // set if it is on the host
	name  string // the name below mount.root
}

func (p place) writable() bool { return p.mount != nil && p.mount.write }

// find resolves a guest path. ".." cannot leave "/", for the path is cleaned as an absolute one.
func (t *tree) find(guest string) (place, sys.Errno) {
	if strings.ContainsRune(guest, 0) {
		return place{}, sys.EINVAL
	}
	p := place{guest: path.Clean("/" + guest), node: t.root}
	rest := p.guest[1:]
	var last *mount
	var below string
	n := t.root
	for n != nil {
		if n.mount != nil {
			last, below = n.mount, rest
		}
		p.node = n
		if rest == "" {
			break
		}
		name, tail, _ := strings.Cut(rest, "/")
		n, rest = n.kids[name], tail
		if n == nil {
			p.node = nil
		}
	}
	if last == nil {
		if p.node == nil {
			return p, sys.ENOENT
		}
		return p, 0
	}
	p.mount, p.name = last, below
	if p.name == "" {
		p.name = "."
	}
	return p, t.reach(&p)
}

// reach opens a lazy mount and settles the name of a single file.
func (t *tree) reach(p *place) sys.Errno {
	m := p.mount
	if m.file != "" {
		if p.name != "." {
			return sys.ENOTDIR
		}
		p.node = nil
		return 0
	}
	if m.root == nil {
		root, err := m.lazy()
		if err != nil {
			return t.errno(err)
		}
		m.root = root
	}
	return 0
}

// Stat tells size and kind alone; all else is fixed. Links are followed as far as their mount goes.
func (t *tree) Stat(name string) (wsys.Stat_t, sys.Errno) {
	p, e := t.find(name)
	if e != 0 {
		return wsys.Stat_t{}, e
	}
	if p.mount == nil {
		return stat(p.guest, fs.ModeDir, 0), 0
	}
	info, err := p.mount.stat(p.name)
	if err != nil {
		return wsys.Stat_t{}, t.errno(err)
	}
	if strings.HasSuffix(name, "/") && !info.IsDir() {
		return wsys.Stat_t{}, sys.ENOTDIR
	}
	return stat(p.guest, info.Mode().Type(), info.Size()), 0
}

// Lstat is Stat: a program sees no links.
func (t *tree) Lstat(name string) (wsys.Stat_t, sys.Errno) { return t.Stat(name) }

// Mkdir makes a folder in a writable mount.
func (t *tree) Mkdir(name string, _ fs.FileMode) sys.Errno {
	p, e := t.find(name)
	switch {
	case e != 0:
		return e
	case p.node != nil:
		return sys.EEXIST
	case !p.writable():
		return t.refuse(p, sys.EROFS)
	case len(p.name) > longest:
		return sys.ENAMETOOLONG
	case !t.disk.take(entryCost):
		return sys.EIO
	}
	return t.errno(p.mount.root.Mkdir(p.name, 0o700))
}

// refuse gives why a path cannot be made in a place that may not be written: it exists, or the place is read-only.
func (t *tree) refuse(p place, otherwise sys.Errno) sys.Errno {
	if p.mount != nil {
		if _, err := p.mount.stat(p.name); err == nil {
			return sys.EEXIST
		}
	}
	return otherwise
}

// Utimens does nothing: times are fixed.
func (t *tree) Utimens(name string, _, _ int64) sys.Errno {
	_, e := t.find(name)
	return e
}

// Chmod does nothing: WASI has no modes.
func (t *tree) Chmod(name string, _ fs.FileMode) sys.Errno {
	_, e := t.find(name)
	return e
}

// entries lists a folder, sorted by the bytes of the names.
func (t *tree) entries(p place) ([]sys.Dirent, sys.Errno) {
	kinds := map[string]fs.FileMode{}
	if p.mount != nil {
		f, err := p.mount.open(p.name, os.O_RDONLY)
		if err != nil {
			return nil, t.errno(err)
		}
		defer f.Close()
		list, err := f.ReadDir(-1)
		if err != nil {
			return nil, t.errno(err)
		}
		for _, d := range list {
			kind := d.Type()
			if kind&fs.ModeSymlink != 0 {
				if info, err := p.mount.root.Stat(path.Join(p.name, d.Name())); err == nil {
					kind = info.Mode().Type()
				}
			}
			kinds[d.Name()] = kind
		}
	}
	if p.node != nil {
		for name, kid := range p.node.kids {
			kinds[name] = fs.ModeDir
			if kid.mount != nil && kid.mount.file != "" {
				kinds[name] = 0
			}
		}
	}
	out := make([]sys.Dirent, 0, len(kinds))
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		out = append(out, sys.Dirent{Name: name, Type: kinds[name], Ino: inode(path.Join(p.guest, name))})
	}
	return out, 0
}

func stat(guest string, kind fs.FileMode, size int64) wsys.Stat_t {
	mode := kind | 0o644
	if kind.IsDir() {
		mode, size = kind|0o755, 0
	}
	return wsys.Stat_t{Dev: 1, Ino: inode(guest), Mode: mode, Nlink: 1, Size: size, Atim: epoch, Mtim: epoch, Ctim: epoch}
}

// inode numbers a file by its guest path: two names are two files, on every machine alike.
func inode(guest string) wsys.Inode {
	h := fnv.New64a()
	h.Write([]byte(guest))
	return h.Sum64() | 1
}

// errno is what a program may see of an error of the host. One that no program can cause is kept: the task is not to blame for what it
// does then.
func (t *tree) errno(err error) sys.Errno {
	e := errno(err)
	if e == sys.EIO && t.fault == nil {
		t.fault = cause(err)
	}
	return e
}

// errno turns an error of the host into one that a program may see. What a Root refuses as an escape looks as if it were not there.
func errno(err error) sys.Errno {
	if err == nil {
		return 0
	}
	if err = cause(err); err.Error() == "path escapes from parent" {
		return sys.ENOENT
	}
	return sys.UnwrapOSError(err)
}

// cause leaves out the path of the host, which is nobody's business but its owner's.
func cause(err error) error {
	var pe *fs.PathError
	var le *os.LinkError
	switch {
	case errors.As(err, &pe):
		return pe.Err
	case errors.As(err, &le):
		return le.Err
	}
	return err
}
