package provider

import (
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// Device is a graphics device of this machine. A lease has it to itself from its signature until nothing of it runs any more.
type Device struct {
	engine.Device
	Name   string // for buyers
	Model  string
	Memory int64  // bytes; 0: not known
	Agreed bool   // its owner has agreed that strangers use it
	Broken string // it cannot be given to programs: why
	Kept   string // its owner keeps it from others now: why
}

// offered is what buyers see of it.
func (d Device) offered() lease.Device {
	return lease.Device{ID: d.Name, Vendor: d.Vendor, Model: d.Model, Memory: job.Size(d.Memory)}
}

// shut says why it is given to nobody, or to no other than its owner; "" where it is.
func (d Device) shut(own bool) string {
	if d.Broken != "" || own {
		return d.Broken
	}
	return d.Kept
}

// equipment is a device that a lease has.
type equipment struct {
	Device
	release func() // to other nodes of this machine
	busy    bool   // a task has it
}

// leased is told of a device that another lease has.
const leased = "leased"

// devices tells the market what there is for a buyer. Needs p.mu.
func (p *Provider) devices(buyer peer.ID) (all []market.Device) {
	for _, d := range p.allowed.Devices {
		one := market.Device{Device: d.offered(), Agreed: d.Agreed, Why: d.shut(buyer == p.self)}
		if one.Why == "" && p.leased[d.ID] != nil {
			one.Why = leased
		}
		all = append(all, one)
	}
	return all
}

// equip gives a lease the devices that its quote names, or others that are just like them, and none to two leases. Needs p.mu.
func (p *Provider) equip(t *tenant) error {
	order, quote := t.lease.Terms.Order, t.lease.Terms.Quote
	if want := order.Resources.GPU.Count * quote.Slots; order.Resources.GPU.Count < 0 || len(quote.GPUs) != want {
		return fmt.Errorf("lease: it has %d devices for %d slots of %d", len(quote.GPUs), quote.Slots, order.Resources.GPU.Count)
	}
	if len(quote.GPUs) > 0 && !job.TakesGPU(order.Engine) {
		return fmt.Errorf("lease: programs of engine %q use no devices", order.Engine)
	}
	for _, named := range quote.GPUs {
		d, release, err := p.claim(named, p.own(t))
		if err != nil {
			p.unequip(t)
			return err
		}
		p.leased[d.ID] = t
		t.devices = append(t.devices, &equipment{Device: d, release: release})
	}
	return nil
}

// claim finds a free device: the one that is named, or one with the same words to it that its owner has opened as far. Needs p.mu.
func (p *Provider) claim(named lease.Device, own bool) (Device, func(), error) {
	all := p.allowed.Devices
	first := slices.IndexFunc(all, func(d Device) bool { return d.offered() == named })
	var like []Device
	for i, d := range all {
		alike := d.Vendor == named.Vendor && d.Model == named.Model && int64(named.Memory) == d.Memory && (d.Agreed || first >= 0 && !all[first].Agreed)
		switch {
		case d.shut(own) != "" || p.leased[d.ID] != nil:
		case i == first:
			like = append([]Device{d}, like...)
		case alike:
			like = append(like, d)
		}
	}
	for _, d := range like {
		if release, ok := p.alone(d.ID); ok {
			return d, release, nil
		}
	}
	return Device{}, nil, fmt.Errorf("gpu: %s is not free any more", named.Model)
}

// unequip gives back what a lease had: nothing of it runs any more. Needs p.mu.
func (p *Provider) unequip(t *tenant) {
	for _, e := range t.devices {
		delete(p.leased, e.ID)
		e.release()
	}
	t.devices = nil
}

// withheld says why something that a lease has may not be used now; "" where all may. Needs p.mu.
func (p *Provider) withheld(t *tenant) string {
	for _, e := range t.devices {
		i := slices.IndexFunc(p.allowed.Devices, func(d Device) bool { return d.ID == e.ID })
		if i < 0 {
			return "its graphics device does not show any more"
		}
		if why := p.allowed.Devices[i].shut(false); why != "" {
			return "its graphics device: " + why
		}
	}
	if t.large {
		return "memory: its tasks take more than is shared now"
	}
	return ""
}

// stillness notes since when each lease stands still for the sake of its devices or the memory. Needs p.mu.
func (p *Provider) stillness(now time.Time) {
	for _, t := range p.tenants {
		switch still := !p.own(t) && p.withheld(t) != ""; {
		case !still:
			t.stopped = time.Time{}
		case t.stopped.IsZero():
			t.stopped = now
		}
	}
}

// unusedFor is how long a lease may have devices without any task for them: nobody else can use them meanwhile, and nothing is paid for that.
const unusedFor = 2 * time.Minute

// wastes reports whether a lease that has begun has had devices and no task for too long. Needs Provider.mu.
func (t *tenant) wastes(now time.Time) bool {
	switch {
	case len(t.devices) == 0 || len(t.tasks) > 0:
		t.unused = time.Time{}
	case t.unused.IsZero():
		t.unused = now
	}
	return !t.unused.IsZero() && now.Sub(t.unused) > unusedFor
}

// largeFor is how long a lease is kept whose tasks take more memory than they may: standing still they take it all the same.
const largeFor = 10 * time.Second

// tooLong says why a lease has stood still for longer than its owner's patience is; "" where it has not. Needs p.mu.
func (p *Provider) tooLong(t *tenant, now time.Time) string {
	switch {
	case p.own(t):
	case p.allowed.Cores <= 0 && now.Sub(p.suspended) > p.allowed.patience():
		return p.allowed.refusal()
	case !t.stopped.IsZero() && (now.Sub(t.stopped) > p.allowed.patience() || t.large && now.Sub(t.stopped) > largeFor):
		return p.withheld(t)
	}
	return ""
}

// issue takes the devices of one task. A lease has as many as its slots need, so there are enough. Needs p.mu.
func (t *tenant) issue() (taken []*equipment) {
	n := t.lease.Terms.Order.Resources.GPU.Count
	for _, e := range t.devices {
		if len(taken) < n && !e.busy {
			e.busy = true
			taken = append(taken, e)
		}
	}
	return taken
}

// given is what a task is given.
func given(taken []*equipment) (all []engine.Device) {
	for _, e := range taken {
		all = append(all, e.Device.Device)
	}
	return all
}

// Leased lists the devices that leases have, by ID.
func (p *Provider) Leased() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := []string{}
	for id := range p.leased {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
