package archive

import (
	"context"
	"encoding/json"

	"cosmossdk.io/collections"
	"google.golang.org/grpc"

	"github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/types/msgservice"
	"github.com/cosmos/cosmos-sdk/types/query"

	"github.com/hpips/hpips/proto/gen/archivev1"
)

// Module is what the chain mounts. Its schema is the whole genesis.
type Module struct {
	collections.Schema
	keeper Keeper
}

// NewModule mounts a keeper.
func NewModule(k Keeper) Module { return Module{Schema: k.schema, keeper: k} }

// RegisterServices offers messages and queries.
func (m Module) RegisterServices(r grpc.ServiceRegistrar) error {
	archivev1.RegisterMsgServer(r, msgs{m.keeper})
	archivev1.RegisterQueryServer(r, queries{m.keeper})
	return nil
}

// RegisterInterfaces names the messages to the codec.
func (Module) RegisterInterfaces(r types.InterfaceRegistry) {
	msgservice.RegisterMsgServiceDesc(r, &archivev1.Msg_serviceDesc)
}

// ConsensusVersion counts the changes of what is stored.
func (Module) ConsensusVersion() uint64 { return 1 }

// Genesis is the module's part of a new chain's genesis, in the form of the schema: nothing is recorded.
func Genesis() json.RawMessage {
	return json.RawMessage(`{"next":[],"segments":[],"unplaced":[],"words":[]}`)
}

type msgs struct{ keeper Keeper }

// Segment takes what a seat made.
func (m msgs) Segment(ctx context.Context, msg *archivev1.MsgSegment) (*archivev1.MsgSegmentResponse, error) {
	return &archivev1.MsgSegmentResponse{}, m.keeper.say(unmetered(ctx), msg)
}

// page is the most segments that one answer holds.
const page = 1000

type queries struct{ keeper Keeper }

// Segments lists what is recorded.
func (q queries) Segments(ctx context.Context, r *archivev1.QuerySegmentsRequest) (*archivev1.QuerySegmentsResponse, error) {
	if r.Pagination != nil && r.Pagination.Limit > page {
		r.Pagination.Limit = page
	}
	list, next, err := query.CollectionPaginate(ctx, q.keeper.segments, r.Pagination, func(_ uint64, s archivev1.Segment) (archivev1.Segment, error) { return s, nil })
	return &archivev1.QuerySegmentsResponse{Segments: list, Pagination: next}, err
}

// Next tells what comes next.
func (q queries) Next(ctx context.Context, _ *archivev1.QueryNextRequest) (*archivev1.QueryNextResponse, error) {
	number, from, err := q.keeper.Next(ctx)
	if err != nil {
		return nil, err
	}
	res := &archivev1.QueryNextResponse{Number: number, From: from}
	err = q.keeper.words.Walk(ctx, nil, func(_ []byte, w archivev1.Word) (bool, error) {
		res.Words = append(res.Words, w)
		return false, nil
	})
	return res, err
}
