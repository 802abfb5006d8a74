package container

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine"
)

// TestNoEngine tells people what is missing, and what to do.
func TestNoEngine(t *testing.T) {
	t.Setenv("DOCKER_HOST", "")
	dir := t.TempDir()
	broken := filepath.Join(dir, "podman")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho no storage here >&2\nexit 125\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		cfg  Config
		host string // in the environment
		says string
	}{
		"nobody listens":     {Config{Host: "unix://" + dir + "/none.sock"}, "", "the engine that was named runs no containers"},
		"the environment's":  {Config{}, "unix://" + dir + "/none.sock", "the engine that was named runs no containers"},
		"elsewhere":          {Config{Host: "tcp://192.0.2.1:2375"}, "", "it is not on this PC"},
		"a broken Podman":    {Config{Podman: broken}, "", "no storage here"},
		"Podman is not here": {Config{Podman: filepath.Join(dir, "nothing")}, "", "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			if row.host != "" {
				t.Setenv("DOCKER_HOST", row.host)
			} else if hosts, _ := (&Engine{}).hosts(); row.cfg.Host == "" && len(hosts) > 0 {
				t.Skip("an engine runs here: " + hosts[0])
			}
			_, err := New(t.Context(), slog.New(slog.DiscardHandler), row.cfg)
			var missing *Missing
			if !errors.As(err, &missing) || missing.Remedy == "" || !strings.Contains(missing.What, row.says) {
				t.Errorf("New says %v, want %q", err, row.says)
			}
		})
	}
	t.Run("nothing is installed", func(t *testing.T) {
		if hosts, _ := (&Engine{}).hosts(); len(hosts) > 0 {
			t.Skip("an engine runs here: " + hosts[0])
		}
		t.Setenv("PATH", dir+"/empty")
		_, err := New(t.Context(), slog.New(slog.DiscardHandler), Config{})
		var missing *Missing
		if !errors.As(err, &missing) || !strings.Contains(missing.What, "neither Podman nor Docker") || !strings.Contains(missing.Remedy, "apt install podman") || !strings.Contains(missing.Remedy, "systemctl --user start podman.socket") {
			t.Errorf("New says %v", err)
		}
	})
}

// TestProbe sees what the doctor will.
func TestProbe(t *testing.T) {
	checks, err := ours(t).Probe(t.Context())
	if err != nil || len(checks) < 3 {
		t.Fatal(checks, err)
	}
	for _, c := range checks {
		if !c.OK || c.Detail == "" {
			t.Errorf("%s: %v, %s", c.Name, c.OK, c.Detail)
		}
	}
}

// TestTheServiceIsKilled has the owner kill the node's own service: what runs is broken at worst, and the next lease finds a new one.
func TestTheServiceIsKilled(t *testing.T) {
	e := ours(t)
	if e.service == nil {
		t.Skip("an engine runs here that is not this test's to kill")
	}
	if err := unix.Kill(e.service.process.Process.Pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-e.service.gone
	if o := outcome(t, opened(t, e, program(t, "guest")), engine.Task{Args: []string{"exit", "7"}}); o.End != engine.Exited || o.Exit != 7 {
		t.Errorf("%s %d %q", o.End, o.Exit, o.Message)
	}
}
