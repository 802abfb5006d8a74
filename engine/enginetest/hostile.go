package enginetest

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/engine"
)

// HostileKit is an engine for native code that mallory is to break out of.
type HostileKit struct {
	Engine engine.Engine
	// Program is that of engine/process/testdata/hostile.
	Program func(t *testing.T) engine.Program
	// Own are paths of the sandbox that look like the host's and are not.
	Own []string
	// Ends say how acts may end where this engine differs.
	Ends map[string][]engine.End
	// Time is the limit of the acts that it ends; 0 is 2 s.
	Time time.Duration
	// Patience is how long it may take to have an ended task gone.
	Patience time.Duration
}

// hostile are the acts of testdata/hostile and how they may end; all must leave nothing.
var hostile = []struct {
	act  string
	ends []engine.End
}{
	{"fork bomb", []engine.End{engine.TimedOut, engine.MemoryFull, engine.Exited}} /* its own first process may fail to go on */, {"zombies", tried}, {"stop itself", timed}, {"ignore signals", timed}, {"stay behind", tried}, {"spin", timed}, {"sleep", timed},
	{"memory bomb", memory}, {"memory bomb of many", []engine.End{engine.MemoryFull, engine.TimedOut}}, {"memory in files of memory", memory}, {"memory that is shared", memory},
	{"fill the disk", disk}, {"fill /tmp", disk}, {"fill /dev/shm", disk}, {"fill the inodes", disk}, {"one large file", disk}, {"fill the disk, hidden", disk},
	{"fill a shut folder", disk}, {"a sparse file", []engine.End{engine.DiskFull, engine.Exited}}, {"fill the root", tried}, {"deep folders", disk}, {"long names", disk}, {"shut folders", tried},
	{"endless output", []engine.End{engine.OutputFull}}, {"endless complaints", []engine.End{engine.OutputFull}},
	{"links out", tried}, {"strange files", tried}, {"climb", tried}, {"the host's files", tried}, {"through /proc", tried}, {"the kernel's settings", tried}, {"what it was given", tried},
	{"trace", tried}, {"raw sockets", tried}, {"the host's loopback", tried}, {"the network", tried}, {"the host's sockets", tried}, {"devices", tried},
	{"be root", tried}, {"mount", tried}, {"namespaces", tried}, {"keys", tried}, {"bpf", tried}, {"io_uring", tried}, {"user faults", tried}, {"modules", tried}, {"another kernel", tried},
	{"the clock", tried}, {"the machine", tried}, {"files by handle", tried}, {"other filters", tried}, {"first in line", tried}, {"more than its limits", tried}, {"type for the owner", tried},
	{"the others", tried}, {"a core", []engine.End{engine.Trapped}},
}

var (
	tried  = []engine.End{engine.Exited}
	timed  = []engine.End{engine.TimedOut}
	memory = []engine.End{engine.MemoryFull}
	disk   = []engine.End{engine.DiskFull}
)

// Host is what mallory must not reach.
type Host struct {
	canary string
	// Token is an argument by which mallory's processes are known.
	Token   string
	reached chan string
	// Env tells mallory where all that is.
	Env []string
}

// NewHost puts a file, a port on the loopback and an abstract socket where a program that gets out would find them.
func NewHost(t *testing.T) *Host {
	h := &Host{canary: filepath.Join(t.TempDir(), "canary"), Token: fmt.Sprintf("hostile-%d-%d", os.Getpid(), time.Now().UnixNano()), reached: make(chan string, 100)}
	if err := os.WriteFile(h.canary, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	listen := func(network, address string) net.Listener {
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				h.reached <- network
				c.Close()
			}
		}()
		return l
	}
	_, port, err := net.SplitHostPort(listen("tcp", "127.0.0.1:0").Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	listen("unix", "@"+h.Token)
	h.Env = []string{"CANARY=" + h.canary, "PORT=" + port, "SOCKET=" + h.Token, fmt.Sprint("HOST_PID=", os.Getpid())}
	return h
}

// Alive lists processes of this test's programs.
func (h *Host) Alive(t *testing.T) (pids []string) {
	list, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if b, err := os.ReadFile(p); err == nil && strings.Contains(string(b), h.Token) {
			pids = append(pids, filepath.Base(filepath.Dir(p)))
		}
	}
	return pids
}

// Untouched wants that mallory reached none of it.
func (h *Host) Untouched(t *testing.T) {
	t.Helper()
	if b, err := os.ReadFile(h.canary); err != nil || string(b) != "secret" {
		t.Errorf("the host's file is %q, %v", b, err)
	}
	if info, err := os.Stat(h.canary); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the host's file has %v, %v", info.Mode(), err)
	}
	select {
	case network := <-h.reached:
		t.Errorf("the host was reached by %s", network)
	default:
	}
}

// Hostile lets mallory's programs do their worst: none reaches the host, none outlives its task.
func Hostile(t *testing.T, kit HostileKit) {
	h := NewHost(t)
	p := kit.Program(t)
	p.Env, p.Mounts = append(h.Env, "OWN="+strings.Join(kit.Own, " ")), []engine.Mount{{Guest: "/in/canary", Host: h.canary}}
	limits := engine.Limits{Memory: 96 << 20, Output: 1 << 20, Disk: 8 << 20}
	boxes := map[bool]engine.Sandbox{} // by whether time is what ends the act
	dirs := map[bool]string{}
	for late, limit := range map[bool]time.Duration{true: cmp.Or(kit.Time, 2*time.Second), false: kit.Patience} {
		p.Limits, p.Limits.Time = limits, limit
		p.Lease, p.Dir = fmt.Sprint(t.Name(), late), t.TempDir()
		s, err := kit.Engine.Open(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		boxes[late], dirs[late] = s, p.Dir
	}
	for i, row := range hostile {
		t.Run(row.act, func(t *testing.T) {
			id, late := uint64(i+1), slices.Contains(row.ends, engine.TimedOut)
			s := boxes[late]
			o, took := h.attempt(t, s, engine.Task{ID: id, Args: []string{row.act, h.Token}, Stdin: h.canary, Outputs: []string{"/out"}})
			ends, other := kit.Ends[row.act]
			if !other {
				ends = row.ends
			}
			if !slices.Contains(ends, o.End) {
				t.Errorf("it ended with %s %d %q after %s; %s %s", o.End, o.Exit, o.Message, took, o.Stdout.Inline, o.Stderr.Inline)
			}
			said := string(o.Stdout.Inline)
			quiet := row.act == "the others" || len(row.ends) != 1 || row.ends[0] != engine.Exited
			if strings.Contains(said, "escaped") || o.Exit == 99 || o.Exit == 2 && row.act != "fork bomb" || !quiet && !strings.Contains(said, "done") {
				t.Errorf("it did, and said %s %s", said, o.Stderr.Inline)
			}
			if took > 2*time.Second+kit.Patience {
				t.Errorf("it took %s to be ended", took)
			}
			plain(t, o, 2*limits.Disk)
			s.Release(id)
			if left, err := os.ReadDir(filepath.Join(dirs[late], "tasks")); err == nil && slices.ContainsFunc(left, func(d fs.DirEntry) bool { return d.Name() == fmt.Sprint(id) }) {
				t.Errorf("its files are still there")
			}
		})
	}
	for _, s := range boxes {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// attempt runs a task of mallory's, after which nothing of it runs and the host is as it was.
func (h *Host) attempt(t *testing.T, s engine.Sandbox, task engine.Task) (engine.Outcome, time.Duration) {
	t.Helper()
	l := NewLedger()
	began := time.Now()
	if err := s.Run(t.Context(), []engine.Task{task}, l); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	if left := h.Alive(t); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
	h.Untouched(t)
	return l.Of[task.ID], took
}

// Suspended has mallory's program, which hears no signals, stopped, ended while it is, and gone; stopped it takes no time of the processor. used tells what a process and all that
// come of it have used.
func Suspended(t *testing.T, kit HostileKit, used func(pid string) time.Duration) {
	h := NewHost(t)
	p := kit.Program(t)
	p.Lease, p.Dir, p.Env, p.Limits = t.Name(), t.TempDir(), h.Env, engine.Limits{Time: time.Minute, Memory: 96 << 20}
	s, err := kit.Engine.Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l, over := NewLedger(), make(chan error, 1)
	go func() {
		over <- s.Run(context.WithoutCancel(t.Context()), []engine.Task{{ID: 1, Args: []string{"ignore signals", h.Token}}}, l)
	}()
	var pid string
	for pid == "" {
		select {
		case err := <-over:
			t.Fatal(err, l.Of[1])
		case <-time.After(5 * time.Millisecond):
		}
		for _, found := range h.Alive(t) {
			if b, err := os.ReadFile("/proc/" + found + "/cmdline"); err == nil && strings.HasPrefix(string(b), "/hpips/program\x00ignore") {
				pid = found
			}
		}
	}
	began := time.Now()
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	t.Logf("stopped within %s", time.Since(began))
	<-time.After(100 * time.Millisecond)
	before := used(pid)
	<-time.After(300 * time.Millisecond)
	if used := used(pid) - before; used > 10*time.Millisecond {
		t.Errorf("suspended it used the processor for %s", used)
	}
	began = time.Now()
	s.Cancel(1)
	if err := <-over; err != nil || l.Of[1].End != engine.Cancelled {
		t.Errorf("%v, %+v", err, l.Of[1])
	}
	t.Logf("gone within %s", time.Since(began))
	if left := h.Alive(t); len(left) > 0 || time.Since(began) > kit.Patience {
		t.Errorf("it left %v after %s", left, time.Since(began))
	}
	h.Untouched(t)
}

// plain wants nothing but files and folders that take no more than allowed, without rights that the owner did not give.
func plain(t *testing.T, o engine.Outcome, most int64) {
	t.Helper()
	for _, dir := range o.Outputs {
		if o.End == engine.DiskFull {
			continue // what is there is not looked at: it may lie deeper than names reach
		}
		size := int64(0)
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if !d.IsDir() && !info.Mode().IsRegular() || info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
				t.Errorf("%s is left with %s", filepath.Base(path), info.Mode())
			}
			size += info.Size()
			return nil
		})
		if err != nil || size > most {
			t.Errorf("%d bytes are left, %v", size, err)
		}
	}
}
