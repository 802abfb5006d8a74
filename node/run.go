package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/thejerf/suture/v4"

	"github.com/hpips/hpips/machine"
	"github.com/hpips/hpips/spec/job"
)

// stopWithin is how long services may take to stop.
const stopWithin = 4 * time.Second

// Serve runs all services of the house as one tree until ctx ends or one of them fails for good; ready is called once, when a job can be placed.
func (h *House) Serve(ctx context.Context, ready func()) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	tree := suture.New("hpips", suture.Spec{EventHook: h.event, Timeout: stopWithin})
	add := func(name string, serve func(context.Context) error) {
		tree.Add(&service{name: name, serve: serve, fail: stop})
	}
	for i, m := range h.members {
		label := fmt.Sprintf("node %d ", i+1)
		add(label+"p2p", m.host.Serve)
		add(label+"sessions", m.sessions.Serve)
		known := &acquaintances{log: m.log.With("room", "node"), file: filepath.Join(m.dir, peersFile), host: m.host.Libp2p()}
		add(label+"acquaintances", known.Serve)
		add(label+"sweeping", m.sweeping)
		add(label+"scrubbing", m.scrubbing)
		if m.provider != nil {
			add(label+"provider", m.provider.Serve)
			add(label+"images", m.images.Serve)
		}
		if m.requester != nil {
			add(label+"requester", m.requester.Serve)
		}
		if m.chain != nil {
			add(label+"chain", m.chain.Serve)
			add(label+"archive", newArchivist(m).Serve)
			add(label+"keeper", m.keeper.Serve)
		}
		if m.juror != nil {
			add(label+"juror", m.juror.Serve)
		}
		if m.till != nil {
			add(label+"till", m.till.Serve)
		}
		if m.gateway != nil {
			add(label+"gateway", m.gateway.Serve)
		}
		if m.pins != nil {
			add(label+"pins", m.pins.Serve)
		}
	}
	add("sharing", h.sharing.Serve)
	add("api", h.api.Serve)
	add("trimming", h.trimming)
	if err := h.home.publish(h.api.Addr()); err != nil {
		return err
	}
	h.log.Info("Node is up", "node", h.ID(), "api", h.API(), "join", h.Addresses())
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if h.awaitReady(ctx) {
			ready()
		}
	})
	err := tree.Serve(ctx)
	stop(err)
	waiting.Wait()
	h.log.Info("Node has stopped")
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// service is one branch of the tree. A service that ends by itself ends the house: half a node is worse than none, and the journal goes on later.
type service struct {
	name  string
	serve func(context.Context) error
	fail  context.CancelCauseFunc
}

// String names the service in the log.
func (s *service) String() string { return s.name }

// Serve runs it.
func (s *service) Serve(ctx context.Context) error {
	err := s.serve(ctx)
	if ctx.Err() != nil {
		return suture.ErrDoNotRestart
	}
	if err == nil {
		err = errors.New("ended by itself")
	}
	s.fail(fmt.Errorf("%s: %w", s.name, err))
	return suture.ErrTerminateSupervisorTree
}

// event writes what the supervisor tells into the log.
func (h *House) event(e suture.Event) {
	level := slog.LevelWarn
	switch e.Type() {
	case suture.EventTypeServicePanic:
		level = slog.LevelError
	case suture.EventTypeServiceTerminate:
		level = slog.LevelDebug
	}
	h.log.Log(context.Background(), level, "Supervisor", "event", e.String())
}

// The times after which an idle node gives back what of its program is in memory.
const (
	trimFirst = 10 * time.Second
	trimEvery = 5 * time.Minute
)

// trimming keeps the node a small guest: most of its program is used at the start alone.
func (h *House) trimming(ctx context.Context) error {
	next := time.NewTimer(trimFirst)
	defer next.Stop()
	for {
		select {
		case <-next.C:
			debug.FreeOSMemory()
			if _, err := machine.Trim(); err != nil {
				h.log.Debug("The program's memory is not given back", "err", err)
			}
			next.Reset(trimEvery)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// awaitReady waits until a job can be placed; false when ctx ended first.
func (h *House) awaitReady(ctx context.Context) bool {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	late := time.After(explainAfter)
	for {
		if h.first().requester.Ready(ctx) {
			h.ready.set(true)
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-late:
			h.explain(ctx)
		case <-tick.C:
		}
	}
}

// explainAfter is how long a node may be up without being ready before it says why.
const explainAfter = 5 * time.Second

// explain logs why no job can be placed, for whoever waits for the ready line.
func (h *House) explain(ctx context.Context) {
	why, err := h.first().requester.Preview(ctx, job.Spec{Kind: job.Batch, Run: job.Run{WASM: "bafkqaaa"}}) // the address of nothing: it is not fetched
	if err != nil {
		h.log.Warn("No job can be placed yet", "err", err)
		return
	}
	reasons := make([]string, len(why.Rejected))
	for i, r := range why.Rejected {
		reasons[i] = fmt.Sprintf("%d: %s", r.Count, r.Reason)
	}
	h.log.Warn("No job can be placed yet", "asked", why.Asked, "reasons", reasons)
}

// freshFor is how long an answer about readiness holds.
const freshFor = time.Second

func (r *readiness) set(yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.yes, r.when = yes, time.Now()
}

// get returns the last answer, or asks again when it is old.
func (r *readiness) get(ctx context.Context, ask func(context.Context) bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.when) > freshFor {
		r.yes, r.when = ask(ctx), time.Now()
	}
	return r.yes
}

func newReader(text []byte) io.Reader { return bytes.NewReader(text) }
