package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/cgroup"
	"github.com/hpips/hpips/engine/sandbox"
	"github.com/hpips/hpips/spec/job"
)

// Engine makes sandboxes for native programs.
type Engine struct {
	log     *slog.Logger
	cfg     Config
	bwrap   string
	version string
	filter  []byte         // for seccomp, as bwrap reads it
	groups  *cgroup.Parent // nil: none can be made here
	lacking string         // why not, or why they hold not all limits
	root    []string       // arguments of bwrap that are the same for all
	scopes  bool           // Landlock keeps signals and abstract sockets in
}

// New finds bubblewrap and what limits can be kept here, and runs a program in a sandbox to see that it works. A *Missing says what this machine lacks.
func New(ctx context.Context, log *slog.Logger, cfg Config) (*Engine, error) {
	e := &Engine{log: log, cfg: cfg.orDefault(), bwrap: cfg.Bubblewrap}
	if e.bwrap == "" {
		e.bwrap = Package
		path, err := exec.LookPath("bwrap")
		if err != nil {
			return nil, &Missing{What: Package + " is not installed: native programs cannot be held", Remedy: "install the package " + Package + ", such as by apt install " + Package}
		}
		e.bwrap = path
	}
	out, err := exec.CommandContext(ctx, e.bwrap, "--version").Output()
	if err != nil {
		return nil, &Missing{What: fmt.Sprintf("%s cannot be started: %v", e.bwrap, err), Remedy: "install the package " + Package}
	}
	e.version = strings.TrimSpace(string(out))
	// Files that this process was started with, and does not know of, are not for its programs.
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return nil, &Missing{What: "this kernel cannot keep open files from programs: " + err.Error(), Remedy: "use Linux 5.11 or newer"}
	}
	// bwrap leaves the first process of its namespace to whoever takes in orphans: that is to be who waits for it.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("orphans: %w", err)
	}
	e.scopes = scoped() == nil
	e.root = root()
	if e.cfg.NoGroups {
		e.lacking = "not wanted"
	} else if e.groups, err = cgroup.Find(); err != nil {
		e.lacking = err.Error()
	} else {
		e.lacking = e.groups.Lacking()
	}
	if missing := boundless(os.Geteuid(), e.cfg, e.groups.Limits("pids"), e.lacking); missing != nil {
		return nil, missing
	}
	if e.filter, err = filter(e.groups.Limits("memory")); err != nil {
		return nil, &Missing{What: err.Error(), Remedy: "use another processor's build of this program"}
	}
	if err := e.try(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// boundless says why programs could make processes without end: the kernel's limit for each user does not hold for root, and the watch-dog is too slow for some.
// Who wants no groups has been told.
func boundless(user int, cfg Config, bounded bool, lacking string) error {
	if user != 0 || cfg.NoGroups || bounded {
		return nil
	}
	return &Missing{What: "this node runs as root and can make no control groups for processes, so that a native program could make them without end: " + sandbox.Reason(lacking),
		Remedy: "run it as another user, or as a service with Delegate=yes"}
}

// Name is "native".
func (e *Engine) Name() string { return Name }

// try runs what every Linux system has, and finds out whether sandboxes can be made at all.
func (e *Engine) try(ctx context.Context) error {
	o, err := e.once(ctx, "/usr/bin/env", "true")
	switch {
	case err != nil:
		return &Missing{What: "native programs cannot be tried: " + err.Error(), Remedy: "is there room for temporary files?"}
	case ctx.Err() != nil:
		return ctx.Err()
	case o.End != engine.Exited || o.Exit != 0:
		return &Missing{What: fmt.Sprintf("%s makes no sandbox here: %s", e.version, sandbox.Reason(o.Message, string(o.Stderr.Inline))),
			Remedy: "the system has to let users make namespaces: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns"}
	}
	return nil
}

// once runs a program of this machine in a sandbox, with small limits.
func (e *Engine) once(ctx context.Context, program string, args ...string) (engine.Outcome, error) {
	return sandbox.Once(ctx, e.log, &maker{eng: e, guest: program}, engine.Program{Args: args})
}

// Open checks that p can run here and puts a copy of it, executable, into its folder. The sandbox itself is made anew for each task.
func (e *Engine) Open(ctx context.Context, p engine.Program) (engine.Sandbox, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := e.admit(p); err != nil {
		return nil, err
	}
	return sandbox.New(e.log, &maker{eng: e, guest: guestProgram, program: filepath.Join(p.Dir, programFile)}, p), nil
}

// admit checks a program's size, identity and kind, and leaves it in the sandbox's folder.
func (e *Engine) admit(p engine.Program) error {
	for _, m := range p.Mounts {
		if err := free(m.Guest); err != nil {
			return fmt.Errorf("mount %s: %w", m.Guest, err)
		}
	}
	kept := filepath.Join(p.Dir, programFile)
	err := keep(p, kept, e.cfg.MaxProgram)
	if err == nil {
		err = runnable(kept, filepath.Base(p.Module))
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(kept))
	}
	return nil
}

// free says why nothing of a job can be shown at a path.
func free(guest string) error {
	if job.Free(guest) {
		return nil
	}
	return fmt.Errorf("the sandbox has its own /%s: choose another folder, such as /in or /out", strings.Join(job.Reserved, ", /"))
}

// maker starts the programs of one sandbox.
type maker struct {
	eng     *Engine
	guest   string // the program's path for itself
	program string // where the sandbox's copy of it lies on the host; "" for a program of this machine
}

// Admit refuses what the sandbox has for itself.
func (m *maker) Admit(guest string) error { return free(guest) }

// Make gives the life of a task.
func (m *maker) Make(t sandbox.Task) sandbox.Life { return &life{maker: m, task: t, pidfd: -1} }

// Close removes the copy.
func (m *maker) Close() error {
	if m.program == "" {
		return nil
	}
	return os.RemoveAll(m.program)
}
