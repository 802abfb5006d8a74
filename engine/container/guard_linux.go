package container

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"sync"
	"syscall"
)

// guard is a process that outlives this one by a moment, if this one is killed: then it kills the containers that would go on, as nobody keeps their limits any more. Engines
// know nothing of whom their containers are for.
type guard struct {
	mu  sync.Mutex
	cmd *exec.Cmd
	to  io.WriteCloser
	all map[int]bool // that it watches
}

// watchman reads which processes there are, and ends them when nobody tells more.
const watchman = `trap '' TERM INT HUP
all=
while read -r what pid; do
	kept=
	for p in $all; do [ "$p" = "$pid" ] || kept="$kept $p"; done
	[ "$what" = + ] && kept="$kept $pid"
	all=$kept
done
[ -z "$all" ] || kill -9 $all`

// newGuard starts it, in a session of its own.
func newGuard() (*guard, error) {
	cmd := exec.Command("/bin/sh", "-c", watchman)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", []string{"PATH=/usr/bin:/bin"}, &syscall.SysProcAttr{Setsid: true}
	to, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	return &guard{cmd: cmd, to: to, all: map[int]bool{}}, nil
}

// watch has a process ended with this one; forget takes that back, for one that has ended. A guard that is gone guards nothing, and the next start of the node sweeps.
func (g *guard) watch(pid int)  { g.tell('+', pid) }
func (g *guard) forget(pid int) { g.tell('-', pid) }

func (g *guard) tell(what rune, pid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all[pid] = what == '+'; !g.all[pid] {
		delete(g.all, pid)
	}
	_, _ = fmt.Fprintf(g.to, "%c %d\n", what, pid) // see watch
}

// watched are the processes that it would end.
func (g *guard) watched() []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Sorted(maps.Keys(g.all))
}

// close ends it, and with it what it still watches.
func (g *guard) close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cmd == nil {
		return nil
	}
	err := errors.Join(g.to.Close(), g.cmd.Wait())
	g.cmd = nil
	return err
}
