package audit

import (
	"bytes"
	"errors"

	"cosmossdk.io/collections"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/auditv1"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/trust"
)

// commit takes a juror's commitment in the round that is open.
//
//  1. The dispute is in that round, and takes commitments.
//  2. The juror was drawn for it, is no party, and said nothing about it before: nor did another node of its owner.
//  3. It signed: nobody else can commit in its name.
func (k Keeper) commit(ctx sdk.Context, m *auditv1.MsgCommit) error {
	if err := k.shapeCommit(m); err != nil {
		return err
	}
	d, err := k.at(ctx, m.Dispute, m.Round, auditv1.PHASE_COMMIT) // 1
	if err != nil {
		return err
	}
	matter := RoundMatter(ctx.ChainID(), d)
	j, err := k.drawn(ctx, matter, m.Juror, m.Proof, trust.Called(Places(d.Round)), d.Opened, d.Payer) // 2
	if err != nil {
		return err
	}
	if err := k.fresh(ctx, d, j); err != nil {
		return err
	}
	if err := matter.CheckVoice(j.node, [32]byte(m.Commitment), 0, m.Signature); err != nil { // 3
		return ErrSignature.Wrap(err.Error())
	}
	emit(ctx, "hpips_dispute", "what", "committed", "dispute", number(d.Id), "round", number(d.Round), "juror", digits(m.Juror))
	return k.commits.Set(ctx, collections.Join3(d.Id, uint64(d.Round), m.Juror), auditv1.Commitment{Dispute: d.Id, Round: d.Round, Juror: m.Juror, Owner: j.Owner, Network: j.Network,
		Rank: j.rank[:], Commitment: m.Commitment})
}

func (k Keeper) shapeCommit(m *auditv1.MsgCommit) error {
	if m == nil || len(m.Proof) != len(sortition.Proof{}) || len(m.Commitment) != 32 || len(m.Signature) != 64 {
		return ErrMalformed.Wrap("proof, commitment or signature")
	}
	return k.sender(m.Sender, m.Juror)
}

// at finds a dispute that is in a round and a phase.
func (k Keeper) at(ctx sdk.Context, id uint64, round uint32, phase auditv1.Phase) (auditv1.Dispute, error) {
	d, known, err := found(k.disputes.Get(ctx, id))
	if err == nil && (!known || d.Round != round || d.Phase != phase) {
		err = ErrPhase.Wrapf("dispute %d, round %d", id, round)
	}
	return d, err
}

// spares is for how many times the places of a round commitments are taken: some do not reveal theirs.
const spares = 2

// fresh refuses who spoke before, and who has another voice in the round.
func (k Keeper) fresh(ctx sdk.Context, d auditv1.Dispute, j juror) error {
	lower := 0
	for _, w := range d.First {
		owner, err := k.owner(ctx, w.Juror)
		if err != nil || owner == j.Owner {
			return errors.Join(err, ErrSeen.Wrapf("juror %s", j.node))
		}
	}
	return k.commits.Walk(ctx, collections.NewPrefixedTripleRange[uint64, uint64, []byte](d.Id), func(_ choice, c auditv1.Commitment) (bool, error) {
		switch {
		case string(c.Juror) == string(j.node[:]) && c.Round == d.Round:
			return true, ErrTwice.Wrapf("juror %s", j.node)
		case c.Owner == j.Owner:
			return true, ErrSeen.Wrapf("juror %s", j.node)
		case c.Round == d.Round && c.Network != "" && c.Network == j.Network:
			return true, ErrParty.Wrapf("jurors %x and %s", c.Juror, j.node)
		}
		if c.Round == d.Round && bytes.Compare(c.Rank, j.rank[:]) < 0 {
			lower++
		}
		if lower >= spares*Places(d.Round) {
			return true, ErrLost.Wrapf("%d jurors have lower ranks than %s", lower, j.node)
		}
		return false, nil
	})
}

// reveal takes what opens a commitment.
func (k Keeper) reveal(ctx sdk.Context, m *auditv1.MsgReveal) error {
	if err := k.shapeReveal(m); err != nil {
		return err
	}
	d, err := k.at(ctx, m.Dispute, m.Round, auditv1.PHASE_REVEAL)
	if err != nil {
		return err
	}
	at := collections.Join3(d.Id, uint64(d.Round), m.Juror)
	c, known, err := found(k.commits.Get(ctx, at))
	switch {
	case err != nil:
		return err
	case !known:
		return ErrPhase.Wrapf("juror %x did not commit itself", m.Juror)
	case len(c.Answer) > 0:
		return ErrTwice.Wrapf("juror %x", m.Juror)
	}
	voice := trust.Voice{Result: trust.Digest(m.Answer), State: [32]byte(m.State)}
	if trust.Commitment(voice, [32]byte(m.Juror), [32]byte(m.Salt)) != [32]byte(c.Commitment) {
		return ErrOpening.Wrapf("juror %x", m.Juror)
	}
	c.Answer = m.Answer
	emit(ctx, "hpips_dispute", "what", "revealed", "dispute", number(d.Id), "round", number(d.Round), "juror", digits(m.Juror), "answer", digits(m.Answer))
	return k.commits.Set(ctx, at, c)
}

func (k Keeper) shapeReveal(m *auditv1.MsgReveal) error {
	if m == nil || len(m.Answer) != 32 || len(m.State) != 32 || len(m.Salt) != 32 {
		return ErrMalformed.Wrap("answer, state or salt")
	}
	return k.sender(m.Sender, m.Juror)
}

// nextDispute takes the next dispute whose phase is over to what follows. Phases end by height, as epochs do: an idle chain has two blocks for each seed.
func (k Keeper) nextDispute(ctx sdk.Context, p auditv1.Params) (bool, error) {
	row, there, err := firstOf(ctx, k.dues)
	if err != nil || !there || row.K1() > height(ctx) {
		return false, err
	}
	d, err := k.disputes.Get(ctx, row.K2())
	if err != nil {
		return false, err
	}
	if err := k.dues.Remove(ctx, row); err != nil {
		return false, err
	}
	if d.DueTime > now(ctx) {
		d.DueHeight, d.DueTime = height(ctx)+longer(p), 0
		return true, k.put(ctx, d)
	}
	switch d.Phase {
	case auditv1.PHASE_CALLED:
		seed, _, err := k.Committee.Seed(ctx)
		if err != nil {
			return false, err
		}
		d.Phase, d.Seed = auditv1.PHASE_COMMIT, seed[:]
		d.DueHeight, d.DueTime = height(ctx)+p.CommitBlocks, now(ctx)+int64(min(d.Work/p.WorkPerSecond, maxWait))
	case auditv1.PHASE_COMMIT:
		d.Phase, d.DueHeight, d.DueTime = auditv1.PHASE_REVEAL, height(ctx)+p.RevealBlocks, 0
	default:
		return true, k.decideOrWait(ctx, d)
	}
	emit(ctx, "hpips_dispute", "what", "phase", "dispute", number(d.Id), "round", number(d.Round), "phase", d.Phase.String(), "seed", digits(d.Seed))
	return true, k.put(ctx, d)
}

// maxWait is how many seconds a task is thought to take at most.
const maxWait = 86_400

// slack is by how many blocks phases may end late in one round, as not every block has a seed: two until the jurors are drawn, and one each after commitments, their prolonging, and what was
// revealed; and one to spare.
const slack = 6

// longer is for how many blocks more commitments are taken about a task that takes long: so many that a round lasts for an epoch and a half at most, and two of them three, whatever the work.
// Commitments and what is revealed are an epoch's blocks together (Public, Development).
func longer(p auditv1.Params) uint64 {
	half := (p.CommitBlocks + p.RevealBlocks) / 2
	return half - min(half, slack)
}

// put keeps a dispute with the time of its phase's end.
func (k Keeper) put(ctx sdk.Context, d auditv1.Dispute) error {
	return errors.Join(k.disputes.Set(ctx, d.Id, d), k.dues.Set(ctx, collections.Join(d.DueHeight, d.Id)))
}

// decideOrWait ends a round; while payouts rest, it is put off.
func (k Keeper) decideOrWait(ctx sdk.Context, d auditv1.Dispute) error {
	trial, write := ctx.CacheContext()
	err := k.decide(trial, d)
	if errors.Is(err, ErrRests) {
		d.DueHeight = height(ctx) + waitLonger
		return k.put(ctx, d)
	}
	if err == nil {
		write()
	}
	return err
}
