package audit

import (
	"errors"
	"slices"

	"cosmossdk.io/collections"
	"cosmossdk.io/math"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/auditv1"
	"github.com/hpips/hpips/spec/trust"
	"github.com/hpips/hpips/spec/voucher"
)

// dispute takes a question about a leaf.
//
//  1. The redemption is not final, or its node is convicted.
//  2. The payer signed.
//  3. The leaf is under the redemption's root, within its span.
//  4. Nobody asked that before, or there was no jury each time.
//  5. Witnesses are jurors of the panel whose draw fell on the leaf, and what they say here is what they committed themselves to. Without any it is the payer's own word.
//  6. Somebody said something else than the accused.
//  7. The lease can pay a whole jury; of final pay the bond does.
func (k Keeper) dispute(ctx sdk.Context, m *auditv1.MsgDispute) (uint64, error) {
	if err := k.shapeDispute(m); err != nil {
		return 0, err
	}
	p, err := k.Params(ctx)
	if err != nil {
		return 0, err
	}
	a, final, err := k.disputable(ctx, m) // 1
	if err != nil {
		return 0, err
	}
	bare := *m
	bare.Signature = nil
	if err := checkSigned(ctx, voucher.Question, &bare, m.Signature, a.VoucherKey); err != nil { // 2
		return 0, err
	}
	l := trust.Leaf{Statement: trust.Digest(m.Statement), Result: trust.Digest(m.Result), Work: m.Work, Before: m.Before}
	if err := k.under(a, m, l); err != nil { // 3
		return 0, err
	}
	d := auditv1.Dispute{Node: a.Node, Sequence: a.Sequence, Place: m.Place, Statement: m.Statement, Result: m.Result, Work: m.Work, Before: m.Before, Accused: a.Node,
		Price: k.price(a, l), Denom: a.Denom, Lease: a.Lease, Payer: a.Payer, Final: final, Opened: ctx.BlockHeight()}
	answer := l.Answer()
	d.Claim = answer[:]
	if m.Accused > 0 {
		d.Accused = m.Witnesses[m.Accused-1].Voice.Juror
	}
	if err := k.unasked(ctx, d, m.Attempt); err != nil { // 4
		return 0, err
	}
	if err := k.witnesses(ctx, a, m, l, &d); err != nil { // 5, 6
		return 0, err
	}
	if err := k.affords(ctx, p, d); err != nil { // 7
		return 0, err
	}
	return k.openDispute(ctx, a, d)
}

// shapeDispute is all that a dispute shows without looking into the state.
func (k Keeper) shapeDispute(m *auditv1.MsgDispute) error {
	if m == nil || len(m.Statement) != 32 || len(m.Result) != 32 || len(m.Salt) != 32 || len(m.Signature) != voucher.SignatureSize {
		return ErrMalformed.Wrap("leaf or signature")
	}
	if err := k.sender(m.Sender, m.Node); err != nil {
		return err
	}
	if len(m.Path) > maxPath || len(m.Witnesses) > trust.Fellows || int(m.Accused) > len(m.Witnesses) {
		return ErrMalformed.Wrapf("a path of %d, %d witnesses, of whom number %d is accused", len(m.Path), len(m.Witnesses), m.Accused)
	}
	for _, step := range m.Path {
		if len(step) != 32 {
			return ErrMalformed.Wrap("path")
		}
	}
	for _, w := range m.Witnesses {
		if len(w.Answers) > trust.PanelSize || len(w.States) != len(w.Answers) {
			return ErrMalformed.Wrapf("a witness with %d answers and %d states", len(w.Answers), len(w.States))
		}
		for i := range w.Answers {
			if len(w.Answers[i]) != 32 || len(w.States[i]) != 32 {
				return ErrMalformed.Wrap("answers and states have 32 bytes each")
			}
		}
	}
	return nil
}

// disputable finds the audit whose results may be disputed, and tells whether their pay is final.
func (k Keeper) disputable(ctx sdk.Context, m *auditv1.MsgDispute) (a auditv1.Audit, final bool, err error) {
	at := collections.Join(m.Node, m.Sequence)
	a, known, err := found(k.audits.Get(ctx, at))
	switch {
	case err != nil:
		return a, false, err
	case known && len(a.Seed) == 0:
		return a, false, ErrUnknown.Wrap("its seed is not known yet")
	case known && a.Until == 0 && a.Disputes > 0: // else one after the other could hold up the pay of all that comes later
		return a, false, ErrMany.Wrap("its audit is over: one question at a time")
	case known:
		return a, false, nil
	}
	a, known, err1 := found(k.recent.Get(ctx, at))
	convicted, err2 := k.convictions.Has(ctx, m.Node)
	switch err := errors.Join(err1, err2); {
	case err != nil:
		return a, false, err
	case !known:
		return a, false, ErrUnknown.Wrapf("of redemption %d of %x", m.Sequence, m.Node)
	case !convicted || m.Accused > 0:
		return a, true, ErrFinal
	}
	return a, true, nil
}

// under tells whether the leaf is one of the audit's.
func (k Keeper) under(a auditv1.Audit, m *auditv1.MsgDispute, l trust.Leaf) error {
	path := make([][32]byte, len(m.Path))
	for i, step := range m.Path {
		path[i] = [32]byte(step)
	}
	if m.Place < a.TasksBefore || m.Place >= a.TasksBefore+a.Tasks {
		return ErrLeaf.Wrapf("place %d, they are %d to %d", m.Place, a.TasksBefore, a.TasksBefore+a.Tasks)
	}
	if err := trust.CheckPath([32]byte(a.Root), a.TasksBefore+a.Tasks, m.Place, l.Seal([32]byte(m.Salt)), path); err != nil {
		return ErrLeaf.Wrap(err.Error())
	}
	return nil
}

// unasked tells whether nobody asked before what a dispute is about, but for attempts that found no jury.
func (k Keeper) unasked(ctx sdk.Context, d auditv1.Dispute, attempt uint32) error {
	asked, err1 := k.asked.Has(ctx, about(d))
	vain, _, err2 := found(k.vain.Get(ctx, about(d)))
	err := errors.Join(err1, err2)
	if err == nil && (asked || uint64(attempt) != vain) {
		err = ErrAsked.Wrapf("place %d of %x, about %x, attempt %d", d.Place, d.Lease, d.Accused, attempt)
	}
	return err
}

// about is what a dispute asks: a leaf of a lease, and who is accused.
func about(d auditv1.Dispute) leaf { return collections.Join3(d.Lease, d.Place, d.Accused) }

// price is what was paid for a leaf, 1 at least.
func (k Keeper) price(a auditv1.Audit, l trust.Leaf) uint64 {
	if a.Work == 0 {
		return max(1, (a.Amount+a.Tasks-1)/a.Tasks)
	}
	return max(1, l.Price(a.Amount, a.Work))
}

// witnesses reads what jurors of the panel said about the leaf, and whom the question accuses.
func (k Keeper) witnesses(ctx sdk.Context, a auditv1.Audit, m *auditv1.MsgDispute, l trust.Leaf, d *auditv1.Dispute) error {
	if len(m.Witnesses) == 0 {
		return nil
	}
	if m.Draw >= a.Draws || !draw(a).Hits(m.Draw, m.Place, l) {
		return ErrLeaf.Wrapf("draw %d does not fall on place %d", m.Draw, m.Place)
	}
	panel, within := m.Draw/trust.PanelSize, m.Draw%trust.PanelSize
	var all []juror
	differ := m.Accused > 0 // that a juror made up its state, the payer knows by itself
	for i, w := range m.Witnesses {
		j, err := k.voice(ctx, a, panel, m.PanelWork, w.Voice)
		if err != nil {
			return err
		}
		if err := apart(all, j); err != nil {
			return err
		}
		says := make([]trust.Say, len(w.Answers))
		for n := range says {
			says[n] = trust.Say{Answer: trust.Digest(w.Answers[n]), State: trust.Digest(w.States[n])}
		}
		if uint64(len(says)) != size(a, panel) || trust.Sum(says) != j.voice {
			return ErrOpening.Wrapf("witness %d", i+1)
		}
		say := says[within]
		all, d.First = append(all, j), append(d.First, auditv1.Word{Juror: j.node[:], Answer: say.Answer[:]})
		differ = differ || string(say.Answer[:]) != string(d.Claim)
		if int(m.Accused) == i+1 {
			if answer := l.Answer(); say.Answer != answer { // its point was picked by the work that it found, which must be the leaf's
				return ErrLeaf.Wrapf("witness %d says something else about the result: ask about that", i+1)
			}
			claim := trust.WithState(say.Answer, say.State)
			d.Accused, d.Juror, d.Claim, d.Point = j.node[:], true, claim[:], trust.Point(j.beta[:], l.Statement, l.Work)
		}
	}
	if !differ {
		return ErrAgreed
	}
	return nil
}

// affords tells whether a whole jury can be paid, and whether the lease has room for one more dispute.
func (k Keeper) affords(ctx sdk.Context, p auditv1.Params, d auditv1.Dispute) error {
	open := uint32(0)
	rng := collections.NewPrefixedTripleRange[[]byte, uint64, []byte](d.Lease)
	err := k.asked.Walk(ctx, rng, func(_ leaf, id uint64) (bool, error) {
		there, err := k.disputes.Has(ctx, id)
		if there {
			open++
		}
		return open >= p.Disputes, err
	})
	if err != nil || open >= p.Disputes {
		return errors.Join(err, ErrMany.Wrapf("%d", open))
	}
	need := math.NewIntFromUint64(trust.SetAside(d.Price)) // what other disputes of the lease keep aside is not free
	have, err := k.Bond.Held(ctx, [32]byte(d.Node), d.Denom)
	if !d.Final {
		need = need.MulRaw(int64(open) + 1)
		have, err = k.Escrow.Free(ctx, d.Lease)
	}
	if err == nil && have.LT(need) {
		err = ErrAside.Wrapf("%s of %s%s", have, need, d.Denom)
	}
	return err
}

// openDispute keeps a new dispute: it waits for the next seed to draw its jurors. That the same question found no jury before is forgotten.
func (k Keeper) openDispute(ctx sdk.Context, a auditv1.Audit, d auditv1.Dispute) (uint64, error) {
	last, _, err := found(k.last.Get(ctx))
	if err != nil {
		return 0, err
	}
	d.Id, d.Round, d.Phase = last+1, 1, auditv1.PHASE_CALLED
	d.DueHeight = height(ctx) + 1
	kept := k.recent
	if !d.Final {
		a.Disputes++
		kept = k.audits
	}
	a.Verdicts = slices.DeleteFunc(a.Verdicts, func(v auditv1.Verdict) bool { return v.Place == d.Place && string(v.Accused) == string(d.Accused) })
	emit(ctx, "hpips_dispute", "what", "opened", "dispute", number(d.Id), "node", digits(d.Node), "sequence", number(d.Sequence), "place", number(d.Place), "lease", digits(d.Lease), "payer", d.Payer,
		"accused", digits(d.Accused), "price", number(d.Price)+d.Denom)
	return d.Id, errors.Join(kept.Set(ctx, collections.Join(a.Node, a.Sequence), a), k.last.Set(ctx, d.Id), k.disputes.Set(ctx, d.Id, d), k.dues.Set(ctx, collections.Join(d.DueHeight, d.Id)),
		k.asked.Set(ctx, about(d), d.Id), k.hold(ctx, d.Lease, true))
}
