package chain

import (
	"fmt"
	"time"

	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/x/authz"
	"github.com/cosmos/cosmos-sdk/x/feegrant"

	"github.com/hpips/hpips/chain/escrow"
	"github.com/hpips/hpips/chain/supply"
	registryv1 "github.com/hpips/hpips/proto/gen/registryv1"
	"github.com/hpips/hpips/spec/money"
)

// Allowance lets a spending key run its owner's errands from the first block on, open leases in the owner's name, and pay the fees out of the owner's
// account: within any day no more than an amount in uhpips, shared out by money.Divide. It can neither send nor vote. Later the owner gives such
// allowances by messages.
type Allowance struct {
	Owner, Spender string
	Daily          uint64
}

// errands are the messages that a spending key may send in its owner's name.
func errands() []sdk.Msg {
	return []sdk.Msg{&registryv1.MsgRegister{}, &registryv1.MsgChangeKeys{}, &registryv1.MsgDescribe{}}
}

// allowances writes them as the two SDK modules keep them.
func (g Genesis) allowances(day time.Duration) (rights []authz.GrantAuthorization, fees []feegrant.Grant, people []string, err error) {
	least := uint64(money.LeastBudget(money.Amount(g.leases().LeastDeposit), 1))
	for _, a := range g.Allowances {
		owner, wrong := sdk.AccAddressFromBech32(a.Owner)
		if wrong != nil {
			return nil, nil, nil, fmt.Errorf("genesis: allowance of %.80q: %w", a.Owner, wrong)
		}
		spender, wrong := sdk.AccAddressFromBech32(a.Spender)
		if wrong != nil {
			return nil, nil, nil, fmt.Errorf("genesis: allowance for %.80q: %w", a.Spender, wrong)
		}
		if g.Network == Public || a.Daily == 0 || a.Daily > supply.Total().Uint64() {
			return nil, nil, nil, fmt.Errorf("genesis: allowance of %d a day on a %s network", a.Daily, g.Network)
		}
		if a.Daily < least {
			return nil, nil, nil, fmt.Errorf("genesis: an allowance of %d %s a day opens no lease: the least is %d", a.Daily, Base, least)
		}
		parts := money.Divide(money.Amount(a.Daily))
		fee := uhpips(parts.FeesInPeriod())
		limit, wrong := feegrant.NewAllowedMsgAllowance(&feegrant.PeriodicAllowance{
			Period: day, PeriodSpendLimit: fee, PeriodCanSpend: fee, PeriodReset: g.Time.UTC().Add(day),
		}, []string{sdk.MsgTypeURL(&authz.MsgExec{})})
		if wrong != nil {
			return nil, nil, nil, fmt.Errorf("genesis: allowance: %w", wrong)
		}
		grant, wrong := feegrant.NewGrant(owner, spender, limit)
		if wrong != nil {
			return nil, nil, nil, fmt.Errorf("genesis: allowance: %w", wrong)
		}
		fees = append(fees, grant)
		for _, errand := range errands() {
			right, wrong := codectypes.NewAnyWithValue(authz.NewGenericAuthorization(sdk.MsgTypeURL(errand)))
			if wrong != nil {
				return nil, nil, nil, fmt.Errorf("genesis: allowance: %w", wrong)
			}
			rights = append(rights, authz.GrantAuthorization{Granter: bech32(owner), Grantee: bech32(spender), Authorization: right})
		}
		for _, budget := range escrow.Budget(uhpips(parts.New), uhpips(parts.Running), day) {
			right, wrong := codectypes.NewAnyWithValue(budget)
			if wrong != nil {
				return nil, nil, nil, fmt.Errorf("genesis: allowance: %w", wrong)
			}
			rights = append(rights, authz.GrantAuthorization{Granter: bech32(owner), Grantee: bech32(spender), Authorization: right})
		}
		people = append(people, bech32(owner), bech32(spender))
	}
	return rights, fees, people, nil
}

func uhpips(a money.Amount) sdk.Coins { return sdk.NewCoins(sdk.NewInt64Coin(Base, int64(a))) }
