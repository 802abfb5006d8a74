package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	sdkmath "cosmossdk.io/math"
	sdkquery "github.com/cosmos/cosmos-sdk/types/query"

	"github.com/hpips/hpips/proto/gen/rewardv1"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
)

// Day is what is published of one day. Amounts of HPIPS are in uhpips, those of other assets in their base units, all as decimal strings.
type Day struct {
	Day         uint64     `json:"day"`
	Closed      bool       `json:"closed"`
	Time        *time.Time `json:"time,omitempty"`   // of the block that closed it
	Height      int64      `json:"height,omitempty"` // of that block
	Gross       string     `json:"gross"`
	Paid        string     `json:"paid"` // held included
	Held        string     `json:"held"`
	Levied      string     `json:"levied"`
	Bonus       string     `json:"bonus"`
	Duty        string     `json:"duty"`
	Converted   string     `json:"converted"` // HPIPS that levies in other assets bought
	Streamed    string     `json:"streamed"`  // begins to flow to the holders
	WashIndex   float64    `json:"washIndex"` // bonus ÷ levied, at most kappa
	Kappa       float64    `json:"kappa"`
	Budget      string     `json:"budget"` // the fund's for the day
	Fund        string     `json:"fund"`   // at the close
	Circulating string     `json:"circulating"`
	Providers   []Earned   `json:"providers"`
	Assets      []AssetDay `json:"assets"`

	// Publish adds these.
	Holders  *Holders  `json:"largestHolders"`
	Pairs    []Pair    `json:"pairs"` // the largest of each asset
	Networks *Networks `json:"committee"`
	Notes    []string  `json:"notes"` // what of it is not known, and why

	kappa, dutyDue sdkmath.Int
}

// AssetDay is one asset's share of a day, or of a provider's day: gross = paid + levied.
type AssetDay struct {
	Denom  string `json:"denom"`
	Gross  string `json:"gross"`
	Paid   string `json:"paid"`
	Levied string `json:"levied"`
	Held   string `json:"held"`
}

// Earned is one provider's day.
type Earned struct {
	Node     string     `json:"node"`
	Owner    string     `json:"owner"`
	Assets   []AssetDay `json:"assets"`
	Bonus    string     `json:"bonus"`
	Duty     string     `json:"duty"`
	Seats    uint64     `json:"seats"`    // epochs served in a seat
	Receipts uint64     `json:"receipts"` // that were used
	Stored   uint64     `json:"stored"`   // MiB of the chain's archive, kept and proven

	Key []byte `json:"-"`
}

// MarshalJSON leaves out what is not fixed: what flows, what circulates and the fund's figures until a block has ended the day, what the fund paid until all of
// it is paid. What was earned so far is there.
func (d Day) MarshalJSON() ([]byte, error) {
	type plain Day
	ended, done := d.Height > 0, d.Closed
	told := struct {
		plain
		Bonus       *string  `json:"bonus"`
		Duty        *string  `json:"duty"`
		WashIndex   *float64 `json:"washIndex"`
		Streamed    *string  `json:"streamed"`
		Kappa       *float64 `json:"kappa"`
		Budget      *string  `json:"budget"`
		Fund        *string  `json:"fund"`
		Circulating *string  `json:"circulating"`
	}{plain: plain(d), Bonus: when(done, d.Bonus), Duty: when(done, d.Duty), WashIndex: when(done, d.WashIndex), Streamed: when(ended, d.Streamed), Kappa: when(ended, d.Kappa),
		Budget: when(ended, d.Budget), Fund: when(ended, d.Fund), Circulating: when(ended, d.Circulating)}
	return json.Marshal(told)
}

func when[V any](known bool, v V) *V {
	if !known {
		return nil
	}
	return &v
}

func assetDay(a rewardv1.Asset) AssetDay {
	return AssetDay{a.Denom, a.Sum.Gross.String(), a.Sum.Paid.String(), a.Sum.Levied.String(), a.Sum.Held.String()}
}

// LastDay asks for the last day that is closed; a chain without one is CodeUnavailable.
func (l *Ledger) LastDay(ctx context.Context) (Day, error) {
	return l.day(ctx, &rewardv1.QueryDayRequest{LastClosed: true})
}

// Day asks for one day, counted from 0 at genesis. One that has not begun is CodeNotFound.
func (l *Ledger) Day(ctx context.Context, day uint64) (Day, error) {
	c, err := l.Committee(ctx)
	if err != nil {
		return Day{}, err
	}
	if day > c.Day {
		return Day{}, &job.Failure{Code: job.CodeNotFound, Message: fmt.Sprintf("day %d has not begun: it is day %d", day, c.Day), Hint: "days are counted from 0 at genesis; hpips chain status says which day it is"}
	}
	return l.day(ctx, &rewardv1.QueryDayRequest{Day: day})
}

func (l *Ledger) day(ctx context.Context, ask *rewardv1.QueryDayRequest) (Day, error) {
	d, err := l.sums(ctx, ask)
	if err != nil {
		return d, err
	}
	d.Providers, err = l.earned(ctx, d.Day)
	return d, err
}

// sums are a day's figures but for single providers'.
func (l *Ledger) sums(ctx context.Context, ask *rewardv1.QueryDayRequest) (Day, error) {
	r, err := rewardv1.NewQueryClient(l.now()).Day(ctx, ask)
	if err != nil {
		return Day{}, noDay(err, ask)
	}
	d := Day{Day: r.Day.Day, Closed: r.Day.Done, Height: r.Day.Height, Gross: "0", Paid: "0", Held: "0", Levied: "0", Bonus: r.Day.Bonus.String(), Duty: r.Day.Duty.String(),
		Converted: r.Day.Converted.String(), Streamed: r.Day.Streamed.String(), Kappa: float64(r.Day.Kappa) / 1e6, Budget: r.Day.Budget.String(), Fund: r.Day.Fund.String(),
		Circulating: r.Day.Circulating.String(), Providers: []Earned{}, Assets: []AssetDay{}, kappa: sdkmath.NewIntFromUint64(r.Day.Kappa), dutyDue: r.Day.DutyDue}
	if r.Day.Closed > 0 {
		at := time.Unix(r.Day.Closed, 0).UTC()
		d.Time = &at
	}
	for _, a := range r.Assets {
		one := assetDay(a)
		if a.Denom == money.Denom {
			d.Gross, d.Paid, d.Held, d.Levied = one.Gross, one.Paid, one.Held, one.Levied
			if a.Sum.Levied.IsPositive() {
				d.WashIndex = float64(r.Day.Bonus.MulRaw(1_000_000).Quo(a.Sum.Levied).Int64()) / 1e6
			}
		}
		d.Assets = append(d.Assets, one)
	}
	return d, nil
}

// noDay says which day there is not.
func noDay(err error, ask *rewardv1.QueryDayRequest) error {
	var no *Refused
	switch {
	case !errors.As(err, &no):
		return err
	case ask.LastClosed:
		return &job.Failure{Code: job.CodeUnavailable, Message: "no day is closed yet", Hint: "the first one closes with the first block of the next; hpips chain status says which day it is"}
	}
	return &job.Failure{Code: job.CodeNotFound, Message: fmt.Sprintf("the chain has no figures of day %d", ask.Day), Hint: "hpips chain status says which day it is"}
}

func (l *Ledger) earned(ctx context.Context, day uint64) ([]Earned, error) {
	all := []Earned{}
	for page := []byte(nil); ; {
		r, err := rewardv1.NewQueryClient(l.now()).Providers(ctx, &rewardv1.QueryProvidersRequest{Day: day, Pagination: &sdkquery.PageRequest{Key: page, Limit: 500}})
		if err != nil {
			return nil, err
		}
		for _, p := range r.Providers {
			e := Earned{Node: NodeText(p.Node), Owner: p.Owner, Assets: []AssetDay{}, Bonus: p.Earner.Bonus.String(), Duty: p.Earner.Duty.String(), Seats: p.Earner.Seats,
				Receipts: p.Earner.Receipts, Stored: p.Earner.Stored, Key: p.Node}
			for _, a := range p.Assets {
				e.Assets = append(e.Assets, assetDay(a))
			}
			all = append(all, e)
		}
		if r.Pagination == nil || len(r.Pagination.NextKey) == 0 {
			return all, nil
		}
		page = r.Pagination.NextKey
	}
}

// span gives the first and the last block of a day that has ended. Its error, where the node does not hold them all, is of CodeNotFound.
func (l *Ledger) span(ctx context.Context, d Day) (from, to int64, err error) {
	st, err := l.rpc.Status(ctx)
	if err != nil {
		return 0, 0, l.unreachable(ctx, err)
	}
	rules, err := l.Rules(ctx)
	if err != nil {
		return 0, 0, err
	}
	c, err := l.Committee(ctx)
	if err != nil {
		return 0, 0, err
	}
	oldest := max(st.SyncInfo.EarliestBlockHeight, 1)
	first, err := l.blockFrom(ctx, oldest, d.Height, time.Unix(c.Genesis.Unix()+int64(d.Day*rules.DaySeconds), 0))
	switch {
	case err != nil:
		return 0, 0, err
	case first == oldest && oldest > 1: // who knows what was before it
		return 0, 0, noBlock(oldest - 1)
	}
	return first, d.Height - 1, nil
}

// blockFrom is the first of some blocks that is not before a time; the last of them if all others are.
func (l *Ledger) blockFrom(ctx context.Context, low, high int64, at time.Time) (int64, error) {
	for low < high {
		mid := low + (high-low)/2
		h, err := l.rpc.Header(ctx, &mid)
		if err != nil {
			return 0, l.missing(ctx, mid, err)
		}
		if h.Header == nil {
			return 0, noBlock(mid)
		}
		if h.Header.Time.Before(at) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, nil
}

// Owed is what an account could claim of the holders' stream now.
func (l *Ledger) Owed(ctx context.Context, address string) (money.Amount, error) {
	r, err := rewardv1.NewQueryClient(l.now()).Owed(ctx, &rewardv1.QueryOwedRequest{Address: address})
	if err != nil {
		return 0, err
	}
	return amount(r.Amount), nil
}

// Stream is how the holders' reward stands.
type Stream struct {
	Flowing money.Amount `json:"flowing"` // of the day, in all
	Flowed  money.Amount `json:"flowed"`  // of it so far
	Next    money.Amount `json:"next"`    // flows with the next day
	Brought money.Amount `json:"brought"` // ever
	Claimed money.Amount `json:"claimed"` // ever
	Until   time.Time    `json:"until"`
}

// Stream asks how the holders' reward stands.
func (l *Ledger) Stream(ctx context.Context) (Stream, error) {
	r, err := rewardv1.NewQueryClient(l.now()).Stream(ctx, &rewardv1.QueryStreamRequest{})
	if err != nil {
		return Stream{}, err
	}
	s := r.Stream
	return Stream{amount(s.Amount), amount(s.Flowed), amount(s.Next), amount(s.Brought), amount(s.Claimed), time.Unix(s.End, 0).UTC()}, nil
}

// ClaimReward pays a holder's share of the stream out.
func ClaimReward(holder string) Message { return &rewardv1.MsgClaim{Holder: holder} }

// DayAt is the day of the chain in which a time lies.
func (l *Ledger) DayAt(ctx context.Context, at time.Time) (uint64, error) {
	c, err := l.Committee(ctx)
	if err != nil {
		return 0, err
	}
	rules, err := l.Rules(ctx)
	if err != nil {
		return 0, err
	}
	if at.Before(c.Genesis) {
		at = at.Add(24*time.Hour - time.Nanosecond) // a date begins before the chain that began in it
	}
	if at.Before(c.Genesis) || rules.DaySeconds == 0 {
		return 0, &job.Failure{Code: job.CodeNotFound, Message: fmt.Sprintf("the chain began on %s", c.Genesis.Format(time.DateOnly)), Hint: "name a later day"}
	}
	return uint64(at.Unix()-c.Genesis.Unix()) / rules.DaySeconds, nil
}
