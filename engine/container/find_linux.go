package container

import (
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
	policy, err := syscalls.Native(true, false)
	if err != nil {
		return &Missing{What: err.Error(), Remedy: "use another processor's build of this program"}
	}
	text, err := syscalls.Profile(policy)
	if err != nil {
		return &Missing{What: err.Error(), Remedy: "use another processor's build of this program"}
	}
	profile, err := e.keep("seccomp.json", text)
	if err != nil {
		return err
	}
	hosts, named := e.hosts()
	var failed []string
	for _, host := range hosts {
		if err := e.take(ctx, host, profile, string(text)); err == nil {
			return nil
		} else if ctx.Err() != nil {
			return ctx.Err()
		} else {
			failed = append(failed, strings.TrimPrefix(host, "unix://")+": "+say(err))
		}
	}
	if named {
		return &Missing{What: "the engine that was named runs no containers: " + strings.Join(failed, "; "), Remedy: "start it, or name none, so that one is looked for"}
	}
	return e.serve(ctx, profile, failed)
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
func (e *Engine) serve(ctx context.Context, profile string, failed []string) error {
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
		for _, name := range []string{"runc", "crun"} {
			if path, err := exec.LookPath(name); err == nil {
				makers = append(makers, path)
			}
		}
	}
	for _, maker := range makers {
		s, err := serve(ctx, e.log, podman, maker, filepath.Join(e.dir, "podman.sock"))
		if err == nil {
			if err = e.take(ctx, "unix://"+s.socket, profile, ""); err == nil {
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

// take uses an engine, if it runs a container.
func (e *Engine) take(ctx context.Context, host, profile, inline string) (err error) {
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
	if err := e.learn(ctx, profile, inline); err != nil {
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
func (e *Engine) learn(ctx context.Context, profile, inline string) error {
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
	rootless := false
	for _, option := range info.Info.SecurityOptions {
		rootless = rootless || strings.Contains(option, "name=rootless")
	}
	e.user, e.userns, e.strange, e.runtime = fmt.Sprintf("%d:%d", user, user), "", false, ""
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
	e.filter = profile
	if !e.podman {
		e.runtime, e.filter = e.cfg.Runtime, inline
	}
	return nil
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
	return sandbox.Once(ctx, e.log, m, engine.Program{Args: args})
}

// try has a container run, with a first process beside the program and a high limit on the processes of its user, if the engine has the one and takes the other.
func (e *Engine) try(ctx context.Context) error {
	for e.init, e.nproc = true, 32768; ; {
		o, err := e.once(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && o.End == engine.Exited && o.Exit == probeExit:
			return nil
		case err == nil:
			err = errors.New(sandbox.Reason(o.Message, string(o.Stderr.Inline)))
		}
		switch {
		case e.nproc > 4096 && strings.Contains(err.Error(), "rlimit"):
			e.nproc = 4096
		case e.init && (strings.Contains(err.Error(), "catatonit") || strings.Contains(err.Error(), "init binary") || strings.Contains(err.Error(), "docker-init")):
			e.init = false
		default:
			return err
		}
	}
}
