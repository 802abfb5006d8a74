package ledger

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"time"

	ctypes "github.com/cometbft/cometbft/rpc/core/types"

	"github.com/hpips/hpips/proto/gen/escrowv1"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/voucher"
)

// Earnings is what a node earned and lost.
type Earnings struct {
	Node        string       `json:"node"`
	Owner       string       `json:"owner"`
	Bond        Bond         `json:"bond"`
	Days        []EarnedDay  `json:"days"`        // the newest first; days without anything are left out
	Redemptions []Redemption `json:"redemptions"` // the newest first
	Losses      []Loss       `json:"losses"`      // the newest first
}

// EarnedDay is a node's share of one day.
type EarnedDay struct {
	Day  uint64 `json:"day"`
	Open bool   `json:"open"` // not over: more may come, and bonus and duty pay are not reckoned yet
	Lost []Coin `json:"lost"` // that day, of pay that was not final and of the bond
	Earned
}

// Redemption is one voucher that a node redeemed: what it adds to the one before of the same lease.
type Redemption struct {
	Tx     string        `json:"tx"`
	Height int64         `json:"height"`
	Time   time.Time     `json:"time"`
	Lease  string        `json:"lease"`
	Denom  string        `json:"denom"`
	Amount string        `json:"amount"` // gross, in base units
	Fee    string        `json:"fee"`    // of it, for the redemption, in uhpips
	Paid   string        `json:"paid"`   // nine tenths of the rest, rounded down, once it is final
	Levied string        `json:"levied"` // what is left
	Lost   string        `json:"lost"`   // went back to its payer instead, as the node was convicted before it was final; 0: nothing did
	Usage  voucher.Usage `json:"usage"`
	Costs  *Costs        `json:"costs,omitempty"` // what was used at the lease's rates, where these are known

	amount   uint64
	whole    voucher.Voucher
	sequence string // its number among all redemptions of the chain
}

// Costs are what each resource of a redemption cost, in base units, each rounded down: together they are less than Amount by what rounding leaves.
type Costs struct {
	Rates  voucher.Rates `json:"rates"`
	CPU    uint64        `json:"cpu,string"`
	GPU    uint64        `json:"gpu,string"`
	Memory uint64        `json:"memory,string"`
	Disk   uint64        `json:"disk,string"`
	Sent   uint64        `json:"sent,string"`
	Work   uint64        `json:"work,string"`
}

// Explain finds among some rates those of each redemption. The chain knows a lease's terms by their digest alone, but all that was used until a redemption costs
// at the lease's rates what its voucher promises: rates at which it does not are not the lease's.
func (e *Earnings) Explain(known ...voucher.Rates) {
	for i := range e.Redemptions {
		r := &e.Redemptions[i]
		for _, rates := range known {
			if all, err := voucher.Cost(rates, r.whole.Usage); err != nil || all != r.whole.Amount || all == 0 {
				continue
			}
			only := func(u voucher.Usage) uint64 { c, _ := voucher.Cost(rates, u); return c }
			u := r.Usage
			r.Costs = &Costs{rates, only(voucher.Usage{CPU: u.CPU}), only(voucher.Usage{GPU: u.GPU}), only(voucher.Usage{Memory: u.Memory}), only(voucher.Usage{Disk: u.Disk}),
				only(voucher.Usage{Sent: u.Sent}), only(voucher.Usage{Work: u.Work})}
			break
		}
	}
}

// share fills in what becomes of a redemption.
func (r *Redemption) share(fee uint64) {
	net := r.amount - min(fee, r.amount)
	levied := net / 10
	if net%10 != 0 {
		levied++
	}
	r.Fee, r.Paid, r.Levied, r.Lost = strconv.FormatUint(fee, 10), strconv.FormatUint(net-levied, 10), strconv.FormatUint(levied, 10), "0"
}

// Earnings collects what a node earned and lost on the last days, as far back as the chain's node keeps its blocks.
func (l *Ledger) Earnings(ctx context.Context, node []byte, days int) (Earnings, error) {
	n, err := l.Node(ctx, node)
	if err != nil {
		return Earnings{}, err
	}
	e := Earnings{Node: n.Node, Owner: n.Owner}
	if e.Bond, err = l.Bond(ctx, node); err != nil {
		return e, err
	}
	c, err := l.calendar(ctx, days)
	if err != nil {
		return e, err
	}
	if e.Days, err = l.earnedDays(ctx, n, c); err != nil {
		return e, err
	}
	since := time.Now().Add(-time.Duration(days) * c.length)
	if e.Redemptions, err = l.redemptions(ctx, node, since); err != nil {
		return e, err
	}
	e.Losses, err = l.losses(ctx, node, since)
	e.lose(c)
	return e, err
}

// calendar is the last days of the chain: the numbers of the first and the last of them, and where day 0 began.
type calendar struct {
	genesis     time.Time
	length      time.Duration
	first, last uint64
}

func (l *Ledger) calendar(ctx context.Context, days int) (calendar, error) {
	now, err := l.Committee(ctx)
	if err != nil {
		return calendar{}, err
	}
	rules, err := l.Rules(ctx)
	if err != nil {
		return calendar{}, err
	}
	first := now.Day + 1 - min(now.Day+1, uint64(max(days, 0)))
	return calendar{now.Genesis, time.Duration(rules.DaySeconds) * time.Second, first, now.Day}, nil
}

// day is the number of the day in which a time lies.
func (c calendar) day(at time.Time) uint64 { return uint64(max(at.Sub(c.genesis), 0) / c.length) }

// earnedDays lists the days on which a node earned something, the newest first.
func (l *Ledger) earnedDays(ctx context.Context, n Node, c calendar) ([]EarnedDay, error) {
	all := []EarnedDay{}
	for i := range c.last + 1 - c.first {
		day := c.last - i
		earners, err := l.earned(ctx, day)
		if err != nil {
			return nil, err
		}
		for _, one := range earners {
			if one.Node == n.Node {
				all = append(all, EarnedDay{Day: day, Open: day == c.last, Lost: []Coin{}, Earned: one})
			}
		}
	}
	return all, nil
}

// redemptions lists a node's redemptions since a time.
func (l *Ledger) redemptions(ctx context.Context, node []byte, since time.Time) ([]Redemption, error) {
	found, err := l.withEvent(ctx, "hpips_redemption.node='"+hex.EncodeToString(node)+"'")
	if err != nil {
		return nil, err
	}
	before := map[voucher.ID]voucher.Voucher{}
	all := []Redemption{}
	for _, tx := range found {
		claims, err := l.vouchers(tx)
		if err != nil {
			return nil, err
		}
		at, known, err := l.timeOf(ctx, tx.Height)
		if err != nil {
			return nil, err
		}
		for _, v := range claims {
			old := before[v.Lease]
			before[v.Lease] = v
			if !known || at.Before(since) {
				continue
			}
			one := Redemption{Tx: tx.Hash.String(), Height: tx.Height, Time: at, Lease: hex.EncodeToString(v.Lease[:]), Denom: money.Denom,
				Amount: strconv.FormatUint(v.Amount-old.Amount, 10), Usage: less(v.Usage, old.Usage), amount: v.Amount - old.Amount, whole: v}
			told := redemptionTold(events(tx.TxResult.Events), v.Lease)
			one.sequence = told["sequence"]
			if denom := denomOf(told["amount"]); denom != "" {
				one.Denom = denom
			}
			one.share(uint64(inCoins(told["fee"])))
			all = append(all, one)
		}
	}
	slices.SortStableFunc(all, func(a, b Redemption) int { return cmp.Compare(b.Height, a.Height) })
	return all, nil
}

// claimed are the claims in a transaction that redeemed them.
func (l *Ledger) claimed(tx *ctypes.ResultTx) ([]escrowv1.Claim, error) {
	t, err := l.words.tx.TxDecoder()(tx.Tx)
	if err != nil {
		return nil, fmt.Errorf("transaction %s: %w", tx.Hash, err)
	}
	var all []escrowv1.Claim
	for _, m := range t.GetMsgs() {
		if r, ok := m.(*escrowv1.MsgRedeem); ok {
			all = append(all, r.Claims...)
		}
	}
	return all, nil
}

// vouchers are the claims' words.
func (l *Ledger) vouchers(tx *ctypes.ResultTx) ([]voucher.Voucher, error) {
	claims, err := l.claimed(tx)
	if err != nil {
		return nil, err
	}
	var all []voucher.Voucher
	for _, c := range claims {
		if len(c.Voucher) == 0 { // it lets go of a lease
			continue
		}
		v, err := voucher.Parse(c.Voucher)
		if err != nil {
			return nil, fmt.Errorf("transaction %s: %w", tx.Hash, err)
		}
		all = append(all, v)
	}
	return all, nil
}

// less is what a usage has more than an earlier one.
func less(u, before voucher.Usage) voucher.Usage {
	if !u.Covers(before) {
		return u
	}
	return voucher.Usage{Tasks: u.Tasks - before.Tasks, CPU: u.CPU - before.CPU, GPU: u.GPU - before.GPU, Memory: u.Memory - before.Memory, Disk: u.Disk - before.Disk, Sent: u.Sent - before.Sent,
		Work: u.Work - before.Work}
}
