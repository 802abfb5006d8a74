package escrow

import (
	"context"

	"cosmossdk.io/collections"
	"cosmossdk.io/math"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/query"

	"github.com/hpips/hpips/proto/gen/escrowv1"
)

// page is the most leases that one answer holds, and the most redemptions that are looked at for one.
const page = 1000

type queries struct{ keeper Keeper }

var _ escrowv1.QueryServer = queries{}

// Lease gives one lease, and those of its redemptions that are among the next 1,000 of its node.
func (q queries) Lease(ctx context.Context, r *escrowv1.QueryLeaseRequest) (*escrowv1.QueryLeaseResponse, error) {
	l, err := q.keeper.lease(ctx, r.Id)
	if err != nil {
		return nil, err
	}
	res, seen := &escrowv1.QueryLeaseResponse{Lease: l}, 0
	if l.Pending == 0 {
		return res, nil
	}
	err = q.keeper.pending.Walk(ctx, collections.NewPrefixedPairRange[[]byte, uint64](l.Node), func(_ turn, p escrowv1.Redemption) (bool, error) {
		if string(p.Lease) == string(l.Id) {
			res.Pending = append(res.Pending, p)
		}
		seen++
		return seen == page || len(res.Pending) == int(l.Pending), nil
	})
	return res, err
}

// Leases lists those of a payer, or of a node.
func (q queries) Leases(ctx context.Context, r *escrowv1.QueryLeasesRequest) (*escrowv1.QueryLeasesResponse, error) {
	k := q.keeper
	if r.Pagination != nil && r.Pagination.Limit > page {
		r.Pagination.Limit = page
	}
	if (r.Payer == "") == (len(r.Node) == 0) {
		return nil, ErrQuestion.Wrap("leases of a payer, or of a node")
	}
	if r.Payer == "" {
		list, next, err := query.CollectionPaginate(ctx, k.nodes, r.Pagination, func(key byNode, _ collections.NoValue) (escrowv1.Lease, error) {
			return k.leases.Get(ctx, key.K2())
		}, query.WithCollectionPaginationPairPrefix[[]byte, []byte](r.Node))
		return &escrowv1.QueryLeasesResponse{Leases: list, Pagination: next}, err
	}
	payer, _, err := k.canonical(r.Payer)
	if err != nil {
		return nil, err
	}
	list, next, err := query.CollectionPaginate(ctx, k.payers, r.Pagination, func(key byName, _ collections.NoValue) (escrowv1.Lease, error) {
		return k.leases.Get(ctx, key.K2())
	}, query.WithCollectionPaginationPairPrefix[string, []byte](payer))
	return &escrowv1.QueryLeasesResponse{Leases: list, Pagination: next}, err
}

// Account gives what an account has in escrow as a payer, and what waits to be final for it as a payee, of each asset.
func (q queries) Account(ctx context.Context, r *escrowv1.QueryAccountRequest) (*escrowv1.QueryAccountResponse, error) {
	who, _, err := q.keeper.canonical(r.Address)
	if err != nil {
		return nil, err
	}
	res := &escrowv1.QueryAccountResponse{}
	if res.Escrowed, err = purses(ctx, q.keeper.escrowed, who); err != nil {
		return nil, err
	}
	res.Pending, err = purses(ctx, q.keeper.waiting, who)
	return res, err
}

func purses(ctx context.Context, of collections.Map[purse, math.Int], who string) (all sdk.Coins, err error) {
	err = of.Walk(ctx, collections.NewPrefixedPairRange[string, string](who), func(at purse, n math.Int) (bool, error) {
		all = append(all, sdk.NewCoin(at.K2(), n))
		return false, nil
	})
	return all, err
}

// Totals gives the running sums of all assets.
func (q queries) Totals(ctx context.Context, _ *escrowv1.QueryTotalsRequest) (*escrowv1.QueryTotalsResponse, error) {
	res := &escrowv1.QueryTotalsResponse{}
	err := q.keeper.totals.Walk(ctx, nil, func(_ string, t escrowv1.Totals) (bool, error) {
		res.Totals = append(res.Totals, t)
		return false, nil
	})
	return res, err
}

// Params gives the parameters.
func (q queries) Params(ctx context.Context, _ *escrowv1.QueryParamsRequest) (*escrowv1.QueryParamsResponse, error) {
	p, err := q.keeper.Params(ctx)
	if err != nil {
		return nil, err
	}
	return &escrowv1.QueryParamsResponse{Params: p}, nil
}
