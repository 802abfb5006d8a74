package machine

import (
	"context"
	"errors"
	"time"
)

func idlers() []Idler { return []Idler{hid{here()}} }

// hid asks ioreg(8) for the time since the last input of any device.
type hid struct{ s sources }

// Idle returns it.
func (h hid) Idle(ctx context.Context) (time.Duration, error) {
	text, err := h.s.run(ctx, "ioreg", "-c", "IOHIDSystem", "-d", "4")
	if err != nil {
		return 0, ErrNoSession
	}
	idle, ok := ioreg(string(text))
	if !ok {
		return 0, errors.New("idle: ioreg tells no HIDIdleTime")
	}
	return idle, nil
}
