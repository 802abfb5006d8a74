package auditor

import (
	"context"
	"errors"
	"sync"

	"github.com/hpips/hpips/engine"
)

// errHeld is why an examination was given up, or not begun, by an examiner that does not wait.
var errHeld = errors.New("the owner of this PC shares nothing now")

// hold keeps examinations off a PC whose owner has come back: while it is on, none runs.
type hold struct {
	mu    sync.Mutex
	off   chan struct{}                 // closed when it ends; nil: it is off
	begun map[*entry]context.CancelFunc // what is being prepared, or does not wait
	boxes map[*engine.Sandbox]bool
}

// entry tells examinations apart.
type entry struct{ _ byte }

func newHold() *hold {
	return &hold{begun: map[*entry]context.CancelFunc{}, boxes: map[*engine.Sandbox]bool{}}
}

// Hold has all examinations of this examiner, and of those that came of it, stand still where they are, or go on. When it returns, sandboxes are stopped; what was being
// prepared is given up and prepared anew when they go on. It may be repeated. Where the system cannot stop a process it says so; nothing new is begun there either.
func (e *Examiner) Hold(on bool) error {
	h := e.held
	h.mu.Lock()
	defer h.mu.Unlock()
	if on == (h.off != nil) {
		return nil
	}
	if on {
		h.off = make(chan struct{})
		for _, give := range h.begun {
			give()
		}
	} else {
		close(h.off)
		h.off = nil
	}
	var errs []error
	for box := range h.boxes {
		errs = append(errs, pause(*box, on))
	}
	return errors.Join(errs...)
}

func pause(box engine.Sandbox, on bool) error {
	if on {
		return box.Pause()
	}
	return box.Resume()
}

// AtOnce is an examiner that gives no answer while it is held, and gives up what runs when that begins: for those whose own affairs would stand still with it.
func (e *Examiner) AtOnce() *Examiner {
	other := *e
	other.hasty = true
	return &other
}

// enter waits until nothing is held, unless the examiner does not wait. The context that it gives ends with ctx, with done, and when a hold begins.
func (e *Examiner) enter(ctx context.Context) (begun context.Context, done func(), err error) {
	h := e.held
	for {
		h.mu.Lock()
		off := h.off
		if off == nil {
			break
		}
		h.mu.Unlock()
		if e.hasty {
			return nil, nil, noAnswer("%w", errHeld)
		}
		select {
		case <-off:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	defer h.mu.Unlock()
	begun, give := context.WithCancel(ctx)
	me := new(entry)
	h.begun[me] = give
	return begun, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.begun, me)
		give()
	}, nil
}

// watch has a hold stop a sandbox from now on, at once if there is one. done ends that.
func (h *hold) watch(box engine.Sandbox) (done func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	me := &box // any engine's, whether it can be compared or not
	h.boxes[me] = true
	if h.off != nil {
		err = box.Pause()
	}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.boxes, me)
	}, err
}
