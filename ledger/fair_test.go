package ledger

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	sdkmath "cosmossdk.io/math"
	abci "github.com/cometbft/cometbft/abci/types"
	rpcclient "github.com/cometbft/cometbft/rpc/client"
	ctypes "github.com/cometbft/cometbft/rpc/core/types"
	cmtypes "github.com/cometbft/cometbft/types"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	govv1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1"
	"github.com/cosmos/gogoproto/proto"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"github.com/hpips/hpips/proto/gen/bondv1"
	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/proto/gen/escrowv1"
	"github.com/hpips/hpips/proto/gen/registryv1"
	"github.com/hpips/hpips/proto/gen/rewardv1"
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
	began        map[string]any
	granted      map[string]int64 // balances of genesis
	oldest, kept int64

	blocks []fairBlock
	txs    []*ctypes.ResultTx
	votes  []*govv1.Proposal
	ballot []*govv1.Proposal // being voted on

	lease   escrowv1.Params // in force
	prices  rewardv1.Params
	bond    bondv1.Params
	bonds   map[string]int64  // by node and denomination
	owners  map[string]string // by node, in hex
	leases  map[voucher.ID]*fairLease
	row     []fairPay // redeemed and not final
	refused func(fairPay) bool
	rooted  bool               // payers want juries
	juries  func(fairPay) bool // hold up pay
	lost    func(fairPay) bool // goes back to its payer
	days    []*fairBooks

	balances, reserved map[string]int64
	past               []map[string]int64 // balances after each block
	rows               [][]fairPay        // who waited after each block
	fund, swept        int64              // the community fund; fees of this block
	flows              stream             // to the holders; Amount and so on as chain/reward says
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
	day             rewardv1.Day
	assets          map[string]rewardv1.Sum
	works           map[string]map[string]rewardv1.Sum // by node
	seats, receipts map[string]uint64
	earned          map[string]rewardv1.Earner
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
	f := &fair{t: t, words: words, oldest: 1, lease: escrowv1.Params{RedeemFee: 200, Batch: 100}, prices: rewardv1.Params{WholeCirculating: 2_000_000, SeatPrice: 5000, ReceiptPrice: 30},
		bond: bondv1.Params{HoldPermille: 250, LeastTarget: 30_000}, bonds: map[string]int64{},
		owners: map[string]string{}, leases: map[voucher.ID]*fairLease{}, balances: map[string]int64{}, reserved: map[string]int64{}, fund: 50_000_000_000_000,
		flows: stream{new(big.Int), new(big.Int), new(big.Int), 0, 0}}
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
	f.began = row{"registry": row{"nodes": first}, "escrow": params(&f.lease), "reward": params(&f.prices), "bond": params(&f.bond)}
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

func (f *fair) tellAll(all ...abci.Event) {
	b := &f.blocks[len(f.blocks)-1]
	b.events = append(b.events, all...)
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
	if f.height() == 0 {
		f.granted = maps.Clone(f.balances)
	}
	f.blocks = append(f.blocks, fairBlock{seeded: true})
	f.flow()
	if n := uint64(f.time(f.height()).Unix()-fairBegan.Unix()) / fairDay; n >= uint64(len(f.days)) {
		f.endDay()
	}
	f.settle()
	for _, act := range acts {
		act()
	}
	for _, p := range f.ballot {
		f.carryOut(p)
	}
	f.ballot = nil
	if f.swept > 0 {
		f.fund, f.swept = f.fund+f.swept, 0 // nothing is told of it
	}
	f.past, f.rows = append(f.past, maps.Clone(f.balances)), append(f.rows, slices.Clone(f.row))
}

// moves is what is told of coins that move from a module's account.
func (f *fair) moves(from, to, amount string) []abci.Event {
	return []abci.Event{fairEvent("coin_spent", "spender", module(from), "amount", amount), fairEvent("coin_received", "receiver", to, "amount", amount),
		fairEvent("transfer", "recipient", to, "sender", module(from), "amount", amount)}
}

func (f *fair) circulating() (n int64) {
	for _, held := range []map[string]int64{f.balances, f.reserved} {
		for who, part := range held {
			if !slices.Contains(f.modules, who) {
				n += part
			}
		}
	}
	return n
}

// flow lets what was brought flow to the holders; what it cannot goes on with the next day.
func (f *fair) flow() {
	s := &f.flows
	if now := f.time(f.height()).Unix(); s.amount.Sign() > 0 {
		due := s.amount.Int64()
		if now < s.end {
			due = due * (now - s.start) / (s.end - s.start)
		}
		if f.circulating() < max(int64(f.prices.LeastCirculating), 1) {
			s.next.Add(s.next, big.NewInt(due-s.flowed.Int64()))
		}
		s.flowed = big.NewInt(due)
	}
}

// settle makes final what is due, in its order, as many as a block may; what a node must not be paid is refused, and holds up those behind it.
func (f *fair) settle() {
	var keep []fairPay
	held, steps := map[string]bool{}, 0
	for i, p := range f.row {
		if p.height+2 > f.height() || steps == int(f.lease.Batch) {
			keep = append(keep, f.row[i:]...)
			break
		}
		if held[p.lease.node] {
			keep = append(keep, p)
			continue
		}
		steps++
		if f.juries != nil && f.juries(p) {
			held[p.lease.node], keep = true, append(keep, p)
			continue
		}
		if f.lost != nil && f.lost(p) {
			f.tellAll(f.moves("escrow", p.lease.payer, coin(p.amount, p.lease.denom))...)
			f.tell("hpips_forfeited", "lease", hex.EncodeToString(p.lease.id[:]), "node", p.lease.node, "sequence", fmt.Sprint(p.sequence), "payer", p.lease.payer, "amount", coin(p.amount, p.lease.denom))
			continue
		}
		if f.refused != nil && f.refused(p) {
			held[p.lease.node], keep = true, append(keep, p)
			f.tell("hpips_pay_refused", "lease", hex.EncodeToString(p.lease.id[:]), "node", p.lease.node, "sequence", fmt.Sprint(p.sequence), "why", "closed")
			continue
		}
		f.final(p)
	}
	f.row = keep
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
		assets: map[string]rewardv1.Sum{}, works: map[string]map[string]rewardv1.Sum{}, seats: map[string]uint64{}, receipts: map[string]uint64{}, earned: map[string]rewardv1.Earner{}})
}

// endDay pays half the levy as bonus, and a price for each seat.
func (f *fair) endDay() {
	b := f.days[len(f.days)-1]
	d := &b.day
	circulating := f.circulating()
	f.endStream(b)
	d.Closed, d.Height, d.Done, d.Circulating, d.SeatPrice = f.time(f.height()).Unix(), f.height(), true, sdkmath.NewInt(circulating), f.prices.SeatPrice
	d.Fund, d.Budget = sdkmath.NewInt(f.fund), sdkmath.NewInt(f.fund/1_000_000_000*474_758+f.fund%1_000_000_000*474_758/1_000_000_000)
	d.ReceiptPrice = f.prices.ReceiptPrice
	if d.Day >= f.prices.BonusDay {
		d.Kappa = 500_000 * uint64(min(circulating, int64(f.prices.WholeCirculating))) / f.prices.WholeCirculating
	}
	for _, units := range []map[string]uint64{b.seats, b.receipts} {
		for node := range units {
			if b.works[node] == nil {
				b.works[node] = map[string]rewardv1.Sum{}
			}
		}
	}
	for _, node := range slices.Sorted(maps.Keys(b.works)) {
		work, known := b.works[node][money.Denom]
		if !known {
			work = noSum()
		}
		e := rewardv1.Earner{Seats: b.seats[node], Receipts: b.receipts[node], Bonus: work.Levied.MulRaw(int64(d.Kappa)).QuoRaw(1_000_000),
			Duty: sdkmath.NewIntFromUint64(b.seats[node]*d.SeatPrice + b.receipts[node]*d.ReceiptPrice)}
		b.earned[node] = e
		d.Bonus, d.Duty, d.DutyDue = d.Bonus.Add(e.Bonus), d.Duty.Add(e.Duty), d.DutyDue.Add(e.Duty)
		if sum := e.Bonus.Add(e.Duty); sum.IsPositive() {
			f.tellAll(f.moves("fund", f.owners[node], sum.String()+money.Denom)...)
			f.fund -= sum.Int64()
			f.balances[f.owners[node]] += sum.Int64()
			f.tell("hpips_bonus", "day", fmt.Sprint(d.Day), "node", node, "owner", f.owners[node], "bonus", e.Bonus.String()+money.Denom, "duty", e.Duty.String()+money.Denom)
		}
	}
	f.tell("hpips_day_done", "day", fmt.Sprint(d.Day))
	f.openDay()
}

// endStream brings what a day levied to the holders and to the exchange.
func (f *fair) endStream(b *fairBooks) {
	s := &f.flows
	s.amount = new(big.Int).Add(new(big.Int).Sub(s.amount, s.flowed), new(big.Int).Add(s.next, b.day.Levied.BigInt()))
	s.flowed, s.next, s.start, s.end = new(big.Int), new(big.Int), f.time(f.height()).Unix(), fairBegan.Unix()+int64(len(f.days)+1)*fairDay
	b.day.Streamed = sdkmath.NewIntFromBigInt(s.amount)
	if b.day.Levied.IsPositive() {
		f.tellAll(f.moves("levy", module("stream"), b.day.Levied.String()+money.Denom)...)
	}
	for _, denom := range slices.Sorted(maps.Keys(b.assets)) {
		if denom != money.Denom {
			f.tellAll(f.moves("levy", module("exchange"), b.assets[denom].Levied.String()+denom)...)
		}
	}
}

// converts lets the sale of levies buy uhpips, half of what a batch trades.
func (f *fair) converts(n uint64) func() {
	return func() {
		text := coin(n, money.Denom)
		f.tell("hpips_batch", "denom", "ushell", "price", "1", "traded", coin(2*n, money.Denom))
		f.tell("hpips_fill", "id", "1", "amount", text, "value", "5ushell") // of a buyer
		f.tell("hpips_fill", "id", "2", "amount", coin(2*n, money.Denom), "value", "10ushell")
		f.tellAll(f.moves("exchange", fairAddress("buyer"), text)...)
		f.tellAll(f.moves("exchange", module("levy"), text)...)
		f.tellAll(f.moves("levy", module("stream"), text)...)
		b := f.days[len(f.days)-1]
		b.day.Converted = b.day.Converted.Add(sdkmath.NewIntFromUint64(n))
		f.flows.next.Add(f.flows.next, new(big.Int).SetUint64(n))
		f.balances[fairAddress("seller")] -= int64(2 * n) // whose order held them
		f.balances[fairAddress("buyer")] += int64(n)
		f.tell("hpips_converted", "day", fmt.Sprint(b.day.Day), "amount", text)
		f.tell("hpips_sale", "sold", "5ushell", "bought", text, "price", "1")
	}
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
	if held > 0 {
		f.tellAll(f.moves("escrow", module("bond"), text(held))...)
	}
	f.tell("hpips_held", "node", p.lease.node, "owner", p.lease.payee, "amount", text(held), "bond", text(uint64(f.bonds[bond])), "target", text(uint64(target)))
	f.tellAll(f.moves("escrow", p.lease.payee, text(paid-held))...)
	f.tellAll(f.moves("escrow", module("levy"), text(p.amount-paid))...)
	if p.lease.denom == money.Denom {
		f.balances[p.lease.payer] -= int64(p.amount)
		f.balances[p.lease.payee] += int64(paid)
	}
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
// pays for both: lease names that one, too. Of one that is named with a minus sign the node lets go of unused.
func (f *fair) redeems(payer, node string, more uint64, leases ...string) func() {
	return func() {
		m := &escrowv1.MsgRedeem{Sender: fairAddress(node), Node: fairNode(node)[32:]}
		var told []abci.Event
		fee := f.lease.RedeemFee * uint64(len(leases))
		for _, name := range leases {
			if name, unused := strings.CutPrefix(name, "-"); unused {
				fee -= f.lease.RedeemFee
				id := voucher.LeaseID(fairAddress(payer), sha256.Sum256([]byte(name)))
				m.Claims = append(m.Claims, escrowv1.Claim{Last: true, Lease: id[:]})
				told = append(told, fairEvent("hpips_lease", "what", "let-go", "lease", hex.EncodeToString(id[:]), "fee", coin(f.lease.RedeemFee, money.Denom)))
				f.balances[fairAddress(payer)] -= int64(f.lease.RedeemFee)
				continue
			}
			l := f.leases[voucher.LeaseID(fairAddress(payer), sha256.Sum256([]byte(name)))]
			l.redeemed += more
			v := voucher.Voucher{Chain: fairChain, Lease: l.id, Amount: l.redeemed}
			if f.rooted {
				v.Root = [32]byte{1}
			}
			signed, err1 := v.Sign(fairVoucherKey(payer))
			word, err2 := v.Bytes()
			if err := errors.Join(err1, err2); err != nil {
				f.t.Fatal(err)
			}
			m.Claims = append(m.Claims, escrowv1.Claim{Voucher: word, Signature: signed.Signature})
			took := uint64(0)
			if l.denom == money.Denom {
				took, fee = fee, 0
			}
			f.row = append(f.row, fairPay{l, more - took, uint64(len(f.txs)*10 + len(told)), f.height()})
			told = append(told, fairEvent("hpips_redemption", "lease", hex.EncodeToString(l.id[:]), "node", l.node, "sequence", fmt.Sprint(len(f.txs)*10+len(told)),
				"fee", fmt.Sprintf("%d%s", took, money.Denom)))
			f.balances[l.payer] -= int64(took)
		}
		all := f.lease.RedeemFee * uint64(len(leases))
		f.swept += int64(all)
		told = append(told, f.moves("escrow", module("fee_collector"), coin(all, money.Denom))...)
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
	return func() {
		f.days[len(f.days)-1].seats[nodeHex(node)]++
		f.tell("hpips_committee_turned", "epoch", "1")
	}
}

// applies for a ticket, with the word of an observer.
func (f *fair) applies(node, observer string) func() {
	return func() {
		r := sortition.Receipt{Chain: fairChain, Node: sortition.Key(fairNode(node)[32:]), Observer: sortition.Key(fairNode(observer)[32:]), Slot: 7, Network: "8.8.8.0/24"}
		r, err1 := r.Sign(fairNode(observer))
		word, err2 := r.Bytes()
		if err := errors.Join(err1, err2); err != nil {
			f.t.Fatal(err)
		}
		f.days[len(f.days)-1].receipts[nodeHex(observer)]++
		f.send(&committeev1.MsgTicket{Sender: fairAddress(node), Node: fairNode(node)[32:], Slot: 7, Receipts: [][]byte{word}})
	}
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
