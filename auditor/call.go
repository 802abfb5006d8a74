package auditor

import (
	"slices"

	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/trust"
)

// Call is a matter for which jurors may come, and who may.
type Call struct {
	Matter  trust.Matter
	Places  int
	Height  int64    // a ticket must be older
	Owners  []string // whose nodes may not come: the provider's and the payer's
	Network string   // of the provider; "" where it is not known
}

// Standing is what the chain knows of a node.
type Standing struct {
	Owner   string
	Network string
	Holds   bool   // a ticket
	Since   int64  // height of it; 0: it is of genesis
	Beside  uint64 // tickets of its network, its own among them
	Tickets uint64 // of all
}

// Admits tells whether a node may be a juror, whose verifiable random function gave beta for the matter.
func (c Call) Admits(s Standing, beta sortition.Beta) bool {
	if !s.Holds || s.Since >= c.Height || slices.Contains(c.Owners, s.Owner) || s.Network != "" && s.Network == c.Network {
		return false
	}
	return beta.Output().Rank(s.Beside).Below(trust.Threshold(s.Tickets, trust.Called(c.Places)))
}

// Audit is one that is open, in the words of the chain.
type Audit struct {
	Call            // without the number of the panel
	Lease  [32]byte // as the chain knows it
	Draws  uint64
	Panels uint64 // that are attested, from the first on
	Budget uint64 // instructions that this node runs for what is paid, of all draws of a panel together; 0: it is not worth its while
}

// mostPanels is how many panels of one audit a juror looks at, the first ones: they are attested in order, and whoever redeems says how many there are.
const mostPanels = 64

// Open lists the calls for the panels that nobody has attested.
func (a Audit) Open() []Call {
	var calls []Call
	for panel := a.Panels; panel < min(trust.Panels(a.Draws), a.Panels+mostPanels); panel++ {
		c := a.Call
		c.Matter.Place = panel
		calls = append(calls, c)
	}
	return calls
}

// Drawn gives the numbers of the draws of a panel: from first on, n of them.
func (a Audit) Drawn(panel uint64) (first, n uint64) {
	first = panel * trust.PanelSize
	return first, min(trust.PanelSize, a.Draws-min(a.Draws, first))
}

// Phase is where a round of a dispute stands.
type Phase int

// The phases in which a juror has something to do.
const (
	Waiting    Phase = iota // for its seed
	Committing              // commitments are taken
	Revealing               // what they bind is told
)

// Dispute is one round of an open question about a leaf.
type Dispute struct {
	Call
	ID        uint64
	Lease     [32]byte
	Phase     Phase
	Statement trust.Digest
	Point     *uint64 // a juror is accused, whose state was taken down there; nil: the provider is
	Budget    uint64  // as of an audit
	Committed bool    // by this node, in this round
	Revealed  bool
}

// rules are the juror's own, and the point of the one that is accused.
func (d Dispute) rules(own Rule) []Rule {
	if d.Point == nil {
		return []Rule{own}
	}
	return []Rule{own, At(*d.Point)}
}

// answer is what a juror says to the question, having found f by those rules.
func (d Dispute) answer(f Finding) trust.Digest {
	if d.Point == nil {
		return f.Answer
	}
	return trust.WithState(f.Answer, f.States[1])
}
