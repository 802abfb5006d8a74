package supply

import (
	"context"
	"fmt"

	"github.com/hpips/hpips/proto/gen/supplyv1"
)

type queries struct{ keeper Keeper }

// Supply tells where the HPIPS are.
func (q queries) Supply(ctx context.Context, _ *supplyv1.QuerySupplyRequest) (*supplyv1.QuerySupplyResponse, error) {
	k := q.keeper
	t, err := k.Totals(ctx)
	if err != nil {
		return nil, fmt.Errorf("supply: %w", err)
	}
	r := &supplyv1.QuerySupplyResponse{Total: k.bank.GetSupply(ctx, Denom).Amount, Circulating: k.Circulating(ctx), Reserved: k.Reserved(ctx), Totals: t}
	for _, a := range Allocations() {
		at := k.pots[a.Name]
		text, err := k.codec.BytesToString(at)
		if err != nil {
			return nil, fmt.Errorf("supply: %s: %w", a.Name, err)
		}
		r.Pots = append(r.Pots, supplyv1.Pot{Name: a.Name, Address: text, Amount: k.bank.GetBalance(ctx, at, Denom).Amount})
	}
	err = k.moves.Walk(ctx, nil, func(_ uint64, m supplyv1.Move) (bool, error) {
		r.Moves = append(r.Moves, m)
		return false, nil
	})
	if err != nil {
		return nil, fmt.Errorf("supply: moves: %w", err)
	}
	return r, nil
}
