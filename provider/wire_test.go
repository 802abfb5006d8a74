package provider

import (
	"context"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/p2p"
)

// wire is a session in one process. Messages of the provider count as unacked until the client acks them.
type wire struct {
	peer peer.ID

	mu     sync.Mutex
	in     []p2p.Message
	out    [][]byte
	seq    uint64
	acked  uint64 // of in
	unread int    // of out, counted from the last ack
	window int    // messages that may be unacked; 0 = any number
	greedy bool   // the client acks what it hears
	closed bool
	heard  func(msg []byte) // called before Send returns
	change chan struct{}
}

func newWire() *wire { return &wire{greedy: true, change: make(chan struct{})} }

// await runs try until it is true, again after each change; false when ctx ends.
func (w *wire) await(ctx context.Context, try func() bool) bool {
	for {
		w.mu.Lock()
		ok, change := try(), w.change
		if ok {
			close(w.change)
			w.change = make(chan struct{})
		}
		w.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-change:
		case <-ctx.Done():
			return false
		}
	}
}

func (w *wire) do(fn func()) {
	w.await(context.Background(), func() bool { fn(); return true })
}

func (w *wire) Peer() peer.ID { return w.peer }

func (w *wire) Send(ctx context.Context, msg []byte) error {
	if !w.await(ctx, func() bool {
		if !w.closed && w.window > 0 && w.unread >= w.window {
			return false
		}
		w.out = append(w.out, msg)
		w.unread++
		return true
	}) {
		return ctx.Err()
	}
	w.mu.Lock()
	closed, heard := w.closed, w.heard
	w.mu.Unlock()
	if closed {
		return p2p.ErrClosed
	}
	if heard != nil {
		heard(msg)
	}
	return nil
}

func (w *wire) Receive(ctx context.Context) (m p2p.Message, err error) {
	if !w.await(ctx, func() bool {
		switch {
		case len(w.in) > 0:
			m, w.in = w.in[0], w.in[1:]
		case w.closed:
			err = p2p.ErrClosed
		default:
			return false
		}
		return true
	}) {
		return m, ctx.Err()
	}
	return m, err
}

func (w *wire) Ack(seq uint64) { w.do(func() { w.acked = seq }) }
func (w *wire) Close()         { w.do(func() { w.closed = true }) }
func (w *wire) Unacked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.unread
}

func (w *wire) deliver(b []byte) {
	w.do(func() { w.seq++; w.in = append(w.in, p2p.Message{Seq: w.seq, Data: b}) })
}

func (w *wire) event(e p2p.Event) {
	w.do(func() { w.in = append(w.in, p2p.Message{Event: e}) })
}

func (w *wire) next() (b []byte, ok bool) {
	w.await(context.Background(), func() bool {
		if len(w.out) > 0 {
			b, ok, w.out = w.out[0], true, w.out[1:]
			if w.greedy {
				w.unread--
			}
		}
		return ok || w.closed
	})
	return b, ok
}
