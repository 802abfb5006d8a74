package wasm

import (
	"io/fs"
	"os"

	"github.com/tetratelabs/wazero/experimental/sys"
)

// Rename moves within one writable mount.
func (t *tree) Rename(from, to string) sys.Errno {
	a, e := t.find(from)
	if e != 0 {
		return e
	}
	b, e := t.find(to)
	switch {
	case e != 0:
		return e
	case a.node != nil || b.node != nil:
		return sys.EPERM
	case !a.writable() || !b.writable():
		return sys.EROFS
	case a.mount != b.mount:
		return sys.ENOTSUP
	}
	if len(b.name) > len(a.name) {
		below, err := length(a.mount.root, a.name)
		switch {
		case err != nil:
			return t.errno(err)
		case len(b.name)+below > longest:
			return sys.ENAMETOOLONG
		}
	}
	return t.errno(a.mount.root.Rename(a.name, b.name))
}

// length is by how much the longest path below a name is longer than the name itself.
func length(in *os.Root, name string) (most int, err error) {
	if info, err := in.Stat(name); err != nil || !info.IsDir() {
		return 0, err
	}
	dir, err := in.OpenRoot(name)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	list, err := fs.ReadDir(dir.FS(), ".")
	for _, d := range list {
		below := 0
		if d.IsDir() && err == nil {
			below, err = length(dir, d.Name())
		}
		most = max(most, 1+len(d.Name())+below)
	}
	return most, err
}

// Rmdir removes an empty folder of a writable mount.
func (t *tree) Rmdir(name string) sys.Errno { return t.remove(name, true) }

// Unlink removes a file of a writable mount.
func (t *tree) Unlink(name string) sys.Errno { return t.remove(name, false) }

func (t *tree) remove(name string, dir bool) sys.Errno {
	p, e := t.find(name)
	switch {
	case e != 0:
		return e
	case p.node != nil:
		return sys.EPERM
	case !p.writable():
		return sys.EROFS
	}
	info, err := p.mount.stat(p.name)
	switch {
	case err != nil:
		return t.errno(err)
	case dir && !info.IsDir():
		return sys.ENOTDIR
	case !dir && info.IsDir():
		return sys.EISDIR
	}
	return t.errno(p.mount.root.Remove(p.name))
}
