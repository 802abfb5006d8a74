package wasm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"sync"
)

// process is one child: its pipes, and the goroutines that read and write them. end waits for all of them.
type process struct {
	eng     *Engine
	cmd     *exec.Cmd
	reports chan report // closed when the child is gone
	ready   *ready
	read    []string // what it may read on the host
	tail    tail     // the end of what it wrote to standard error

	mu     sync.Mutex
	cond   *sync.Cond
	out    [][]byte // frames to be written
	closed bool

	gone chan struct{} // closed when it was waited for; then exit and lies may be read
	exit error
	lies error // why its reports could not be believed
}

// launch starts a child with a setup and waits until it is ready. A *fault is what the child itself said.
func (e *Engine) launch(ctx context.Context, set *setup) (*process, error) {
	p := &process{eng: e, reports: make(chan report, 4), read: set.Read, gone: make(chan struct{})}
	p.cond = sync.NewCond(&p.mu)
	if err := p.begin(); err != nil {
		return nil, fmt.Errorf("child: %w", err)
	}
	if err := p.send(order{Setup: set}); err != nil {
		p.end()
		return nil, err
	}
	select {
	case r, ok := <-p.reports:
		if ok && r.Ready != nil {
			p.ready = r.Ready
			return p, nil
		}
		p.end()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if ok && r.Fault != nil {
			return nil, r.Fault
		}
		return nil, fmt.Errorf("child: did not get ready: %s", p.why())
	case <-ctx.Done():
		p.end()
		return nil, ctx.Err()
	}
}

// begin starts the program with nothing of this process but three pipes. A thread of its own starts it and stays until it ends:
// where the kernel kills it with its parent, the parent is that thread.
func (p *process) begin() error {
	p.cmd = exec.Command(p.eng.cfg.Command[0], p.eng.cfg.Command[1:]...)
	// Compiled code has no points at which Go's scheduler could stop it: the signals with which it would try for ever are off. The last is
	// for where the C library makes the threads.
	// The wallet's library looks for the desktop's message bus in every process of this binary; a child must not hold a line to it.
	p.cmd.Env = []string{"DBUS_SESSION_BUS_ADDRESS=unix:path=/dev/null", "GOMAXPROCS=2", "GOTRACEBACK=single", "GODEBUG=asyncpreemptoff=1", "MALLOC_ARENA_MAX=1"}
	detach(p.cmd)
	in, errIn := p.cmd.StdinPipe()
	out, errOut := p.cmd.StdoutPipe()
	errs, errErr := p.cmd.StderrPipe()
	if err := errors.Join(errIn, errOut, errErr); err != nil {
		return err
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		if err != nil {
			started <- err
			return
		}
		leave := p.eng.behind(p.cmd.Process.Pid)
		started <- nil
		p.attend(in, out, errs, leave)
	}()
	return <-started
}

// attend reads and writes until the child is gone, and has it leave its group.
func (p *process) attend(in io.WriteCloser, out, errs io.Reader, leave func()) {
	var all sync.WaitGroup
	all.Go(func() { p.write(in) })
	all.Go(func() { _, _ = io.Copy(&p.tail, errs) }) // it ends with the child
	p.listen(out)
	p.stop()
	all.Wait()
	p.exit = p.cmd.Wait()
	leave()
	close(p.gone)
	close(p.reports)
}

// listen hands reports on until the pipe ends or says something no honest child says.
func (p *process) listen(out io.Reader) {
	for {
		var r report
		err := p.eng.coder.read(out, maxReport, &r)
		if err == nil {
			err = r.check()
		}
		if err != nil {
			if err != io.EOF {
				p.lies = err
			}
			return
		}
		p.reports <- r
	}
}

// write sends frames in order; a child that does not read makes them wait, never their sender.
func (p *process) write(in io.WriteCloser) {
	defer in.Close()
	for {
		p.mu.Lock()
		for len(p.out) == 0 && !p.closed {
			p.cond.Wait()
		}
		batch := p.out
		p.out = nil
		closed := p.closed
		p.mu.Unlock()
		if closed {
			return
		}
		for _, b := range batch {
			if _, err := in.Write(b); err != nil {
				return // the child is gone, which listen sees
			}
		}
	}
}

// send queues an order. How many there are is bounded by the sender's window.
func (p *process) send(o order) error {
	b, err := p.eng.coder.frame(o)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out = append(p.out, b)
	p.cond.Signal()
	return nil
}

// stop kills the child at once; what it has already said can still be read from reports. It may be repeated.
func (p *process) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.cond.Signal()
	p.cmd.Process.Kill()
}

// end kills the child and waits until nothing is left of it.
func (p *process) end() {
	p.stop()
	for range p.reports {
	}
	<-p.gone
}

// why says how a child that is gone came to its end. It needs reports to be closed.
func (p *process) why() string {
	var parts []string
	if p.lies != nil {
		parts = append(parts, p.lies.Error())
	}
	if p.exit != nil {
		parts = append(parts, p.exit.Error())
	}
	if s := p.tail.firstLine(); s != "" {
		parts = append(parts, s)
	}
	if len(parts) == 0 {
		return "it ended by itself"
	}
	return strings.Join(parts, "; ")
}

// starved says that the child died for want of memory beyond the program's own: tables, open files, the engine's stack.
func (p *process) starved() bool {
	s := p.tail.String()
	return strings.Contains(s, "out of memory") || strings.Contains(s, "cannot allocate memory") || strings.Contains(s, "address space")
}

// tail keeps the first and the last kilobytes written to it.
type tail struct {
	mu   sync.Mutex
	head []byte
	last []byte
}

const tailSize = 4 << 10

// Write never fails.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(b)
	k := min(tailSize-len(t.head), len(b))
	t.head, b = append(t.head, b[:k]...), b[k:]
	t.last = append(t.last, b[max(0, len(b)-tailSize):]...)
	if over := len(t.last) - tailSize; over > 0 {
		t.last = append(t.last[:0], t.last[over:]...)
	}
	return n, nil
}

// String is what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.head) + string(t.last)
}

func (t *tail) firstLine() string {
	s, _, _ := strings.Cut(strings.TrimSpace(t.String()), "\n")
	return clip(s)
}
