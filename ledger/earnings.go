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
	Day uint64 `json:"day"`
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
	Usage  voucher.Usage `json:"usage"`
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
				e.Days = append(e.Days, EarnedDay{c.Day - back, one})
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
				Amount: strconv.FormatUint(v.Amount-old.Amount, 10), Usage: less(v.Usage, old.Usage)}
			if known, err := l.Lease(ctx, v.Lease); err == nil {
				one.Denom = known.Denom
			}
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
	all := make([]voucher.Voucher, len(claims))
	for i, c := range claims {
		if all[i], err = voucher.Parse(c.Voucher); err != nil {
			return nil, fmt.Errorf("transaction %s: %w", tx.Hash, err)
		}
	}
	return all, nil
}

// less is what a usage has more than an earlier one.
func less(u, before voucher.Usage) voucher.Usage {
	if !u.Covers(before) {
		return u
	}
	return voucher.Usage{Tasks: u.Tasks - before.Tasks, CPU: u.CPU - before.CPU, GPU: u.GPU - before.GPU, Memory: u.Memory - before.Memory, Disk: u.Disk - before.Disk, Sent: u.Sent - before.Sent}
}
