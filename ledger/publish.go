package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"

	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkquery "github.com/cosmos/cosmos-sdk/types/query"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	"golang.org/x/sync/errgroup"

	"github.com/hpips/hpips/proto/gen/supplyv1"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
)

// named is how many holders, and how many pairs of an asset, are published.
const named = 10

// Accounts are counted in pages, and no more of these than so many.
const (
	pageAccounts = 1000
	mostPages    = 10_000
)

var errMany = fmt.Errorf("there are more than %d, and no more are counted", mostPages*pageAccounts)

// abreast is how many blocks are asked for at once.
const abreast = 8

// Holders is who holds most of what circulates after a block, in uhpips. A holding is a balance and what lies in escrow, in open orders and as a bond; the
// accounts of genesis and those of modules have none.
type Holders struct {
	Height      int64     `json:"height"`
	Accounts    int       `json:"accounts"` // that hold anything
	Circulating string    `json:"circulating"`
	Amount      string    `json:"amount"` // of those named
	Share       float64   `json:"share"`  // of what circulates
	Holders     []Holding `json:"holders"`
}

// Holding is one account's.
type Holding struct {
	Address string  `json:"address"`
	Amount  string  `json:"amount"`
	Share   float64 `json:"share"`

	amount *big.Int
}

// Pair is what one account earned from another on a day, in base units, before the levy.
type Pair struct {
	Denom  string  `json:"denom"`
	Payer  string  `json:"payer"`
	Payee  string  `json:"payee"`
	Nodes  int     `json:"nodes"` // of the payee that earned it
	Amount string  `json:"amount"`
	Share  float64 `json:"share"` // of what was earned in the asset

	amount *big.Int
}

// Networks is how the seats of the committee are spread over networks after a block.
type Networks struct {
	Height   int64          `json:"height"`
	Seats    int            `json:"seats"`
	Networks []NetworkSeats `json:"networks"` // those with most seats first
}

// NetworkSeats is one network's part of the committee.
type NetworkSeats struct {
	Network string `json:"network"`
	Seats   int    `json:"seats"`
}

// Publish adds to a day what no module keeps, and anybody reckons who asks: the largest holders and the committee as they were after the day's last
// block, and the pairs who paid and earned most, from the day's blocks. Of a day that no block has ended, holders and committee are those of now. What the
// node has no blocks or states for any more stays nil, and the day's notes say so.
func (l *Ledger) Publish(ctx context.Context, d Day) (Day, error) {
	d.Notes = []string{}
	head, err := l.head(ctx)
	if err != nil {
		return d, err
	}
	head = max(head-1, 1) // the last block's state may be on its way
	at := d.Height - 1
	if d.Height == 0 {
		at = head
	}
	gone := fmt.Sprintf("the node does not keep the state after block %d any more, with which the day ended; one with --archive does", at)
	switch d.Holders, err = l.holders(ctx, at); {
	case isRefused(err):
		d.Notes = append(d.Notes, "largest holders: "+gone)
	case errors.Is(err, errMany):
		d.Notes = append(d.Notes, "largest holders: of accounts "+err.Error())
	case err != nil:
		return d, err
	}
	if d.Holders != nil && d.Height > 0 && d.Holders.Circulating != d.Circulating {
		d.Notes = append(d.Notes, fmt.Sprintf("largest holders: all holdings come to %s uhpips, and the day's figures say %s", d.Holders.Circulating, d.Circulating))
	}
	height, seated, err := l.remembers(ctx, at, max(at, head))
	switch {
	case err != nil && !isRefused(err):
		return d, err
	case err != nil || height == 0:
		d.Notes = append(d.Notes, "committee: "+gone)
	default:
		d.Networks = networks(height, seated)
	}
	if height > at {
		d.Notes = append(d.Notes, fmt.Sprintf("committee: as of block %d, the oldest that there is; %s", height, gone))
	}
	var why string
	d.Pairs, why, err = l.pairs(ctx, d)
	if why != "" {
		d.Notes = append(d.Notes, "pairs: "+why)
	}
	return d, err
}

func isRefused(err error) bool {
	var no *Refused
	return errors.As(err, &no)
}

// holders counts all accounts after a block. It takes the circulating of which it gives shares from its own count.
func (l *Ledger) holders(ctx context.Context, height int64) (*Holders, error) {
	at := query{l, height}
	s, err := supplyv1.NewQueryClient(at).Supply(ctx, &supplyv1.QuerySupplyRequest{})
	if err != nil {
		return nil, err
	}
	outside := map[string]*big.Int{} // of the accounts that have anything outside of their balance
	if err := pages(func(p *sdkquery.PageRequest) (*sdkquery.PageResponse, error) {
		r, err := supplyv1.NewQueryClient(at).Reserved(ctx, &supplyv1.QueryReservedRequest{Pagination: p})
		if err != nil {
			return nil, err
		}
		for _, one := range r.Reserved {
			outside[one.Address] = one.Amount.BigInt()
		}
		return r.Pagination, nil
	}); err != nil {
		return nil, err
	}
	t := table{all: new(big.Int)}
	if err := pages(func(p *sdkquery.PageRequest) (*sdkquery.PageResponse, error) {
		r, err := banktypes.NewQueryClient(at).DenomOwners(ctx, &banktypes.QueryDenomOwnersRequest{Denom: money.Denom, Pagination: p})
		if err != nil {
			return nil, err
		}
		for _, o := range r.DenomOwners {
			if slices.Contains(s.Modules, o.Address) {
				continue
			}
			sum := o.Balance.Amount.BigInt()
			if more := outside[o.Address]; more != nil {
				sum.Add(sum, more)
				delete(outside, o.Address)
			}
			t.put(o.Address, sum)
		}
		return r.Pagination, nil
	}); err != nil {
		return nil, err
	}
	for who, sum := range outside { // has no balance
		t.put(who, sum)
	}
	return t.holders(height), nil
}

// pages asks page after page, until one is the last.
func pages(ask func(*sdkquery.PageRequest) (*sdkquery.PageResponse, error)) error {
	p := &sdkquery.PageRequest{Limit: pageAccounts}
	for range mostPages {
		r, err := ask(p)
		if err != nil || r == nil || len(r.NextKey) == 0 {
			return err
		}
		p = &sdkquery.PageRequest{Key: r.NextKey, Limit: pageAccounts}
	}
	return errMany
}

// table keeps the largest few of what is put on it, and the sum of all.
type table struct {
	top   []Holding
	all   *big.Int
	count int
}

func (t *table) put(who string, amount *big.Int) {
	if amount.Sign() <= 0 {
		return
	}
	t.all.Add(t.all, amount)
	t.count++
	one := Holding{Address: who, Amount: amount.String(), amount: amount}
	at, _ := slices.BinarySearchFunc(t.top, one, func(a, b Holding) int { return cmp.Or(b.amount.Cmp(a.amount), cmp.Compare(a.Address, b.Address)) })
	if at < named {
		t.top = slices.Insert(t.top, at, one)
		t.top = t.top[:min(len(t.top), named)]
	}
}

func (t *table) holders(height int64) *Holders {
	h := &Holders{Height: height, Accounts: t.count, Circulating: t.all.String(), Holders: []Holding{}}
	sum := new(big.Int)
	for _, one := range t.top {
		one.Share = part(one.amount, t.all)
		h.Holders = append(h.Holders, one)
		sum.Add(sum, one.amount)
	}
	h.Amount, h.Share = sum.String(), part(sum, t.all)
	return h
}

// part is a share of a whole in millionths, rounded down.
func part(of, whole *big.Int) float64 {
	if whole.Sign() <= 0 {
		return 0
	}
	n := new(big.Int).Mul(of, million)
	return float64(n.Quo(n, whole).Int64()) / 1e6
}

func networks(height int64, c Committee) *Networks {
	n, seats := &Networks{Height: height, Seats: len(c.Seats), Networks: []NetworkSeats{}}, map[string]int{}
	for _, s := range c.Seats {
		seats[s.Network]++
	}
	for name, count := range seats {
		n.Networks = append(n.Networks, NetworkSeats{name, count})
	}
	slices.SortFunc(n.Networks, func(a, b NetworkSeats) int {
		return cmp.Or(cmp.Compare(b.Seats, a.Seats), cmp.Compare(a.Network, b.Network))
	})
	return n
}

// pairs sums what blocks of a day say was paid, and gives the largest few of each asset, HPIPS first. Where it cannot, or where the sums are not the day's, it
// says why.
func (l *Ledger) pairs(ctx context.Context, d Day) ([]Pair, string, error) {
	if d.Height == 0 {
		return nil, "the day is not over, or the chain stood still in it", nil
	}
	from, to, err := l.span(ctx, d)
	var gone *job.Failure
	if errors.As(err, &gone) && gone.Code == job.CodeNotFound {
		return nil, gone.Message + ", which is the day's; one with --archive keeps all", nil
	}
	if err != nil {
		return nil, "", err
	}
	s := &payments{pairs: map[[3]string]*Pair{}, nodes: map[[4]string]bool{}, gross: map[string]*big.Int{}}
	blocks, bound := errgroup.WithContext(ctx)
	blocks.SetLimit(abreast)
	for h := from; h <= to && bound.Err() == nil; h++ {
		blocks.Go(func() error {
			r, err := l.rpc.BlockResults(bound, &h)
			if err != nil {
				return l.missing(ctx, h, err)
			}
			return s.add(events(r.FinalizeBlockEvents))
		})
	}
	if err := blocks.Wait(); err != nil {
		return nil, "", err
	}
	return s.largest(), s.unlike(d), nil
}

// payments are those of a day. Blocks may be added in any order.
type payments struct {
	mu    sync.Mutex
	pairs map[[3]string]*Pair // by denomination, payer and payee
	nodes map[[4]string]bool  // and node
	gross map[string]*big.Int // by denomination
}

func (s *payments) add(all []Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range all {
		if e.Type != "hpips_paid" {
			continue
		}
		c, err := sdk.ParseCoinNormalized(e.Attributes["amount"])
		if err != nil {
			return fmt.Errorf("lease %s is paid %q: %w", e.Attributes["lease"], e.Attributes["amount"], err)
		}
		payer, payee := e.Attributes["payer"], e.Attributes["payee"]
		key := [3]string{c.Denom, payer, payee}
		if s.pairs[key] == nil {
			s.pairs[key] = &Pair{Denom: c.Denom, Payer: payer, Payee: payee, amount: new(big.Int)}
		}
		if s.gross[c.Denom] == nil {
			s.gross[c.Denom] = new(big.Int)
		}
		p, node := s.pairs[key], [4]string{c.Denom, payer, payee, e.Attributes["node"]}
		if !s.nodes[node] {
			s.nodes[node] = true
			p.Nodes++
		}
		p.amount.Add(p.amount, c.Amount.BigInt())
		s.gross[c.Denom].Add(s.gross[c.Denom], c.Amount.BigInt())
	}
	return nil
}

func (s *payments) largest() []Pair {
	all := make([]Pair, 0, len(s.pairs))
	for _, p := range s.pairs {
		p.Amount, p.Share = p.amount.String(), part(p.amount, s.gross[p.Denom])
		all = append(all, *p)
	}
	foreign := func(p Pair) int {
		if p.Denom == money.Denom {
			return 0
		}
		return 1
	}
	slices.SortFunc(all, func(a, b Pair) int {
		return cmp.Or(cmp.Compare(foreign(a), foreign(b)), cmp.Compare(a.Denom, b.Denom), b.amount.Cmp(a.amount), cmp.Compare(a.Payer, b.Payer), cmp.Compare(a.Payee, b.Payee))
	})
	of := map[string]int{}
	return slices.DeleteFunc(all, func(p Pair) bool {
		of[p.Denom]++
		return of[p.Denom] > named
	})
}

// unlike says where the blocks tell of other payments than the chain's figures.
func (s *payments) unlike(d Day) string {
	if len(s.gross) > len(d.Assets) {
		return fmt.Sprintf("the day's blocks tell of payments in %d assets, its figures of %d; see hpips chain settle-verify", len(s.gross), len(d.Assets))
	}
	for _, a := range d.Assets {
		told := s.gross[a.Denom]
		if told == nil {
			told = new(big.Int)
		}
		if told.String() != a.Gross {
			return fmt.Sprintf("the day's blocks tell of %s%s earned, its figures of %s; see hpips chain settle-verify", told, a.Denom, a.Gross)
		}
	}
	return ""
}
