package node

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/seat"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/store"
	"github.com/hpips/hpips/store/archive"
)

// possessionProtocol is a call to an auditor: a holder's spec/proof.Answer of today, in its canonical bytes. The answer is the auditor's signature, spec/proof.Challenge.Witness.
const possessionProtocol protocol.ID = "/hpips/possession/1"

const (
	witnessWithin = 10 * time.Second // for one auditor
	witnessTries  = 4                // looks at the chain in which auditors are asked before the answer goes to the chain
	shortDay      = 3600             // seconds: of a shorter day none is waited for
)

// holder says which segments its node has, and answers for them each day: to auditors, who sign that the answer is right, or to the chain.
//
//	pinned → said → asked each day → seen by auditors, or proven on the chain → paid
type holder struct {
	log *slog.Logger
	c   *chaining
	in  archive.Opener

	epoch uint64          // in which it was said that the node is there
	said  map[uint64]bool // segments that were named in this epoch
	day   uint64          // the day that was answered last
	tries int             // of auditors, on that day
	done  bool
}

func newHolder(log *slog.Logger, c *chaining, in archive.Opener) *holder {
	return &holder{log: log, c: c, in: in}
}

// join says in an epoch that the node is there, if the chain does not know it or thinks that it is away.
func (h *holder) join(ctx context.Context, life *chainLife, task ledger.Task, epoch uint64) error {
	if h.epoch != epoch {
		h.epoch, h.said = epoch, map[uint64]bool{}
	}
	if task.Holder.Standing != "away" || h.said[0] {
		return nil
	}
	return h.hand(ctx, life, 0)
}

// hand says that the node is there, and which segments it has: at most proof.MaxHold, rising; 0 stands for none.
func (h *holder) hand(ctx context.Context, life *chainLife, segments ...uint64) error {
	word := proof.Hold{Epoch: h.epoch}
	for _, n := range segments {
		if n > 0 {
			word.Segments = append(word.Segments, n)
		}
	}
	signature, err := word.Sign(h.c.genesis.summary.ChainID, h.c.keys.Node)
	if err != nil {
		return err
	}
	node := public(h.c.keys.Node)
	if _, err := life.ledger.Free(ctx, ledger.SayHold(node[:], word, signature)); err != nil {
		return err
	}
	for _, n := range segments {
		h.said[n] = true
	}
	return nil
}

// answer answers what is asked today, if it was not.
func (h *holder) answer(ctx context.Context, life *chainLife, task ledger.Task, pins map[uint64]cid.Cid) error {
	if h.day != task.Challenge.Day {
		h.day, h.tries, h.done = task.Challenge.Day, 0, false
	}
	if !task.Due() || h.done {
		return nil
	}
	answer, err := h.write(ctx, task, pins)
	if err != nil {
		return err
	}
	text, err := answer.Bytes()
	if err != nil {
		return err
	}
	node := public(h.c.keys.Node)
	if h.tries++; !task.Doubted() {
		if by := h.witnesses(ctx, task, text); len(by) >= task.Needed {
			_, err := life.ledger.Free(ctx, ledger.VouchFor(node[:], task.Challenge.Day, by))
			h.done = err == nil
			return err
		}
		rules, err := life.ledger.Rules(ctx)
		if err != nil || h.tries < witnessTries && rules.DaySeconds >= shortDay {
			return err
		}
	}
	_, err = life.ledger.Free(ctx, ledger.ProveStored(node[:], text))
	h.done = err == nil
	return err
}

// lost is a segment whose bytes are not there any more, or are others.
type lost struct {
	segment uint64
	err     error
}

func (l lost) Error() string { return l.err.Error() }
func (l lost) Unwrap() error { return l.err }

// write makes the answer. Bytes that changed are found here, and nothing is signed: the error is lost.
func (h *holder) write(ctx context.Context, task ledger.Task, pins map[uint64]cid.Cid) (proof.Answer, error) {
	wanted := make([]archive.Wanted, len(task.Leaves))
	for i, l := range task.Leaves {
		n := task.Segments[i]
		c, ok := pins[n]
		if !ok {
			return proof.Answer{}, lost{n, store.ErrNotFound}
		}
		wanted[i] = archive.Wanted{Entry: proof.Entry{Number: n, Address: c.Bytes(), Piece: l.Of}, Leaf: l.Place}
	}
	for _, w := range wanted {
		if _, err := archive.Outline(ctx, h.in, w.Entry); errors.Is(err, archive.ErrPiece) || errors.Is(err, store.ErrNotFound) {
			return proof.Answer{}, lost{w.Entry.Number, err}
		}
	}
	return archive.Answer(ctx, h.in, h.c.genesis.summary.ChainID, task.Challenge, wanted, h.c.keys.Node)
}

// witnesses asks the day's auditors, all at once, and gives the right signatures in the order of their keys.
func (h *holder) witnesses(ctx context.Context, task ledger.Task, answer []byte) (by []ledger.Witness) {
	ctx, cancel := context.WithTimeout(ctx, witnessWithin)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, auditor := range task.Auditors {
		wg.Go(func() {
			id, err := seat.PeerOf(auditor)
			if err != nil {
				return
			}
			signature, err := h.c.host.Call(ctx, id, possessionProtocol, answer)
			if err == nil {
				err = task.Challenge.CheckWitness(h.c.genesis.summary.ChainID, auditor, signature)
			}
			if err != nil {
				h.log.Debug("An auditor does not sign", "auditor", sortition.Key(auditor), "day", task.Challenge.Day, "err", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			by = append(by, ledger.Witness{Auditor: auditor, Signature: signature})
		})
	}
	wg.Wait()
	slices.SortFunc(by, func(a, b ledger.Witness) int { return bytes.Compare(a.Auditor[:], b.Auditor[:]) })
	return by
}

// audit looks at a holder's answer as one of the day's auditors: right, it is signed; wrong, the chain is told.
func (c *chaining) audit(ctx context.Context, from peer.ID, request []byte) ([]byte, error) {
	answer, err := proof.ParseAnswer(request)
	if err != nil {
		return nil, err
	}
	if key, err := seat.KeyOf(from); err != nil || key != answer.Holder {
		return nil, errors.New("the answer is another node's")
	}
	life := c.running()
	if life == nil {
		return nil, errNoChainNode
	}
	task, err := life.ledger.Task(ctx, answer.Holder)
	if err != nil {
		return nil, errors.New("the chain does not answer here now")
	}
	self := public(c.keys.Node)
	if !slices.Contains(task.Auditors, [32]byte(self)) {
		return nil, errors.New("this node is not your auditor today")
	}
	chain := c.genesis.summary.ChainID
	if err := answer.CheckLeaves(chain, task.Challenge, task.Leaves); err != nil {
		if errors.Is(err, proof.ErrWrong) {
			_, told := life.ledger.Free(ctx, ledger.AccuseHolder(answer.Holder[:], request))
			c.log.Warn("A holder gave a wrong answer", "holder", sortition.Key(answer.Holder), "err", err, "told", told)
		}
		return nil, err
	}
	return task.Challenge.Witness(chain, c.keys.Node)
}
