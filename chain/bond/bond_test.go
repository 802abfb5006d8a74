package bond

import (
	"context"
	"errors"
	"testing"
	"time"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/appmodule"
	"cosmossdk.io/math"

	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"

	"github.com/hpips/hpips/proto/gen/bondv1"
)

// Bob's first HPIPS: a quarter of each pay is held until the bond is whole, to the last unit; then all is his at once.
func TestAQuarterIsHeldUntilTheBondIsWhole(t *testing.T) {
	s := founded(t)
	for _, row := range []struct{ pay, held int64 }{
		{1, 0}, {3, 0}, {4, 1}, {7, 1}, {19_999_985, 4_999_996}, // the target is 10 HPIPS, then what was paid
		{19_999_999, 4_999_999}, {3, 0}, {40 * hpips, 10 * hpips},
	} {
		if got := s.pays("bob", Denom, row.pay); got != row.held {
			t.Errorf("of %d %d are held, want %d", row.pay, got, row.held)
		}
	}
	s.wants("after 80 HPIPS", "bob", 19_999_997, 80*hpips+2, 19_999_997, true)
	s.sound()
	// Ten days later nobody was paid for long: the target is the least, and the bond more than that. Nothing more is held, and nothing given back.
	s.days(10)
	s.wants("ten days later", "bob", 19_999_997, 10*hpips, 19_999_997, true)
	if got := s.pays("bob", Denom, 8*hpips); got != 0 {
		t.Errorf("%d held of a bond that is whole", got)
	}
	if got := s.pays("bob", Denom, 12*hpips); got != 3 {
		t.Errorf("%d held, where 3 uhpips lack", got)
	}
	s.sound()
}

// Ten days of the same pay: the bond grows by a quarter of it each day until it is ten days' worth.
func TestABondIsTenDaysPay(t *testing.T) {
	s := founded(t)
	for n := range 60 {
		held, want := s.pays("bob", Denom, 8*hpips), int64(2*hpips)
		if n >= 40 {
			want = 0
		}
		if held != want {
			t.Fatalf("day %d: %d held, want %d", n, held, want)
		}
		s.days(1)
	}
	s.wants("after sixty days", "bob", 80*hpips, 72*hpips, 80*hpips, true) // of the new day nothing is paid yet
}

// Another asset has a bond of its own, without a least target, and is no part of a holding.
func TestEachAssetHasItsBond(t *testing.T) {
	s := founded(t)
	if got := s.pays("bob", silver, 40); got != 10 {
		t.Errorf("%d silver held", got)
	}
	s.pays("bob", Denom, 4*hpips)
	r := s.told("bob")
	if len(r.Bonds) != 2 || !r.Bonds[0].Target.Equal(math.NewInt(40)) || r.Bonds[0].Bond.Denom != silver || !r.Bonds[1].Target.Equal(math.NewInt(10*hpips)) || r.Enough {
		t.Errorf("told %+v", r)
	}
	if s.reserves("bob") != hpips {
		t.Errorf("%d reserved for bob", s.reserves("bob"))
	}
	s.sound()
}

func TestOnlyItsOwnersPayGoesIntoABond(t *testing.T) {
	s := founded(t)
	s.pays("bob", Denom, 4*hpips)
	s.must(s.bank.SendCoinsFromAccountToModule(s.ctx, at("alice"), escrow, coins(Denom, math.NewInt(100))))
	err := s.try(func(ctx sdk.Context) error {
		_, err := s.keeper.Hold(ctx, escrow, nodeOf("bob"), at("carol"), sdk.NewInt64Coin(Denom, 100))
		return err
	})
	if !errors.Is(err, ErrOwner) || s.pot(escrow, Denom) != 100 {
		t.Errorf("carol's pay for bob's node: %v", err)
	}
}

// Bob goes. His bond counts nothing from his word on, and returns 14 days later, not a block before.
func TestABondReturnsAfterFourteenDays(t *testing.T) {
	s := founded(t)
	s.pays("bob", Denom, 40*hpips)
	s.pays("bob", silver, 400)
	s.wants("before", "bob", 10*hpips, 40*hpips, 10*hpips, true)
	s.must(s.leave("bob"))
	s.wants("at his word", "bob", 10*hpips, 40*hpips, 0, false)
	if l := s.told("bob").Leaving; l == nil || l.Due != began.Unix()+14*day || l.Since != began.Unix() || l.Owner != text("bob") {
		t.Errorf("leaving %+v", l)
	}
	s.block(14*day*time.Second - time.Second)
	s.wants("a second before", "bob", 10*hpips, 10*hpips, 0, false)
	returned := s.events("hpips_bond_returned", func() { s.block(time.Second) })
	if len(returned) != 2 || returned[1]["amount"] != "10000000uhpips" || returned[0]["amount"] != "100silver" || returned[0]["owner"] != text("bob") {
		t.Errorf("returned %v", returned)
	}
	if s.has(at("bob"), Denom) != 40*hpips || s.has(at("bob"), silver) != 400 || s.told("bob").Leaving != nil || len(s.told("bob").Bonds) != 0 {
		t.Errorf("bob has %d and %d, %+v", s.has(at("bob"), Denom), s.has(at("bob"), silver), s.told("bob"))
	}
	s.sound()
	// He comes back, and begins anew.
	if got := s.pays("bob", Denom, 8*hpips); got != 2*hpips {
		t.Errorf("%d held of his pay when he is back", got)
	}
	s.wants("back again", "bob", 2*hpips, 10*hpips, 2*hpips, true)
}

// What bob still has to answer for holds his bond: a lease at the due time, a seat that he gave up the day before.
func TestALeaseOrASeatInBetweenMovesTheTime(t *testing.T) {
	s := founded(t)
	s.pays("bob", Denom, 40*hpips)
	s.must(s.leave("bob"))
	s.days(13)
	s.must(s.keeper.Touch(s.ctx, nodeOf("bob"))) // he gave up a seat
	s.days(13)
	s.busy[nodeOf("bob")] = "lease"
	s.days(1) // 14 days after the seat there is a lease
	if l := s.told("bob"); l.Busy != "lease" || l.Leaving == nil || l.Leaving.Due != s.ctx.BlockTime().Unix()+14*day {
		t.Errorf("with a lease: %+v", l)
	}
	s.days(3)
	delete(s.busy, nodeOf("bob"))
	s.must(s.keeper.Touch(s.ctx, nodeOf("bob"))) // the lease is gone
	s.must(s.keeper.Touch(s.ctx, nodeOf("carol")))
	s.days(13)
	s.wants("13 days after the lease", "bob", 10*hpips, 10*hpips, 0, false)
	s.sound()
	s.days(1)
	if s.has(at("bob"), Denom) != 40*hpips {
		t.Errorf("bob has %d", s.has(at("bob"), Denom))
	}
	s.sound()
}

func TestWhoStaysKeepsTheBond(t *testing.T) {
	s := founded(t)
	id := nodeOf("bob")
	refuses := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	refuses("leave without a bond", s.leave("bob"), ErrNothing)
	refuses("stay without a bond", s.stay("bob"), ErrStays)
	s.pays("bob", Denom, 40*hpips)
	refuses("stay", s.stay("bob"), ErrStays)
	_, err := s.msgs.Leave(s.ctx, &bondv1.MsgLeave{Owner: text("mallory"), Node: id[:]})
	refuses("mallory for bob", err, ErrOwner)
	_, err = s.msgs.Leave(s.ctx, &bondv1.MsgLeave{Owner: "nobody", Node: id[:]})
	refuses("nobody", err, ErrOwner)
	_, err = s.msgs.Leave(s.ctx, &bondv1.MsgLeave{Owner: text("bob"), Node: id[:7]})
	refuses("half a node", err, ErrNode)
	s.must(s.leave("bob"))
	refuses("leave twice", s.leave("bob"), ErrLeaving)
	_, err = s.msgs.Stay(s.ctx, &bondv1.MsgStay{Owner: text("mallory"), Node: id[:]})
	refuses("mallory has bob stay", err, ErrOwner)
	s.days(13)
	s.must(s.stay("bob"))
	s.days(30)
	s.wants("much later", "bob", 10*hpips, 10*hpips, 10*hpips, true)
	s.sound()
}

// A block looks at a batch of returns. An account that takes nothing holds up nobody, and is tried again.
func TestABlockReturnsABatch(t *testing.T) {
	s := founded(t)
	p := Public()
	p.Batch = 2
	s.must(s.keeper.params.Set(s.ctx, p))
	for _, name := range people {
		s.pays(name, Denom, 40*hpips)
		s.must(s.leave(name))
	}
	refused := true
	s.bank.AppendSendRestriction(func(_ context.Context, _, to sdk.AccAddress, _ sdk.Coins) (sdk.AccAddress, error) {
		if refused && to.Equals(at("bob")) {
			return to, errors.New("it takes nothing")
		}
		return to, nil
	})
	left := func() (n int) {
		for _, name := range people {
			if s.bond(name, Denom).Held.IsPositive() {
				n++
			}
		}
		return n
	}
	told := s.events("hpips_return_of_bond_refused", func() {
		s.days(14)
		if n := left(); n < 2 || n > 3 {
			t.Errorf("%d of four bonds are left after a batch of two", n)
		}
		s.block(time.Second)
	})
	if left() != 1 || len(told) != 1 || told[0]["node"] != nodeOf("bob").String() || s.bond("bob", Denom).Held.Int64() != 10*hpips {
		t.Errorf("%d are left, told %v", left(), told)
	}
	s.sound()
	refused = false
	s.days(15)
	if left() != 0 {
		t.Error("bob's was not tried again")
	}
	s.sound()
}

// Mallory lied. Her bond pays carol and dave what they paid, as far as it goes, and the fund gets the rest. It is whole again only when new pay has
// brought it to what it was, however little she earns by then, and by leaving she does not get round it.
func TestASlashPaysBackAndTheRestIsTheFunds(t *testing.T) {
	s := founded(t)
	s.pays("bob", Denom, 40*hpips)
	told := s.events("hpips_slashed", func() {
		if got := s.slash("bob", Denom, 6*hpips, Refund{at("carol"), math.NewInt(hpips)}, Refund{at("dave"), math.ZeroInt()}, Refund{at("dave"), math.NewInt(3 * hpips)}); got != 6*hpips {
			t.Errorf("%d taken", got)
		}
	})
	if len(told) != 1 || told[0]["amount"] != "6000000uhpips" || told[0]["fund"] != "2000000uhpips" || told[0]["bond"] != "4000000uhpips" {
		t.Errorf("told %v", told)
	}
	if s.has(at("carol"), Denom) != hpips || s.has(at("dave"), Denom) != 3*hpips || s.pot(fundAccount, Denom) != 2*hpips {
		t.Errorf("carol %d, dave %d, fund %d", s.has(at("carol"), Denom), s.has(at("dave"), Denom), s.pot(fundAccount, Denom))
	}
	s.wants("slashed", "bob", 4*hpips, 40*hpips, 4*hpips, false)
	s.sound()
	s.days(10)
	s.wants("ten days later", "bob", 4*hpips, 10*hpips, 4*hpips, false)
	s.must(s.leave("bob"))
	s.days(14)
	if s.has(at("bob"), Denom) != 34*hpips {
		t.Errorf("bob has %d", s.has(at("bob"), Denom))
	}
	s.sound()
	s.pays("bob", Denom, 36*hpips)
	s.wants("9 HPIPS are held again", "bob", 9*hpips, 36*hpips, 9*hpips, false)
	s.days(10)
	if got := s.pays("bob", Denom, 8*hpips); got != hpips {
		t.Errorf("%d held where 1 HPIPS lacks of what was slashed", got)
	}
	s.wants("whole again", "bob", 10*hpips, 10*hpips, 10*hpips, true)
	s.sound()
}

func TestASlashTakesNoMoreThanThereIs(t *testing.T) {
	s := founded(t)
	s.pays("bob", Denom, 40*hpips)
	fund := authtypes.NewModuleAddress(fundAccount)
	for _, row := range []struct {
		name, denom string
		amount      int64
		refunds     []Refund
		taken, fund int64
		carol       int64
	}{
		{"nothing", Denom, 0, nil, 0, 0, 0},
		{"of another asset", silver, 100, []Refund{{at("carol"), math.NewInt(100)}}, 0, 0, 0},
		{"a part, all of it refunded", Denom, 10, []Refund{{at("carol"), math.NewInt(100)}}, 10, 0, 10},
		{"to an account that takes nothing", Denom, 10, []Refund{{fund, math.NewInt(10)}, {at("carol"), math.NewInt(4)}}, 10, 6, 4},
		{"more than there is", Denom, 1 << 62, []Refund{{at("carol"), math.NewInt(1 << 62)}, {at("dave"), math.NewInt(5)}}, 10*hpips - 20, 0, 10*hpips - 20},
		{"of nothing", Denom, 5, nil, 0, 0, 0},
	} {
		carol, pot := s.has(at("carol"), Denom), s.pot(fundAccount, Denom)
		if got := s.slash("bob", row.denom, row.amount, row.refunds...); got != row.taken || s.pot(fundAccount, Denom)-pot != row.fund || s.has(at("carol"), Denom)-carol != row.carol {
			t.Errorf("%s: %d taken, fund %d, carol %d", row.name, got, s.pot(fundAccount, Denom)-pot, s.has(at("carol"), Denom)-carol)
		}
		s.sound()
	}
	if _, err := s.keeper.Slash(s.ctx, nodeOf("bob"), Denom, math.NewInt(-1)); !errors.Is(err, ErrAmount) {
		t.Errorf("less than nothing: %v", err)
	}
	if _, err := s.keeper.Slash(s.ctx, nodeOf("bob"), Denom, math.Int{}); !errors.Is(err, ErrAmount) {
		t.Errorf("no amount: %v", err)
	}
}

// Who signed two blocks loses the whole bond in HPIPS, also in a breach; what it has in other assets it may take with it.
func TestADoubleSignerForfeitsItsBond(t *testing.T) {
	s := founded(t)
	s.pays("bob", Denom, 40*hpips)
	s.pays("bob", silver, 400)
	s.breach = "something"
	s.must(s.keeper.Forfeit(s.ctx, nodeOf("bob")))
	s.must(s.keeper.Forfeit(s.ctx, nodeOf("bob")))
	s.must(s.keeper.Forfeit(s.ctx, nodeOf("carol")))
	if s.pot(fundAccount, Denom) != 10*hpips || s.bond("bob", silver).Held.Int64() != 100 {
		t.Errorf("fund %d, silver %s", s.pot(fundAccount, Denom), s.bond("bob", silver).Held)
	}
	s.wants("forfeited", "bob", 0, 40*hpips, 0, false)
	s.sound()
	s.breach = ""
	s.must(s.leave("bob"))
	s.days(14)
	if s.has(at("bob"), silver) != 400 {
		t.Errorf("bob has %d silver", s.has(at("bob"), silver))
	}
	s.sound()
}

func TestABreachStopsReturnsAndSlashes(t *testing.T) {
	s := founded(t)
	s.pays("bob", Denom, 40*hpips)
	s.must(s.leave("bob"))
	s.breach = "something"
	s.days(15)
	if _, err := s.keeper.Slash(s.ctx, nodeOf("bob"), Denom, math.OneInt()); !errors.Is(err, ErrRests) {
		t.Errorf("slash: %v", err)
	}
	if err := s.keeper.Release(s.ctx, nodeOf("bob")); !errors.Is(err, ErrRests) {
		t.Errorf("release: %v", err)
	}
	s.wants("in the breach", "bob", 10*hpips, 10*hpips, 0, false)
	s.breach = ""
	s.block(time.Second)
	if s.has(at("bob"), Denom) != 40*hpips {
		t.Errorf("bob has %d after the repair", s.has(at("bob"), Denom))
	}
}

// A ticket needs two HPIPS of bond; where a vote asks for none, nobody needs any.
func TestATicketNeedsABond(t *testing.T) {
	s := founded(t)
	for _, row := range []struct {
		pay    int64
		enough bool
	}{{8*hpips - 1, false}, {3, false}, {1, false}, {4, true}} {
		s.pays("bob", Denom, row.pay)
		if got, err := s.keeper.Enough(s.ctx, nodeOf("bob")); err != nil || got != row.enough {
			t.Errorf("with a bond of %s: %v, %v", s.bond("bob", Denom).Held, got, err)
		}
	}
	s.slash("bob", Denom, 1)
	s.must(s.keeper.params.Set(s.ctx, Development()))
	for _, who := range []string{"bob", "carol"} {
		if got, err := s.keeper.Enough(s.ctx, nodeOf(who)); err != nil || !got {
			t.Errorf("%s on a desk: %v, %v", who, got, err)
		}
	}
}

func TestOnlyAVoteSetsParameters(t *testing.T) {
	s := founded(t)
	p := Development()
	if _, err := s.msgs.UpdateParams(s.ctx, &bondv1.MsgUpdateParams{Authority: text("mallory"), Params: p}); !errors.Is(err, ErrAuthority) {
		t.Errorf("mallory: %v", err)
	}
	for name, spoil := range map[string]func(*bondv1.Params){
		"more than all":   func(p *bondv1.Params) { p.HoldPermille = 1001 },
		"no days":         func(p *bondv1.Params) { p.TargetDays = 0 },
		"forgotten days":  func(p *bondv1.Params) { p.TargetDays = 91 },
		"beyond supply":   func(p *bondv1.Params) { p.LeastTarget = total + 1 },
		"at once":         func(p *bondv1.Params) { p.ReturnSeconds = 0 },
		"never":           func(p *bondv1.Params) { p.ReturnSeconds = 367 * day },
		"never a ticket":  func(p *bondv1.Params) { p.TicketBond = p.LeastTarget + 1 },
		"blocks of none":  func(p *bondv1.Params) { p.Batch = 0 },
		"blocks too long": func(p *bondv1.Params) { p.Batch = 1001 },
	} {
		p := Public()
		spoil(&p)
		if _, err := s.msgs.UpdateParams(s.ctx, &bondv1.MsgUpdateParams{Authority: authority, Params: p}); !errors.Is(err, ErrParams) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Genesis(p); !errors.Is(err, ErrParams) {
			t.Errorf("genesis with %s: %v", name, err)
		}
	}
	if _, err := s.msgs.UpdateParams(s.ctx, &bondv1.MsgUpdateParams{Authority: authority, Params: p}); err != nil {
		t.Fatal(err)
	}
	if r, err := s.ask.Params(s.ctx, nil); err != nil || r.Params != p {
		t.Errorf("%+v, %v", r, err)
	}
	s.must(s.keeper.params.Remove(s.ctx))
	if r, err := s.ask.Params(s.ctx, nil); err != nil || r.Params != Public() {
		t.Errorf("without any: %+v, %v", r, err)
	}
}

func TestWhatDoesNotAddUpIsNamed(t *testing.T) {
	id := nodeOf("bob")
	here := collections.Join(id[:], Denom)
	change := func(s *town, do func(*bondv1.Bond)) error {
		b, err := s.keeper.bonds.Get(s.ctx, here)
		do(&b)
		return errors.Join(err, s.keeper.bonds.Set(s.ctx, here, b))
	}
	for name, spoil := range map[string]func(*town) error{
		"a unit that went": func(s *town) error {
			return s.bank.SendCoinsFromModuleToModule(s.ctx, Name, escrow, coins(Denom, math.OneInt()))
		},
		"a bond that grew by itself": func(s *town) error {
			return change(s, func(b *bondv1.Bond) { b.Held = b.Held.AddRaw(1) })
		},
		"a bond of less than nothing": func(s *town) error {
			return change(s, func(b *bondv1.Bond) { b.Before = math.NewInt(-1) })
		},
		"another's":            func(s *town) error { return change(s, func(b *bondv1.Bond) { b.Owner = text("carol") }) },
		"a bond that vanished": func(s *town) error { return s.keeper.bonds.Remove(s.ctx, here) },
		"an owner's sum": func(s *town) error {
			return s.keeper.owned.Set(s.ctx, collections.Join(text("carol"), Denom), math.OneInt())
		},
		"an owner forgotten": func(s *town) error { return s.keeper.owned.Remove(s.ctx, collections.Join(text("bob"), Denom)) },
		"the sums":           func(s *town) error { return s.keeper.totals.Remove(s.ctx, Denom) },
		"a time of nobody":   func(s *town) error { return s.keeper.dues.Set(s.ctx, collections.Join(uint64(7), id[:])) },
		"a time that went":   func(s *town) error { return s.keeper.dues.Clear(s.ctx, nil) },
	} {
		s := founded(t)
		s.pays("bob", Denom, 40*hpips)
		s.must(s.leave("bob"))
		s.sound()
		s.must(spoil(s))
		if s.keeper.Recount(s.ctx) == nil {
			t.Errorf("%s was not found", name)
		}
	}
	s := founded(t)
	s.pays("bob", Denom, 40*hpips)
	if why, err := s.keeper.Unsound(s.ctx); why != "" || err != nil {
		t.Errorf("sound: %q, %v", why, err)
	}
	s.must(s.bank.SendCoinsFromModuleToModule(s.ctx, Name, escrow, coins(Denom, math.OneInt())))
	if why, err := s.keeper.Unsound(s.ctx); why == "" || err != nil {
		t.Errorf("a unit went: %q, %v", why, err)
	}
}

func TestAnIdleBlockWritesNothing(t *testing.T) {
	var _ appmodule.HasGenesis = Module{}
	s := founded(t)
	s.pays("bob", Denom, 40*hpips)
	s.must(s.leave("bob"))
	before := string(s.export())
	s.days(13)
	if after := string(s.export()); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}
