package process

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/sandbox"
)

// attempts are what a program would try first, as commands of a shell; each must fail.
var attempts = []struct{ name, command string }{
	{"see the host's files", "[ -e /home ] || [ -e /root ] || [ -e /etc/shadow ] || [ -e /sys ]"},
	{"see the host's processes", "[ $(ls -d /proc/[0-9]* | wc -l) -gt 10 ]"},
	{"reach a network", "grep -qv 'lo:\\|Inter\\|face' /proc/net/dev"},
	{"write outside", "touch /usr/x || touch /x || echo 1 > /proc/sys/kernel/core_pattern"},
	{"make a user namespace", "unshare -U true"},
	{"mount", "mount -t tmpfs none /tmp"},
}

// Probe runs programs in sandboxes and tells which walls and limits really hold on this machine; for `hpips node doctor`.
func (e *Engine) Probe(ctx context.Context) ([]Check, error) {
	var script strings.Builder
	for i, a := range attempts {
		fmt.Fprintf(&script, "if { %s; } >/dev/null 2>&1; then echo %d; fi\n", a.command, i)
	}
	o, err := e.once(ctx, "/bin/sh", "-c", script.String())
	if err != nil {
		return nil, err
	}
	if o.End != engine.Exited || o.Exit != 0 {
		return nil, fmt.Errorf("probe: a shell ended with %s %d: %s", o.End, o.Exit, sandbox.Reason(o.Message, string(o.Stderr.Inline)))
	}
	did := map[string]bool{}
	for _, line := range strings.Fields(string(o.Stdout.Inline)) {
		did[line] = true
	}
	checks := []Check{{Name: "sandbox", OK: true, Detail: e.version}}
	for i, a := range attempts {
		c := Check{Name: "cannot " + a.name, OK: !did[fmt.Sprint(i)], Detail: "refused"}
		if !c.OK {
			c.Detail = "it could"
		}
		checks = append(checks, c)
	}
	memory, err := e.probeMemory(ctx)
	if err != nil {
		return nil, err
	}
	return append(checks, e.landlock(), memory, e.held("processes", "pids", "a resource limit"), e.held("processor", "cpu", "the number of processors")), nil
}

// landlock tells of the second wall.
func (e *Engine) landlock() Check {
	if err := scoped(); err != nil {
		return Check{Name: "landlock", Detail: err.Error() + ": the namespaces alone keep signals and sockets in",
			Remedy: "Linux 6.12 or newer with Landlock on brings the second wall; the first stands"}
	}
	return Check{Name: "landlock", OK: true, Detail: "signals and abstract sockets stay inside"}
}

// probeMemory has a program take memory without end, and sees that it is stopped.
func (e *Engine) probeMemory(ctx context.Context) (Check, error) {
	began := time.Now()
	o, err := e.once(ctx, "/usr/bin/tail", "/dev/zero")
	if err != nil {
		return Check{}, err
	}
	c := e.held("memory", "memory", "a watch-dog")
	if o.End != engine.MemoryFull {
		c.OK, c.Detail = false, fmt.Sprintf("a program that takes memory without end ended with %s: %s", o.End, o.Message)
	} else {
		c.Detail += fmt.Sprintf("; what took too much was ended after %s", time.Since(began).Round(time.Millisecond))
	}
	return c, nil
}

// held tells what keeps a limit.
func (e *Engine) held(what, controller, otherwise string) Check {
	c := Check{Name: what + " limit", OK: true}
	switch {
	case !e.groups.Limits(controller):
		c.Detail = "kept by " + otherwise + ", which is looser than a control group"
		if e.lacking != "" {
			c.Detail += ": " + e.lacking
		}
	default:
		c.Detail = fmt.Sprintf("kept by control groups, version %d", e.groups.Version(controller))
	}
	return c
}
