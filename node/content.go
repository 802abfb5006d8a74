package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/store"
)

// content is the store as the API wants it: addresses and entries in text, and waits that end without progress.
type content struct{ m *member }

// Add brings one file in and pins it.
func (c *content) Add(ctx context.Context, r io.Reader) (client.Entry, error) {
	return c.add(ctx, "stream", func() (store.Entry, error) { return c.m.store.Add(ctx, r) })
}

// Import brings a file or folder of this machine in and pins it under its path.
func (c *content) Import(ctx context.Context, path string, progress func(client.Progress)) (client.Entry, error) {
	return c.add(ctx, path, func() (store.Entry, error) {
		return c.m.store.AddPath(ctx, path, func(p store.Progress) { progress(told(p)) })
	})
}

// add keeps the collection of garbage away between bringing in and pinning.
func (c *content) add(ctx context.Context, name string, bring func() (store.Entry, error)) (client.Entry, error) {
	release, err := c.m.store.Reserve(ctx)
	if err != nil {
		return client.Entry{}, err
	}
	defer release()
	e, err := bring()
	if errors.Is(err, store.ErrFull) {
		c.m.outOfSpace()
	}
	if err != nil {
		return client.Entry{}, failure(err)
	}
	if err := c.m.store.Pin(ctx, e.CID, name); err != nil {
		return client.Entry{}, failure(err)
	}
	return entry(e), nil
}

func told(p store.Progress) client.Progress {
	return client.Progress{Files: p.Files, Bytes: p.Bytes, Total: p.TotalBytes, Name: p.Name}
}

func entry(e store.Entry) client.Entry {
	return client.Entry{CID: e.CID.String(), Name: e.Name, Size: int64(e.Size), Kind: string(e.Kind)}
}

// Export writes what an address leads to while it comes to this disk; it stands at its path when all of it is here.
func (c *content) Export(ctx context.Context, address string, to client.Export, progress func(client.Progress)) (client.Entry, error) {
	wait := newWait(ctx, idleTime(to.Idle))
	defer wait.stop()
	var bought money.Amount
	if to.Gateway != "" {
		root, cost, err := c.buy(wait, address, to, progress)
		if err != nil {
			return client.Entry{}, err
		}
		address, bought = root.String(), cost
	}
	id, err := c.m.store.Resolve(wait.ctx, address)
	if err != nil {
		return client.Entry{}, c.gone(wait, address, err)
	}
	fetching, writing := c.m.store.FetchTo(wait.ctx, id, to.Path, to.Force, func(p store.Progress) { wait.touch(); progress(told(p)) })
	if fetching != nil {
		if !errors.Is(context.Cause(wait.ctx), errIdle) {
			return client.Entry{}, c.gone(wait, address, fetching)
		}
		forget, wrong := c.back(ctx, id) // nobody has it as it is
		switch {
		case wrong != nil:
			return client.Entry{}, wrong
		case forget == nil:
			return client.Entry{}, c.gone(wait, address, fetching)
		}
		defer forget()
		write := c.m.store.Export
		if to.Force {
			write = c.m.store.Replace
		}
		writing = write(ctx, id, to.Path, 0, func(p store.Progress) { progress(told(p)) })
	}
	if writing != nil {
		return client.Entry{}, failure(writing)
	}
	wait.end() // the rest is this disk's
	size, err := c.m.store.Size(ctx, id)
	if err != nil {
		return client.Entry{}, failure(err)
	}
	e := client.Entry{CID: id.String(), Name: filepath.Base(to.Path), Size: int64(size), Kind: string(store.Regular), Paid: bought}
	if fi, err := os.Lstat(to.Path); err == nil && fi.IsDir() {
		e.Kind = string(store.Directory)
	}
	return e, nil
}

// List tells what an address leads to. A folder's size is that of all below it if all of that is on this disk, else 0: nothing is fetched to find out.
func (c *content) List(ctx context.Context, address string, idle time.Duration) (client.Listing, error) {
	wait := newWait(ctx, idle)
	defer wait.stop()
	id, err := c.m.store.Resolve(wait.ctx, address)
	if err != nil {
		return client.Listing{}, c.gone(wait, address, err)
	}
	rows, err := c.m.store.List(wait.ctx, id.String())
	if err != nil {
		return client.Listing{}, c.gone(wait, address, err)
	}
	if len(rows) == 1 && rows[0].Name == "" && rows[0].CID == id { // a file is its own only row
		return client.Listing{Entry: entry(rows[0]), Entries: []client.Entry{}}, nil
	}
	l := client.Listing{Entry: client.Entry{CID: id.String(), Kind: string(store.Directory)}, Entries: []client.Entry{}}
	wait.end() // the rest is this disk's
	for _, e := range rows {
		if e.Kind == store.Directory {
			e.Size, _ = c.m.store.Size(ctx, e.CID)
		}
		l.Entries = append(l.Entries, entry(e))
	}
	if whole, err := c.m.store.Size(ctx, id); err == nil {
		l.Size = int64(whole)
	}
	return l, ctx.Err()
}

// Read opens a file; the wait begins again with every read that brings something.
func (c *content) Read(ctx context.Context, address string, idle time.Duration) (io.ReadCloser, int64, error) {
	wait := newWait(ctx, idle)
	id, err := c.m.store.Resolve(wait.ctx, address)
	if err != nil {
		defer wait.stop()
		return nil, 0, c.gone(wait, address, err)
	}
	r, err := c.m.store.Open(wait.ctx, id)
	if err != nil {
		defer wait.stop()
		return nil, 0, c.gone(wait, address, err)
	}
	return &reading{Reader: r, wait: wait}, int64(r.Size()), nil
}

type reading struct {
	store.Reader
	wait *wait
}

// Read reads on.
func (r *reading) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.wait.touch()
	}
	return n, err
}

// WriteTo is Read in a loop, so that the wait sees each piece.
func (r *reading) WriteTo(w io.Writer) (int64, error) {
	return io.CopyBuffer(w, struct{ io.Reader }{r}, make([]byte, 256<<10))
}

// Close ends the reading.
func (r *reading) Close() error {
	defer r.wait.stop()
	return r.Reader.Close()
}

// wait ends its ctx after a time without a touch.
type wait struct {
	ctx   context.Context
	stop  context.CancelFunc
	idle  time.Duration
	timer *time.Timer
}

var errIdle = errors.New("no progress")

func newWait(ctx context.Context, idle time.Duration) *wait {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &wait{ctx: ctx, idle: idle}
	w.timer = time.AfterFunc(idle, func() { cancel(errIdle) })
	w.stop = func() { w.timer.Stop(); cancel(nil) }
	return w
}

func (w *wait) touch() { w.timer.Reset(w.idle) }

// end lets the ctx live on without a limit.
func (w *wait) end() { w.timer.Stop() }

func idleTime(seconds int) time.Duration {
	if seconds <= 0 {
		return time.Minute
	}
	return time.Duration(seconds) * time.Second
}

// gone tells content that nobody had in time from other errors.
func (c *content) gone(w *wait, address string, err error) error {
	if !errors.Is(context.Cause(w.ctx), errIdle) {
		return failure(err)
	}
	return &job.Failure{
		Code:    job.CodeNotFound,
		Message: fmt.Sprintf("%s: none of %d connected nodes had it within %v", address, len(c.m.host.Peers()), w.idle),
		Hint:    "check the address, and that a node that has it is up and connected (hpips node peers); --timeout waits longer",
	}
}

// failure gives the store's errors the words for people.
func failure(err error) error {
	var known *job.Failure
	if errors.As(err, &known) {
		return err
	}
	f := &job.Failure{Code: job.CodeInternal, Message: err.Error()}
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		f.Hint = hinted.Hint()
		f.Message = strings.Replace(f.Message, " ("+f.Hint+")", "", 1)
	}
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, os.ErrNotExist):
		f.Code = job.CodeNotFound
	case errors.Is(err, store.ErrFull):
		f.Code = job.CodeDisk
	case errors.Is(err, store.ErrReference), errors.Is(err, store.ErrExists), errors.Is(err, store.ErrTooLarge), errors.Is(err, store.ErrUnsafe), errors.Is(err, os.ErrPermission):
		f.Code = job.CodeUsage
	}
	return f
}
