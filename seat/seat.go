// Package seat keeps a node's place in the committee: it gathers testimony that the node is online, takes out and renews its ticket, draws
// in each epoch and claims what it won; and it testifies for others when the lot makes this node their observer.
// It promises that it never claims or testifies before the node is at the head of the chain, that testimony survives a restart, and that nothing
// a peer sends is believed unsigned or unasked for.
// It leaves the rules to spec/sortition, what stands on the chain to whoever hands in a Chain, and proposing and voting to the chain's own node.
package seat

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hpips/hpips/spec/sortition"
)

// Chain is what a seat asks of the chain. Every method may be called from several goroutines.
type Chain interface {
	// Head tells what the newest block says about a node.
	Head(ctx context.Context, node sortition.Key) (Head, error)
	// Observers tells who may testify for a node in a slot; the slot's seed must be known.
	Observers(ctx context.Context, node sortition.Key, slot uint64) (Observers, error)
	// Picks tells for which slots a ticket taken out in a slot needs testimony.
	Picks(ctx context.Context, node sortition.Key, slot uint64) (Picks, error)

	// Ticket, Claim and StepDown hand a free message in. No error means that it was passed on, not that it stands in a block.
	Ticket(ctx context.Context, a Application) error
	Claim(ctx context.Context, c Claim) error
	StepDown(ctx context.Context, r Resignation) error

	// Blocks tells of new blocks until ctx ends; several may come as one.
	Blocks(ctx context.Context) <-chan struct{}
}

// Head is the newest block that a node has, and what it says about a node.
type Head struct {
	Chain      string
	Height     int64
	CatchingUp bool // there are newer blocks that this node does not have
	Day, Slot  uint64
	Seats      int // taken
	Epoch      Epoch
	Rules      Rules
	Place      Place
}

// Epoch is the present epoch, which draws for the next one.
type Epoch struct {
	Number    uint64
	Opened    int64 // 0: not yet
	Draw      sortition.Seed
	Threshold sortition.Threshold
}

// Rules are the parameters that a seat acts by.
type Rules struct {
	ClaimBlocks int64         // claims count in blocks below Opened + ClaimBlocks
	TicketDays  uint64        // a ticket is good for
	Window      uint64        // slots for which testimony is of use
	Slot        time.Duration // of block time
}

// Place is how a node stands.
type Place struct {
	Registered bool
	Owner      string  // its account
	Ticket     *Ticket // nil: none
	Waiting    bool    // for the lot of new tickets
	Neighbours uint64  // tickets of the node's network
	Claimed    bool    // in this epoch
	Seated     bool
	Reason     string // why it could not take out a ticket now, testimony apart; empty when it could
}

// Ticket is a ticket held.
type Ticket struct {
	Since int64  // height
	Until uint64 // day, the last one
	Good  bool   // it belongs to the keys that the node has now
}

// Observers are the nodes that may testify for one node in one slot.
type Observers struct {
	Nodes  []sortition.Key
	Needed uint32 // of them, for the slot to count
}

// Picks are the slots that a ticket is asked about.
type Picks struct {
	Slots  []uint64
	Needed uint32 // of them
}

// Application asks for a ticket.
type Application struct {
	Word      sortition.Application
	Receipts  [][]byte
	Signature []byte
}

// Claim brings a winning draw forward.
type Claim struct {
	Node  sortition.Key
	Epoch uint64
	Proof sortition.Proof
}

// Resignation asks to leave the seat.
type Resignation struct {
	Word      sortition.Resignation
	Signature []byte
}

// Config is what a seat is made of.
type Config struct {
	Dir string             // where testimony is kept; of this node and chain alone
	Key ed25519.PrivateKey // of the node
	VRF ed25519.PrivateKey // registered for the node
}

// Check refuses what cannot work.
func (c Config) Check() error {
	if c.Dir == "" || len(c.Key) != ed25519.PrivateKeySize || len(c.VRF) != ed25519.PrivateKeySize {
		return errors.New("seat config: folder, node key and VRF key must be set")
	}
	return nil
}

// Seat keeps one node's place on one chain.
type Seat struct {
	log   *slog.Logger
	cfg   Config
	self  sortition.Key
	chain Chain
	peers Peers
	kept  *receipts
	gate  *Gate

	head    atomic.Pointer[Head] // as last looked at
	resting atomic.Uint64        // one more than the epoch in which the owner asked to step down; 0: never
	asking  atomic.Bool          // observers are being asked
	calls   sync.WaitGroup

	// of Serve alone
	drawn  draw
	watch  watch
	last   tried
	seated bool
}

// New reads the testimony of an earlier life and answers observers' calls from now on; it looks at the chain when Serve runs.
func New(log *slog.Logger, chain Chain, peers Peers, cfg Config) (*Seat, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	s := &Seat{log: log, cfg: cfg, chain: chain, peers: peers, gate: NewGate(gateDepth, gateRate), self: sortition.Key(cfg.Key.Public().(ed25519.PublicKey))}
	var err error
	if s.kept, err = openReceipts(log, cfg.Dir, s.self); err != nil {
		return nil, err
	}
	return s, peers.Handle(Protocol, maxRequest, s.testify)
}

// lookAgain is the time after which the chain is looked at though no block came: observers that did not answer are asked again then.
const lookAgain = 2 * time.Second

// Serve keeps the place until ctx ends. It goes on through every error: the chain, or a peer, may be back at the next look.
func (s *Seat) Serve(ctx context.Context) error {
	defer s.calls.Wait()
	blocks := s.chain.Blocks(ctx)
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	failed := ""
	for {
		err := s.step(ctx)
		if text := fmt.Sprint(err); err != nil && ctx.Err() == nil && text != failed {
			failed = text // once, not at every look
			s.log.Debug("The place in the committee cannot be looked after now", "err", err)
		}
		if !s.pause(ctx, &blocks, tick.C) {
			return ctx.Err()
		}
	}
}

// pause waits for the next look; false means that ctx ended. Between blocks there is something to do only while observers are missing
// or the chain is not at its head.
func (s *Seat) pause(ctx context.Context, blocks *<-chan struct{}, tick <-chan time.Time) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case _, open := <-*blocks:
			if !open {
				*blocks = nil // the tick is left
				continue
			}
			return true
		case <-tick:
			if h := s.head.Load(); h == nil || h.CatchingUp || *blocks == nil || s.watch.lacks(s.kept, h.Slot) {
				return true
			}
		}
	}
}

// step looks once and does what is due.
func (s *Seat) step(ctx context.Context) error {
	h, err := s.chain.Head(ctx, s.self)
	if err != nil {
		return err
	}
	s.head.Store(&h)
	s.tell(h)
	if err := s.prepare(ctx, h); err != nil {
		return err
	}
	var errs []error
	for _, do := range next(s.view(h, time.Now())) {
		errs = append(errs, s.take(ctx, h, do))
	}
	return errors.Join(errs...)
}

// tell logs what the owner of this PC would want to know.
func (s *Seat) tell(h Head) {
	if h.CatchingUp || h.Place.Seated == s.seated {
		return
	}
	s.seated = h.Place.Seated
	if s.seated {
		s.log.Info("This node has a seat in the committee", "epoch", h.Epoch.Number, "height", h.Height)
	} else {
		s.log.Info("This node's seat has gone to another", "epoch", h.Epoch.Number, "height", h.Height)
	}
}

// prepare brings up to date what a decision needs besides the head: the draw of the epoch and the observers of the slot.
func (s *Seat) prepare(ctx context.Context, h Head) error {
	if h.CatchingUp || !h.Place.Registered {
		return nil
	}
	if h.Epoch.Opened > 0 && s.drawn.seed != h.Epoch.Draw {
		proof, err := sortition.Prove(s.cfg.VRF, sortition.DrawAlpha(h.Chain, h.Epoch.Number, h.Epoch.Draw))
		if err != nil {
			return fmt.Errorf("seat draw: %w", err)
		}
		beta, err := proof.Beta()
		if err != nil {
			return fmt.Errorf("seat draw: %w", err)
		}
		s.drawn = draw{seed: h.Epoch.Draw, proof: proof, output: beta.Output()}
	}
	if s.watch.chain != h.Chain || s.watch.slot != h.Slot || len(s.watch.observers.Nodes) == 0 {
		o, err := s.chain.Observers(ctx, s.self, h.Slot)
		if err != nil {
			return fmt.Errorf("seat observers: %w", err)
		}
		if s.watch.slot != h.Slot || s.watch.chain != h.Chain {
			s.watch = watch{chain: h.Chain, slot: h.Slot}
		}
		s.watch.observers = o
	}
	return nil
}

// view puts together what a decision needs.
func (s *Seat) view(h Head, now time.Time) view {
	return view{Head: h, Output: s.drawn.output, Missing: s.watch.missing(s.kept, h.Slot), Ask: !now.Before(s.watch.again), Tried: s.last, Resting: s.resting.Load()}
}

// take does one thing that is due.
func (s *Seat) take(ctx context.Context, h Head, do step) error {
	switch do.What {
	case claim:
		s.last.claim = h.Height
		err := s.chain.Claim(ctx, Claim{Node: s.self, Epoch: h.Epoch.Number, Proof: s.drawn.proof})
		if err != nil {
			return fmt.Errorf("seat claim for epoch %d: %w", h.Epoch.Number+1, err)
		}
		s.log.Info("This node has drawn a seat and claims it", "epoch", h.Epoch.Number+1)
	case apply:
		return s.apply(ctx, h)
	case ask:
		if !s.asking.CompareAndSwap(false, true) {
			return nil
		}
		s.watch.again = time.Now().Add(min(lookAgain<<min(s.watch.rounds, 10), max(h.Rules.Slot/8, lookAgain)))
		s.watch.rounds++
		s.calls.Go(func() {
			defer s.asking.Store(false)
			s.ask(ctx, h, do.From)
		})
	case forget:
		return s.kept.forget(do.Before)
	}
	return nil
}

// StepDown asks to leave the seat, and keeps from claiming in this epoch; it is for a PC that is about to sleep. Without a seat nothing is sent.
func (s *Seat) StepDown(ctx context.Context) error {
	h, err := s.chain.Head(ctx, s.self)
	if err != nil {
		return fmt.Errorf("seat step down: %w", err)
	}
	s.resting.Store(h.Epoch.Number + 1)
	if !h.Place.Seated {
		return nil
	}
	word := sortition.Resignation{Chain: h.Chain, Node: s.self, Epoch: h.Epoch.Number}
	signature, err := word.Sign(s.cfg.Key)
	if err == nil {
		err = s.chain.StepDown(ctx, Resignation{Word: word, Signature: signature})
	}
	if err != nil {
		return fmt.Errorf("seat step down: %w", err)
	}
	s.log.Info("This node asks to leave its seat", "epoch", h.Epoch.Number)
	return nil
}

// Head is what was last seen; false before the first look.
func (s *Seat) Head() (Head, bool) {
	if h := s.head.Load(); h != nil {
		return *h, true
	}
	return Head{}, false
}
