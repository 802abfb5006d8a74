package wasm

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tetratelabs/wazero/experimental/sys"
	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine/cgroup"
)

// TestProbe wants every wall of the sandbox to stand: one that does not fails here by its name. A kernel without Landlock is let off, and said.
func TestProbe(t *testing.T) {
	checks, err := newEngine(t).Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	locked := slices.ContainsFunc(checks, func(c Check) bool { return c.Name == "landlock" && c.OK })
	files := []string{"landlock", "cannot read /etc/passwd", "cannot list /", "cannot write outside", "cannot signal the parent"}
	seen := map[string]bool{}
	for _, c := range checks {
		seen[c.Name] = true
		if !locked && slices.Contains(files, c.Name) {
			continue
		}
		if !c.OK || c.Detail == "" {
			t.Errorf("%s: %s", c.Name, c.Detail)
		}
		t.Logf("%-28s %v %s", c.Name, c.OK, c.Detail)
	}
	for _, name := range []string{"landlock", "seccomp", "limits", "no-new-privs", "die-with-parent", "compiler", "cannot open a socket", "cannot read /etc/passwd"} {
		if !seen[name] {
			t.Errorf("%s was not tried", name)
		}
	}
	if !locked {
		t.Skip("this kernel has no Landlock: files are guarded by WASM alone; the other walls stand")
	}
}

// TestChildHasNothing looks into the child from outside: nothing of the parent's environment, no open files but its pipes, no way up in rights.
func TestChildHasNothing(t *testing.T) {
	t.Setenv("HPIPS_SECRET", "the owner's key")
	secret, err := syscall.Open(os.Args[0], syscall.O_RDONLY, 0) // without close-on-exec
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(secret)
	s := openSandbox(t, program(t, assemble(t, tinyWat)))
	pid := s.(*sandbox).current().cmd.Process.Pid
	proc := fmt.Sprintf("/proc/%d/", pid)
	if environ, err := os.ReadFile(proc + "environ"); err == nil {
		var names []string
		for _, one := range strings.Split(strings.Trim(string(environ), "\x00"), "\x00") {
			name, _, _ := strings.Cut(one, "=")
			names = append(names, name)
		}
		slices.Sort(names)
		if want := []string{"DBUS_SESSION_BUS_ADDRESS", "GODEBUG", "GOMAXPROCS", "GOTRACEBACK", "MALLOC_ARENA_MAX"}; !slices.Equal(names, want) {
			t.Errorf("environment %q, want %q", names, want)
		}
	} else if !os.IsPermission(err) {
		t.Error(err)
	}
	if list, err := os.ReadDir(proc + "fd"); err == nil {
		for _, e := range list {
			to, err := os.Readlink(proc + "fd/" + e.Name())
			if err != nil {
				t.Error(err)
			}
			own := strings.HasPrefix(to, "/sys/fs/cgroup/") // the Go runtime reads its CPU quota there
			if !own && !strings.HasPrefix(to, "pipe:") && !strings.HasPrefix(to, "anon_inode:") {
				t.Errorf("file %s is %s", e.Name(), to)
			}
		}
	} else if !os.IsPermission(err) {
		t.Error(err)
	}
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("status lacks %q", want)
		}
	}
	tasks, err := os.ReadDir(proc + "task")
	if err != nil || len(tasks) < 2 {
		t.Fatalf("%d threads, %v", len(tasks), err)
	}
	for _, e := range tasks { // the walls stand around every thread
		status, err := os.ReadFile(proc + "task/" + e.Name() + "/status")
		if err == nil && !strings.Contains(string(status), "Seccomp:\t2") {
			t.Errorf("thread %s has no filter", e.Name())
		}
	}
}

// gone waits until a process is no more.
func gone(t *testing.T, pid int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(5 * time.Second)
	for {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(b), ") Z ") {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("process %d still lives: %s", pid, b)
		}
	}
}

// TestChildDiesWithNode kills a node by SIGKILL while its child computes for ever.
func TestChildDiesWithNode(t *testing.T) {
	node := exec.Command(os.Args[0], "wasm-node", assemble(t, "testdata/trap.wat"), filepath.Join(workshop(t), "cache"), t.TempDir())
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	node.Wait()
	gone(t, pid)
}

// TestChildEndsWithItsPipe closes the pipe of an idle child: it goes by itself, on systems without a signal at the parent's death too.
func TestChildEndsWithItsPipe(t *testing.T) {
	cmd := exec.Command(os.Args[0], "wasm-child")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		cmd.Process.Kill()
		t.Error("it goes on without its node")
	}
}

// TestFullDisk writes where no space is left: the program sees an error, and the task is not judged by what it does then.
func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	tree := newTree(&quota{left: 1 << 20})
	f := &file{tree: tree, f: full, write: true}
	defer f.Close()
	if _, e := f.Pwrite([]byte("x"), 0); e != sys.EIO {
		t.Errorf("the program sees %v", e)
	}
	if !errors.Is(tree.fault, syscall.ENOSPC) {
		t.Errorf("kept %v", tree.fault)
	}
}

// TestNice wants every thread of a child at the priority asked for, and the session that is the child's own.
func TestNice(t *testing.T) {
	e, _ := ownEngine(t, func(c *Config) { c.Nice = 11 })
	s, err := e.Open(t.Context(), program(t, assemble(t, tinyWat)))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	pid := s.(*sandbox).current().cmd.Process.Pid
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range list {
		tid, err := strconv.Atoi(entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		if prio, err := unix.Getpriority(unix.PRIO_PROCESS, tid); err != nil || prio != 20-11 {
			t.Errorf("thread %d: nice %d, %v", tid, 20-prio, err)
		}
	}
	if own, err := unix.Getsid(pid); err != nil || own != pid {
		t.Errorf("session %d of child %d, %v", own, pid, err)
	}
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/autogroup", pid)); err == nil && !strings.Contains(string(b), "nice 11") {
		t.Errorf("its session has %s", b)
	}
}

// TestBehind wants a child that is to stand behind all others in a group that the kernel lets run when nobody else wants to, and no group when the child is gone.
func TestBehind(t *testing.T) {
	e, _ := ownEngine(t, func(c *Config) { c.Nice = cgroup.Last })
	s, err := e.Open(t.Context(), program(t, assemble(t, tinyWat)))
	if err != nil {
		t.Fatal(err)
	}
	pid := s.(*sandbox).current().cmd.Process.Pid
	group, err := cgroup.Of(pid)
	if err != nil {
		t.Fatal(err)
	}
	if e.ranks.groups.Limits("cpu") && !group.Idle() {
		t.Error("the child is in no group behind all others, though one can be made")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if left, err := e.ranks.groups.Made(); err != nil || len(left) > 0 {
		t.Errorf("groups are left: %v, %v", left, err)
	}
	if !e.ranks.groups.Limits("cpu") {
		t.Skip("this system lets this user make no control groups for the processor")
	}
}
