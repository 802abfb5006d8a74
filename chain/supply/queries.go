package supply

import (
	"context"
	"fmt"

	"cosmossdk.io/math"

	"github.com/cosmos/cosmos-sdk/types/query"

	"github.com/hpips/hpips/proto/gen/supplyv1"
)

// page is the most accounts that one answer holds.
const page = 1000

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
	for _, at := range k.modules {
		text, err := k.codec.BytesToString(at)
		if err != nil {
			return nil, fmt.Errorf("supply: module account: %w", err)
		}
		r.Modules = append(r.Modules, text)
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

// Reserved lists the accounts for which something is reserved.
func (q queries) Reserved(ctx context.Context, r *supplyv1.QueryReservedRequest) (*supplyv1.QueryReservedResponse, error) {
	if r.Pagination != nil && r.Pagination.Limit > page {
		r.Pagination.Limit = page
	}
	list, next, err := query.CollectionPaginate(ctx, q.keeper.reserved, r.Pagination, func(who []byte, n math.Int) (supplyv1.Reserved, error) {
		text, err := q.keeper.codec.BytesToString(who)
		return supplyv1.Reserved{Address: text, Amount: n}, err
	})
	return &supplyv1.QueryReservedResponse{Reserved: list, Pagination: next}, err
}
