package requester

import "testing"

// Results that come one by one wait a moment for others, so that they share a transaction; nothing waits for what will not come.
func TestResultsShareATransaction(t *testing.T) {
	for name, c := range map[string]struct {
		pending, out int
		rested, due  bool
	}{
		"the only task that is out":     {pending: 1, out: 1, due: true},
		"one of many":                   {pending: 1, out: 40},
		"one of many, after the pause":  {pending: 1, out: 40, rested: true, due: true},
		"all that are out":              {pending: 40, out: 40, due: true},
		"a verdict when nothing is out": {pending: 1, out: 0, due: true},
		"a full group of tiny tasks":    {pending: pauseMax, out: 8000, due: true},
	} {
		g := &gathering{pending: make([]entry, c.pending), rested: c.rested, board: &board{out: map[uint64]*flight{}}}
		for i := range c.out {
			g.board.out[uint64(i)] = &flight{}
		}
		if got := g.due(); got != c.due {
			t.Errorf("%s: due is %v", name, got)
		}
	}
}
