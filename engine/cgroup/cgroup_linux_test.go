package cgroup

import (
	"io"
	"maps"
	"os/exec"
	"testing"
)

// mounts is what a machine with both versions mounts (proc(5), mountinfo), its controllers of version 1 in a folder of somebody's.
const mounts = `30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
34 30 0:30 /box /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
35 30 0:31 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
`

// TestPlaces finds where the groups of two processes are, and what of a stranger's is its own.
func TestPlaces(t *testing.T) {
	own := places([]byte(mounts), []byte("5:memory:/user\n4:cpu,cpuacct:/user\n3:pids:/box/user\n2:freezer:/\n0::/user.slice\n"))
	want := map[string]string{"memory": "/sys/fs/cgroup/memory/user", "cpu": "/sys/fs/cgroup/cpu,cpuacct/user", "cpuacct": "/sys/fs/cgroup/cpu,cpuacct/user", "pids": "/sys/fs/cgroup/pids/user"}
	if own.unified != "/sys/fs/cgroup/unified/user.slice" || !maps.Equal(own.v1, want) {
		t.Errorf("places %q and %v, want %v", own.unified, own.v1, want)
	}
	its := places([]byte(mounts), []byte("5:memory:/user/box1\n4:cpu,cpuacct:/user\n3:pids:/box/user/box1\n0::/user.slice\n"))
	g := apart(its, own)
	want = map[string]string{"memory": "/sys/fs/cgroup/memory/user/box1", "pids": "/sys/fs/cgroup/pids/user/box1"}
	if !maps.Equal(g.dirs, want) {
		t.Errorf("a stranger's own groups %v, want %v", g.dirs, want)
	}
	if _, ok := g.CPU(); ok {
		t.Error("what this process uses was told as the stranger's")
	}
	if alone := places(nil, []byte("0::/\n")); alone.unified != "" || len(alone.v1) > 0 {
		t.Errorf("nothing is mounted, and found were %q and %v", alone.unified, alone.v1)
	}
}

// TestNobodysGroup asks the group that does nothing.
func TestNobodysGroup(t *testing.T) {
	var p *Parent
	g, err := p.Make(Bounds{Memory: 1 << 20, Processes: 1, CPUs: 1})
	if g != nil || err != nil || p.Limits("memory") || p.Version("pids") != 0 {
		t.Errorf("%v, %v", g, err)
	}
	_, counts := g.CPU()
	_, weighs := g.Memory()
	if counts || weighs || g.Starved() || g.Idle() || g.Freeze(true) || g.Add(1) != nil || g.Remove() != nil {
		t.Error("no group counts, or fails")
	}
}

// TestWeight holds groups to the kernel's table of priorities.
func TestWeight(t *testing.T) {
	for nice, want := range map[int][2]string{0: {"1024", "100"}, 10: {"110", "11"}, 19: {"15", "2"}} {
		if got := [2]string{weight(1024, nice), weight(100, nice)}; got != want {
			t.Errorf("nice %d weighs %v, want %v", nice, got, want)
		}
	}
}

// TestBehind wants groups that stand behind all others to do so, with limits and without, and to be gone when their process is.
func TestBehind(t *testing.T) {
	p, err := Find()
	if err != nil || !p.Limits("cpu") {
		t.Skip("this system lets this user make no control groups for the processor:", err)
	}
	bounds := Bounds{Memory: 64 << 20, Processes: 8, CPUs: 1}
	for name, row := range map[string]struct {
		make func() (*Group, error)
		idle bool
	}{
		"usual":               {func() (*Group, error) { return p.Make(bounds) }, false},
		"last, with limits":   {func() (*Group, error) { b := bounds; b.Nice = Last; return p.Make(b) }, true},
		"last, and no limits": {p.Behind, true},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := row.make()
			if err != nil {
				t.Fatal(err)
			}
			cat := exec.CommandContext(t.Context(), "cat")
			in, err := cat.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cat.Start(); err != nil {
				t.Fatal(err)
			}
			if err := g.Add(cat.Process.Pid); err != nil {
				t.Error(err)
			}
			its, err := Of(cat.Process.Pid)
			if err != nil || its.Idle() != row.idle {
				t.Errorf("it stands behind all others: %v, want %v; %v", its.Idle(), row.idle, err)
			}
			if _, err := io.WriteString(in, "done"); err != nil || in.Close() != nil || cat.Wait() != nil {
				t.Error("the process in the group fails", err)
			}
			if err := g.Remove(); err != nil {
				t.Error(err)
			}
			if left, err := p.Made(); err != nil || len(left) > 0 {
				t.Errorf("groups are left: %v, %v", left, err)
			}
		})
	}
}
