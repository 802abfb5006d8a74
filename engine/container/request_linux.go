package container

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine"
)

// user is the number of the program's user and group in its container, where the engine lets us choose.
const user = 1000

// overhead is what a container's first processes take beside the program, and least what they need to start at all, in bytes.
const (
	overhead = 4 << 20
	least    = 24 << 20
)

// What a kernel of a container's own takes beside, gVisor's: bytes of memory (15 MiB were seen) and threads (20 are too few to begin).
const (
	kernelMemory  = 24 << 20
	kernelThreads = 64
)

// request is what the engine is asked for a task: as little as a container can have.
func (l *life) request(image string) (client.ContainerCreateOptions, error) {
	e, t := l.maker.eng, &l.task
	limits := t.Program.Limits
	mounts, err := l.mounts()
	if err != nil {
		return client.ContainerCreateOptions{}, err
	}
	plan := l.maker.image.plan
	cmd := plan.cmd
	if args := append(append([]string(nil), t.Program.Args...), t.Args...); len(args) > 0 {
		cmd = args
	}
	yes, pids := true, int64(e.cfg.Processes)
	memory := max(limits.Memory+overhead, least)
	if e.kernel() {
		memory, pids = memory+kernelMemory, pids+kernelThreads
	}
	c := &container.Config{
		Image: image, Entrypoint: plan.entrypoint, Cmd: cmd, Env: environment(plan.env, t.Program.Env, t.Env, engine.DeviceEnv(t.Devices)), WorkingDir: plan.folder, User: e.user, Hostname: "hpips",
		OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true, NetworkDisabled: true,
		Labels: map[string]string{label: e.self},
	}
	if plan.checked {
		c.Healthcheck = &container.HealthConfig{Test: []string{"NONE"}}
	}
	h := &container.HostConfig{
		NetworkMode: "none", IpcMode: "private", CgroupnsMode: "private", UsernsMode: container.UsernsMode(e.userns), ReadonlyRootfs: true, CapDrop: []string{"ALL"},
		SecurityOpt: []string{"no-new-privileges", "seccomp=" + e.filters[e.limited]}, RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled},
		LogConfig: container.LogConfig{Type: "none"}, OomScoreAdj: 1000, Mounts: mounts, Runtime: e.runtime,
		Resources: container.Resources{Memory: memory, MemorySwap: memory, NanoCPUs: int64(e.cfg.CPUs) * 1e9, PidsLimit: &pids, Ulimits: l.ulimits()},
	}
	if e.init {
		h.Init = &yes
	}
	if err := give(h, t.Devices, !e.podman); err != nil {
		return client.ContainerCreateOptions{}, err
	}
	return client.ContainerCreateOptions{Config: c, HostConfig: h, Name: l.name}, nil
}

// limits are resource limits (setrlimit(2)) by the names that engines give them. That on processes counts all of a user's, so it is high, and named all the same: engines set another
// by themselves, which they may not be allowed to.
func (l *life) limits() map[string]uint64 {
	e, limits := l.maker.eng, l.task.Program.Limits
	all := map[string]uint64{"core": 0, "fsize": uint64(max(limits.Disk, 1)), "memlock": 64 << 10, "msgqueue": 0, "nofile": 4096, "nproc": uint64(min(hard(unix.RLIMIT_NPROC), e.nproc))}
	switch {
	case l.maker.trial:
		all["data"] = 4 * uint64(limits.Memory) // whether more than the first quarter can be had is what is tried
	case !e.limited:
		all["data"] = 4*uint64(limits.Memory) + 1<<30 // loosely, for each process; the watch-dog adds up
	}
	return all
}

// numbers are the kernel's of these limits.
var numbers = map[string]int{"core": unix.RLIMIT_CORE, "data": unix.RLIMIT_DATA, "fsize": unix.RLIMIT_FSIZE, "memlock": unix.RLIMIT_MEMLOCK, "msgqueue": unix.RLIMIT_MSGQUEUE,
	"nofile": unix.RLIMIT_NOFILE, "nproc": unix.RLIMIT_NPROC}

// ulimits are these limits as engines are asked for them.
func (l *life) ulimits() (all []*container.Ulimit) {
	for name, n := range l.limits() {
		all = append(all, &container.Ulimit{Name: name, Soft: int64(n), Hard: int64(n)})
	}
	slices.SortFunc(all, func(a, b *container.Ulimit) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// restrict sets them here, on the container's first process, which waits to begin: Podman 4 does not when it runs without root.
func (l *life) restrict() {
	for name, n := range l.limits() {
		if err := unix.Prlimit(l.pid, numbers[name], &unix.Rlimit{Cur: n, Max: n}, nil); err != nil {
			l.maker.eng.log.Debug("A container's limit cannot be set", "limit", name, "err", err)
		}
	}
}

// hard is this process's own hard limit.
func hard(what int) int64 {
	var r unix.Rlimit
	if err := unix.Getrlimit(what, &r); err != nil || r.Max > 1<<62 {
		return 1 << 62
	}
	return int64(r.Max)
}

// environment joins lists of K=V in their order; the last value of a name wins.
func environment(lists ...[]string) []string {
	at, all := map[string]int{}, []string{}
	for _, list := range lists {
		for _, kv := range list {
			name, _, _ := strings.Cut(kv, "=")
			if n, again := at[name]; again {
				all[n] = kv
				continue
			}
			at[name] = len(all)
			all = append(all, kv)
		}
	}
	return all
}

// mounts are what the container sees of the host: inputs to be read, folders to be written, and nothing else.
func (l *life) mounts() ([]mount.Mount, error) {
	t := &l.task
	var all []mount.Mount
	add := func(host, guest string, readOnly bool) { all = append(all, bind(host, guest, readOnly)) }
	add(t.Tmp, "/tmp", false)
	add(t.Shm, "/dev/shm", false)
	for n, guest := range t.Outputs {
		add(t.Out[n], guest, false)
	}
	given := t.Mounts()
	for n, v := range l.maker.image.plan.volumes {
		if slices.Contains(t.Outputs, v) || slices.ContainsFunc(given, func(m engine.Mount) bool { return m.Guest == v }) {
			continue
		}
		host := filepath.Join(t.Tmp, ".volumes", strconv.Itoa(n)) // measured and removed with /tmp
		if err := os.MkdirAll(host, 0o700); err != nil {
			return nil, fmt.Errorf("volume %s: %w", v, err)
		}
		add(host, v, false)
	}
	for n, m := range given {
		host, err := l.readable(m.Host, n)
		if err != nil {
			return nil, fmt.Errorf("mount %s: %w", m.Guest, err)
		}
		add(host, m.Guest, true)
	}
	for _, m := range all {
		if err := plain(m.Source); err != nil {
			return nil, err
		}
	}
	return all, l.maker.eng.own(t.Folders()...)
}

// own makes folders, and what is in them so far, the program's to write.
func (e *Engine) own(dirs ...string) error {
	if !e.strange {
		return nil
	}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, user, user)
		})
		if err != nil {
			return fmt.Errorf("folder for the task: %w", err)
		}
	}
	return nil
}

// readable is where the program can read what is given to it: where that lies, unless it is of a user that the program is not, and shut to others; then in a copy.
func (l *life) readable(host string, n int) (string, error) {
	if !l.maker.eng.strange || open(host) {
		return host, nil
	}
	to := filepath.Join(l.task.Dir, "given"+strconv.Itoa(n))
	return to, copyTree(host, to)
}

// open says whether everybody may read a file, or a folder with all that is in it.
func open(path string) bool {
	err := filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if want := map[bool]fs.FileMode{false: 0o004, true: 0o005}[info.IsDir()]; info.Mode()&want != want {
			return fs.ErrPermission
		}
		return nil
	})
	return err == nil
}

// copyTree copies files and folders, which everybody may read then. Nothing but these is copied.
func copyTree(from, to string) error {
	from, err := filepath.EvalSymlinks(from)
	if err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch at := filepath.Join(to, rel); {
		case d.IsDir():
			return errors.Join(os.Mkdir(at, 0o700), os.Chmod(at, 0o755))
		case d.Type().IsRegular():
			return copyFile(path, at)
		}
		return nil
	})
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Chmod(0o644 | info.Mode()&0o111)
}
