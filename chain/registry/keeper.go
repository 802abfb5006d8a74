// Package registry keeps the nodes: whose they are, the keys of their votes and of their lottery, and whether they take part.
// It promises that a node enters only with proof of possession of all its keys, that a key serves one node for ever, so that a
// double signature is traced to its node however late it comes, and that entering is free for a newcomer but bounded by those who carry.
// It leaves tickets and seats to chain/committee, days and epochs to its clock, and words and proofs to spec/sortition.
package registry

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/address"
	"cosmossdk.io/core/store"

	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/crypto/keys/ed25519"
	"github.com/cosmos/cosmos-sdk/crypto/keys/secp256k1"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/registryv1"
	"github.com/hpips/hpips/spec/placement"
	"github.com/hpips/hpips/spec/sortition"
)

// Name is the module's and its store's.
const Name = "registry"

// proofGas is what checking the four proofs of a registration costs.
const proofGas = 20_000

// Prefixes of the store. They are consensus: never renumber them.
var (
	paramsPrefix    = collections.NewPrefix(1)
	nodesPrefix     = collections.NewPrefix(2)
	keysPrefix      = collections.NewPrefix(3)
	addressesPrefix = collections.NewPrefix(4)
	ownedPrefix     = collections.NewPrefix(5)
	activePrefix    = collections.NewPrefix(6)
	carriedPrefix   = collections.NewPrefix(7)
	enteredPrefix   = collections.NewPrefix(8)
	unplacedPrefix  = collections.NewPrefix(9)
)

// Committee tells the day and the epoch of a block, and takes a node's ticket away; it does nothing for a node without one.
type Committee interface {
	Day(ctx context.Context) uint64
	Epoch(ctx context.Context) uint64
	Forget(ctx context.Context, id sortition.Key) error
}

// Keeper holds the nodes.
type Keeper struct {
	schema    collections.Schema
	params    collections.Item[registryv1.Params]
	nodes     collections.Map[[]byte, registryv1.Node]
	keys      collections.KeySet[[]byte]                           // each key that ever was registered, whatever for
	addresses collections.Map[[]byte, []byte]                      // consensus address, of now or earlier, to node
	owned     collections.KeySet[collections.Pair[string, []byte]] // nodes by owner
	active    collections.Map[string, uint64]                      // how many nodes of an owner take part
	carried   collections.Map[string, registryv1.Carried]          // by carrier: brought in on its last day
	entered   collections.Map[string, registryv1.Carried]          // by owner: its nodes that came in on the last such day
	unplaced  collections.KeySet[[]byte]                           // nodes without a point
	committee Committee
	codec     address.Codec
	authority string
}

// NewKeeper needs the committee, how addresses are written, and the address whose word is a vote's outcome.
func NewKeeper(cdc codec.Codec, service store.KVStoreService, committee Committee, addresses address.Codec, authority string) Keeper {
	b := collections.NewSchemaBuilder(service)
	carried := codec.CollValue[registryv1.Carried](cdc)
	k := Keeper{
		params:    collections.NewItem(b, paramsPrefix, "params", codec.CollValue[registryv1.Params](cdc)),
		nodes:     collections.NewMap(b, nodesPrefix, "nodes", collections.BytesKey, codec.CollValue[registryv1.Node](cdc)),
		keys:      collections.NewKeySet(b, keysPrefix, "keys", collections.BytesKey),
		addresses: collections.NewMap(b, addressesPrefix, "addresses", collections.BytesKey, collections.BytesValue),
		owned:     collections.NewKeySet(b, ownedPrefix, "owned", ownedKey),
		active:    collections.NewMap(b, activePrefix, "active", collections.StringKey, collections.Uint64Value),
		carried:   collections.NewMap(b, carriedPrefix, "carried", collections.StringKey, carried),
		entered:   collections.NewMap(b, enteredPrefix, "entered", collections.StringKey, carried),
		unplaced:  collections.NewKeySet(b, unplacedPrefix, "unplaced", collections.BytesKey),
		committee: committee, codec: addresses, authority: authority,
	}
	var err error
	if k.schema, err = b.Build(); err != nil {
		panic(err)
	}
	return k
}

var ownedKey = collections.PairKeyCodec(collections.StringKey, collections.BytesKey)

// Node gives a node by its key. False: it never registered.
func (k Keeper) Node(ctx context.Context, id sortition.Key) (registryv1.Node, bool, error) {
	return found(k.nodes.Get(ctx, id[:]))
}

// ByConsensusAddress gives the node that has, or once had, the consensus key with this address.
func (k Keeper) ByConsensusAddress(ctx context.Context, at []byte) (registryv1.Node, bool, error) {
	id, known, err := found(k.addresses.Get(ctx, at))
	if err != nil || !known {
		return registryv1.Node{}, false, err
	}
	return found(k.nodes.Get(ctx, id))
}

// Advance gives points to the nodes that were registered in earlier blocks, by the seed of this one, which nobody knew when they made their keys.
func (k Keeper) Advance(ctx context.Context, seed sortition.Seed) error {
	var due [][]byte
	err := k.unplaced.Walk(ctx, nil, func(id []byte) (bool, error) {
		due = append(due, id)
		return false, nil
	})
	for _, id := range due {
		err = errors.Join(err, k.place(ctx, id, seed))
	}
	return err
}

func (k Keeper) place(ctx context.Context, id []byte, seed sortition.Seed) error {
	n, err := k.nodes.Get(ctx, id)
	if err != nil || n.RegisteredHeight >= sdk.UnwrapSDKContext(ctx).BlockHeight() {
		return err
	}
	point := placement.NodePoint(seed, [32]byte(id))
	n.Point = point[:]
	return errors.Join(k.nodes.Set(ctx, id, n), k.unplaced.Remove(ctx, id))
}

// Owner gives the account of a node's owner; empty for a node that never registered.
func (k Keeper) Owner(ctx context.Context, id sortition.Key) (string, error) {
	n, _, err := k.Node(ctx, id)
	return n.Owner, err
}

// Bar takes a node out for ever because it signed twice. To bar it again changes nothing.
func (k Keeper) Bar(ctx context.Context, id sortition.Key) error {
	n, known, err := k.Node(ctx, id)
	switch {
	case err != nil:
		return fmt.Errorf("bar node: %w", err)
	case !known:
		return ErrUnknown.Wrapf("bar %x", id)
	case n.Standing == registryv1.STANDING_BARRED:
		return nil
	}
	return k.leave(ctx, n, registryv1.STANDING_BARRED)
}

// Register takes a node in. All that is wrong with a registration is found before anything is written.
func (k Keeper) Register(ctx context.Context, m *registryv1.MsgRegister) error {
	carrier, err := k.canonical(m.Carrier)
	if err != nil {
		return err
	}
	r, err := k.check(ctx, m)
	if err != nil {
		return err
	}
	at := consensusAddress(r.Consensus)
	if err := errors.Join(k.fresh(ctx, r.Node), k.fresh(ctx, r.Consensus), k.fresh(ctx, r.VRF), k.freshAddress(ctx, at)); err != nil {
		return err
	}
	carried, err := k.carries(ctx, carrier)
	if err != nil {
		return err
	}
	if err := k.prove(ctx, r, m); err != nil {
		return err
	}
	n := k.keyed(ctx, registryv1.Node{Id: r.Node[:], Owner: r.Owner, Standing: registryv1.STANDING_ACTIVE}, r)
	n.RegisteredHeight, n.RegisteredTime = n.KeysHeight, n.KeysTime
	count, _, err := found(k.active.Get(ctx, n.Owner))
	if err != nil {
		return err
	}
	entered, err := k.today(ctx, k.entered, n.Owner)
	if err != nil {
		return err
	}
	entered.Count++
	return errors.Join(k.nodes.Set(ctx, n.Id, n), k.keys.Set(ctx, n.Id), k.keys.Set(ctx, n.ConsensusKey), k.keys.Set(ctx, n.VrfKey),
		k.addresses.Set(ctx, at, n.Id), k.owned.Set(ctx, collections.Join(n.Owner, n.Id)), k.active.Set(ctx, n.Owner, count+1),
		k.entered.Set(ctx, n.Owner, entered), k.carried.Set(ctx, carrier, carried), k.unplaced.Set(ctx, n.Id), tell(ctx, n, "registered"))
}

// ChangeKeys gives a node other keys for votes, for the lottery, or both. A key that goes is never taken again, by anybody, and the
// address of a consensus key stays the node's: what it signed, it answers for. The ticket, which old keys took out, goes.
func (k Keeper) ChangeKeys(ctx context.Context, m *registryv1.MsgRegister) error {
	r, err := k.check(ctx, m)
	if err != nil {
		return err
	}
	n, err := k.takingPart(ctx, r.Node[:])
	if err != nil {
		return err
	}
	if n.Owner != r.Owner {
		return ErrOwner.Wrapf("change keys of %x", r.Node)
	}
	if r.Height < n.WordHeight {
		return ErrHeight.Wrapf("change keys of %x: the word is of height %d, the node's keys of %d", r.Node, r.Height, n.WordHeight)
	}
	votes, draws := string(n.ConsensusKey) != string(r.Consensus[:]), string(n.VrfKey) != string(r.VRF[:])
	if !votes && !draws {
		return ErrKeyUsed.Wrapf("change keys of %x: both are the node's", r.Node)
	}
	at := consensusAddress(r.Consensus)
	if votes {
		if err := errors.Join(k.fresh(ctx, r.Consensus), k.freshAddress(ctx, at)); err != nil {
			return err
		}
	}
	if draws {
		if err := k.fresh(ctx, r.VRF); err != nil {
			return err
		}
	}
	if err := k.prove(ctx, r, m); err != nil {
		return err
	}
	n = k.keyed(ctx, n, r)
	return errors.Join(k.committee.Forget(ctx, r.Node), k.nodes.Set(ctx, n.Id, n), k.keys.Set(ctx, n.ConsensusKey), k.keys.Set(ctx, n.VrfKey),
		k.addresses.Set(ctx, at, n.Id), tell(ctx, n, "keys"))
}

// Describe sets the digest of a node's inventory; none takes it away.
func (k Keeper) Describe(ctx context.Context, owner string, id, capabilities []byte) error {
	n, err := k.ownedBy(ctx, owner, id)
	if err != nil {
		return err
	}
	if l := len(capabilities); l != 0 && l != 32 {
		return ErrWord.Wrapf("digest of %d bytes", l)
	}
	n.Capabilities = capabilities
	return errors.Join(k.nodes.Set(ctx, n.Id, n), tell(ctx, n, "described"))
}

// Retire takes a node out for ever: another one may come in its place, with keys of its own.
func (k Keeper) Retire(ctx context.Context, owner string, id []byte) error {
	n, err := k.ownedBy(ctx, owner, id)
	if err != nil {
		return err
	}
	return errors.Join(k.committee.Forget(ctx, sortition.Key(n.Id)), k.leave(ctx, n, registryv1.STANDING_RETIRED))
}

// check is all that a registration shows without its proofs.
func (k Keeper) check(ctx context.Context, m *registryv1.MsgRegister) (sortition.Registration, error) {
	none, sctx := sortition.Registration{}, sdk.UnwrapSDKContext(ctx)
	r, err := sortition.ParseRegistration(m.Registration)
	if err != nil {
		return none, ErrWord.Wrap(err.Error())
	}
	if r.Chain != sctx.ChainID() {
		return none, ErrChain.Wrap(r.Chain)
	}
	if err := r.CheckHeight(sctx.BlockHeight()); err != nil {
		return none, ErrHeight.Wrap(err.Error())
	}
	if len(m.OwnerKey) != secp256k1.PubKeySize {
		return none, ErrOwner.Wrapf("key of %d bytes", len(m.OwnerKey))
	}
	owner, err := k.codec.BytesToString((&secp256k1.PubKey{Key: m.OwnerKey}).Address())
	if err != nil {
		return none, ErrOwner.Wrap(err.Error())
	}
	if owner != r.Owner {
		return none, ErrOwner.Wrapf("the key is %s's, not %s's", owner, r.Owner)
	}
	return r, nil
}

// prove checks all four proofs of possession. It comes last, because it is what costs.
func (k Keeper) prove(ctx context.Context, r sortition.Registration, m *registryv1.MsgRegister) error {
	sdk.UnwrapSDKContext(ctx).GasMeter().ConsumeGas(proofGas, "proofs of a registration")
	vrf, err := sortition.ProofOf(m.VrfProof)
	if err != nil {
		return ErrProof.Wrap(err.Error())
	}
	if err := r.Check(m.NodeSignature, m.ConsensusSignature, vrf); err != nil {
		return ErrProof.Wrap(err.Error())
	}
	signed, err := r.Signed()
	if err != nil {
		return ErrWord.Wrap(err.Error())
	}
	if !(&secp256k1.PubKey{Key: m.OwnerKey}).VerifySignature(signed, m.OwnerSignature) {
		return ErrProof.Wrap("registration: owner key")
	}
	return nil
}

// carries gives the carrier's count with one more node. What came in today carries nobody yet: otherwise one node could bring in any number.
func (k Keeper) carries(ctx context.Context, carrier string) (none registryv1.Carried, err error) {
	p, err := k.Params(ctx)
	if err != nil {
		return none, err
	}
	nodes, _, err := found(k.active.Get(ctx, carrier))
	if err != nil {
		return none, err
	}
	entered, err := k.today(ctx, k.entered, carrier)
	if err != nil {
		return none, err
	}
	if nodes <= uint64(entered.Count) {
		return none, ErrCarrier.Wrap(carrier)
	}
	carried, err := k.today(ctx, k.carried, carrier)
	if err != nil {
		return none, err
	}
	if most := (nodes - uint64(entered.Count)) * uint64(p.CarriedPerDay); uint64(carried.Count) >= most {
		return none, ErrCarried.Wrapf("%d by %s", carried.Count, carrier)
	}
	carried.Count++
	return carried, nil
}

// today gives a count of this day; one of an earlier day is none.
func (k Keeper) today(ctx context.Context, counts collections.Map[string, registryv1.Carried], who string) (registryv1.Carried, error) {
	day := k.committee.Day(ctx)
	c, known, err := found(counts.Get(ctx, who))
	if !known || c.Day != day {
		c = registryv1.Carried{Day: day}
	}
	return c, err
}

// keyed puts a registration's keys into a node, as of now.
func (k Keeper) keyed(ctx context.Context, n registryv1.Node, r sortition.Registration) registryv1.Node {
	sctx := sdk.UnwrapSDKContext(ctx)
	n.ConsensusKey, n.VrfKey, n.Capabilities = r.Consensus[:], r.VRF[:], r.Capabilities
	n.KeysHeight, n.KeysTime, n.KeysEpoch = sctx.BlockHeight(), sctx.BlockTime(), k.committee.Epoch(ctx)
	n.WordHeight = r.Height
	return n
}

func (k Keeper) leave(ctx context.Context, n registryv1.Node, standing registryv1.Standing) error {
	if n.Standing == registryv1.STANDING_ACTIVE {
		count, _, err := found(k.active.Get(ctx, n.Owner))
		if err != nil {
			return err
		}
		if err := k.active.Set(ctx, n.Owner, max(count, 1)-1); err != nil {
			return err
		}
	}
	n.Standing = standing
	what := "retired"
	if standing == registryv1.STANDING_BARRED {
		what = "barred"
	}
	return errors.Join(k.nodes.Set(ctx, n.Id, n), tell(ctx, n, what))
}

func (k Keeper) takingPart(ctx context.Context, id []byte) (registryv1.Node, error) {
	n, known, err := found(k.nodes.Get(ctx, id))
	switch {
	case err != nil:
		return n, err
	case !known:
		return n, ErrUnknown.Wrapf("%.32x", id)
	case n.Standing != registryv1.STANDING_ACTIVE:
		return n, ErrStanding.Wrapf("%x", id)
	}
	return n, nil
}

func (k Keeper) ownedBy(ctx context.Context, owner string, id []byte) (registryv1.Node, error) {
	owner, err := k.canonical(owner)
	if err != nil {
		return registryv1.Node{}, err
	}
	n, err := k.takingPart(ctx, id)
	if err == nil && n.Owner != owner {
		err = ErrOwner.Wrapf("node %x", id)
	}
	return n, err
}

func (k Keeper) fresh(ctx context.Context, key sortition.Key) error {
	used, err := k.keys.Has(ctx, key[:])
	if used {
		return ErrKeyUsed.Wrapf("%x", key)
	}
	return err
}

func (k Keeper) freshAddress(ctx context.Context, at []byte) error {
	used, err := k.addresses.Has(ctx, at)
	if used {
		return ErrKeyUsed.Wrapf("consensus address %x", at)
	}
	return err
}

// canonical is the one way to write an address: what is stored by owner is found by owner.
func (k Keeper) canonical(who string) (string, error) {
	b, err := k.codec.StringToBytes(who)
	if err != nil {
		return "", ErrAddress.Wrapf("%.100q: %v", who, err)
	}
	return k.codec.BytesToString(b)
}

func consensusAddress(key sortition.Key) []byte { return (&ed25519.PubKey{Key: key[:]}).Address() }

// found tells what is absent from what went wrong.
func found[V any](v V, err error) (V, bool, error) {
	if errors.Is(err, collections.ErrNotFound) {
		return v, false, nil
	}
	return v, err == nil, err
}

func tell(ctx context.Context, n registryv1.Node, what string) error {
	sdk.UnwrapSDKContext(ctx).EventManager().EmitEvent(sdk.NewEvent("hpips_node",
		sdk.NewAttribute("what", what), sdk.NewAttribute("node", hex.EncodeToString(n.Id)), sdk.NewAttribute("owner", n.Owner)))
	return nil
}
