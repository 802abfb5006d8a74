package escrow

import (
	"bytes"
	"context"
	"slices"
	"time"

	"cosmossdk.io/math"
	"github.com/cosmos/gogoproto/jsonpb"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/x/authz"

	"github.com/hpips/hpips/proto/gen/escrowv1"
)

// BudgetAuthorization is the chain's word of that name with what x/authz asks of it. On the wire and in JSON it is the word alone.
type BudgetAuthorization struct{ escrowv1.BudgetAuthorization }

var _ authz.Authorization = &BudgetAuthorization{}

// Budget gives the authorizations by which a spending key opens leases, tops them up and closes them. Each counts for itself: within any day the key can
// deposit fresh in new leases and running in those that run.
func Budget(fresh, running sdk.Coins, day time.Duration) []*BudgetAuthorization {
	seconds := uint64(day / time.Second)
	return []*BudgetAuthorization{
		{escrowv1.BudgetAuthorization{Msg: opens, Daily: fresh, DaySeconds: seconds}},
		{escrowv1.BudgetAuthorization{Msg: tops, Daily: running, DaySeconds: seconds}},
		{escrowv1.BudgetAuthorization{Msg: closes, DaySeconds: seconds}},
	}
}

var (
	opens  = sdk.MsgTypeURL(&escrowv1.MsgOpen{})
	tops   = sdk.MsgTypeURL(&escrowv1.MsgTopUp{})
	closes = sdk.MsgTypeURL(&escrowv1.MsgClose{})
)

func budgeted() []string { return []string{opens, tops, closes} }

// XXX_MessageName is the word's name.
func (*BudgetAuthorization) XXX_MessageName() string { return "hpips.escrow.v1.BudgetAuthorization" }

// MarshalJSONPB writes the word.
func (b *BudgetAuthorization) MarshalJSONPB(m *jsonpb.Marshaler) ([]byte, error) {
	var out bytes.Buffer
	err := m.Marshal(&out, &b.BudgetAuthorization)
	return out.Bytes(), err
}

// UnmarshalJSONPB reads the word.
func (b *BudgetAuthorization) UnmarshalJSONPB(u *jsonpb.Unmarshaler, text []byte) error {
	return u.Unmarshal(bytes.NewReader(text), &b.BudgetAuthorization)
}

// MsgTypeURL names the one message that the grant is found by.
func (b *BudgetAuthorization) MsgTypeURL() string {
	if b.Msg == "" {
		return opens
	}
	return b.Msg
}

// ValidateBasic tells whether an owner may give it.
func (b *BudgetAuthorization) ValidateBasic() error {
	if !slices.Contains(budgeted(), b.MsgTypeURL()) {
		return ErrBudget.Wrapf("it is not for %.100q", b.Msg)
	}
	if b.DaySeconds < 1 || b.DaySeconds > 366*day {
		return ErrBudget.Wrapf("a day of %d seconds", b.DaySeconds)
	}
	if len(b.Spent) > parts+1 {
		return ErrBudget.Wrapf("%d parts of a day, at most %d", len(b.Spent), parts+1)
	}
	if err := whole(b.Daily); err != nil {
		return err
	}
	for _, part := range b.Spent {
		if err := whole(part.Sum); err != nil {
			return err
		}
	}
	return nil
}

// whole refuses amounts that could not be counted with.
func whole(c sdk.Coins) error {
	if slices.ContainsFunc(c, func(c sdk.Coin) bool { return fits(c.Amount) != nil }) { // Validate would stumble over none, a sum over too much
		return ErrBudget.Wrap("an amount is lacking, or more than 64 bits hold")
	}
	if err := c.Validate(); err != nil {
		return ErrBudget.Wrap(err.Error())
	}
	return nil
}

// parts is how many parts of a day are counted for themselves. What is deposited counts for a day, and for one part more at the longest.
const parts = 24

// Accept counts what a message deposits. All that was deposited within the day before it counts, whenever that day began: with days that begin anew at a
// fixed time, a thief would take two days' amounts within a minute.
func (b *BudgetAuthorization) Accept(ctx context.Context, msg sdk.Msg) (authz.AcceptResponse, error) {
	none := authz.AcceptResponse{}
	if what := sdk.MsgTypeURL(msg); what != b.MsgTypeURL() {
		return none, ErrBudget.Wrapf("it is for %s, not for %s", b.MsgTypeURL(), what)
	}
	if _, free := msg.(*escrowv1.MsgClose); free {
		return authz.AcceptResponse{Accept: true}, nil
	}
	sum, err := deposited(msg)
	if err != nil {
		return none, err
	}
	next := &BudgetAuthorization{b.BudgetAuthorization}
	next.Spent = b.after(sum, sdk.UnwrapSDKContext(ctx).BlockTime())
	all := sdk.Coins{}
	for _, part := range next.Spent {
		all = all.Add(part.Sum...)
	}
	if !all.IsAllLTE(b.Daily) {
		return none, ErrBudget.Wrapf("%s of %s a day", all, b.Daily)
	}
	return authz.AcceptResponse{Accept: true, Updated: next}, nil
}

// after is what counts once sum is deposited now: the parts of the last day, of which the newest takes sum in if it is that of now.
func (b *BudgetAuthorization) after(sum sdk.Coins, now time.Time) []escrowv1.Spending {
	day := time.Duration(b.DaySeconds) * time.Second
	var counts []escrowv1.Spending
	for _, part := range b.Spent {
		if now.Before(part.Last.Add(day)) {
			counts = append(counts, part)
		}
	}
	n := len(counts)
	switch {
	case sum.Empty():
		return counts
	case n > 0 && counts[n-1].Last.Truncate(day/parts).Equal(now.Truncate(day/parts)):
		counts[n-1] = escrowv1.Spending{Sum: counts[n-1].Sum.Add(sum...), Last: now}
		return counts
	}
	return append(counts, escrowv1.Spending{Sum: sum, Last: now})
}

// deposited is all that a message takes from its payer.
func deposited(msg sdk.Msg) (sum sdk.Coins, err error) {
	take := func(denom string, amount math.Int) error {
		if err := fits(amount); err != nil {
			return err
		}
		if sdk.ValidateDenom(denom) != nil {
			return ErrDenom.Wrapf("%.100q", denom)
		}
		if amount.IsPositive() {
			sum = sum.Add(sdk.NewCoin(denom, amount))
		}
		return nil
	}
	switch m := msg.(type) {
	case *escrowv1.MsgOpen:
		for _, d := range m.Deposits {
			if err := take(d.Denom, d.Amount); err != nil {
				return nil, err
			}
		}
	case *escrowv1.MsgTopUp:
		for _, a := range m.Additions {
			if err := take(a.Denom, a.Amount); err != nil {
				return nil, err
			}
		}
	default:
		return nil, ErrBudget.Wrapf("%s deposits nothing", sdk.MsgTypeURL(msg))
	}
	return sum, nil
}
