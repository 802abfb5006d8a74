package market

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// rig is a node with three devices: a small one, and two large ones of one kind.
func rig() Free {
	f := newShop().free
	f.Engines = []string{job.EngineNative}
	f.GPUs = []Device{
		{Device: lease.Device{ID: "0", Vendor: "NVIDIA", Model: "NVIDIA GeForce RTX 4090", Memory: 24 << 30}, Agreed: true},
		{Device: lease.Device{ID: "1", Vendor: "NVIDIA", Model: "NVIDIA GeForce RTX 3060", Memory: 12 << 30}, Agreed: true},
		{Device: lease.Device{ID: "2", Vendor: "NVIDIA", Model: "NVIDIA GeForce RTX 4090", Memory: 24 << 30}, Agreed: true},
	}
	return f
}

func TestOffersOfDevices(t *testing.T) {
	for _, row := range []struct {
		name     string
		wish     job.GPU
		slots    int
		stranger bool
		free     func(*Free)
		picked   string
		refusal  string
	}{
		{name: "the smallest that is enough", wish: job.GPU{Count: 1}, slots: 1, picked: "1"},
		{name: "one for each slot", wish: job.GPU{Count: 1}, slots: 4, picked: "1 0 2"},
		{name: "two for a slot, and none left over", wish: job.GPU{Count: 2}, slots: 4, picked: "1 0"},
		{name: "a model", wish: job.GPU{Count: 1, Model: "rtx 4090"}, slots: 4, picked: "0 2"},
		{name: "memory", wish: job.GPU{Count: 1, Memory: 16 << 30}, slots: 1, picked: "0"},
		{name: "too much memory", wish: job.GPU{Count: 1, Memory: 48 << 30}, slots: 1, refusal: "gpu memory: wants 48GiB, has 24GiB"},
		{name: "another model", wish: job.GPU{Count: 1, Model: "a100"}, slots: 1, refusal: "gpu model: wants a100, has NVIDIA GeForce RTX 4090"},
		{name: "another vendor", wish: job.GPU{Count: 1, Vendor: "amd"}, slots: 1, refusal: "gpu vendor: wants amd, has nvidia"},
		{name: "the nearest refusal is told", wish: job.GPU{Count: 1, Model: "rtx 3060", Memory: 24 << 30}, slots: 1, refusal: "gpu memory: wants 24GiB, has 12GiB"},
		{name: "too many", wish: job.GPU{Count: 4}, slots: 1, refusal: "gpu: wants 4, has 3"},
		{name: "one that is leased", wish: job.GPU{Count: 3}, slots: 1, free: func(f *Free) { f.GPUs[0].Why = "leased" }, refusal: "gpu: wants 3, has 2 free; another: leased"},
		{name: "all that would do are leased", wish: job.GPU{Count: 1, Model: "3060"}, slots: 1, free: func(f *Free) { f.GPUs[1].Why = "leased" }, refusal: "gpu: leased"},
		{name: "a stranger, where the owner has agreed to one", wish: job.GPU{Count: 1}, slots: 4, stranger: true, free: func(f *Free) { f.GPUs[1].Agreed, f.GPUs[2].Agreed = false, false }, picked: "0"},
		{name: "a stranger, where the owner has not agreed", wish: job.GPU{Count: 1, Model: "3060"}, slots: 4, stranger: true, free: func(f *Free) { f.GPUs[1].Agreed = false }, refusal: "gpu: " + disagreed},
		{name: "somebody of the pool there", wish: job.GPU{Count: 1, Model: "3060"}, slots: 4, free: func(f *Free) { f.GPUs[1].Agreed = false }, picked: "1"},
	} {
		f := rig()
		if row.free != nil {
			row.free(&f)
		}
		order := lease.Order{Engine: job.EngineNative, Slots: row.slots, Resources: job.Resources{CPU: 1, GPU: row.wish}}
		slots, gpus, refusal := offer(order, f, row.stranger)
		var ids []string
		for _, d := range gpus {
			ids = append(ids, d.ID)
		}
		if strings.Join(ids, " ") != row.picked || refusal != row.refusal || slots != len(ids)/row.wish.Count {
			t.Errorf("%s: %d slots with devices %q, %q", row.name, slots, ids, refusal)
		}
	}
}

// Alice buys a device of bob's, and his lease names it; the quote of one who promises another is not taken.
func TestAQuoteNamesItsDevices(t *testing.T) {
	w, alice, bob := newWire(), named(t, "alice"), named(t, "bob")
	_, shop := w.sells(t, bob, DefaultBidder())
	shop.free = rig()
	order := orderOf(alice, 4)
	order.Engine, order.Resources.GPU = job.EngineNative, job.GPU{Count: 1, Model: "4090"}
	broker := w.buys(alice)
	a := broker.Ask(t.Context(), order, 0, []peer.ID{bob.id})[0]
	if a.Err != nil || a.Quote.Slots != 2 || len(a.Quote.GPUs) != 2 || a.Quote.GPUs[1] != shop.free.GPUs[2].Device {
		t.Fatalf("%+v, %v", a.Quote, a.Err)
	}
	l, err := broker.Open(t.Context(), bob.id, order, a.Quote, nil, time.Hour)
	if err != nil || len(l.Terms.Quote.GPUs) != 2 {
		t.Fatalf("%+v, %v", l, err)
	}
	if offers := broker.Offers(t.Context(), order, []peer.ID{bob.id}); len(offers) != 1 || len(offers[0].GPUs) != 2 {
		t.Errorf("offers %+v", offers)
	}

	carol := named(t, "carol")
	honest := lease.Quote{Provider: carol.id.String(), Slots: 1, Until: time.Now().Add(time.Minute).UnixMilli(), GPUs: []lease.Device{{ID: "0", Vendor: "NVIDIA", Model: "RTX 4090", Memory: 24 << 30}}}
	for name, lie := range map[string]func(*lease.Quote){
		"": func(*lease.Quote) {}, "no device": func(q *lease.Quote) { q.GPUs = nil }, "one for two slots": func(q *lease.Quote) { q.Slots = 2 },
		"one for two slots, twice": func(q *lease.Quote) { q.Slots, q.GPUs = 2, append(q.GPUs, q.GPUs[0]) }, "another model": func(q *lease.Quote) { q.GPUs[0].Model = "RTX 3060" },
		"an endless name": func(q *lease.Quote) { q.GPUs[0].Model = "4090 " + strings.Repeat("x", maxName) }, "memory beyond belief": func(q *lease.Quote) { q.GPUs[0].Memory = 1 << 60 },
		"an endless region": func(q *lease.Quote) { q.Region = strings.Repeat("x", maxName+1) },
	} {
		q := honest
		q.GPUs = slices.Clone(honest.GPUs)
		lie(&q)
		reply := canon.MustEncode(q)
		end{w, carol.id}.Handle(QuoteProtocol, lease.MaxOrder, func(context.Context, peer.ID, []byte) ([]byte, error) { return reply, nil })
		if err := broker.Ask(t.Context(), order, 0, []peer.ID{carol.id})[0].Err; (err == nil) != (name == "") {
			t.Errorf("%q: %v", name, err)
		}
	}
	for name, wish := range map[string]job.GPU{"fewer than none": {Count: -1}, "a model of none": {Model: "x"}, "an endless model": {Count: 1, Model: strings.Repeat("x", maxName+1)}} {
		bad := order
		bad.Resources.GPU = wish
		if err := checkOrder(bad, alice.id); err == nil {
			t.Errorf("an order of %s is taken", name)
		}
	}
}

// What alice prefers goes before the price of a right result.
func TestPreferences(t *testing.T) {
	offer := func(name string, price uint64, score float64, load, slots int, memory job.Size) Answer {
		a := Answer{Peer: peer.ID(name), Job: "job-1", Score: score, Resources: job.Resources{CPU: 1}, Quote: lease.Quote{Load: load, Slots: slots, GPUs: []lease.Device{{Memory: 80 << 30}, {Memory: memory}}}}
		a.Quote.Rates.CPU = price
		return a
	}
	answers := []Answer{offer("cheap", 1, 0.5, 9, 1, 8<<30), offer("good", 9, 0.99, 5, 2, 12<<30), offer("idle", 9, 0.9, 0, 4, 16<<30), offer("huge", 9, 0.8, 7, 64, 24<<30)}
	for i, speed := range []uint64{0, 2e9, 3e9, 1e9} { // nobody has measured the first
		answers[i].Quote.Speed = speed
	}
	for prefer, want := range map[string]string{"": "cheap", "speed": "idle", "price": "cheap", "reputation": "good", "load": "idle", "slots": "huge", "gpu.memory": "huge"} {
		var words []string
		if prefer != "" {
			words = []string{prefer}
		}
		if got := Choose(answers, 1, words...)[0].Peer; string(got) != want {
			t.Errorf("who prefers %q gets %s, want %s", prefer, got, want)
		}
	}
	if all := Choose(answers, 100, "speed"); string(all[3].Peer) != "cheap" {
		t.Errorf("one that nobody has measured comes before others: %v", all)
	}
	answers = append(answers, offer("twin", 5, 0.99, 9, 1, 1<<30))
	if got := string(Choose(answers, 3, "reputation", "price")[0].Peer); got != "twin" {
		t.Errorf("between equals by the first word the second decides: %s", got)
	}
}

// On a chain a stranger gets only the device to which bob has agreed; his own laptop, and anybody where nothing is paid, gets the other, too.
func TestStrangersNeedTheOwnersWord(t *testing.T) {
	for name, row := range map[string]struct {
		chain bool
		buyer string
		want  int
	}{"a stranger": {true, "alice", 1}, "his laptop": {true, "laptop", 3}, "somebody of the pool": {false, "alice", 3}} {
		w, bob := newWire(), named(t, "bob")
		cfg := DefaultBidder()
		if row.chain {
			cfg = priced(0)
			cfg.Ours = func(p peer.ID) bool { return p == named(t, "laptop").id }
		}
		_, shop := w.sells(t, bob, cfg)
		shop.free = rig()
		shop.free.GPUs[1].Agreed, shop.free.GPUs[2].Agreed = false, false
		buyer := named(t, row.buyer)
		order := orderOf(buyer, 4)
		order.Engine, order.Resources.GPU.Count = job.EngineNative, 1
		a := w.buys(buyer).Ask(t.Context(), order, Any, []peer.ID{bob.id})[0]
		if a.Err != nil || len(a.Quote.GPUs) != row.want {
			t.Errorf("%s is offered %+v, %v; want %d", name, a.Quote.GPUs, a.Err, row.want)
		}
	}
}
