package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// tally is what a tree of files comes to.
type tally struct {
	bytes   int64 // that they take on the disk, or claim to have, and entry for each
	largest int64 // length of the longest file
	deep    bool  // it nests deeper, or has longer paths, than a result may
}

// entry is what each file or folder counts beside its content, in bytes.
const entry = 4096

// tree walks what a program has made. Names are followed one at a time from folders that are open, and never links: whatever the program does meanwhile, nothing
// outside is reached. A folder that the program has shut is opened again.
type tree struct {
	tally
	most    int64                            // stop beyond
	strange func(dir int, name string) error // hears of every entry that is neither file nor folder; nil for a tree that is only looked at
	top     *os.File                         // where too deep folders are hung up; nil leaves them
	lifted  int
}

// unlimited is for walks that see all.
const unlimited = 1 << 62

// measure walks the folders of host paths, up to most bytes.
func measure(most int64, dirs ...string) (tally, error) {
	t := tree{most: most}
	err := t.start(dirs...)
	return t.tally, err
}

// tidy takes away, below folders of an ended task, all that is no file or folder, and rights beyond the usual ones.
func tidy(dirs ...string) error {
	t := tree{most: unlimited, strange: func(dir int, name string) error { return unix.Unlinkat(dir, name, 0) }}
	return t.start(dirs...)
}

func (t *tree) start(dirs ...string) error {
	for _, dir := range dirs {
		fd, err := open(unix.AT_FDCWD, dir)
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(dir), err)
		}
		if err := t.walk(os.NewFile(uintptr(fd), dir), 0, 0); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(dir), err)
		}
	}
	return nil
}

// walk goes through one open folder, which it closes.
func (t *tree) walk(dir *os.File, depth, path int) error {
	defer dir.Close()
	if depth > maxDepth {
		t.deep = true
		return nil
	}
	fd := int(dir.Fd())
	for {
		names, err := dir.Readdirnames(512)
		for _, name := range names {
			if t.bytes > t.most {
				return nil
			}
			if err := t.visit(fd, name, depth, path+1+len(name)); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, unix.ENOENT) || err == nil && len(names) == 0 { // or it is being removed
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (t *tree) visit(fd int, name string, depth, path int) error {
	var st unix.Stat_t
	err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil
	} else if err != nil {
		return err
	}
	t.deep = t.deep || path > maxPath
	t.bytes += entry
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		t.bytes += max(st.Size, 512*st.Blocks)
		t.largest = max(t.largest, st.Size)
		if t.strange != nil && st.Mode&0o7000 != 0 {
			return unix.Fchmodat(fd, name, st.Mode&0o777, 0)
		}
	case unix.S_IFDIR:
		if depth == maxDepth && t.top != nil {
			t.lifted++
			return unix.Renameat(fd, name, int(t.top.Fd()), fmt.Sprint("lifted-", t.lifted))
		}
		if t.strange != nil && st.Mode&0o7000 != 0 {
			if err := unix.Fchmodat(fd, name, st.Mode&0o777, 0); err != nil {
				return err
			}
		}
		sub, err := open(fd, name)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			return nil // it was there a moment ago
		} else if err != nil {
			return err
		}
		return t.walk(os.NewFile(uintptr(sub), name), depth+1, path)
	default:
		if t.strange != nil {
			return t.strange(fd, name)
		}
	}
	return nil
}

// open opens a folder in a folder, also one that its maker has shut.
func open(fd int, name string) (int, error) {
	const how = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	sub, err := unix.Openat(fd, name, how, 0)
	if !errors.Is(err, unix.EACCES) {
		return sub, err
	}
	// A link in its place would be followed by chmod, so the folder is held first.
	held, err := unix.Openat(fd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(held)
	if err := unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", held), 0o700); err != nil {
		return -1, err
	}
	return unix.Openat(fd, name, how, 0)
}

// remove deletes a folder with all that is in it, whatever rights its maker left on it and however deep it is: too deep a tree is hung up higher, piece by piece, so
// that no more than some maxDepth folders have to be open at once. It may be repeated.
func remove(dir string) error {
	top, err := os.Open(dir)
	if errors.Is(err, unix.ENOENT) {
		return nil
	} else if err != nil {
		return err
	}
	defer top.Close()
	t := tree{most: unlimited, top: top}
	for before := -1; before < t.lifted; {
		before = t.lifted
		if err := t.start(dir); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}
