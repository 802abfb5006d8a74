package ledger

import (
	"context"
	"errors"
	"slices"
	"time"

	sdkquery "github.com/cosmos/cosmos-sdk/types/query"

	"github.com/hpips/hpips/proto/gen/auditv1"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/trust"
	"github.com/hpips/hpips/spec/voucher"
)

// Audit is what the chain drew from a redemption whose pay is not final.
type Audit struct {
	Matter   trust.Matter // of its first panel
	Lease    [32]byte
	Payer    string
	Denom    string
	Amount   uint64 // base units
	Root     [32]byte
	Span     trust.Span
	Rate     uint64 // millionths
	Jurors   int    // of each panel
	Draws    uint64
	Attested uint64 // panels
	Height   int64  // of the redemption: jurors' tickets are older
}

// Dispute is one question about a leaf that is open.
type Dispute struct {
	Matter    trust.Matter // of its round
	Lease     [32]byte
	Payer     string
	Place     uint64 // of the leaf
	Statement [32]byte
	Denom     string
	Price     uint64 // of the result
	Phase     string // called, commit or reveal
	Juror     bool   // a juror is accused, whose state was taken down at Point
	Point     uint64
	Height    int64 // at which it was opened
	Spoken    []sortition.Key
	Committed []sortition.Key // in this round
	Revealed  []sortition.Key
}

// Standing is what a node may be drawn by.
type Standing struct {
	Owner   string
	VRF     sortition.Key
	Network string
	Holds   bool  // a ticket
	Since   int64 // 0: it is of genesis
	Beside  uint64
	Tickets uint64
}

// Audits lists the audits that are open.
func (l *Ledger) Audits(ctx context.Context) ([]Audit, error) {
	chain, err := l.Chain(ctx)
	if err != nil {
		return nil, err
	}
	var all []Audit
	for page := (&sdkquery.PageRequest{Limit: 500}); ; {
		r, err := auditv1.NewQueryClient(l.now()).Audits(ctx, &auditv1.QueryAuditsRequest{Pagination: page})
		if err != nil {
			return nil, err
		}
		for _, a := range r.Audits {
			if a.Until == 0 || len(a.Seed) != 32 {
				continue // it is over, or not drawn yet
			}
			all = append(all, audited(chain, a))
		}
		if page.Key = r.Pagination.GetNextKey(); len(page.Key) == 0 {
			return all, nil
		}
	}
}

func audited(chain string, a auditv1.Audit) Audit {
	return Audit{Matter: trust.Matter{Chain: chain, Node: [32]byte(a.Node), Sequence: a.Sequence, Seed: [32]byte(a.Seed)}, Lease: [32]byte(a.Lease), Payer: a.Payer, Denom: a.Denom, Amount: a.Amount, Root: [32]byte(a.Root),
		Span: trust.Span{TasksBefore: a.TasksBefore, Tasks: a.Tasks, WorkBefore: a.WorkBefore, Work: a.Work}, Rate: a.Rate, Jurors: int(a.Jurors), Draws: a.Draws, Attested: a.Attested, Height: a.Height}
}

// Disputes lists those that are open.
func (l *Ledger) Disputes(ctx context.Context) ([]Dispute, error) {
	chain, err := l.Chain(ctx)
	if err != nil {
		return nil, err
	}
	var all []Dispute
	for page := (&sdkquery.PageRequest{Limit: 500}); ; {
		r, err := auditv1.NewQueryClient(l.now()).Disputes(ctx, &auditv1.QueryDisputesRequest{Pagination: page})
		if err != nil {
			return nil, err
		}
		for _, d := range r.Disputes {
			all = append(all, disputed(chain, d, r.Commitments))
		}
		if page.Key = r.Pagination.GetNextKey(); len(page.Key) == 0 {
			return all, nil
		}
	}
}

var disputePhases = map[auditv1.Phase]string{auditv1.PHASE_CALLED: "called", auditv1.PHASE_COMMIT: "commit", auditv1.PHASE_REVEAL: "reveal"}

func disputed(chain string, d auditv1.Dispute, commitments []auditv1.Commitment) Dispute {
	one := Dispute{Lease: [32]byte(d.Lease), Payer: d.Payer, Place: d.Place, Statement: [32]byte(d.Statement), Denom: d.Denom, Price: d.Price, Phase: disputePhases[d.Phase], Juror: d.Juror, Point: d.Point, Height: d.Opened}
	if len(d.Seed) == 32 {
		one.Matter = trust.Matter{Chain: chain, Node: [32]byte(d.Node), Sequence: d.Sequence, Place: d.Id, Round: uint64(d.Round), Seed: [32]byte(d.Seed)}
	}
	for _, w := range d.First {
		one.Spoken = append(one.Spoken, sortition.Key(w.Juror))
	}
	for _, c := range commitments {
		if c.Dispute != d.Id {
			continue
		}
		juror := sortition.Key(c.Juror)
		one.Spoken = append(one.Spoken, juror)
		if c.Round != d.Round {
			continue
		}
		one.Committed = append(one.Committed, juror)
		if len(c.Answer) > 0 {
			one.Revealed = append(one.Revealed, juror)
		}
	}
	return one
}

// Standing tells what a node may be drawn by.
func (l *Ledger) Standing(ctx context.Context, node []byte) (Standing, error) {
	r, err := auditv1.NewQueryClient(l.now()).Standing(ctx, &auditv1.QueryStandingRequest{Node: node})
	if err != nil {
		return Standing{}, err
	}
	s := Standing{Owner: r.Owner, Holds: r.Holds, Network: r.Network, Since: r.Since, Beside: r.Beside, Tickets: r.Tickets}
	if r.Holds {
		s.VRF, err = sortition.KeyOf(r.VrfKey)
	}
	return s, err
}

// Voice is what a juror of a panel said.
type Voice struct {
	Juror     [32]byte
	Proof     sortition.Proof
	Says      []trust.Say
	Salt      [32]byte
	Signature []byte
}

func (v Voice) word() auditv1.Voice {
	sum := trust.Sum(v.Says)
	return auditv1.Voice{Juror: v.Juror[:], Proof: v.Proof[:], Result: sum.Result[:], State: sum.State[:], Salt: v.Salt[:], Signature: v.Signature}
}

// Panel is one all of whose jurors found what the provider said.
type Panel struct {
	Work   uint64
	Voices []Voice
}

// Attest tells of panels from first on, signed by the lease's voucher key. It is free.
func Attest(a Audit, first uint64, panels []Panel, secret []byte) (Message, error) {
	m := &auditv1.MsgAttest{Sender: sender(a.Matter.Node[:]), Node: a.Matter.Node[:], Sequence: a.Matter.Sequence, First: first}
	for _, p := range panels {
		one := auditv1.Panel{Work: p.Work}
		for _, v := range p.Voices {
			one.Voices = append(one.Voices, v.word())
		}
		m.Panels = append(m.Panels, one)
	}
	var err error
	m.Signature, err = signMessage(voucher.Attestation, a.Matter.Chain, m, secret)
	return m, err
}

// Leaf is one that is disputed, with its proof.
type Leaf struct {
	Place uint64
	Leaf  trust.Leaf
	Salt  [32]byte
	Path  [][32]byte
}

// DisputeLeaf asks about a leaf that a draw of a panel fell on, of which the voices say something else, signed by the lease's voucher key; accused is the number of a voice whose state
// is in doubt, from 1, or 0; attempt is what the last verdict about the same says (Next), 0 the first time. It is free.
func DisputeLeaf(a Audit, l Leaf, draw, work uint64, voices []Voice, accused int, attempt uint32, secret []byte) (Message, error) {
	m := &auditv1.MsgDispute{Sender: sender(a.Matter.Node[:]), Node: a.Matter.Node[:], Sequence: a.Matter.Sequence, Place: l.Place, Statement: l.Leaf.Statement[:], Result: l.Leaf.Result[:],
		Work: l.Leaf.Work, Before: l.Leaf.Before, Salt: l.Salt[:], Draw: draw, PanelWork: work, Accused: uint32(accused), Attempt: attempt}
	for _, step := range l.Path {
		m.Path = append(m.Path, slices.Clone(step[:]))
	}
	for _, v := range voices {
		w := auditv1.Witness{Voice: v.word()}
		for _, s := range v.Says {
			w.Answers, w.States = append(w.Answers, slices.Clone(s.Answer[:])), append(w.States, slices.Clone(s.State[:]))
		}
		m.Witnesses = append(m.Witnesses, w)
	}
	var err error
	m.Signature, err = signMessage(voucher.Question, a.Matter.Chain, m, secret)
	return m, err
}

// CommitVoice binds a juror in a round of a dispute. It is free.
func CommitVoice(juror []byte, dispute uint64, round uint32, proof, commitment, signature []byte) Message {
	return &auditv1.MsgCommit{Sender: sender(juror), Juror: juror, Dispute: dispute, Round: round, Proof: proof, Commitment: commitment, Signature: signature}
}

// RevealVoice tells what a commitment binds. It is free.
func RevealVoice(juror []byte, dispute uint64, round uint32, v trust.Voice, salt [32]byte) Message {
	return &auditv1.MsgReveal{Sender: sender(juror), Juror: juror, Dispute: dispute, Round: round, Answer: v.Result[:], State: v.State[:], Salt: salt[:]}
}

// Recent lists a node's last redemptions whose pay is final, and tells until when they can be disputed, as the node was convicted; the zero time: it was not.
func (l *Ledger) Recent(ctx context.Context, node []byte) (all []Audit, until time.Time, err error) {
	chain, err := l.Chain(ctx)
	if err != nil {
		return nil, until, err
	}
	r, err := auditv1.NewQueryClient(l.now()).Recent(ctx, &auditv1.QueryRecentRequest{Node: node})
	if err != nil {
		return nil, until, err
	}
	if r.Conviction != nil {
		until = time.Unix(r.Conviction.Until, 0)
	}
	for _, a := range r.Audits {
		if len(a.Seed) == 32 {
			all = append(all, audited(chain, a))
		}
	}
	return all, until, nil
}

// Verdict is how a dispute ended: right, wrong, undecided or no-jury; the accused was.
type Verdict struct {
	Place   uint64 // of the leaf among the lease's results
	Accused sortition.Key
	Outcome string
	Next    uint32 // without a jury: the attempt by which the same may be asked again; 0: it may not
}

var verdictWords = map[auditv1.Outcome]string{auditv1.OUTCOME_RIGHT: "right", auditv1.OUTCOME_WRONG: "wrong", auditv1.OUTCOME_UNDECIDED: "undecided", auditv1.OUTCOME_NO_JURY: "no-jury"}

// Verdicts lists how the last disputes about a redemption ended. known is false where the chain knows nothing of it any more.
func (l *Ledger) Verdicts(ctx context.Context, node []byte, sequence uint64) (all []Verdict, known bool, err error) {
	r, err := auditv1.NewQueryClient(l.now()).Audit(ctx, &auditv1.QueryAuditRequest{Node: node, Sequence: sequence})
	var no *Refused
	switch {
	case errors.As(err, &no): // there is no other reason
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	for _, v := range r.Audit.Verdicts {
		accused, err := sortition.KeyOf(v.Accused)
		if err != nil {
			return nil, false, err
		}
		all = append(all, Verdict{v.Place, accused, verdictWords[v.Outcome], v.Next})
	}
	return all, true, nil
}

// signMessage signs a message that has no signature yet.
func signMessage(use voucher.Use, chain string, m interface{ Marshal() ([]byte, error) }, secret []byte) ([]byte, error) {
	b, err := m.Marshal()
	if err != nil {
		return nil, err
	}
	return voucher.SignMessage(use, chain, b, secret)
}

// IsAsked tells whether the chain refused a dispute because the same was asked before.
func IsAsked(err error) bool {
	var no *Refused
	return errors.As(err, &no) && no.is("audit", codeAsked)
}

// codeAsked is chain/audit's ErrAsked.
const codeAsked = 16
