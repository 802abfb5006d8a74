package node

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/machine"
	"github.com/hpips/hpips/provider"
)

// The times between two looks at graphics devices: often while one is leased, so that heat stops it soon; seldom where there is none.
const (
	gazeOften  = 2 * time.Second
	gaze       = 10 * time.Second
	gazeSeldom = 5 * time.Minute
)

// gaze looks at graphics devices again and again until ctx ends. It has its own pace: a program of their maker is asked, which may take seconds.
func (s *sharing) gaze(ctx context.Context) {
	for {
		all := s.graphics(ctx, time.Now())
		select {
		case <-s.gpus: // nobody has looked at the last ones
		default:
		}
		s.gpus <- all
		wait := gaze
		switch {
		case len(all) == 0:
			wait = gazeSeldom
		case len(s.leased()) > 0:
			wait = gazeOften
		}
		next := time.NewTimer(wait)
		select {
		case <-next.C:
		case <-ctx.Done():
			next.Stop()
			return
		}
	}
}

// leased lists the graphics devices that leases of this house have.
func (s *sharing) leased() (ids []string) {
	for _, m := range s.members {
		if m.provider != nil {
			ids = append(ids, m.provider.Leased()...)
		}
	}
	return ids
}

// devicesOf turns what the machine has into what a provider gives, with what the owner says of each.
func devicesOf(all []machine.GPU, policy machine.Policy, d machine.Decision) []provider.Device {
	devices := make([]provider.Device, 0, len(all))
	for i, g := range all {
		_, agreed := policy.GPUs.Of(i, g)
		one := provider.Device{Device: engine.Device{ID: g.ID, Vendor: g.Vendor, CDI: g.Passage.CDI, Visible: g.Passage.Visible}, Name: strconv.Itoa(i), Model: g.Model, Agreed: agreed, Broken: g.Passage.Why}
		if g.Memory != nil {
			one.Memory = *g.Memory
		}
		if k := keptOf(d, g.ID); k != nil {
			one.Kept = k.Text
		}
		same := func(paths []string) (mounts []engine.Mount) {
			for _, p := range paths {
				mounts = append(mounts, engine.Mount{Guest: p, Host: p})
			}
			return mounts
		}
		one.Nodes, one.Files = same(g.Passage.Nodes), same(g.Passage.Files)
		for _, l := range g.Passage.Links {
			one.Links = append(one.Links, engine.Mount{Guest: l[0], Host: l[1]})
		}
		devices = append(devices, one)
	}
	return devices
}

// keptOf is why a device is kept from others; nil where it is not.
func keptOf(d machine.Decision, id string) *machine.Kept {
	if i := slices.IndexFunc(d.Kept, func(k machine.Kept) bool { return k.ID == id }); i >= 0 {
		return &d.Kept[i]
	}
	return nil
}

// among is the part of the devices that one of several members of a house has: none is of two.
func among(all []provider.Device, member, members int) (part []provider.Device) {
	for i, d := range all {
		if i%members == member {
			part = append(part, d)
		}
	}
	return part
}

// tellDevices says of each graphics device whether it is shared, and why not.
func tellDevices(r machine.Readings, policy machine.Policy, d machine.Decision, leased []string) []client.ShareDevice {
	told := []client.ShareDevice{}
	for i, g := range r.GPUs {
		rule, written := policy.GPUs.Of(i, g)
		one := client.ShareDevice{Place: i, ID: g.ID, Vendor: g.Vendor, Model: g.Model, Memory: g.Memory, Rule: string(rule), Strangers: written && rule != machine.GPUNever, State: "free",
			Busy: g.Busy, Temperature: g.Temperature, Watts: g.Watts}
		if slices.Contains(leased, g.ID) {
			one.State = "leased"
		}
		if k := keptOf(d, g.ID); k != nil {
			one.State, one.Why, one.Ends = "kept", k.Text, k.Ends
		}
		told = append(told, one)
	}
	return told
}

// examineGraphics says of each graphics device whether programs can be given it, and what is in the way.
func (h *House) examineGraphics() []client.Finding {
	h.sharing.mu.Lock()
	all := h.sharing.readings.GPUs
	h.sharing.mu.Unlock()
	var findings []client.Finding
	for i, g := range all {
		f := client.Finding{Name: fmt.Sprint("gpu ", i), State: fine, Text: g.Name() + " can be given to native programs and images"}
		if g.Passage.Why != "" {
			f.State, f.Text, f.Remedy = warn, g.Name()+" cannot be given to programs: "+g.Passage.Why, g.Passage.Remedy
		}
		findings = append(findings, f)
	}
	return findings
}
