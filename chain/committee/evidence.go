package committee

import (
	"errors"
	"fmt"
	"strconv"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/comet"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/sortition"
)

// readEvidence punishes those who signed two blocks. The engine has proven that they did, and that it is not too long ago; they need not
// sit any more. Who is not known to the registry never sat.
func (k Keeper) readEvidence(ctx sdk.Context, params committeev1.Params) error {
	evidence := ctx.CometInfo().GetEvidence()
	for i := range evidence.Len() {
		e := evidence.Get(i)
		if e.Type() != comet.DuplicateVote && e.Type() != comet.LightClientAttack {
			continue
		}
		n, known, err := k.registry.ByConsensusAddress(ctx, e.Validator().Address())
		if err != nil {
			return fmt.Errorf("node of %X: %w", e.Validator().Address(), err)
		}
		if !known {
			continue
		}
		if err := k.punish(ctx, params, n.ID, e); err != nil {
			return fmt.Errorf("offence of %s: %w", n.ID, err)
		}
	}
	return nil
}

// punish records an offence once and takes the ticket, the standing, the bond and the seat. The last seat stays: without it nobody could
// ever be drawn again; it leaves first as soon as another enters.
func (k Keeper) punish(ctx sdk.Context, params committeev1.Params, id sortition.Key, e comet.Evidence) error {
	at := collections.Join(id[:], e.Height())
	if known, err := k.offences.Has(ctx, at); err != nil || known {
		return err
	}
	if err := k.offences.Set(ctx, at, committeev1.Offence{Node: id[:], Height: e.Height(), Time: e.Time()}); err != nil {
		return err
	}
	ctx.EventManager().EmitEvent(sdk.NewEvent("hpips_offence",
		sdk.NewAttribute("node", id.String()), sdk.NewAttribute("height", strconv.FormatInt(e.Height(), 10))))
	if err := k.Forget(ctx, id); err != nil {
		return err
	}
	if err := k.claims.Remove(ctx, id[:]); err != nil {
		return err
	}
	if err := k.registry.Bar(ctx, id); err != nil {
		return fmt.Errorf("bar: %w", err)
	}
	if err := k.credit.Forfeit(ctx, id); err != nil {
		return fmt.Errorf("forfeit: %w", err)
	}
	if _, err := k.seatOf(ctx, id[:]); errors.Is(err, ErrSeat) {
		return nil
	} else if err != nil {
		return err
	}
	b, err := k.beacon.Get(ctx)
	if err != nil {
		return err
	}
	return k.expel(ctx, params, b.Day, id)
}
