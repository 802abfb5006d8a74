package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/x/authz"
	"github.com/cosmos/gogoproto/jsonpb"

	"github.com/hpips/hpips/proto/gen/escrowv1"
	"github.com/hpips/hpips/spec/money"
)

// budget is the chain's BudgetAuthorization as a wallet sees it: it can be written, read and shown, and only the chain decides by it.
type budget struct{ escrowv1.BudgetAuthorization }

var _ authz.Authorization = &budget{}

// XXX_MessageName is the word's name.
func (*budget) XXX_MessageName() string { return "hpips.escrow.v1.BudgetAuthorization" }

// MarshalJSONPB writes the word.
func (b *budget) MarshalJSONPB(m *jsonpb.Marshaler) ([]byte, error) {
	var out bytes.Buffer
	err := m.Marshal(&out, &b.BudgetAuthorization)
	return out.Bytes(), err
}

// UnmarshalJSONPB reads the word.
func (b *budget) UnmarshalJSONPB(u *jsonpb.Unmarshaler, text []byte) error {
	return u.Unmarshal(bytes.NewReader(text), &b.BudgetAuthorization)
}

// MsgTypeURL names the message that it is for.
func (b *budget) MsgTypeURL() string { return b.Msg }

// ValidateBasic leaves it to the chain.
func (*budget) ValidateBasic() error { return nil }

// Accept is the chain's.
func (*budget) Accept(context.Context, sdk.Msg) (authz.AcceptResponse, error) {
	return authz.AcceptResponse{}, errors.New("only the chain decides by a budget")
}

// leaseMessages are what a spending key may do about leases: with a budget for the first two.
var leaseMessages = []string{"/hpips.escrow.v1.MsgOpen", "/hpips.escrow.v1.MsgTopUp", "/hpips.escrow.v1.MsgClose"}

// budgets are the rights by which a spending key pays for jobs within any day.
func budgets(daily money.Amount, day time.Duration) ([]*codectypes.Any, error) {
	parts := money.Divide(daily)
	limits := []sdk.Coins{coins(parts.New), coins(parts.Running), nil} // of leaseMessages; closing is free
	var all []*codectypes.Any
	for i, m := range leaseMessages {
		b := &budget{escrowv1.BudgetAuthorization{Msg: m, Daily: limits[i], DaySeconds: uint64(day / time.Second)}}
		right, err := codectypes.NewAnyWithValue(b)
		if err != nil {
			return nil, err
		}
		all = append(all, right)
	}
	return all, nil
}

// jobGas is what the transactions of a small job take: one that opens its leases and one that closes them, at what the ledger offers for them.
const jobGas = 1_000_000

// LeastBudget is the least that a spending key can be allowed a day: one lease of the least deposit can be opened, and the fees of a job be paid.
func (l *Ledger) LeastBudget(ctx context.Context) (money.Amount, error) {
	rules, err := l.LeaseRules(ctx)
	if err != nil {
		return 0, err
	}
	each, err := l.gasPrice(ctx)
	if err != nil {
		return 0, err
	}
	fees, err := feeOf(jobGas, each)
	if err != nil {
		return 0, err
	}
	return money.LeastBudget(money.Amount(rules.Least), fees), nil
}

// Allows tells whether an account lets a spending key open leases in its name now. It asks for the rights of the one for the other alone: a list of all that
// a key was ever given is written by anybody, and grows with the whole chain.
func (l *Ledger) Allows(ctx context.Context, account, spender string) (bool, error) {
	r, err := authz.NewQueryClient(l.now()).Grants(ctx, &authz.QueryGrantsRequest{Granter: account, Grantee: spender})
	if err != nil {
		return false, err
	}
	for _, g := range r.Grants {
		if g.Authorization == nil || g.Authorization.TypeUrl != "/hpips.escrow.v1.BudgetAuthorization" {
			continue
		}
		var b escrowv1.BudgetAuthorization
		if err := b.Unmarshal(g.Authorization.Value); err != nil {
			return false, fmt.Errorf("budget of %s: %w", account, err)
		}
		if b.Msg != "" && b.Msg != leaseMessages[0] { // without a name it is for the first
			continue
		}
		if g.Expiration == nil {
			return true, nil
		}
		st, err := l.rpc.Status(ctx)
		if err != nil {
			return false, l.unreachable(ctx, err)
		}
		return st.SyncInfo.LatestBlockTime.Before(*g.Expiration), nil
	}
	return false, nil
}
