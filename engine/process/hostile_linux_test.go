package process

import (
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
	"github.com/hpips/hpips/engine/enginetest"
)

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

// host is what mallory must not reach.
type host struct {
	canary, token string
	reached       chan string
	env           []string
}

// newHost puts a file, a port on the loopback and an abstract socket where a program that gets out would find them.
func newHost(t *testing.T) *host {
	h := &host{canary: filepath.Join(t.TempDir(), "canary"), token: fmt.Sprintf("hostile-%d-%d", os.Getpid(), time.Now().UnixNano()), reached: make(chan string, 100)}
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
	listen("unix", "@"+h.token)
	h.env = []string{"CANARY=" + h.canary, "PORT=" + port, "SOCKET=" + h.token, fmt.Sprint("HOST_PID=", os.Getpid())}
	return h
}

// alive lists processes of this test's programs.
func (h *host) alive(t *testing.T) (pids []string) {
	list, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if b, err := os.ReadFile(p); err == nil && strings.Contains(string(b), h.token) {
			pids = append(pids, p)
		}
	}
	return pids
}

func (h *host) untouched(t *testing.T) {
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

// TestHostile lets mallory's programs do their worst, where control groups hold them and where a watch-dog does.
func TestHostile(t *testing.T) {
	for name, cfg := range map[string]Config{"groups": {Processes: 64}, "watch-dog": {Processes: 64, NoGroups: true}} {
		t.Run(name, func(t *testing.T) { mallory(t, cfg) })
	}
}

func mallory(t *testing.T, cfg Config) {
	h := newHost(t)
	e := newEngine(t, cfg)
	p := program(t, helper(t, "hostile"))
	p.Lease, p.Dir, p.Env = t.Name(), t.TempDir(), h.env
	p.Limits = engine.Limits{Time: 2 * time.Second, Memory: 96 << 20, Output: 1 << 20, Disk: 8 << 20}
	p.Mounts = []engine.Mount{{Guest: "/in/canary", Host: h.canary}}
	s, err := e.Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i, row := range hostile {
		t.Run(row.act, func(t *testing.T) {
			id := uint64(i + 1)
			l := enginetest.NewLedger()
			began := time.Now()
			if err := s.Run(t.Context(), []engine.Task{{ID: id, Args: []string{row.act, h.token}, Stdin: h.canary, Outputs: []string{"/out"}}}, l); err != nil {
				t.Fatal(err)
			}
			took := time.Since(began)
			o := l.Of[id]
			end := o.End
			if cfg.NoGroups && row.act == "memory in files of memory" || cfg.NoGroups && row.act == "memory that is shared" {
				end = engine.MemoryFull // there such calls are refused
			}
			if !slices.Contains(row.ends, end) {
				t.Errorf("it ended with %s %d %q after %s; %s %s", o.End, o.Exit, o.Message, took, o.Stdout.Inline, o.Stderr.Inline)
			}
			said := string(o.Stdout.Inline)
			if strings.Contains(said, "escaped") || o.Exit == 99 || o.Exit == 2 && row.act != "fork bomb" || len(row.ends) == 1 && row.ends[0] == engine.Exited && row.act != "the others" && !strings.Contains(said, "done") {
				t.Errorf("it did, and said %s %s", said, o.Stderr.Inline)
			}
			if took > 2*time.Second+patient {
				t.Errorf("it took %s to be ended", took)
			}
			if left := h.alive(t); len(left) > 0 {
				t.Errorf("it left %v", left)
			}
			plain(t, o, 2*p.Limits.Disk)
			h.untouched(t)
			s.Release(id)
			if left, err := os.ReadDir(filepath.Join(p.Dir, "tasks")); err == nil && slices.ContainsFunc(left, func(d fs.DirEntry) bool { return d.Name() == fmt.Sprint(id) }) {
				t.Errorf("its files are still there")
			}
		})
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	leftGroups(t, e)
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

// leftGroups wants no control group of this process.
func leftGroups(t *testing.T, e *Engine) {
	t.Helper()
	if e.groups == nil {
		return
	}
	for _, dir := range append([]string{e.groups.unified}, values(e.groups.v1)...) {
		if left, err := filepath.Glob(filepath.Join(dir, fmt.Sprintf("%s%d-*", prefix, os.Getpid()))); err != nil || len(left) > 0 {
			t.Errorf("control groups are left: %v, %v", left, err)
		}
	}
}

func values(m map[string]string) (list []string) {
	for _, v := range m {
		list = append(list, v)
	}
	return list
}

// TestCancelledWhileSuspended has mallory's program stopped, ended while it is, and gone; stopped it takes no time of the processor.
func TestCancelledWhileSuspended(t *testing.T) {
	for name, cfg := range map[string]Config{"groups": {}, "watch-dog": {NoGroups: true}} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			p := program(t, helper(t, "hostile"))
			p.Lease, p.Dir, p.Env, p.Limits = t.Name(), t.TempDir(), h.env, engine.Limits{Time: time.Minute, Memory: 96 << 20}
			s, err := newEngine(t, cfg).Open(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			l, over := enginetest.NewLedger(), make(chan error, 1)
			go func() {
				over <- s.Run(t.Context(), []engine.Task{{ID: 1, Args: []string{"ignore signals", h.token}}}, l)
			}()
			box := s.(*sandbox)
			running := func() *task {
				box.mu.Lock()
				defer box.mu.Unlock()
				if box.current != nil && box.current.released {
					return box.current
				}
				return nil
			}
			for running() == nil {
				select {
				case err := <-over:
					t.Fatal(err, l.Of[1])
				case <-time.After(5 * time.Millisecond):
				}
			}
			k := running()
			began := time.Now()
			if err := s.Pause(); err != nil {
				t.Fatal(err)
			}
			t.Logf("stopped within %s", time.Since(began))
			<-time.After(100 * time.Millisecond)
			before := weigh(family(k.init)).cpu
			<-time.After(300 * time.Millisecond)
			if used := weigh(family(k.init)).cpu - before; used > 10*time.Millisecond {
				t.Errorf("suspended it used the processor for %s", used)
			}
			began = time.Now()
			s.Cancel(1)
			if err := <-over; err != nil || l.Of[1].End != engine.Cancelled {
				t.Errorf("%v, %+v", err, l.Of[1])
			}
			t.Logf("gone within %s", time.Since(began))
			if left := h.alive(t); len(left) > 0 || time.Since(began) > patient {
				t.Errorf("it left %v", left)
			}
			h.untouched(t)
		})
	}
}
