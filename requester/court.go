package requester

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/trust"
	"github.com/hpips/hpips/spec/voucher"
)

// The requester's part in an audit of what it has paid for (docs/rfc/0002-trust.md). It is the one whom a lie would hurt, so jurors turn to it:
//
//  1. attend (sitting.go) looks which audits and disputes of its leases are open.
//  2. Hear (hearing.go) gives a juror that was drawn its statements, keeps its commitment, and lets nobody reveal anything before all are bound.
//  3. judge (sitting.go) compares what a panel said with the leaves, and now and then with what this node finds itself: all alike is attested, anything else is disputed on the chain.

// Hearing is an audit that is open.
type Hearing struct {
	Matter   trust.Matter // of its first panel: Place is the panel's number
	Lease    voucher.ID
	Root     [32]byte
	Span     trust.Span
	Rate     uint64
	Jurors   int // of each panel
	Draws    uint64
	Attested uint64 // panels, from the first on
}

func (h Hearing) draw() trust.Draw { return trust.NewDraw(h.Matter.Seed, h.Root, h.Span, h.Rate) }

func (h Hearing) size() uint64 { return h.Span.TasksBefore + h.Span.Tasks }

// Round is a round of a dispute that is open.
type Round struct {
	Matter trust.Matter
	Lease  voucher.ID
	Place  uint64 // of the leaf
}

// Juror is one that may speak in a matter.
type Juror struct {
	Node    [32]byte
	Owner   string
	Network string // "" where networks do not count
	Beta    sortition.Beta
}

// Attestation is a panel all of whose jurors found what the provider said.
type Attestation struct {
	Panel  uint64
	Work   uint64
	Voices []Testimony
}

// Testimony is what a juror said, with all that proves it.
type Testimony struct {
	Juror     [32]byte
	Proof     sortition.Proof
	Says      []trust.Say
	Salt      [32]byte
	Signature []byte
}

// Question is a leaf about which somebody said something else.
type Question struct {
	Hearing   Hearing
	Place     uint64
	Shown     pay.Shown
	Draw      uint64
	Work      uint64 // of the panel
	Witnesses []Testimony
	Accused   int // number of the witness, from 1; 0: the provider
}

// About is whom it accuses.
func (q Question) About() [32]byte {
	if q.Accused > 0 {
		return q.Witnesses[q.Accused-1].Juror
	}
	return q.Hearing.Matter.Node
}

// ErrNoTicket is for who has no ticket that is good: it ran out, or its node was found wrong.
var ErrNoTicket = errors.New("no ticket is good that it could be drawn by")

// Outcome is how a dispute ended.
type Outcome string

// The outcomes of a dispute: what was said of the accused, or that nobody could tell.
const (
	AccusedRight Outcome = "right"
	AccusedWrong Outcome = "wrong"
	Undecided    Outcome = "undecided" // the jurors differ: the program is not deterministic
	NoJury       Outcome = "no-jury"
)

// Verdict is what a dispute came to.
type Verdict struct {
	Place   uint64 // of the leaf
	Accused [32]byte
	Outcome Outcome
	Again   bool // the same may be asked once more: there was no jury
}

// Court is the chain as the one who pays for what is audited sees it.
type Court interface {
	// Hearings are the audits of this node's leases that are open, and Rounds the disputes.
	Hearings(ctx context.Context) ([]Hearing, error)
	Rounds(ctx context.Context) ([]Round, error)
	// Recent are a node's redemptions whose pay is final, of this node's leases and of others, and until when they can be disputed all the same: zero where the node was not convicted.
	Recent(ctx context.Context, node [32]byte) (all []Hearing, until time.Time, err error)
	// Verdicts are how the last disputes about a redemption ended; known is false where the chain has nothing of it any more.
	Verdicts(ctx context.Context, node [32]byte, sequence uint64) (all []Verdict, known bool, err error)
	// Paid is what jurors were paid from a lease so far; also if the chain has none of it any more.
	Paid(ctx context.Context, of voucher.ID) (uint64, error)
	// Admit tells who a juror is that the chain would hear in a matter with so many places, or why not (ErrNoTicket).
	Admit(ctx context.Context, m trust.Matter, places int, juror [32]byte, proof sortition.Proof) (Juror, error)
	// Attest tells of panels that follow one another, and Dispute of a leaf, both signed as the lease's vouchers are. An error of either may mean that it was done before.
	Attest(ctx context.Context, h Hearing, panels []Attestation) error
	Dispute(ctx context.Context, q Question) error
}

// Examine runs a statement again on this node, and tells the answer, and the states at points.
type Examine func(ctx context.Context, s lease.Statement, points []uint64) (answer trust.Digest, states []trust.Digest, err error)

// panel is one panel of a hearing.
type panel struct {
	hearing   Hearing // as it was when the panel was first asked for; Attested grows
	number    uint64
	seats     []*seat
	dismissed [][32]byte     // jurors that had a place and were wrong, or silent twice: they have none again
	silent    [][32]byte     // jurors that lost their place once, as nothing was heard of them
	judged    bool           // it waits to be attested
	question  *Question      // what its jurors or a canary found
	asked     bool           // and the chain was asked about, or the program is not deterministic: nothing is judged before the verdict
	again     bool           // others lost their places: what those say who are left is looked at, also while some are missing
	vain      map[uint64]int // places about which no jury came together, and how often
}

// seat is a juror that committed itself.
type seat struct {
	juror  Juror
	word   Testimony
	vote   lease.Vote
	spoken bool
	heard  time.Time // when something was heard of it
}

// quiet takes the places of jurors that have said nothing since a time, and have not told what they found: else one of them could keep a panel from its end.
func (p *panel) quiet(since time.Time) {
	if p.judged {
		return
	}
	p.seats = slices.DeleteFunc(p.seats, func(s *seat) bool {
		gone := !s.spoken && s.heard.Before(since)
		switch node := s.juror.Node; {
		case gone && slices.Contains(p.silent, node):
			p.dismissed = append(p.dismissed, node)
		case gone:
			p.silent = append(p.silent, node)
		}
		return gone
	})
}

// first and count are the draws that a panel looks at.
func (p *panel) first() uint64 { return p.number * trust.PanelSize }

func (p *panel) count() uint64 { return min(trust.PanelSize, p.hearing.Draws-p.first()) }

func (p *panel) full() bool { return len(p.seats) >= p.hearing.Jurors }

func (p *panel) spoken() bool {
	return p.full() && !slices.ContainsFunc(p.seats, func(s *seat) bool { return !s.spoken })
}

// due tells whether a panel is to be judged: all have spoken, or all who are left of those who had.
func (p *panel) due() bool {
	return !p.judged && (p.full() || p.again) && len(p.seats) > 0 && !slices.ContainsFunc(p.seats, func(s *seat) bool { return !s.spoken })
}

func (p *panel) of(juror [32]byte) *seat {
	if i := slices.IndexFunc(p.seats, func(s *seat) bool { return s.juror.Node == juror }); i >= 0 {
		return p.seats[i]
	}
	return nil
}

// takes tells whether a juror may have a place beside the others.
func (p *panel) takes(j Juror) bool {
	return !p.full() && !slices.Contains(p.dismissed, j.Node) && !slices.ContainsFunc(p.seats, func(s *seat) bool { return s.juror.Owner == j.Owner || j.Network != "" && s.juror.Network == j.Network })
}

// words are what the witnesses of a panel said, as the chain wants them.
func (p *panel) words() []Testimony {
	all := make([]Testimony, len(p.seats))
	for i, s := range p.seats {
		all[i] = s.word
	}
	return all
}

func (p *panel) matter() trust.Matter {
	m := p.hearing.Matter
	m.Place = p.number
	return m
}
