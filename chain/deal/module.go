package deal

import (
	"context"
	"encoding/json"
	"fmt"

	"cosmossdk.io/collections"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/types/msgservice"
	"github.com/cosmos/cosmos-sdk/types/query"

	"github.com/hpips/hpips/proto/gen/dealv1"
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
	dealv1.RegisterMsgServer(r, msgs{m.keeper})
	dealv1.RegisterQueryServer(r, queries{m.keeper})
	return nil
}

// RegisterInterfaces names the messages to the codec.
func (Module) RegisterInterfaces(r types.InterfaceRegistry) {
	msgservice.RegisterMsgServiceDesc(r, &dealv1.Msg_serviceDesc)
}

// ConsensusVersion counts the changes of what is stored.
func (Module) ConsensusVersion() uint64 { return 1 }

// Genesis is the module's part of a new chain's genesis, in the form of the schema: its parameters, and no deals.
func Genesis(p dealv1.Params) (json.RawMessage, error) {
	if err := CheckParams(p); err != nil {
		return nil, fmt.Errorf("genesis of deals: %w", err)
	}
	value, err := codec.ProtoMarshalJSON(&p, nil)
	if err != nil {
		return nil, fmt.Errorf("genesis of deals: %w", err)
	}
	type entry struct {
		Key   string          `json:"key"`
		Value json.RawMessage `json:"value"`
	}
	rows := map[string][]entry{"params": {{"item", value}}}
	for _, empty := range []string{"last", "deals", "parts", "open", "ends", "payers", "objects", "unplaced", "totals"} {
		rows[empty] = []entry{}
	}
	return json.Marshal(rows)
}

type msgs struct{ keeper Keeper }

var _ dealv1.MsgServer = msgs{}

// Pin makes a deal.
func (m msgs) Pin(ctx context.Context, msg *dealv1.MsgPin) (*dealv1.MsgPinResponse, error) {
	d, err := m.keeper.pin(ctx, msg)
	return &dealv1.MsgPinResponse{Deal: d.Number, Deposit: d.Deposit}, err
}

// Extend pays for more days.
func (m msgs) Extend(ctx context.Context, msg *dealv1.MsgExtend) (*dealv1.MsgExtendResponse, error) {
	d, err := m.keeper.extend(ctx, msg)
	return &dealv1.MsgExtendResponse{Last: d.Last, Deposit: d.Deposit}, err
}

// Unpin ends a deal.
func (m msgs) Unpin(ctx context.Context, msg *dealv1.MsgUnpin) (*dealv1.MsgUnpinResponse, error) {
	return &dealv1.MsgUnpinResponse{}, m.keeper.unpin(ctx, msg)
}

// UpdateParams sets what a vote decided.
func (m msgs) UpdateParams(ctx context.Context, msg *dealv1.MsgUpdateParams) (*dealv1.MsgUpdateParamsResponse, error) {
	if msg.Authority != m.keeper.authority {
		return nil, ErrAuthority.Wrap("deal parameters")
	}
	if err := CheckParams(msg.Params); err != nil {
		return nil, err
	}
	return &dealv1.MsgUpdateParamsResponse{}, m.keeper.params.Set(ctx, msg.Params)
}

// page is the most deals that one answer lists.
const page = 200

type queries struct{ keeper Keeper }

var _ dealv1.QueryServer = queries{}

// Params are the parameters in force, and the sums of all deals.
func (q queries) Params(ctx context.Context, _ *dealv1.QueryParamsRequest) (*dealv1.QueryParamsResponse, error) {
	p, err := q.keeper.Params(ctx)
	if err != nil {
		return nil, err
	}
	t, err := q.keeper.Totals(ctx)
	return &dealv1.QueryParamsResponse{Params: p, Totals: t}, err
}

// Deal reads one.
func (q queries) Deal(ctx context.Context, r *dealv1.QueryDealRequest) (*dealv1.QueryDealResponse, error) {
	d, err := q.keeper.Deal(ctx, r.Number)
	if err != nil {
		return nil, status.Error(codes.NotFound, err.Error())
	}
	res := &dealv1.QueryDealResponse{Deal: d}
	err = q.keeper.parts.Walk(ctx, collections.NewPrefixedPairRange[uint64, uint64](r.Number), func(_ part, p dealv1.Part) (bool, error) {
		res.Parts = append(res.Parts, p)
		return false, nil
	})
	return res, err
}

// Deals lists those of a payer, or about an object.
func (q queries) Deals(ctx context.Context, r *dealv1.QueryDealsRequest) (*dealv1.QueryDealsResponse, error) {
	if r.Pagination != nil && r.Pagination.Limit > page {
		r.Pagination.Limit = page
	}
	if len(r.Object) > 0 {
		list, next, err := query.CollectionPaginate(ctx, q.keeper.objects, r.Pagination, func(key collections.Pair[[]byte, uint64], _ collections.NoValue) (dealv1.Deal, error) {
			return q.keeper.Deal(ctx, key.K2())
		}, query.WithCollectionPaginationPairPrefix[[]byte, uint64](r.Object))
		return &dealv1.QueryDealsResponse{Deals: list, Pagination: next}, err
	}
	payer, _, err := q.keeper.canonical(r.Payer)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	list, next, err := query.CollectionPaginate(ctx, q.keeper.payers, r.Pagination, func(key collections.Pair[string, uint64], _ collections.NoValue) (dealv1.Deal, error) {
		return q.keeper.Deal(ctx, key.K2())
	}, query.WithCollectionPaginationPairPrefix[string, uint64](payer))
	return &dealv1.QueryDealsResponse{Deals: list, Pagination: next}, err
}

// Msgs takes messages, and Queries answers questions, as the chain does.
func (k Keeper) Msgs() dealv1.MsgServer { return msgs{k} }

// Queries answers questions.
func (k Keeper) Queries() dealv1.QueryServer { return queries{k} }
