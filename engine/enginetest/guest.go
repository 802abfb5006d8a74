package enginetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hpips/hpips/engine"
)

// Guest is what a fake program sees of the world.
type Guest struct {
	box    *Box
	task   engine.Task
	ctx    context.Context
	chunks chan chunk        // streamed output, to Run's goroutine
	files  map[string]string // guest folder or file → host
	write  []string          // guest folders that may be written
	left   int64
	memory int64
	disk   int64
	out    bytes.Buffer
	err    bytes.Buffer
	pos    int64
	full   engine.End // the limit that was passed
	killed engine.End // under box.mu
}

// inlet is how far a growing input has come.
type inlet struct {
	size int64
	eof  bool
}

type chunk struct {
	fd     int
	offset int64
	data   []byte
}

// limitPassed unwinds a guest at a limit.
type limitPassed struct{ end engine.End }

func (g *Guest) furnish() error {
	for _, m := range append(append([]engine.Mount(nil), g.box.prog.Mounts...), g.task.Mounts...) {
		if _, err := os.Stat(m.Host); err != nil {
			return fmt.Errorf("mount %s: %w", m.Guest, err)
		}
		g.files[m.Guest] = m.Host
	}
	for i, guest := range g.task.Outputs {
		host := filepath.Join(g.box.dir(g.task.ID), "out"+strconv.Itoa(i))
		if err := os.MkdirAll(host, 0o700); err != nil {
			return fmt.Errorf("output %s: %w", guest, err)
		}
		g.files[guest] = host
		g.write = append(g.write, guest)
	}
	if g.task.Stdin != "" {
		if _, err := os.Stat(g.task.Stdin); err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
	}
	return nil
}

// verdict says how a program that returned, or panicked, ended.
func (g *Guest) verdict(code int, trap any) (engine.End, string) {
	limits := g.box.prog.Limits
	if p, ok := trap.(limitPassed); ok {
		return p.end, limits.Excess(p.end)
	}
	switch {
	case (trap != nil || code != 0) && g.full != "":
		return g.full, limits.Excess(g.full)
	case trap != nil:
		return engine.Trapped, fmt.Sprintf("the program trapped: %v", trap)
	case code != 0:
		return engine.Exited, fmt.Sprintf("the program ended with exit code %d", code)
	}
	return engine.Exited, ""
}

// Args are the program's name, its arguments and the task's.
func (g *Guest) Args() []string {
	return append(append([]string{"program"}, g.box.prog.Args...), g.task.Args...)
}

// Env is the value of a variable: the task's, else the program's, else "".
func (g *Guest) Env(key string) string {
	for _, list := range [][]string{g.task.Env, g.box.prog.Env} {
		for i := len(list) - 1; i >= 0; i-- {
			if v, ok := strings.CutPrefix(list[i], key+"="); ok {
				return v
			}
		}
	}
	return ""
}

// hold waits while the box is paused; it errors once the task is killed.
func (g *Guest) hold(until func() bool) error {
	wake := context.AfterFunc(g.ctx, func() {
		g.box.mu.Lock()
		defer g.box.mu.Unlock()
		g.box.cond.Broadcast()
	})
	defer wake()
	g.box.mu.Lock()
	defer g.box.mu.Unlock()
	for g.ctx.Err() == nil && (g.box.paused || !until()) {
		g.box.cond.Wait()
	}
	return g.ctx.Err()
}

// Read reads standard input, waiting for more of one that grows.
func (g *Guest) Read(p []byte) (int, error) {
	ready := func() bool { return true }
	if g.task.StdinOpen {
		ready = func() bool { in := g.box.inlets[g.task.ID]; return in.size > g.pos || in.eof }
	}
	if err := g.hold(ready); err != nil {
		return 0, err
	}
	if g.task.Stdin == "" {
		return 0, io.EOF
	}
	if g.task.StdinOpen {
		g.box.mu.Lock()
		left := g.box.inlets[g.task.ID].size - g.pos
		g.box.mu.Unlock()
		if left <= 0 {
			return 0, io.EOF
		}
		p = p[:min(int64(len(p)), left)]
	}
	f, err := os.Open(g.task.Stdin)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := f.ReadAt(p, g.pos)
	g.pos += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

// Stdout writes standard output.
func (g *Guest) Stdout(p []byte) error { return g.emit(&g.out, 1, p) }

// Stderr writes standard error.
func (g *Guest) Stderr(p []byte) error { return g.emit(&g.err, 2, p) }

func (g *Guest) emit(to *bytes.Buffer, fd int, p []byte) error {
	if err := g.hold(func() bool { return true }); err != nil {
		return err
	}
	full := int64(len(p)) > g.left
	p = p[:min(int64(len(p)), g.left)]
	g.left -= int64(len(p))
	offset := int64(to.Len())
	to.Write(p)
	if g.task.Stream && len(p) > 0 {
		select {
		case g.chunks <- chunk{fd, offset, bytes.Clone(p)}:
		case <-g.ctx.Done():
			return g.ctx.Err()
		}
	}
	if full {
		panic(limitPassed{engine.OutputFull})
	}
	return nil
}

// Grow takes n bytes of memory, and says whether they were there.
func (g *Guest) Grow(n int64) bool {
	if g.memory+n > g.box.prog.Limits.Memory {
		g.full = engine.MemoryFull
		return false
	}
	g.memory += n
	return true
}

// host gives where a guest path lies, "" if nowhere.
func (g *Guest) host(guest string) (string, bool) {
	guest = path.Clean("/" + guest)
	for at := guest; ; at = path.Dir(at) {
		if base, ok := g.files[at]; ok {
			writable := false
			for _, w := range g.write {
				writable = writable || w == at
			}
			return filepath.Join(base, filepath.FromSlash(strings.TrimPrefix(guest, at))), writable
		}
		if at == "/" {
			return "", false
		}
	}
}

// ReadFile reads a file that is mounted or was written.
func (g *Guest) ReadFile(guest string) ([]byte, error) {
	host, _ := g.host(guest)
	if host == "" {
		return nil, &os.PathError{Op: "open", Path: guest, Err: os.ErrNotExist}
	}
	return os.ReadFile(host)
}

// WriteFile writes a file below one of the task's outputs, making its folder.
func (g *Guest) WriteFile(guest string, data []byte) error {
	host, writable := g.host(guest)
	if !writable {
		return &os.PathError{Op: "open", Path: guest, Err: os.ErrPermission}
	}
	if g.disk += int64(len(data)) + 4096; g.disk > g.box.prog.Limits.Disk {
		g.full = engine.DiskFull
		return &os.PathError{Op: "write", Path: guest, Err: io.ErrShortWrite}
	}
	if err := os.MkdirAll(filepath.Dir(host), 0o700); err != nil {
		return err
	}
	return os.WriteFile(host, data, 0o600)
}
