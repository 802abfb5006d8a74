package ledger

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	ctypes "github.com/cometbft/cometbft/rpc/core/types"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/escrowv1"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/voucher"
)

// Settlement is what the recomputation of a day found.
type Settlement struct {
	OK           bool   `json:"ok"`
	Day          uint64 `json:"day"`
	From         int64  `json:"from"` // blocks of the day
	To           int64  `json:"to"`
	Payments     int    `json:"payments"`     // to providers, of final pay
	FundPayments int    `json:"fundPayments"` // bonus and duty
	Redeemed     int    `json:"redeemed"`     // redemptions in the day's blocks, each of which was paid when it was due or waits
	Differs      string `json:"differs,omitempty"`

	NotReckoned []string `json:"notReckoned"` // what of the day was taken from the chain's word
}

// differs is a payment that is not what it must be.
type differs string

func (d differs) Error() string { return string(d) }

func differ(format string, args ...any) error { return differs(fmt.Sprintf(format, args...)) }

// SettleVerify recomputes a closed day from the blocks: it takes from the chain which blocks there are and what transactions they hold, not what
// its modules keep, and compares what it reckons with every payment and sum of the day. The answer names the first that differs.
//
//  1. The blocks of the day, and every payment that they tell of.
//  2. For each: the redemption behind it. A node's redemptions are paid in their order, each once, two blocks later at the soonest; its amount is what
//     its voucher promises above the one before, less the fee that was in force then; the voucher is the payer's, by the key with which the lease was opened.
//  3. Nine tenths of it, rounded down, are the payee's, who owned the node when the lease was opened; the rest is levied; the coins moved, to the payee, to
//     its bond, which got the share that was in force then or what it lacked of the target that the block names, and to the levy.
//  4. Whatever was redeemed in the chain's blocks and was due in the day's became final, in its order, or the block says why not.
//     What holders of deals were paid is what their proofs earned, split alike.
//  5. The sums of the day, per asset and per provider.
//  6. What the sale of levies bought, what flows to the holders, what circulates, the fund, and the units of duty.
//  7. Bonus and duty, from the levies, the fund, the units and the parameters of the day; the coins moved.
//
// Parameters and owners are those of the time, as inforce finds them, and not those of now.
func (l *Ledger) SettleVerify(ctx context.Context, d Day) (Settlement, error) {
	s := &settler{l: l, day: d, out: Settlement{Day: d.Day, NotReckoned: []string{}}, turns: map[string][]turn{}, sums: map[string]*tally{}, paid: map[string]int{}, bonds: map[string]uint64{},
		earned: map[string]uint64{}, rentPaid: map[string]bool{}}
	err := s.verify(ctx)
	if what, ok := err.(differs); ok { //nolint:errorlint // it is never wrapped
		s.out.Differs = string(what)
		return s.out, nil
	}
	s.out.OK = err == nil
	return s.out, err
}

// settler is one recomputation.
type settler struct {
	l     *Ledger
	day   Day
	out   Settlement
	rules *inforce

	turns map[string][]turn // redemptions of a node, in their order
	paid  map[string]int    // how many of them were paid, the one under way included
	bonds map[string]uint64 // by node and denomination: as the last payment left it
	sums  map[string]*tally // by node and denomination; by denomination alone under ""

	queue   queue
	holders *holders
	breach  string // of an invariant, told in the day's blocks

	earned   map[string]uint64 // by node: with parts of deals, and not paid yet
	rentPaid map[string]bool   // nodes that deals paid in the day
	rentSeen bool              // deals paid anybody
	juries   bool              // had a say in the day
}

// turn is one redemption as its transaction says.
type turn struct {
	height   int64
	sequence string // among all redemptions of the chain
	lease    voucher.ID
	claim    escrowv1.Claim
	amount   uint64 // less the fee
	tx       string
	fee      *fee // of the transaction
}

// fee is what a transaction took for all its claims, those that let go of leases included.
type fee struct{ took, claims uint64 }

// tally sums what was reckoned.
type tally struct{ gross, paid, held, levied *big.Int }

func (t *tally) add(gross, paid, held uint64) {
	t.gross.Add(t.gross, new(big.Int).SetUint64(gross))
	t.paid.Add(t.paid, new(big.Int).SetUint64(paid))
	t.held.Add(t.held, new(big.Int).SetUint64(held))
	t.levied.Add(t.levied, new(big.Int).SetUint64(gross-paid))
}

func (s *settler) sum(key string) *tally {
	if s.sums[key] == nil {
		s.sums[key] = &tally{new(big.Int), new(big.Int), new(big.Int), new(big.Int)}
	}
	return s.sums[key]
}

func (s *settler) verify(ctx context.Context) error {
	if !s.day.Closed || s.day.Height == 0 {
		return s.open(ctx)
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	if err := s.catchUp(ctx); err != nil {
		return err
	}
	if err := s.dawn(ctx); err != nil {
		return err
	}
	before := s.queue.count
	if err := s.l.eachBlock(ctx, s.out.From, s.out.To, func(w written) error { // 1
		if err := s.block(ctx, w); err != nil {
			return err
		}
		if err := s.books(w); err != nil {
			return err
		}
		return s.due(ctx, w) // 4
	}); err != nil {
		return err
	}
	s.out.Redeemed = s.queue.count - before
	if err := s.compare(); err != nil { // 5
		return err
	}
	if err := s.dusk(ctx); err != nil { // 6
		return err
	}
	return s.fund(ctx) // 7
}

// open says why a day cannot be settled that is not closed.
func (s *settler) open(ctx context.Context) error {
	c, err := s.l.Committee(ctx)
	if err != nil {
		return err
	}
	f := &job.Failure{Code: job.CodeUnavailable, Message: fmt.Sprintf("day %d is not over", s.day.Day), Hint: "it closes with the first block of the next; hpips chain status says which day it is"}
	switch {
	case s.day.Height > 0:
		f.Message, f.Hint = fmt.Sprintf("the fund is still paying for day %d", s.day.Day), "try again in a moment"
	case c.Day > s.day.Day:
		f.Code, f.Message, f.Hint = job.CodeNotFound, fmt.Sprintf("the chain stood still on day %d: there is nothing to settle", s.day.Day), "name another day"
	}
	return f
}

// keptDays is for how many days the chain remembers what single providers did.
const keptDays = 90

// begin finds the blocks of the day, and the rules.
func (s *settler) begin(ctx context.Context) (err error) {
	c, err := s.l.Committee(ctx)
	if err != nil {
		return err
	}
	if c.Day > s.day.Day+keptDays {
		return &job.Failure{Code: job.CodeNotFound, Message: fmt.Sprintf("day %d is more than %d days ago: the chain has forgotten what single providers did", s.day.Day, keptDays),
			Hint: "hpips chain day still tells its sums"}
	}
	if s.out.From, s.out.To, err = s.l.span(ctx, s.day); err != nil {
		return err
	}
	s.rules, err = s.l.inforce(ctx)
	return err
}

// block compares the payments of one block.
func (s *settler) block(ctx context.Context, w written) error {
	height, all := w.height, w.falls
	moved := fromEscrow(all)
	var told, held map[string]string
	for _, e := range all {
		switch {
		case e.Type == "hpips_held":
			held = e.Attributes
		case e.Type == "hpips_slashed" || e.Type == "hpips_bond_returned":
			s.forget(e.Attributes)
		case isRent(e):
			held = nil
		case e.Type == "hpips_paid" && told != nil:
			return differ("block %d: lease %s is paid and nothing of it became final", height, told["lease"])
		case e.Type == "hpips_paid":
			told = e.Attributes
		case e.Type == juryPaid:
			if err := s.juror(height, told, e.Attributes, moved); err != nil {
				return err
			}
			told, held = nil, nil
		case e.Type == "hpips_forfeited":
			if err := s.forfeited(ctx, height, e.Attributes, moved); err != nil {
				return err
			}
		case e.Type == "hpips_final" && told == nil:
			if amount := e.Attributes["amount"]; strings.Trim(amount[:min(len(amount), 1)], "0") != "" {
				return differ("block %d: %s of lease %s became final and is not paid", height, amount, e.Attributes["lease"])
			}
		case e.Type == "hpips_final":
			if told["lease"] != e.Attributes["lease"] {
				return differ("block %d: lease %s is paid, lease %s is final", height, told["lease"], e.Attributes["lease"])
			}
			if err := s.payment(ctx, height, e.Attributes["sequence"], told, held, moved); err != nil {
				return err
			}
			told, held = nil, nil
		}
	}
	for _, e := range w.told { // transactions come after what falls due
		if e.Type == "hpips_slashed" || e.Type == "hpips_bond_returned" {
			s.forget(e.Attributes)
		}
	}
	if err := s.rents(w); err != nil {
		return err
	}
	return s.saidJurors(w)
}

// payment compares one payment with the redemption whose turn it is.
func (s *settler) payment(ctx context.Context, height int64, sequence string, told, kept map[string]string, moved map[string]int) error {
	node := told["node"]
	if err := s.redeemed(ctx, node, height); err != nil {
		return err
	}
	t, err := s.next(node, height, told["lease"], sequence)
	if err != nil {
		return err
	}
	if err := s.charged(t); err != nil {
		return err
	}
	l, err := s.opened(ctx, t)
	if err != nil {
		return err
	}
	if err := voucher.CheckBytes(t.claim.Voucher, t.claim.Signature, l.VoucherKey); err != nil {
		return differ("transaction %s: the voucher of lease %x is not its payer's: %v", t.tx, t.lease, err)
	}
	paid := t.amount - t.amount/10
	if t.amount%10 != 0 {
		paid--
	}
	want := map[string]string{"amount": coin(t.amount, l.Denom), "paid": coin(paid, l.Denom), "levied": coin(t.amount-paid, l.Denom), "payee": l.Payee, "payer": l.Payer}
	for _, what := range []string{"payer", "payee", "amount", "paid", "levied"} {
		if told[what] != want[what] {
			return differ("block %d: payment of lease %x: %s is %s, reckoned %s", height, t.lease, what, told[what], want[what])
		}
	}
	held, err := s.held(height, t, told, kept, l, paid)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		to     string
		amount uint64
	}{{l.Payee, paid - held}, {module("bond"), held}} {
		if key := part.to + " " + coin(part.amount, l.Denom); part.amount > 0 {
			if moved[key] == 0 {
				return differ("block %d: lease %x: %s did not go to %s", height, t.lease, coin(part.amount, l.Denom), part.to)
			}
			moved[key]--
		}
	}
	levy := module("levy") + " " + want["levied"]
	if moved[levy] == 0 {
		return differ("block %d: lease %x: %s of it were not levied", height, t.lease, want["levied"])
	}
	moved[levy]--
	s.out.Payments++
	s.sum(l.Denom).add(t.amount, paid, held)
	s.sum(node+" "+l.Denom).add(t.amount, paid, held)
	return nil
}

// held compares what a bond got of a payment with what it was to get: the share that was in force, or what the bond lacked of the target that the
// block names. Bond and target are the block's word; from one payment to the next the bond has grown by what was held, unless it was slashed or returned.
func (s *settler) held(height int64, t turn, told, kept map[string]string, l Lease, paid uint64) (uint64, error) {
	p, err := s.rules.holds(height)
	if err != nil {
		return 0, err
	}
	amount, ok1 := units(told["held"], l.Denom)
	bond, ok2 := units(kept["bond"], l.Denom)
	target, ok3 := units(kept["target"], l.Denom)
	share := paid/1000*uint64(p.HoldPermille) + paid%1000*uint64(p.HoldPermille)/1000
	before, known := s.bonds[told["node"]+" "+l.Denom]
	switch {
	case !ok1 || !ok2 || !ok3 || kept["amount"] != told["held"] || kept["node"] != told["node"] || kept["owner"] != l.Payee:
		return 0, differ("block %d: payment of lease %x: %q is held, and the bond says %v", height, t.lease, told["held"], kept)
	case amount > share:
		return 0, differ("block %d: payment of lease %x: %d of %d is held, at most %d may be", height, t.lease, amount, paid, share)
	case amount > bond || amount > 0 && bond > target:
		return 0, differ("block %d: payment of lease %x: %d is held, for a bond of %d that grows to %d", height, t.lease, amount, bond, target)
	case amount < share && bond < target:
		return 0, differ("block %d: payment of lease %x: %d is held, and the bond of %d lacks more of %d", height, t.lease, amount, bond, target)
	case known && bond != before+amount:
		return 0, differ("block %d: payment of lease %x: with %d held the bond is %d, and was %d", height, t.lease, amount, bond, before)
	}
	s.bonds[told["node"]+" "+l.Denom] = bond
	return amount, nil
}

// forget takes a bond's word anew after it was slashed, or returned.
func (s *settler) forget(told map[string]string) {
	delete(s.bonds, told["node"]+" "+strings.TrimLeft(told["amount"], "0123456789"))
}

// units reads an amount with its denomination.
func units(text, denom string) (uint64, bool) {
	digits, ours := strings.CutSuffix(text, denom)
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, ours && err == nil
}

func coin(n uint64, denom string) string { return strconv.FormatUint(n, 10) + denom }

// next is the redemption of a node that a payment must be for: of those that came to something, the one after the last that was paid. Those before
// the day's first were paid on earlier days.
func (s *settler) next(node string, height int64, lease, sequence string) (turn, error) {
	all, at := s.turns[node], s.paid[node]
	if at == 0 {
		at = 1 + slices.IndexFunc(all, func(t turn) bool { return t.sequence == sequence })
	}
	if at == 0 || at > len(all) {
		return turn{}, differ("block %d: a payment to node %s for lease %s that nothing was redeemed for", height, node, lease)
	}
	t := all[at-1]
	s.paid[node] = at + 1
	if got := hex.EncodeToString(t.lease[:]); got != lease || t.sequence != sequence {
		return turn{}, differ("block %d: node %s is paid for redemption %s of lease %s, it is the turn of %s of lease %s", height, node, sequence, lease, t.sequence, got)
	}
	if height < t.height+2 {
		return turn{}, differ("block %d: lease %s was redeemed in block %d and is final two blocks later at the soonest", height, lease, t.height)
	}
	return t, nil
}

// redeemed collects what a node redeemed up to a block, once.
func (s *settler) redeemed(ctx context.Context, node string, height int64) error {
	if _, known := s.turns[node]; known {
		return nil
	}
	key, err := hex.DecodeString(node)
	if err != nil {
		return differ("block %d: %q is no node", height, node)
	}
	found, err := s.l.withEvent(ctx, "hpips_redemption.node='"+hex.EncodeToString(key)+"'")
	if err != nil {
		return err
	}
	before := map[voucher.ID]uint64{}
	all := []turn{}
	for _, tx := range found {
		claims, err := s.l.claimed(tx)
		if err != nil {
			return err
		}
		more, err := s.charge(tx, claims, before)
		if err != nil {
			return err
		}
		all = append(all, more...)
	}
	s.turns[node] = all
	return nil
}

// charge reckons what each claim of a transaction adds, less what it says that it took as the fee.
func (s *settler) charge(tx *ctypes.ResultTx, claims []escrowv1.Claim, before map[voucher.ID]uint64) ([]turn, error) {
	all, in := []turn{}, &fee{claims: uint64(len(claims))}
	for _, c := range claims {
		if len(c.Voucher) == 0 {
			in.took += uint64(inCoins(letGoTold(events(tx.TxResult.Events), c.Lease)["fee"]))
			continue
		}
		v, err := voucher.Parse(c.Voucher)
		if err != nil {
			return nil, fmt.Errorf("transaction %s: %w", tx.Hash, err)
		}
		if v.Amount <= before[v.Lease] {
			return nil, differ("transaction %s redeems %d of lease %x after %d", tx.Hash, v.Amount, v.Lease, before[v.Lease])
		}
		t := turn{height: tx.Height, lease: v.Lease, claim: c, amount: v.Amount - before[v.Lease], tx: tx.Hash.String(), fee: in}
		before[v.Lease] = v.Amount
		told := redemptionTold(events(tx.TxResult.Events), v.Lease)
		t.sequence = told["sequence"]
		took := min(uint64(inCoins(told["fee"])), t.amount)
		t.amount, in.took = t.amount-took, in.took+took
		if t.amount > 0 {
			all = append(all, t)
		}
	}
	return all, nil
}

// charged compares the fee of a redemption's transaction with the one that was in force in its block, for each of its claims.
func (s *settler) charged(t turn) error {
	p, err := s.rules.lease(t.height)
	if err != nil {
		return err
	}
	if want := p.RedeemFee * t.fee.claims; t.fee.took != want {
		return differ("transaction %s: its fee is %d uhpips, reckoned %d", t.tx, t.fee.took, want)
	}
	return nil
}

// redemptionTold is what a transaction says of one lease's redemption.
func redemptionTold(all []Event, lease voucher.ID) map[string]string {
	for _, e := range all {
		if e.Type == "hpips_redemption" && e.Attributes["lease"] == hex.EncodeToString(lease[:]) {
			return e.Attributes
		}
	}
	return nil
}

// letGoTold is what a transaction says of a lease that was let go.
func letGoTold(all []Event, lease []byte) map[string]string {
	for _, e := range all {
		if e.Type == "hpips_lease" && e.Attributes["what"] == "let-go" && e.Attributes["lease"] == hex.EncodeToString(lease) {
			return e.Attributes
		}
	}
	return nil
}

// opened is a lease as the transaction that opened it says.
func (s *settler) opened(ctx context.Context, t turn) (Lease, error) {
	found, err := s.l.withEvent(ctx, "hpips_lease.lease='"+hex.EncodeToString(t.lease[:])+"'")
	if err != nil {
		return Lease{}, err
	}
	for _, tx := range found {
		decoded, err := s.l.words.tx.TxDecoder()(tx.Tx)
		if err != nil {
			return Lease{}, fmt.Errorf("transaction %s: %w", tx.Hash, err)
		}
		for _, m := range decoded.GetMsgs() {
			if l, ok := deposits(m, t.lease); ok {
				l.Payee, err = s.rules.owner(ctx, l.NodeKey, tx.Height, tx.Index)
				return l, err
			}
		}
	}
	return Lease{}, differ("lease %x was redeemed and never opened in a block that this node holds (a node with --archive holds all)", t.lease)
}

// deposits finds a lease's opening in a message, or in one that was sent in another's name.
func deposits(m sdk.Msg, id voucher.ID) (Lease, bool) {
	switch m := m.(type) {
	case *escrowv1.MsgOpen:
		for _, d := range m.Deposits {
			if len(d.Terms) == 32 && voucher.LeaseID(m.Payer, [32]byte(d.Terms)) == id {
				return Lease{Payer: m.Payer, NodeKey: d.Node, VoucherKey: d.VoucherKey, Denom: d.Denom, Key: id}, true
			}
		}
	case interface{ GetMessages() ([]sdk.Msg, error) }:
		inner, err := m.GetMessages()
		if err != nil {
			return Lease{}, false
		}
		for _, one := range inner {
			if l, ok := deposits(one, id); ok {
				return l, true
			}
		}
	}
	return Lease{}, false
}

// compare holds the sums that were reckoned against those that the chain says.
func (s *settler) compare() error {
	same := func(what string, a AssetDay, key string) error {
		t := s.sum(key)
		for _, row := range []struct{ name, told, want string }{
			{"gross", a.Gross, t.gross.String()}, {"paid", a.Paid, t.paid.String()}, {"held", a.Held, t.held.String()}, {"levied", a.Levied, t.levied.String()},
		} {
			if row.told != row.want {
				return differ("day %d: %s: %s %s is %s, reckoned %s", s.day.Day, what, a.Denom, row.name, row.told, row.want)
			}
		}
		delete(s.sums, key)
		return nil
	}
	for _, a := range s.day.Assets {
		if err := same("all providers", a, a.Denom); err != nil {
			return err
		}
	}
	for _, p := range s.day.Providers {
		for _, a := range p.Assets {
			if err := same("provider "+p.Node, a, hex.EncodeToString(p.Key)+" "+a.Denom); err != nil {
				return err
			}
		}
	}
	for key, t := range s.sums {
		if t.gross.Sign() > 0 {
			return differ("day %d: %s earned %s, which the chain's figures do not have", s.day.Day, key, t.gross)
		}
	}
	return nil
}

// withEvent finds all transactions with an event, the oldest first.
func (l *Ledger) withEvent(ctx context.Context, what string) ([]*ctypes.ResultTx, error) {
	var found []*ctypes.ResultTx
	for page, size := 1, 100; ; page++ {
		r, err := l.rpc.TxSearch(ctx, what, false, &page, &size, "asc")
		if err != nil {
			return nil, l.unreachable(ctx, err)
		}
		if found = append(found, r.Txs...); len(r.Txs) < size || len(found) >= r.TotalCount {
			return slices.DeleteFunc(found, func(tx *ctypes.ResultTx) bool { return tx.TxResult.Code != 0 }), nil
		}
	}
}
