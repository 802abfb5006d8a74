package ledger

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/money"
)

func published(t *testing.T, l *Ledger, day uint64) Day {
	t.Helper()
	d, err := l.Day(t.Context(), day)
	if err == nil {
		d, err = l.Publish(t.Context(), d)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Fourteen people pay bob, who has two nodes, and dave; one of them in shells, too. The ten largest pairs of each asset are published in their order, of
// equals the first by address, and what a day before and after was paid is no part of it.
func TestThePairsOfADay(t *testing.T) {
	f, l := newFair(t, "bob", "bob's other", "dave")
	f.owners[nodeHex("bob's other")] = fairAddress("bob")
	payer := func(i int) string { return fmt.Sprintf("payer %d", i) }
	var opens, before, in, after []func()
	want := []Pair{}
	for i := range 14 {
		f.balances[fairAddress(payer(i))] = 1_000_000_000
		opens = append(opens, f.opens(payer(i), payer(i), "bob", money.Denom))
		amount := uint64(10_000 + 1000*(i/2)) // two of each
		in = append(in, f.redeems(payer(i), "bob", amount+200, payer(i)))
		want = append(want, Pair{Denom: money.Denom, Payer: fairAddress(payer(i)), Payee: fairAddress("bob"), Nodes: 1, Amount: fmt.Sprint(amount)})
		before, after = append(before, f.redeems(payer(i), "bob", 900_200, payer(i))), append(after, f.redeems(payer(i), "bob", 800_200, payer(i)))
	}
	opens = append(opens, f.opens("more", payer(0), "bob's other", money.Denom), f.opens("dave's", payer(0), "dave", money.Denom), f.opens("shells", payer(3), "dave", "ushell"),
		f.opens("dave's of 3", payer(3), "dave", money.Denom))
	in = append(in, f.redeems(payer(0), "bob's other", 90_200, "more"), f.redeems(payer(0), "dave", 50_200, "dave's"), f.redeems(payer(3), "dave", 777, "dave's of 3", "shells"))
	want[0].Nodes, want[0].Amount = 2, "100000"
	want = append(want, Pair{Denom: money.Denom, Payer: fairAddress(payer(0)), Payee: fairAddress("dave"), Nodes: 1, Amount: "50000"},
		Pair{Denom: money.Denom, Payer: fairAddress(payer(3)), Payee: fairAddress("dave"), Nodes: 1, Amount: "377"})
	gross, of := int64(0), map[string]int64{}
	for _, p := range want {
		var n int64
		if _, err := fmt.Sscan(p.Amount, &n); err != nil {
			t.Fatal(err)
		}
		gross, of[p.Payer+p.Payee] = gross+n, n
	}
	slices.SortFunc(want, func(a, b Pair) int {
		if x, y := of[a.Payer+a.Payee], of[b.Payer+b.Payee]; x != y {
			return int(y - x)
		}
		return strings.Compare(a.Payer, b.Payer)
	})
	want = append(want[:10:10], Pair{Denom: "ushell", Payer: fairAddress(payer(3)), Payee: fairAddress("dave"), Nodes: 1, Amount: "777", Share: 1})
	for i := range want[:10] {
		want[i].Share = float64(of[want[i].Payer+want[i].Payee]*1_000_000/gross) / 1e6
	}

	f.next(opens...)
	f.next(before...) // final in day 0
	f.until(10)
	f.next(in...)
	f.until(17)
	f.next(after...) // final in the block that ends day 1: it belongs to day 2
	f.until(31)
	d := published(t, l, 1)
	for i := range d.Pairs {
		d.Pairs[i].amount = nil
	}
	if !reflect.DeepEqual(d.Pairs, want) || len(d.Notes) != 0 {
		t.Errorf("the pairs are\n%+v\nwant\n%+v\nand %q", d.Pairs, want, d.Notes)
	}
	for day, amount := range map[uint64]string{0: "900000", 2: "800000"} {
		if d := published(t, l, day); len(d.Pairs) != 10 || d.Pairs[9].Amount != amount || len(d.Notes) != 0 {
			t.Errorf("day %d: %+v, %q", day, d.Pairs, d.Notes)
		}
	}

	spoil(f, 13, "hpips_paid", 2, "amount", "1uhpips")
	if d := published(t, l, 1); len(d.Notes) != 1 || !strings.Contains(d.Notes[0], "settle-verify") {
		t.Errorf("blocks and figures differ: %q", d.Notes)
	}
	f.oldest = 10
	if d := published(t, l, 1); d.Pairs != nil || len(d.Notes) != 1 || !strings.Contains(d.Notes[0], "has no block 9") {
		t.Errorf("without the day's first blocks: %+v, %q", d.Pairs, d.Notes)
	}
	if d := published(t, l, 3); d.Pairs != nil || d.Holders == nil || d.Networks == nil || len(d.Notes) != 1 || !strings.Contains(d.Notes[0], "not over") {
		t.Errorf("the open day: %+v", d)
	}
}

// What the ten largest hold is what a plain count of everybody comes to, whoever has how much in which of both places; modules hold nothing.
func TestTheLargestHoldersOfADay(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for people := range 40 {
		f, l := newFair(t)
		f.modules = []string{fairAddress("fund"), fairAddress("escrow")}
		for _, pot := range f.modules {
			f.balances[pot] = 1 << 50
		}
		type row struct {
			who  string
			held int64
		}
		all, circulating := []row{}, int64(0)
		for i := range people {
			r := row{who: fairAddress(fmt.Sprint(i))}
			if way := random.IntN(3); way != 0 {
				f.balances[r.who] = random.Int64N(50) // many are equal
				r.held += f.balances[r.who]
			} else if way != 1 {
				f.reserved[r.who] = 1 + random.Int64N(50)
				r.held += f.reserved[r.who]
			}
			if i%3 == 0 {
				f.reserved[r.who] += 7
				r.held += 7
			}
			circulating += r.held
			if r.held > 0 {
				all = append(all, r)
			}
		}
		slices.SortFunc(all, func(a, b row) int {
			if a.held != b.held {
				return int(b.held - a.held)
			}
			return strings.Compare(a.who, b.who)
		})
		want, sum := &Holders{Height: 9, Accounts: len(all), Circulating: fmt.Sprint(circulating), Holders: []Holding{}}, int64(0)
		for _, r := range all[:min(10, len(all))] {
			sum += r.held
			want.Holders = append(want.Holders, Holding{Address: r.who, Amount: fmt.Sprint(r.held), Share: float64(r.held*1_000_000/circulating) / 1e6})
		}
		if want.Amount = fmt.Sprint(sum); sum > 0 {
			want.Share = float64(sum*1_000_000/circulating) / 1e6
		}
		f.until(12)
		d := published(t, l, 0)
		for i := range d.Holders.Holders {
			d.Holders.Holders[i].amount = nil
		}
		if !reflect.DeepEqual(d.Holders, want) || len(d.Notes) != 0 {
			t.Fatalf("%d people: %+v, want %+v; %q", people, d.Holders, want, d.Notes)
		}
		f.days[0].day.Circulating = f.days[0].day.Circulating.AddRaw(1)
		if d := published(t, l, 0); len(d.Notes) != 1 || !strings.Contains(d.Notes[0], "the day's figures say") {
			t.Errorf("a holding that nobody has: %q", d.Notes)
		}
	}
}

// The committee's seats by network come to all seats. Where the node has dropped the state of the day's end, the holders are not known, the committee is
// that of the oldest state there is, and both are said.
func TestTheCommitteeOfADayByNetwork(t *testing.T) {
	f, l := newFair(t)
	f.balances[fairAddress("alice")] = 5
	for i, network := range []string{"10.1.1.0/24", "10.9.9.0/24", "10.1.1.0/24", "unseen", "10.3.3.0/24", "10.3.3.0/24"} {
		f.seats = append(f.seats, committeev1.Seat{Node: fairNode(fmt.Sprint(i))[32:], Network: network})
	}
	f.until(25)
	want := &Networks{Height: 9, Seats: 6, Networks: []NetworkSeats{{"10.1.1.0/24", 2}, {"10.3.3.0/24", 2}, {"10.9.9.0/24", 1}, {"unseen", 1}}}
	if d := published(t, l, 0); !reflect.DeepEqual(d.Networks, want) || len(d.Notes) != 0 {
		t.Errorf("%+v, want %+v; %q", d.Networks, want, d.Notes)
	}
	f.kept = 15
	want.Height = 15
	d := published(t, l, 0)
	if !reflect.DeepEqual(d.Networks, want) || d.Holders != nil || len(d.Notes) != 2 || !strings.Contains(d.Notes[0], "largest holders: the node does not keep the state after block 9") ||
		!strings.Contains(d.Notes[1], "as of block 15") {
		t.Errorf("with states from 15 on: %+v, %+v, %q", d.Networks, d.Holders, d.Notes)
	}
}
