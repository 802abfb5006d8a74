package chain

import (
	"context"
	"fmt"
	"time"

	"github.com/cosmos/cosmos-sdk/client"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/grpc-ecosystem/grpc-gateway/runtime"

	"github.com/hpips/hpips/chain/committee"
	committeev1 "github.com/hpips/hpips/proto/gen/committeev1"
	governancev1 "github.com/hpips/hpips/proto/gen/governancev1"
	registryv1 "github.com/hpips/hpips/proto/gen/registryv1"
	supplyv1 "github.com/hpips/hpips/proto/gen/supplyv1"
	"github.com/hpips/hpips/spec/sortition"
)

// tickets tells the registry the committee's time, and the committee whose ticket goes.
type tickets struct{ *keepers }

func (t tickets) Day(ctx context.Context) uint64   { return t.committee.Day(ctx) }
func (t tickets) Epoch(ctx context.Context) uint64 { return t.committee.EpochNumber(ctx) }
func (t tickets) Forget(ctx context.Context, id sortition.Key) error {
	return t.committee.Forget(ctx, id)
}

// nodes tells the committee what the registry knows.
type nodes struct{ *keepers }

func (n nodes) Node(ctx context.Context, id sortition.Key) (committee.Node, bool, error) {
	return seen(n.registry.Node(ctx, id))
}

func (n nodes) ByConsensusAddress(ctx context.Context, address []byte) (committee.Node, bool, error) {
	return seen(n.registry.ByConsensusAddress(ctx, address))
}

func (n nodes) Bar(ctx context.Context, id sortition.Key) error { return n.registry.Bar(ctx, id) }

// seen turns the registry's node into the committee's.
func seen(n registryv1.Node, known bool, err error) (committee.Node, bool, error) {
	if err != nil || !known {
		return committee.Node{}, false, err
	}
	out := committee.Node{
		Owner: n.Owner, Active: n.Standing == registryv1.STANDING_ACTIVE,
		KeysHeight: n.KeysHeight, KeysTime: n.KeysTime, KeysEpoch: n.KeysEpoch,
	}
	for _, key := range []struct {
		to   *sortition.Key
		from []byte
	}{{&out.ID, n.Id}, {&out.Consensus, n.ConsensusKey}, {&out.VRF, n.VrfKey}} {
		if *key.to, err = sortition.KeyOf(key.from); err != nil {
			return committee.Node{}, false, fmt.Errorf("registered node: %w", err)
		}
	}
	return out, true, nil
}

// advance hands a block's seed to the committee, and on the first block of a day looks whether all sums are right.
func (a *App) advance(ctx sdk.Context, beta sortition.Beta) error {
	change, err := a.keepers.committee.Advance(ctx, beta)
	if err != nil || !change.Day {
		return err
	}
	return a.keepers.supply.CheckInvariants(ctx)
}

// seeded tells whether the block that is being made carries a seed.
func (a *App) seeded(ctx sdk.Context) (bool, error) {
	b, err := a.keepers.committee.Beacon(ctx)
	return b.Height == ctx.BlockHeight(), err
}

// EpochNumber is the epoch of the last block; 0 before there is one.
func (a *App) EpochNumber() uint64 {
	ctx, err := a.state()
	if err != nil {
		return 0
	}
	return a.keepers.committee.EpochNumber(ctx)
}

// state reads the last committed state.
func (a *App) state() (sdk.Context, error) {
	return a.CreateQueryContextWithCheckHeader(0, false, false)
}

// Pace is how fast the chain goes by itself.
type Pace struct {
	Heartbeat   time.Duration
	EpochBlocks uint64
}

func pace(p committeev1.Params) Pace {
	return Pace{Heartbeat: time.Duration(p.HeartbeatSeconds) * time.Second, EpochBlocks: p.EpochBlocks}
}

// ourRoutes offers the queries of our modules over REST.
func ourRoutes(c client.Context, mux *runtime.ServeMux) {
	ctx := context.Background()
	for _, err := range []error{
		registryv1.RegisterQueryHandlerClient(ctx, mux, registryv1.NewQueryClient(c)),
		committeev1.RegisterQueryHandlerClient(ctx, mux, committeev1.NewQueryClient(c)),
		supplyv1.RegisterQueryHandlerClient(ctx, mux, supplyv1.NewQueryClient(c)),
		governancev1.RegisterQueryHandlerClient(ctx, mux, governancev1.NewQueryClient(c)),
	} {
		if err != nil {
			panic(err) // the generated code never fails here
		}
	}
}
