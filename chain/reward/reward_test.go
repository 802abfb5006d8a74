package reward

import (
	"errors"
	"fmt"
	"maps"
	"testing"

	"cosmossdk.io/core/appmodule"
	"cosmossdk.io/math"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/query"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"

	"github.com/hpips/hpips/proto/gen/rewardv1"
)

func TestAProviderGetsNineTenths(t *testing.T) {
	for _, row := range []struct{ amount, paid, held, levied, lacks int64 }{
		{1, 0, 0, 1, 0}, {2, 1, 0, 1, 0}, {9, 8, 0, 1, 0}, {10, 9, 0, 1, 0}, {11, 9, 0, 2, 0}, {19, 17, 0, 2, 0}, {20, 18, 0, 2, 0},
		{1_000_001, 900_000, 0, 100_001, 0}, {1, 0, 0, 1, 9}, {9, 8, 2, 1, 9}, {20, 18, 4, 2, 4}, {1_000_001, 900_000, 225_000, 100_001, 1 << 40}, {1_000_001, 900_000, 7, 100_001, 7},
	} {
		for _, asset := range []string{denom, junk} {
			s := founded(t, Development())
			if row.amount > 1_000_000 && asset == junk {
				continue
			}
			s.holds = row.lacks
			paid := s.events("hpips_paid", func() { s.must(s.split(pay("bob", asset, row.amount))) })
			want := map[string]string{
				"day": "0", "lease": "07", "node": nodeOf("bob").String(), "payer": text("alice"), "payee": text("bob"),
				"amount": fmt.Sprint(row.amount, asset), "paid": fmt.Sprint(row.paid, asset), "held": fmt.Sprint(row.held, asset),
				"levied": fmt.Sprint(row.levied, asset),
			}
			if len(paid) != 1 || !maps.Equal(paid[0], want) {
				t.Errorf("told %v, want %v", paid, want)
			}
			if s.has(at("bob"), asset) != row.paid-row.held || s.pot(bond, asset) != row.held || s.pot(LevyAccount, asset) != row.levied || s.pot(escrow, asset) != 0 {
				t.Errorf("%d%s: bob has %d and %d as a bond, the levy account %d, escrow %d", row.amount, asset, s.has(at("bob"), asset), s.pot(bond, asset), s.pot(LevyAccount, asset), s.pot(escrow, asset))
			}
			sum := s.day(0).Assets[0].Sum
			if !sum.Gross.Equal(math.NewInt(row.amount)) || !sum.Paid.Equal(math.NewInt(row.paid)) || !sum.Levied.Equal(math.NewInt(row.levied)) || !sum.Held.Equal(math.NewInt(row.held)) {
				t.Errorf("the day has %+v", sum)
			}
		}
	}
}

// The largest amount that there can be does not overflow.
func TestAnyAmountIsSplit(t *testing.T) {
	whole, ok := math.NewIntFromString("115792089237316195423570985008687907853269984665640564039457584007913129639935")
	paid, levied := shares(whole)
	if !ok || !paid.Add(levied).Equal(whole) || !levied.Equal(whole.QuoRaw(10).AddRaw(1)) {
		t.Errorf("%s and %s of %s", paid, levied, whole)
	}
}

func TestWhatCannotBeSplitMovesNothing(t *testing.T) {
	huge := math.NewInt(1).Mul(math.NewInt(1 << 62)).Mul(math.NewInt(1 << 62))
	for name, row := range map[string]struct {
		spoil func(*Final)
		want  error
	}{
		"nothing":       {func(f *Final) { f.Amount = math.ZeroInt() }, ErrAmount},
		"less":          {func(f *Final) { f.Amount = math.NewInt(-5) }, ErrAmount},
		"no amount":     {func(f *Final) { f.Amount = math.Int{} }, ErrAmount},
		"no asset":      {func(f *Final) { f.Denom = "" }, ErrAmount},
		"half an asset": {func(f *Final) { f.Denom = "x" }, ErrAmount},
		"nobody":        {func(f *Final) { f.Payee = nil }, ErrHolder},
		"the fund":      {func(f *Final) { f.Payee = authtypes.NewModuleAddress(fundAccount) }, ErrHolder},
		"not there":     {func(f *Final) { f.Amount = huge }, nil},
	} {
		s := founded(t, Development())
		s.must(s.bank.SendCoinsFromAccountToModule(s.ctx, at("alice"), escrow, coins(denom, math.NewInt(100))))
		f := pay("bob", denom, 100)
		row.spoil(&f)
		err := s.try(func(ctx sdk.Context) error { return s.keeper.Split(ctx, f) })
		if err == nil || row.want != nil && !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
		if s.pot(escrow, denom) != 100 || len(s.day(0).Assets) != 0 {
			t.Errorf("%s: escrow has %d, the day %+v", name, s.pot(escrow, denom), s.day(0))
		}
	}
}

func TestWhatADayBringsFlowsOverTheNext(t *testing.T) {
	s := founded(t, Development())
	s.must(s.bank.SendCoins(s.ctx, at("alice"), at("carol"), coins(denom, math.NewInt(500_000*hpips))))
	s.must(s.split(pay("alice", denom, 10_000*hpips))) // 1,000 of levy
	s.block(daySeconds - 1)
	if !s.owes("carol").IsZero() || s.pot(StreamAccount, denom) != 0 {
		t.Error("it flows on its own day")
	}
	s.block(1)
	if s.pot(LevyAccount, denom) != 0 || s.pot(StreamAccount, denom) != 1000*hpips {
		t.Errorf("levy account %d, stream %d", s.pot(LevyAccount, denom), s.pot(StreamAccount, denom))
	}
	part := func(seconds int64) math.Int { // carol's: 500,000 of 1,999,000
		return math.NewInt(seconds * hpips).Mul(unit).Mul(math.NewInt(500_000)).QuoRaw(1_999_000)
	}
	for _, after := range []int64{1, 400, 999} {
		s.block(after - (s.ctx.BlockTime().Unix() - began.Unix() - daySeconds))
		if got, want := s.owes("carol"), part(after); want.Sub(got).GT(math.NewInt(2_000_000*hpips)) || got.GT(want) {
			t.Errorf("after %d s carol is owed %s, want %s", after, got, want)
		}
	}
	s.block(1)
	r, err := s.ask.Stream(s.ctx, nil)
	if err != nil || !r.Stream.Amount.IsZero() || !r.Stream.Brought.Equal(math.NewInt(1000*hpips)) {
		t.Errorf("the stream is %+v, %v", r, err)
	}
}

func (s *town) owes(who string) math.Int {
	s.t.Helper()
	r, err := s.ask.Owed(s.ctx, &rewardv1.QueryOwedRequest{Address: text(who)})
	s.must(err)
	if !r.Amount.Equal(r.Exact.Quo(unit)) {
		s.t.Errorf("owed %s, exactly %s", r.Amount, r.Exact)
	}
	return r.Exact
}

// A halt of days in the middle of a day loses nothing: what was due then flows at its end, to those who held through it; the day after
// follows at once, and there is one close.
func TestAHaltCostsNobody(t *testing.T) {
	s := founded(t, Development())
	s.must(s.split(pay("bob", denom, 10*hpips)))
	s.block(daySeconds)
	s.must(s.split(pay("bob", denom, 20*hpips)))
	s.block(daySeconds / 2)
	closes := s.events("hpips_day", func() { s.block(7*daySeconds + 3) })
	if len(closes) != 1 || closes[0]["day"] != "1" || closes[0]["levied"] != fmt.Sprint(2*hpips) {
		t.Errorf("closed %v", closes)
	}
	if got := s.owes("alice").Add(s.owes("bob")).Add(s.stream().Rest); !got.Equal(unit.MulRaw(hpips)) {
		t.Errorf("owed %s of day 0", got)
	}
	s.block(daySeconds)
	if got := s.owes("alice").Add(s.owes("bob")).Add(s.stream().Rest); !got.Equal(unit.MulRaw(3 * hpips)) {
		t.Errorf("owed %s of both", got)
	}
	if d := s.day(4); d.Day.Closed != 0 || d.Day.Done {
		t.Errorf("a day without blocks: %+v", d)
	}
	if last, err := s.ask.Day(s.ctx, &rewardv1.QueryDayRequest{LastClosed: true}); err != nil || last.Day.Day != 8 {
		t.Errorf("last closed: %+v, %v", last, err)
	}
}

func (s *town) stream() rewardv1.Stream {
	s.t.Helper()
	r, err := s.keeper.Stream(s.ctx)
	s.must(err)
	return r
}

func TestAClaimPaysWholeUnitsAndKeepsTheFraction(t *testing.T) {
	s := founded(t, Development())
	s.must(s.bank.SendCoins(s.ctx, at("alice"), at("carol"), coins(denom, math.NewInt(3*hpips))))
	s.must(s.split(pay("bob", denom, hpips)))
	s.block(daySeconds)
	s.block(daySeconds)
	claim := func(who string) (*rewardv1.MsgClaimResponse, error) {
		var r *rewardv1.MsgClaimResponse
		err := s.try(func(ctx sdk.Context) (err error) {
			r, err = s.msgs.Claim(ctx, &rewardv1.MsgClaim{Holder: who})
			return err
		})
		return r, err
	}
	for _, row := range []struct {
		who  string
		want error
	}{{"", ErrHolder}, {"hpips1nobody", ErrHolder}, {textOf(fundAccount), ErrHolder}, {textOf(StreamAccount), ErrHolder}, {text("carol"), ErrNothing}, {text("dave"), ErrNothing}} {
		if _, err := claim(row.who); !errors.Is(err, row.want) {
			t.Errorf("%q: %v", row.who, err)
		}
	}
	before, owed := s.has(at("alice"), denom), s.owes("alice")
	r, err := claim(text("alice"))
	if err != nil || !r.Amount.Equal(owed.Quo(unit)) || s.has(at("alice"), denom) != before+r.Amount.Int64() {
		t.Errorf("claimed %+v of %s, %v", r, owed, err)
	}
	if left := s.owes("alice"); !left.Equal(owed.Mod(unit)) || left.IsZero() {
		t.Errorf("left %s", left)
	}
	if _, err := claim(text("alice")); !errors.Is(err, ErrNothing) {
		t.Errorf("twice: %v", err)
	}
	if s := s.stream(); !s.Claimed.Equal(r.Amount) {
		t.Errorf("claimed %s", s.Claimed)
	}
}

func TestABonusIsPartOfTheLevy(t *testing.T) {
	s := founded(t, Development())
	s.must(s.split(pay("bob", denom, 1000*hpips)))
	s.block(daySeconds) // day 0 has no bonus
	if d := s.day(0); d.Day.Kappa != 0 || !d.Day.Bonus.IsZero() || !d.Day.Done {
		t.Errorf("day 0: %+v", d)
	}
	s.must(s.split(pay("bob", denom, 1000*hpips)))
	s.must(s.split(pay("dave", junk, 1000)))
	s.must(s.keeper.Duty(s.ctx, nodeOf("carol"), 2, 3))
	s.must(s.keeper.Duty(s.ctx, nodeOf("nobody"), 5, 0))
	fund, bob, carol := s.pot(fundAccount, denom), s.has(at("bob"), denom), s.has(at("carol"), denom)
	paid := s.events("hpips_bonus", func() { s.block(daySeconds) })
	// 1,999,800 of 50 M circulate: kappa is 0.019998, of 100 HPIPS levied.
	if d := s.day(1); d.Day.Kappa != 19_998 || d.Day.Circulating.Int64() != 1_999_800*hpips || d.Day.Bonus.Int64() != 1_999_800 ||
		d.Day.Duty.Int64() != 10_300 || d.Day.DutyDue.Int64() != 35_300 || d.Day.Seats != 7 || d.Day.Receipts != 3 || d.Day.SeatPrice != 5000 || !d.Day.Done ||
		d.Day.Streamed.Int64() != 100*hpips || d.Day.Fund.Int64() != 50_000_000*hpips || d.Day.Closed != began.Unix()+2*daySeconds || d.Day.Height != s.ctx.BlockHeight() {
		t.Errorf("day 1: %+v", d)
	}
	if s.has(at("bob"), denom)-bob != 1_999_800 || s.has(at("carol"), denom)-carol != 10_300 || fund-s.pot(fundAccount, denom) != 1_999_800+10_300 || len(paid) != 2 {
		t.Errorf("bob got %d, carol %d, told %v", s.has(at("bob"), denom)-bob, s.has(at("carol"), denom)-carol, paid)
	}
	if !s.sold.Equal(sdk.NewCoins(sdk.NewInt64Coin(junk, 100))) {
		t.Errorf("for sale: %s", s.sold)
	}
	r, err := s.ask.Providers(s.ctx, &rewardv1.QueryProvidersRequest{Day: 1, Pagination: &query.PageRequest{Limit: 5000}})
	if err != nil || len(r.Providers) != 4 {
		t.Fatalf("providers: %+v, %v", r, err)
	}
	for _, p := range r.Providers {
		if p.Owner == text("bob") && (len(p.Assets) != 1 || !p.Assets[0].Sum.Levied.Equal(math.NewInt(100*hpips)) || !p.Earner.Bonus.Equal(math.NewInt(1_999_800))) {
			t.Errorf("bob's day: %+v", p)
		}
	}
}

func TestDutyAboveTheBudgetIsCutAlike(t *testing.T) {
	s := founded(t, Development())
	s.must(s.keeper.Duty(s.ctx, nodeOf("bob"), 1<<40, 0))
	s.must(s.keeper.Duty(s.ctx, nodeOf("carol"), 3<<40, 1))
	s.block(daySeconds)
	d, bob, carol := s.day(0).Day, s.has(at("bob"), denom), s.has(at("carol"), denom)
	most := d.Budget.MulRaw(4).QuoRaw(10).Int64()
	if bob+carol > most || bob+carol < most-2 || carol-3*bob > 3 || carol-3*bob < -3 {
		t.Errorf("bob %d, carol %d of %d", bob, carol, most)
	}
}

// TestTheCloseGoesOnWhereItStopped pays one provider a block, through a restart, with a vote that raises prices in the middle and a new day that begins meanwhile.
func TestTheCloseGoesOnWhereItStopped(t *testing.T) {
	p := Development()
	p.Batch = 1
	s := founded(t, p)
	for _, name := range []string{"alice", "bob", "carol", "dave"} {
		s.must(s.keeper.Duty(s.ctx, nodeOf(name), 1, 0))
	}
	s.block(daySeconds)
	p.SeatPrice = 1_000_000
	if _, err := s.msgs.UpdateParams(s.ctx, &rewardv1.MsgUpdateParams{Authority: authority, Params: p}); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if s.day(0).Day.Done {
			t.Error("done too early")
		}
		state, banked := s.export(), s.bank.ExportGenesis(s.ctx)
		next := bare(t)
		next.ctx = next.ctx.WithBlockTime(s.ctx.BlockTime()).WithBlockHeight(s.ctx.BlockHeight())
		next.owners = s.owners
		next.bank.InitGenesis(next.ctx, banked)
		next.fill(state)
		if back := next.export(); string(back) != string(state) {
			t.Fatalf("out:\n%s\nback:\n%s", state, back)
		}
		s = next
		s.block(daySeconds / 2)
	}
	if d := s.day(0).Day; !d.Done || !d.Duty.Equal(math.NewInt(4*5000)) || d.SeatPrice != 5000 {
		t.Errorf("day 0: %+v", d)
	}
	for _, name := range []string{"bob", "carol", "dave"} {
		if n := s.has(at(name), denom); n != 5000 {
			t.Errorf("%s got %d", name, n)
		}
	}
	s.block(1)
	s.block(1)
	if last, err := s.ask.Day(s.ctx, &rewardv1.QueryDayRequest{LastClosed: true}); err != nil || last.Day.Day != s.Day(s.ctx)-1 {
		t.Errorf("last closed: %+v, %v", last, err)
	}
}

func TestABreachStopsWhatIsPaidOut(t *testing.T) {
	s := founded(t, Development())
	s.must(s.split(pay("bob", denom, 100*hpips)))
	s.must(s.keeper.Duty(s.ctx, nodeOf("carol"), 1, 0))
	s.breach = "supply"
	s.block(daySeconds)
	s.block(daySeconds)
	err1 := s.split(pay("bob", denom, 100))
	_, err2 := s.msgs.Claim(s.ctx, &rewardv1.MsgClaim{Holder: text("alice")})
	if !errors.Is(err1, ErrRests) || !errors.Is(err2, ErrRests) || s.pot(escrow, denom) != 0 || s.has(at("carol"), denom) != 0 {
		t.Errorf("split: %v, claim: %v", err1, err2)
	}
	if _, err := s.ask.Day(s.ctx, &rewardv1.QueryDayRequest{LastClosed: true}); !errors.Is(err, ErrDay) {
		t.Errorf("closed all the same: %v", err)
	}
	s.breach = ""
	s.block(1)
	if s.has(at("carol"), denom) != 5000 || !s.day(0).Day.Done || !s.day(1).Day.Done {
		t.Errorf("after the upgrade carol has %d; %+v", s.has(at("carol"), denom), s.day(1))
	}
	if _, err := s.msgs.Claim(s.ctx, &rewardv1.MsgClaim{Holder: text("alice")}); err != nil {
		t.Error(err)
	}
}

func TestWhatASaleBoughtFlowsTheNextDay(t *testing.T) {
	s := founded(t, Development())
	s.must(s.bank.SendCoinsFromAccountToModule(s.ctx, at("alice"), LevyAccount, coins(denom, math.NewInt(7*hpips))))
	s.must(s.keeper.Converted(s.ctx, math.NewInt(7*hpips)))
	s.block(daySeconds / 2)
	if n := s.owes("alice"); !n.IsZero() || s.day(0).Day.Converted.Int64() != 7*hpips || s.pot(StreamAccount, denom) != 7*hpips {
		t.Errorf("owed %s, %+v", n, s.day(0))
	}
	s.block(daySeconds / 2)
	if d := s.day(0).Day; d.Streamed.Int64() != 7*hpips || !d.Levied.IsZero() {
		t.Errorf("day 0: %+v", d)
	}
	for _, n := range []math.Int{{}, math.ZeroInt(), math.NewInt(-1)} {
		if err := s.keeper.Converted(s.ctx, n); !errors.Is(err, ErrAmount) {
			t.Errorf("converted %s: %v", n, err)
		}
	}
}

func TestATicketNeedsLevyOrDuty(t *testing.T) {
	p := Public()
	p.TicketDays, p.TicketLevy = 3, 400
	s := founded(t, p)
	earned := func(who string) bool {
		ok, err := s.keeper.Earned(s.ctx, nodeOf(who))
		s.must(err)
		return ok
	}
	s.must(s.split(pay("bob", denom, 3990)))
	s.must(s.split(pay("carol", denom, 3991)))
	s.must(s.keeper.Duty(s.ctx, nodeOf("dave"), 1, 0)) // 5000, of which a tenth is 500
	if earned("alice") || earned("bob") || !earned("carol") || earned("dave") {
		t.Errorf("alice %v, bob with one less %v, carol %v, dave before he is paid %v", earned("alice"), earned("bob"), earned("carol"), earned("dave"))
	}
	s.block(daySeconds)
	s.block(daySeconds)
	if !earned("carol") || !earned("dave") {
		t.Errorf("carol %v, dave %v on the third day", earned("carol"), earned("dave"))
	}
	s.block(daySeconds)
	if earned("carol") || earned("dave") {
		t.Error("on the fourth day it still counts")
	}
}

func TestOldDaysOfProvidersAreForgotten(t *testing.T) {
	p := Development()
	p.Batch = 2
	s := founded(t, p)
	for _, name := range []string{"alice", "bob", "carol"} {
		s.must(s.split(pay(name, denom, 100)))
	}
	s.block(daySeconds)
	s.must(s.split(pay("bob", denom, 100)))
	for range kept - 1 {
		s.block(daySeconds)
	}
	list := func(day uint64) int {
		r, err := s.ask.Providers(s.ctx, &rewardv1.QueryProvidersRequest{Day: day})
		s.must(err)
		return len(r.Providers)
	}
	if list(0) != 3 {
		t.Errorf("after %d days there are %d", kept, list(0))
	}
	s.block(daySeconds)
	s.block(1)
	s.block(1)
	if list(0) != 0 || list(1) != 1 {
		t.Errorf("%d and %d are left", list(0), list(1))
	}
	if d := s.day(0); !d.Assets[0].Sum.Gross.Equal(math.NewInt(300)) {
		t.Errorf("the day itself: %+v", d)
	}
}

func TestOnlyAVoteSetsParameters(t *testing.T) {
	s := founded(t, Public())
	for name, row := range map[string]struct {
		authority string
		change    func(*rewardv1.Params)
		want      error
	}{
		"carol's word":           {text("carol"), func(*rewardv1.Params) {}, ErrAuthority},
		"division by zero":       {authority, func(p *rewardv1.Params) { p.LeastCirculating = 0 }, ErrParams},
		"another":                {authority, func(p *rewardv1.Params) { p.WholeCirculating = 0 }, ErrParams},
		"no batch":               {authority, func(p *rewardv1.Params) { p.Batch = 0 }, ErrParams},
		"too large a batch":      {authority, func(p *rewardv1.Params) { p.Batch = 2001 }, ErrParams},
		"a price of everything":  {authority, func(p *rewardv1.Params) { p.SeatPrice = 1 << 63 }, ErrParams},
		"tickets by days of old": {authority, func(p *rewardv1.Params) { p.TicketDays = kept + 1 }, ErrParams},
		"a vote":                 {authority, func(p *rewardv1.Params) { p.ReceiptPrice = 200 }, nil},
	} {
		p := Public()
		row.change(&p)
		_, err := s.msgs.UpdateParams(s.ctx, &rewardv1.MsgUpdateParams{Authority: row.authority, Params: p})
		if !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Genesis(p); (err == nil) != (row.want == nil || row.want == ErrAuthority) {
			t.Errorf("%s, in a genesis: %v", name, err)
		}
	}
	if r, err := s.ask.Params(s.ctx, nil); err != nil || r.Params.ReceiptPrice != 200 {
		t.Errorf("parameters %+v, %v", r, err)
	}
	if err := CheckParams(Development()); err != nil {
		t.Error(err)
	}
}

// What the bond holds was paid, too: the mean of pay counts all of it. A bond that refuses makes the pay wait.
func TestPaidCountsWhatIsHeld(t *testing.T) {
	s := founded(t, Development())
	s.holds = 100 * hpips
	s.must(s.split(pay("bob", denom, 100*hpips)))
	s.must(s.split(pay("bob", junk, 1000)))
	s.must(s.split(pay("carol", denom, 7*hpips)))
	s.block(3 * daySeconds)
	s.must(s.split(pay("bob", denom, 10*hpips)))
	for _, row := range []struct {
		node, asset string
		days        uint64
		want        int64
	}{{"bob", denom, 1, 9 * hpips}, {"bob", denom, 3, 9 * hpips}, {"bob", denom, 4, 99 * hpips}, {"bob", denom, 10, 99 * hpips}, {"bob", junk, 10, 900}, {"dave", denom, 10, 0}} {
		if got, err := s.keeper.Paid(s.ctx, nodeOf(row.node), row.asset, row.days); err != nil || got.Int64() != row.want {
			t.Errorf("%s was paid %s%s in %d days, want %d, %v", row.node, got, row.asset, row.days, row.want, err)
		}
	}
	s.full = errors.New("the bond is another's")
	had := s.has(at("bob"), denom)
	if err := s.split(pay("bob", denom, 100)); !errors.Is(err, s.full) || s.has(at("bob"), denom) != had || s.pot(escrow, denom) != 0 {
		t.Errorf("against the bond's word: %v", err)
	}
}

func TestUnsoundTotalsAreNamed(t *testing.T) {
	for name, spoil := range map[string]func(*town) error{
		"a total": func(s *town) error {
			sum, err := s.keeper.Total(s.ctx, denom)
			sum.Paid = sum.Paid.AddRaw(1)
			return errors.Join(err, s.keeper.totals.Set(s.ctx, denom, sum))
		},
		"more held than paid": func(s *town) error {
			sum, err := s.keeper.Total(s.ctx, denom)
			sum.Held = sum.Paid.AddRaw(1)
			return errors.Join(err, s.keeper.totals.Set(s.ctx, denom, sum))
		},
		"the levy account": func(s *town) error {
			return s.bank.SendCoinsFromModuleToModule(s.ctx, LevyAccount, escrow, coins(denom, math.OneInt()))
		},
		"the stream": func(s *town) error {
			return s.bank.SendCoinsFromModuleToModule(s.ctx, StreamAccount, escrow, coins(denom, math.OneInt()))
		},
		"what is owed": func(s *town) error {
			r, err := s.keeper.Stream(s.ctx)
			r.Claimed = r.Claimed.AddRaw(100 * hpips)
			return errors.Join(err, s.keeper.stream.Set(s.ctx, r))
		},
	} {
		s := founded(t, Development())
		s.must(s.split(pay("bob", denom, 100*hpips)))
		s.block(daySeconds)
		s.block(daySeconds / 2)
		s.must(s.split(pay("bob", denom, 100*hpips)))
		if what, err := s.keeper.Unsound(s.ctx); what != "" || err != nil {
			t.Fatalf("before %s: %s, %v", name, what, err)
		}
		s.must(spoil(s))
		if what, err := s.keeper.Unsound(s.ctx); what == "" || err != nil {
			t.Errorf("%s: not found, %v", name, err)
		}
	}
}

func TestAnIdleBlockWritesNothing(t *testing.T) {
	var _ appmodule.HasGenesis = Module{}
	s := founded(t, Public())
	s.block(daySeconds)
	before := string(s.export())
	events := s.events("hpips_day", func() { s.block(daySeconds / 2) })
	if after := string(s.export()); after != before || len(events) != 0 {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}
