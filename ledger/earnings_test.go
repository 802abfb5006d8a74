package ledger

import (
	"crypto/ed25519"
	"errors"
	"reflect"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"

	"github.com/hpips/hpips/proto/gen/auditv1"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/voucher"
)

// Of each redemption bob sees what was promised, the fee, what is his and what is levied; and what each resource cost, where the rates are those by which the
// voucher was reckoned.
func TestWhatARedemptionCameTo(t *testing.T) {
	f, l := newFair(t, "bob")
	f.balances[fairAddress("alice")] = 3_000_000
	f.next(f.opens("one", "alice", "bob", money.Denom))
	f.next(f.redeems("alice", "bob", 100_015, "one"))
	f.next(f.redeems("alice", "bob", 7000, "one"))
	all, err := l.redemptions(t.Context(), fairNode("bob").Public().(ed25519.PublicKey), time.Time{})
	if err != nil || len(all) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	for i, want := range [][4]string{{"7000", "200", "6120", "680"}, {"100015", "200", "89833", "9982"}} {
		if r := all[i]; r.Amount != want[0] || r.Fee != want[1] || r.Paid != want[2] || r.Levied != want[3] || r.Lost != "0" || r.Costs != nil {
			t.Errorf("%+v, want %v", r, want)
		}
	}

	rates := voucher.Rates{CPU: 3_600_000, Memory: 3_600}
	hour := voucher.Usage{CPU: 3_600_000_000_000, Memory: 3600 << 30}
	twice := hour.Add(hour)
	e := Earnings{Redemptions: []Redemption{{Usage: hour, whole: voucher.Voucher{Amount: 7_207_200, Usage: twice}}, {Usage: hour, whole: voucher.Voucher{Amount: 7_207_201, Usage: twice}}}}
	e.Explain(voucher.Rates{}, voucher.Rates{CPU: 1}, rates)
	if c := e.Redemptions[0].Costs; c == nil || *c != (Costs{Rates: rates, CPU: 3_600_000, Memory: 3_600}) {
		t.Errorf("%+v", c)
	}
	if c := e.Redemptions[1].Costs; c != nil {
		t.Errorf("a voucher by other rates: %+v", c)
	}
}

// Dave is convicted before his pay is final: that of day 1 goes back. Of his bond something is taken by what falls due, and something by a transaction; what bob loses is not his.
func TestWhatANodeLost(t *testing.T) {
	f, l := judged(t)
	taken := func(n uint64) abci.Event {
		return fairEvent("hpips_slashed", "node", nodeHex("dave"), "owner", fairAddress("dave"), "amount", coin(n, money.Denom), "fund", coin(n, money.Denom), "bond", "0uhpips")
	}
	f.next(func() { f.tellAll(taken(350), fairEvent("hpips_slashed", "node", nodeHex("bob"), "amount", "9uhpips")) })
	f.next(func() { f.send(&auditv1.MsgAttest{Sender: fairAddress("bob")}, taken(50)) })
	last := f.height()
	dave := fairNode("dave").Public().(ed25519.PublicKey)
	days := calendar{genesis: fairBegan, length: fairDay * time.Second, last: 2}
	collect := func() (e Earnings) {
		t.Helper()
		var err1, err2 error
		e.Days = []EarnedDay{{Day: 1}}
		e.Redemptions, err1 = l.redemptions(t.Context(), dave, time.Time{})
		e.Losses, err2 = l.losses(t.Context(), dave, time.Time{})
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		e.lose(days)
		return e
	}
	e := collect()
	type loss struct {
		height int64
		what   string
		amount string
	}
	var got []loss
	for _, one := range e.Losses {
		if got = append(got, loss{one.Height, one.What, one.Amount}); one.Denom != money.Denom || one.Time != f.time(one.Height).UTC() {
			t.Errorf("%+v", one)
		}
	}
	if want := []loss{{last, Slashed, "50"}, {last - 1, Slashed, "350"}, {14, Refunded, "6800"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("lost %+v, want %+v", got, want)
	}
	if r := e.Redemptions; len(r) != 1 || r[0].Amount != "7000" || r[0].Fee != "200" || r[0].Lost != "6800" || r[0].Paid != "0" || r[0].Levied != "0" {
		t.Errorf("%+v", e.Redemptions)
	}
	one, two := []Coin{{money.Denom, "6800"}}, []Coin{{money.Denom, "400"}}
	if d := e.Days; len(d) != 2 || d[0].Day != 2 || !d[0].Open || !reflect.DeepEqual(d[0].Lost, two) || d[1].Open || !reflect.DeepEqual(d[1].Lost, one) {
		t.Errorf("%+v", e.Days)
	}
	if late, err := l.losses(t.Context(), dave, f.time(last)); err != nil || len(late) != 1 {
		t.Errorf("%+v, %v", late, err)
	}
	if days.first = 2; len(collect().Days[1].Lost) > 0 {
		t.Errorf("day 1 is none of those that were asked for: %+v", collect().Days)
	}
	f.oldest = last
	if e := collect(); len(e.Losses) != 1 || len(e.Redemptions) > 0 {
		t.Errorf("of what the chain's node keeps no more: %+v, %+v", e.Losses, e.Redemptions)
	}
}
