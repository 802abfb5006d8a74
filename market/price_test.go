package market

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

// payBy says that a person pays, on the chain and in the asset that everybody takes.
func payBy(p person) *lease.Pay {
	return &lease.Pay{Chain: "hpips-1", Payer: "hpips1" + p.id.ShortString(), Key: append([]byte{3}, make([]byte, 32)...), Denom: "uhpips", Deposit: 1000}
}

// priced is the configuration of one who sells core hours at this price.
func priced(cpu uint64) BidderConfig {
	cfg := DefaultBidder()
	cfg.Chain, cfg.Rates = "hpips-1", voucher.Rates{CPU: cpu}
	return cfg
}

func TestAlicePaysBobsPrice(t *testing.T) {
	w, alice, bob := newWire(), named(t, "alice"), named(t, "bob")
	_, shop := w.sells(t, bob, priced(3_600_000))
	broker, order := w.buys(alice), orderOf(alice, 4)
	for ceiling, want := range map[Ceiling]string{
		0: "price: it works for pay only, and nothing may be paid", 3_599_999: "price: asks 3.600000 HPIPS for an hour of a task, the ceiling is 3.599999", 3_600_000: "", Any: "",
	} {
		a := broker.Ask(t.Context(), order, ceiling, []peer.ID{bob.id})[0]
		if got := fmt.Sprint(a.Err); want != "" && got != want || want == "" && a.Err != nil {
			t.Errorf("ceiling %d: %v", ceiling, a.Err)
		}
	}
	a := broker.Ask(t.Context(), order, Any, []peer.ID{bob.id})[0]
	if _, err := broker.Open(t.Context(), bob.id, order, a.Quote, nil, time.Hour); err == nil {
		t.Error("bob works for nothing")
	}
	l, err := broker.Open(t.Context(), bob.id, order, a.Quote, payBy(alice), time.Hour)
	if err != nil || l.Terms.Pay.Deposit != 1000 || len(shop.held) != 1 {
		t.Fatalf("%+v, %v", l, err)
	}
	longer, err := broker.Extend(t.Context(), l, time.Now().Add(2*time.Hour))
	if err != nil || longer.ID() != l.ID() || longer.Terms.Pay.Deposit != 1000 {
		t.Fatalf("the longer lease: %+v, %v", longer, err)
	}
}

func TestAnOwnerPaysNothingToItself(t *testing.T) {
	w, bob, laptop, alice := newWire(), named(t, "bob"), named(t, "bob's laptop"), named(t, "alice")
	cfg := priced(5)
	cfg.Ours = func(p peer.ID) bool { return p == laptop.id }
	w.sells(t, bob, cfg)
	for p, want := range map[person]bool{bob: true, laptop: true, alice: false} {
		a := w.buys(p).Ask(t.Context(), orderOf(p, 4), Any, []peer.ID{bob.id})[0]
		if a.Err != nil || a.Quote.Rates.Free() != want {
			t.Errorf("%s: %+v", p.id, a)
		}
	}
}

func TestAPriceNeedsAChain(t *testing.T) {
	cfg := priced(5)
	cfg.Chain = ""
	if _, err := NewBidder(quiet(), named(t, "bob").key, time.Now, newShop(), cfg); err == nil {
		t.Fatal("bob sells what nobody could pay for")
	}
}

// TestNoPartOfAPriceIsHidden has carol ask nothing for what a ceiling would look at first.
func TestNoPartOfAPriceIsHidden(t *testing.T) {
	order := orderOf(named(t, "alice"), 1)
	for name, r := range map[string]voucher.Rates{
		"memory": {Memory: 2_000_002}, "disk": {Disk: 1_000_001}, "sent": {Sent: 1_000_001}, "all of it": {CPU: 999_999, Disk: 2},
		"beyond all numbers": {CPU: ^uint64(0), Memory: ^uint64(0), Disk: ^uint64(0)},
	} {
		if _, over := Ceiling(1_000_000).exceeded(r, order.Resources); !over {
			t.Errorf("%s: within the ceiling", name)
		}
		if _, over := Ceiling(Any).exceeded(r, order.Resources); over {
			t.Errorf("%s: too dear for one who takes any price", name)
		}
	}
	if _, over := Ceiling(0).exceeded(voucher.Rates{GPU: 7}, order.Resources); !over {
		t.Error("a price for what was not ordered is not free")
	}
}

// The cheapest is the one whose price for all that was ordered is the lowest, not whose first number is.
func TestChooseByWhatWasOrdered(t *testing.T) {
	big, small := job.Resources{CPU: 1, Memory: 64 << 30}, job.Resources{CPU: 1, Memory: 1 << 20}
	for name, row := range map[string]struct {
		of   job.Resources
		want peer.ID
	}{"much memory": {big, "bob"}, "little memory": {small, "carol"}} {
		bob := Answer{Peer: "bob", Resources: row.of, Quote: lease.Quote{Slots: 1, Rates: voucher.Rates{CPU: 200}}}
		carol := Answer{Peer: "carol", Resources: row.of, Quote: lease.Quote{Slots: 1, Rates: voucher.Rates{CPU: 100, Memory: 50}}}
		if got := Choose([]Answer{bob, carol}, 1)[0].Peer; got != row.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestPricesFollowTheWork runs bob's day: four hours full, two half busy, and a night without work.
func TestPricesFollowTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, alice, bob := newWire(), named(t, "alice"), named(t, "bob")
		cfg := priced(1_000_000)
		cfg.Pricing.Auto = true
		_, shop := w.sells(t, bob, cfg)
		broker := w.buys(alice)
		price := func() uint64 {
			return broker.Ask(t.Context(), orderOf(alice, 1), Any, []peer.ID{bob.id})[0].Quote.Rates.CPU
		}
		live := func(d time.Duration, busy int) {
			for range d / time.Minute {
				time.Sleep(time.Minute) // virtual
				shop.mu.Lock()
				shop.free.Worked += time.Minute * time.Duration(busy)
				shop.mu.Unlock()
				price()
			}
		}
		if p := price(); p != 1_000_000 {
			t.Fatalf("at first %d", p)
		}
		live(4*time.Hour, 4)
		full := price()
		if full < 1_950_000 || full > 2_050_000 {
			t.Errorf("after four full hours %d, want about twice the floor", full)
		}
		live(2*time.Hour, 3)
		if p := price(); p != full {
			t.Errorf("three quarters busy: %d, was %d", p, full)
		}
		live(100*time.Hour, 4)
		if p := price(); p != 8_000_000 {
			t.Errorf("after days of full work %d, want eight times the floor", p)
		}
		time.Sleep(1000 * time.Hour) // nobody asks
		if p := price(); p != 1_000_000 {
			t.Errorf("after a long rest %d, want the floor", p)
		}
	})
}

// No history of work brings the price below the floor or above its highest, and a busier provider is never cheaper than an idler one.
func TestPricesStayBetweenTheirBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := DefaultPricing()
		factor := uint64(one)
		for _, busy := range rapid.SliceOfN(rapid.IntRange(0, 100), 0, 300).Draw(t, "busy") {
			idler, busier := r.next(factor, time.Duration(busy)*time.Second, 100*time.Second), r.next(factor, time.Duration(busy+1)*time.Second, 100*time.Second)
			if busier < idler {
				t.Fatalf("%d %% busy: %d, one more: %d", busy, idler, busier)
			}
			if factor = idler; factor < one || factor > r.Most*one {
				t.Fatalf("factor %d", factor)
			}
		}
		floor := voucher.Rates{CPU: rapid.Uint64().Draw(t, "cpu"), Sent: rapid.Uint64().Draw(t, "sent")}
		if p := at(floor, factor); p.CPU < floor.CPU || p.Sent < floor.Sent || p.Disk != 0 {
			t.Fatalf("%+v at %d is %+v", floor, factor, p)
		}
	})
}

func TestWhatAJobMayCost(t *testing.T) {
	of := job.Resources{CPU: 1, Memory: 1 << 30, Disk: 1 << 30}
	offers := []Answer{
		{Quote: lease.Quote{Rates: voucher.Rates{CPU: 3600}}},
		{Quote: lease.Quote{Rates: voucher.Rates{CPU: 7200}}},
		{Quote: lease.Quote{Rates: voucher.Rates{CPU: 36000, Sent: 10}}},
		{Err: &Refusal{Reason: "no"}, Quote: lease.Quote{Rates: voucher.Rates{CPU: Any}}},
	}
	load := Load{Tasks: 10, Copies: 2, Resources: of, Limits: job.Limits{Time: job.Duration(time.Hour), Output: 1 << 30}}
	if e := EstimateOf(load, offers, Any); e.Most != 20*(36000+20) || e.Likely != 20*120 {
		t.Errorf("nothing is known of the tasks: %+v", e)
	}
	load.Each = 10 * time.Second
	if e := EstimateOf(load, offers, 300); e.Most != 300 || e.Likely != 300 {
		t.Errorf("under a ceiling of 300: %+v", e)
	}
	if e := EstimateOf(load, offers, Any); e.Likely != 20*20 {
		t.Errorf("tasks of ten seconds: %+v", e)
	}
	load.Jury = true
	if e := EstimateOf(load, offers, Any); e.Likely != 20*20 || e.Juries != 2*e.Likely || e.Most < e.Likely+e.Juries {
		t.Errorf("with juries: %+v", e)
	}
	if e := EstimateOf(load, offers, 500); e.Most != 500 || e.Likely != 400 || e.Juries != 100 {
		t.Errorf("with juries and a ceiling of 500: %+v", e)
	}
	load.Jury = false
	if e := EstimateOf(load, nil, Any); e != (job.Estimate{Tasks: 10}) {
		t.Errorf("nobody offers: %+v", e)
	}
	load.Tasks, load.Limits.Time = 1<<62, job.Duration(1<<62)
	if e := EstimateOf(load, offers, Any); e.Most != Any {
		t.Errorf("beyond all numbers: %+v", e)
	}
}

func TestOffersSayWhatIsSold(t *testing.T) {
	w, alice := newWire(), named(t, "alice")
	var all []peer.ID
	for name, cpu := range map[string]uint64{"bob": 70, "carol": 0, "dave": 5} {
		p := named(t, name)
		_, shop := w.sells(t, p, priced(cpu))
		if name == "dave" {
			shop.free.Refusal = "paused by its owner"
		}
		all = append(all, p.id)
	}
	all = append(all, named(t, "nobody").id)
	offers := w.buys(alice).Offers(t.Context(), orderOf(alice, 2), all)
	var said []string
	for _, o := range offers {
		said = append(said, strings.TrimSpace(fmt.Sprint(o.Hour, " ", o.Slots, " ", o.Refusal)))
	}
	if want := []string{"0 2", "70 2", "0 0 owner: paused by its owner"}; !slices.Equal(said, want) {
		t.Fatalf("%q, want %q", said, want)
	}
}
