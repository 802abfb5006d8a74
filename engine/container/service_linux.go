package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine/sandbox"
)

// service is Podman's API as a process of ours, at a socket that nobody else is told of.
type service struct {
	log    *slog.Logger
	podman string
	maker  string // of containers; "" is Podman's default
	socket string
	own    string // folder for that alone; ""

	starting sync.Mutex // held by again

	mu      sync.Mutex
	process *exec.Cmd
	gone    chan struct{} // closed when it has ended
	last    tail
}

// tail is the end of what the service says.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write keeps the last KiB.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-1024):]
	return len(p), nil
}

func (t *tail) line() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(t.text), []byte("\n"))
	return string(lines[len(lines)-1])
}

// serve starts the service and waits until it answers.
func serve(ctx context.Context, log *slog.Logger, podman, maker, socket string) (*service, error) {
	s := &service{log: log, podman: podman, maker: maker, socket: socket}
	if len(socket) > 100 { // unix(7) takes 107 bytes
		dir, err := os.MkdirTemp("", "hpips-container-")
		if err != nil {
			return nil, fmt.Errorf("folder for the engine: %w", err)
		}
		s.own, s.socket = dir, filepath.Join(dir, filepath.Base(socket))
	}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// start begins the process. It dies with the thread that started it (prctl(2), PR_SET_PDEATHSIG), so that one waits for it.
func (s *service) start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Remove(s.socket); err != nil && !errors.Is(err, fs.ErrNotExist) { // that of a service that was killed
		return fmt.Errorf("podman: %w", err)
	}
	var args []string
	if s.maker != "" {
		args = append(args, "--runtime", s.maker)
	}
	cmd := exec.Command(s.podman, append(args, "system", "service", "--time", "0", "unix://"+s.socket)...)
	cmd.Stderr, cmd.Stdout, cmd.Dir = &s.last, &s.last, filepath.Dir(s.socket) // what holds containers leaves a note there when one was starved
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = sandbox.Patience // what it leaves running may hold its output
	gone, started := make(chan struct{}), make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		defer close(gone)
		if err := cmd.Wait(); err != nil {
			s.log.Debug("Podman's service ended", "err", err, "said", s.last.line())
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("podman: %w", err)
	}
	s.process, s.gone = cmd, gone
	if err := s.answers(ctx); err != nil {
		return errors.Join(err, s.end())
	}
	return nil
}

// answers waits until somebody listens at the socket.
func (s *service) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*sandbox.Patience)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "unix", s.socket)
		if err == nil {
			return c.Close()
		}
		select {
		case <-s.gone:
			return fmt.Errorf("podman's service ended: %s", strings.TrimSpace(s.last.line()))
		case <-ctx.Done():
			return fmt.Errorf("podman's service does not answer: %w", err)
		case <-again.C:
		}
	}
}

// end ends the process. Needs s.mu.
func (s *service) end() error {
	if s.process == nil {
		return nil
	}
	_ = s.process.Process.Signal(unix.SIGTERM) // it may have ended
	late := time.AfterFunc(sandbox.Patience, func() { _ = s.process.Process.Kill() })
	<-s.gone
	late.Stop()
	s.process = nil
	orphans()
	return nil
}

func (s *service) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.end()
	if s.own != "" {
		err = errors.Join(err, os.RemoveAll(s.own))
	}
	return err
}

// again starts a service that has ended, unless somebody else has.
func (s *service) again(ctx context.Context, gone chan struct{}) error {
	s.starting.Lock()
	defer s.starting.Unlock()
	s.mu.Lock()
	other := s.gone != gone
	s.mu.Unlock()
	if other {
		return nil
	}
	s.log.Warn("Podman's service has ended, and is started again", "said", s.last.line())
	return s.start(ctx)
}

// awake starts a service of ours again that has ended.
func (e *Engine) awake(ctx context.Context) error {
	if e.service == nil {
		return nil
	}
	e.service.mu.Lock()
	gone := e.service.gone
	e.service.mu.Unlock()
	select {
	case <-gone:
		return e.service.again(ctx, gone)
	default:
		return nil
	}
}
