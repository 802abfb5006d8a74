package container

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/sandbox"
	"github.com/hpips/hpips/engine/syscalls"
)

// install is the remedy where no engine is.
const install = "install the package " + Package + ", such as by apt install " + Package + "; or start an engine's service: systemctl --user start podman.socket"

// find takes the first engine that runs a container. One that is named is the only one that is asked.
func (e *Engine) find(ctx context.Context) error {
	inline, files := map[bool]string{}, map[bool]string{}
	for limited, name := range map[bool]string{true: "seccomp.json", false: "seccomp-loose.json"} {
		text, err := profile(limited)
		if err != nil {
			return &Missing{What: err.Error(), Remedy: "use another processor's build of this program"}
		}
		inline[limited] = string(text)
		if files[limited], err = e.keep(name, text); err != nil {
			return err
		}
	}
	hosts, named := e.hosts()
	var failed []string
	for _, host := range hosts {
		err := e.take(ctx, host, files, inline)
		if err == nil || ctx.Err() != nil {
			return err
		}
		failed = append(failed, strings.TrimPrefix(host, "unix://")+": "+say(err))
	}
	if named {
		return &Missing{What: "the engine that was named runs no containers: " + strings.Join(failed, "; "), Remedy: "start it, or name none, so that one is looked for"}
	}
	return e.serve(ctx, files, failed)
}

// hosts are where engines listen: the one that was named, or those whose sockets are there.
func (e *Engine) hosts() (hosts []string, named bool) {
	for _, host := range []string{e.cfg.Host, os.Getenv(client.EnvOverrideHost)} {
		if host != "" {
			return []string{host}, true
		}
	}
	private := os.Getenv("XDG_RUNTIME_DIR")
	if private == "" {
		private = fmt.Sprintf("/run/user/%d", os.Getuid())
	}
	for _, socket := range []string{filepath.Join(private, "podman/podman.sock"), "/run/podman/podman.sock", filepath.Join(private, "docker.sock"), "/run/docker.sock"} {
		if unix.Access(socket, unix.R_OK|unix.W_OK) == nil {
			hosts = append(hosts, "unix://"+socket)
		}
	}
	return hosts, false
}

// serve starts a service of our own where Podman is installed, with another maker of containers if its default makes none here.
func (e *Engine) serve(ctx context.Context, files map[bool]string, failed []string) error {
	podman := e.cfg.Podman
	if podman == "" {
		path, err := exec.LookPath(Package)
		if err != nil && len(failed) == 0 {
			return &Missing{What: "neither Podman nor Docker runs here, and Podman is not installed: images cannot be held", Remedy: install}
		} else if err != nil {
			return &Missing{What: "no engine here runs a container: " + strings.Join(failed, "; "), Remedy: install}
		}
		podman = path
	}
	makers := []string{e.cfg.Runtime}
	if e.cfg.Runtime == "" {
		makers = append(makers, "runc", "crun")
	}
	for _, maker := range makers {
		s, err := serve(ctx, e.log, podman, maker, filepath.Join(e.dir, "podman.sock"))
		if err == nil {
			if err = e.take(ctx, "unix://"+s.socket, files, nil); err == nil {
				e.service = s
				return nil
			}
			err = errors.Join(err, s.stop())
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed = append(failed, strings.TrimSpace("podman with "+maker)+": "+say(err))
	}
	return &Missing{What: "no engine here runs a container: " + strings.Join(failed, "; "), Remedy: "see podman info; another maker of containers may do, such as by apt install runc"}
}

// profile is the seccomp filter of containers. They have no terminal.
func profile(limited bool) ([]byte, error) {
	return syscalls.Native(limited, false).Profile()
}

// take uses an engine, if it runs a container. Podman takes filters as files, Docker inline.
func (e *Engine) take(ctx context.Context, host string, files, inline map[bool]string) (err error) {
	if !strings.HasPrefix(host, "unix://") {
		return errors.New("it is not on this PC: only sockets of it are taken, unix:///PATH")
	}
	if e.api, err = client.New(client.WithHost(host)); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.api.Close())
			e.api = nil
		}
	}()
	if err := e.learn(ctx, files, inline); err != nil {
		return err
	}
	if err := e.sweep(ctx); err != nil {
		return err
	}
	if err := e.shelf.find(ctx); err != nil {
		return err
	}
	return e.try(ctx)
}

// learn asks an engine what it is, and works out who the program is in its containers. It is never the node's own user with rights: it is user 1000, or where files would not be
// the node's then, the node's own number without any right.
func (e *Engine) learn(ctx context.Context, files, inline map[bool]string) error {
	v, err := e.api.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return err
	}
	info, err := e.api.Info(ctx, client.InfoOptions{})
	if err != nil {
		return err
	}
	if v.Os != "linux" {
		return fmt.Errorf("it runs containers for %s", v.Os)
	}
	e.podman, e.version = false, "Docker "+v.Version
	for _, c := range v.Components {
		if strings.HasPrefix(c.Name, "Podman") {
			e.podman, e.version = true, "Podman "+v.Version
		}
	}
	rootless := e.podman && !rootOwns(e.api.DaemonHost()) // which Podman 4 does not tell
	for _, option := range info.Info.SecurityOptions {
		rootless = rootless || strings.Contains(option, "name=rootless")
	}
	e.user, e.userns, e.strange, e.lax, e.runtime = fmt.Sprintf("%d:%d", user, user), "", false, rootless && e.podman, ""
	switch uid := os.Getuid(); {
	case rootless && e.podman:
		e.userns = fmt.Sprintf("keep-id:uid=%d,gid=%d", user, user)
	case rootless:
		e.user = "0:0" // which is the node's own, outside
	case uid == 0:
		e.strange = true
	default:
		e.user = fmt.Sprintf("%d:%d", uid, os.Getgid())
	}
	e.filters = files
	e.via = info.Info.DefaultRuntime
	if !e.podman {
		e.runtime, e.filters = e.cfg.Runtime, inline
		e.via = cmp.Or(e.runtime, e.via)
	}
	e.via = filepath.Base(cmp.Or(e.via, "its own default"))
	return nil
}

// kernel says whether containers have a kernel of their own, as a process of each: gVisor's.
func (e *Engine) kernel() bool { return strings.HasPrefix(e.via, "runsc") }

// rootOwns says whether a socket is root's, and with it the engine behind it.
func rootOwns(host string) bool {
	var st unix.Stat_t
	return unix.Stat(strings.TrimPrefix(host, "unix://"), &st) != nil || st.Uid == 0
}

// once runs the program of the image by which engines are tried.
func (e *Engine) once(ctx context.Context, args ...string) (engine.Outcome, error) {
	dir := filepath.Join(e.dir, "probe")
	key, err := writeProbe(dir)
	if err != nil {
		return engine.Outcome{}, err
	}
	m, err := e.open(ctx, engine.Program{Module: dir, Key: key, Args: args})
	if err != nil {
		return engine.Outcome{}, err
	}
	m.trial = true
	return sandbox.Once(ctx, e.log, m, engine.Program{Args: args})
}

// try has a container run, with what the engine can do of what it should: a first process beside the program, a high limit on the processes of its user, groups that hold limits.
func (e *Engine) try(ctx context.Context) error {
	for e.init, e.limited, e.nproc = true, true, 32768; ; {
		err := e.twice(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		switch text := err.Error(); {
		case e.nproc > 4096 && strings.Contains(text, "rlimit"):
			e.nproc = 4096
		case e.init && (strings.Contains(text, "catatonit") || strings.Contains(text, "init binary") || strings.Contains(text, "docker-init")):
			e.init = false
		case e.limited && errors.Is(err, errLoose):
			e.limited = false
		default:
			return err
		}
	}
}

// errLoose is for an engine whose limits do not hold.
var errLoose = errors.New("limits on memory do not hold: a container had more than it may have")

// twice runs a program that ends, and one that takes memory until it is stopped.
func (e *Engine) twice(ctx context.Context) error {
	o, err := e.once(ctx)
	switch {
	case err != nil:
		return err
	case o.End != engine.Exited || o.Exit != probeExit:
		return errors.New(sandbox.Reason(o.Message, string(o.Stderr.Inline)))
	}
	if o, err = e.once(ctx, "memory"); err == nil && o.End != engine.MemoryFull {
		err = fmt.Errorf("%w (%s: %s)", errLoose, o.End, o.Message)
	}
	return err
}
