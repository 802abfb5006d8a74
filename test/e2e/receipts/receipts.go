// Package receipts reads out of a chain's blocks what became of each lease: its deposit, what was redeemed of it, who got that, what returned.
// It promises that every event of a block is counted once, and an error for one that cannot be read.
// It leaves what the numbers must be to the tests.
package receipts

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	ctypes "github.com/cometbft/cometbft/rpc/core/types"

	"github.com/hpips/hpips/spec/money"
)

// Chain is where blocks and what came of them are read; the engine's RPC is one.
type Chain interface {
	Block(ctx context.Context, height *int64) (*ctypes.ResultBlock, error)
	BlockResults(ctx context.Context, height *int64) (*ctypes.ResultBlockResults, error)
}

// Book is what blocks tell of leases and of the fees of transactions. Amounts are uhpips.
type Book struct {
	Leases  map[string]*Lease // by ID, in hex
	Fees    map[string]uint64 // of transactions, by the account that pays them
	Opens   int               // transactions that open leases
	TopUps  int
	Closes  int
	Redeems int
}

// Lease is what blocks tell of one lease. Redeemed is what vouchers took out of the deposit: Fees and Net. Final is the part of Net that is paid and
// levied; Returned went back to the payer. LetGo is the fee of a lease that its provider let go of unused.
type Lease struct {
	Node, Payer, Payee            string
	Opened, Closed, Over          int // how often it was opened, closed by a side or expired, and given back
	Deposit, Redeemed, Fees, Net  uint64
	Final, Paid, Levied, Returned uint64
	LetGo                         uint64
	OpenedAt, ClosedAt, OverAt    time.Time
	Redemptions                   []time.Time // when it was redeemed
}

// Read reads blocks from to to, both included.
func Read(ctx context.Context, c Chain, from, to int64) (*Book, error) {
	b := &Book{Leases: map[string]*Lease{}, Fees: map[string]uint64{}}
	for at := from; at <= to; at++ {
		block, err := c.Block(ctx, &at)
		if err != nil {
			return nil, fmt.Errorf("block %d: %w", at, err)
		}
		results, err := c.BlockResults(ctx, &at)
		if err != nil {
			return nil, fmt.Errorf("results of block %d: %w", at, err)
		}
		for _, tx := range results.TxsResults {
			if err := b.transaction(tx, block.Block.Time); err != nil {
				return nil, fmt.Errorf("block %d: %w", at, err)
			}
		}
		for _, e := range results.FinalizeBlockEvents {
			if _, err := b.note(e, block.Block.Time); err != nil {
				return nil, fmt.Errorf("block %d: %w", at, err)
			}
		}
	}
	return b, nil
}

// transaction notes the events of one transaction, and counts it by what it did.
func (b *Book) transaction(tx *abci.ExecTxResult, at time.Time) error {
	did := map[string]bool{}
	for _, e := range tx.Events {
		what, err := b.note(e, at)
		if err != nil {
			return err
		}
		did[what] = true
	}
	for what, n := range map[string]*int{"opened": &b.Opens, "topped-up": &b.TopUps, "closing": &b.Closes, "redeemed": &b.Redeems} {
		if did[what] {
			*n++
		}
	}
	return nil
}

// note takes in one event and gives a word for it, "" for one that tells nothing of money.
func (b *Book) note(e abci.Event, at time.Time) (string, error) {
	v := map[string]string{}
	for _, a := range e.Attributes {
		v[a.Key] = a.Value
	}
	var sums sums
	switch e.Type {
	case "tx":
		if v["fee_payer"] != "" {
			b.Fees[v["fee_payer"]] += sums.read(v["fee"])
		}
	case "hpips_lease":
		l := b.lease(v)
		switch amount := sums.read(v["amount"]); v["what"] {
		case "opened":
			l.Opened, l.OpenedAt, l.Deposit = l.Opened+1, at, l.Deposit+amount
		case "topped-up":
			l.Deposit += amount
		case "closing", "expired":
			l.Closed, l.ClosedAt = l.Closed+1, at
		case "let-go":
			l.LetGo += sums.read(v["fee"])
			if l.Closed == 0 { // nobody had closed it
				l.Closed, l.ClosedAt = 1, at
			}
		case "closed":
			l.Over, l.OverAt, l.Returned = l.Over+1, at, l.Returned+amount
		}
		return v["what"], errors.Join(sums...)
	case "hpips_redemption":
		l := b.lease(v)
		net, fee := sums.read(v["amount"]), sums.read(v["fee"])
		l.Net, l.Fees, l.Redeemed, l.Redemptions = l.Net+net, l.Fees+fee, l.Redeemed+net+fee, append(l.Redemptions, at)
		return "redeemed", errors.Join(sums...)
	case "hpips_final":
		b.lease(v).Final += sums.read(v["amount"])
	case "hpips_paid":
		l := b.lease(v)
		l.Paid, l.Levied = l.Paid+sums.read(v["paid"]), l.Levied+sums.read(v["levied"])
	case "hpips_pay_refused", "hpips_return_refused":
		return "", fmt.Errorf("%s: %v", e.Type, v)
	}
	return "", errors.Join(sums...)
}

func (b *Book) lease(v map[string]string) *Lease {
	l := b.Leases[v["lease"]]
	if l == nil {
		l = &Lease{}
		b.Leases[v["lease"]] = l
	}
	if l.Payer == "" {
		l.Node, l.Payer, l.Payee = v["node"], v["payer"], v["payee"]
	}
	return l
}

// sums are the amounts that could not be read.
type sums []error

func (s *sums) read(text string) uint64 {
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(text, money.Denom), 10, 64)
	if err != nil {
		*s = append(*s, fmt.Errorf("amount %q: %w", text, err))
	}
	return n
}
