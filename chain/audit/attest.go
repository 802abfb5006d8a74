package audit

import (
	"context"
	"errors"

	"cosmossdk.io/collections"
	"cosmossdk.io/math"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/auditv1"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/trust"
	"github.com/hpips/hpips/spec/voucher"
)

// attest takes what the jurors of the next panels of an audit found, and pays them.
//
//  1. The audit is open, and these are its next panels.
//  2. The payer signed: it alone knows that they found what the provider said.
//  3. Each panel has as many jurors as it needs, each drawn for it, none twice, none of the same owner or network as another or as the parties.
//  4. They are paid from the lease by the work of what they ran: each place on a panel no more than the redemption in all, so that a payer who knows the jurors cannot empty a lease through them.
//  5. After the last panel the audit is over.
func (k Keeper) attest(ctx sdk.Context, m *auditv1.MsgAttest) error {
	if err := k.shapeAttest(m); err != nil {
		return err
	}
	at := collections.Join(m.Node, m.Sequence)
	a, known, err := found(k.audits.Get(ctx, at))
	switch { // 1
	case err != nil:
		return err
	case !known || a.Until == 0:
		return ErrUnknown.Wrapf("of redemption %d of %x", m.Sequence, m.Node)
	case m.First != a.Attested || m.First+uint64(len(m.Panels)) > a.Panels:
		return ErrPanel.Wrapf("%d to %d, %d of %d are attested", m.First, m.First+uint64(len(m.Panels)), a.Attested, a.Panels)
	}
	bare := *m
	bare.Signature = nil
	if err := checkSigned(ctx, voucher.Attestation, &bare, m.Signature, a.VoucherKey); err != nil { // 2
		return err
	}
	for i, panel := range m.Panels {
		jurors, err := k.panel(ctx, a, m.First+uint64(i), panel) // 3
		if err != nil {
			return err
		}
		work := min(panel.Work, a.Work-a.Looked) // what falls on one leaf in two panels is paid once
		a.Looked += work
		fee := fee(a, m.First+uint64(i), work)
		for _, j := range jurors { // 4
			if _, err := k.Escrow.Hire(ctx, a.Lease, j.node[:], j.Owner, math.NewIntFromUint64(fee)); err != nil {
				return err
			}
		}
	}
	a.Attested += uint64(len(m.Panels))
	if a.Attested < a.Panels {
		return k.audits.Set(ctx, at, a)
	}
	return k.end(ctx, a, "attested") // 5
}

// fee is a juror's for instructions that it ran again: their part of the pay. Where none were counted, what it looked at in a panel is paid as so many mean results.
func fee(a auditv1.Audit, panel, work uint64) uint64 {
	if a.Work > 0 {
		return trust.Leaf{Work: work}.Price(a.Amount, a.Work)
	}
	return trust.Leaf{Work: size(a, panel)}.Price(a.Amount, a.Tasks)
}

// size is how many draws a panel has.
func size(a auditv1.Audit, panel uint64) uint64 {
	return min(trust.PanelSize, a.Draws-panel*trust.PanelSize)
}

// shapeAttest is all that an attestation shows without looking into the state.
func (k Keeper) shapeAttest(m *auditv1.MsgAttest) error {
	if m == nil {
		return ErrMalformed
	}
	if err := k.sender(m.Sender, m.Node); err != nil {
		return err
	}
	if n := len(m.Panels); n < 1 || n > MaxPanels {
		return ErrMalformed.Wrapf("%d panels, 1 to %d go together", n, MaxPanels)
	}
	if len(m.Signature) != voucher.SignatureSize || len(m.Node) != len(sortition.Key{}) {
		return ErrMalformed.Wrap("signature or node")
	}
	for _, p := range m.Panels {
		if len(p.Voices) > trust.Fellows {
			return ErrMalformed.Wrapf("%d jurors of a panel", len(p.Voices))
		}
	}
	return nil
}

// juror is one whose right to speak was proven.
type juror struct {
	node sortition.Key
	Ticket
	beta  sortition.Beta
	rank  sortition.Rank
	voice trust.Voice
}

// panel checks the jurors of one panel: as many as it needs, all of one mind.
func (k Keeper) panel(ctx sdk.Context, a auditv1.Audit, number uint64, p auditv1.Panel) ([]juror, error) {
	if len(p.Voices) != int(a.Jurors) {
		return nil, ErrPanel.Wrapf("%d jurors, it needs %d", len(p.Voices), a.Jurors)
	}
	all := make([]juror, len(p.Voices))
	for i, v := range p.Voices {
		j, err := k.voice(ctx, a, number, p.Work, v)
		if err != nil {
			return nil, err
		}
		if j.voice.Result != trust.Digest(p.Voices[0].Result) {
			return nil, ErrDiffer
		}
		if err := apart(all[:i], j); err != nil {
			return nil, err
		}
		all[i] = j
	}
	return all, nil
}

// voice checks one juror of a panel: it was drawn, and it signed what it said.
func (k Keeper) voice(ctx sdk.Context, a auditv1.Audit, panel, work uint64, v auditv1.Voice) (juror, error) {
	m := PanelMatter(ctx.ChainID(), a, panel)
	j, err := k.drawn(ctx, m, v.Juror, v.Proof, trust.Called(int(a.Jurors)), a.Height, a.Payer)
	if err != nil {
		return j, err
	}
	if len(v.Result) != 32 || len(v.State) != 32 || len(v.Salt) != 32 {
		return j, ErrMalformed.Wrap("voice")
	}
	j.voice = trust.Voice{Result: trust.Digest(v.Result), State: [32]byte(v.State)}
	if err := m.CheckVoice(j.node, trust.Commitment(j.voice, j.node, [32]byte(v.Salt)), work, v.Signature); err != nil {
		return j, ErrSignature.Wrap(err.Error())
	}
	return j, nil
}

// isBarred tells whether a node may be no juror now, as it was found wrong as one. A convicted provider may: a small network needs every juror, and its first wrong word as one bars it.
func (k Keeper) isBarred(ctx context.Context, node []byte) (bool, error) {
	return k.barred.Has(ctx, node)
}

// drawn tells whether a node may be a juror: it has a ticket from before the matter, was not found wrong as a juror not long ago, belongs to nobody whom the matter is about, is in another network than the provider, and its proof wins.
func (k Keeper) drawn(ctx sdk.Context, m trust.Matter, node, proof []byte, called uint64, before int64, parties ...string) (j juror, err error) {
	if j.node, err = sortition.KeyOf(node); err != nil {
		return j, ErrMalformed.Wrap(err.Error())
	}
	p, err := sortition.ProofOf(proof)
	if err != nil {
		return j, ErrMalformed.Wrap(err.Error())
	}
	t, holds, err := k.Committee.Ticket(ctx, j.node, before)
	if err != nil || !holds {
		return j, errors.Join(err, ErrTicket.Wrapf("juror %s", j.node))
	}
	j.Ticket = t
	if barred, err := k.isBarred(ctx, node); err != nil || barred {
		return j, errors.Join(err, ErrBarred.Wrapf("juror %s", j.node))
	}
	owner, err1 := k.owner(ctx, m.Node[:])
	of, _, err2 := k.Committee.Ticket(ctx, m.Node, before)
	if err := errors.Join(err1, err2); err != nil {
		return j, err
	}
	for _, party := range append(parties, owner) {
		if party == j.Owner {
			return j, ErrParty.Wrapf("juror %s", j.node)
		}
	}
	if j.Network != "" && j.Network == of.Network {
		return j, ErrParty.Wrapf("juror %s is in the network of the provider", j.node)
	}
	if j.beta, err = sortition.Verify(t.VRF, m.Alpha(), p); err != nil {
		return j, ErrProof.Wrap(err.Error())
	}
	j.rank = j.beta.Output().Rank(t.Beside)
	if !j.rank.Below(trust.Threshold(k.Committee.Tickets(ctx), called)) {
		return j, ErrLost.Wrapf("juror %s", j.node)
	}
	return j, nil
}

// apart refuses a juror beside another one of its owner or network.
func apart(others []juror, j juror) error {
	for _, o := range others {
		if o.Owner == j.Owner || o.Network != "" && o.Network == j.Network {
			return ErrParty.Wrapf("jurors %s and %s", o.node, j.node)
		}
	}
	return nil
}
