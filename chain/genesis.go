package chain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"cosmossdk.io/math"
	cmttypes "github.com/cometbft/cometbft/types"
	"github.com/cosmos/cosmos-sdk/crypto/keys/secp256k1"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	"github.com/cosmos/cosmos-sdk/x/authz"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	epochstypes "github.com/cosmos/cosmos-sdk/x/epochs/types"
	"github.com/cosmos/cosmos-sdk/x/feegrant"
	govtypes "github.com/cosmos/cosmos-sdk/x/gov/types"
	"github.com/cosmos/gogoproto/proto"

	"github.com/hpips/hpips/chain/committee"
	"github.com/hpips/hpips/chain/governance"
	"github.com/hpips/hpips/chain/registry"
	"github.com/hpips/hpips/chain/supply"
	committeev1 "github.com/hpips/hpips/proto/gen/committeev1"
	registryv1 "github.com/hpips/hpips/proto/gen/registryv1"
	supplyv1 "github.com/hpips/hpips/proto/gen/supplyv1"
	"github.com/hpips/hpips/spec/sortition"
)

// The kinds of network. They differ in times and limits, never in rules.
const (
	Public = "public" // the one chain for everybody
	Pool   = "pool"   // private computers of people who know each other
	Dev    = "dev"    // a desk
)

// Limits of a block, and how long a double signature can be proven.
const (
	MaxBlock       = 2 << 20
	MaxGas         = 60_000_000
	evidenceAge    = 14 * 24 * time.Hour
	evidenceBlocks = 1_300_000
	networkKey     = "network" // of the application's state in a genesis
)

// Genesis says how a chain begins. Build makes the file that all its nodes start from.
type Genesis struct {
	Network, ChainID string
	Time             time.Time
	Seats            []GenesisNode
	Nodes            []GenesisNode // registered from the first block on, without a seat; on development networks alone
	Grants           []Grant
	Allowances       []Allowance
	// Heartbeat, Day and EpochBlocks, if not 0, replace those of the network, the times by whole seconds, and slots shrink with the day; Tune
	// changes any parameter. A public chain takes none of them.
	Heartbeat   time.Duration
	Day         time.Duration
	EpochBlocks uint64
	Tune        func(*committeev1.Params)
}

// GenesisNode is one of the first seats: a registration with its owner's and its keys' signatures, as a later node's is carried in.
type GenesisNode struct {
	Registration       []byte `json:"registration"`
	NodeSignature      []byte `json:"nodeSignature"`
	ConsensusSignature []byte `json:"consensusSignature"`
	VRFProof           []byte `json:"vrfProof"`
	OwnerKey           []byte `json:"ownerKey"`
	OwnerSignature     []byte `json:"ownerSignature"`
	// Network is where the node is, as "a.b.c.0/24", if it is known.
	Network  string `json:"network,omitempty"`
	Guardian bool   `json:"guardian,omitempty"`
}

// Grant moves a named amount, in uhpips, out of one of the five accounts before the first block.
type Grant struct {
	Address string
	Amount  uint64
	From    string
	Label   string
}

// Build makes the genesis file, and checks it as everybody who gets it will.
func (g Genesis) Build() (*cmttypes.GenesisDoc, error) {
	params, err := g.params()
	if err != nil {
		return nil, err
	}
	codec, err := Encoding()
	if err != nil {
		return nil, err
	}
	state, err := g.state(codec, params)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(state)
	if err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	doc := &cmttypes.GenesisDoc{
		GenesisTime: g.Time.UTC().Round(time.Millisecond), ChainID: g.ChainID, InitialHeight: 1, ConsensusParams: limits(), AppState: text,
	}
	if _, err := CheckGenesis(doc); err != nil {
		return nil, err
	}
	return doc, nil
}

// limits are the engine's parameters.
func limits() *cmttypes.ConsensusParams {
	p := cmttypes.DefaultConsensusParams()
	p.Block.MaxBytes, p.Block.MaxGas = MaxBlock, MaxGas
	p.Evidence.MaxAgeDuration, p.Evidence.MaxAgeNumBlocks, p.Evidence.MaxBytes = evidenceAge, evidenceBlocks, 100_000
	p.Validator.PubKeyTypes = []string{cmttypes.ABCIPubKeyTypeEd25519}
	return p
}

func (g Genesis) params() (committeev1.Params, error) {
	p, err := networkParams(g.Network)
	if err != nil {
		return p, err
	}
	if g.Network == Public && (g.Heartbeat != 0 || g.Day != 0 || g.EpochBlocks != 0 || g.Tune != nil) {
		return p, errors.New("genesis: a public chain has the public parameters")
	}
	if g.Heartbeat != 0 {
		p.HeartbeatSeconds = uint64(max(g.Heartbeat, time.Second) / time.Second)
	}
	if g.Day != 0 {
		day := uint64(max(g.Day, time.Second) / time.Second)
		p.DaySeconds, p.SlotSeconds = day, max(1, p.SlotSeconds*day/p.DaySeconds)
	}
	if g.EpochBlocks != 0 {
		p.EpochBlocks, p.ClaimBlocks = g.EpochBlocks, max(2, g.EpochBlocks*3/4)
	}
	if g.Tune != nil {
		g.Tune(&p)
	}
	return p, committee.Check(p)
}

// networkParams are the parameters with which a kind of network begins. A pool's people know each other, and its computers stand
// behind a few lines with a few owners: it draws from the second day on, keys need not be old, and neither owner nor network limits seats.
func networkParams(network string) (committeev1.Params, error) {
	switch network {
	case Public:
		return committee.Public(), nil
	case Pool:
		p := committee.Public()
		p.KeyAgeDays, p.FirstDrawDay, p.NewTicketsPermille, p.NewTicketsMin = 0, 1, 0, 0
		p.SeatsPerOwner, p.SeatsPerNetwork = 0, 0
		return p, nil
	case Dev:
		return committee.Development(), nil
	}
	return committeev1.Params{}, fmt.Errorf("genesis: network %.40q: want %s, %s or %s", network, Public, Pool, Dev)
}

// state is the application's part, by module.
func (g Genesis) state(codec Codec, params committeev1.Params) (map[string]json.RawMessage, error) {
	first, seats, owners, err := g.nodes()
	if err != nil {
		return nil, err
	}
	moves, balances, err := g.money()
	if err != nil {
		return nil, err
	}
	for _, b := range balances {
		owners = append(owners, b.Address)
	}
	day := time.Duration(params.DaySeconds) * time.Second
	rights, fees, people, err := g.allowances(day)
	if err != nil {
		return nil, err
	}
	accounts, err := accounts(append(owners, people...))
	if err != nil {
		return nil, err
	}
	state := map[string]json.RawMessage{}
	put := func(name string, text json.RawMessage, wrong error) {
		if wrong != nil && err == nil {
			err = fmt.Errorf("genesis of %s: %w", name, wrong)
		}
		state[name] = text
	}
	write := func(name string, m proto.Message) {
		text, wrong := codec.MarshalJSON(m)
		put(name, text, wrong)
	}
	write(authtypes.ModuleName, authtypes.NewGenesisState(authtypes.DefaultParams(), accounts))
	all := g.credits(balances, sdk.NewCoins(sdk.NewCoin(Base, supply.Total())))
	write(banktypes.ModuleName, banktypes.NewGenesisState(banktypes.NewParams(false), balances, all,
		[]banktypes.Metadata{metadata()}, []banktypes.SendEnabled{{Denom: Base, Enabled: true}}))
	write(authz.ModuleName, authz.NewGenesisState(rights))
	write(feegrant.ModuleName, feegrant.NewGenesisState(fees))
	write(epochstypes.ModuleName, epochstypes.NewGenesisState(nil))
	write(govtypes.ModuleName, governance.GovGenesis(g.Network == Dev, day))
	text, wrong := registry.Genesis(registry.DefaultParams(), first)
	put(registry.Name, text, wrong)
	text, wrong = committee.Genesis(params, g.ChainID, g.Time.UTC(), seats)
	put(committee.Name, text, wrong)
	text, wrong = supply.Genesis(moves)
	put(supply.Name, text, wrong)
	g.market(params, put)
	text, wrong = json.Marshal(g.Network)
	put(networkKey, text, wrong)
	return state, err
}

// nodes checks the proofs of the first seats. Nobody carried them in, so this is where their keys are looked at.
func (g Genesis) nodes() (first []registryv1.Node, seats []committee.GenesisNode, owners []string, err error) {
	if len(g.Nodes) > 0 && g.Network != Dev {
		return nil, nil, nil, fmt.Errorf("genesis: nodes without a seat are carried in on a %s network", g.Network)
	}
	for i, n := range slices.Concat(g.Seats, g.Nodes) {
		r, err := n.check(g.ChainID)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("genesis: node %d: %w", i+1, err)
		}
		if n.Guardian && g.Network != Public {
			return nil, nil, nil, fmt.Errorf("genesis: node %d: a %s network has no guardians", i+1, g.Network)
		}
		first = append(first, registryv1.Node{
			Id: r.Node[:], Owner: r.Owner, ConsensusKey: r.Consensus[:], VrfKey: r.VRF[:], Capabilities: r.Capabilities,
			Standing: registryv1.STANDING_ACTIVE, RegisteredTime: g.Time.UTC(), KeysTime: g.Time.UTC(),
		})
		owners = append(owners, r.Owner)
		if i < len(g.Seats) {
			seats = append(seats, committee.GenesisNode{
				Node: r.Node, Consensus: r.Consensus, VRF: r.VRF, Owner: r.Owner, Network: n.Network, Guardian: n.Guardian,
			})
		}
	}
	return first, seats, owners, nil
}

func (n GenesisNode) check(chain string) (sortition.Registration, error) {
	r, err := sortition.ParseRegistration(n.Registration)
	if err != nil {
		return r, err
	}
	if r.Chain != chain {
		return r, fmt.Errorf("registered for chain %.40q", r.Chain)
	}
	proof, err := sortition.ProofOf(n.VRFProof)
	if err != nil {
		return r, err
	}
	if err := r.Check(n.NodeSignature, n.ConsensusSignature, proof); err != nil {
		return r, err
	}
	signed, err := r.Signed()
	if err != nil {
		return r, err
	}
	key := &secp256k1.PubKey{Key: n.OwnerKey}
	if len(n.OwnerKey) != secp256k1.PubKeySize || bech32(sdk.AccAddress(key.Address())) != r.Owner || !key.VerifySignature(signed, n.OwnerSignature) {
		return r, errors.New("the owner's signature is wrong")
	}
	return r, nil
}

// money shares all HPIPS among the five accounts, then makes the moves.
func (g Genesis) money() ([]supplyv1.Move, []banktypes.Balance, error) {
	left, received := map[string]math.Int{}, map[string]math.Int{}
	for _, a := range supply.Allocations() {
		left[a.Name] = a.Amount
	}
	var moves []supplyv1.Move
	var order []string
	for _, m := range g.Grants {
		who, err := sdk.AccAddressFromBech32(m.Address)
		if err != nil {
			return nil, nil, fmt.Errorf("genesis: grant %.40q to %.80q: %w", m.Label, m.Address, err)
		}
		to, amount := bech32(who), math.NewIntFromUint64(m.Amount)
		pot, found := left[m.From]
		if !found || !amount.IsPositive() || amount.GT(pot) || m.Label == "" {
			return nil, nil, fmt.Errorf("genesis: grant %.40q of %s%s from %.40q: want a label, an account of the five, and an amount that is in it", m.Label, amount, Base, m.From)
		}
		left[m.From] = pot.Sub(amount)
		if _, known := received[to]; !known {
			received[to], order = math.ZeroInt(), append(order, to)
		}
		received[to] = received[to].Add(amount)
		moves = append(moves, supplyv1.Move{From: m.From, To: to, Label: m.Label, Amount: amount})
	}
	var balances []banktypes.Balance
	for _, a := range supply.Allocations() {
		if left[a.Name].IsPositive() {
			balances = append(balances, balance(bech32(authtypes.NewModuleAddress(a.Name)), left[a.Name]))
		}
	}
	for _, to := range order {
		balances = append(balances, balance(to, received[to]))
	}
	return moves, balances, nil
}

func balance(who string, amount math.Int) banktypes.Balance {
	return banktypes.Balance{Address: who, Coins: sdk.NewCoins(sdk.NewCoin(Base, amount))}
}

// accounts are the modules' own, then those of people, each once.
func accounts(people []string) (authtypes.GenesisAccounts, error) {
	var all authtypes.GenesisAccounts
	known := map[string]bool{}
	for _, name := range accountNames() {
		who := bech32(authtypes.NewModuleAddress(name))
		known[who] = true
		base := &authtypes.BaseAccount{Address: who, AccountNumber: uint64(len(all))}
		all = append(all, &authtypes.ModuleAccount{BaseAccount: base, Name: name, Permissions: permissions()[name]})
	}
	for _, who := range people {
		address, err := sdk.AccAddressFromBech32(who)
		if err != nil {
			return nil, fmt.Errorf("genesis: account %.80q: %w", who, err)
		}
		if who = bech32(address); known[who] {
			continue
		}
		known[who] = true
		all = append(all, &authtypes.BaseAccount{Address: who, AccountNumber: uint64(len(all))})
	}
	return all, nil
}

// metadata tells wallets how amounts are written.
func metadata() banktypes.Metadata {
	return banktypes.Metadata{
		Description: "The money of a worldwide computer of private machines.", Base: Base, Display: Display, Name: Display, Symbol: Display,
		DenomUnits: []*banktypes.DenomUnit{{Denom: Base, Exponent: 0}, {Denom: Display, Exponent: Exponent}},
	}
}

// maxGenesis bounds a genesis file: one that goes on from an earlier chain holds all accounts and tickets. What a peer sends is bounded by
// who asked it.
const maxGenesis = 1 << 30

// ReadGenesis reads a genesis file and checks it.
func ReadGenesis(text []byte) (*cmttypes.GenesisDoc, error) {
	if len(text) > maxGenesis {
		return nil, fmt.Errorf("genesis: %d bytes, at most %d", len(text), maxGenesis)
	}
	doc, err := parsed(text)
	if err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	if _, err := CheckGenesis(doc); err != nil {
		return nil, err
	}
	return doc, nil
}

func parsed(text []byte) (doc *cmttypes.GenesisDoc, err error) {
	defer refused(&err)
	return cmttypes.GenesisDocFromJSON(bytes.TrimSpace(text))
}

// sorted gives the keys of a state.
func sorted(state map[string]json.RawMessage) []string {
	var names []string
	for name := range state {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
