package audit

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cosmossdk.io/core/genesis"
	"cosmossdk.io/math"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"pgregory.net/rapid"

	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/address"
	"github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/runtime"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	"github.com/cosmos/cosmos-sdk/testutil"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"

	"github.com/hpips/hpips/proto/gen/auditv1"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/trust"
	"github.com/hpips/hpips/spec/voucher"
)

const (
	chainID   = "hpips-test-1"
	authority = "hpips1vote"
	denom     = "uhpips"
)

var (
	began  = time.Unix(1_800_000_000, 0).UTC()
	bech32 = address.NewBech32Codec("hpips")
)

// person owns a node. alice pays, bob provides, the others may be jurors.
type person string

func (p person) secret(use string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(string(p) + "'s " + use))
	return ed25519.NewKeyFromSeed(seed[:])
}

func (p person) node() sortition.Key {
	return sortition.Key(p.secret("node").Public().(ed25519.PublicKey))
}

func (p person) id() []byte { k := p.node(); return k[:] }

func (p person) address() string {
	text, err := bech32.BytesToString(authtypes.NewModuleAddress("person/" + string(p)))
	if err != nil {
		panic(err)
	}
	return text
}

func (p person) sender() string {
	sum := sha256.Sum256(p.id())
	text, err := bech32.BytesToString(sum[:20])
	if err != nil {
		panic(err)
	}
	return text
}

func (p person) vouchers() []byte {
	sum := sha256.Sum256([]byte(string(p) + "'s vouchers"))
	return sum[:]
}

// job is a lease of alice's with bob: the leaves that both know, and what the chain knows.
type job struct {
	lease    []byte
	leaves   []trust.Leaf
	salts    [][32]byte
	truth    []trust.Digest // what an honest run gives
	redeemed int
	work     uint64
}

// town is the audits beside honest fakes: a committee whose tickets the test hands out, an escrow and bonds that keep books.
type town struct {
	t       rapid.TB
	ctx     sdk.Context
	keys    map[string]*storetypes.KVStoreKey
	keeper  Keeper
	msgs    msgs
	ask     queries
	people  map[sortition.Key]person
	tickets map[person]Ticket
	index   uint64
	idle    bool             // a block without a seed comes before each one that has one
	free    map[string]int64 // of a lease
	bonds   map[person]int64
	counts  map[person]bool // false: it leaves
	paid    map[person]int64
	back    map[string]int64 // refunds, by account
	fund    int64
	last    uint64
	waiting map[person][]uint64
	final   []uint64
	lost    []uint64
	amounts map[uint64]uint64
	resting bool
	events  []string
}

func (s *town) Seed(context.Context) (sortition.Seed, uint64, error) {
	return sha256.Sum256(binary.BigEndian.AppendUint64([]byte("seed"), s.index)), s.index, nil
}

func (s *town) Tickets(context.Context) uint64 { return uint64(len(s.tickets)) }

func (s *town) Ticket(_ context.Context, node sortition.Key, before int64) (Ticket, bool, error) {
	t, has := s.tickets[s.people[node]]
	return t, has && before > 0, nil
}

func (s *town) Owner(_ context.Context, node []byte) (string, bool, bool, error) {
	p, known := s.people[sortition.Key(node)]
	if !known {
		return "", false, false, nil
	}
	if t, has := s.tickets[p]; has {
		return t.Owner, true, true, nil
	}
	return p.address(), true, true, nil
}

func (s *town) Free(_ context.Context, lease []byte) (math.Int, error) {
	return math.NewInt(s.free[string(lease)]), nil
}

func (s *town) Hire(_ context.Context, lease, node []byte, owner string, amount math.Int) (math.Int, error) {
	if s.resting {
		return math.ZeroInt(), ErrRests
	}
	p := s.people[sortition.Key(node)]
	if s.tickets[p].Owner != owner {
		return math.ZeroInt(), errors.New("another's pay")
	}
	n := min(amount.Int64(), s.free[string(lease)])
	s.free[string(lease)] -= n
	s.paid[p] += n
	return math.NewInt(n), nil
}

func (s *town) Last(context.Context) (uint64, error) { return s.last, nil }

func (s *town) First(_ context.Context, node []byte) (uint64, bool, error) {
	row := s.waiting[s.people[sortition.Key(node)]]
	if len(row) == 0 {
		return 0, false, nil
	}
	return row[0], true, nil
}

func (s *town) Counts(_ context.Context, node sortition.Key, _ string) (math.Int, error) {
	if !s.counts[s.people[node]] {
		return math.ZeroInt(), nil
	}
	return math.NewInt(s.bonds[s.people[node]]), nil
}

func (s *town) Held(_ context.Context, node sortition.Key, _ string) (math.Int, error) {
	return math.NewInt(s.bonds[s.people[node]]), nil
}

func (s *town) Slash(_ context.Context, node sortition.Key, _ string, amount math.Int, refunds ...Refund) (math.Int, error) {
	if s.resting {
		return math.ZeroInt(), ErrRests
	}
	p := s.people[node]
	n := s.bonds[p]
	if amount.LT(math.NewInt(n)) {
		n = amount.Int64()
	}
	s.bonds[p] -= n
	left := n
	for _, r := range refunds {
		part := min(left, r.Amount.Int64())
		s.back[r.To] += part
		left -= part
	}
	s.fund += left
	return math.NewInt(n), nil
}

func (s *town) Touch(context.Context, sortition.Key) error { return nil }

// founded is a town with so many jurors, each with a network, a ticket and a bond.
func founded(t rapid.TB, jurors int, change func(*auditv1.Params)) *town {
	sdk.GetConfig().SetBech32PrefixForAccount("hpips", "hpipspub")
	s := &town{t: t, people: map[sortition.Key]person{}, tickets: map[person]Ticket{}, index: 10, free: map[string]int64{}, bonds: map[person]int64{}, counts: map[person]bool{},
		paid: map[person]int64{}, back: map[string]int64{}, waiting: map[person][]uint64{}, amounts: map[uint64]uint64{}}
	s.keys = storetypes.NewKVStoreKeys(Name)
	s.ctx = testutil.DefaultContextWithKeys(s.keys, nil, nil).WithChainID(chainID).WithBlockHeight(100).WithBlockTime(began).WithExecMode(sdk.ExecModeFinalize)
	s.raise()
	for _, p := range []person{"alice", "bob"} {
		s.people[p.node()] = p
	}
	s.bonds["bob"], s.counts["bob"] = 1000, true
	for i := range jurors {
		s.settles(person(fmt.Sprintf("juror%d", i)))
	}
	p := Public()
	if change != nil {
		change(&p)
	}
	state, err := Genesis(p)
	s.must(err)
	s.fill(state)
	return s
}

// settles lets somebody hold a ticket.
func (s *town) settles(p person) {
	s.people[p.node()] = p
	s.tickets[p] = Ticket{Owner: p.address(), VRF: sortition.Key(p.secret("vrf").Public().(ed25519.PublicKey)), Network: "net-" + string(p), Beside: 1}
	s.bonds[p], s.counts[p] = 1000, true
}

func (s *town) raise() {
	cdc := codec.NewProtoCodec(types.NewInterfaceRegistry())
	s.keeper = NewKeeper(cdc, runtime.NewKVStoreService(s.keys[Name]), bech32, Neighbours{s, s, s, s}, authority)
	s.msgs, s.ask = msgs{s.keeper}, queries{s.keeper}
}

func (s *town) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *town) refuses(what string, err, want error) {
	s.t.Helper()
	if !errors.Is(err, want) {
		s.t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func (s *town) fill(state json.RawMessage) {
	s.t.Helper()
	source, err := genesis.SourceFromRawJSON(state)
	s.must(err)
	s.must(s.keeper.schema.InitGenesis(s.ctx, source))
}

func (s *town) export() json.RawMessage {
	s.t.Helper()
	target := genesis.RawJSONTarget{}
	s.must(s.keeper.schema.ExportGenesis(s.ctx, target.Target()))
	state, err := target.JSON()
	s.must(err)
	return state
}

// restart goes on from what was exported.
func (s *town) restart() {
	s.t.Helper()
	out, was := s.export(), s.ctx
	s.ctx = testutil.DefaultContextWithKeys(s.keys, nil, nil).WithChainID(chainID).WithBlockHeight(was.BlockHeight()).WithBlockTime(was.BlockTime()).WithExecMode(sdk.ExecModeFinalize)
	s.raise()
	s.fill(out)
	if back := s.export(); string(back) != string(out) {
		s.t.Fatalf("audits went out as\n%s\nand came back as\n%s", out, back)
	}
}

// send does what a free message would: it is taken into the mempool and then done, all of it or nothing.
func (s *town) send(m sdk.Msg) error {
	pool, _ := s.ctx.CacheContext()
	free, paid := maps.Clone(s.free), maps.Clone(s.paid)
	defer func() { s.free, s.paid = free, paid }()
	if err := s.keeper.CheckFree(pool.WithExecMode(sdk.ExecModeCheck), m); err != nil {
		return err
	}
	s.free, s.paid = maps.Clone(free), maps.Clone(paid) // the mempool's state goes no further
	s.must(s.keeper.CheckFree(s.ctx, m))                // in a block its shape alone
	ctx, write := s.ctx.CacheContext()
	var err error
	switch m := m.(type) {
	case *auditv1.MsgAttest:
		_, err = s.msgs.Attest(ctx, m)
	case *auditv1.MsgDispute:
		_, err = s.msgs.Dispute(ctx, m)
	case *auditv1.MsgCommit:
		_, err = s.msgs.Commit(ctx, m)
	case *auditv1.MsgReveal:
		_, err = s.msgs.Reveal(ctx, m)
	}
	if err == nil {
		write()
		free, paid = s.free, s.paid
	}
	return err
}

// block makes the next block with a seed, some time later; pay becomes final as the escrow does it.
func (s *town) block(later time.Duration) {
	s.t.Helper()
	s.index++
	if s.idle {
		s.ctx = s.ctx.WithBlockHeight(s.ctx.BlockHeight() + 1)
	}
	s.ctx = s.ctx.WithBlockHeight(s.ctx.BlockHeight() + 1).WithBlockTime(s.ctx.BlockTime().Add(later)).WithEventManager(sdk.NewEventManager())
	s.must(s.keeper.Advance(s.ctx))
	for _, p := range []person{"bob"} {
		for len(s.waiting[p]) > 0 {
			sequence := s.waiting[p][0]
			fate, err := s.keeper.Fate(s.ctx, p.id(), sequence)
			s.must(err)
			if fate == Waits || s.resting {
				break
			}
			s.must(s.keeper.Settled(s.ctx, p.id(), sequence, fate == Lost))
			s.waiting[p] = s.waiting[p][1:]
			if fate == Lost {
				s.lost = append(s.lost, sequence)
				s.back["alice"] += int64(s.amounts[sequence])
			} else {
				s.final = append(s.final, sequence)
			}
		}
	}
	for _, e := range s.ctx.EventManager().Events() {
		line := []string{e.Type}
		for _, a := range e.Attributes {
			if slices.Contains([]string{"what", "phase", "round", "rounds", "amount", "slashed"}, a.Key) {
				line = append(line, a.Value)
			}
		}
		s.events = append(s.events, strings.Join(line, " "))
	}
}

func (s *town) blocks(n int) {
	s.t.Helper()
	for range n {
		s.block(time.Second)
	}
}

// hires begins a lease of alice's with so much free in it.
func (s *town) hires(name string, free int64) *job {
	lease := sha256.Sum256([]byte(name))
	s.free[string(lease[:])] = free
	return &job{lease: lease[:]}
}

// does adds results of bob's: wrong ones are no run's result.
func (j *job) does(work uint64, wrong bool) {
	n := len(j.leaves)
	right := trust.Digest(sha256.Sum256(fmt.Appendf(nil, "result %x %d", j.lease, n)))
	l := trust.Leaf{Statement: sha256.Sum256(fmt.Appendf(nil, "task %d", n)), Result: right, Work: work, Before: j.work}
	if wrong {
		l.Result = sha256.Sum256(fmt.Appendf(nil, "made up %d", n))
	}
	j.leaves, j.truth, j.salts = append(j.leaves, l), append(j.truth, trust.Answer(right, work)), append(j.salts, trust.Salt([32]byte(j.lease), uint64(n)))
	j.work += work
}

func (j *job) seals() [][32]byte {
	all := make([][32]byte, len(j.leaves))
	for i, l := range j.leaves {
		all[i] = l.Seal(j.salts[i])
	}
	return all
}

// redeems lets bob redeem what was done since the last time.
func (s *town) redeems(j *job, amount uint64) uint64 {
	s.t.Helper()
	var tree trust.Tree
	for _, leaf := range j.seals() {
		tree.Add(leaf)
	}
	root := tree.Root()
	a := auditv1.Audit{Node: person("bob").id(), Lease: j.lease, Payer: person("alice").address(), Denom: denom, Amount: amount, Root: root[:], Height: s.ctx.BlockHeight(),
		VoucherKey: secp256k1.PrivKeyFromBytes(person("alice").vouchers()).PubKey().SerializeCompressed(), TasksBefore: uint64(j.redeemed), Tasks: uint64(len(j.leaves) - j.redeemed)}
	a.Work, a.WorkBefore = j.work, 0
	if j.redeemed > 0 {
		before := j.leaves[j.redeemed].Before
		a.WorkBefore, a.Work = before, j.work-before
	}
	s.last++
	a.Sequence = s.last
	j.redeemed = len(j.leaves)
	s.must(s.keeper.Redeemed(s.ctx, a))
	s.waiting["bob"] = append(s.waiting["bob"], a.Sequence)
	s.amounts[a.Sequence] = amount
	return a.Sequence
}

func (s *town) audit(sequence uint64) auditv1.Audit {
	s.t.Helper()
	res, err := s.ask.Audit(s.ctx, &auditv1.QueryAuditRequest{Node: person("bob").id(), Sequence: sequence})
	s.must(err)
	return res.Audit
}

func (s *town) dispute(id uint64) auditv1.Dispute {
	s.t.Helper()
	d, err := s.keeper.disputes.Get(s.ctx, id)
	s.must(err)
	return d
}

// hit is the place of the leaf on which a draw falls.
func (j *job) hit(a auditv1.Audit, i uint64) int {
	for n, l := range j.leaves {
		if draw(a).Hits(i, uint64(n), l) {
			return n
		}
	}
	panic("a draw falls on no leaf")
}

func (p person) proof(m trust.Matter) (sortition.Proof, sortition.Beta) {
	proof, err := sortition.Prove(p.secret("vrf"), m.Alpha())
	if err != nil {
		panic(err)
	}
	beta, err := proof.Beta()
	if err != nil {
		panic(err)
	}
	return proof, beta
}

// state is what an honest juror takes down at its point.
func state(l trust.Leaf, point uint64) trust.Digest {
	return sha256.Sum256(fmt.Appendf(nil, "state of %x at %d", l.Statement, point))
}

// says is what an honest juror says about a panel, and the work of it.
func (s *town) says(j *job, a auditv1.Audit, panel uint64, p person) (says []trust.Say, work uint64) {
	_, beta := p.proof(PanelMatter(chainID, a, panel))
	for i := panel * trust.PanelSize; i < panel*trust.PanelSize+size(a, panel); i++ {
		n := j.hit(a, i)
		says = append(says, trust.Say{Answer: j.truth[n], State: state(j.leaves[n], trust.Point(beta[:], j.leaves[n].Statement, j.leaves[n].Work))})
		work += j.leaves[n].Work
	}
	return says, work
}

// speaks signs a juror's voice of a panel.
func (s *town) speaks(a auditv1.Audit, panel uint64, p person, says []trust.Say, work uint64) auditv1.Voice {
	m := PanelMatter(chainID, a, panel)
	proof, _ := p.proof(m)
	voice, salt := trust.Sum(says), sha256.Sum256([]byte("salt of "+p))
	return auditv1.Voice{Juror: p.id(), Proof: proof[:], Result: voice.Result[:], State: voice.State[:], Salt: salt[:],
		Signature: m.SignVoice(trust.Commitment(voice, p.node(), salt), work, p.secret("node"))}
}

// called are the jurors who are drawn for a matter, in the order of their names.
func (s *town) called(m trust.Matter, places int) (all []person) {
	for p, t := range s.tickets {
		_, beta := p.proof(m)
		if beta.Output().Rank(t.Beside).Below(trust.Threshold(uint64(len(s.tickets)), trust.Called(places))) {
			all = append(all, p)
		}
	}
	slices.Sort(all)
	return all
}

// attestation is alice's word about panels of an audit, all of whose jurors were honest: these, and who else may be one.
func (s *town) attestation(j *job, sequence uint64, panels int, first ...person) *auditv1.MsgAttest {
	s.t.Helper()
	a := s.audit(sequence)
	m := &auditv1.MsgAttest{Sender: person("bob").sender(), Node: a.Node, Sequence: sequence, First: a.Attested}
	for n := range panels {
		panel := a.Attested + uint64(n)
		one := auditv1.Panel{}
		fit := slices.DeleteFunc(s.called(PanelMatter(chainID, a, panel), int(a.Jurors)), func(p person) bool {
			barred, err := s.keeper.isBarred(s.ctx, p.id())
			s.must(err)
			return barred || slices.Contains(first, p)
		})
		for _, p := range append(slices.Clone(first), fit...)[:a.Jurors] {
			says, work := s.says(j, a, panel, p)
			one.Work = work
			one.Voices = append(one.Voices, s.speaks(a, panel, p, says, work))
		}
		m.Panels = append(m.Panels, one)
	}
	signAttest(s.t, chainID, m, person("alice").vouchers())
	return m
}

// question is alice's about a leaf; witnesses may be added.
func (s *town) question(j *job, sequence uint64, place int, witnesses ...auditv1.Witness) *auditv1.MsgDispute {
	s.t.Helper()
	l := j.leaves[place]
	a := s.audit(sequence)
	m := &auditv1.MsgDispute{Sender: person("bob").sender(), Node: a.Node, Sequence: sequence, Place: uint64(place), Statement: l.Statement[:], Result: l.Result[:], Work: l.Work, Before: l.Before,
		Salt: j.salts[place][:], Witnesses: witnesses}
	for _, step := range trust.Path(j.seals()[:a.TasksBefore+a.Tasks], uint64(place)) {
		m.Path = append(m.Path, slices.Clone(step[:]))
	}
	signDispute(s.t, chainID, m, person("alice").vouchers())
	return m
}

// answers lets jurors of a round commit themselves and reveal; say gives what each says, nothing if it does not reveal. It ends with the block that decides.
func (s *town) answers(j *job, id uint64, jurors int, say func(n int, p person) *trust.Digest) (all []person) {
	s.t.Helper()
	s.blocks(1) // the seed
	d := s.dispute(id)
	m := RoundMatter(chainID, d)
	p, err := s.keeper.Params(s.ctx)
	s.must(err)
	type word struct {
		answer, state trust.Digest
		salt          [32]byte
	}
	words := map[person]word{}
	for _, who := range s.called(m, Places(d.Round)) {
		if len(all) == jurors {
			break
		}
		w := word{state: state(j.leaves[d.Place], 1), salt: sha256.Sum256([]byte(who))}
		if a := say(len(all), who); a != nil {
			w.answer = *a
		}
		proof, _ := who.proof(m)
		word := trust.Commitment(trust.Voice{Result: w.answer, State: w.state}, who.node(), w.salt)
		err := s.send(&auditv1.MsgCommit{Sender: who.sender(), Juror: who.id(), Dispute: id, Round: d.Round, Proof: proof[:], Commitment: word[:], Signature: m.SignVoice(word, 0, who.secret("node"))})
		if errors.Is(err, ErrSeen) || errors.Is(err, ErrLost) || errors.Is(err, ErrParty) || errors.Is(err, ErrBarred) {
			continue
		}
		s.must(err)
		words[who], all = w, append(all, who)
	}
	for s.dispute(id).Phase == auditv1.PHASE_COMMIT {
		s.blocks(1)
	}
	for i, who := range all {
		if w := words[who]; say(i, who) != nil {
			s.must(s.send(&auditv1.MsgReveal{Sender: who.sender(), Juror: who.id(), Dispute: id, Round: d.Round, Answer: w.answer[:], State: w.state[:], Salt: w.salt[:]}))
		}
	}
	for range p.RevealBlocks {
		if d, err := s.keeper.disputes.Get(s.ctx, id); err != nil || d.Phase != auditv1.PHASE_REVEAL {
			break
		}
		s.blocks(1)
	}
	return all
}

func signAttest(t rapid.TB, chain string, m *auditv1.MsgAttest, secret []byte) {
	t.Helper()
	bare := *m
	bare.Signature = nil
	b, err := bare.Marshal()
	if err == nil {
		m.Signature, err = voucher.SignMessage(voucher.Attestation, chain, b, secret)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func signDispute(t rapid.TB, chain string, m *auditv1.MsgDispute, secret []byte) {
	t.Helper()
	bare := *m
	bare.Signature = nil
	b, err := bare.Marshal()
	if err == nil {
		m.Signature, err = voucher.SignMessage(voucher.Question, chain, b, secret)
	}
	if err != nil {
		t.Fatal(err)
	}
}
