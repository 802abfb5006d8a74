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

// Budget gives the authorizations by which a spending key opens leases, tops them up and closes them. Each counts for itself: the key can deposit
// daily in new leases and daily in old ones.
func Budget(daily sdk.Coins, day time.Duration) []*BudgetAuthorization {
	var all []*BudgetAuthorization
	for _, m := range budgeted() {
		b := &BudgetAuthorization{escrowv1.BudgetAuthorization{Msg: m, Daily: daily, DaySeconds: uint64(day / time.Second)}}
		if m == closes {
			b.Daily = nil
		}
		all = append(all, b)
	}
	return all
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
	for _, c := range []sdk.Coins{b.Daily, b.Spent} {
		if slices.ContainsFunc(c, func(c sdk.Coin) bool { return c.Amount.IsNil() }) { // which Validate would stumble over
			return ErrBudget.Wrap("an amount is lacking")
		}
		if err := c.Validate(); err != nil {
			return ErrBudget.Wrap(err.Error())
		}
	}
	return nil
}

// Accept counts what a message deposits. A day begins with the first deposit after the day before it ended.
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
	now := sdk.UnwrapSDKContext(ctx).BlockTime()
	if !now.Before(b.Reset_.Add(time.Duration(b.DaySeconds) * time.Second)) {
		next.Reset_, next.Spent = now, nil
	}
	next.Spent = next.Spent.Add(sum...)
	if !next.Spent.IsAllLTE(b.Daily) {
		return none, ErrBudget.Wrapf("%s of %s a day", next.Spent, b.Daily)
	}
	return authz.AcceptResponse{Accept: true, Updated: next}, nil
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
