package committee

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"cosmossdk.io/collections"
	abci "github.com/cometbft/cometbft/abci/types"
	cmtcrypto "github.com/cometbft/cometbft/proto/tendermint/crypto"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/sortition"
)

// turnEpoch opens the epoch in its first seeded block and closes it in the first at or after its last height. It tells whether it closed one.
func (k Keeper) turnEpoch(ctx sdk.Context, params committeev1.Params, b committeev1.Beacon) (bool, error) {
	e, err := k.epoch.Get(ctx)
	if err != nil {
		return false, err
	}
	switch height := ctx.BlockHeight(); {
	case e.Opened == 0:
		e.Opened, e.DrawSeed = height, b.Seed
		return false, k.epoch.Set(ctx, e)
	case uint64(height-e.Opened) >= params.EpochBlocks-1:
		return true, k.closeEpoch(ctx, params, b, e)
	}
	return false, nil
}

// closeEpoch turns the committee by the claims of the epoch, moves the threshold and begins the next epoch, which its first seeded block opens.
func (k Keeper) closeEpoch(ctx sdk.Context, params committeev1.Params, b committeev1.Beacon, e committeev1.Epoch) error {
	if h := params.GuardianHeight; h > 0 && ctx.BlockHeight() >= h && !e.GuardiansEnded {
		e.GuardiansEnded = true
		if err := k.endGuardians(ctx, e); err != nil {
			return err
		}
	}
	seats, err := k.sitting(ctx)
	if err != nil {
		return err
	}
	if err := k.remember(ctx, e.Number, seats); err != nil {
		return err
	}
	if err := k.creditSeats(ctx, params, seats); err != nil {
		return err
	}
	members, err := k.members(ctx, seats)
	if err != nil {
		return err
	}
	var claims []committeev1.Claim
	if err := k.claims.Walk(ctx, nil, func(_ []byte, c committeev1.Claim) (bool, error) {
		claims = append(claims, c)
		return false, nil
	}); err != nil {
		return err
	}
	candidates, err := k.candidates(ctx, b.Day, claims)
	if err != nil {
		return err
	}
	r := rules(params, b.Day).Guarded(members)
	leave, enter, substitutes := sortition.Turn(members, candidates, budget(e), r)
	for _, node := range leave {
		if err := k.unseat(ctx, node, "turn"); err != nil {
			return err
		}
	}
	for _, c := range enter {
		if err := k.seat(ctx, c, e.Number+1); err != nil {
			return err
		}
	}
	if err := k.standBy(ctx, e.Number, substitutes); err != nil {
		return err
	}
	if err := k.claims.Clear(ctx, nil); err != nil {
		return err
	}
	return k.nextEpoch(ctx, params, e, r)
}

// creditSeats tells of a unit of duty for each seat that was there in the epoch that ends.
func (k Keeper) creditSeats(ctx context.Context, params committeev1.Params, seats []committeev1.Seat) error {
	if k.duty == nil {
		return nil
	}
	for _, s := range seats {
		away, err := k.absent(ctx, params, s.Node)
		if err != nil {
			return err
		}
		if away {
			continue
		}
		if err := k.duty.Duty(ctx, sortition.Key(s.Node), 1, 0); err != nil {
			return fmt.Errorf("duty of %x: %w", s.Node, err)
		}
	}
	return nil
}

func (k Keeper) nextEpoch(ctx sdk.Context, params committeev1.Params, e committeev1.Epoch, r sortition.Rules) error {
	seats, err := k.sitting(ctx)
	if err != nil {
		return err
	}
	size := uint32(len(seats))
	threshold := sortition.Retarget(sortition.Threshold(e.Threshold), e.Claims, r.Free(size))
	next := committeev1.Epoch{
		Number: e.Number + 1, Threshold: threshold[:], Size_: size,
		GuardedDays: e.GuardedDays, GuardiansEnded: e.GuardiansEnded,
	}
	ctx.EventManager().EmitEvent(sdk.NewEvent("hpips_committee_turned",
		sdk.NewAttribute("epoch", strconv.FormatUint(next.Number, 10)),
		sdk.NewAttribute("seats", strconv.Itoa(len(seats))),
		sdk.NewAttribute("claims", strconv.FormatUint(uint64(e.Claims), 10))))
	return k.epoch.Set(ctx, next)
}

func rules(params committeev1.Params, day uint64) sortition.Rules {
	return sortition.Rules{
		Seats: params.Seats, PerOwner: params.SeatsPerOwner, PerNetwork: params.SeatsPerNetwork,
		Draw: day >= params.FirstDrawDay,
	}
}

// budget is how many seats may still change in this epoch.
func budget(e committeev1.Epoch) uint32 {
	whole := sortition.Budget(e.Size_)
	return whole - min(whole, e.Changed)
}

// sitting are the seats in the order of their nodes.
func (k Keeper) sitting(ctx context.Context) (seats []committeev1.Seat, err error) {
	err = k.seats.Walk(ctx, nil, func(_ []byte, s committeev1.Seat) (bool, error) {
		seats = append(seats, s)
		return false, nil
	})
	return seats, err
}

// seatOf is a node's seat, or ErrSeat.
func (k Keeper) seatOf(ctx context.Context, node []byte) (committeev1.Seat, error) {
	s, err := k.seats.Get(ctx, node)
	if errors.Is(err, collections.ErrNotFound) {
		err = ErrSeat
	}
	return s, err
}

// members puts seats into the words of the lottery. One whose node takes no part any more, or has other keys now, leaves first.
func (k Keeper) members(ctx context.Context, seats []committeev1.Seat) ([]sortition.Member, error) {
	all := make([]sortition.Member, 0, len(seats))
	for _, s := range seats {
		id := sortition.Key(s.Node)
		n, known, err := k.registry.Node(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", id, err)
		}
		stays := known && n.Active && bytes.Equal(n.Consensus[:], s.ConsensusKey) && bytes.Equal(n.VRF[:], s.VrfKey)
		all = append(all, sortition.Member{
			Node: id, Owner: s.Owner, Network: s.Network, SinceEpoch: s.SinceEpoch, SinceHeight: s.SinceHeight,
			Guardian: s.Guardian, Leaving: s.Leaving || !stays,
		})
	}
	return all, nil
}

// candidates are the claims whose tickets are still good.
func (k Keeper) candidates(ctx context.Context, day uint64, claims []committeev1.Claim) (all []sortition.Candidate, err error) {
	for _, c := range claims {
		t, _, err := k.goodTicket(ctx, sortition.Key(c.Node), day)
		if isRefusal(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, sortition.Candidate{Node: sortition.Key(c.Node), Owner: t.Owner, Network: t.Network, Rank: sortition.Rank(c.Rank)})
	}
	return all, nil
}

// seat gives the winner of a draw its place, with the keys of its ticket. One that sits already sits anew.
func (k Keeper) seat(ctx sdk.Context, c sortition.Candidate, epoch uint64) error {
	s, err := k.seatOf(ctx, c.Node[:])
	if err == nil {
		s.SinceEpoch = epoch
		return k.seats.Set(ctx, c.Node[:], s)
	}
	if !errors.Is(err, ErrSeat) {
		return err
	}
	t, err := k.ticket(ctx, c.Node[:])
	if err != nil {
		return err
	}
	ctx.EventManager().EmitEvent(sdk.NewEvent("hpips_seat_entered", sdk.NewAttribute("node", c.Node.String())))
	return k.seats.Set(ctx, c.Node[:], committeev1.Seat{
		Node: t.Node, Owner: t.Owner, Network: t.Network, ConsensusKey: t.ConsensusKey, VrfKey: t.VrfKey,
		SinceEpoch: epoch, SinceHeight: ctx.BlockHeight(),
	})
}

func (k Keeper) unseat(ctx sdk.Context, node sortition.Key, why string) error {
	ctx.EventManager().EmitEvent(sdk.NewEvent("hpips_seat_left", sdk.NewAttribute("node", node.String()), sdk.NewAttribute("why", why)))
	if err := errors.Join(k.missed.Remove(ctx, node[:]), k.seats.Remove(ctx, node[:])); err != nil || k.left == nil {
		return err
	}
	return k.left.Left(ctx, node)
}

// standBy sets the substitutes, the first to step in first.
func (k Keeper) standBy(ctx context.Context, epoch uint64, all []sortition.Candidate) error {
	if err := k.substitutes.Clear(ctx, nil); err != nil {
		return err
	}
	for i, c := range all {
		if err := k.substitutes.Set(ctx, uint64(i), committeev1.Claim{Node: c.Node[:], Rank: c.Rank[:], Epoch: epoch}); err != nil {
			return err
		}
	}
	return nil
}

// standingBy are the substitutes whose tickets are still good, and the epoch that drew them.
func (k Keeper) standingBy(ctx context.Context, day uint64) (all []sortition.Candidate, epoch uint64, err error) {
	var claims []committeev1.Claim
	if err := k.substitutes.Walk(ctx, nil, func(_ uint64, c committeev1.Claim) (bool, error) {
		claims, epoch = append(claims, c), c.Epoch
		return false, nil
	}); err != nil {
		return nil, 0, err
	}
	all, err = k.candidates(ctx, day, claims)
	return all, epoch, err
}

// remember keeps who sat in an epoch, and forgets all but the last three.
func (k Keeper) remember(ctx context.Context, epoch uint64, seats []committeev1.Seat) error {
	c := committeev1.Committee{Epoch: epoch}
	for _, s := range seats {
		c.Nodes = append(c.Nodes, s.Node)
	}
	if err := k.before.Set(ctx, epoch, c); err != nil || epoch < 3 {
		return err
	}
	return k.before.Clear(ctx, new(collections.Range[uint64]).EndInclusive(epoch-3))
}

// endGuardians makes guardians ordinary seats, which the draw may replace, for good.
func (k Keeper) endGuardians(ctx context.Context, e committeev1.Epoch) error {
	seats, err := k.sitting(ctx)
	if err != nil {
		return err
	}
	for _, s := range seats {
		if s.Guardian {
			s.Guardian = false
			if err := k.seats.Set(ctx, s.Node, s); err != nil {
				return err
			}
		}
	}
	e.GuardiansEnded = true
	return k.epoch.Set(ctx, e)
}

// vacate replaces, within the epoch's budget, the seats that asked to leave and those that are absent. It waits in the block that turned the
// committee: what changes there belongs to the epoch before.
func (k Keeper) vacate(ctx sdk.Context, params committeev1.Params, b committeev1.Beacon) error {
	e, err := k.epoch.Get(ctx)
	if err != nil || e.Opened == 0 || budget(e) == 0 {
		return err
	}
	seats, err := k.sitting(ctx)
	if err != nil {
		return err
	}
	var asked, absent []sortition.Key
	for _, s := range seats {
		gone, err := k.absent(ctx, params, s.Node)
		if err != nil {
			return err
		}
		if s.Leaving {
			asked = append(asked, sortition.Key(s.Node))
		} else if gone {
			absent = append(absent, sortition.Key(s.Node))
		}
	}
	var t bench
	for i, node := range slices.Concat(asked, absent) {
		why := "stepped down"
		if i >= len(asked) {
			why = "absent"
		}
		if t.members == nil {
			if t, err = k.bench(ctx, b.Day); err != nil {
				return err
			}
		}
		enter, leave, rest := sortition.Replace(t.members, node, t.substitutes, e.Size_, budget(e), rules(params, b.Day))
		if !leave {
			continue
		}
		if e, err = k.swap(ctx, t, node, enter, rest, why); err != nil {
			return err
		}
		t = bench{}
	}
	return nil
}

// expel takes a seat whatever the budget is, and gives it to the first substitute that fits, or to nobody.
func (k Keeper) expel(ctx sdk.Context, params committeev1.Params, day uint64, gone sortition.Key) error {
	t, err := k.bench(ctx, day)
	if err != nil {
		return err
	}
	enter, leave, rest := sortition.Expel(t.members, gone, t.substitutes, rules(params, day))
	if !leave {
		return nil
	}
	_, err = k.swap(ctx, t, gone, enter, rest, "signed two blocks")
	return err
}

// bench is who sits, who stands by, and the epoch that drew the latter.
type bench struct {
	members     []sortition.Member
	substitutes []sortition.Candidate
	drawn       uint64
}

func (k Keeper) bench(ctx context.Context, day uint64) (t bench, err error) {
	seats, err := k.sitting(ctx)
	if err != nil {
		return t, err
	}
	if t.members, err = k.members(ctx, seats); err != nil {
		return t, err
	}
	t.substitutes, t.drawn, err = k.standingBy(ctx, day)
	return t, err
}

// swap lets one seat go, for one that enters or for nobody, and counts it as a change of the epoch.
func (k Keeper) swap(ctx sdk.Context, t bench, gone sortition.Key, enter *sortition.Candidate, rest []sortition.Candidate, why string) (committeev1.Epoch, error) {
	e, err := k.epoch.Get(ctx)
	if err != nil {
		return e, err
	}
	if err := k.unseat(ctx, gone, why); err != nil {
		return e, err
	}
	if enter != nil {
		if err := k.seat(ctx, *enter, e.Number); err != nil {
			return e, err
		}
	}
	if err := k.standBy(ctx, t.drawn, rest); err != nil {
		return e, err
	}
	e.Changed++
	return e, k.epoch.Set(ctx, e)
}

// EndBlock replaces seats and gives the engine the differences to what it was told before. They hold two blocks later.
// A block without a seed changes nothing.
func (k Keeper) EndBlock(c context.Context) ([]abci.ValidatorUpdate, error) {
	ctx := sdk.UnwrapSDKContext(c)
	b, err := k.beacon.Get(ctx)
	if err != nil || b.Height != ctx.BlockHeight() {
		return nil, err
	}
	params, err := k.Params(ctx)
	if err != nil {
		return nil, err
	}
	if err := k.vacate(ctx, params, b); err != nil {
		return nil, fmt.Errorf("replace seats: %w", err)
	}
	return k.publish(ctx)
}

// publish compares the seats with what the engine was told. All weigh 1; the set is never empty.
func (k Keeper) publish(ctx sdk.Context) ([]abci.ValidatorUpdate, error) {
	height := ctx.BlockHeight()
	seats, err := k.sitting(ctx)
	if err != nil {
		return nil, err
	}
	if len(seats) == 0 {
		return nil, errors.New("no seat is left")
	}
	if err := k.forgetParting(ctx, height); err != nil {
		return nil, err
	}
	var updates []abci.ValidatorUpdate
	sits := map[string]bool{} // by consensus key, for looking up only
	for _, s := range seats {
		sits[string(s.ConsensusKey)] = true
		address := addressOf(s.ConsensusKey)
		was, err := k.voters.Get(ctx, address)
		switch {
		case errors.Is(err, collections.ErrNotFound):
			updates = append(updates, update(s.ConsensusKey, 1))
			err = k.parting.Remove(ctx, address)
		case err == nil && bytes.Equal(was.VrfKey, s.VrfKey):
			continue
		}
		if err != nil {
			return nil, err
		}
		voter := committeev1.Seat{Node: s.Node, ConsensusKey: s.ConsensusKey, VrfKey: s.VrfKey}
		if err := k.voters.Set(ctx, address, voter); err != nil {
			return nil, err
		}
	}
	var left []committeev1.Seat
	if err := k.voters.Walk(ctx, nil, func(_ []byte, s committeev1.Seat) (bool, error) {
		if !sits[string(s.ConsensusKey)] {
			left = append(left, s)
		}
		return false, nil
	}); err != nil {
		return nil, err
	}
	for _, s := range left {
		updates = append(updates, update(s.ConsensusKey, 0))
		address := addressOf(s.ConsensusKey)
		if err := k.voters.Remove(ctx, address); err != nil {
			return nil, err
		}
		s.SinceHeight = height
		if err := k.parting.Set(ctx, address, s); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(updates, func(a, b abci.ValidatorUpdate) int {
		return bytes.Compare(a.PubKey.GetEd25519(), b.PubKey.GetEd25519())
	})
	return updates, nil
}

func update(key []byte, power int64) abci.ValidatorUpdate {
	return abci.ValidatorUpdate{PubKey: cmtcrypto.PublicKey{Sum: &cmtcrypto.PublicKey_Ed25519{Ed25519: key}}, Power: power}
}

// forgetParting lets go of those whose votes do not count any more.
func (k Keeper) forgetParting(ctx context.Context, height int64) error {
	var gone [][]byte
	if err := k.parting.Walk(ctx, nil, func(address []byte, s committeev1.Seat) (bool, error) {
		if height >= s.SinceHeight+2 {
			gone = append(gone, address)
		}
		return false, nil
	}); err != nil {
		return err
	}
	for _, address := range gone {
		if err := k.parting.Remove(ctx, address); err != nil {
			return err
		}
	}
	return nil
}
