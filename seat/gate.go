package seat

import (
	"sync"
	"time"
)

// Gate is a token bucket for all callers of one kind together; p2p has one for each caller.
type Gate struct {
	depth, rate float64

	mu    sync.Mutex
	spent float64
	at    time.Time
}

// NewGate lets depth calls through at once, and so many a second in the long run.
func NewGate(depth, perSecond float64) *Gate { return &Gate{depth: depth, rate: perSecond} }

// Pass tells whether one more call may come through.
func (g *Gate) Pass(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.spent = max(0, g.spent-now.Sub(g.at).Seconds()*g.rate)
	g.at = now
	if g.spent+1 > g.depth {
		return false
	}
	g.spent++
	return true
}
