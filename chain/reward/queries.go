package reward

import (
	"context"
	"fmt"

	"cosmossdk.io/collections"

	"github.com/cosmos/cosmos-sdk/types/query"

	"github.com/hpips/hpips/proto/gen/rewardv1"
	"github.com/hpips/hpips/spec/sortition"
)

// page is the most providers that one answer holds.
const page = 1000

type queries struct{ keeper Keeper }

// Day gives one day's figures, all of them 0 for a day in which nothing happened.
func (q queries) Day(ctx context.Context, r *rewardv1.QueryDayRequest) (*rewardv1.QueryDayResponse, error) {
	n := r.Day
	if r.LastClosed {
		found := false
		err := q.keeper.days.Walk(ctx, new(collections.Range[uint64]).Descending(), func(day uint64, d rewardv1.Day) (bool, error) {
			n, found = day, d.Done
			return found, nil
		})
		if err != nil {
			return nil, fmt.Errorf("last closed day: %w", err)
		}
		if !found {
			return nil, ErrDay
		}
	}
	day, err := q.keeper.day(ctx, n)
	if err != nil {
		return nil, fmt.Errorf("day %d: %w", n, err)
	}
	out := &rewardv1.QueryDayResponse{Day: day}
	span := collections.NewPrefixedPairRange[uint64, string](n)
	err = q.keeper.assets.Walk(ctx, span, func(key collections.Pair[uint64, string], s rewardv1.Sum) (bool, error) {
		out.Assets = append(out.Assets, rewardv1.Asset{Denom: key.K2(), Sum: s})
		return false, nil
	})
	return out, err
}

// Providers lists those of a day, by node. Days of more than 90 days ago have none any more.
func (q queries) Providers(ctx context.Context, r *rewardv1.QueryProvidersRequest) (*rewardv1.QueryProvidersResponse, error) {
	if r.Pagination != nil && r.Pagination.Limit > page {
		r.Pagination.Limit = page
	}
	list, next, err := query.CollectionPaginate(ctx, q.keeper.earners, r.Pagination,
		func(key collections.Pair[uint64, []byte], e rewardv1.Earner) (rewardv1.Provider, error) {
			return q.provider(ctx, key.K1(), key.K2(), e)
		}, query.WithCollectionPaginationPairPrefix[uint64, []byte](r.Day))
	return &rewardv1.QueryProvidersResponse{Providers: list, Pagination: next}, err
}

func (q queries) provider(ctx context.Context, day uint64, node []byte, e rewardv1.Earner) (rewardv1.Provider, error) {
	out := rewardv1.Provider{Node: node, Earner: e}
	var err error
	if out.Owner, err = q.keeper.Registry.Owner(ctx, sortition.Key(node)); err != nil {
		return out, err
	}
	err = q.keeper.works.Walk(ctx, collections.NewSuperPrefixedTripleRange[uint64, []byte, string](day, node),
		func(key collections.Triple[uint64, []byte, string], s rewardv1.Sum) (bool, error) {
			out.Assets = append(out.Assets, rewardv1.Asset{Denom: key.K3(), Sum: s})
			return false, nil
		})
	return out, err
}

// Owed is what an account could claim.
func (q queries) Owed(ctx context.Context, r *rewardv1.QueryOwedRequest) (*rewardv1.QueryOwedResponse, error) {
	who, err := q.keeper.addresses.StringToBytes(r.Address)
	if err != nil {
		return nil, ErrHolder.Wrapf("%.100q: %v", r.Address, err)
	}
	exact, err := q.keeper.Owed(ctx, who)
	if err != nil {
		return nil, err
	}
	return &rewardv1.QueryOwedResponse{Amount: exact.Quo(unit), Exact: exact}, nil
}

// Stream is how the holders' pot stands.
func (q queries) Stream(ctx context.Context, _ *rewardv1.QueryStreamRequest) (*rewardv1.QueryStreamResponse, error) {
	s, err := q.keeper.Stream(ctx)
	return &rewardv1.QueryStreamResponse{Stream: s}, err
}

// Params gives the parameters.
func (q queries) Params(ctx context.Context, _ *rewardv1.QueryParamsRequest) (*rewardv1.QueryParamsResponse, error) {
	p, err := q.keeper.Params(ctx)
	return &rewardv1.QueryParamsResponse{Params: p}, err
}
