package container

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moby/moby/client"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/sandbox"
)

// Engine makes sandboxes for images.
type Engine struct {
	log   *slog.Logger
	cfg   Config
	dir   string // for what the engine reads
	made  bool   // dir is this engine's to remove
	shelf *shelf

	guard   *guard
	api     *client.Client
	service *service // of our own; nil for an engine that runs anyway
	version string   // for people
	via     string   // what makes the containers, by the name that the engine has for it, such as "runc"
	podman  bool
	self    string // the label of our containers
	user    string // "UID:GID" in a container
	strange bool   // that user is not the node's own on the host
	userns  string
	lax     bool // resource limits are left to us
	runtime string
	filters map[bool]string // for seccomp, as the engine wants it, by whether groups hold limits
	init    bool            // containers have a first process beside the program
	limited bool            // their groups hold limits
	nproc   int64           // limit on the processes of the user that programs are
	count   atomic.Uint64
	closing sync.Once
}

// New finds an engine, and runs a tiny program in a container with limits to see that it works. A *Missing says what this machine lacks. ctx is for finding out alone: Close ends
// what New has started.
func New(ctx context.Context, log *slog.Logger, cfg Config) (*Engine, error) {
	e := &Engine{log: log, cfg: cfg.orDefault(), dir: cfg.Dir}
	e.shelf = &shelf{e: e, kept: map[string]*kept{}}
	e.shelf.timer = time.AfterFunc(time.Hour, e.collect)
	e.shelf.timer.Stop()
	var err error
	if e.self, err = identity(os.Getpid()); err != nil {
		return nil, err
	}
	if e.dir == "" {
		dir, err := os.MkdirTemp("", "hpips-container-")
		if err != nil {
			return nil, fmt.Errorf("folder for the engine: %w", err)
		}
		e.dir, e.made = dir, true
	}
	if e.guard, err = newGuard(); err == nil {
		err = e.find(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// Name is "container".
func (e *Engine) Name() string { return Name }

// collect removes images that nobody needs any more.
func (e *Engine) collect() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	e.shelf.collect(ctx)
}

// Kin are the first processes of the containers that run, as far as they are seen from here: the engine's own service has started them.
func (e *Engine) Kin() []int {
	if e.guard == nil {
		return nil
	}
	return e.guard.watched()
}

// Close ends what New has started. Sandboxes have to be closed before. It may be repeated.
func (e *Engine) Close() (err error) {
	e.closing.Do(func() {
		e.shelf.mu.Lock()
		e.shelf.shut = true
		e.shelf.timer.Stop()
		e.shelf.mu.Unlock()
		if e.guard != nil {
			err = e.guard.close()
		}
		if e.api != nil {
			err = errors.Join(err, e.api.Close())
		}
		if e.service != nil {
			err = errors.Join(err, e.service.stop())
		}
		if e.made {
			err = errors.Join(err, os.RemoveAll(e.dir))
		}
	})
	return err
}

// Open checks the image at p.Module, a folder with an OCI image layout whose index.json has the sha256 p.Key, and has the engine hold it. Containers are made anew for each task.
func (e *Engine) Open(ctx context.Context, p engine.Program) (engine.Sandbox, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, m := range p.Mounts {
		if err := admit(m.Guest); err != nil {
			return nil, fmt.Errorf("mount %s: %w", m.Guest, err)
		}
	}
	m, err := e.open(ctx, p)
	if err != nil {
		return nil, err
	}
	return sandbox.New(e.log, m, p), nil
}

// open is Open up to what makes the containers.
func (e *Engine) open(ctx context.Context, p engine.Program) (*maker, error) {
	if err := e.awake(ctx); err != nil {
		return nil, err
	}
	i, err := read(p.Module, p.Key)
	if err != nil {
		return nil, err
	}
	if err = i.runs(p.Args); err == nil {
		_, err = e.shelf.use(ctx, p.Key, i)
	}
	if err != nil {
		return nil, errors.Join(err, i.Close())
	}
	return &maker{eng: e, key: p.Key, image: i}, nil
}

// runs says whether there is anything to run.
func (i *boxed) runs(args []string) error {
	if len(i.plan.entrypoint)+len(i.plan.cmd)+len(args) == 0 {
		return i.Bad("name the program after --, or build the image with an entry point", "the image names no program to run")
	}
	return nil
}

// maker makes the containers of one sandbox.
type maker struct {
	eng    *Engine
	key    string
	image  *boxed
	trial  bool // it runs what engines are tried by
	closed sync.Once
}

// Admit refuses what a container has for itself.
func (m *maker) Admit(guest string) error { return admit(guest) }

// Make gives the life of a task.
func (m *maker) Make(t sandbox.Task) sandbox.Life {
	return newLife(m, t, fmt.Sprintf("hpips-%d-%d-%d", os.Getpid(), began, m.eng.count.Add(1)))
}

// began tells the containers of this process from those of an earlier one with its number; in nanoseconds.
var began = time.Now().UnixNano()

// Close lets go of the image.
func (m *maker) Close() (err error) {
	m.closed.Do(func() {
		err = m.image.Close()
		m.eng.shelf.release(m.key)
		m.eng.collect()
	})
	return err
}

// keep writes a file for the engine to read, and gives its path.
func (e *Engine) keep(name string, content []byte) (string, error) {
	path := filepath.Join(e.dir, name)
	if err := os.WriteFile(path, content, 0o644); err != nil { //nolint:gosec // another user's engine has to read it
		return "", fmt.Errorf("folder for the engine: %w", err)
	}
	return path, nil
}

// say is an engine's error in one line.
func say(err error) string {
	line, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "Error response from daemon: "), "\n")
	return line
}
