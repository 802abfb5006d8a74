package registry

import (
	"context"

	"cosmossdk.io/collections"

	"github.com/cosmos/cosmos-sdk/types/query"

	"github.com/hpips/hpips/proto/gen/registryv1"
)

// page is the most nodes that one answer holds.
const page = 1000

type queries struct{ keeper Keeper }

// Node gives one node, whatever its standing.
func (q queries) Node(ctx context.Context, r *registryv1.QueryNodeRequest) (*registryv1.QueryNodeResponse, error) {
	n, known, err := found(q.keeper.nodes.Get(ctx, r.Id))
	if err == nil && !known {
		err = ErrUnknown.Wrapf("%.32x", r.Id)
	}
	if err != nil {
		return nil, err
	}
	return &registryv1.QueryNodeResponse{Node: n}, nil
}

// Nodes lists all, or those of one owner.
func (q queries) Nodes(ctx context.Context, r *registryv1.QueryNodesRequest) (*registryv1.QueryNodesResponse, error) {
	if r.Pagination != nil && r.Pagination.Limit > page {
		r.Pagination.Limit = page
	}
	if r.Owner == "" {
		list, next, err := query.CollectionPaginate(ctx, q.keeper.nodes, r.Pagination,
			func(_ []byte, n registryv1.Node) (registryv1.Node, error) { return n, nil })
		return &registryv1.QueryNodesResponse{Nodes: list, Pagination: next}, err
	}
	owner, err := q.keeper.canonical(r.Owner)
	if err != nil {
		return nil, err
	}
	list, next, err := query.CollectionPaginate(ctx, q.keeper.owned, r.Pagination,
		func(key collections.Pair[string, []byte], _ collections.NoValue) (registryv1.Node, error) {
			return q.keeper.nodes.Get(ctx, key.K2())
		}, query.WithCollectionPaginationPairPrefix[string, []byte](owner))
	return &registryv1.QueryNodesResponse{Nodes: list, Pagination: next}, err
}

// Params gives the parameters.
func (q queries) Params(ctx context.Context, _ *registryv1.QueryParamsRequest) (*registryv1.QueryParamsResponse, error) {
	p, err := q.keeper.Params(ctx)
	if err != nil {
		return nil, err
	}
	return &registryv1.QueryParamsResponse{Params: p}, nil
}
