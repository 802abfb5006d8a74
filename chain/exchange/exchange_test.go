package exchange

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"cosmossdk.io/core/appmodule"
	"cosmossdk.io/math"

	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"
	"github.com/cosmos/cosmos-sdk/types/query"

	"github.com/hpips/hpips/proto/gen/exchangev1"
	"github.com/hpips/hpips/spec/auction"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/sortition"
)

func (s *town) want(what string, got math.Int, n int64) {
	s.t.Helper()
	if !got.Equal(math.NewInt(n)) {
		s.t.Errorf("%s is %s, want %d", what, got, n)
	}
}

const much = 1_000_000 * hpips // what the rich have

func TestAliceBuysWhatBobSells(t *testing.T) {
	s := open(t)
	s.rich("alice", "bob")
	s.place("alice", buy, half+half/10, 10*hpips) // up to 0.55 credits each
	s.place("bob", sell, half, 4*hpips)
	s.want("alice's credits, less what she may have to pay", s.has("alice", credit), much-5_500_000)
	s.want("bob's balance", s.has("bob", money.Denom), much-4*hpips)
	s.want("what stays bob's", s.reserved[at("bob").String()], 4*hpips)
	s.settle()
	// At either limit bob's four are traded and six are left over: the lower one is the price.
	s.want("alice's HPIPS", s.has("alice", money.Denom), much+4*hpips)
	s.want("alice's credits, less what the rest may cost", s.has("alice", credit), much-2_000_000-3_300_000)
	s.want("bob's credits", s.has("bob", credit), much+2_000_000)
	s.want("what stays bob's", s.reserved[at("bob").String()], 0)
	left := s.all()
	if len(left) != 1 || !left[0].Left.Equal(math.NewInt(6*hpips)) || !left[0].Held.Equal(math.NewInt(3_300_000)) {
		t.Errorf("left are %+v", left)
	}
	a, err := s.keeper.asset(s.ctx, credit)
	if err != nil || a.LastPrice != half || a.Batches != 1 {
		t.Errorf("%+v, %v", a, err)
	}
	s.sound()
}

func TestWhoPaysLessThanTheLimitGetsTheRestBack(t *testing.T) {
	s := open(t)
	s.rich("alice", "bob", "carol")
	s.place("alice", buy, 2*half, 2*hpips)
	s.place("bob", sell, half, 2*hpips)
	s.place("carol", sell, half, 2*hpips)
	s.settle()
	// Two of four find a buyer at either limit: the lower one is the price, and bob and carol share.
	s.want("alice's credits", s.has("alice", credit), much-hpips)
	s.want("bob's credits", s.has("bob", credit), much+hpips/2)
	s.want("carol's credits", s.has("carol", credit), much+hpips/2)
	s.sound()
}

func TestNobodyKnowsTheLastWord(t *testing.T) {
	s := open(t)
	s.rich("alice", "bob", "carol")
	s.place("alice", buy, half, 2*hpips)
	s.place("bob", sell, half, hpips)
	s.step(1)
	if len(s.all()) != 2 {
		t.Error("an order took part in a batch whose seed its owner may have known")
	}
	s.place("carol", sell, half/2, hpips) // after the block that the next one's seed ends
	s.step(1)
	s.want("bob's credits", s.has("bob", credit), much+hpips/2)
	s.want("carol's credits", s.has("carol", credit), much)
	s.step(1)
	s.want("carol's credits, at the lower limit", s.has("carol", credit), much+hpips/4)
	s.sound()
}

func TestTheSeedSaysWhenABatchEnds(t *testing.T) {
	s := open(t)
	p := DefaultParams()
	s.must(s.keeper.params.Set(s.ctx, p))
	s.rich("alice", "bob")
	ended := 0
	for range 200 {
		s.place("alice", buy, half, hpips)
		s.place("bob", sell, half, hpips)
		before := len(s.all())
		s.step(1)
		traded := len(s.all()) < before
		if lot := auction.Ends(s.seed, credit, p.BatchBlocks); traded && !lot || lot && !traded && before > 2 {
			t.Fatalf("the lot says %v, traded %v", lot, traded)
		}
		if traded {
			ended++
		} else if len(s.all()) > 150 { // 100 orders of each at most
			for _, o := range s.all()[:50] {
				s.must(s.keeper.Cancel(s.ctx, o.Owner, o.Id))
			}
		}
	}
	if ended < 5 || ended > 45 {
		t.Errorf("%d batches in 200 blocks", ended)
	}
	s.sound()
}

func TestCancelledFundsReturnAtOnce(t *testing.T) {
	s := open(t)
	s.rich("alice", "bob")
	a, b := s.place("alice", buy, half, 3*hpips), s.place("bob", sell, half*2, 3*hpips)
	s.broken = "the sum is wrong" // cancelling works whatever happens
	if err := errors.Join(s.cancel("alice", a), s.cancel("bob", b)); err != nil {
		t.Fatal(err)
	}
	s.want("alice's credits", s.has("alice", credit), much)
	s.want("bob's HPIPS", s.has("bob", money.Denom), much)
	s.want("bob's reserved", s.reserved[at("bob").String()], 0)
	if err := s.cancel("alice", a); !errors.Is(err, ErrUnknown) {
		t.Errorf("twice: %v", err)
	}
	s.sound()
}

func TestABrokenSupplyStopsBatchesNotBlocks(t *testing.T) {
	s := open(t)
	s.rich("alice", "bob")
	s.place("alice", buy, half, hpips)
	s.place("bob", sell, half, hpips)
	s.broken = "the sum is wrong"
	s.levied(credit, math.NewInt(240*hpips))
	for range 5 {
		s.step(3600)
	}
	if len(s.all()) != 2 || s.sale(credit).Offered.IsPositive() {
		t.Error("it went on")
	}
	if _, err := s.order("alice", credit, buy, half, math.NewInt(hpips)); !errors.Is(err, ErrBroken) {
		t.Errorf("an order: %v", err)
	}
	s.broken = ""
	s.step(1)
	// alice and the sale, which stands at the same limit, share what bob sells.
	s.want("bought", s.has("alice", money.Denom).AddRaw(-much).Add(s.converted), hpips)
	if s.converted.IsZero() {
		t.Error("the sale did not go on")
	}
	s.sound()
}

func TestTradingWithOneselfIsWorthNothing(t *testing.T) {
	s := open(t)
	s.rich("alice")
	s.place("alice", buy, 777_700_000_000, 1_234_567)
	s.place("alice", sell, 777_700_000_000, 1_234_567)
	s.settle()
	s.want("alice's HPIPS", s.has("alice", money.Denom), much)
	s.want("alice's credits, less the odd one", s.has("alice", credit), much-1)
	s.want("the fund's", s.pot(fund, credit), 1)
	s.sound()
}

func TestABatchGoesOnUntilAllItsOrdersHadTheirTurn(t *testing.T) {
	s := open(t)
	p := DefaultParams()
	p.BatchBlocks, p.FillsPerBatch = 1, 3
	s.must(s.keeper.params.Set(s.ctx, p))
	s.rich("alice", "bob", "carol")
	for range 7 {
		s.place("bob", sell, half, hpips)
	}
	s.place("alice", buy, half, 7*hpips)
	s.settle()
	s.want("alice's HPIPS", s.has("alice", money.Denom), much+3*hpips)
	s.place("carol", sell, half/2, hpips) // better than bob's, but younger
	s.restart()
	for _, n := range []int64{6, 7} {
		s.step(1)
		s.want("alice's HPIPS", s.has("alice", money.Denom), much+n*hpips)
		s.sound()
	}
	s.want("carol's credits", s.has("carol", credit), much)
}

// A batch's price comes from the whole book: orders of 1 HPIPS that crowd the others out of a batch do not move it.
func TestCrowdingTheBookDoesNotMoveThePrice(t *testing.T) {
	s := open(t)
	p := DefaultParams()
	p.BatchBlocks, p.FillsPerBatch, p.OrdersPerAccount = 1, 5, 1000
	s.must(s.keeper.params.Set(s.ctx, p))
	s.rich("alice", "bob", "carol")
	for range 20 {
		s.place("carol", sell, half-half/1000, hpips)
	}
	s.place("bob", sell, half, 1000*hpips)
	s.place("alice", buy, half+half/100, 500*hpips)
	s.settle()
	a, err := s.keeper.asset(s.ctx, credit)
	if err != nil || a.LastPrice != half {
		t.Errorf("the price is %d, %v", a.LastPrice, err)
	}
	s.sound()
}

func TestBadOrdersAreRefused(t *testing.T) {
	s := open(t)
	s.rich("alice")
	s.issue(at("dave"), money.Denom, math.NewInt(hpips/2))
	one, most := math.NewInt(hpips), math.NewIntFromUint64(auction.Most)
	for name, row := range map[string]struct {
		who    string
		denom  string
		side   exchangev1.Side
		price  uint64
		amount math.Int
		want   error
	}{
		"nothing":              {"alice", credit, buy, half, math.ZeroInt(), ErrAmount},
		"less":                 {"alice", credit, sell, half, math.NewInt(-hpips), ErrAmount},
		"no amount":            {"alice", credit, sell, half, math.Int{}, ErrAmount},
		"more than there is":   {"alice", credit, buy, half, most.AddRaw(1), ErrAmount},
		"overflow":             {"alice", credit, buy, half, math.NewIntWithDecimal(1, 70), ErrAmount},
		"too small":            {"alice", credit, buy, half, math.NewInt(hpips - 1), ErrLeast},
		"unknown asset":        {"alice", "ugold", buy, half, one, ErrDenom},
		"HPIPS for HPIPS":      {"alice", money.Denom, buy, half, one, ErrDenom},
		"no asset":             {"alice", "", buy, half, one, ErrDenom},
		"neither side":         {"alice", credit, exchangev1.SIDE_UNKNOWN, half, one, ErrSide},
		"no such side":         {"alice", credit, 7, half, one, ErrSide},
		"no limit":             {"alice", credit, buy, 0, one, ErrPrice},
		"five digits":          {"alice", credit, buy, 10_001, one, ErrPrice},
		"poor buyer":           {"dave", credit, buy, half, one, sdkerrors.ErrInsufficientFunds},
		"poor seller":          {"dave", credit, sell, half, one, sdkerrors.ErrInsufficientFunds},
		"a limit out of sight": {"alice", credit, buy, auction.Round(^uint64(0)), most, sdkerrors.ErrInsufficientFunds},
	} {
		if _, err := s.order(row.who, row.denom, row.side, row.price, row.amount); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, owner := range map[string]string{"nobody": "", "no address": "alice", "another chain": "cosmos1qypqxpq9qcrsszg2pvxq6rs0zqg3yyc5lzv7xu", "a module": authority()} {
		_, err := s.msgs.Place(s.ctx, &exchangev1.MsgPlace{Owner: owner, Denom: credit, Side: buy, Price: half, Amount: one})
		if !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A refused transaction is undone as a whole; in this town the fake supply is not, so it is looked at in others.
	if len(s.all()) != 0 {
		t.Error("something was taken")
	}
}

func TestOnlyTheOwnerCancelsAndNobodyHasTooMany(t *testing.T) {
	s := open(t)
	s.rich("alice", "bob")
	var id uint64
	for range DefaultParams().OrdersPerAccount {
		id = s.place("alice", buy, half, hpips)
	}
	if _, err := s.order("alice", ore, sell, half, math.NewInt(hpips)); !errors.Is(err, ErrMany) {
		t.Errorf("the 101st: %v", err)
	}
	if err := s.cancel("bob", id); !errors.Is(err, ErrOwner) {
		t.Errorf("bob cancels alice's: %v", err)
	}
	if err := s.cancel("alice", id+1); !errors.Is(err, ErrUnknown) {
		t.Errorf("no order: %v", err)
	}
	if _, err := s.msgs.Cancel(s.ctx, &exchangev1.MsgCancel{Owner: "alice", Id: id}); !errors.Is(err, ErrAddress) {
		t.Errorf("no address: %v", err)
	}
	s.must(s.cancel("alice", id))
	s.place("alice", sell, 2*half, hpips)
	s.place("bob", buy, half, hpips)
	s.sound()
}

func TestAssetsAndParametersFollowAVote(t *testing.T) {
	s := open(t)
	good := exchangev1.MsgAdmit{Authority: authority(), Denom: "ugold", Name: "GOLD", Decimals: 6, FirstPrice: half}
	for name, row := range map[string]struct {
		change func(*exchangev1.MsgAdmit)
		want   error
	}{
		"carol's word": {func(m *exchangev1.MsgAdmit) { m.Authority = text(at("carol")) }, ErrAuthority},
		"HPIPS":        {func(m *exchangev1.MsgAdmit) { m.Denom = money.Denom }, ErrAsset},
		"no denom":     {func(m *exchangev1.MsgAdmit) { m.Denom = "" }, ErrAsset},
		"strange":      {func(m *exchangev1.MsgAdmit) { m.Denom = "u g" }, ErrAsset},
		"no name":      {func(m *exchangev1.MsgAdmit) { m.Name = "" }, ErrAsset},
		"long name":    {func(m *exchangev1.MsgAdmit) { m.Name = strings.Repeat("G", 17) }, ErrAsset},
		"taken name":   {func(m *exchangev1.MsgAdmit) { m.Name = money.Symbol }, ErrAsset},
		"blank name":   {func(m *exchangev1.MsgAdmit) { m.Name = "G LD" }, ErrAsset},
		"decimals":     {func(m *exchangev1.MsgAdmit) { m.Decimals = 19 }, ErrAsset},
		"no price":     {func(m *exchangev1.MsgAdmit) { m.FirstPrice = 0 }, ErrAsset},
		"twice":        {func(m *exchangev1.MsgAdmit) { m.Denom = credit }, ErrAsset},
		"good":         {func(*exchangev1.MsgAdmit) {}, nil},
	} {
		m := good
		row.change(&m)
		if err := s.try(func(ctx sdk.Context) error { _, err := s.msgs.Admit(ctx, &m); return err }); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for denom, want := range map[string]bool{money.Denom: true, credit: true, "ugold": true, "usilver": false} {
		if is, err := s.keeper.Admitted(s.ctx, denom); err != nil || is != want {
			t.Errorf("%s: %v, %v", denom, is, err)
		}
	}
	p := DevelopmentParams()
	if _, err := s.msgs.UpdateParams(s.ctx, &exchangev1.MsgUpdateParams{Authority: text(at("carol")), Params: p}); !errors.Is(err, ErrAuthority) {
		t.Errorf("carol's parameters: %v", err)
	}
	if _, err := s.msgs.UpdateParams(s.ctx, &exchangev1.MsgUpdateParams{Authority: authority()}); !errors.Is(err, ErrParams) {
		t.Errorf("empty parameters: %v", err)
	}
	if _, err := s.msgs.UpdateParams(s.ctx, &exchangev1.MsgUpdateParams{Authority: authority(), Params: p}); err != nil {
		t.Fatal(err)
	}
	if r, err := (queries{s.keeper}).Params(s.ctx, nil); err != nil || r.Params != p {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestGenesisRefusesWhatAVoteCould(t *testing.T) {
	gold := Listing{exchangev1.Asset{Denom: "ugold", Name: "GOLD"}, 1}
	for name, row := range map[string]struct {
		params exchangev1.Params
		assets []Listing
		want   error
	}{
		"parameters": {exchangev1.Params{}, nil, ErrParams},
		"an asset":   {DefaultParams(), []Listing{{gold.Asset, 0}}, ErrAsset},
		"twice":      {DefaultParams(), []Listing{gold, Credit(), gold}, ErrAsset},
		"two":        {DefaultParams(), []Listing{gold, Credit()}, nil},
		"none":       {DevelopmentParams(), nil, nil},
	} {
		if _, err := Genesis(row.params, row.assets); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	a, err1 := Genesis(DefaultParams(), []Listing{gold, Credit()})
	b, err2 := Genesis(DefaultParams(), []Listing{Credit(), gold})
	if err1 != nil || err2 != nil || string(a) != string(b) {
		t.Errorf("the order matters: %s, %s, %v, %v", a, b, err1, err2)
	}
	var _ appmodule.HasGenesis = Module{}
}

func TestQueriesShowTheBook(t *testing.T) {
	s := open(t)
	s.rich("alice", "bob")
	for i := range 5 {
		s.place("alice", buy, half-uint64(i)*1_000_000_000, hpips)
		s.place("bob", sell, 2*half+uint64(i)*1_000_000_000, 2*hpips)
	}
	q := queries{s.keeper}
	book, err := q.Book(s.ctx, &exchangev1.QueryBookRequest{Denom: credit, Limit: 2})
	s.must(err)
	if len(book.Buys) != 2 || book.Buys[0].Price != half || book.Buys[1].Price != half-1_000_000_000 || len(book.Sells) != 2 || book.Sells[0].Price != 2*half {
		t.Errorf("%+v", book)
	}
	mine, err := q.Orders(s.ctx, &exchangev1.QueryOrdersRequest{Owner: text(at("bob")), Pagination: &query.PageRequest{Limit: 3}})
	s.must(err)
	if len(mine.Orders) != 3 || !mine.Held.Equal(sdk.NewCoins(sdk.NewCoin(money.Denom, math.NewInt(10*hpips)))) {
		t.Errorf("%+v", mine)
	}
	for i := range kept + 3 {
		s.place("alice", buy, half, hpips)
		s.place("bob", sell, half, hpips)
		s.settle()
		if i == 0 {
			s.sound()
		}
	}
	past, err := q.Batches(s.ctx, &exchangev1.QueryBatchesRequest{Denom: credit, Limit: 1000})
	s.must(err)
	down := slices.IsSortedFunc(past.Batches, func(a, b exchangev1.Batch) int { return int(b.Height - a.Height) })
	if len(past.Batches) != kept || !down || past.Batches[0].Price != half || past.Batches[0].Height != s.ctx.BlockHeight() {
		t.Errorf("%d batches, newest first %v, the last %+v", len(past.Batches), down, past.Batches[0])
	}
	all, err := q.Assets(s.ctx, nil)
	s.must(err)
	if len(all.Assets) != 2 || len(all.Sales) != 2 || all.Assets[0].Batches != kept+3 {
		t.Errorf("%+v", all)
	}
	for _, err := range []error{
		func() error { _, err := q.Book(s.ctx, &exchangev1.QueryBookRequest{Denom: "ugold"}); return err }(),
		func() error { _, err := q.Batches(s.ctx, &exchangev1.QueryBatchesRequest{}); return err }(),
	} {
		if !errors.Is(err, ErrDenom) {
			t.Errorf("an unknown asset: %v", err)
		}
	}
	if _, err := q.Orders(s.ctx, &exchangev1.QueryOrdersRequest{Owner: "bob"}); !errors.Is(err, ErrAddress) {
		t.Errorf("no address: %v", err)
	}
}

// Somebody who cannot be paid stops one asset's batches, and neither the chain nor a cancellation.
func TestABatchThatCannotBePaidLeavesAllAsItWas(t *testing.T) {
	s := open(t)
	s.rich("alice", "bob")
	s.place("alice", buy, half, hpips)
	b := s.place("bob", sell, half, hpips)
	before := s.export()
	s.bank.AppendSendRestriction(func(_ context.Context, _, to sdk.AccAddress, _ sdk.Coins) (sdk.AccAddress, error) {
		if to.Equals(at("bob")) {
			return to, sdkerrors.ErrUnauthorized.Wrap("bob")
		}
		return to, nil
	})
	s.ctx = s.ctx.WithBlockHeight(s.ctx.BlockHeight() + 2).WithEventManager(sdk.NewEventManager())
	s.must(s.keeper.Advance(s.ctx, sortition.Seed{}))
	if events := s.ctx.EventManager().Events(); len(events) != 1 || events[0].Type != "hpips_batch_failed" {
		t.Errorf("events: %v", events)
	}
	if s.export() != before {
		t.Error("something changed")
	}
	s.bank.ClearSendRestriction()
	s.reserved[at("bob").String()] = math.NewInt(hpips) // what the fake supply, unlike a store, does not undo
	s.must(s.cancel("bob", b))
	s.want("bob's HPIPS", s.has("bob", money.Denom), much)
	s.sound()
}
