package storage

import (
	"context"
	"errors"

	"cosmossdk.io/collections"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/query"

	"github.com/hpips/hpips/proto/gen/storagev1"
	"github.com/hpips/hpips/spec/placement"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/spec/sortition"
)

// page is the most holders that one answer lists.
const page = 1000

type queries struct{ keeper Keeper }

var _ storagev1.QueryServer = queries{}

// Params are the parameters in force.
func (q queries) Params(ctx context.Context, _ *storagev1.QueryParamsRequest) (*storagev1.QueryParamsResponse, error) {
	p, err := q.keeper.Params(ctx)
	return &storagev1.QueryParamsResponse{Params: p}, err
}

// Holders lists all that ever held.
func (q queries) Holders(ctx context.Context, r *storagev1.QueryHoldersRequest) (*storagev1.QueryHoldersResponse, error) {
	if r.Pagination != nil && r.Pagination.Limit > page {
		r.Pagination.Limit = page
	}
	list, next, err := query.CollectionPaginate(ctx, q.keeper.holders, r.Pagination, func(_ []byte, h storagev1.Holder) (storagev1.Holder, error) { return h, nil })
	return &storagev1.QueryHoldersResponse{Holders: list, Pagination: next}, err
}

// Copies tells who is to keep a segment, and who does.
func (q queries) Copies(ctx context.Context, r *storagev1.QueryCopiesRequest) (*storagev1.QueryCopiesResponse, error) {
	s, known, err := q.keeper.Archive.Segment(ctx, r.Segment)
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, status.Error(codes.NotFound, ErrSegment.Wrapf("segment %d", r.Segment).Error())
	}
	nodes, rules, err1 := q.keeper.present(ctx)
	line, err2 := first(s.Point, nodes, rules)
	held, err3 := q.keeper.holding(ctx, r.Segment)
	res := &storagev1.QueryCopiesResponse{Line: raw(line), Held: raw(held), Wanted: uint32(rules.Copies)} //nolint:gosec // a parameter of 32 bits
	if err := errors.Join(err1, err2, err3); err != nil || len(r.Node) == 0 {
		return res, err
	}
	node, err := sortition.KeyOf(r.Node)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	_, err = q.keeper.may(ctx, node, r.Segment, s, nodes, rules)
	if res.May = err == nil; errors.Is(err, ErrPlace) || errors.Is(err, ErrTwice) {
		err = nil
	}
	return res, err
}

// Row lists what a holder keeps.
func (q queries) Row(ctx context.Context, r *storagev1.QueryRowRequest) (*storagev1.QueryRowResponse, error) {
	if r.Pagination != nil && r.Pagination.Limit > page {
		r.Pagination.Limit = page
	}
	list, next, err := query.CollectionPaginate(ctx, q.keeper.rows, r.Pagination, func(_ collections.Pair[[]byte, uint64], h storagev1.Held) (storagev1.Held, error) { return h, nil },
		query.WithCollectionPaginationPairPrefix[[]byte, uint64](r.Node))
	return &storagev1.QueryRowResponse{Pieces: list, Pagination: next}, err
}

// Offers lists parts of deals that a node may take, and counts who may hold one.
func (q queries) Offers(ctx context.Context, r *storagev1.QueryOffersRequest) (*storagev1.QueryOffersResponse, error) {
	if len(r.Node) > 0 { // most of the time there are none
		if some, err := q.keeper.Deals.Open(ctx, r.After); err != nil || !some {
			return &storagev1.QueryOffersResponse{}, err
		}
	}
	nodes, rules, err := q.keeper.bidders(ctx)
	if err != nil {
		return nil, err
	}
	res := &storagev1.QueryOffersResponse{Nodes: uint32(len(nodes))} //nolint:gosec // MaxNodes
	fit := rules
	fit.Copies, fit.Size = len(nodes), 1
	eligible, err := first(placement.Point{}, nodes, fit)
	if err != nil {
		return nil, err
	}
	res.Eligible = uint32(len(eligible)) //nolint:gosec // the same
	if len(r.Node) == 0 {
		return res, nil
	}
	node, err := sortition.KeyOf(r.Node)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	list, err := q.keeper.Deals.Offers(ctx, node, nodes, rules, r.After, proof.MaxHold)
	for _, p := range list {
		res.Offers = append(res.Offers, storagev1.Part{Deal: p.Deal, Number: p.Number})
	}
	return res, err
}

func raw(keys []sortition.Key) (list [][]byte) {
	for _, key := range keys {
		list = append(list, key[:])
	}
	return list
}

// Asked tells what a holder is asked today: no places if nothing is.
func (q queries) Asked(c context.Context, r *storagev1.QueryAskedRequest) (*storagev1.QueryAskedResponse, error) {
	ctx := sdk.UnwrapSDKContext(c)
	node, err := sortition.KeyOf(r.Node)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	h, a, challenge, err := q.keeper.task(ctx, node)
	res := &storagev1.QueryAskedResponse{Day: a.Day, Seed: a.Seed, Holder: h}
	if errors.Is(err, ErrDay) {
		return res, nil
	}
	if err != nil {
		return nil, err
	}
	leaves, of, err1 := q.keeper.leaves(ctx, h, challenge)
	auditors, needed, err2 := q.keeper.Committee.Observers(ctx, node, a.Slot)
	for i, l := range leaves {
		res.Places = append(res.Places, storagev1.Place{Segment: of[i].Segment, Deal: of[i].Deal, Part: of[i].Part, Root: l.Of.Root[:], Length: l.Of.Size, Leaf: l.Place})
	}
	res.Auditors, res.Needed = raw(auditors), needed
	return res, errors.Join(err1, err2)
}
