package committee

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/comet"
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

const chainID = "hpips-test-1"

var began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// reporter is what the world tells its faults to: a test, a benchmark or a property.
type reporter interface {
	Helper()
	Fatalf(format string, args ...any)
}

// person owns one node.
type person struct {
	name                 string
	node, consensus, vrf ed25519.PrivateKey
	stopped              bool // neither votes nor proposes
	nays                 bool // votes for no block
}

// newPerson gives everybody of one name the same keys.
func newPerson(name string) *person {
	key := func(use string) ed25519.PrivateKey {
		seed := sha256.Sum256([]byte(use + "/" + name))
		return ed25519.NewKeyFromSeed(seed[:])
	}
	return &person{name: name, node: key("node"), consensus: key("consensus"), vrf: key("vrf")}
}

func public(secret ed25519.PrivateKey) sortition.Key { return sortition.Key(secret[32:]) }

func (p *person) id() sortition.Key { return public(p.node) }

func (p *person) votes() []byte { return addressOf(p.consensus[32:]) }

func (p *person) sender(t reporter) string {
	id := p.id()
	s, err := address.NewBech32Codec("hpips").BytesToString(addressOf(id[:]))
	if err != nil {
		t.Fatalf("sender: %v", err)
	}
	return s
}

// register is a registry that believes everything.
type register struct {
	nodes  map[sortition.Key]Node
	byVote map[string]sortition.Key
	asked  int // how often it was asked for a node
}

func (r *register) Node(_ context.Context, id sortition.Key) (Node, bool, error) {
	r.asked++
	n, known := r.nodes[id]
	return n, known, nil
}

func (r *register) ByConsensusAddress(_ context.Context, address []byte) (Node, bool, error) {
	id, known := r.byVote[string(address)]
	return r.nodes[id], known, nil
}

func (r *register) Bar(_ context.Context, id sortition.Key) error {
	n := r.nodes[id]
	n.Active = false
	r.nodes[id] = n
	return nil
}

// bank stands for work, duty and bonds.
type bank struct {
	lacking   map[sortition.Key]bool
	forfeited []sortition.Key
}

func (b *bank) Check(_ context.Context, id sortition.Key) error {
	if b.lacking[id] {
		return errors.New("no work yet")
	}
	return nil
}

func (b *bank) Forfeit(_ context.Context, id sortition.Key) error {
	b.forfeited = append(b.forfeited, id)
	return nil
}

// offender is evidence against one voter.
type offender struct {
	who    *person
	height int64
}

// block is what the engine says of one block.
type block struct {
	votes    []vote
	evidence []offender
	time     time.Time
}

type vote struct {
	address []byte
	flag    comet.BlockIDFlag
}

func (b block) GetEvidence() comet.EvidenceList  { return evidenceList(b) }
func (b block) GetValidatorsHash() []byte        { return nil }
func (b block) GetProposerAddress() []byte       { return nil }
func (b block) GetLastCommit() comet.CommitInfo  { return b }
func (b block) Round() int32                     { return 0 }
func (b block) Votes() comet.VoteInfos           { return b }
func (b block) Len() int                         { return len(b.votes) }
func (b block) Get(i int) comet.VoteInfo         { return b.votes[i] }
func (v vote) Validator() comet.Validator        { return v }
func (v vote) Address() []byte                   { return v.address }
func (v vote) Power() int64                      { return 1 }
func (v vote) GetBlockIDFlag() comet.BlockIDFlag { return v.flag }

type evidenceList block

func (l evidenceList) Len() int { return len(l.evidence) }
func (l evidenceList) Get(i int) comet.Evidence {
	return evidence{l.evidence[i], l.time}
}

type evidence struct {
	offender
	at time.Time
}

func (e evidence) Type() comet.MisbehaviorType { return comet.DuplicateVote }
func (e evidence) Validator() comet.Validator  { return vote{address: e.who.votes()} }
func (e evidence) Height() int64               { return e.height }
func (e evidence) Time() time.Time             { return e.at }
func (e evidence) TotalVotingPower() int64     { return 1 }

// world is a chain of which only the committee is real. Its clock and its engine are virtual; heights without a call are quiet blocks.
type world struct {
	t        reporter
	k        Keeper
	m        Module
	store    *rootmulti.Store
	key      *storetypes.KVStoreKey
	registry *register
	bank     *bank
	people   []*person
	byVote   map[string]*person
	luck     *rand.Rand

	height int64
	now    time.Time
	// Consensus addresses of those who vote on the last block, on this one and on the next, sorted.
	last, voters, next [][]byte
	evidence           []offender // for the next block
	added, removed     []sortition.Key
	change             Change
	gas                uint64 // what the store's work would have cost since the beginning
}

// bare is a world without a state.
func bare(t reporter, kind storetypes.StoreType, people ...*person) *world {
	w := &world{
		t: t, key: storetypes.NewKVStoreKey(Name), people: people, now: began, luck: rand.New(rand.NewPCG(1, 2)),
		registry: &register{nodes: map[sortition.Key]Node{}, byVote: map[string]sortition.Key{}},
		bank:     &bank{lacking: map[sortition.Key]bool{}},
		byVote:   map[string]*person{},
	}
	db := dbm.NewMemDB()
	w.store = rootmulti.NewStore(db, log.NewNopLogger())
	if kind == storetypes.StoreTypeDB {
		w.store.MountStoreWithDB(w.key, kind, db)
	} else {
		w.store.MountStoreWithDB(w.key, kind, nil)
	}
	w.must(w.store.LoadLatestVersion())
	w.k = NewKeeper(codec.NewProtoCodec(codectypes.NewInterfaceRegistry()), runtime.NewKVStoreService(w.key),
		address.NewBech32Codec("hpips"), w.registry, w.bank, "gov")
	w.m = NewModule(w.k, "")
	for _, p := range people {
		w.register(p)
	}
	return w
}

// found begins a chain in which the first seated of the people sit.
func found(t reporter, kind storetypes.StoreType, params committeev1.Params, seated int, people ...*person) *world {
	t.Helper()
	w := bare(t, kind, people...)
	var nodes []GenesisNode
	for i, p := range people[:seated] {
		nodes = append(nodes, w.genesisNode(i, p))
	}
	state, err := Genesis(params, chainID, began, nodes)
	w.must(err)
	w.begin(state)
	return w
}

func (w *world) genesisNode(i int, p *person) GenesisNode {
	return GenesisNode{
		Node: p.id(), Consensus: public(p.consensus), VRF: public(p.vrf),
		Owner: "owner-" + p.name, Network: fmt.Sprintf("10.%d.%d.0/24", i/256, i%256),
	}
}

// begin takes a genesis, or an exported state.
func (w *world) begin(state json.RawMessage) {
	w.t.Helper()
	w.must(w.m.ValidateGenesis(nil, nil, state))
	updates := w.m.InitGenesis(w.ctx(block{}), nil, state)
	w.voters = w.apply(nil, updates)
	w.next, w.added = w.voters, nil
}

func people(n int) (all []*person) {
	for i := range n {
		all = append(all, newPerson(fmt.Sprintf("node-%03d", i)))
	}
	return all
}

func (w *world) register(p *person) {
	w.registry.nodes[p.id()] = Node{
		ID: p.id(), Consensus: public(p.consensus), VRF: public(p.vrf), Owner: "owner-" + p.name, Active: true,
		KeysHeight: w.height, KeysTime: w.now, KeysEpoch: w.epochNumber(),
	}
	w.registry.byVote[string(p.votes())] = p.id()
	w.byVote[string(p.votes())] = p
}

func (w *world) epochNumber() uint64 {
	if w.height == 0 {
		return 0
	}
	return w.k.EpochNumber(w.ctx(block{}))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("height %d: %v", w.height, err)
	}
}

func (w *world) ctx(b block) sdk.Context {
	return sdk.NewContext(w.store, cmtproto.Header{ChainID: chainID, Height: w.height, Time: w.now}, false, log.NewNopLogger()).
		WithCometInfo(b).WithExecMode(sdk.ExecModeFinalize)
}

// quiet lets n blocks without a seed pass.
func (w *world) quiet(n int64, each time.Duration) {
	w.height += n
	w.now = w.now.Add(time.Duration(n) * each)
	if n > 1 {
		w.last, w.voters = w.next, w.next
	} else if n == 1 {
		w.last, w.voters = w.voters, w.next
	}
}

// block makes the next block, a second after the last one, with these messages, and gives what became of each. A block that has to carry no
// seed is a quiet one.
func (w *world) block(msgs ...sdk.Msg) []error { return w.blockAfter(time.Second, msgs...) }

func (w *world) blockAfter(d time.Duration, msgs ...sdk.Msg) []error {
	w.t.Helper()
	w.height++
	w.now = w.now.Add(d)
	w.last, w.voters = w.voters, w.next
	b := block{evidence: w.evidence, time: w.now}
	w.evidence, w.added, w.removed, w.change = nil, nil, nil, Change{}
	for _, address := range w.last {
		flag := comet.BlockIDFlagCommit
		if p := w.byVote[string(address)]; p.stopped {
			flag = comet.BlockIDFlagAbsent
		} else if p.nays {
			flag = comet.BlockIDFlagNil
		}
		b.votes = append(b.votes, vote{address, flag})
	}
	if w.height == 1 {
		b.votes = nil
	}
	ctx := w.ctx(b)
	carries, err := w.k.Carries(ctx, len(msgs), len(b.evidence))
	w.must(err)
	if !carries {
		return nil
	}
	w.advance(ctx)
	var outcome []error
	for _, m := range msgs {
		outcome = append(outcome, w.deliver(ctx, m))
	}
	updates, err := w.m.EndBlock(ctx)
	w.must(err)
	w.next = w.apply(w.next, updates)
	w.gas += ctx.GasMeter().GasConsumed()
	return outcome
}

func (w *world) advance(ctx sdk.Context) {
	w.t.Helper()
	var able []*person
	for _, address := range w.voters {
		if p := w.byVote[string(address)]; !p.stopped {
			able = append(able, p)
		}
	}
	if len(able) == 0 {
		w.t.Fatalf("height %d: nobody can propose", w.height)
	}
	proposer := able[w.luck.IntN(len(able))]
	alpha, err := w.k.Alpha(ctx)
	w.must(err)
	proof, err := sortition.Prove(proposer.vrf, alpha)
	w.must(err)
	output, err := w.k.CheckSeed(ctx, proposer.votes(), proof)
	w.must(err)
	w.change, err = w.k.Advance(ctx, output)
	w.must(err)
}

// deliver does a message as the application does: on a branch that is kept when it succeeds.
func (w *world) deliver(ctx sdk.Context, m sdk.Msg) error {
	branch, write := ctx.CacheContext()
	err := w.k.CheckFree(branch, m)
	if err == nil {
		switch m := m.(type) {
		case *committeev1.MsgTicket:
			_, err = msgs{w.k}.Ticket(branch, m)
		case *committeev1.MsgClaim:
			_, err = msgs{w.k}.Claim(branch, m)
		case *committeev1.MsgStepDown:
			_, err = msgs{w.k}.StepDown(branch, m)
		}
	}
	if err == nil {
		write()
	}
	return err
}

// apply does what the engine does with updates, and is as strict: a second word about one key, the removal of a stranger, a
// difference that is none, or an empty set would stop the chain.
func (w *world) apply(set [][]byte, updates []abci.ValidatorUpdate) [][]byte {
	w.t.Helper()
	set = slices.Clone(set)
	said := map[string]bool{}
	for _, u := range updates {
		key := u.PubKey.GetEd25519()
		address := addressOf(key)
		at, found := slices.BinarySearchFunc(set, address, bytes.Compare)
		switch {
		case said[string(key)]:
			w.t.Fatalf("height %d: two updates for %x", w.height, key)
		case u.Power == 1 && !found:
			set = slices.Insert(set, at, address)
			w.added = append(w.added, sortition.Key(key))
		case u.Power == 0 && found:
			set = slices.Delete(set, at, at+1)
			w.removed = append(w.removed, sortition.Key(key))
		default:
			w.t.Fatalf("height %d: update of %x to %d, known: %v", w.height, key, u.Power, found)
		}
		said[string(key)] = true
	}
	if len(set) == 0 {
		w.t.Fatalf("height %d: nobody is left to vote", w.height)
	}
	return set
}

func (w *world) epoch() committeev1.Epoch {
	w.t.Helper()
	e, err := w.k.epoch.Get(w.ctx(block{}))
	w.must(err)
	return e
}

func (w *world) params() committeev1.Params {
	w.t.Helper()
	p, err := w.k.Params(w.ctx(block{}))
	w.must(err)
	return p
}

func (w *world) sits(p *person) bool {
	id := p.id()
	sits, err := w.k.seats.Has(w.ctx(block{}), id[:])
	w.must(err)
	return sits
}

func (w *world) size() int {
	seats, err := w.k.sitting(w.ctx(block{}))
	w.must(err)
	return len(seats)
}

// ticketed gives a person a ticket without asking for proofs, in a network of its own.
func (w *world) ticketed(p *person, network string) {
	ctx := w.ctx(block{})
	b, err := w.k.beacon.Get(ctx)
	w.must(err)
	n := w.registry.nodes[p.id()]
	w.must(w.k.admit(ctx, b, committeev1.Ticket{
		Node: n.ID[:], Owner: n.Owner, Network: network, ConsensusKey: n.Consensus[:], VrfKey: n.VRF[:], KeysHeight: n.KeysHeight, UntilDay: 1 << 40,
	}))
}

// claim is a person's claim in the open epoch, whether it won or not.
func (w *world) claim(p *person) *committeev1.MsgClaim {
	e, id := w.epoch(), p.id()
	proof, err := sortition.Prove(p.vrf, sortition.DrawAlpha(chainID, e.Number, sortition.Seed(e.DrawSeed)))
	w.must(err)
	return &committeev1.MsgClaim{Sender: p.sender(w.t), Node: id[:], Epoch: e.Number, Proof: proof[:]}
}

// won is the claim of a person whose draw won, or nil.
func (w *world) won(p *person, network uint64) *committeev1.MsgClaim {
	m := w.claim(p)
	beta, err := sortition.Proof(m.Proof).Beta()
	w.must(err)
	if !beta.Output().Rank(network).Below(sortition.Threshold(w.epoch().Threshold)) {
		return nil
	}
	return m
}

// turn goes through one whole epoch in which everybody who won claims, and tells who entered. All must hold a ticket in a network of their own.
func (w *world) turn(all []*person) []sortition.Key {
	w.t.Helper()
	if w.epoch().Opened == 0 {
		w.heartbeat()
	}
	var msgs []sdk.Msg
	for _, p := range all {
		if m := w.won(p, 1); m != nil && !p.stopped {
			msgs = append(msgs, m)
		}
	}
	if len(msgs) > 0 {
		for i, err := range w.block(msgs...) {
			if err != nil {
				w.t.Fatalf("claim %d: %v", i, err)
			}
		}
	}
	return w.close()
}

// heartbeat makes the quiet block that is due, if one is, and then an empty one with a seed.
func (w *world) heartbeat() {
	w.t.Helper()
	if carries, err := w.k.Carries(w.ctx(block{}).WithBlockHeight(w.height+1), 0, 0); err != nil || !carries {
		w.must(err)
		w.quiet(1, time.Second/2)
	}
	w.block()
}

// close lets the blocks pass to the end of the epoch and makes the one that closes it.
func (w *world) close() []sortition.Key {
	w.t.Helper()
	rest := int64(w.params().EpochBlocks) - 1 - (w.height - w.epoch().Opened)
	w.quiet(max(rest, 2)-1, time.Second/2)
	w.block()
	if !w.change.Epoch {
		w.t.Fatalf("height %d: the epoch did not close", w.height)
	}
	return w.added
}

func wants(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

type offenceKey = collections.Pair[[]byte, int64]

func offenceAt(id sortition.Key, height int64) offenceKey { return collections.Join(id[:], height) }

type datedKey = collections.Pair[uint64, []byte]

func datedAt(date uint64, key []byte) datedKey { return collections.Join(date, key) }

func ownerKey(owner string, point []byte) collections.Pair[string, []byte] {
	return collections.Join(owner, point)
}
