package node

import (
	"context"
	"fmt"
	"time"

	"github.com/hpips/hpips/auditor"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/requester"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/trust"
	"github.com/hpips/hpips/spec/voucher"
)

// court is the chain as a requester wants it whose paid results are audited.
type court struct{ t *till }

var _ requester.Court = (*court)(nil)

// fresh is for how long what was seen of the chain's audits is good: jurors come in swarms, and ask for the same.
const fresh = time.Second

// look asks the chain for its audits and disputes.
func (c *court) look(ctx context.Context) ([]ledger.Audit, []ledger.Dispute, error) {
	w := c.t.window()
	if w == nil {
		return nil, nil, errNoChainNode
	}
	d, err := c.t.chain.clerk.look(ctx, w, c.t.chain.told.Load(), fresh)
	if err != nil {
		return nil, nil, err
	}
	return d.audits, d.disputes, nil
}

// Hearings are the audits of leases that this node pays.
func (c *court) Hearings(ctx context.Context) ([]requester.Hearing, error) {
	audits, _, err := c.look(ctx)
	var ours []requester.Hearing
	for _, a := range audits {
		if c.t.paysFrom(a.Payer) {
			ours = append(ours, hearingOf(a))
		}
	}
	return ours, err
}

func hearingOf(a ledger.Audit) requester.Hearing {
	return requester.Hearing{Matter: a.Matter, Lease: a.Lease, Root: a.Root, Span: a.Span, Rate: a.Rate, Jurors: a.Jurors, Draws: a.Draws, Attested: a.Attested}
}

// Recent are a node's redemptions that can still be disputed if it was convicted.
func (c *court) Recent(ctx context.Context, node [32]byte) (all []requester.Hearing, until time.Time, err error) {
	w := c.t.window()
	if w == nil {
		return nil, until, errNoChainNode
	}
	recent, until, err := w.Recent(ctx, node[:])
	for _, a := range recent {
		all = append(all, hearingOf(a))
	}
	return all, until, err
}

// Verdicts are how the disputes about a redemption ended.
func (c *court) Verdicts(ctx context.Context, node [32]byte, sequence uint64) (all []requester.Verdict, known bool, err error) {
	w := c.t.window()
	if w == nil {
		return nil, false, errNoChainNode
	}
	told, known, err := w.Verdicts(ctx, node[:], sequence)
	for _, v := range told {
		all = append(all, requester.Verdict{Place: v.Place, Accused: v.Accused, Outcome: requester.Outcome(v.Outcome), Again: v.Next > 0})
	}
	return all, known, err
}

// Rounds are the disputes about them.
func (c *court) Rounds(ctx context.Context) ([]requester.Round, error) {
	_, rounds, err := c.look(ctx)
	var ours []requester.Round
	for _, d := range rounds {
		if c.t.paysFrom(d.Payer) && d.Phase != "called" {
			ours = append(ours, requester.Round{Matter: d.Matter, Lease: d.Lease, Place: d.Place})
		}
	}
	return ours, err
}

// Paid is what jurors have from a lease.
func (c *court) Paid(ctx context.Context, of voucher.ID) (uint64, error) {
	w := c.t.window()
	if w == nil {
		return 0, errNoChainNode
	}
	return w.JuryPay(ctx, of)
}

// Admit asks the chain who a juror is, and whether it was drawn.
func (c *court) Admit(ctx context.Context, m trust.Matter, places int, juror [32]byte, proof sortition.Proof) (requester.Juror, error) {
	audits, rounds, err := c.look(ctx)
	if err != nil {
		return requester.Juror{}, err
	}
	w := c.t.window()
	if w == nil {
		return requester.Juror{}, errNoChainNode
	}
	height, payer := int64(0), ""
	for _, a := range audits {
		if m.Round == 0 && a.Matter.Node == m.Node && a.Matter.Sequence == m.Sequence {
			height, payer = a.Height, a.Payer
		}
	}
	for _, d := range rounds {
		if m.Round > 0 && d.Matter == m {
			height, payer = d.Height, d.Payer
		}
	}
	ask := standings{w: w, known: map[sortition.Key]ledger.Standing{}}
	call, err := ask.summon(ctx, m, places, height, payer)
	if err != nil {
		return requester.Juror{}, err
	}
	s, err := ask.of(ctx, juror)
	if err != nil {
		return requester.Juror{}, err
	}
	if !s.Holds {
		return requester.Juror{}, fmt.Errorf("juror %x: %w", juror[:4], requester.ErrNoTicket)
	}
	beta, err := sortition.Verify(s.VRF, m.Alpha(), proof)
	if err != nil {
		return requester.Juror{}, fmt.Errorf("juror %x: %w", juror[:4], err)
	}
	if !call.Admits(standing(s), beta) {
		return requester.Juror{}, fmt.Errorf("juror %x was not drawn", juror[:4])
	}
	return requester.Juror{Node: juror, Owner: s.Owner, Network: s.Network, Beta: beta}, nil
}

// Attest tells the chain what panels found.
func (c *court) Attest(ctx context.Context, h requester.Hearing, panels []requester.Attestation) error {
	all := make([]ledger.Panel, len(panels))
	for i, p := range panels {
		all[i] = ledger.Panel{Work: p.Work, Voices: voices(p.Voices)}
	}
	m, err := ledger.Attest(ledger.Audit{Matter: h.Matter}, panels[0].Panel, all, c.t.secret)
	if err != nil {
		return err
	}
	return c.send(ctx, m)
}

// Dispute asks about a leaf.
func (c *court) Dispute(ctx context.Context, q requester.Question) error {
	l := ledger.Leaf{Place: q.Place, Leaf: q.Shown.Leaf, Salt: q.Shown.Salt, Path: q.Shown.Path}
	attempt, err := c.attempt(ctx, q)
	if err != nil {
		return err
	}
	m, err := ledger.DisputeLeaf(ledger.Audit{Matter: q.Hearing.Matter}, l, q.Draw, q.Work, voices(q.Witnesses), q.Accused, attempt, c.t.secret)
	if err != nil {
		return err
	}
	if err = c.send(ctx, m); ledger.IsAsked(err) {
		return nil // in an earlier life, or by another finding
	}
	return err
}

// attempt is how often a question found no jury before.
func (c *court) attempt(ctx context.Context, q requester.Question) (uint32, error) {
	w := c.t.window()
	if w == nil {
		return 0, errNoChainNode
	}
	m := q.Hearing.Matter
	told, _, err := w.Verdicts(ctx, m.Node[:], m.Sequence)
	for _, v := range told {
		if v.Place == q.Place && v.Accused == sortition.Key(q.About()) {
			return v.Next, nil
		}
	}
	return 0, err
}

func (c *court) send(ctx context.Context, m ledger.Message) error {
	w := c.t.window()
	if w == nil {
		return errNoChainNode
	}
	_, err := w.FreeAwait(ctx, m)
	c.t.chain.clerk.forget()
	return err
}

func voices(all []requester.Testimony) []ledger.Voice {
	out := make([]ledger.Voice, len(all))
	for i, v := range all {
		out[i] = ledger.Voice{Juror: v.Juror, Proof: v.Proof, Says: v.Says, Salt: v.Salt, Signature: v.Signature}
	}
	return out
}

// examine lets an examiner of this node look after jurors. While its owner shares nothing it does not: the jobs that wait for it are the owner's own.
func examine(e *auditor.Examiner) requester.Examine {
	e = e.AtOnce()
	return func(ctx context.Context, s lease.Statement, points []uint64) (trust.Digest, []trust.Digest, error) {
		var rules []auditor.Rule
		for _, p := range points {
			rules = append(rules, auditor.At(p))
		}
		f, err := e.Examine(ctx, s, rules)
		return f.Answer, f.States, err
	}
}
