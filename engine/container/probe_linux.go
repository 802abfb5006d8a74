package container

import (
	"context"
	"fmt"
	"time"

	"github.com/hpips/hpips/engine"
)

// Probe runs containers and tells which walls and limits really hold on this machine; for `hpips node doctor`.
func (e *Engine) Probe(ctx context.Context) ([]Check, error) {
	o, err := e.once(ctx)
	if err != nil {
		return nil, err
	}
	checks := []Check{{Name: "container", OK: o.End == engine.Exited && o.Exit == probeExit, Detail: e.version + " with " + e.via}}
	if !checks[0].OK {
		checks[0].Detail += fmt.Sprintf(": a program that does nothing ended with %s %d: %s", o.End, o.Exit, o.Message)
		return checks, nil
	}
	if e.service != nil {
		checks[0].Detail += ", as a service of this node's own"
	}
	began := time.Now()
	if o, err = e.once(ctx, "memory"); err != nil {
		return nil, err
	}
	memory := Check{Name: "memory limit", OK: o.End == engine.MemoryFull}
	if memory.OK {
		by := "control groups"
		if !e.limited {
			by = "a watch-dog, which is looser than control groups: the engine makes none that limit, as without root on systems with their version 1"
		}
		memory.Detail = fmt.Sprintf("kept by %s; what took too much was ended after %s", by, time.Since(began).Round(time.Millisecond))
	} else {
		memory.Detail = fmt.Sprintf("a program that takes memory without end ended with %s: %s", o.End, o.Message)
	}
	init := Check{Name: "first process", OK: e.init, Detail: "one that takes in orphans and dies by signals"}
	if !init.OK {
		init.Detail = "the program itself: signals that it sends itself are not heard; install the package catatonit"
	}
	return append(checks, memory, init), nil
}
