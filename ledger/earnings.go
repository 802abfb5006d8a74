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

// Earnings is what a node earned.
type Earnings struct {
	Node        string       `json:"node"`
	Owner       string       `json:"owner"`
	Bond        Bond         `json:"bond"`
	Days        []EarnedDay  `json:"days"`        // the newest first; days without anything are left out
	Redemptions []Redemption `json:"redemptions"` // the newest first
}

// EarnedDay is a node's share of one day.
type EarnedDay struct {
	Day  uint64 `json:"day"`
	Open bool   `json:"open"` // not over: more may come, and bonus and duty pay are not reckoned yet
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
	Usage  voucher.Usage `json:"usage"`
	Costs  *Costs        `json:"costs,omitempty"` // what was used at the lease's rates, where these are known

	amount uint64
	whole  voucher.Voucher
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
	r.Fee, r.Paid, r.Levied = strconv.FormatUint(fee, 10), strconv.FormatUint(net-levied, 10), strconv.FormatUint(levied, 10)
}

// Earnings collects what a node earned on the last days.
func (l *Ledger) Earnings(ctx context.Context, node []byte, days int) (Earnings, error) {
	n, err := l.Node(ctx, node)
	if err != nil {
		return Earnings{}, err
	}
	e := Earnings{Node: n.Node, Owner: n.Owner, Days: []EarnedDay{}, Redemptions: []Redemption{}}
	if e.Bond, err = l.Bond(ctx, node); err != nil {
		return e, err
	}
	c, err := l.Committee(ctx)
	if err != nil {
		return e, err
	}
	for back := range uint64(days) {
		if back > c.Day {
			break
		}
		all, err := l.earned(ctx, c.Day-back)
		if err != nil {
			return e, err
		}
		for _, one := range all {
			if one.Node == n.Node {
				e.Days = append(e.Days, EarnedDay{c.Day - back, back == 0, one})
			}
		}
	}
	e.Redemptions, err = l.redemptions(ctx, node, days)
	return e, err
}

// redemptions lists a node's redemptions of the last days.
func (l *Ledger) redemptions(ctx context.Context, node []byte, days int) ([]Redemption, error) {
	rules, err := l.Rules(ctx)
	if err != nil {
		return nil, err
	}
	found, err := l.withEvent(ctx, "hpips_redemption.node='"+hex.EncodeToString(node)+"'")
	if err != nil {
		return nil, err
	}
	since := time.Now().Add(-time.Duration(days) * time.Duration(rules.DaySeconds) * time.Second)
	before := map[voucher.ID]voucher.Voucher{}
	all := []Redemption{}
	for _, tx := range found {
		claims, err := l.vouchers(tx)
		if err != nil {
			return nil, err
		}
		h, err := l.rpc.Header(ctx, &tx.Height)
		if err != nil || h.Header == nil {
			return nil, l.missing(ctx, tx.Height, err)
		}
		for _, v := range claims {
			old := before[v.Lease]
			before[v.Lease] = v
			if h.Header.Time.Before(since) {
				continue
			}
			one := Redemption{Tx: tx.Hash.String(), Height: tx.Height, Time: h.Header.Time.UTC(), Lease: hex.EncodeToString(v.Lease[:]), Denom: money.Denom,
				Amount: strconv.FormatUint(v.Amount-old.Amount, 10), Usage: less(v.Usage, old.Usage), amount: v.Amount - old.Amount, whole: v}
			told := redemptionTold(events(tx.TxResult.Events), v.Lease)
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
