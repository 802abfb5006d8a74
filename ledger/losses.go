package ledger

import (
	"cmp"
	"context"
	"encoding/hex"
	"slices"
	"strconv"
	"time"

	sdkmath "cosmossdk.io/math"
)

// Loss is something that a node had and lost: pay that was not final and went back to its payer, or a part of its bond.
type Loss struct {
	Height int64     `json:"height"`
	Time   time.Time `json:"time"`
	What   string    `json:"what"` // refunded or slashed
	Lease  string    `json:"lease,omitempty"`
	Denom  string    `json:"denom"`
	Amount string    `json:"amount"` // in base units

	sequence string // of the redemption that went back
}

// What a loss was.
const (
	Refunded = "refunded"
	Slashed  = "slashed"
)

// lossEvents are the events that tell of losses.
var lossEvents = map[string]string{"hpips_forfeited": Refunded, "hpips_slashed": Slashed}

// losses lists what a node lost since a time, the newest first.
func (l *Ledger) losses(ctx context.Context, node []byte, since time.Time) ([]Loss, error) {
	key := hex.EncodeToString(node)
	told := map[int64][]Event{}
	for name := range lossEvents {
		what := name + ".node='" + key + "'"
		txs, err := l.withEvent(ctx, what)
		if err != nil {
			return nil, err
		}
		for _, tx := range txs {
			told[tx.Height] = append(told[tx.Height], only(name, events(tx.TxResult.Events))...)
		}
		falls, err := l.blocksWith(ctx, what)
		if err != nil {
			return nil, err
		}
		for _, h := range falls {
			r, err := l.rpc.BlockResults(ctx, &h)
			if err != nil {
				return nil, l.missing(ctx, h, err)
			}
			told[h] = append(told[h], only(name, events(r.FinalizeBlockEvents))...)
		}
	}
	all := []Loss{}
	for height, events := range told {
		h, err := l.rpc.Header(ctx, &height)
		if err != nil || h.Header == nil {
			return nil, l.missing(ctx, height, err)
		}
		for _, e := range events {
			if e.Attributes["node"] != key || h.Header.Time.Before(since) {
				continue
			}
			one := Loss{Height: height, Time: h.Header.Time.UTC(), What: lossEvents[e.Type], Lease: e.Attributes["lease"], Denom: denomOf(e.Attributes["amount"]), sequence: e.Attributes["sequence"]}
			n, _ := units(e.Attributes["amount"], one.Denom) // the chain wrote it
			if one.Amount = strconv.FormatUint(n, 10); n > 0 {
				all = append(all, one)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Loss) int {
		return cmp.Or(cmp.Compare(b.Height, a.Height), cmp.Compare(a.What, b.What), cmp.Compare(a.Lease, b.Lease), cmp.Compare(a.sequence, b.sequence))
	})
	return all, nil
}

func only(name string, all []Event) []Event {
	return slices.DeleteFunc(all, func(e Event) bool { return e.Type != name })
}

// lose brings losses into days and redemptions: what was lost of a redemption is neither paid nor levied. day tells on which day a time was.
func (e *Earnings) lose(losses []Loss, day func(time.Time) uint64) {
	e.Losses = losses
	lost := map[string]string{} // by lease and sequence
	sums := map[uint64]map[string]sdkmath.Int{}
	for _, one := range losses {
		d := day(one.Time)
		if sums[d] == nil {
			sums[d] = map[string]sdkmath.Int{}
		}
		amount, _ := sdkmath.NewIntFromString(one.Amount) // it was written above
		if sum, some := sums[d][one.Denom]; some {
			amount = amount.Add(sum)
		}
		sums[d][one.Denom] = amount
		if one.What == Refunded {
			lost[one.Lease+"/"+one.sequence] = one.Amount
		}
	}
	for i := range e.Redemptions {
		r := &e.Redemptions[i]
		if amount, is := lost[r.Lease+"/"+r.sequence]; is {
			r.Lost, r.Paid, r.Levied = amount, "0", "0"
		}
	}
	for i := range e.Days {
		e.Days[i].Lost = coinsByName(sums[e.Days[i].Day])
		delete(sums, e.Days[i].Day)
	}
	for d, sum := range sums { // on which nothing was earned
		e.Days = append(e.Days, EarnedDay{Day: d, Lost: coinsByName(sum), Earned: Earned{Node: e.Node, Owner: e.Owner, Assets: []AssetDay{}, Bonus: "0", Duty: "0"}})
	}
	slices.SortFunc(e.Days, func(a, b EarnedDay) int { return cmp.Compare(b.Day, a.Day) })
}

func coinsByName(sums map[string]sdkmath.Int) []Coin {
	all := []Coin{}
	for denom, n := range sums {
		all = append(all, Coin{denom, n.String()})
	}
	slices.SortFunc(all, func(a, b Coin) int { return cmp.Compare(a.Denom, b.Denom) })
	return all
}
