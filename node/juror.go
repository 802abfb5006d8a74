package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/auditor"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/trust"
)

// bar is the chain, the keys and the requesters as a juror wants them.
type bar struct {
	c     *chaining
	host  *p2p.Host
	least uint64 // uhpips for 3.6 × 10^12 instructions, below which nothing is run again
}

// leastFor is the price, per workUnit of instructions, below which nothing is run again, where a core's hour costs so much: a program that counts as many instructions as any is taken
// for (pay.Fastest), and was paid for its time, has paid for a second look twice over, as small tasks have a margin.
func leastFor(hour uint64) uint64 { return max(1, hour/(2*pay.Fastest)) }

// budget is how many instructions are run for a payment. Assets other than HPIPS have no price here: for those it runs what a tenth of an HPIPS would be paid for.
func (b bar) budget(denom string, amount uint64) uint64 {
	if denom != money.Denom {
		amount = money.Scale / 10
	}
	hi, lo := bits.Mul64(amount, workUnit)
	if hi >= b.least {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, b.least)
	return q
}

// workUnit is what rates of work are for, in instructions (spec/voucher.Rates).
const workUnit = 3_600_000_000_000

var (
	_ auditor.Chain = bar{}
	_ auditor.Keys  = bar{}
)

// Node is the node's key.
func (b bar) Node() [32]byte { return [32]byte(b.c.keys.Node.Public().(ed25519.PublicKey)) }

// Prove draws.
func (b bar) Prove(alpha []byte) (sortition.Proof, error) {
	return sortition.Prove(b.c.keys.VRF, alpha)
}

// Sign speaks for this node.
func (b bar) Sign(m trust.Matter, commitment [32]byte, work uint64) ([]byte, error) {
	return m.SignVoice(commitment, work, b.c.keys.Node), nil
}

func (b bar) window() (*ledger.Ledger, error) {
	life := b.c.running()
	if life == nil {
		return nil, fmt.Errorf("%w: %w", auditor.ErrAway, errNoChainNode)
	}
	return life.ledger, nil
}

// docket is what stands on the chain as of its last block.
func (b bar) docket(ctx context.Context) (*docket, error) {
	w, err := b.window()
	if err != nil {
		return nil, err
	}
	d, err := b.c.clerk.look(ctx, w, b.c.told.Load(), 0)
	return d, absent(auditor.ErrAway, err)
}

// Standing is this node's.
func (b bar) Standing(ctx context.Context) (auditor.Standing, error) {
	d, err := b.docket(ctx)
	if err != nil {
		return auditor.Standing{}, err
	}
	s, err := d.of(ctx, b.Node())
	return standing(s), absent(auditor.ErrAway, err)
}

// Audits are those that are open.
func (b bar) Audits(ctx context.Context) ([]auditor.Audit, error) {
	list, err := b.docket(ctx)
	if err != nil {
		return nil, err
	}
	var out []auditor.Audit
	for _, a := range list.audits {
		call, err := list.summon(ctx, a.Matter, a.Jurors, a.Height, a.Payer)
		if err != nil {
			return nil, absent(auditor.ErrAway, err)
		}
		out = append(out, auditor.Audit{Call: call, Lease: a.Lease, Draws: a.Draws, Panels: a.Attested, Budget: b.budget(a.Denom, a.Amount)})
	}
	return out, nil
}

var phasesOf = map[string]auditor.Phase{"called": auditor.Waiting, "commit": auditor.Committing, "reveal": auditor.Revealing}

// Disputes are those that are open.
func (b bar) Disputes(ctx context.Context) ([]auditor.Dispute, error) {
	list, err := b.docket(ctx)
	if err != nil {
		return nil, err
	}
	id := sortition.Key(b.Node())
	var out []auditor.Dispute
	for _, d := range list.disputes {
		places := trust.Second
		if d.Matter.Round == 2 {
			places = trust.Third
		}
		call, err := list.summon(ctx, d.Matter, places, d.Height, d.Payer)
		if err != nil {
			return nil, absent(auditor.ErrAway, err)
		}
		for _, juror := range d.Spoken {
			s, err := list.of(ctx, juror)
			if err != nil {
				return nil, absent(auditor.ErrAway, err)
			}
			call.Owners = append(call.Owners, s.Owner)
		}
		one := auditor.Dispute{Call: call, ID: d.Matter.Place, Lease: d.Lease, Phase: phasesOf[d.Phase], Statement: d.Statement, Budget: b.budget(d.Denom, d.Price),
			Committed: slices.Contains(d.Committed, id), Revealed: slices.Contains(d.Revealed, id)}
		if d.Juror {
			one.Point = &d.Point
		}
		out = append(out, one)
	}
	return out, nil
}

// Commit binds this node in a dispute.
func (b bar) Commit(ctx context.Context, d auditor.Dispute, v auditor.Vote) error {
	return b.send(ctx, ledger.CommitVoice(v.Juror[:], d.ID, uint32(d.Matter.Round), v.Proof[:], v.Commitment[:], v.Signature))
}

// Reveal tells what it found.
func (b bar) Reveal(ctx context.Context, d auditor.Dispute, voice trust.Voice, salt [32]byte) error {
	id := b.Node()
	return b.send(ctx, ledger.RevealVoice(id[:], d.ID, uint32(d.Matter.Round), voice, salt))
}

// send hands a free message in; what the chain refuses, it refuses for good.
func (b bar) send(ctx context.Context, m ledger.Message) error {
	w, err := b.window()
	if err != nil {
		return err
	}
	_, err = w.FreeAwait(ctx, m)
	b.c.clerk.forget()
	var no *ledger.Refused
	if errors.As(err, &no) {
		return fmt.Errorf("%w: %w", auditor.ErrRefused, err)
	}
	return err
}

// mostNodes is how many nodes of a payer are asked for a lease of its.
const mostNodes = 8

// dial finds the requester of a lease: one of the nodes of who pays for it.
func (b bar) dial(ctx context.Context, of [32]byte) (auditor.Requester, error) {
	w, err := b.window()
	if err != nil {
		return nil, err
	}
	l, err := w.Lease(ctx, of)
	if err != nil {
		return nil, err
	}
	nodes, err := w.Nodes(ctx, l.Payer)
	if err != nil {
		return nil, err
	}
	h := &hearing{host: b.host}
	for _, n := range nodes {
		if p, err := peer.Decode(n.Node); err == nil && n.Standing == "active" && len(h.peers) < mostNodes {
			h.peers = append(h.peers, p)
		}
	}
	if len(h.peers) == 0 {
		return nil, fmt.Errorf("lease %x: %s, who pays for it, has no node", of[:4], l.Payer)
	}
	return h, nil
}

// hearing is the way to a requester.
type hearing struct {
	host  *p2p.Host
	peers []peer.ID // the first is the one that answered
}

var _ auditor.Requester = (*hearing)(nil)

// Peer has the contents of the statements.
func (h *hearing) Peer() peer.ID { return h.peers[0] }

// Statements asks for what is to be looked at.
func (h *hearing) Statements(ctx context.Context, m trust.Matter, p sortition.Proof) ([]lease.Statement, error) {
	heard, err := h.ask(ctx, question(m, p))
	if err == nil && heard.Stage == lease.StageFilled {
		err = auditor.ErrFull
	}
	return heard.Statements, err
}

// errOthers is for a panel whose other jurors have not committed themselves yet.
var errOthers = errors.New("other jurors have to commit themselves first")

// Commit hands in a commitment, and tells whether the others have.
func (h *hearing) Commit(ctx context.Context, m trust.Matter, v auditor.Vote) error {
	q := question(m, v.Proof)
	q.Vote = &lease.Vote{Commitment: v.Commitment, Work: v.Work, Signature: v.Signature}
	heard, err := h.ask(ctx, q)
	switch {
	case err != nil:
		return err
	case heard.Stage == lease.StageFilled:
		return auditor.ErrFull
	case heard.Stage == lease.StageWaiting:
		return errOthers
	}
	return nil
}

// Reveal tells what was found.
func (h *hearing) Reveal(ctx context.Context, m trust.Matter, p sortition.Proof, says []trust.Say, salt [32]byte) error {
	q := question(m, p)
	q.Voice = &lease.Voice{Says: says, Salt: salt}
	_, err := h.ask(ctx, q)
	return err
}

func question(m trust.Matter, p sortition.Proof) lease.Ask {
	return lease.Ask{Node: m.Node, Sequence: m.Sequence, Place: m.Place, Round: m.Round, Proof: p[:]}
}

// ask asks the nodes in turn until one answers.
func (h *hearing) ask(ctx context.Context, q lease.Ask) (lease.Heard, error) {
	req, err := canon.Encode(q)
	if err != nil {
		return lease.Heard{}, err
	}
	var all error
	for i, p := range h.peers {
		reply, err := h.host.Call(ctx, p, lease.HearingProtocol, req)
		if err != nil {
			all = errors.Join(all, err)
			continue
		}
		h.peers[0], h.peers[i] = h.peers[i], h.peers[0]
		return lease.ReadHeard(reply)
	}
	return lease.Heard{}, all
}
