package committee

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"cosmossdk.io/core/genesis"
	errorsmod "cosmossdk.io/errors"
	"cosmossdk.io/log/v2"
	abci "github.com/cometbft/cometbft/abci/types"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/address"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/runtime"
	"github.com/cosmos/cosmos-sdk/store/v2/rootmulti"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/sortition"
)

// GenesisNode holds a seat and a ticket from the beginning. The registry must know it with keys of height 0.
type GenesisNode struct {
	Node, Consensus, VRF sortition.Key
	Owner                string
	Network              string // as sortition.Network gives it; empty where nobody knows, which makes it the node's own
	Guardian             bool
}

// Genesis is the state with which a chain begins: the first nodes sit and hold tickets, and the first block draws.
func Genesis(params committeev1.Params, chain string, at time.Time, nodes []GenesisNode) (json.RawMessage, error) {
	key := storetypes.NewKVStoreKey(Name)
	memory := rootmulti.NewStore(dbm.NewMemDB(), log.NewNopLogger())
	memory.SetIAVLSyncPruning(true) // or it has a goroutine for ever
	memory.MountStoreWithDB(key, storetypes.StoreTypeIAVL, nil)
	if err := memory.LoadLatestVersion(); err != nil {
		return nil, fmt.Errorf("genesis of %s: %w", Name, err)
	}
	cdc := codec.NewProtoCodec(codectypes.NewInterfaceRegistry())
	k := NewKeeper(cdc, runtime.NewKVStoreService(key), address.NewBech32Codec("hpips"), nil, nil, "")
	ctx := sdk.NewContext(memory, cmtproto.Header{ChainID: chain, Time: at}, false, log.NewNopLogger())
	if err := k.found(ctx, params, at, nodes); err != nil {
		return nil, fmt.Errorf("genesis of %s: %w", Name, err)
	}
	return k.export(ctx)
}

// found writes the state before the first block.
func (k Keeper) found(ctx sdk.Context, params committeev1.Params, at time.Time, nodes []GenesisNode) error {
	if err := Check(params); err != nil {
		return err
	}
	if len(nodes) == 0 || len(nodes) > int(params.Seats) {
		return errorsmod.Wrapf(ErrGenesis, "%d nodes for %d seats", len(nodes), params.Seats)
	}
	at = at.UTC()
	seed := sortition.Genesis(ctx.ChainID())
	b := committeev1.Beacon{Seed: seed[:], Height: -1, Time: at, GenesisTime: at, Slot: seconds(at.Unix()) / params.SlotSeconds}
	size := uint32(len(nodes))
	var members []sortition.Member
	for _, n := range nodes {
		members = append(members, sortition.Member{Node: n.Node, Guardian: n.Guardian})
	}
	threshold := sortition.FirstThreshold(uint64(size), rules(params, 0).Guarded(members).Free(size))
	e := committeev1.Epoch{Number: 1, Threshold: threshold[:], Size_: size, GuardiansEnded: true}
	for _, n := range nodes {
		if taken, err := k.holders.Has(ctx, n.Node[:]); err != nil || taken {
			return errors.Join(err, errorsmod.Wrapf(ErrGenesis, "node %s is named twice", n.Node))
		}
		if n.Network == "" {
			n.Network = unseen(n.Node)
		}
		if n.Guardian {
			e.GuardiansEnded = false
		}
		point := sortition.Point(n.Node, seed)
		if err := errors.Join(
			k.place(ctx, committeev1.Ticket{
				Node: n.Node[:], Owner: n.Owner, Network: n.Network, ConsensusKey: n.Consensus[:], VrfKey: n.VRF[:],
				UntilSlot: forever, UntilDay: uint64(params.TicketDays), Point: point[:],
			}),
			k.seats.Set(ctx, n.Node[:], committeev1.Seat{
				Node: n.Node[:], Owner: n.Owner, Network: n.Network, ConsensusKey: n.Consensus[:], VrfKey: n.VRF[:],
				SinceEpoch: 0, SinceHeight: -1, Guardian: n.Guardian,
			}),
		); err != nil {
			return err
		}
	}
	return errors.Join(k.params.Set(ctx, params), k.beacon.Set(ctx, b), k.epoch.Set(ctx, e))
}

// begin checks an imported state and gives the engine all of its seats: it knows none yet.
func (k Keeper) begin(ctx sdk.Context) ([]abci.ValidatorUpdate, error) {
	params, err := k.Params(ctx)
	if err != nil {
		return nil, err
	}
	if err := Check(params); err != nil {
		return nil, err
	}
	b, err := k.beacon.Get(ctx)
	if err != nil {
		return nil, fmt.Errorf("beacon: %w", err)
	}
	e, err := k.epoch.Get(ctx)
	if err != nil {
		return nil, fmt.Errorf("epoch: %w", err)
	}
	if len(b.Seed) != 32 || len(e.Threshold) != 32 || e.Opened != 0 && len(e.DrawSeed) != 32 {
		return nil, errorsmod.Wrap(ErrGenesis, "seed and threshold have 32 bytes")
	}
	if err := k.checkState(ctx); err != nil {
		return nil, err
	}
	if err := errors.Join(k.voters.Clear(ctx, nil), k.parting.Clear(ctx, nil)); err != nil {
		return nil, err
	}
	return k.publish(ctx)
}

// checkState checks what the rules take for granted: the lengths of keys, and that what is kept twice agrees.
func (k Keeper) checkState(ctx context.Context) error {
	keys := map[string]bool{} // for looking up only
	if err := k.seats.Walk(ctx, nil, func(node []byte, s committeev1.Seat) (bool, error) {
		if string(node) != string(s.Node) || !whole(s.Node, s.ConsensusKey, s.VrfKey) || keys[string(s.ConsensusKey)] {
			return true, errorsmod.Wrapf(ErrGenesis, "seat %x", node)
		}
		keys[string(s.ConsensusKey)] = true
		return false, nil
	}); err != nil {
		return err
	}
	var good uint64
	if err := k.ring.Walk(ctx, nil, func(point []byte, t committeev1.Ticket) (bool, error) {
		if string(point) != string(t.Point) || !whole(t.Node, t.ConsensusKey, t.VrfKey, t.Point) {
			return true, errorsmod.Wrapf(ErrGenesis, "ticket at %x", point)
		}
		if t.UntilSlot == forever {
			good++
		}
		return false, nil
	}); err != nil {
		return err
	}
	var held uint64
	if err := k.holders.Walk(ctx, nil, func(node, point []byte) (bool, error) {
		held++
		t, err := k.ring.Get(ctx, point)
		if err != nil || string(t.Node) != string(node) {
			return true, errors.Join(err, errorsmod.Wrapf(ErrGenesis, "holder %x", node))
		}
		return false, nil
	}); err != nil {
		return err
	}
	if n := k.Tickets(ctx); n != good || n != held {
		return errorsmod.Wrapf(ErrGenesis, "%d tickets are counted, %d are good, %d are held", n, good, held)
	}
	if err := k.waiting.Walk(ctx, nil, func(node []byte, t committeev1.Ticket) (bool, error) {
		if string(node) != string(t.Node) || !whole(t.Node, t.ConsensusKey, t.VrfKey) {
			return true, errorsmod.Wrapf(ErrGenesis, "applicant %x", node)
		}
		return false, nil
	}); err != nil {
		return err
	}
	check := func(c committeev1.Claim) (bool, error) {
		if !whole(c.Node) || len(c.Rank) != len(sortition.Rank{}) {
			return true, errorsmod.Wrapf(ErrGenesis, "claim of %x", c.Node)
		}
		return false, nil
	}
	return errors.Join(
		k.claims.Walk(ctx, nil, func(_ []byte, c committeev1.Claim) (bool, error) { return check(c) }),
		k.substitutes.Walk(ctx, nil, func(_ uint64, c committeev1.Claim) (bool, error) { return check(c) }),
	)
}

func whole(keys ...[]byte) bool {
	for _, k := range keys {
		if len(k) != len(sortition.Key{}) {
			return false
		}
	}
	return true
}

// export gives the whole state in the form of the schema.
func (k Keeper) export(ctx context.Context) (json.RawMessage, error) {
	target := genesis.RawJSONTarget{}
	if err := k.schema.ExportGenesis(ctx, target.Target()); err != nil {
		return nil, err
	}
	return target.JSON()
}
