// Package supply keeps the fixed supply of HPIPS: the five accounts of genesis, what was released from them, what was burned, and what
// each account holds. It promises that nothing mints, that releases from investors, founders and operations follow a vote and never
// come to more than half of what circulates, and that a broken sum is found from running totals and stops releases, never blocks.
// It leaves balances to the SDK's bank, votes to x/gov and chain/governance, and the fund's payouts to the modules that earn them.
package supply

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/address"
	"cosmossdk.io/core/store"
	"cosmossdk.io/math"

	"github.com/cosmos/cosmos-sdk/codec"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"

	"github.com/hpips/hpips/proto/gen/supplyv1"
)

// Name is the module's, its store's and its account's: what is burned passes through it.
const Name = "supply"

// Denom is the base denomination: a million make one HPIPS.
const Denom = "uhpips"

// The five accounts of genesis. The fund pays by its own rules, the others by vote.
const (
	Investors  = "investors"
	Founders   = "founders"
	Operations = "operations"
	Community  = "community"
	Fund       = "fund"
)

// Prefixes of the store. They are consensus: never renumber them.
var (
	totalsPrefix      = collections.NewPrefix(1)
	movesPrefix       = collections.NewPrefix(2)
	reservedPrefix    = collections.NewPrefix(3)
	reservedSumPrefix = collections.NewPrefix(4)
)

// Allocation is what one of the five accounts gets at genesis.
type Allocation struct {
	Name   string
	Amount math.Int
	halved bool // releases from it count against half of what circulates
}

// Allocations are the five, in the order of economy and pages.
func Allocations() []Allocation {
	const million = 1_000_000_000_000
	return []Allocation{
		{Investors, math.NewInt(15 * million), true},
		{Founders, math.NewInt(10 * million), true},
		{Operations, math.NewInt(15 * million), true},
		{Community, math.NewInt(10 * million), false},
		{Fund, math.NewInt(50 * million), false},
	}
}

// Total is all there is at genesis, and ever: 100,000,000 HPIPS.
func Total() math.Int {
	sum := math.ZeroInt()
	for _, a := range Allocations() {
		sum = sum.Add(a.Amount)
	}
	return sum
}

// Bank is what supply asks of the SDK's bank.
type Bank interface {
	GetBalance(ctx context.Context, who sdk.AccAddress, denom string) sdk.Coin
	GetAllBalances(ctx context.Context, who sdk.AccAddress) sdk.Coins
	GetSupply(ctx context.Context, denom string) sdk.Coin
	SendCoinsFromModuleToAccount(ctx context.Context, from string, to sdk.AccAddress, amount sdk.Coins) error
	SendCoinsFromModuleToModule(ctx context.Context, from, to string, amount sdk.Coins) error
	SendCoinsFromAccountToModule(ctx context.Context, from sdk.AccAddress, to string, amount sdk.Coins) error
	BurnCoins(ctx context.Context, from string, amount sdk.Coins) error
}

// Accounts is what supply asks of the SDK's accounts.
type Accounts interface {
	GetModuleAddress(name string) sdk.AccAddress
	AddressCodec() address.Codec
}

// Keeper holds the totals and knows which accounts are modules'.
type Keeper struct {
	schema      collections.Schema
	totals      collections.Item[supplyv1.Totals]
	moves       collections.Map[uint64, supplyv1.Move]
	reserved    collections.Map[[]byte, math.Int] // by account: what it owns outside of its balance
	reservedSum collections.Item[math.Int]
	bank        Bank
	codec       address.Codec
	authority   string
	pots        map[string]sdk.AccAddress // by name
	modules     []sdk.AccAddress          // of all module accounts, the five among them
	pooled      map[string]bool           // the same by address, for looking up only
	watches     []Watch
	backing     []sdk.AccAddress // module accounts that keep what is reserved
	checks      []named
}

// NewKeeper needs the names of all module accounts of the chain; the five may be among them. authority is the address whose word
// is a vote's outcome. The options name the modules that live with it: Watched, Backed, Checked.
// It panics when a name has no account, as the SDK's keepers do: the chain was put together wrongly.
func NewKeeper(cdc codec.Codec, service store.KVStoreService, bank Bank, accounts Accounts, modules []string, authority string, with ...Option) Keeper {
	b := collections.NewSchemaBuilder(service)
	k := Keeper{
		totals:      collections.NewItem(b, totalsPrefix, "totals", codec.CollValue[supplyv1.Totals](cdc)),
		moves:       collections.NewMap(b, movesPrefix, "moves", collections.Uint64Key, codec.CollValue[supplyv1.Move](cdc)),
		reserved:    collections.NewMap(b, reservedPrefix, "reserved", collections.BytesKey, sdk.IntValue),
		reservedSum: collections.NewItem(b, reservedSumPrefix, "reserved_sum", sdk.IntValue),
		bank:        bank, codec: accounts.AddressCodec(), authority: authority,
		pots: map[string]sdk.AccAddress{}, pooled: map[string]bool{},
	}
	var err error
	if k.schema, err = b.Build(); err != nil {
		panic(err)
	}
	names := []string{Name}
	for _, a := range Allocations() {
		names = append(names, a.Name)
		k.pots[a.Name] = accounts.GetModuleAddress(a.Name)
	}
	for _, name := range append(names, modules...) {
		at := accounts.GetModuleAddress(name)
		if at == nil {
			panic(fmt.Sprintf("supply: %s has no module account", name))
		}
		if !k.pooled[string(at)] {
			k.pooled[string(at)] = true
			k.modules = append(k.modules, at)
		}
	}
	for _, o := range with {
		o(&k, accounts)
	}
	return k
}

// Totals are the running sums; zero before there are any.
func (k Keeper) Totals(ctx context.Context) (supplyv1.Totals, error) {
	t, err := k.totals.Get(ctx)
	if errors.Is(err, collections.ErrNotFound) {
		return supplyv1.Totals{Burned: math.ZeroInt(), Released: math.ZeroInt()}, nil
	}
	return t, err
}

// Release pays out of an account as a vote decided.
func (k Keeper) Release(ctx context.Context, from string, to sdk.AccAddress, amount math.Int) error {
	at, halved, found := k.pots[from], false, false
	for _, a := range Allocations() {
		if a.Name == from && a.Name != Fund {
			halved, found = a.halved, true
		}
	}
	switch {
	case !found:
		return ErrPot.Wrapf("release from %.40q", from)
	case k.pooled[string(to)]:
		return ErrReceiver.Wrap("release to a module's account")
	case amount.IsNil() || !amount.IsPositive() || amount.GT(k.bank.GetBalance(ctx, at, Denom).Amount):
		return ErrAmount.Wrapf("release of %s%s from %s", amount, Denom, from)
	}
	t, err := k.Totals(ctx)
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	if t.Breach == "" {
		if t.Breach, err = k.broken(ctx, t); err != nil {
			return fmt.Errorf("release: %w", err)
		}
	}
	if t.Breach != "" {
		return ErrBreach.Wrap(t.Breach)
	}
	if halved {
		t.Released = t.Released.Add(amount)
		if t.Released.MulRaw(2).GT(k.Circulating(ctx).Add(amount)) {
			return ErrHalf.Wrapf("release of %s%s from %s", amount, Denom, from)
		}
	}
	if err := k.bank.SendCoinsFromModuleToAccount(ctx, from, to, sdk.NewCoins(sdk.NewCoin(Denom, amount))); err != nil {
		return fmt.Errorf("release from %s: %w", from, err)
	}
	return k.totals.Set(ctx, t)
}

// Burn destroys a holder's own HPIPS.
func (k Keeper) Burn(ctx context.Context, holder sdk.AccAddress, amount math.Int) error {
	if k.pooled[string(holder)] {
		return ErrHolder.Wrap("a module's account burns nothing")
	}
	if amount.IsNil() || !amount.IsPositive() {
		return ErrAmount.Wrapf("burn %s%s", amount, Denom)
	}
	t, err := k.Totals(ctx)
	if err != nil {
		return fmt.Errorf("burn: %w", err)
	}
	coins := sdk.NewCoins(sdk.NewCoin(Denom, amount))
	if err := k.bank.SendCoinsFromAccountToModule(ctx, holder, Name, coins); err != nil {
		return fmt.Errorf("burn: %w", err)
	}
	if err := k.bank.BurnCoins(ctx, Name, coins); err != nil {
		return fmt.Errorf("burn: %w", err)
	}
	t.Burned = t.Burned.Add(amount)
	return k.totals.Set(ctx, t)
}

// Sweep brings the collected fees to the fund. Without fees it writes nothing.
func (k Keeper) Sweep(ctx context.Context) error {
	fees := k.bank.GetAllBalances(ctx, authtypes.NewModuleAddress(authtypes.FeeCollectorName))
	if fees.IsZero() {
		return nil
	}
	if err := k.bank.SendCoinsFromModuleToModule(ctx, authtypes.FeeCollectorName, Fund, fees); err != nil {
		return fmt.Errorf("sweep fees: %w", err)
	}
	return nil
}

// CheckInvariants looks at the sums and, at the first that is wrong, sets the breach and tells of it by an event. The chain goes
// on: what is returned is the store's trouble only, not a breach. Its cost does not depend on how many accounts there are.
func (k Keeper) CheckInvariants(ctx context.Context) error {
	t, err := k.Totals(ctx)
	if err != nil {
		return fmt.Errorf("check supply: %w", err)
	}
	if t.Breach != "" {
		return nil
	}
	if t.Breach, err = k.broken(ctx, t); err != nil {
		return fmt.Errorf("check supply: %w", err)
	}
	if t.Breach == "" {
		return nil
	}
	sdk.UnwrapSDKContext(ctx).EventManager().EmitEvent(sdk.NewEvent("hpips_supply_breach", sdk.NewAttribute("what", t.Breach)))
	return k.totals.Set(ctx, t)
}

// Broken says which invariant was found broken; empty: none. Payouts and the exchange ask it before they go on.
func (k Keeper) Broken(ctx context.Context) (string, error) {
	t, err := k.Totals(ctx)
	return t.Breach, err
}

// Repair lifts the breach. It is for the handler of the upgrade that put the cause right, and for nobody else.
func (k Keeper) Repair(ctx context.Context) error {
	t, err := k.Totals(ctx)
	if err != nil {
		return fmt.Errorf("repair supply: %w", err)
	}
	if t.Breach, err = k.broken(ctx, t); err != nil {
		return fmt.Errorf("repair supply: %w", err)
	}
	return k.totals.Set(ctx, t)
}

// broken names the first invariant of README.md that does not hold.
func (k Keeper) broken(ctx context.Context, t supplyv1.Totals) (string, error) {
	supply := k.bank.GetSupply(ctx, Denom).Amount
	if sum := supply.Add(t.Burned); !sum.Equal(Total()) {
		return fmt.Sprintf("supply %s and burned %s are not %s", supply, t.Burned, Total()), nil
	}
	if c := k.Circulating(ctx); c.IsNegative() {
		return fmt.Sprintf("circulating is %s", c), nil
	}
	kept, allocated := math.ZeroInt(), math.ZeroInt()
	for _, a := range Allocations() {
		if a.halved {
			kept, allocated = kept.Add(k.bank.GetBalance(ctx, k.pots[a.Name], Denom).Amount), allocated.Add(a.Amount)
		}
	}
	if sum := kept.Add(t.Released); sum.LT(allocated) {
		return fmt.Sprintf("%s kept and %s released of %s", kept, t.Released, allocated), nil
	}
	backed := math.ZeroInt()
	for _, at := range k.backing {
		backed = backed.Add(k.bank.GetBalance(ctx, at, Denom).Amount)
	}
	if r := k.Reserved(ctx); r.IsNegative() || r.GT(backed) {
		return fmt.Sprintf("%s reserved, %s kept for it", r, backed), nil
	}
	for _, c := range k.checks {
		if what, err := c.check.Unsound(ctx); err != nil || what != "" {
			return fmt.Sprintf("%s: %s", c.name, what), err
		}
	}
	return "", nil
}
