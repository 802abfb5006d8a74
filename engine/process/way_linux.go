package process

import (
	"context"
	"errors"
	"fmt"

	"github.com/hpips/hpips/engine/egress"
	"github.com/hpips/hpips/spec/job"
)

// way is a task's way out of its sandbox.
type way struct {
	proxy *egress.Proxy
	ended chan error
}

// open makes the way out of a task whose program asks for one, in the network of the namespace's first process.
func (l *life) open(pid int) error {
	cfg := l.maker.eng.cfg
	asked, err := job.ParseReaches(l.task.Program.Reach)
	if err != nil || len(asked) == 0 {
		return err
	}
	if len(cfg.Way) == 0 {
		return errors.New("this node gives tasks no way out")
	}
	listener, err := egress.Listen(context.Background(), pid, cfg.Way)
	if err != nil {
		return fmt.Errorf("way out: %w", err)
	}
	w := &way{proxy: egress.New(l.maker.eng.log, egress.Config{Asked: asked, Allowed: cfg.Reach, Pace: cfg.Pace, Seen: cfg.Seen}), ended: make(chan error, 1)}
	go func() { w.ended <- w.proxy.Serve(listener) }()
	l.way = w
	return nil
}

// close ends it; nil has nothing to end.
func (w *way) close() error {
	if w == nil {
		return nil
	}
	return errors.Join(w.proxy.Close(), <-w.ended)
}

// proxies are the variables that tell a program of its way out, if it has one.
func (l *life) proxies() []string {
	if len(l.task.Program.Reach) == 0 {
		return nil
	}
	return egress.Environment()
}
