package ledger

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	sdkmath "cosmossdk.io/math"
	abci "github.com/cometbft/cometbft/abci/types"
	cmtbytes "github.com/cometbft/cometbft/libs/bytes"
	rpcclient "github.com/cometbft/cometbft/rpc/client"
	ctypes "github.com/cometbft/cometbft/rpc/core/types"
	cmtypes "github.com/cometbft/cometbft/types"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkquery "github.com/cosmos/cosmos-sdk/types/query"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	govv1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1"
	"github.com/cosmos/gogoproto/proto"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"github.com/hpips/hpips/proto/gen/bondv1"
	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/proto/gen/escrowv1"
	"github.com/hpips/hpips/proto/gen/registryv1"
	"github.com/hpips/hpips/proto/gen/rewardv1"
	"github.com/hpips/hpips/proto/gen/supplyv1"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/voucher"
)

// A fair's day lasts ten blocks, ten seconds apart.
const (
	fairDay   = 100
	fairBeat  = 10
	fairChain = "fair-1"
)

var fairBegan = time.Unix(1_800_000_000, 0).UTC()

// fair is a chain in miniature on which people pay for work by the rules: it keeps books as the chain does and tells of them as the chain does, so
// that a test can spoil one thing at a time. It holds blocks from oldest on, and states from kept on.
type fair struct {
	rpcclient.Client // what is not there is not asked

	t            *testing.T
	words        encoding
	genesis      []byte
	oldest, kept int64

	blocks []fairBlock
	txs    []*ctypes.ResultTx
	votes  []*govv1.Proposal
	ballot []*govv1.Proposal // being voted on

	lease  escrowv1.Params // in force
	prices rewardv1.Params
	bond   bondv1.Params
	bonds  map[string]int64  // by node and denomination
	owners map[string]string // by node, in hex
	leases map[voucher.ID]*fairLease
	row    []fairPay // redeemed and not final
	days   []*fairBooks

	balances, reserved map[string]int64
	modules            []string
	seats              []committeev1.Seat
}

type fairBlock struct {
	events []abci.Event
	seeded bool
}

type fairLease struct {
	id                        voucher.ID
	payer, payee, node, denom string
	redeemed                  uint64
}

type fairPay struct {
	lease            *fairLease
	amount, sequence uint64
	height           int64
}

// fairBooks are the chain's figures of a day.
type fairBooks struct {
	day    rewardv1.Day
	assets map[string]rewardv1.Sum
	works  map[string]map[string]rewardv1.Sum // by node
	seats  map[string]uint64
	earned map[string]rewardv1.Earner
}

func fairAddress(name string) string {
	sum := sha256.Sum256([]byte(name))
	return addressText(sum[:20])
}

func fairNode(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("node/" + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func nodeHex(name string) string { return hex.EncodeToString(fairNode(name)[32:]) }

func noSum() rewardv1.Sum {
	z := sdkmath.ZeroInt()
	return rewardv1.Sum{Gross: z, Paid: z, Levied: z, Held: z}
}

// newFair begins with nodes of genesis, each its own owner's, and a fee of 200 uhpips.
func newFair(t *testing.T, nodes ...string) (*fair, *Ledger) {
	t.Helper()
	words, err := newEncoding()
	if err != nil {
		t.Fatal(err)
	}
	f := &fair{t: t, words: words, oldest: 1, lease: escrowv1.Params{RedeemFee: 200, Batch: 100}, prices: rewardv1.Params{WholeCirculating: 2_000_000, SeatPrice: 5000},
		bond: bondv1.Params{HoldPermille: 250, LeastTarget: 30_000}, bonds: map[string]int64{},
		owners: map[string]string{}, leases: map[voucher.ID]*fairLease{}, balances: map[string]int64{}, reserved: map[string]int64{}}
	type row map[string]any
	params := func(m proto.Message) any {
		text, err := words.codec.MarshalJSON(m)
		if err != nil {
			t.Fatal(err)
		}
		return row{"params": []row{{"key": "item", "value": json.RawMessage(text)}}}
	}
	var first []row
	for _, name := range nodes {
		f.owners[nodeHex(name)] = fairAddress(name)
		first = append(first, row{"value": row{"id": []byte(fairNode(name)[32:]), "owner": fairAddress(name)}})
	}
	if f.genesis, err = json.Marshal(row{"registry": row{"nodes": first}, "escrow": params(&f.lease), "reward": params(&f.prices), "bond": params(&f.bond)}); err != nil {
		t.Fatal(err)
	}
	f.openDay()
	l, err := New(f, Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return f, l
}

func (f *fair) height() int64 { return int64(len(f.blocks)) }

func (f *fair) time(height int64) time.Time {
	return fairBegan.Add(time.Duration(height*fairBeat) * time.Second)
}

func (f *fair) tell(kind string, words ...string) {
	b := &f.blocks[len(f.blocks)-1]
	b.events = append(b.events, fairEvent(kind, words...))
}

func fairEvent(kind string, words ...string) abci.Event {
	e := abci.Event{Type: kind}
	for i := 0; i+1 < len(words); i += 2 {
		e.Attributes = append(e.Attributes, abci.EventAttribute{Key: words[i], Value: words[i+1]})
	}
	return e
}

// next makes a block: what falls due, what people do, what votes decide.
func (f *fair) next(acts ...func()) {
	f.blocks = append(f.blocks, fairBlock{seeded: true})
	if n := uint64(f.time(f.height()).Unix()-fairBegan.Unix()) / fairDay; n >= uint64(len(f.days)) {
		f.endDay()
	}
	for len(f.row) > 0 && f.row[0].height+2 <= f.height() {
		f.final(f.row[0])
		f.row = f.row[1:]
	}
	for _, act := range acts {
		act()
	}
	for _, p := range f.ballot {
		f.carryOut(p)
	}
	f.ballot = nil
}

// until makes blocks up to a height, nobody doing anything.
func (f *fair) until(height int64) {
	for f.height() < height {
		f.next()
	}
}

func (f *fair) openDay() {
	z := sdkmath.ZeroInt()
	f.days = append(f.days, &fairBooks{day: rewardv1.Day{Day: uint64(len(f.days)), Fund: z, Budget: z, Levied: z, Bonus: z, Duty: z, DutyDue: z, Converted: z, Streamed: z, Circulating: z},
		assets: map[string]rewardv1.Sum{}, works: map[string]map[string]rewardv1.Sum{}, seats: map[string]uint64{}, earned: map[string]rewardv1.Earner{}})
}

// endDay pays half the levy as bonus, and a price for each seat.
func (f *fair) endDay() {
	b := f.days[len(f.days)-1]
	d := &b.day
	circulating := int64(0)
	for _, held := range []map[string]int64{f.balances, f.reserved} {
		for who, n := range held {
			if !slices.Contains(f.modules, who) {
				circulating += n
			}
		}
	}
	d.Closed, d.Height, d.Done, d.Circulating, d.SeatPrice = f.time(f.height()).Unix(), f.height(), true, sdkmath.NewInt(circulating), f.prices.SeatPrice
	d.Fund, d.Budget = sdkmath.NewInt(50_000_000_000_000), sdkmath.NewInt(23_737_900_000)
	if d.Day >= f.prices.BonusDay {
		d.Kappa = 500_000 * uint64(min(circulating, int64(f.prices.WholeCirculating))) / f.prices.WholeCirculating
	}
	for node := range b.seats {
		if b.works[node] == nil {
			b.works[node] = map[string]rewardv1.Sum{}
		}
	}
	for _, node := range slices.Sorted(maps.Keys(b.works)) {
		work, known := b.works[node][money.Denom]
		if !known {
			work = noSum()
		}
		e := rewardv1.Earner{Seats: b.seats[node], Bonus: work.Levied.MulRaw(int64(d.Kappa)).QuoRaw(1_000_000), Duty: sdkmath.NewIntFromUint64(b.seats[node] * d.SeatPrice)}
		b.earned[node] = e
		d.Bonus, d.Duty, d.DutyDue = d.Bonus.Add(e.Bonus), d.Duty.Add(e.Duty), d.DutyDue.Add(e.Duty)
		if e.Bonus.IsPositive() || e.Duty.IsPositive() {
			f.tell("hpips_bonus", "day", fmt.Sprint(d.Day), "node", node, "owner", f.owners[node], "bonus", e.Bonus.String()+money.Denom, "duty", e.Duty.String()+money.Denom)
		}
	}
	f.tell("hpips_day_done", "day", fmt.Sprint(d.Day))
	f.openDay()
}

func (f *fair) final(p fairPay) {
	paid := p.amount * 9 / 10
	bond, target := p.lease.node+p.lease.denom, int64(f.bond.LeastTarget) // for any asset here
	held := min(paid*uint64(f.bond.HoldPermille)/1000, uint64(target-f.bonds[bond]))
	f.bonds[bond] += int64(held)
	text := func(n uint64) string { return strconv.FormatUint(n, 10) + p.lease.denom }
	id := hex.EncodeToString(p.lease.id[:])
	b := f.days[len(f.days)-1]
	add := func(s rewardv1.Sum, known bool) rewardv1.Sum {
		if !known {
			s = noSum()
		}
		s.Gross, s.Paid, s.Levied = s.Gross.Add(sdkmath.NewIntFromUint64(p.amount)), s.Paid.Add(sdkmath.NewIntFromUint64(paid)), s.Levied.Add(sdkmath.NewIntFromUint64(p.amount-paid))
		s.Held = s.Held.Add(sdkmath.NewIntFromUint64(held))
		return s
	}
	if b.works[p.lease.node] == nil {
		b.works[p.lease.node] = map[string]rewardv1.Sum{}
	}
	all, known := b.assets[p.lease.denom]
	b.assets[p.lease.denom] = add(all, known)
	work, known := b.works[p.lease.node][p.lease.denom]
	b.works[p.lease.node][p.lease.denom] = add(work, known)
	if p.lease.denom == money.Denom {
		b.day.Levied = b.day.Levied.Add(sdkmath.NewIntFromUint64(p.amount - paid))
	}
	escrow := addressText(authtypes.NewModuleAddress("escrow"))
	if held > 0 {
		f.tell("transfer", "sender", escrow, "recipient", addressText(authtypes.NewModuleAddress("bond")), "amount", text(held))
	}
	f.tell("hpips_held", "node", p.lease.node, "owner", p.lease.payee, "amount", text(held), "bond", text(uint64(f.bonds[bond])), "target", text(uint64(target)))
	f.tell("transfer", "sender", escrow, "recipient", p.lease.payee, "amount", text(paid-held))
	f.tell("hpips_paid", "day", fmt.Sprint(b.day.Day), "lease", id, "node", p.lease.node, "payer", p.lease.payer, "payee", p.lease.payee, "amount", text(p.amount),
		"paid", text(paid), "held", text(held), "levied", text(p.amount-paid))
	f.tell("hpips_final", "lease", id, "node", p.lease.node, "sequence", fmt.Sprint(p.sequence), "payer", p.lease.payer, "payee", p.lease.payee, "amount", text(p.amount))
}

// send puts a message into the block, with what it tells of.
func (f *fair) send(m sdk.Msg, told ...abci.Event) {
	b := f.words.tx.NewTxBuilder()
	if err := b.SetMsgs(m); err != nil {
		f.t.Fatal(err)
	}
	b.SetMemo(fmt.Sprint(len(f.txs))) // no two alike
	tx, err := f.words.tx.TxEncoder()(b.GetTx())
	if err != nil {
		f.t.Fatal(err)
	}
	f.txs = append(f.txs, &ctypes.ResultTx{Hash: cmtypes.Tx(tx).Hash(), Height: f.height(), Index: uint32(len(f.txs)), Tx: tx, TxResult: abci.ExecTxResult{Events: told}})
}

func fairVoucherKey(payer string) []byte {
	sum := sha256.Sum256([]byte("pays/" + payer))
	return sum[:]
}

// opens deposits for work of a node; the lease is called by name.
func (f *fair) opens(lease, payer, node, denom string) func() {
	return func() {
		terms := sha256.Sum256([]byte(lease))
		l := &fairLease{id: voucher.LeaseID(fairAddress(payer), terms), payer: fairAddress(payer), payee: f.owners[nodeHex(node)], node: nodeHex(node), denom: denom}
		f.leases[l.id] = l
		key := secp256k1.PrivKeyFromBytes(fairVoucherKey(payer)).PubKey().SerializeCompressed()
		f.send(&escrowv1.MsgOpen{Payer: l.payer, Deposits: []escrowv1.Deposit{{Terms: terms[:], Node: fairNode(node)[32:], VoucherKey: key, Denom: denom, Amount: sdkmath.NewInt(1e15)}}},
			fairEvent("hpips_lease", "what", "opened", "lease", hex.EncodeToString(l.id[:])))
	}
}

// redeems what a payer's voucher promises above what was redeemed, in uhpips with the fee out of it. Another asset's comes with a little in HPIPS that
// pays for both: lease names that one, too.
func (f *fair) redeems(payer, node string, more uint64, leases ...string) func() {
	return func() {
		m := &escrowv1.MsgRedeem{Sender: fairAddress(node), Node: fairNode(node)[32:]}
		var told []abci.Event
		fee := f.lease.RedeemFee * uint64(len(leases))
		for _, name := range leases {
			l := f.leases[voucher.LeaseID(fairAddress(payer), sha256.Sum256([]byte(name)))]
			l.redeemed += more
			v := voucher.Voucher{Chain: fairChain, Lease: l.id, Amount: l.redeemed}
			signed, err1 := v.Sign(fairVoucherKey(payer))
			word, err2 := v.Bytes()
			if err := errors.Join(err1, err2); err != nil {
				f.t.Fatal(err)
			}
			m.Claims = append(m.Claims, escrowv1.Claim{Voucher: word, Signature: signed.Signature, Root: make([]byte, 32)})
			took := uint64(0)
			if l.denom == money.Denom {
				took, fee = fee, 0
			}
			f.row = append(f.row, fairPay{l, more - took, uint64(len(f.txs)*10 + len(told)), f.height()})
			told = append(told, fairEvent("hpips_redemption", "lease", hex.EncodeToString(l.id[:]), "node", l.node, "sequence", fmt.Sprint(len(f.txs)*10+len(told)),
				"fee", fmt.Sprintf("%d%s", took, money.Denom)))
		}
		f.send(m, told...)
	}
}

// registers a node as an owner's.
func (f *fair) registers(node, owner string) func() {
	return func() {
		r := sortition.Registration{Chain: fairChain, Node: sortition.Key(fairNode(node)[32:]), Consensus: sortition.Key(fairNode("votes of " + node)[32:]),
			VRF: sortition.Key(fairNode("draws of " + node)[32:]), Owner: fairAddress(owner), Height: f.height()}
		word, err1 := r.Bytes()
		signature, err2 := r.Sign(fairNode(node))
		if err := errors.Join(err1, err2); err != nil {
			f.t.Fatal(err)
		}
		f.owners[nodeHex(node)] = fairAddress(owner)
		f.send(&registryv1.MsgRegister{Carrier: fairAddress("carrier"), Registration: word, NodeSignature: signature}, fairEvent("hpips_node", "what", "registered", "node", nodeHex(node)))
	}
}

// decides lets a vote end before this block, which carries it out at its end.
func (f *fair) decides(m sdk.Msg) func() {
	return func() {
		packed, err := codectypes.NewAnyWithValue(m)
		if err != nil {
			f.t.Fatal(err)
		}
		ended := f.time(f.height()).Add(-time.Second)
		p := &govv1.Proposal{Id: uint64(len(f.votes) + 1), Messages: []*codectypes.Any{packed}, Status: govv1.StatusPassed, VotingEndTime: &ended}
		f.votes, f.ballot = append(f.votes, p), append(f.ballot, p)
	}
}

func (f *fair) carryOut(p *govv1.Proposal) {
	all, err := p.GetMsgs()
	if err != nil {
		f.t.Fatal(err)
	}
	switch m := all[0].(type) {
	case *escrowv1.MsgUpdateParams:
		f.lease = m.Params
	case *rewardv1.MsgUpdateParams:
		f.prices = m.Params
	case *bondv1.MsgUpdateParams:
		f.bond = m.Params
	}
	f.tell("active_proposal", "proposal_id", fmt.Sprint(p.Id), "proposal_result", "proposal_passed")
}

// sits counts an epoch in a seat for a node.
func (f *fair) sits(node string) func() {
	return func() { f.days[len(f.days)-1].seats[nodeHex(node)]++ }
}

// spoil changes an attribute of the nth event of a kind in a block.
func spoil(f *fair, height int64, kind string, n int, key, value string) {
	for i := range f.blocks[height-1].events {
		if e := &f.blocks[height-1].events[i]; e.Type == kind {
			if n--; n < 0 {
				set(e, key, value)
				return
			}
		}
	}
	f.t.Fatalf("block %d has no such %s", height, kind)
}

func set(e *abci.Event, key, value string) {
	for i := range e.Attributes {
		if e.Attributes[i].Key == key {
			e.Attributes[i].Value = value
		}
	}
}

func (f *fair) gone(height int64) error {
	if height < f.oldest || height > f.height() {
		return fmt.Errorf("height %d is not available", height)
	}
	return nil
}

func (f *fair) Status(context.Context) (*ctypes.ResultStatus, error) {
	st := &ctypes.ResultStatus{}
	st.NodeInfo.Network, st.SyncInfo.LatestBlockHeight, st.SyncInfo.EarliestBlockHeight = fairChain, f.height(), f.oldest
	return st, nil
}

func (f *fair) Header(_ context.Context, h *int64) (*ctypes.ResultHeader, error) {
	return &ctypes.ResultHeader{Header: &cmtypes.Header{Height: *h, Time: f.time(*h)}}, f.gone(*h)
}

func (f *fair) Block(_ context.Context, h *int64) (*ctypes.ResultBlock, error) {
	if err := f.gone(*h); err != nil {
		return nil, err
	}
	b := &cmtypes.Block{Header: cmtypes.Header{Height: *h, Time: f.time(*h)}}
	if f.blocks[*h-1].seeded {
		b.Txs = append(b.Txs, sortition.SeedTx(sortition.Proof{}))
	}
	return &ctypes.ResultBlock{Block: b}, nil
}

func (f *fair) BlockResults(_ context.Context, h *int64) (*ctypes.ResultBlockResults, error) {
	if err := f.gone(*h); err != nil {
		return nil, err
	}
	return &ctypes.ResultBlockResults{Height: *h, FinalizeBlockEvents: f.blocks[*h-1].events}, nil
}

func (f *fair) Genesis(context.Context) (*ctypes.ResultGenesis, error) {
	return &ctypes.ResultGenesis{Genesis: &cmtypes.GenesisDoc{AppState: f.genesis}}, nil
}

// TxSearch finds by one event's one attribute.
func (f *fair) TxSearch(_ context.Context, what string, _ bool, page, size *int, _ string) (*ctypes.ResultTxSearch, error) {
	name, value, _ := strings.Cut(what, "=")
	kind, key, _ := strings.Cut(name, ".")
	var found []*ctypes.ResultTx
	for _, tx := range f.txs {
		if slices.ContainsFunc(events(tx.TxResult.Events), func(e Event) bool { return e.Type == kind && e.Attributes[key] == strings.Trim(value, "'") }) {
			found = append(found, tx)
		}
	}
	from, to := min((*page-1)**size, len(found)), min(*page**size, len(found))
	return &ctypes.ResultTxSearch{Txs: found[from:to], TotalCount: len(found)}, nil
}

func (f *fair) ABCIQueryWithOptions(_ context.Context, path string, data cmtbytes.HexBytes, o rpcclient.ABCIQueryOptions) (*ctypes.ResultABCIQuery, error) {
	if o.Height > 0 && o.Height < f.kept {
		return &ctypes.ResultABCIQuery{Response: abci.ResponseQuery{Code: codeRequest, Codespace: root, Log: "failed to load state: version does not exist"}}, nil
	}
	var m proto.Message
	switch path {
	case "/hpips.committee.v1.Query/Params":
		m = &committeev1.QueryParamsResponse{Params: committeev1.Params{DaySeconds: fairDay}}
	case "/hpips.committee.v1.Query/Committee":
		m = &committeev1.QueryCommitteeResponse{Beacon: committeev1.Beacon{GenesisTime: fairBegan, Day: uint64(len(f.days) - 1)}, Seats: f.seats}
	case "/hpips.reward.v1.Query/Day":
		var q rewardv1.QueryDayRequest
		if err := proto.Unmarshal(data, &q); err != nil {
			return nil, err
		}
		b := f.days[q.Day]
		r := &rewardv1.QueryDayResponse{Day: b.day}
		for _, denom := range slices.Sorted(maps.Keys(b.assets)) {
			r.Assets = append(r.Assets, rewardv1.Asset{Denom: denom, Sum: b.assets[denom]})
		}
		m = r
	case "/hpips.reward.v1.Query/Providers":
		var q rewardv1.QueryProvidersRequest
		if err := proto.Unmarshal(data, &q); err != nil {
			return nil, err
		}
		m = f.days[q.Day].providers(f.owners)
	case "/cosmos.gov.v1.Query/Proposals":
		m = &govv1.QueryProposalsResponse{Proposals: f.votes}
	default:
		return f.holdings(path, data)
	}
	b, err := proto.Marshal(m)
	return &ctypes.ResultABCIQuery{Response: abci.ResponseQuery{Value: b}}, err
}

// providers names the owners of now, as the chain does.
func (b *fairBooks) providers(owners map[string]string) *rewardv1.QueryProvidersResponse {
	r := &rewardv1.QueryProvidersResponse{}
	for _, node := range slices.Sorted(maps.Keys(b.earned)) {
		key, _ := hex.DecodeString(node)
		p := rewardv1.Provider{Node: key, Owner: owners[node], Earner: b.earned[node]}
		for _, denom := range slices.Sorted(maps.Keys(b.works[node])) {
			p.Assets = append(p.Assets, rewardv1.Asset{Denom: denom, Sum: b.works[node][denom]})
		}
		r.Providers = append(r.Providers, p)
	}
	return r
}

// holdings answers what accounts have, three to a page.
func (f *fair) holdings(path string, data []byte) (*ctypes.ResultABCIQuery, error) {
	const few = 3
	rows := func(of map[string]int64, p *sdkquery.PageRequest) ([]string, *sdkquery.PageResponse) {
		all := slices.Sorted(maps.Keys(of))
		if p != nil && len(p.Key) > 0 {
			at, _ := slices.BinarySearch(all, string(p.Key))
			all = all[at:]
		}
		if len(all) <= few {
			return all, &sdkquery.PageResponse{}
		}
		return all[:few], &sdkquery.PageResponse{NextKey: []byte(all[few])}
	}
	var m proto.Message
	switch path {
	case "/hpips.supply.v1.Query/Supply":
		z := sdkmath.ZeroInt()
		m = &supplyv1.QuerySupplyResponse{Total: z, Circulating: z, Reserved: z, Totals: supplyv1.Totals{Burned: z, Released: z}, Modules: f.modules}
	case "/hpips.supply.v1.Query/Reserved":
		var q supplyv1.QueryReservedRequest
		if err := proto.Unmarshal(data, &q); err != nil {
			return nil, err
		}
		r := &supplyv1.QueryReservedResponse{}
		var list []string
		list, r.Pagination = rows(f.reserved, q.Pagination)
		for _, who := range list {
			r.Reserved = append(r.Reserved, supplyv1.Reserved{Address: who, Amount: sdkmath.NewInt(f.reserved[who])})
		}
		m = r
	case "/cosmos.bank.v1beta1.Query/DenomOwners":
		var q banktypes.QueryDenomOwnersRequest
		if err := proto.Unmarshal(data, &q); err != nil {
			return nil, err
		}
		r := &banktypes.QueryDenomOwnersResponse{}
		var list []string
		list, r.Pagination = rows(f.balances, q.Pagination)
		for _, who := range list {
			r.DenomOwners = append(r.DenomOwners, &banktypes.DenomOwner{Address: who, Balance: sdk.NewInt64Coin(q.Denom, f.balances[who])})
		}
		m = r
	default:
		return &ctypes.ResultABCIQuery{Response: abci.ResponseQuery{Code: codeRequest, Codespace: root, Log: "unknown query path: unknown request"}}, nil
	}
	b, err := proto.Marshal(m)
	return &ctypes.ResultABCIQuery{Response: abci.ResponseQuery{Value: b}}, err
}
