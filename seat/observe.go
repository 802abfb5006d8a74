package seat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/sortition"
)

// Protocol is a call to an observer: "testify that I am online". The answer is the canonical bytes of a sortition.Receipt about the caller.
const Protocol protocol.ID = "/hpips/observe/1"

const (
	maxRequest = 256
	askTime    = 10 * time.Second // for one observer's answer
	askers     = 4                // observers asked at once

	// Questions answered at once and in a second: each costs a look at the chain.
	gateDepth = 64
	gateRate  = 32
)

// question is the call's request.
type question struct {
	Chain string `cbor:"chain"`
	Slot  uint64 `cbor:"slot"`
}

func parseQuestion(b []byte) (question, error) {
	var q question
	if err := canon.Decode(b, maxRequest, &q); err != nil {
		return q, err
	}
	return q, nil
}

// ask calls observers of the head's slot and keeps what they testify.
func (s *Seat) ask(ctx context.Context, h Head, observers []sortition.Key) {
	request, err := canon.Encode(question{Chain: h.Chain, Slot: h.Slot})
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	free := make(chan struct{}, askers)
	for _, o := range observers {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			if err := s.askOne(ctx, h, o, request); err != nil && ctx.Err() == nil {
				s.log.Debug("An observer does not testify", "observer", o, "slot", h.Slot, "err", err)
			}
		})
	}
	wg.Wait()
}

func (s *Seat) askOne(ctx context.Context, h Head, observer sortition.Key, request []byte) error {
	id, err := PeerOf(observer)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	answer, err := s.peers.Call(ctx, id, Protocol, request)
	if err != nil {
		return err
	}
	r, err := sound(answer)
	switch {
	case err != nil:
		return err
	case r.Chain != h.Chain || r.Slot != h.Slot || r.Node != s.self || r.Observer != observer:
		return errors.New("the receipt is not what was asked for")
	}
	return s.kept.add(r, answer)
}

// sound reads a receipt from outside and checks its signature and its network.
func sound(b []byte) (sortition.Receipt, error) {
	r, err := sortition.ParseReceipt(b)
	if err != nil {
		return r, err
	}
	return r, r.Check()
}

// testify answers a node that asks for a receipt: only for itself, in the slot that both see now, where the lot made this node its observer, and
// over a connection whose other end is known.
func (s *Seat) testify(ctx context.Context, from peer.ID, request []byte) ([]byte, error) {
	q, err := parseQuestion(request)
	if err != nil {
		return nil, err
	}
	node, err := KeyOf(from)
	if err != nil {
		return nil, err
	}
	h := s.head.Load()
	switch {
	case h == nil || h.CatchingUp:
		return nil, errors.New("not at the head of the chain yet")
	case q.Chain != h.Chain:
		return nil, fmt.Errorf("this node follows the chain %s", h.Chain)
	case q.Slot != h.Slot:
		return nil, fmt.Errorf("here it is slot %d", h.Slot)
	case !s.gate.Pass(time.Now()):
		return nil, errors.New("too many ask, try again later")
	}
	network, ok := networkOf(s.peers.Seen(from))
	if !ok {
		return nil, errors.New("your address is not seen: connect without a relay")
	}
	o, err := s.chain.Observers(ctx, node, q.Slot)
	if err != nil {
		return nil, errors.New("the chain does not answer here now")
	}
	if !slices.Contains(o.Nodes, s.self) {
		return nil, errors.New("this node is not your observer in this slot")
	}
	r, err := sortition.Receipt{Chain: h.Chain, Node: node, Slot: q.Slot, Network: network}.Sign(s.cfg.Key)
	if err != nil {
		return nil, err
	}
	return r.Bytes()
}

// apply takes out or renews the ticket with the testimony at hand; without enough of it nothing is sent.
func (s *Seat) apply(ctx context.Context, h Head) error {
	picks, err := s.chain.Picks(ctx, s.self, h.Slot)
	if err != nil {
		return fmt.Errorf("seat ticket: %w", err)
	}
	heard := make([]heardSlot, len(picks.Slots))
	for i, slot := range picks.Slots {
		o, err := s.chain.Observers(ctx, s.self, slot)
		if err != nil {
			return fmt.Errorf("seat ticket: %w", err)
		}
		heard[i] = heardSlot{observers: o, receipts: s.kept.of(h.Chain, slot)}
	}
	receipts, missing := gather(heard, picks.Needed)
	if missing > 0 {
		s.last.lacking = h.Slot
		return fmt.Errorf("seat ticket: testimony for %d more of the slots %v is needed", missing, picks.Slots)
	}
	s.last.apply = h.Height
	word := sortition.Application{Chain: h.Chain, Node: s.self, Slot: h.Slot, Receipts: sortition.Digest(receipts)}
	signature, err := word.Sign(s.cfg.Key)
	if err == nil {
		err = s.chain.Ticket(ctx, Application{Word: word, Receipts: receipts, Signature: signature})
	}
	if err != nil {
		return fmt.Errorf("seat ticket: %w", err)
	}
	s.log.Info("This node asks for a ticket", "day", h.Day, "receipts", len(receipts))
	return nil
}

// heardSlot is the testimony for one slot.
type heardSlot struct {
	observers Observers
	receipts  map[sortition.Key]kept
}

// gather picks as much testimony as is needed, from those who may testify; missing is how many slots lack it.
func gather(slots []heardSlot, needed uint32) (receipts [][]byte, missing int) {
	missing = int(needed)
	for _, h := range slots {
		if missing == 0 {
			break
		}
		if got, ok := h.agreed(); ok {
			receipts = append(receipts, got...)
			missing--
		}
	}
	return receipts, missing
}

// agreed is enough testimony that names one and the same network; false: there is none.
func (h heardSlot) agreed() ([][]byte, bool) {
	by := map[string][][]byte{}
	for _, o := range h.observers.Nodes {
		r, ok := h.receipts[o]
		if !ok {
			continue
		}
		by[r.network] = append(by[r.network], r.bytes)
		if got := by[r.network]; len(got) >= int(h.observers.Needed) {
			return got, true
		}
	}
	return nil, h.observers.Needed == 0
}
