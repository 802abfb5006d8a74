package ledger

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"sync"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	govtypes "github.com/cosmos/cosmos-sdk/x/gov/types"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/proto/gen/rewardv1"
	"github.com/hpips/hpips/proto/gen/storagev1"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/sortition"
)

// What the holders are told of a day, reckoned from coins that moved. The accounts of modules are named by the chain's rules.
//
//  1. Where the day began: from the figures of the day before, or from genesis.
//  2. In each block, what the pots (accounts that nobody holds) gave and took: what circulates is all that is not in them. What open orders, leases and
//     bonds hold is its owners', so it counts as theirs.
//  3. The holders' stream of the day before, as far as it flowed; what it could not, while too little circulated, flows on.
//  4. What the sale of levies bought: it came from the exchange, went to the holders' pot, and is what was sold beyond what the batch's other orders bought.
//  5. Epochs that ended, receipts that were used, and what holders proved.
type holders struct {
	fund, circulating *big.Int // at the next block's beginning
	converted         *big.Int
	stream            stream
	epochs            uint64            // that ended
	receipts          map[string]uint64 // by observer
	stored            map[string]uint64 // MiB, by holder
	before            uint64            // the day whose figures they go on from
	height            int64             // of the block that ended it; 0: there is none
}

// stream is what flows to the holders in a day.
type stream struct {
	amount, flowed, next *big.Int
	start, end           int64
}

// flow moves what is due by a time; what too little circulates for waits.
func (s *stream) flow(now int64, enough bool) {
	due := new(big.Int).Set(s.amount)
	if s.start < s.end && now < s.end {
		due.Mul(s.amount, big.NewInt(max(now-s.start, 0)))
		due.Quo(due, big.NewInt(s.end-s.start))
	}
	if due.Cmp(s.flowed) <= 0 {
		return
	}
	if !enough {
		s.next.Add(s.next, new(big.Int).Sub(due, s.flowed))
	}
	s.flowed = due
}

func module(name string) string { return addressText(authtypes.NewModuleAddress(name)) }

// pots are the accounts of modules that hold for nobody.
var pots = sync.OnceValue(func() map[string]bool {
	all := map[string]bool{}
	for _, name := range []string{authtypes.FeeCollectorName, govtypes.ModuleName, "supply", "investors", "founders", "operations", "community", "fund", "levy", "stream", "deal"} {
		all[module(name)] = true
	}
	return all
})

// dawn finds what there was when the day began.
func (s *settler) dawn(ctx context.Context) error { // 1
	h := &holders{fund: new(big.Int), circulating: new(big.Int), converted: new(big.Int), receipts: map[string]uint64{}, stored: map[string]uint64{},
		stream: stream{new(big.Int), new(big.Int), new(big.Int), 0, 0}}
	s.holders = h
	for n := s.day.Day; n > 0 && h.height == 0; {
		n--
		d, err := s.l.sums(ctx, &rewardv1.QueryDayRequest{Day: n})
		if err != nil {
			return err
		}
		if d.Height == 0 { // the chain stood still in it
			continue
		}
		h.before, h.height = n, d.Height
		h.fund, h.circulating, h.stream.amount = number(d.Fund), number(d.Circulating), number(d.Streamed)
		h.stream.start = d.Time.Unix()
	}
	rules, err := s.l.Rules(ctx)
	if err != nil {
		return err
	}
	c, err := s.l.Committee(ctx)
	if err != nil {
		return err
	}
	h.stream.end = c.Genesis.Unix() + int64((s.day.Day+1)*rules.DaySeconds)
	if h.height > 0 {
		return nil
	}
	return h.genesis(ctx, s.l)
}

// genesis counts what there was in the beginning.
func (h *holders) genesis(ctx context.Context, l *Ledger) error {
	r, err := l.rpc.Genesis(ctx)
	if err != nil {
		return l.unreachable(ctx, err)
	}
	var state struct {
		Bank struct {
			Balances []struct {
				Address string    `json:"address"`
				Coins   sdk.Coins `json:"coins"`
			} `json:"balances"`
		} `json:"bank"`
	}
	if err := json.Unmarshal(r.Genesis.AppState, &state); err != nil {
		return fmt.Errorf("genesis: %w", err)
	}
	for _, b := range state.Bank.Balances {
		n := b.Coins.AmountOf(money.Denom).BigInt()
		if b.Address == module("fund") {
			h.fund.Add(h.fund, n)
		}
		if !pots()[b.Address] {
			h.circulating.Add(h.circulating, n)
		}
	}
	return nil
}

// uhpips are the uhpips in a list of coins; none where it is none.
func uhpips(text string) *big.Int {
	all, err := sdk.ParseCoinsNormalized(text)
	if err != nil {
		return new(big.Int)
	}
	return all.AmountOf(money.Denom).BigInt()
}

// books follows the pots through one block of the day.
func (s *settler) books(w written) error {
	h := s.holders
	if w.seeded && w.height > h.height {
		if err := s.flows(w.height, w.time); err != nil { // 3
			return err
		}
	}
	for _, e := range slices.Concat(w.falls, w.told) { // 2
		n, sign := uhpips(e.Attributes["amount"]), 1
		var who string
		switch e.Type {
		case "coin_received":
			who = e.Attributes["receiver"]
		case "coin_spent":
			who, sign = e.Attributes["spender"], -1
		case "hpips_supply_breach":
			s.breach = e.Attributes["what"]
			continue
		default:
			continue
		}
		if sign < 0 {
			n.Neg(n)
		}
		if who == module("fund") || who == module(authtypes.FeeCollectorName) { // what was collected is the fund's at the block's end, which tells of nothing
			h.fund.Add(h.fund, n)
		}
		if !pots()[who] {
			h.circulating.Add(h.circulating, n)
		}
	}
	if err := s.bought(w); err != nil { // 4
		return err
	}
	for _, e := range w.falls { // 5
		if e.Type == "hpips_committee_turned" {
			h.epochs++
		}
	}
	return s.served(w)
}

// served counts what nodes did for the network in a block: receipts that a ticket made use of, and days for which a holder proved what it keeps.
func (s *settler) served(w written) error {
	h, proofs := s.holders, 0
	for _, one := range w.said {
		for _, m := range one.messages {
			switch m := m.(type) {
			case *committeev1.MsgTicket:
				for _, raw := range m.Receipts {
					r, err := sortition.ParseReceipt(raw)
					if err != nil {
						return differ("transaction %s succeeded with a receipt that cannot be read: %v", one.tx, err)
					}
					h.receipts[string(r.Observer[:])]++
				}
			case *storagev1.MsgVouch, *storagev1.MsgProve:
				proofs++
			}
		}
	}
	for _, e := range w.told {
		if e.Type != "hpips_proven" {
			continue
		}
		node, err1 := hex.DecodeString(e.Attributes["node"])
		mib, err2 := strconv.ParseUint(e.Attributes["mib"], 10, 64)
		if err1 != nil || err2 != nil {
			return differ("block %d: a holder's proof is told as %v", w.height, e.Attributes)
		}
		h.stored[string(node)] += mib
		proofs--
	}
	if proofs != 0 {
		return differ("block %d: holders sent %d proofs more than were told of", w.height, proofs)
	}
	return nil
}

func (s *settler) flows(height int64, at time.Time) error {
	rules, err := s.rules.day(height)
	if err != nil {
		return err
	}
	h := s.holders
	least := new(big.Int).SetUint64(rules.LeastCirculating)
	h.stream.flow(at.Unix(), h.circulating.Sign() > 0 && h.circulating.Cmp(least) >= 0)
	return nil
}

// bought compares what the sale of levies bought in a block.
func (s *settler) bought(w written) error {
	sale, told, traded := new(big.Int), new(big.Int), new(big.Int)
	for _, e := range w.falls {
		a := e.Attributes
		switch e.Type {
		case "hpips_sale":
			sale.Add(sale, uhpips(a["bought"]))
		case "hpips_converted":
			one := uhpips(a["amount"])
			told.Add(told, one)
			if !went(w.falls, "exchange", module("levy"), one) || !went(w.falls, "levy", module("stream"), one) {
				return differ("block %d: %s uhpips that the sale of levies bought did not go to the holders' pot", w.height, one)
			}
		case "hpips_batch":
			traded.Add(traded, uhpips(a["traded"]))
			traded.Add(traded, uhpips(a["traded"]))
		case "hpips_fill":
			traded.Sub(traded, uhpips(a["amount"]))
		}
	}
	switch {
	case sale.Cmp(told) != 0:
		return differ("block %d: the sale of levies bought %s uhpips, and %s are told as converted", w.height, sale, told)
	case traded.Cmp(told) != 0:
		return differ("block %d: the sale of levies bought %s uhpips, the orders of its batches leave %s", w.height, told, traded)
	}
	s.holders.converted.Add(s.holders.converted, told)
	s.holders.stream.next.Add(s.holders.stream.next, told)
	return nil
}

// went tells whether coins in uhpips went from a module's account to another.
func went(all []Event, from, to string, n *big.Int) bool {
	return carriedOver(all, module(from), to, n.String()+money.Denom)
}

func carriedOver(all []Event, from, to, amount string) bool {
	return slices.ContainsFunc(all, func(e Event) bool {
		a := e.Attributes
		return e.Type == "transfer" && a["sender"] == from && a["recipient"] == to && a["amount"] == amount
	})
}

// dusk compares what was reckoned with the day's figures.
func (s *settler) dusk(ctx context.Context) error {
	h := s.holders
	last, err := s.l.written(ctx, s.day.Height)
	if err != nil {
		return err
	}
	if err := s.flows(last.height, last.time); err != nil {
		return err
	}
	levied := number(s.day.Levied)
	streamed := new(big.Int).Sub(h.stream.amount, h.stream.flowed)
	streamed.Add(streamed, h.stream.next).Add(streamed, levied)
	for _, row := range []struct {
		name, told string
		want       *big.Int
	}{{"converted", s.day.Converted, h.converted}, {"streamed", s.day.Streamed, streamed}, {"circulating", s.day.Circulating, h.circulating}, {"the fund", s.day.Fund, h.fund}} {
		if row.told != row.want.String() {
			return differ("day %d: %s is %s, reckoned %s", s.day.Day, row.name, row.told, row.want)
		}
	}
	if levied.Sign() > 0 && !went(last.falls, "levy", module("stream"), levied) {
		return differ("block %d: %s uhpips that day %d levied did not go to the holders' pot", last.height, levied, s.day.Day)
	}
	for _, a := range s.day.Assets {
		if n := number(a.Levied); a.Denom != money.Denom && n.Sign() > 0 && !carriedOver(last.falls, module("levy"), module("exchange"), n.String()+a.Denom) {
			return differ("block %d: %s%s that day %d levied did not go to the exchange", last.height, n, a.Denom, s.day.Day)
		}
	}
	return s.units()
}

// units compares what nodes did for the network.
func (s *settler) units() error {
	h := s.holders
	seats, kept := false, false
	for _, p := range s.day.Providers {
		if want := h.receipts[string(p.Key)]; p.Receipts != want {
			return differ("day %d: provider %s: %d receipts were used, reckoned %d", s.day.Day, p.Node, p.Receipts, want)
		}
		if want := h.stored[string(p.Key)]; p.Stored != want {
			return differ("day %d: provider %s: %d MiB of the archive were proven, reckoned %d", s.day.Day, p.Node, p.Stored, want)
		}
		kept = kept || p.Stored > 0
		delete(h.receipts, string(p.Key))
		delete(h.stored, string(p.Key))
		if p.Seats > h.epochs {
			return differ("day %d: provider %s: %d epochs in a seat, and %d ended", s.day.Day, p.Node, p.Seats, h.epochs)
		}
		seats = seats || p.Seats > 0
	}
	for observer, n := range h.receipts {
		return differ("day %d: node %x: %d receipts were used, which the chain's figures do not have", s.day.Day, observer, n)
	}
	for holder, n := range h.stored {
		return differ("day %d: node %x: %d MiB of the archive were proven, which the chain's figures do not have", s.day.Day, holder, n)
	}
	if kept {
		s.unknown("how much each holder had to prove: only that it is paid for what the chain took as proven")
	}
	if seats {
		s.unknown("which seats served each of the %d epochs that ended: no seat is counted more often, and hpips chain verify checks who sat", h.epochs)
	}
	if h.converted.Sign() > 0 {
		s.unknown("which orders traded with the sale of levies, and at what price: only that what it bought is what they sold, and where it went")
	}
	if h.height > 0 {
		s.unknown("what came before: fund, circulating and streamed go on from the figures of day %d, which settle-verify --day %d reckons", h.before, h.before)
	}
	return nil
}
