package exchange

import (
	"context"
	"fmt"

	"cosmossdk.io/collections"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/query"

	"github.com/hpips/hpips/proto/gen/exchangev1"
)

// page is the most rows that one answer holds, few how many it holds if nobody says.
const (
	page = 1000
	few  = 100
)

type queries struct{ keeper Keeper }

// Assets lists what was admitted, and the sales of its levies.
func (q queries) Assets(ctx context.Context, _ *exchangev1.QueryAssetsRequest) (*exchangev1.QueryAssetsResponse, error) {
	assets, err := q.keeper.Assets(ctx)
	if err != nil {
		return nil, fmt.Errorf("assets: %w", err)
	}
	r := &exchangev1.QueryAssetsResponse{Assets: assets}
	for _, a := range assets {
		s, err := q.keeper.sales.Get(ctx, a.Denom)
		if err != nil {
			return nil, fmt.Errorf("sale of %s: %w", a.Denom, err)
		}
		r.Sales = append(r.Sales, s)
	}
	return r, nil
}

// Book lists the best orders of either side.
func (q queries) Book(ctx context.Context, r *exchangev1.QueryBookRequest) (*exchangev1.QueryBookResponse, error) {
	if _, err := q.keeper.asset(ctx, r.Denom); err != nil {
		return nil, err
	}
	buys, err := q.top(ctx, q.keeper.buys, r.Denom, rows(r.Limit))
	if err != nil {
		return nil, err
	}
	sells, err := q.top(ctx, q.keeper.sells, r.Denom, rows(r.Limit))
	return &exchangev1.QueryBookResponse{Buys: buys, Sells: sells}, err
}

func (q queries) top(ctx context.Context, s side, denom string, limit int) (all []exchangev1.Order, err error) {
	r := collections.NewPrefixedTripleRange[string, uint64, uint64](denom)
	err = s.orders.Walk(ctx, r, func(at collections.Triple[string, uint64, uint64]) (bool, error) {
		o, err := q.keeper.orders.Get(ctx, at.K3())
		all = append(all, o)
		return len(all) >= limit, err
	})
	return all, err
}

// Orders lists an account's open orders, and what all of them hold.
func (q queries) Orders(ctx context.Context, r *exchangev1.QueryOrdersRequest) (*exchangev1.QueryOrdersResponse, error) {
	_, owner, err := q.keeper.person(r.Owner)
	if err != nil {
		return nil, err
	}
	all := sdk.NewCoins()
	err = q.keeper.owned.Walk(ctx, collections.NewPrefixedPairRange[string, uint64](owner), func(at collections.Pair[string, uint64]) (bool, error) {
		o, err := q.keeper.orders.Get(ctx, at.K2())
		if err != nil {
			return true, err
		}
		all = all.Add(held(o)...)
		return false, nil
	})
	if err != nil {
		return nil, err
	}
	if r.Pagination != nil && r.Pagination.Limit > page {
		r.Pagination.Limit = page
	}
	list, next, err := query.CollectionPaginate(ctx, q.keeper.owned, r.Pagination,
		func(at collections.Pair[string, uint64], _ collections.NoValue) (exchangev1.Order, error) {
			return q.keeper.orders.Get(ctx, at.K2())
		}, query.WithCollectionPaginationPairPrefix[string, uint64](owner))
	return &exchangev1.QueryOrdersResponse{Orders: list, Held: all, Pagination: next}, err
}

// Batches lists the last batches of an asset that traded.
func (q queries) Batches(ctx context.Context, r *exchangev1.QueryBatchesRequest) (*exchangev1.QueryBatchesResponse, error) {
	if _, err := q.keeper.asset(ctx, r.Denom); err != nil {
		return nil, err
	}
	answer, limit := &exchangev1.QueryBatchesResponse{}, rows(r.Limit)
	back := collections.NewPrefixedPairRange[string, uint64](r.Denom).Descending()
	err := q.keeper.batches.Walk(ctx, back, func(_ collections.Pair[string, uint64], b exchangev1.Batch) (bool, error) {
		answer.Batches = append(answer.Batches, b)
		return len(answer.Batches) >= limit, nil
	})
	return answer, err
}

// Params gives the parameters.
func (q queries) Params(ctx context.Context, _ *exchangev1.QueryParamsRequest) (*exchangev1.QueryParamsResponse, error) {
	p, err := q.keeper.Params(ctx)
	if err != nil {
		return nil, err
	}
	return &exchangev1.QueryParamsResponse{Params: p}, nil
}

func rows(limit uint32) int {
	if limit == 0 {
		return few
	}
	return int(min(limit, page))
}
