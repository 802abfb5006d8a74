package supply

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"testing"

	"cosmossdk.io/math"
	"pgregory.net/rapid"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/query"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"

	"github.com/hpips/hpips/proto/gen/supplyv1"
)

// neighbour watches holdings and checks totals of its own.
type neighbour struct {
	mill    *mill
	saw     []int64 // the holdings before each change, in uhpips
	refuse  error
	unsound string
	failed  error
}

func (n *neighbour) BeforeHolding(ctx context.Context, who sdk.AccAddress) error {
	n.saw = append(n.saw, n.mill.keeper.Holding(ctx, who).Int64())
	return n.refuse
}

func (n *neighbour) Unsound(context.Context) (string, error) { return n.unsound, n.failed }

// reserving is a mill whose modules keep money for others: the account of gov stands for escrow and exchange.
func reserving(t rapid.TB) (*mill, *neighbour) {
	n := &neighbour{}
	m := founded(t, public, Watched(n), Backed(gov), Checked("market", n))
	n.mill = m
	return m, n
}

// deposit moves uhpips from a person to the module that keeps them, and back where n is below zero.
func (m *mill) deposit(who sdk.AccAddress, n int64) error {
	return m.try(func(ctx sdk.Context) error {
		if err := m.keeper.Reserve(ctx, who, math.NewInt(n)); err != nil {
			return err
		}
		if n < 0 {
			return m.bank.SendCoinsFromModuleToAccount(ctx, gov, who, coins(math.NewInt(-n)))
		}
		return m.bank.SendCoinsFromAccountToModule(ctx, who, gov, coins(math.NewInt(n)))
	})
}

func TestWhatIsReservedIsItsOwners(t *testing.T) {
	m, n := reserving(t)
	alice, whole := at("alice"), public[0].Amount
	if err := m.deposit(alice, 1_000_000*hpips); err != nil {
		t.Fatal(err)
	}
	if got := m.keeper.Holding(m.ctx, alice); !got.Equal(whole) || !m.keeper.Circulating(m.ctx).Equal(whole) || !m.keeper.ReservedFor(m.ctx, alice).Equal(math.NewInt(1_000_000*hpips)) {
		t.Errorf("alice has %s, %s circulate", got, m.keeper.Circulating(m.ctx))
	}
	if got := m.keeper.Holding(m.ctx, authtypes.NewModuleAddress(gov)); !got.IsZero() {
		t.Errorf("the module has %s", got)
	}
	// Pay becomes final: a tenth stays with modules, the rest is bob's.
	if err := m.try(func(ctx sdk.Context) error {
		return errors.Join(m.keeper.Reserve(ctx, alice, math.NewInt(-1000)), m.bank.SendCoinsFromModuleToAccount(ctx, gov, at("bob"), coins(math.NewInt(900))))
	}); err != nil {
		t.Fatal(err)
	}
	if !m.keeper.Holding(m.ctx, alice).Equal(whole.SubRaw(1000)) || !m.keeper.Circulating(m.ctx).Equal(whole.SubRaw(100)) {
		t.Errorf("alice has %s, %s circulate", m.keeper.Holding(m.ctx, alice), m.keeper.Circulating(m.ctx))
	}
	if len(n.saw) != 2 || n.saw[0] != whole.Int64() || n.saw[1] != whole.Int64() {
		t.Errorf("the watch saw %d", n.saw)
	}
	r, err := queries{m.keeper}.Supply(m.ctx, nil)
	if err != nil || !r.Reserved.Equal(math.NewInt(1_000_000*hpips-1000)) {
		t.Errorf("supply is %+v, %v", r, err)
	}
	m.sound()
}

// Whoever counts all holdings from outside asks for what is reserved page by page, and for the accounts that hold nothing.
func TestWhatIsReservedIsListed(t *testing.T) {
	m, _ := reserving(t)
	want := map[string]int64{}
	for i, name := range []string{"alice", "bob", "carol", "dave", "erin"} {
		n := int64(i + 1)
		if err := m.keeper.Reserve(m.ctx, at(name), math.NewInt(n)); err != nil {
			t.Fatal(err)
		}
		want[at(name).String()] = n
	}
	if err := m.keeper.Reserve(m.ctx, at("bob"), math.NewInt(-2)); err != nil {
		t.Fatal(err)
	}
	delete(want, at("bob").String())
	got := map[string]int64{}
	for p := (&query.PageRequest{Limit: 3}); p != nil; {
		r, err := queries{m.keeper}.Reserved(m.ctx, &supplyv1.QueryReservedRequest{Pagination: p})
		if err != nil || len(r.Reserved) > 3 {
			t.Fatalf("%+v, %v", r, err)
		}
		for _, one := range r.Reserved {
			got[one.Address] += one.Amount.Int64()
		}
		if p = nil; len(r.Pagination.NextKey) > 0 {
			p = &query.PageRequest{Limit: 3, Key: r.Pagination.NextKey}
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("reserved are %v, want %v", got, want)
	}
	r, err := queries{m.keeper}.Supply(m.ctx, nil)
	if err != nil || len(r.Modules) != len(m.keeper.modules) {
		t.Fatalf("%v of modules, %v", r, err)
	}
	for _, text := range r.Modules {
		if who, err := sdk.AccAddressFromBech32(text); err != nil || !m.keeper.Pooled(who) {
			t.Errorf("%s is no module's: %v", text, err)
		}
	}
}

func TestNobodyReservesWhatIsNotThere(t *testing.T) {
	m, n := reserving(t)
	alice := at("alice")
	if err := m.deposit(alice, 100); err != nil {
		t.Fatal(err)
	}
	n.saw = nil
	for name, row := range map[string]struct {
		who   sdk.AccAddress
		delta math.Int
		want  error
	}{
		"more than is reserved": {alice, math.NewInt(-101), ErrReserved},
		"bob's, who has none":   {at("bob"), math.NewInt(-1), ErrReserved},
		"the fund's":            {authtypes.NewModuleAddress(Fund), math.OneInt(), ErrHolder},
		"the module's own":      {authtypes.NewModuleAddress(gov), math.OneInt(), ErrHolder},
		"nobody's":              {nil, math.OneInt(), ErrHolder},
		"no amount":             {alice, math.Int{}, ErrAmount},
		"nothing":               {alice, math.ZeroInt(), nil},
	} {
		if err := m.try(func(ctx sdk.Context) error { return m.keeper.Reserve(ctx, row.who, row.delta) }); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(n.saw) != 0 || !m.keeper.Reserved(m.ctx).Equal(math.NewInt(100)) {
		t.Errorf("the watch saw %d, reserved is %s", n.saw, m.keeper.Reserved(m.ctx))
	}
	n.refuse = errors.New("not now")
	if err := m.deposit(alice, 1); !errors.Is(err, n.refuse) || !m.keeper.ReservedFor(m.ctx, alice).Equal(math.NewInt(100)) {
		t.Errorf("against the watch's word: %v", err)
	}
}

func TestReservesWithoutMoneyBehindThemAreFound(t *testing.T) {
	m, _ := reserving(t)
	if err := m.deposit(at("alice"), 100); err != nil {
		t.Fatal(err)
	}
	if err := m.bank.SendCoinsFromModuleToAccount(m.ctx, gov, at("carol"), coins(math.OneInt())); err != nil {
		t.Fatal(err)
	}
	if err := m.release(Community, at("bob"), math.OneInt()); !errors.Is(err, ErrBreach) {
		t.Errorf("release: %v", err)
	}
}

func TestTheTotalsOfOthersStopReleases(t *testing.T) {
	m, n := reserving(t)
	n.unsound = "paid is more than final"
	if err := m.keeper.CheckInvariants(m.ctx); err != nil {
		t.Fatal(err)
	}
	if why, err := m.keeper.Broken(m.ctx); why != "market: paid is more than final" || err != nil {
		t.Errorf("broken: %q, %v", why, err)
	}
	n.unsound, n.failed = "", errors.New("the store is broken")
	if err := m.keeper.Repair(m.ctx); !errors.Is(err, n.failed) {
		t.Errorf("repair: %v", err)
	}
	n.failed = nil
	if err := m.keeper.Repair(m.ctx); err != nil {
		t.Fatal(err)
	}
	m.sound()
	n.failed = errors.New("the store is broken")
	if err := m.keeper.CheckInvariants(m.ctx); !errors.Is(err, n.failed) {
		t.Errorf("check: %v", err)
	}
	if err := m.release(Community, at("bob"), math.OneInt()); !errors.Is(err, n.failed) {
		t.Errorf("release: %v", err)
	}
}

func TestReservesGoOutAndIn(t *testing.T) {
	m, _ := reserving(t)
	if err := m.deposit(at("alice"), 7001); err != nil {
		t.Fatal(err)
	}
	out := m.export()
	again := bare(t)
	again.fill(json.RawMessage(out))
	if back := again.export(); back != out || !again.keeper.ReservedFor(again.ctx, at("alice")).Equal(math.NewInt(7001)) {
		t.Errorf("out:\n%s\nback:\n%s", out, back)
	}
}

// Half of what circulates counts what lies in escrow: locking money up makes no room for releases, and takes none.
func TestLockingUpMakesNoRoomForReleases(t *testing.T) {
	m, _ := reserving(t)
	if err := m.release(Community, at("bob"), math.NewInt(6_000_000*hpips)); err != nil {
		t.Fatal(err)
	}
	if err := m.deposit(at("alice"), 3_000_000*hpips); err != nil {
		t.Fatal(err)
	}
	if err := m.release(Founders, at("bob"), math.NewInt(2_600_000*hpips+1)); !errors.Is(err, ErrHalf) {
		t.Errorf("one uhpips above half: %v", err)
	}
	if err := m.release(Founders, at("bob"), math.NewInt(2_600_000*hpips)); err != nil {
		t.Errorf("just half: %v", err)
	}
}

func TestAModuleThatIsNotThereBacksNothing(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a chain was put together with it")
		}
	}()
	founded(t, public, Backed("nowhere"))
}
