package cgroup

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Parent is where this process may make control groups: under its own, in version 2, or where a controller is still in version 1, there. The nil Parent makes groups that do
// nothing.
type Parent struct {
	unified string            // folder of version 2; "" none. It freezes, kills and lists whatever controllers it has
	v2      map[string]bool   // controllers that groups under it have
	v1      map[string]string // controller → folder of version 1
	lacking string            // why it has not all of them; "" it has
}

// finding is held while a group is looked for, as that may move this process into another.
var finding sync.Mutex

// serial numbers the groups of this process, whoever makes them.
var serial atomic.Uint64

// controllers are those that limits need.
var controllers = []string{"memory", "pids", "cpu"}

// Find finds where groups can be made, tries it, and takes away what nodes that were killed have left. Where this process shares its group with a shell, it asks the system's
// manager of services for one of its own.
func Find() (*Parent, error) {
	finding.Lock()
	defer finding.Unlock()
	g, group, err := look()
	if err == nil && g.lacking != "" && withdraw(group) == nil {
		g, _, err = look()
	}
	if err == nil && g.unified == "" && len(g.v1) == 0 {
		err = errors.New(g.lacking)
	}
	if err != nil {
		return nil, err
	}
	return g, nil
}

// look finds where groups can be made by this process, and tells its own in version 2.
func look() (g *Parent, group string, err error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, "", fmt.Errorf("control groups: %w", err)
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, "", fmt.Errorf("control groups: %w", err)
	}
	g, group = places(mounts, own), unified(own)
	if filepath.Base(g.unified) == leaf {
		g.unified = filepath.Dir(g.unified)
	}
	why := ""
	switch {
	case g.unified == "":
	case !writable(g.unified):
		g.unified = ""
	case !given(group, g.unified):
		g.unified, why = "", "systemd keeps this node's control group to itself"
	default:
		if g.sweep(g.unified); g.delegate() {
			why = "other programs are in this node's control group"
		}
	}
	for c, dir := range g.v1 {
		if g.sweep(dir); !writable(dir) || g.v2[c] {
			delete(g.v1, c)
		}
	}
	g.lacking = g.lacks(why)
	return g, group, nil
}

// remedy is how a node gets groups that hold all limits.
const remedy = "start the node as a service with Delegate=yes, such as by systemd-run --user -p Delegate=yes hpips up"

// lacks says why groups hold not all limits, if they do not; why is what is known of it.
func (g *Parent) lacks(why string) string {
	var names []string
	for _, c := range controllers {
		if !g.Limits(c) {
			names = append(names, c)
		}
	}
	switch {
	case len(names) == 0:
		return ""
	case why != "":
	case g.unified == "" && len(g.v1) == 0:
		why = "the system lets this user make no control groups"
	default:
		why = "this node's control group has been given no controller for " + strings.Join(names, ", ")
	}
	return why + ": " + remedy
}

// Lacking says why groups hold not all limits and what to do about it; "" where they do.
func (g *Parent) Lacking() string {
	if g == nil {
		return ""
	}
	return g.lacking
}

// places reads where the groups of a process are (cgroups(7), proc(5)): mounts is its mountinfo, own its cgroup file.
func places(mounts, own []byte) *Parent {
	g := &Parent{v2: map[string]bool{}, v1: map[string]string{}}
	paths := map[string]string{} // controller → path in its hierarchy; "" is version 2
	for line := range bytes.Lines(own) {
		part := strings.SplitN(strings.TrimSpace(string(line)), ":", 3)
		if len(part) == 3 {
			for _, c := range strings.Split(part[1], ",") {
				paths[c] = part[2]
			}
		}
	}
	for line := range bytes.Lines(mounts) {
		before, after, ok := strings.Cut(string(line), " - ")
		word, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(word) < 5 || len(kind) < 3 {
			continue
		}
		at := func(path string) string {
			rel, err := filepath.Rel(word[3], path) // a container sees part of the hierarchy
			if err != nil || strings.HasPrefix(rel, "..") {
				rel = "."
			}
			return filepath.Join(word[4], rel)
		}
		switch path, in := paths[""]; {
		case kind[0] == "cgroup2" && in:
			g.unified = at(path)
		case kind[0] == "cgroup":
			for _, c := range strings.Split(kind[2], ",") {
				if path, in := paths[c]; in && (c == "cpuacct" || slices.Contains(controllers, c)) {
					g.v1[c] = at(path)
				}
			}
		}
	}
	return g
}

// leaf is the group that this process moves into: a group with controllers for its children may have no processes of its own.
const leaf = "hpips-node"

// delegate switches the controllers on for groups under this process's own, where it has been given them. It says whether other processes in the group keep it from that.
func (g *Parent) delegate() (shared bool) {
	has := func(file string) []string {
		b, err := os.ReadFile(filepath.Join(g.unified, file))
		if err != nil {
			return nil
		}
		return strings.Fields(string(b))
	}
	on := has("cgroup.subtree_control")
	for _, c := range has("cgroup.controllers") {
		if !slices.Contains(controllers, c) || slices.Contains(on, c) {
			continue
		}
		if !g.alone() {
			shared = true
			break
		}
		_ = os.WriteFile(filepath.Join(g.unified, "cgroup.subtree_control"), []byte("+"+c), 0) // what is on is read below
	}
	for _, c := range has("cgroup.subtree_control") {
		g.v2[c] = slices.Contains(controllers, c)
	}
	return shared
}

// alone moves this process into a leaf of its own, if it is the only one in its group.
func (g *Parent) alone() bool {
	switch pids := procs(g.unified); {
	case len(pids) == 0:
		return true
	case len(pids) > 1 || pids[0] != os.Getpid():
		return false
	}
	dir := filepath.Join(g.unified, leaf)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return false
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0) == nil
}

func writable(dir string) bool {
	try := filepath.Join(dir, fmt.Sprintf("%s%d-try-%d", prefix, os.Getpid(), serial.Add(1)))
	return os.Mkdir(try, 0o755) == nil && os.Remove(try) == nil
}

// prefix begins the names of this engine's groups; the number of the node's process follows.
const prefix = "hpips-task-"

// sweep removes groups of processes that are gone.
func (g *Parent) sweep(dir string) {
	list, err := filepath.Glob(filepath.Join(dir, prefix+"*"))
	if err != nil {
		return
	}
	for _, old := range list {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(old), prefix), "-")
		if _, err := os.Stat("/proc/" + pid); errors.Is(err, fs.ErrNotExist) {
			_ = os.WriteFile(filepath.Join(old, "cgroup.kill"), []byte("1"), 0)
			_ = os.Remove(old) // one that is not empty yet is for the next time
		}
	}
}

// Limits says whether groups hold a limit of that controller: "memory", "pids" or "cpu".
func (g *Parent) Limits(controller string) bool {
	return g != nil && (g.v2[controller] || g.v1[controller] != "")
}

// Version is that of the groups which hold a controller's limit, 1 or 2; 0 where none does.
func (g *Parent) Version(controller string) int {
	switch {
	case !g.Limits(controller):
		return 0
	case g.v2[controller]:
		return 2
	}
	return 1
}

// Made lists the folders of groups that this process has made and not removed.
func (g *Parent) Made() (dirs []string, err error) {
	if g == nil {
		return nil, nil
	}
	parents := []string{g.unified}
	for _, dir := range g.v1 {
		parents = append(parents, dir)
	}
	for _, dir := range parents {
		if dir == "" {
			continue
		}
		list, e := filepath.Glob(filepath.Join(dir, fmt.Sprintf("%s%d-*", prefix, os.Getpid())))
		dirs, err = append(dirs, list...), errors.Join(err, e)
	}
	return dirs, err
}

// Group is a control group, in each of the hierarchies that it needs. The nil Group holds nothing and counts nothing.
type Group struct {
	of   *Parent
	dirs map[string]string // controller → folder; "unified" besides
}

// patience is how long a group may take to be empty once its processes are dead.
const patience = 10 * time.Second

// weight is what a group weighs beside others, which the kernel looks at first: priorities count within a group. usual is that of a group of which nobody said anything, and each
// step of nice a quarter (sched(7)).
func weight(usual float64, nice int) string {
	return fmt.Sprint(max(2, int(math.Round(usual*math.Pow(1.25, -float64(nice))))))
}

// period of the processor's quota, in microseconds: the kernel's own.
const period = 100_000

// Make makes a group with limits. A nil Parent makes a nil Group.
func (g *Parent) Make(b Bounds) (_ *Group, err error) {
	if g == nil {
		return nil, nil //nolint:nilnil // the nil group is one that does nothing
	}
	parents := map[string]string{"unified": g.unified}
	for c, dir := range g.v1 {
		parents[c] = dir
	}
	group, err := g.in(parents)
	if err != nil {
		return nil, err
	}
	if err := group.limit(b); err != nil {
		return nil, errors.Join(err, group.Remove())
	}
	return group, nil
}

// Behind makes a group without limits that stands behind all others for the processor, as one with a Nice of Last does. Where this process can make none, it is the nil Group.
func (g *Parent) Behind() (*Group, error) {
	if !g.Limits("cpu") {
		return nil, nil //nolint:nilnil // the nil group is one that does nothing
	}
	c, dir := "cpu", g.v1["cpu"]
	if g.v2["cpu"] {
		c, dir = "unified", g.unified
	}
	group, err := g.in(map[string]string{c: dir})
	if err != nil {
		return nil, err
	}
	group.Weigh(Last)
	return group, nil
}

// in makes a group of a new name in these folders.
func (g *Parent) in(parents map[string]string) (_ *Group, err error) {
	name := fmt.Sprintf("%s%d-%d", prefix, os.Getpid(), serial.Add(1))
	group := &Group{of: g, dirs: map[string]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, group.Remove())
		}
	}()
	for c, parent := range parents {
		if parent == "" {
			continue
		}
		dir := filepath.Join(parent, name)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) { // cpu and cpuacct may be one
			return nil, fmt.Errorf("control group: %w", err)
		}
		group.dirs[c] = dir
	}
	return group, nil
}

// Weigh says how far the group stands behind others, as Bounds.Nice does. It is a courtesy: the group may not be this process's to weigh, and old kernels know no idle groups
// (before Linux 5.15).
func (g *Group) Weigh(nice int) {
	if g == nil {
		return
	}
	dir, file, usual := g.dirs["cpu"], "cpu.shares", 1024.0
	if dir == "" {
		dir, file, usual = g.dirs["unified"], "cpu.weight", 100
	}
	if dir == "" {
		return
	}
	_ = os.WriteFile(filepath.Join(dir, file), []byte(weight(usual, nice)), 0)
	if nice >= Last {
		_ = os.WriteFile(filepath.Join(dir, "cpu.idle"), []byte("1"), 0)
	}
}

func (g *Group) limit(b Bounds) error {
	var errs []error
	set := func(c, file string, v any) {
		errs = append(errs, os.WriteFile(filepath.Join(g.dirs[c], file), []byte(fmt.Sprint(v)), 0))
	}
	if dir := g.dirs["memory"]; dir != "" {
		set("memory", "memory.limit_in_bytes", b.Memory)
		_ = os.WriteFile(filepath.Join(dir, "memory.memsw.limit_in_bytes"), []byte(fmt.Sprint(b.Memory)), 0) // where the kernel counts swap
	} else if g.of.v2["memory"] {
		set("unified", "memory.max", b.Memory)
		set("unified", "memory.oom.group", 1)
		_ = os.WriteFile(filepath.Join(g.dirs["unified"], "memory.swap.max"), []byte("0"), 0) // likewise
	}
	if g.dirs["pids"] != "" {
		set("pids", "pids.max", b.Processes)
	} else if g.of.v2["pids"] {
		set("unified", "pids.max", b.Processes)
	}
	if g.dirs["cpu"] != "" {
		set("cpu", "cpu.cfs_period_us", period)
		set("cpu", "cpu.cfs_quota_us", b.CPUs*period)
		g.Weigh(b.Nice)
	} else if g.of.v2["cpu"] {
		set("unified", "cpu.max", fmt.Sprintf("%d %d", b.CPUs*period, period))
		g.Weigh(b.Nice)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("control group: %w", err)
	}
	return nil
}

// Add moves a process into the group.
func (g *Group) Add(pid int) error {
	if g == nil {
		return nil
	}
	for _, dir := range g.dirs {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			return fmt.Errorf("control group: %w", err)
		}
	}
	return nil
}

// Freeze stops all processes of the group where they are, or lets them go on; false where the group cannot.
func (g *Group) Freeze(on bool) bool {
	if g == nil || g.dirs["unified"] == "" {
		return false
	}
	state := "0"
	if on {
		state = "1"
	}
	return os.WriteFile(filepath.Join(g.dirs["unified"], "cgroup.freeze"), []byte(state), 0) == nil
}

// number reads a number from a file of the group: the only one in it, or that behind a word.
func (g *Group) number(c, file, word string) (int64, bool) {
	if g == nil || g.dirs[c] == "" {
		return 0, false
	}
	b, err := os.ReadFile(filepath.Join(g.dirs[c], file))
	if err != nil {
		return 0, false
	}
	for line := range bytes.Lines(b) {
		f := strings.Fields(string(line))
		if len(f) > 0 && (word == "" || f[0] == word && len(f) > 1) {
			n, err := strconv.ParseInt(f[len(f)-1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// CPU is how long the processes of the group have used processors; false where nobody counts.
func (g *Group) CPU() (time.Duration, bool) {
	if n, ok := g.number("cpuacct", "cpuacct.usage", ""); ok {
		return time.Duration(n), true
	}
	if g == nil || !g.of.v2["cpu"] {
		return 0, false
	}
	n, ok := g.number("unified", "cpu.stat", "usage_usec")
	return time.Duration(n) * time.Microsecond, ok
}

// Memory is the most that the group had, in bytes.
func (g *Group) Memory() (int64, bool) {
	if n, ok := g.number("memory", "memory.max_usage_in_bytes", ""); ok {
		return n, true
	}
	return g.number("unified", "memory.peak", "")
}

// Starved says whether the kernel has killed a process of the group for its memory limit.
func (g *Group) Starved() bool {
	n, ok := g.number("memory", "memory.oom_control", "oom_kill")
	if !ok {
		n, ok = g.number("unified", "memory.events", "oom_kill")
	}
	return ok && n > 0
}

// Idle says whether the group stands behind all others for the processor.
func (g *Group) Idle() bool {
	n, ok := g.number("cpu", "cpu.idle", "")
	if !ok {
		n, ok = g.number("unified", "cpu.idle", "")
	}
	return ok && n == 1
}

// Of is the group that another process is in, to be read. Hierarchies in which it shares this process's own group are left out: what they count is not that process's.
func Of(pid int) (*Group, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("control groups: %w", err)
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("control groups: %w", err)
	}
	its, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return nil, fmt.Errorf("control groups: %w", err)
	}
	return apart(places(mounts, its), places(mounts, own)), nil
}

// apart is the group that is at its places, where these are not at own's.
func apart(its, own *Parent) *Group {
	g := &Group{of: its, dirs: map[string]string{}}
	for c, dir := range its.v1 {
		if dir != own.v1[c] {
			g.dirs[c] = dir
		}
	}
	if its.unified != own.unified {
		g.dirs["unified"] = its.unified
		its.v2["cpu"] = true // counted also where it is not limited
	}
	return g
}

// procs lists the processes of a group's folder.
func procs(dir string) []int {
	f, err := os.Open(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil
	}
	defer f.Close()
	var pids []int
	for s := bufio.NewScanner(f); s.Scan(); {
		if n, err := strconv.Atoi(s.Text()); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}

// Remove takes the group away. Its processes are dead; the kernel may need a moment to have counted them out.
func (g *Group) Remove() error {
	if g == nil {
		return nil
	}
	var errs []error
	for c, dir := range g.dirs {
		until := time.Now().Add(patience)
		err := unix.Rmdir(dir)
		for wait := time.Millisecond; errors.Is(err, unix.EBUSY) && time.Now().Before(until); wait = min(2*wait, 100*time.Millisecond) {
			time.Sleep(wait)
			err = unix.Rmdir(dir)
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("control group %s: %w", dir, err))
			continue
		}
		delete(g.dirs, c)
	}
	return errors.Join(errs...)
}
