package supply

import (
	"encoding/json"
	"errors"
	"testing"

	"cosmossdk.io/core/appmodule"
	"cosmossdk.io/core/genesis"
	"cosmossdk.io/log/v2"
	"cosmossdk.io/math"
	"pgregory.net/rapid"

	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/address"
	"github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/runtime"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	"github.com/cosmos/cosmos-sdk/testutil"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authkeeper "github.com/cosmos/cosmos-sdk/x/auth/keeper"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	bankkeeper "github.com/cosmos/cosmos-sdk/x/bank/keeper"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"

	"github.com/hpips/hpips/proto/gen/supplyv1"
)

const (
	hpips = 1_000_000
	gov   = "gov"
)

// mill is an HPIPS economy of bank, accounts and supply, and of people with the coins that genesis moved to them.
type mill struct {
	t      rapid.TB
	ctx    sdk.Context
	keeper Keeper
	bank   bankkeeper.BaseKeeper
	msgs   msgs
}

func at(name string) sdk.AccAddress { return authtypes.NewModuleAddress("person/" + name) }

func authority() string { return authtypes.NewModuleAddress(gov).String() }

// public is how the public network begins, with alice as the first to be free.
var public = func() []supplyv1.Move {
	sdk.GetConfig().SetBech32PrefixForAccount("hpips", "hpipspub")
	return []supplyv1.Move{{From: Investors, To: at("alice").String(), Label: "free from the start", Amount: math.NewInt(3_400_000 * hpips)}}
}()

func founded(t rapid.TB, moves []supplyv1.Move, with ...Option) *mill {
	m := bare(t, with...)
	state, err := Genesis(moves)
	if err != nil {
		t.Fatal(err)
	}
	balances := banktypes.GenesisState{Params: banktypes.DefaultParams()}
	for _, a := range Allocations() {
		for _, move := range moves {
			if move.From == a.Name {
				a.Amount = a.Amount.Sub(move.Amount)
				balances.Balances = append(balances.Balances, banktypes.Balance{Address: move.To, Coins: coins(move.Amount)})
			}
		}
		balances.Balances = append(balances.Balances, banktypes.Balance{Address: authtypes.NewModuleAddress(a.Name).String(), Coins: coins(a.Amount)})
	}
	m.bank.InitGenesis(m.ctx, &balances)
	m.fill(state)
	return m
}

func bare(t rapid.TB, with ...Option) *mill {
	registry := types.NewInterfaceRegistry()
	authtypes.RegisterInterfaces(registry)
	cdc := codec.NewProtoCodec(registry)
	keys := storetypes.NewKVStoreKeys(Name, authtypes.StoreKey, banktypes.StoreKey)
	m := &mill{t: t, ctx: testutil.DefaultContextWithKeys(keys, nil, nil)}
	permissions := map[string][]string{Name: {authtypes.Burner}, authtypes.FeeCollectorName: nil, gov: nil}
	blocked := map[string]bool{}
	for _, a := range Allocations() {
		permissions[a.Name] = nil
	}
	for name := range permissions {
		blocked[authtypes.NewModuleAddress(name).String()] = true
	}
	bech32 := address.NewBech32Codec("hpips")
	accounts := authkeeper.NewAccountKeeper(cdc, runtime.NewKVStoreService(keys[authtypes.StoreKey]), authtypes.ProtoBaseAccount, permissions, bech32, "hpips", authority())
	m.bank = bankkeeper.NewBaseKeeper(cdc, runtime.NewKVStoreService(keys[banktypes.StoreKey]), accounts, blocked, authority(), log.NewNopLogger())
	m.keeper = NewKeeper(cdc, runtime.NewKVStoreService(keys[Name]), m.bank, accounts, []string{gov, authtypes.FeeCollectorName, Fund}, authority(), with...)
	m.msgs = msgs{m.keeper}
	return m
}

func (m *mill) fill(state json.RawMessage) {
	m.t.Helper()
	source, err := genesis.SourceFromRawJSON(state)
	if err != nil {
		m.t.Fatal(err)
	}
	if err := m.keeper.schema.InitGenesis(m.ctx, source); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mill) export() string {
	m.t.Helper()
	target := genesis.RawJSONTarget{}
	if err := m.keeper.schema.ExportGenesis(m.ctx, target.Target()); err != nil {
		m.t.Fatal(err)
	}
	b, err := target.JSON()
	if err != nil {
		m.t.Fatal(err)
	}
	return string(b)
}

func coins(n math.Int) sdk.Coins { return sdk.NewCoins(sdk.NewCoin(Denom, n)) }

// try does what a transaction would: all of it or nothing.
func (m *mill) try(do func(sdk.Context) error) error {
	ctx, write := m.ctx.CacheContext()
	err := do(ctx)
	if err == nil {
		write()
	}
	return err
}

func (m *mill) release(from string, to sdk.AccAddress, n math.Int) error {
	return m.try(func(ctx sdk.Context) error {
		_, err := m.msgs.Release(ctx, &supplyv1.MsgRelease{Authority: authority(), From: from, To: to.String(), Amount: n})
		return err
	})
}

func (m *mill) burn(who sdk.AccAddress, n math.Int) error {
	return m.try(func(ctx sdk.Context) error {
		_, err := m.msgs.Burn(ctx, &supplyv1.MsgBurn{Holder: who.String(), Amount: n})
		return err
	})
}

func (m *mill) send(from, to sdk.AccAddress, n math.Int) error {
	return m.try(func(ctx sdk.Context) error { return m.bank.SendCoins(ctx, from, to, coins(n)) })
}

func TestThereAreAHundredMillion(t *testing.T) {
	if !Total().Equal(math.NewInt(100_000_000 * hpips)) {
		t.Errorf("total %s", Total())
	}
	m := founded(t, public)
	r, err := queries{m.keeper}.Supply(m.ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{Investors: 11_600_000, Founders: 10_000_000, Operations: 15_000_000, Community: 10_000_000, Fund: 50_000_000}
	for _, p := range r.Pots {
		if !p.Amount.Equal(math.NewInt(want[p.Name] * hpips)) {
			t.Errorf("%s has %s", p.Name, p.Amount)
		}
	}
	if len(r.Pots) != 5 || !r.Total.Equal(Total()) || !r.Circulating.Equal(public[0].Amount) || !r.Totals.Released.Equal(public[0].Amount) || len(r.Moves) != 1 {
		t.Errorf("supply is %+v", r)
	}
	if !m.keeper.Holding(m.ctx, at("alice")).Equal(public[0].Amount) || !m.keeper.Holding(m.ctx, authtypes.NewModuleAddress(Fund)).IsZero() {
		t.Error("holdings")
	}
}

func TestGenesisMovesOnlyWhatIsThere(t *testing.T) {
	move := func(from string, n int64) []supplyv1.Move {
		return []supplyv1.Move{{From: from, To: at("alice").String(), Label: "x", Amount: math.NewInt(n)}}
	}
	for name, row := range map[string]struct {
		moves []supplyv1.Move
		want  error
	}{
		"fund":          {move(Fund, 1), ErrPot},
		"nobody":        {move("treasury", 1), ErrPot},
		"none":          {move(Community, 0), ErrAmount},
		"less":          {move(Community, -5), ErrAmount},
		"too much":      {move(Community, 10_000_000*hpips+1), ErrAmount},
		"twice much":    {append(move(Community, 6_000_000*hpips), move(Community, 6_000_000*hpips)...), ErrAmount},
		"no amount":     {[]supplyv1.Move{{From: Community}}, ErrAmount},
		"all of it":     {move(Community, 10_000_000*hpips), nil},
		"nothing moves": {nil, nil},
	} {
		if _, err := Genesis(row.moves); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReleasesFollowAVoteAndStayWithinHalf(t *testing.T) {
	m := founded(t, public)
	bob := at("bob")
	one := math.NewInt(hpips)
	for name, row := range map[string]struct {
		msg  supplyv1.MsgRelease
		want error
	}{
		"carol's word":    {supplyv1.MsgRelease{Authority: at("carol").String(), From: Community, To: bob.String(), Amount: one}, ErrAuthority},
		"nobody's word":   {supplyv1.MsgRelease{From: Community, To: bob.String(), Amount: one}, ErrAuthority},
		"the fund":        {supplyv1.MsgRelease{Authority: authority(), From: Fund, To: bob.String(), Amount: one}, ErrPot},
		"no account":      {supplyv1.MsgRelease{Authority: authority(), From: "gov", To: bob.String(), Amount: one}, ErrPot},
		"to nobody":       {supplyv1.MsgRelease{Authority: authority(), From: Community, Amount: one}, ErrReceiver},
		"to a module":     {supplyv1.MsgRelease{Authority: authority(), From: Community, To: authority(), Amount: one}, ErrReceiver},
		"to an account":   {supplyv1.MsgRelease{Authority: authority(), From: Community, To: authtypes.NewModuleAddress(Founders).String(), Amount: one}, ErrReceiver},
		"no amount":       {supplyv1.MsgRelease{Authority: authority(), From: Community, To: bob.String()}, ErrAmount},
		"nothing":         {supplyv1.MsgRelease{Authority: authority(), From: Community, To: bob.String(), Amount: math.ZeroInt()}, ErrAmount},
		"less":            {supplyv1.MsgRelease{Authority: authority(), From: Community, To: bob.String(), Amount: one.Neg()}, ErrAmount},
		"more than it is": {supplyv1.MsgRelease{Authority: authority(), From: Community, To: bob.String(), Amount: math.NewInt(10_000_000*hpips + 1)}, ErrAmount},
		"no room yet":     {supplyv1.MsgRelease{Authority: authority(), From: Founders, To: bob.String(), Amount: math.OneInt()}, ErrHalf},
	} {
		if err := m.try(func(ctx sdk.Context) error { _, err := m.msgs.Release(ctx, &row.msg); return err }); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// 3.4 M are released. Grants of 6 M out of community make 9.4 M circulate: half of that leaves 1.3 M, and what is released circulates, too.
	if err := m.release(Community, bob, math.NewInt(6_000_000*hpips)); err != nil {
		t.Fatal(err)
	}
	if err := m.release(Founders, bob, math.NewInt(2_600_000*hpips+1)); !errors.Is(err, ErrHalf) {
		t.Errorf("one uhpips above half: %v", err)
	}
	if err := m.release(Founders, bob, math.NewInt(2_600_000*hpips)); err != nil {
		t.Errorf("just half: %v", err)
	}
	if err := m.release(Operations, bob, math.OneInt()); !errors.Is(err, ErrHalf) {
		t.Errorf("one more, of another account: %v", err)
	}
}

func TestOnlyHoldersBurnAndOnlyTheirOwn(t *testing.T) {
	m := founded(t, public)
	alice := at("alice")
	for name, row := range map[string]struct {
		who  string
		n    math.Int
		want error
	}{
		"the fund": {authtypes.NewModuleAddress(Fund).String(), math.OneInt(), ErrHolder},
		"nobody":   {"", math.OneInt(), ErrHolder},
		"nothing":  {alice.String(), math.ZeroInt(), ErrAmount},
		"less":     {alice.String(), math.NewInt(-1), ErrAmount},
		"none":     {alice.String(), math.Int{}, ErrAmount},
	} {
		err := m.try(func(ctx sdk.Context) error {
			_, err := m.msgs.Burn(ctx, &supplyv1.MsgBurn{Holder: row.who, Amount: row.n})
			return err
		})
		if !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := m.burn(alice, public[0].Amount.AddRaw(1)); err == nil {
		t.Error("alice burned more than she has")
	}
	if err := m.burn(alice, math.NewInt(5*hpips)); err != nil {
		t.Fatal(err)
	}
	if got := m.bank.GetSupply(m.ctx, Denom).Amount; !got.Equal(math.NewInt(99_999_995 * hpips)) {
		t.Errorf("supply is %s", got)
	}
	m.sound()
}

// sound checks what always holds; it knows the people, which the keeper does not.
func (m *mill) sound() {
	m.t.Helper()
	if err := m.keeper.CheckInvariants(m.ctx); err != nil {
		m.t.Fatal(err)
	}
	if why, err := m.keeper.Broken(m.ctx); err != nil || why != "" {
		m.t.Fatalf("broken: %q, %v", why, err)
	}
	totals, err := m.keeper.Totals(m.ctx)
	if err != nil {
		m.t.Fatal(err)
	}
	all, held := math.ZeroInt(), math.ZeroInt()
	m.bank.IterateAllBalances(m.ctx, func(who sdk.AccAddress, c sdk.Coin) bool {
		if c.Denom != Denom {
			return false
		}
		if c.IsNegative() {
			m.t.Fatalf("%s has %s", who, c)
		}
		all, held = all.Add(c.Amount), held.Add(m.keeper.Holding(m.ctx, who))
		return false
	})
	for _, name := range []string{"alice", "bob", "carol", "dave"} { // whose whole holding may be reserved
		if who := at(name); m.bank.GetBalance(m.ctx, who, Denom).IsZero() {
			held = held.Add(m.keeper.Holding(m.ctx, who))
		}
	}
	if !all.Add(totals.Burned).Equal(Total()) {
		m.t.Fatalf("%s held and %s burned", all, totals.Burned)
	}
	if c := m.keeper.Circulating(m.ctx); !c.Equal(held) {
		m.t.Fatalf("circulating %s, holdings %s", c, held)
	}
}

func TestWhateverHappensTheSumsStand(t *testing.T) {
	people := []string{"alice", "bob", "carol", "dave"}
	rapid.Check(t, func(r *rapid.T) {
		m := founded(r, public, Backed(gov))
		who := rapid.Custom(func(r *rapid.T) sdk.AccAddress { return at(rapid.SampledFrom(people).Draw(r, "person")) })
		much := rapid.Custom(func(r *rapid.T) math.Int { return math.NewInt(rapid.Int64Range(-5, 4_000_000*hpips).Draw(r, "n")) })
		pot := rapid.SampledFrom([]string{Investors, Founders, Operations, Community, Fund, "nobody"})
		r.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) { m.sound() },
			"send": func(r *rapid.T) {
				if n := much.Draw(r, "n"); n.IsPositive() {
					_ = m.send(who.Draw(r, "from"), who.Draw(r, "to"), n)
				}
			},
			"fee": func(r *rapid.T) {
				_ = m.send(who.Draw(r, "from"), authtypes.NewModuleAddress(authtypes.FeeCollectorName), math.NewInt(rapid.Int64Range(1, 1000).Draw(r, "fee")))
			},
			"sweep": func(r *rapid.T) {
				if err := m.keeper.Sweep(m.ctx); err != nil {
					r.Fatal(err)
				}
				if left := m.bank.GetAllBalances(m.ctx, authtypes.NewModuleAddress(authtypes.FeeCollectorName)); !left.IsZero() {
					r.Fatalf("fees left: %s", left)
				}
			},
			"deposit": func(r *rapid.T) { _ = m.deposit(who.Draw(r, "owner"), much.Draw(r, "n").Int64()) },
			"return":  func(r *rapid.T) { _ = m.deposit(who.Draw(r, "owner"), -much.Draw(r, "n").Int64()) },
			"burn":    func(r *rapid.T) { _ = m.burn(who.Draw(r, "holder"), much.Draw(r, "n")) },
			"release": func(r *rapid.T) {
				from, n := pot.Draw(r, "from"), much.Draw(r, "n")
				if m.release(from, who.Draw(r, "to"), n) != nil || from == Community {
					return
				}
				totals, err := m.keeper.Totals(m.ctx)
				if err != nil || totals.Released.MulRaw(2).GT(m.keeper.Circulating(m.ctx)) {
					r.Fatalf("released %s of %s circulating, %v", totals.Released, m.keeper.Circulating(m.ctx), err)
				}
			},
		})
	})
}

func TestABreachStopsReleasesUntilItIsRepaired(t *testing.T) {
	m := founded(t, nil)
	bob := at("bob")
	// Coins out of nothing: what no path of the chain does, the bank's store is made to show.
	if err := m.bank.Supply.Set(m.ctx, Denom, Total().AddRaw(1)); err != nil {
		t.Fatal(err)
	}
	if err := m.release(Community, bob, math.OneInt()); !errors.Is(err, ErrBreach) {
		t.Errorf("release before it was noticed: %v", err)
	}
	ctx := m.ctx.WithEventManager(sdk.NewEventManager())
	for range 2 {
		if err := m.keeper.CheckInvariants(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(ctx.EventManager().Events()); n != 1 {
		t.Errorf("%d events", n)
	}
	if err := m.bank.Supply.Set(m.ctx, Denom, Total()); err != nil {
		t.Fatal(err)
	}
	if err := m.release(Community, bob, math.OneInt()); !errors.Is(err, ErrBreach) {
		t.Errorf("release after it passed by itself: %v", err)
	}
	if err := m.keeper.Repair(m.ctx); err != nil {
		t.Fatal(err)
	}
	if err := m.release(Community, bob, math.OneInt()); err != nil {
		t.Errorf("release after the upgrade: %v", err)
	}
}

func TestAnAccountThatLeaksIsFound(t *testing.T) {
	m := founded(t, nil)
	if err := m.bank.SendCoinsFromModuleToAccount(m.ctx, Founders, at("carol"), coins(math.OneInt())); err != nil {
		t.Fatal(err)
	}
	if err := m.keeper.CheckInvariants(m.ctx); err != nil {
		t.Fatal(err)
	}
	if why, err := m.keeper.Broken(m.ctx); why == "" || err != nil {
		t.Errorf("not found: %v", err)
	}
}

func TestGenesisGoesOutAndIn(t *testing.T) {
	var _ appmodule.HasGenesis = Module{}
	m := founded(t, public)
	if err := m.burn(at("alice"), math.NewInt(7)); err != nil {
		t.Fatal(err)
	}
	out := m.export()
	again := bare(t)
	again.fill(json.RawMessage(out))
	if back := again.export(); back != out {
		t.Errorf("out:\n%s\nback:\n%s", out, back)
	}
	if totals, err := again.keeper.Totals(again.ctx); err != nil || !totals.Burned.Equal(math.NewInt(7)) {
		t.Errorf("totals: %+v, %v", totals, err)
	}
}

func TestAQuietSweepWritesNothing(t *testing.T) {
	m := founded(t, public)
	gas := m.ctx.GasMeter().GasConsumed()
	ctx := m.ctx.WithEventManager(sdk.NewEventManager())
	if err := m.keeper.Sweep(ctx); err != nil || len(ctx.EventManager().Events()) != 0 {
		t.Errorf("events %v, %v", ctx.EventManager().Events(), err)
	}
	if m.ctx.GasMeter().GasConsumed()-gas > 2000 {
		t.Errorf("a write costs 2000 gas: %d spent", m.ctx.GasMeter().GasConsumed()-gas)
	}
}
