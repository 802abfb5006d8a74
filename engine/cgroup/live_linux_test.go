package cgroup

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// version is what the machine is known to give: 1 or 2, all three controllers in groups of that version; 0, no controller; -1, whatever there is.
var version = flag.Int("version", -1, "of the control groups that must hold memory, processes and processor; 0: none may be held")

// Acts of children of these tests, by a word on their command line.
var acts = map[string]func(){
	"wait": func() { _, _ = os.Stdin.Read(make([]byte, 1)) },
	"spin": func() {
		for range 4 {
			go func() {
				for { //nolint:staticcheck // it is to use a processor
				}
			}()
		}
		select {}
	},
	"grow": func() {
		_, _ = os.Stdin.Read(make([]byte, 1)) // until it is in its group
		for keep := [][]byte{}; ; {
			keep = append(keep, bytes.Repeat([]byte{1}, 1<<20))
		}
	},
	"fork": func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		for n := range 64 {
			if err := exec.Command(os.Args[0], "wait").Start(); err != nil {
				fmt.Println("refused after", n, err)
				return
			}
		}
		fmt.Println("all begun")
	},
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && acts[os.Args[1]] != nil {
		acts[os.Args[1]]()
		return
	}
	os.Exit(m.Run())
}

// child is a program in a group.
type child struct {
	*exec.Cmd
	told *bytes.Buffer
	in   *os.File
}

// begin starts a child with an act.
func begin(t *testing.T, act string) *child {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{exec.Command(os.Args[0], act), &bytes.Buffer{}, w}
	c.Stdin, c.Stdout, c.Stderr = r, c.told, c.told
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		w.Close()
	})
	return c
}

// found is where groups can be made, with what the machine is known to give.
func found(t *testing.T) *Parent {
	t.Helper()
	p, err := Find()
	for _, c := range controllers {
		if got := p.Version(c); *version >= 0 && got != *version {
			t.Errorf("%s is held by version %d of control groups, want %d: %v", c, got, *version, err)
		}
	}
	if err != nil && *version <= 0 {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Logf("memory is held by version %d of control groups, processes by %d, the processor by %d (0: by none); the freezer is in %q", p.Version("memory"), p.Version("pids"), p.Version("cpu"), p.unified)
	return p
}

// grouped is a group for a child of the test.
func grouped(t *testing.T, p *Parent, b Bounds, c *child) *Group {
	t.Helper()
	g, err := p.Make(b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
		if left, err := p.Made(); err != nil || len(left) > 0 {
			t.Errorf("groups are left: %v, %v", left, err)
		}
	})
	if err := g.Add(c.Process.Pid); err != nil {
		t.Fatal(err)
	}
	return g
}

// usual are limits that nothing of these tests reaches.
var usual = Bounds{Memory: 512 << 20, Processes: 256, CPUs: 1, Nice: 10}

// TestLimitOfMemory has a child take memory until it is killed.
func TestLimitOfMemory(t *testing.T) {
	p := found(t)
	if !p.Limits("memory") {
		t.Skip("no group counts memory")
	}
	c, b := begin(t, "grow"), usual
	b.Memory = 64 << 20
	g := grouped(t, p, b, c)
	if g.Starved() {
		t.Error("it has taken nothing yet")
	}
	c.in.Close()
	if err := c.Wait(); err == nil {
		t.Error("it ended by itself")
	}
	if most, ok := g.Memory(); !g.Starved() || !ok || most < b.Memory*9/10 || most > b.Memory*11/10 {
		t.Errorf("starved: %v; it had %d bytes at most, %v, of %d", g.Starved(), most, ok, b.Memory)
	}
}

// TestLimitOfProcesses has a child make others until it is refused.
func TestLimitOfProcesses(t *testing.T) {
	p := found(t)
	if !p.Limits("pids") {
		t.Skip("no group counts processes")
	}
	c, b := begin(t, "fork"), usual
	b.Processes = 32
	grouped(t, p, b, c)
	c.in.Close()
	_ = c.Wait() // its runtime may be refused a thread, which ends it
	if said := c.told.String(); strings.Contains(said, "all begun") || said == "" {
		t.Errorf("it says %q", said)
	}
}

// TestLimitOfTheProcessor has a child with four busy threads keep to one processor: two tenths more at most, as it is watched for a second only.
func TestLimitOfTheProcessor(t *testing.T) {
	p := found(t)
	if !p.Limits("cpu") {
		t.Skip("no group counts the processor")
	}
	g := grouped(t, p, usual, begin(t, "spin"))
	began := time.Now()
	<-time.After(time.Second)
	used, ok := g.CPU()
	if took := time.Since(began); !ok || used <= 0 || used > took*12/10 {
		t.Errorf("it used %s in %s, %v", used, took, ok)
	}
}

// TestFreeze stops a busy child and lets it go on: within a second each.
func TestFreeze(t *testing.T) {
	p, c := found(t), begin(t, "spin")
	g := grouped(t, p, usual, c)
	if !g.Freeze(true) {
		if p.unified != "" {
			t.Error("groups of version 2 do not freeze")
		}
		t.Skip("no group of version 2 can be made here")
	}
	await := func(want string) {
		t.Helper()
		began := time.Now()
		for {
			b, err := os.ReadFile(filepath.Join(g.dirs["unified"], "cgroup.events"))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(b), "frozen "+want) {
				break
			}
			if time.Since(began) > time.Second {
				t.Fatalf("a second later: %s", b)
			}
		}
		t.Logf("frozen %s after %s", want, time.Since(began))
	}
	await("1")
	before := ticks(t, c.Process.Pid)
	<-time.After(200 * time.Millisecond)
	if after := ticks(t, c.Process.Pid); after != before {
		t.Errorf("it used %d ticks while it was frozen", after-before)
	}
	if !g.Freeze(false) {
		t.Error("it stays frozen")
	}
	await("0")
	for until := time.Now().Add(patience); ticks(t, c.Process.Pid) == before; {
		if time.Now().After(until) {
			t.Fatal("it does not go on")
		}
	}
}

// ticks is what a process has used of processors, in the kernel's unit for programs (proc(5), stat).
func ticks(t *testing.T, pid int) (all int) {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	for _, word := range strings.Fields(rest)[11:13] { // utime, stime
		n, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		all += n
	}
	return all
}

// TestAStrangersGroup reads the group of another process.
func TestAStrangersGroup(t *testing.T) {
	p, c := found(t), begin(t, "spin")
	mine := grouped(t, p, usual, c)
	its, err := Of(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for name, dir := range mine.dirs {
		if its.dirs[name] != dir {
			t.Errorf("its group for %s is %q, want %q", name, its.dirs[name], dir)
		}
	}
	if mine.dirs["unified"] == "" && mine.dirs["cpuacct"] == "" {
		return
	}
	for until := time.Now().Add(patience); ; {
		used, ok := its.CPU()
		if ok && used > 0 {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("it used %s, %v", used, ok)
		}
	}
}

// TestTheDeadLeaveNoGroups has a node begin where another was killed: what that has left is taken away, and in version 2 what still runs there ends.
func TestTheDeadLeaveNoGroups(t *testing.T) {
	p, dead, orphan := found(t), begin(t, "wait"), begin(t, "spin")
	dead.in.Close()
	if err := dead.Wait(); err != nil {
		t.Fatal(err)
	}
	left := &Group{of: p, dirs: map[string]string{}}
	for c, dir := range p.v1 {
		left.dirs[c] = filepath.Join(dir, fmt.Sprintf("%s%d-1", prefix, dead.Process.Pid))
	}
	if p.unified != "" {
		left.dirs["unified"] = filepath.Join(p.unified, fmt.Sprintf("%s%d-1", prefix, dead.Process.Pid))
	}
	for _, dir := range left.dirs {
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
	}
	if p.unified != "" {
		if err := os.WriteFile(filepath.Join(left.dirs["unified"], "cgroup.procs"), []byte(strconv.Itoa(orphan.Process.Pid)), 0); err != nil {
			t.Fatal(err)
		}
		found(t)
		if err := orphan.Wait(); err == nil {
			t.Error("it goes on")
		}
	}
	for until := time.Now().Add(patience); ; {
		found(t)
		there := 0
		for _, dir := range left.dirs {
			if _, err := os.Stat(dir); err == nil {
				there++
			}
		}
		if there == 0 {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("%d of %v are left", there, left.dirs)
		}
	}
}
