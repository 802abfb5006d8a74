package storage

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/query"

	"github.com/hpips/hpips/proto/gen/storagev1"
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
	leaves, segments, err1 := q.keeper.leaves(ctx, h, challenge)
	auditors, needed, err2 := q.keeper.Committee.Observers(ctx, node, a.Slot)
	for i, l := range leaves {
		res.Places = append(res.Places, storagev1.Place{Segment: segments[i], Root: l.Of.Root[:], Length: l.Of.Size, Leaf: l.Place})
	}
	res.Auditors, res.Needed = raw(auditors), needed
	return res, errors.Join(err1, err2)
}
