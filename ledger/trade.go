package ledger

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	sdkmath "cosmossdk.io/math"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"

	"github.com/hpips/hpips/proto/gen/exchangev1"
	"github.com/hpips/hpips/spec/auction"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
)

// Asset is what can be traded against HPIPS. Prices are in its base units for one HPIPS.
type Asset struct {
	Denom     string `json:"denom"`
	Name      string `json:"name"`
	Decimals  uint32 `json:"decimals"`
	LastPrice uint64 `json:"lastPrice"`
	Offered   string `json:"levyOffered"` // by the standing sale of levies, in base units
}

// Assets lists what can be traded.
func (l *Ledger) Assets(ctx context.Context) ([]Asset, error) {
	r, err := exchangev1.NewQueryClient(l.now()).Assets(ctx, &exchangev1.QueryAssetsRequest{})
	if err != nil {
		return nil, err
	}
	offered := map[string]string{}
	for _, s := range r.Sales {
		offered[s.Denom] = s.Offered.String()
	}
	all := []Asset{}
	for _, a := range r.Assets {
		all = append(all, Asset{a.Denom, a.Name, a.Decimals, a.LastPrice, offered[a.Denom]})
	}
	return all, nil
}

// Offer is an open order of the exchange; an Order here is a transaction to be sent.
type Offer struct {
	ID     uint64       `json:"id"`
	Owner  string       `json:"owner"`
	Denom  string       `json:"denom"`
	Side   string       `json:"side"` // buy or sell, of HPIPS
	Price  uint64       `json:"price"`
	Left   money.Amount `json:"left"`
	Held   string       `json:"held"` // base units of what it would give
	Height int64        `json:"height"`
}

var sides = map[exchangev1.Side]string{exchangev1.SIDE_BUY: "buy", exchangev1.SIDE_SELL: "sell"}

func offers(all []exchangev1.Order) []Offer {
	list := []Offer{}
	for _, o := range all {
		list = append(list, Offer{o.Id, o.Owner, o.Denom, sides[o.Side], o.Price, amount(o.Left), o.Held.String(), o.Height})
	}
	return list
}

// Book is an asset's open orders, the best of each side first, and the last batches that traded.
type Book struct {
	Asset   Asset   `json:"asset"`
	Buys    []Offer `json:"buys"`
	Sells   []Offer `json:"sells"`
	Batches []Batch `json:"batches"`
}

// Batch is one that traded.
type Batch struct {
	Height int64        `json:"height"`
	Price  uint64       `json:"price"`
	Traded money.Amount `json:"traded"`
}

// Book asks for the open orders of an asset, at most limit of each side.
func (l *Ledger) Book(ctx context.Context, denom string, limit uint32) (Book, error) {
	a, err := l.Asset(ctx, denom)
	if err != nil {
		return Book{}, err
	}
	q := exchangev1.NewQueryClient(l.now())
	r, err := q.Book(ctx, &exchangev1.QueryBookRequest{Denom: a.Denom, Limit: limit})
	if err != nil {
		return Book{}, err
	}
	b := Book{Asset: a, Buys: offers(r.Buys), Sells: offers(r.Sells), Batches: []Batch{}}
	past, err := q.Batches(ctx, &exchangev1.QueryBatchesRequest{Denom: a.Denom, Limit: limit})
	if err != nil {
		return Book{}, err
	}
	for _, one := range past.Batches {
		b.Batches = append(b.Batches, Batch{one.Height, one.Price, amount(one.Traded)})
	}
	return b, nil
}

// Asset finds an asset by its denomination or its name; "" is the only one there is.
func (l *Ledger) Asset(ctx context.Context, name string) (Asset, error) {
	all, err := l.Assets(ctx)
	if err != nil {
		return Asset{}, err
	}
	if name == "" && len(all) == 1 {
		return all[0], nil
	}
	var known []string
	for _, a := range all {
		if a.Denom == name || a.Name == name {
			return a, nil
		}
		known = append(known, a.Name)
	}
	return Asset{}, &job.Failure{Code: job.CodeNotFound, Message: fmt.Sprintf("%.40q is no asset of this chain's exchange", name), Hint: fmt.Sprintf("there are %v; a vote admits others", known)}
}

// Trading is what an account has on the exchange.
type Trading struct {
	Orders []Offer `json:"orders"`
	Held   []Coin  `json:"held"`
}

// Trading asks for an account's open orders.
func (l *Ledger) Trading(ctx context.Context, owner string) (Trading, error) {
	r, err := exchangev1.NewQueryClient(l.now()).Orders(ctx, &exchangev1.QueryOrdersRequest{Owner: owner})
	if err != nil {
		return Trading{}, err
	}
	return Trading{offers(r.Orders), coinsOf(r.Held)}, nil
}

// Buy and Sell place an order for an amount of HPIPS at a limit.
func Buy(owner, denom string, price uint64, a money.Amount) Message {
	return place(owner, denom, exchangev1.SIDE_BUY, price, a)
}

// Sell is Buy's other side.
func Sell(owner, denom string, price uint64, a money.Amount) Message {
	return place(owner, denom, exchangev1.SIDE_SELL, price, a)
}

func place(owner, denom string, side exchangev1.Side, price uint64, a money.Amount) Message {
	return &exchangev1.MsgPlace{Owner: owner, Denom: denom, Side: side, Price: price, Amount: sdkmath.NewIntFromUint64(uint64(a))}
}

// CancelOrder takes an order back.
func CancelOrder(owner string, id uint64) Message { return &exchangev1.MsgCancel{Owner: owner, Id: id} }

// Coins lists all that an account holds, of every asset.
func (l *Ledger) Coins(ctx context.Context, address string) ([]Coin, error) {
	r, err := banktypes.NewQueryClient(l.now()).AllBalances(ctx, &banktypes.QueryAllBalancesRequest{Address: address})
	if err != nil {
		return nil, err
	}
	return coinsOf(r.Balances), nil
}

// priceDecimals is how finely the exchange counts: in 10^-12 of a whole asset for one HPIPS, whatever the asset's own decimals.
const priceDecimals = 12

// Text writes a price as people do: so much of the asset for one HPIPS.
func (a Asset) Text(price uint64) string {
	text := strings.TrimRight(point(strconv.FormatUint(price, 10), priceDecimals), "0")
	return strings.TrimSuffix(text, ".")
}

// Base writes an amount of base units as people do.
func (a Asset) Base(base string) string { return point(base, int(a.Decimals)) }

// point puts the decimal point into a whole number.
func point(digits string, decimals int) string {
	if decimals == 0 {
		return digits
	}
	if len(digits) <= decimals {
		digits = strings.Repeat("0", decimals+1-len(digits)) + digits
	}
	return digits[:len(digits)-decimals] + "." + digits[len(digits)-decimals:]
}

// Parse reads what Text writes.
func (a Asset) Parse(text string) (uint64, error) {
	whole, part, _ := strings.Cut(text, ".")
	n, err := strconv.ParseUint(whole+part+strings.Repeat("0", max(priceDecimals-len(part), 0)), 10, 64)
	if err != nil || len(part) > priceDecimals || whole == "" || n == 0 || n != auction.Round(n) {
		return 0, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%.40q is no price in %s", text, a.Name), Hint: "it looks like 0.05, has four digits besides zeros at most, and is above 0"}
	}
	return n, nil
}

// Words puts a refusal for want of this asset into its units.
func (a Asset) Words(err error) error {
	var no *Refused
	if !errors.As(err, &no) {
		return err
	}
	f := no.failure()
	if m := available.FindStringSubmatch(no.Log); f.Code == job.CodeFunds && m != nil && m[2] == a.Denom {
		f.Message, f.Hint = fmt.Sprintf("not enough %s: %s are there, %s are wanted", a.Name, a.Base(m[1]), a.Base(m[3])), "a purchase holds all that it may cost; see hpips wallet balances, or buy less"
	}
	return f
}

// Ordered is the number of the order that a transaction placed; 0: it placed none.
func (r Receipt) Ordered() uint64 {
	for _, e := range r.Events {
		if e.Type == "hpips_order" {
			n, err := strconv.ParseUint(e.Attributes["id"], 10, 64)
			if err == nil {
				return n
			}
		}
	}
	return 0
}
