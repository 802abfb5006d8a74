package provider

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// rack is what bob's PC has: two devices of one kind and a small one.
func rack() []Device {
	return []Device{
		{Device: engine.Device{ID: "GPU-a", Vendor: "NVIDIA"}, Name: "0", Model: "RTX 4090", Memory: 24 << 30},
		{Device: engine.Device{ID: "GPU-b", Vendor: "NVIDIA"}, Name: "1", Model: "RTX 4090", Memory: 24 << 30},
		{Device: engine.Device{ID: "0000:03:00.0", Vendor: "AMD"}, Name: "2", Model: "RX 6600", Memory: 8 << 30},
	}
}

func racked(devices []Device) Allowance {
	return Allowance{Cores: math.Inf(1), Devices: devices}
}

func four(c *Config) { c.Slots = 4 }

// allows says what may be used.
func (b *bob) allows(a Allowance) {
	b.t.Helper()
	if err := b.Allow(a); err != nil {
		b.t.Fatal(err)
	}
}

// orders makes terms with devices, each for as many slots as there are names for.
func orders(each int, devices ...Device) func(*lease.Terms) {
	return func(t *lease.Terms) {
		t.Order.Resources.GPU = job.GPU{Count: each}
		for _, d := range devices {
			t.Quote.GPUs = append(t.Quote.GPUs, d.offered())
		}
	}
}

// rents makes a lease with devices and begins it.
func (c *client) rents(slots, each int, devices ...Device) {
	c.t.Helper()
	c.lease = c.signs(slots, orders(each, devices...))
	c.id = c.lease.ID()
	if err := c.bob.Hold(c.lease); err != nil {
		c.t.Fatal(err)
	}
	w := c.work("devices")
	w.Resources.GPU = job.GPU{Count: each}
	c.resumes(w)
}

// free names the devices that a buyer is offered, and why not the others.
func (b *bob) free(p person) string {
	var words []string
	for _, d := range b.Free(p.id).GPUs {
		word := d.ID
		if d.Why != "" {
			word += " " + d.Why
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

// said is what results say, each device once.
func said(results map[uint64]job.Result) []string {
	seen := []string{}
	for _, r := range results {
		seen = append(seen, strings.Fields(string(r.Stdout.Inline))...)
	}
	slices.Sort(seen)
	return slices.Compact(seen)
}

// Alice rents both large devices, one for each of two slots. Her tasks have one each, never the same at once; carol gets what is left, and alice's once she has ended.
func TestADeviceIsOfOneLease(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		all := rack()
		b.allows(racked(all))
		alice, carol := b.visits("alice"), b.visits("carol")
		if got := b.free(alice.me); got != "0, 1, 2" {
			t.Errorf("free: %s", got)
		}
		alice.rents(2, 1, all[0], all[1])
		if got := b.free(carol.me); got != "0 leased, 1 leased, 2" {
			t.Errorf("free for carol: %s", got)
		}
		if got := b.Leased(); !slices.Equal(got, []string{"GPU-a", "GPU-b"}) {
			t.Errorf("leased: %q", got)
		}
		if err := b.Hold(carol.signs(1, orders(1, all[0]))); err == nil || err.Error() != "gpu: RTX 4090 is not free any more" {
			t.Errorf("carol is given alice's device: %v", err)
		}
		if err := b.Hold(carol.signs(1, orders(2, all[2], all[1]))); err == nil {
			t.Error("carol is given two devices of which one is alice's")
		}
		carol.rents(1, 1, all[2])
		alice.assigns(upTo(6)...)
		carol.assigns(0)
		if got := said(alice.collects(6)); !slices.Equal(got, []string{"GPU-a", "GPU-b"}) {
			t.Errorf("alice's tasks had %q", got)
		}
		if got := said(carol.collects(1)); !slices.Equal(got, []string{"0000:03:00.0"}) {
			t.Errorf("carol's task had %q", got)
		}
		alice.assigns(6)
		time.Sleep(100 * time.Millisecond)
		alice.says(lease.Message{End: &lease.End{}})
		synctest.Wait()
		if got := b.free(carol.me); got != "0, 1, 2 leased" {
			t.Errorf("free after alice: %s", got)
		}
		if err := b.Hold(carol.signs(2, orders(1, all[0], all[1]))); err != nil {
			t.Errorf("carol does not get what alice had: %v", err)
		}
	}, four)
}

func TestALeaseThatIsNeverBegunGivesItsDeviceBack(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		all := rack()
		b.allows(racked(all))
		alice := b.visits("alice")
		if err := b.Hold(alice.signs(1, orders(1, all[0]))); err != nil {
			t.Fatal(err)
		}
		if got := b.free(alice.me); got != "0 leased, 1, 2" {
			t.Errorf("free: %s", got)
		}
		time.Sleep(b.config.Grace + 2*time.Second)
		if got := b.free(alice.me); got != "0, 1, 2" {
			t.Errorf("free after the grace: %s", got)
		}
	})
}

// Whoever was quoted a device that somebody else has taken gets another that is just like it, unless its owner has not opened that one as far.
func TestADeviceJustLikeIt(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		all := rack()
		all[0].Agreed = true
		b.allows(racked(all))
		alice, carol := b.visits("alice"), b.visits("carol")
		if err := b.Hold(alice.signs(1, orders(1, all[0]))); err != nil {
			t.Fatal(err)
		}
		if err := b.Hold(carol.signs(1, orders(1, all[0]))); err == nil {
			t.Error("a stranger who was quoted an open device gets one that is not")
		}
		all = rack()
		all[0].Agreed, all[1].Agreed = true, true
		b.allows(racked(all))
		if err := b.Hold(carol.signs(1, orders(1, all[0]))); err != nil {
			t.Error(err)
		}
		if got := b.free(carol.me); got != "0 leased, 1 leased, 2" {
			t.Errorf("free: %s", got)
		}
	})
}

// A device that its owner wants back stands still at once, with what runs on it; other work goes on, and the lease is handed back after a while.
func TestTheOwnerWantsADeviceBack(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		all := rack()
		b.allows(racked(all))
		alice, carol := b.visits("alice"), b.visits("carol")
		alice.rents(1, 1, all[0])
		carol.begins(carol.work("second"), 1)
		alice.assigns(0)
		time.Sleep(500 * time.Millisecond)
		kept := rack()
		kept[0].Kept = "somebody is at this PC"
		b.allows(racked(kept))
		if b.engine.still() != 1 {
			t.Fatal("what runs on it does not stand still when Allow returns")
		}
		if got := b.free(carol.me); got != "0 somebody is at this PC, 1, 2" {
			t.Errorf("free for carol: %s", got)
		}
		if got := b.free(b.me); got != "0 leased, 1, 2" {
			t.Errorf("free for bob himself: %s", got)
		}
		carol.assigns(0)
		carol.collects(1)
		b.allows(racked(rack()))
		if got := said(alice.collects(1)); !slices.Equal(got, []string{"GPU-a"}) {
			t.Errorf("alice's task had %q", got)
		}
		alice.assigns(1)
		time.Sleep(100 * time.Millisecond)
		began := time.Now()
		for range 3 {
			b.allows(racked(kept))
			time.Sleep(time.Second)
		}
		no := alice.refusal()
		if took := time.Since(began); took < 5*time.Minute || took > 5*time.Minute+2*time.Second || no.Reason != "suspended for too long: its graphics device: somebody is at this PC" {
			t.Errorf("after %v: %+v", took, no)
		}
		synctest.Wait()
		if len(b.Leased()) != 0 || b.engine.still() != 0 {
			t.Errorf("handed back, and %q are leased", b.Leased())
		}
	}, four)
}

func TestLeasesWithTheWrongDevices(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		all := rack()
		all[2].Broken = "no driver"
		b.allows(racked(all))
		alice := b.visits("alice")
		wasm := func(terms *lease.Terms) { terms.Order.Engine = job.EngineWASM }
		for name, edits := range map[string][]func(*lease.Terms){
			"devices that were not ordered": {orders(0, all[0])}, "one for two slots": {orders(1, all[0]), func(t *lease.Terms) { t.Order.Slots, t.Quote.Slots = 2, 2 }},
			"one that cannot be given":  {orders(1, all[2])},
			"one that is not here":      {orders(1, Device{Name: "0", Model: "H100"})},
			"less than none":            {orders(-1, all[0])},
			"devices for a WASI module": {orders(1, all[0]), wasm},
		} {
			if err := b.Hold(alice.signs(1, edits...)); err == nil {
				t.Errorf("%s: held", name)
			}
		}
		if got := fmt.Sprint(b.Leased(), b.Status().Leases); got != "[] 0" {
			t.Errorf("leased, and leases: %s", got)
		}
	})
}

// Another node of the machine has one of two devices: bob gives the other, and lets it go again.
func TestTwoNodesOfAMachineShareNoDevice(t *testing.T) {
	taken := map[string]bool{"GPU-a": true}
	story(t, func(t *testing.T, b *bob) {
		b.Provider.alone = func(id string) (func(), bool) {
			if taken[id] {
				return nil, false
			}
			taken[id] = true
			return func() { delete(taken, id) }, true
		}
		all := rack()
		b.allows(racked(all))
		alice := b.visits("alice")
		alice.rents(1, 1, all[0])
		alice.assigns(0)
		if got := said(alice.collects(1)); !slices.Equal(got, []string{"GPU-b"}) {
			t.Errorf("alice's task had %q", got)
		}
		if err := b.Hold(alice.signs(1, orders(1, all[0]))); err == nil {
			t.Error("a device of another node's is leased")
		}
		alice.says(lease.Message{End: &lease.End{}})
		synctest.Wait()
		if taken["GPU-b"] {
			t.Error("the device of a lease that has ended stays with this node")
		}
	})
}

// Whoever has devices and no task for them loses them to others after two minutes; who has tasks, however long, does not.
func TestDevicesAreNotKeptForNothing(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		all := rack()
		b.allows(racked(all))
		alice, carol := b.visits("alice"), b.visits("carol")
		alice.rents(1, 1, all[0])
		carol.lease = carol.signs(1, orders(1, all[2]))
		carol.id = carol.lease.ID()
		w := carol.work("forever")
		w.Resources.GPU.Count = 1
		carol.resumes(w)
		carol.assigns(0)
		alice.assigns(0)
		alice.collects(1)
		began := time.Now()
		no := alice.refusal()
		if took := time.Since(began); took < unusedFor || took > unusedFor+3*time.Second || no.Reason != "gpu: no task has used its devices for 2m0s" {
			t.Errorf("after %v: %+v", took, no)
		}
		synctest.Wait()
		if got := b.free(alice.me); got != "0, 1, 2 leased" {
			t.Errorf("free: %s", got)
		}
		time.Sleep(time.Hour - 5*time.Minute) // its term is an hour
		if got := b.free(alice.me); got != "0, 1, 2 leased" {
			t.Errorf("carol's device, after an hour of work: %s", got)
		}
	}, four)
}
