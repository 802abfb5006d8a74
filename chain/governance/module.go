package governance

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"
	"google.golang.org/grpc"

	govkeeper "github.com/cosmos/cosmos-sdk/x/gov/keeper"

	"github.com/hpips/hpips/proto/gen/governancev1"
)

// Module is what the chain mounts. Its schema is the whole genesis.
type Module struct {
	collections.Schema
	keeper Keeper
	gov    *govkeeper.Keeper
}

// NewModule mounts a keeper and the x/gov that was built with its Tally.
func NewModule(k Keeper, gov *govkeeper.Keeper) Module { return Module{k.schema, k, gov} }

// RegisterServices offers the queries: votes are x/gov's messages.
func (m Module) RegisterServices(r grpc.ServiceRegistrar) error {
	governancev1.RegisterQueryServer(r, queries{m.keeper, m.gov})
	return nil
}

// BeginBlock sees which vote x/gov may end in this block.
func (m Module) BeginBlock(ctx context.Context) error { return m.keeper.BeginBlock(ctx, m.gov) }

// EndBlock comes after x/gov's.
func (m Module) EndBlock(ctx context.Context) error { return m.keeper.EndBlock(ctx, m.gov) }

// ConsensusVersion counts the changes of what is stored.
func (Module) ConsensusVersion() uint64 { return 1 }

type queries struct {
	keeper Keeper
	gov    *govkeeper.Keeper
}

// Tally tells both houses as far as they are counted, or how they ended.
func (q queries) Tally(ctx context.Context, r *governancev1.QueryTallyRequest) (*governancev1.QueryTallyResponse, error) {
	open, err := q.keeper.ballots.Has(ctx, r.Proposal)
	if err != nil {
		return nil, fmt.Errorf("tally: %w", err)
	}
	if open {
		var ended bool
		if ended, err = q.keeper.ended.Has(ctx, r.Proposal); err != nil {
			return nil, fmt.Errorf("tally: %w", err)
		}
		open = !ended
	}
	if !open {
		end, err := q.keeper.results.Get(ctx, r.Proposal)
		if errors.Is(err, collections.ErrNotFound) {
			return nil, ErrUnknown.Wrapf("tally of proposal %d", r.Proposal)
		} else if err != nil {
			return nil, fmt.Errorf("tally: %w", err)
		}
		return &governancev1.QueryTallyResponse{Result: end}, nil
	}
	p, err := q.gov.Proposals.Get(ctx, r.Proposal)
	if err != nil {
		return nil, fmt.Errorf("tally: %w", err)
	}
	now, err := q.keeper.result(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("tally: %w", err)
	}
	return &governancev1.QueryTallyResponse{Result: now, Open: true}, nil
}
