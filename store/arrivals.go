package store

import (
	"sync"
	"sync/atomic"

	"github.com/multiformats/go-multihash"
)

// arrivals tells those who wait for a block that it is here. The zero value is ready.
type arrivals struct {
	some    atomic.Bool // somebody waits
	mu      sync.Mutex
	waiting map[string]*waiters
}

type waiters struct {
	here chan struct{} // closed when the block is here
	n    int
}

// wait gives a channel that is closed once a block with this hash was put after this call. done must be called when nobody waits any more.
func (a *arrivals) wait(h multihash.Multihash) (here <-chan struct{}, done func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting == nil {
		a.waiting = map[string]*waiters{}
	}
	w := a.waiting[string(h)]
	if w == nil {
		w = &waiters{here: make(chan struct{})}
		a.waiting[string(h)] = w
	}
	w.n++
	a.some.Store(true)
	return w.here, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if w.n--; w.n == 0 && a.waiting[string(h)] == w {
			a.forget(h)
		}
	}
}

func (a *arrivals) forget(h multihash.Multihash) {
	delete(a.waiting, string(h))
	a.some.Store(len(a.waiting) > 0)
}

// tell lets those go on who wait for a block.
func (a *arrivals) tell(h multihash.Multihash) {
	if !a.some.Load() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if w := a.waiting[string(h)]; w != nil {
		close(w.here)
		a.forget(h)
	}
}
