package provider

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/execution"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/store"
)

// The bounds of what is staged ahead for one lease.
const (
	aheadTasks = 256
	aheadLeast = 2 // tasks, however large their inputs are
	aheadBytes = 256 << 20
)

// errFull is why content is given up that this node has no room for.
var errFull = errors.New("the disk that this node gives to tasks is full")

// prepare brings a lease's program and what all its tasks share to this disk. A failure ends the lease.
func (p *Provider) prepare(t *tenant) {
	program, mounts, stdin, err := p.bring(t)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case t.over:
	case err != nil:
		p.turnOut(t, lease.Refused{Reason: err.Error(), Hint: "is the node that has this content up? hpips node peers shows it"})
	default:
		t.program.Module, t.program.Key = program.Module, program.Key
		t.program.Mounts, t.stdin = mounts, stdin
		t.prepared = true
		p.arrived(t)
		p.wake(t)
	}
}

func (p *Provider) bring(t *tenant) (program engine.Program, mounts []engine.Mount, stdin string, err error) {
	if err := os.MkdirAll(t.program.Inputs, 0o700); err != nil {
		return program, nil, "", fmt.Errorf("lease folder: %w", err)
	}
	program.Module = filepath.Join(t.dir, "module")
	p.lend(t)
	if err := p.share(t, p.seen(t), "program", t.work.Module, program.Module, execution.Largest(t.engine.Name())); err != nil {
		return program, nil, "", err
	}
	if program.Key, err = execution.Key(program.Module); err != nil {
		return program, nil, "", err
	}
	for i, in := range t.work.Inputs {
		host := filepath.Join(t.dir, fmt.Sprint("input-", i))
		if err := p.share(t, p.store, "input", in.From, host, t.program.Limits.Disk); err != nil {
			return program, nil, "", err
		}
		mounts = append(mounts, engine.Mount{Guest: in.To, Host: host})
	}
	if t.work.Stdin != "" {
		stdin = filepath.Join(t.program.Inputs, "stdin")
		if err := p.share(t, p.store, "standard input", t.work.Stdin, stdin, t.program.Limits.Disk); err != nil {
			return program, nil, "", err
		}
	}
	return program, mounts, stdin, nil
}

// lend tells whoever keeps images of a lease's, which stays in use until the lease ends.
func (p *Provider) lend(t *tenant) {
	if p.images == nil || t.engine.Name() != job.EngineContainer {
		return
	}
	if root, err := p.store.Resolve(t.ctx, t.work.Module); err == nil { // or it is told of when it is fetched
		context.AfterFunc(t.ctx, p.images(root))
	}
}

// comingEvery is how often a requester is told at most of an image that is on its way.
const comingEvery = time.Second

// seen is the store as a lease's program is brought from it: while an image comes, its requester is told how much of it has.
func (p *Provider) seen(t *tenant) execution.Source {
	if t.engine.Name() != job.EngineContainer {
		return p.store
	}
	p.mu.Lock()
	t.told = time.Now()
	p.mu.Unlock()
	return watched{p.store, func(bytes int64) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if t.coming = bytes; time.Since(t.told) >= comingEvery && t.link != nil {
			t.told, t.watched = time.Now(), true
			t.link.tell(note{lease: t.id, what: comingNote})
		}
	}}
}

// arrived tells a requester that was told of what is on its way that nothing is any more. Needs p.mu.
func (p *Provider) arrived(t *tenant) {
	if t.coming = 0; t.link != nil && t.watched {
		t.link.tell(note{lease: t.id, what: comingNote})
	}
}

// watched is a store whose fetches somebody looks at.
type watched struct {
	Store
	told func(bytes int64)
}

// Fetch tells how far it is.
func (w watched) Fetch(ctx context.Context, c cid.Cid, progress func(store.Progress), from ...peer.ID) (int64, error) {
	return w.Store.Fetch(ctx, c, func(p store.Progress) {
		w.told(p.Bytes)
		progress(p)
	}, from...)
}

// share brings content that all tasks of a lease use; it counts until the lease ends.
func (p *Provider) share(t *tenant, from execution.Source, what, ref, host string, limit int64) error {
	n, err := p.fetch(t.ctx, from, ref, host, limit, 0, t.peer)
	p.mu.Lock()
	t.kept += n
	p.disk += n
	p.mu.Unlock()
	if errors.Is(err, store.ErrTooLarge) {
		return fmt.Errorf("%s %s: it is larger than %s", what, ref, engine.Bytes(limit))
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, ref, err)
	}
	return nil
}

// fetch brings content to a new path of this disk and returns its size in bytes. It gives up past limit bytes, after Stall (or most,
// if that is set and shorter) without progress, or when this node's disk for tasks is full.
func (p *Provider) fetch(ctx context.Context, s execution.Source, ref, host string, limit int64, most time.Duration, from peer.ID) (int64, error) {
	p.mu.Lock()
	free := p.diskLimit() - p.disk
	p.mu.Unlock()
	if free <= 0 {
		return 0, errFull
	}
	scarce := free < limit
	limit = min(limit, free)
	patience := p.cfg.Stall
	if most > 0 {
		patience = min(patience, most)
	}
	var size atomic.Int64
	defer func() { p.coming(-size.Load()) }()
	err := execution.Bring(ctx, s, ref, host, limit, patience, func(n int64) error {
		if full := p.coming(n - size.Swap(n)); full && n > 0 {
			return errFull // with what else is on its way
		}
		return nil
	}, from)
	if scarce && errors.Is(err, store.ErrTooLarge) {
		err = errFull
	}
	if err != nil {
		return 0, err
	}
	return size.Load(), nil
}

// coming notes n more bytes on their way and reports whether all that is on its way and kept passes the cap.
func (p *Provider) coming(n int64) (full bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.incoming += n
	return p.disk+p.incoming > p.diskLimit()
}

// stageAhead brings inputs of waiting tasks until the provider stops. Several run at once.
func (p *Provider) stageAhead() {
	for {
		t, k, ctx := p.nextRaw()
		if t == nil {
			return
		}
		limit := t.program.Limits.Disk
		host := filepath.Join(t.program.Inputs, fmt.Sprint(k.id))
		err := os.MkdirAll(t.program.Inputs, 0o700)
		var n int64
		if err == nil {
			n, err = p.fetch(ctx, p.store, k.Input.CID, host, limit, t.program.Limits.Time, t.peer)
		}
		p.staged(t, k, host, n, err)
		k.stop()
		t.doing.Done()
	}
}

// nextRaw waits for a task that wants staging, one tenant after the other.
func (p *Provider) nextRaw() (*tenant, *task, context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closing {
		for i := range p.turns {
			at := (p.stageTurn + i) % len(p.turns)
			t := p.turns[at]
			if len(t.raw) == 0 || t.ahead >= aheadTasks || (t.ahead >= aheadLeast && t.aheadBytes > aheadBytes) {
				continue
			}
			p.stageTurn = at + 1
			k := t.raw[0]
			t.raw = t.raw[1:]
			p.ids++
			k.id, k.state = p.ids, staging
			t.ahead++
			t.doing.Add(1)
			var ctx context.Context
			ctx, k.stop = context.WithCancel(t.ctx)
			return t, k, ctx
		}
		p.stage.Wait()
	}
	return nil, nil, nil
}

// staged takes in what became of staging a task.
func (p *Provider) staged(t *tenant, k *task, host string, n int64, err error) {
	p.mu.Lock()
	k.input, k.bytes = host, n
	t.aheadBytes += n
	p.disk += n
	switch {
	case t.over || k.cancelled:
		t.drop(k)
		path := p.unstage(t, k)
		p.mu.Unlock()
		p.remove(path)
		return
	case err == nil:
		k.state = waiting
		t.ready = append(t.ready, k)
		p.wake(t)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	r := job.Result{Index: k.Index, End: job.Broken, Message: fmt.Sprintf("input %s: %v", k.Input.CID, err)}
	if errors.Is(err, store.ErrTooLarge) {
		r = execution.TooLarge(k.Task, t.program.Limits.Disk)
	}
	p.answer(t, []*task{k}, []job.Result{r}, keep{})
}

// unstage stops counting a task's input and returns what is to be removed. Needs p.mu.
func (p *Provider) unstage(t *tenant, k *task) (path string) {
	if path = k.input; path == "" {
		return ""
	}
	k.input = ""
	p.disk -= k.bytes
	t.aheadBytes -= k.bytes
	k.bytes = 0
	if k.Input.CID != "" {
		t.ahead--
		p.stage.Signal()
	}
	return path
}

// remove deletes inputs of ended tasks; "" stands for none.
func (p *Provider) remove(paths ...string) {
	for _, path := range paths {
		if path == "" {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			p.log.Warn("Input of an ended task stays", "path", path, "err", err)
		}
	}
}
