package ledger

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"
)

// Loss is something that a node had and lost: pay that was not final and went back to its payer, or a part of its bond.
type Loss struct {
	Height int64     `json:"height"`
	Time   time.Time `json:"time"`
	What   string    `json:"what"` // Refunded or Slashed
	Lease  string    `json:"lease,omitempty"`
	Denom  string    `json:"denom"`
	Amount string    `json:"amount"` // in base units

	coin     sdk.Coin // the same
	sequence string   // of the redemption that went back
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
	all := []Loss{}
	for name, what := range lossEvents {
		told, err := l.happened(ctx, name, "node", hex.EncodeToString(node))
		if err != nil {
			return nil, err
		}
		for _, e := range told {
			at, known, err := l.timeOf(ctx, e.height)
			if err != nil {
				return nil, err
			}
			coin, err := sdk.ParseCoinNormalized(e.Attributes["amount"])
			if err != nil {
				return nil, fmt.Errorf("block %d: %s: %w", e.height, name, err)
			}
			if known && !at.Before(since) && coin.IsPositive() {
				all = append(all, Loss{e.height, at, what, e.Attributes["lease"], coin.Denom, coin.Amount.String(), coin, e.Attributes["sequence"]})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Loss) int {
		return cmp.Or(cmp.Compare(b.Height, a.Height), cmp.Compare(a.What, b.What), cmp.Compare(a.Lease, b.Lease), cmp.Compare(a.sequence, b.sequence))
	})
	return all, nil
}

// lose brings the losses into redemptions and days: what was lost of a redemption is neither paid nor levied, and a day has a row also if nothing was earned on it.
func (e *Earnings) lose(c calendar) {
	back := map[string]string{} // by the redemption's number
	lost := map[uint64]sdk.Coins{}
	for _, one := range e.Losses {
		if day := c.day(one.Time); day >= c.first {
			lost[day] = lost[day].Add(one.coin)
		}
		if one.What == Refunded {
			back[one.sequence] = one.Amount
		}
	}
	for i := range e.Redemptions {
		if amount, is := back[e.Redemptions[i].sequence]; is {
			e.Redemptions[i].Lost, e.Redemptions[i].Paid, e.Redemptions[i].Levied = amount, "0", "0"
		}
	}
	for day := range lost {
		if !slices.ContainsFunc(e.Days, func(d EarnedDay) bool { return d.Day == day }) {
			e.Days = append(e.Days, EarnedDay{Day: day, Open: day == c.last, Earned: Earned{Node: e.Node, Owner: e.Owner, Assets: []AssetDay{}, Bonus: "0", Duty: "0"}})
		}
	}
	for i := range e.Days {
		e.Days[i].Lost = coinsOf(lost[e.Days[i].Day])
	}
	slices.SortFunc(e.Days, func(a, b EarnedDay) int { return cmp.Compare(b.Day, a.Day) })
}
