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
	pieces "github.com/hpips/hpips/store/holder"
)

// possessionProtocol is a call to an auditor: a holder's spec/proof.Answer of today, in its canonical bytes. The answer is the auditor's signature, spec/proof.Challenge.Witness.
const possessionProtocol protocol.ID = "/hpips/possession/1"

const (
	witnessWithin = 10 * time.Second // for one auditor
	answerAgain   = time.Minute      // until what was handed in, or asked of auditors, is tried again
	witnessTries  = 4                // in which auditors are asked before the answer goes to the chain
	shortDay      = 3600             // seconds: on a shorter day once
)

// holder says which segments its node has, and answers for them each day: to auditors, who sign that the answer is right, or to the chain.
//
//	pinned → said → asked each day → seen by auditors, or proven on the chain → paid
type holder struct {
	log *slog.Logger
	c   *chaining
	in  pieces.Opener

	epoch uint64          // in which it was said that the node is there
	said  map[uint64]bool // segments that were named in this epoch
	today answering
}

// answering is how far the answer of a day is.
type answering struct {
	day   uint64
	text  []byte    // its bytes; nil until it is made
	tries int       // of auditors
	rests time.Time // until then nothing is done for it: what was handed in may be on its way
}

func newHolder(log *slog.Logger, c *chaining, in pieces.Opener) *holder {
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

// answer answers what is asked today, until the chain says that it is proven. What was handed in and is not in a block after a while is handed in again: somebody may have doubted the auditors meanwhile.
func (h *holder) answer(ctx context.Context, life *chainLife, task ledger.Task, find func(ledger.Kept) (cid.Cid, bool)) (err error) {
	t := &h.today
	if t.day != task.Challenge.Day {
		*t = answering{day: task.Challenge.Day}
	}
	if !task.Due() || time.Now().Before(t.rests) {
		return nil
	}
	if t.text == nil {
		if t.text, err = h.write(ctx, task, find); err != nil {
			return err
		}
	}
	t.rests = time.Now().Add(answerAgain)
	node := public(h.c.keys.Node)
	if t.tries++; !task.Doubted() {
		if by := h.witnesses(ctx, task, t.text); len(by) >= task.Needed {
			_, err := life.ledger.Free(ctx, ledger.VouchFor(node[:], task.Challenge.Day, by))
			return err
		}
		rules, err := life.ledger.Rules(ctx)
		if err != nil || t.tries < witnessTries && rules.DaySeconds >= shortDay {
			return err
		}
	}
	_, err = life.ledger.Free(ctx, ledger.ProveStored(node[:], t.text))
	return err
}

// lost is a piece whose bytes are not there any more, or are others.
type lost struct {
	of  ledger.Kept
	err error
}

func (l lost) Error() string { return l.err.Error() }
func (l lost) Unwrap() error { return l.err }

// write makes the answer. Bytes that changed are found here, and nothing is signed: the error is lost.
func (h *holder) write(ctx context.Context, task ledger.Task, find func(ledger.Kept) (cid.Cid, bool)) ([]byte, error) {
	wanted := make([]pieces.Wanted, len(task.Leaves))
	outlines := map[ledger.Kept]*proof.Outline{}
	for i, l := range task.Leaves {
		n := task.Of[i]
		c, ok := find(n)
		if !ok {
			return nil, lost{n, store.ErrNotFound}
		}
		wanted[i] = pieces.Wanted{Held: pieces.Held{CID: c, Piece: l.Of}, Leaf: l.Place}
		if outlines[n] == nil {
			o, err := pieces.Outline(ctx, h.in, wanted[i].Held)
			if errors.Is(err, pieces.ErrPiece) || errors.Is(err, store.ErrNotFound) {
				return nil, lost{n, err}
			}
			if err != nil {
				return nil, err
			}
			outlines[n] = &o
		}
		wanted[i].Outline = outlines[n]
	}
	answer, err := pieces.Answer(ctx, h.in, h.c.genesis.summary.ChainID, task.Challenge, wanted, h.c.keys.Node)
	if err != nil {
		return nil, err
	}
	return answer.Bytes()
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
