package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hpips/hpips/auditor"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/trust"
)

// docket is what stands on the chain for juries, as of one block.
type docket struct {
	audits   []ledger.Audit
	disputes []ledger.Dispute
	standings
}

// juries is the part of a ledger that a docket is read from.
type juries interface {
	Audits(ctx context.Context) ([]ledger.Audit, error)
	Disputes(ctx context.Context) ([]ledger.Dispute, error)
	Standing(ctx context.Context, node []byte) (ledger.Standing, error)
}

// clerk reads the docket of a chain once a block, for the juror and the requester of a node, who look at it every few seconds.
type clerk struct {
	mu   sync.Mutex
	last *docket
	told uint64 // blocks that were told of before it was read; 0: nobody tells
	seen time.Time
}

// docketFor is for how long a docket is good at most, though no block was told of.
const docketFor = 30 * time.Second

// look gives the docket. told is how many blocks were told of so far, 0 if nobody tells; one not older than spare is good enough whatever has come since.
func (c *clerk) look(ctx context.Context, w juries, told uint64, spare time.Duration) (*docket, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.last; d != nil && d.w == w {
		if age := time.Since(c.seen); age < spare || told != 0 && told == c.told && age < docketFor {
			return d, nil
		}
	}
	d := &docket{standings: standings{w: w, known: map[sortition.Key]ledger.Standing{}}}
	var err1, err2 error
	d.audits, err1 = w.Audits(ctx)
	d.disputes, err2 = w.Disputes(ctx)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	c.last, c.told, c.seen = d, told, time.Now()
	return d, nil
}

// forget drops the docket: this node has changed what stands on the chain.
func (c *clerk) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = nil
}

// standings asks the chain how nodes stand, of each once.
type standings struct {
	w juries

	mu    sync.Mutex
	known map[sortition.Key]ledger.Standing
}

func (s *standings) of(ctx context.Context, node sortition.Key) (ledger.Standing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, is := s.known[node]; is {
		return known, nil
	}
	one, err := s.w.Standing(ctx, node[:])
	if err == nil {
		s.known[node] = one
	}
	return one, err
}

// summon puts together who may be a juror of a matter.
func (s *standings) summon(ctx context.Context, m trust.Matter, places int, height int64, payer string) (auditor.Call, error) {
	provider, err := s.of(ctx, m.Node)
	return auditor.Call{Matter: m, Places: places, Height: height, Owners: []string{provider.Owner, payer}, Network: provider.Network}, err
}

func standing(s ledger.Standing) auditor.Standing {
	return auditor.Standing{Owner: s.Owner, Holds: s.Holds, Network: s.Network, Since: s.Since, Beside: s.Beside, Tickets: s.Tickets}
}
