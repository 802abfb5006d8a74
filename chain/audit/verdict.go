package audit

import (
	"bytes"
	"errors"
	"slices"

	"cosmossdk.io/collections"
	"cosmossdk.io/math"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/auditv1"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/trust"
)

// everything is a bond that is large enough: the bond itself gives no more than there is, also of a node that leaves.
const everything = ^uint64(0)

// decide ends a round of a dispute.
//
//  1. The panel: of those who revealed, the lowest ranks, as many as the round has places. Too few: there is no jury, and nobody was right or wrong.
//  2. Who committed itself and did not reveal is fined, as one who was wrong.
//  3. All three alike, or four of seven, decide; three who differ are paid when it is decided, and seven fresh ones look.
//  4. Right jurors are paid, wrong ones fined, of this round and of those before; then the accused, if it was wrong.
func (k Keeper) decide(ctx sdk.Context, d auditv1.Dispute) error {
	all, err := k.voices(ctx, d.Id, d.Round)
	if err != nil {
		return err
	}
	var answers []trust.Digest
	for _, c := range panelOf(all, d.Round) { // 1
		answers = append(answers, trust.Digest(c.Answer))
	}
	if len(answers) < Places(d.Round) {
		return k.conclude(ctx, d, trust.Verdict{Outcome: trust.Undecided}, auditv1.OUTCOME_NO_JURY)
	}
	v, err := trust.JudgeRound(int(d.Round), answers)
	switch {
	case err != nil:
		return err
	case v.Outcome == trust.Escalate:
		return k.escalate(ctx, d)
	case v.Outcome == trust.Undecided:
		return k.conclude(ctx, d, v, auditv1.OUTCOME_UNDECIDED)
	case string(v.Truth[:]) == string(d.Claim):
		return k.conclude(ctx, d, v, auditv1.OUTCOME_RIGHT)
	}
	return k.conclude(ctx, d, v, auditv1.OUTCOME_WRONG)
}

// voices are the commitments of a round of a dispute.
func (k Keeper) voices(ctx sdk.Context, id uint64, round uint32) (all []auditv1.Commitment, err error) {
	rng := collections.NewSuperPrefixedTripleRange[uint64, uint64, []byte](id, uint64(round))
	err = k.commits.Walk(ctx, rng, func(_ choice, c auditv1.Commitment) (bool, error) {
		all = append(all, c)
		return false, nil
	})
	return all, err
}

// panelOf is who decides: the lowest ranks of those who revealed.
func panelOf(all []auditv1.Commitment, round uint32) []auditv1.Commitment {
	all = slices.DeleteFunc(slices.Clone(all), func(c auditv1.Commitment) bool { return len(c.Answer) == 0 })
	slices.SortFunc(all, func(a, b auditv1.Commitment) int {
		if by := bytes.Compare(a.Rank, b.Rank); by != 0 {
			return by
		}
		return bytes.Compare(a.Juror, b.Juror)
	})
	return all[:min(len(all), Places(round))]
}

// escalate calls seven fresh jurors.
func (k Keeper) escalate(ctx sdk.Context, d auditv1.Dispute) error {
	d.Round, d.Phase, d.DueHeight, d.DueTime = d.Round+1, auditv1.PHASE_CALLED, height(ctx)+1, 0
	emit(ctx, "hpips_dispute", "what", "escalated", "dispute", number(d.Id), "round", number(d.Round))
	return k.put(ctx, d)
}

// outcomes are the words of events.
var outcomes = map[auditv1.Outcome]string{auditv1.OUTCOME_RIGHT: "right", auditv1.OUTCOME_WRONG: "wrong", auditv1.OUTCOME_UNDECIDED: "undecided", auditv1.OUTCOME_NO_JURY: "no-jury"}

// conclude ends a dispute: jurors first, the accused next, then the audit that it held up.
func (k Keeper) conclude(ctx sdk.Context, d auditv1.Dispute, v trust.Verdict, what auditv1.Outcome) error {
	next, err1 := k.next(ctx, d, what)
	sides, err2 := k.reckon(ctx, d, v)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if next > 0 { // whoever is a witness then is paid then
		sides.right = slices.DeleteFunc(sides.right, func(j []byte) bool { return spokeFirst(d, j) })
	}
	var err error
	if d, err = k.payJurors(ctx, d, sides.right); err != nil {
		return err
	}
	for _, j := range append(sides.wrong, sides.silent...) {
		if d, err = k.fine(ctx, d, j); err != nil {
			return err
		}
	}
	for _, j := range sides.wrong {
		if err := k.bar(ctx, j); err != nil {
			return err
		}
	}
	emit(ctx, "hpips_verdict", "what", outcomes[what], "dispute", number(d.Id), "node", digits(d.Node), "sequence", number(d.Sequence), "place", number(d.Place), "lease", digits(d.Lease), "payer", d.Payer,
		"accused", digits(d.Accused), "statement", digits(d.Statement), "truth", digits(v.Truth[:]), "rounds", number(d.Round), "spent", number(d.Spent)+d.Denom)
	if next > 0 {
		err = errors.Join(k.asked.Remove(ctx, about(d)), k.vain.Set(ctx, about(d), uint64(next)))
	}
	if err := errors.Join(err, k.close(ctx, d, what, next)); err != nil || what != auditv1.OUTCOME_WRONG {
		return err
	}
	return k.convict(ctx, d, sides.right)
}

// mostAttempts is how often a question is good for that finds no jury each time. Who reveals in vain is paid each time, and somebody may see to it that others are too few.
const mostAttempts = 4

// next is the attempt by which what a dispute asked may be asked once more: it found no jury, and its audit is open. One that is passed waits for nothing more: else its payer could hold up the pay for as long as it likes. 0: it may not.
func (k Keeper) next(ctx sdk.Context, d auditv1.Dispute, what auditv1.Outcome) (uint32, error) {
	vain, _, err1 := found(k.vain.Get(ctx, about(d)))
	a, known, err2 := found(k.audits.Get(ctx, collections.Join(d.Node, d.Sequence)))
	open := d.Final || known && a.Until != 0 // of final pay nothing is held up, and its time is that of the conviction
	if err := errors.Join(err1, err2); err != nil || what != auditv1.OUTCOME_NO_JURY || !open || vain+1 >= mostAttempts {
		return 0, err
	}
	return uint32(vain) + 1, nil
}

// spokeFirst tells whether a node is a witness of a dispute.
func spokeFirst(d auditv1.Dispute, node []byte) bool {
	return slices.ContainsFunc(d.First, func(w auditv1.Word) bool { return string(w.Juror) == string(node) })
}

// sides are the jurors of all rounds by what came of their word.
type sides struct {
	right  [][]byte // are paid
	wrong  [][]byte // are fined, and barred
	silent [][]byte // committed themselves and did not reveal: are fined
}

// reckon tells of each juror whether it is paid or fined. With a truth, all who said something else were wrong; without one nobody was. Who committed itself and is silent is fined in any case,
// but may be a juror again: a node that goes off has told no lie.
// Who was right and had no place on a panel gets nothing: the lease pays one full jury.
func (k Keeper) reckon(ctx sdk.Context, d auditv1.Dispute, v trust.Verdict) (s sides, err error) {
	truth := v.Outcome == trust.Agreed
	if !d.Juror { // what a panel is asked again about is no juror's word on the result
		for _, w := range d.First {
			if truth && string(w.Answer) != string(v.Truth[:]) {
				s.wrong = append(s.wrong, w.Juror)
			} else {
				s.right = append(s.right, w.Juror)
			}
		}
	}
	for round := uint32(1); round <= d.Round; round++ {
		all, err := k.voices(ctx, d.Id, round)
		if err != nil {
			return s, err
		}
		wrong := func(c auditv1.Commitment) bool { return truth && string(c.Answer) != string(v.Truth[:]) }
		for _, c := range all {
			if len(c.Answer) == 0 {
				s.silent = append(s.silent, c.Juror)
			} else if wrong(c) {
				s.wrong = append(s.wrong, c.Juror)
			}
		}
		for _, c := range panelOf(all, round) {
			if !wrong(c) {
				s.right = append(s.right, c.Juror)
			}
		}
	}
	return s, nil
}

// payJurors pays each juror the price of the result from the lease, as far as it goes. Of final pay the bond pays them, with what is slashed.
func (k Keeper) payJurors(ctx sdk.Context, d auditv1.Dispute, jurors [][]byte) (auditv1.Dispute, error) {
	if d.Final {
		return d, nil
	}
	for _, j := range jurors {
		owner, err := k.owner(ctx, j)
		if err != nil {
			return d, err
		}
		paid, err := k.Escrow.Hire(ctx, d.Lease, j, owner, math.NewIntFromUint64(d.Price))
		if err != nil {
			return d, err
		}
		d.Spent += paid.Uint64()
	}
	return d, nil
}

// fine takes min(B, V) from a juror's bond: to the payer what its lease spent for jurors, the rest to the fund.
func (k Keeper) fine(ctx sdk.Context, d auditv1.Dispute, j []byte) (auditv1.Dispute, error) {
	taken, err := k.slash(ctx, d, j, trust.JurorFine(d.Price, everything), Refund{d.Payer, math.NewIntFromUint64(d.Spent)})
	d.Spent -= min(d.Spent, taken)
	emit(ctx, "hpips_juror_fined", "dispute", number(d.Id), "juror", digits(j), "amount", number(taken)+d.Denom)
	return d, err
}

// bar lets a juror that was wrong be none for a time: its next lie costs nothing where its bond is gone, or where it has none yet.
func (k Keeper) bar(ctx sdk.Context, node []byte) error {
	p, err := k.Params(ctx)
	if err != nil {
		return err
	}
	was, known, err := found(k.barred.Get(ctx, node))
	if err != nil {
		return err
	}
	if known {
		if err := k.pardons.Remove(ctx, collections.Join(was, node)); err != nil {
			return err
		}
	}
	until := uint64(now(ctx)) + p.BarSeconds
	return errors.Join(k.barred.Set(ctx, node, until), k.pardons.Set(ctx, collections.Join(until, node)))
}

func (k Keeper) slash(ctx sdk.Context, d auditv1.Dispute, node []byte, amount uint64, refunds ...Refund) (uint64, error) {
	taken, err := k.Bond.Slash(ctx, sortition.Key(node), d.Denom, math.NewIntFromUint64(amount), refunds...)
	if err != nil {
		return 0, err
	}
	return taken.Uint64(), nil
}

// mostVerdicts is how many verdicts an audit keeps, the last ones.
const mostVerdicts = 32

// close forgets a dispute but for its outcome, and lets go what it held up. One that stayed undecided ends its audit: the program is not deterministic, and no jury can tell anything about it.
func (k Keeper) close(ctx sdk.Context, d auditv1.Dispute, what auditv1.Outcome, next uint32) error {
	if err := errors.Join(k.disputes.Remove(ctx, d.Id), k.commits.Clear(ctx, collections.NewPrefixedTripleRange[uint64, uint64, []byte](d.Id))); err != nil {
		return err
	}
	at, kept := collections.Join(d.Node, d.Sequence), k.audits
	if d.Final {
		kept = k.recent
	}
	a, known, err := found(kept.Get(ctx, at))
	if err == nil && known {
		a.Verdicts = append(a.Verdicts, auditv1.Verdict{Place: d.Place, Accused: d.Accused, Outcome: what, Next: next})
		a.Verdicts = a.Verdicts[max(0, len(a.Verdicts)-mostVerdicts):]
		if !d.Final {
			a.Disputes--
		}
		if err = kept.Set(ctx, at, a); err == nil && what == auditv1.OUTCOME_UNDECIDED && a.Until != 0 {
			err = k.end(ctx, a, "undecided")
		}
	}
	return errors.Join(err, k.hold(ctx, d.Lease, false))
}

// convict punishes the accused. A provider loses all pay that is not final (the escrow gives it back, redemption by redemption) and min(B, 35 V). Of a result whose pay was final, its payer
// gets the price back from the bond, and the jurors theirs, and no more is taken: what is left is for the next one. A juror loses min(B, V).
func (k Keeper) convict(ctx sdk.Context, d auditv1.Dispute, right [][]byte) error {
	if d.Juror {
		_, err := k.fine(ctx, d, d.Accused)
		return errors.Join(err, k.bar(ctx, d.Accused))
	}
	p, err := k.Params(ctx)
	if err != nil {
		return err
	}
	amount, refunds := rules(p).Fine(d.Price, everything), []Refund{{d.Payer, math.NewIntFromUint64(d.Spent)}}
	if d.Final { // the fine was taken with the conviction: here the bond is for those who were deceived
		refunds = []Refund{{d.Payer, math.NewIntFromUint64(d.Price)}}
		for _, j := range right {
			owner, err := k.owner(ctx, j)
			if err != nil {
				return err
			}
			refunds = append(refunds, Refund{owner, math.NewIntFromUint64(d.Price)})
		}
		amount = trust.Times(d.Price, uint64(len(refunds)))
	}
	taken, err := k.slash(ctx, d, d.Node, amount, refunds...)
	if err != nil {
		return err
	}
	emit(ctx, "hpips_convicted", "node", digits(d.Node), "dispute", number(d.Id), "slashed", number(taken)+d.Denom, "final", number(boolean(d.Final)))
	if d.Final {
		return nil // it is convicted already, and what was not final then is lost
	}
	return k.condemn(ctx, p, d.Node)
}

// condemn lets all that a node has redeemed by now and that is not final go back to its payers, and opens its recent results.
func (k Keeper) condemn(ctx sdk.Context, p auditv1.Params, node []byte) error {
	last, err := k.Escrow.Last(ctx)
	if err != nil {
		return err
	}
	if was, known, err := found(k.convictions.Get(ctx, node)); err != nil {
		return err
	} else if known {
		if err := k.forgives.Remove(ctx, collections.Join(uint64(was.Until), node)); err != nil {
			return err
		}
	}
	c := auditv1.Conviction{Node: node, Through: last, Until: now(ctx) + int64(p.RecentSeconds)}
	return errors.Join(k.convictions.Set(ctx, node, c), k.forgives.Set(ctx, collections.Join(uint64(c.Until), node)))
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}
