package chain

import (
	"encoding/json"

	"cosmossdk.io/math"
	sdk "github.com/cosmos/cosmos-sdk/types"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"

	"github.com/hpips/hpips/chain/archive"
	"github.com/hpips/hpips/chain/audit"
	"github.com/hpips/hpips/chain/bond"
	"github.com/hpips/hpips/chain/deal"
	"github.com/hpips/hpips/chain/escrow"
	"github.com/hpips/hpips/chain/exchange"
	"github.com/hpips/hpips/chain/reward"
	"github.com/hpips/hpips/chain/storage"
	committeev1 "github.com/hpips/hpips/proto/gen/committeev1"
	escrowv1 "github.com/hpips/hpips/proto/gen/escrowv1"
)

// creditSupply is how much of its second asset, in base units, a development network has: it goes to whoever is granted most.
const creditSupply = 1_000_000_000_000

// market writes what a network begins with for leases, for the day, for bonds, for the archive and its holders, and for the exchange. A development network's times follow from its day.
func (g Genesis) market(p committeev1.Params, put func(string, json.RawMessage, error)) {
	leases, rewards, bonds := g.leases(), reward.Public(), bond.Public()
	juries := audit.Public()
	trade, listings := exchange.DefaultParams(), []exchange.Listing(nil)
	switch g.Network {
	case Pool:
		rewards.TicketLevy, bonds.TicketBond = 0, 0 // its people know each other, and may work for nothing
	case Dev:
		rewards, bonds = reward.Development(), bond.Development()
		trade, listings = exchange.DevelopmentParams(), []exchange.Listing{exchange.Credit()}
		leases.GraceSeconds, leases.GraceBlocks = p.DaySeconds, max(1, p.DaySeconds/p.HeartbeatSeconds)
		bonds.ReturnSeconds = bond.ReturnDays * p.DaySeconds
		juries = audit.Development()
		day := max(60, p.DaySeconds) // a shorter one makes no computer faster
		juries.PassSeconds, juries.RecentSeconds, juries.BarSeconds = day, 3*day, 14*day
		trade.PartSeconds = max(1, p.DaySeconds/uint64(trade.SaleParts))
	}
	text, wrong := escrow.Genesis(leases)
	put(escrow.Name, text, wrong)
	text, wrong = reward.Genesis(rewards)
	put(reward.Name, text, wrong)
	text, wrong = bond.Genesis(bonds)
	put(bond.Name, text, wrong)
	text, wrong = audit.Genesis(juries)
	put(audit.Name, text, wrong)
	put(archive.Name, archive.Genesis(), nil)
	text, wrong = storage.Genesis(storage.Public())
	put(storage.Name, text, wrong)
	text, wrong = deal.Genesis(deal.Public())
	put(deal.Name, text, wrong)
	text, wrong = exchange.Genesis(trade, listings)
	put(exchange.Name, text, wrong)
}

// leases are the network's parameters of leases.
func (g Genesis) leases() escrowv1.Params {
	if g.Network == Dev {
		return escrow.Development()
	}
	return escrow.Public()
}

// credits gives a development network's second asset to the first of those who were granted most. It is no HPIPS, and worth what others give for it.
func (g Genesis) credits(balances []banktypes.Balance, supply sdk.Coins) sdk.Coins {
	if g.Network != Dev || len(g.Grants) == 0 {
		return supply
	}
	rich := 0
	for i, grant := range g.Grants {
		if grant.Amount > g.Grants[rich].Amount {
			rich = i
		}
	}
	coin := sdk.NewCoin(exchange.Credit().Asset.Denom, math.NewInt(creditSupply))
	for i, b := range balances {
		if sameAddress(b.Address, g.Grants[rich].Address) {
			balances[i].Coins = b.Coins.Add(coin)
			return supply.Add(coin)
		}
	}
	return supply
}

func sameAddress(a, b string) bool {
	x, err1 := sdk.AccAddressFromBech32(a)
	y, err2 := sdk.AccAddressFromBech32(b)
	return err1 == nil && err2 == nil && x.Equals(y)
}
