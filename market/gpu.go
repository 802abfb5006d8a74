package market

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// Device is a graphics device of a node.
type Device struct {
	lease.Device
	Agreed bool   // its owner has agreed that strangers use it
	Why    string // it is not free: why, such as "leased"; "" when it is
}

// disagreed is told of devices that their owner has not opened to strangers.
const disagreed = "its owner has not agreed that strangers use it"

// devices picks free devices for as many of the slots as there are devices for, the smallest that are enough, so that the large ones stay for who needs them; or it says why not even one
// task has what it wants.
func devices(o lease.Order, all []Device, slots int, stranger bool) (picked []lease.Device, refusal string) {
	wish := o.Resources.GPU
	var fit []Device
	var no string
	for _, d := range all {
		kind, text := wish.Lacks(d.Vendor, d.Model, d.Memory)
		if kind == "" && stranger && !d.Agreed {
			kind, text = "gpu", disagreed
		}
		if kind == "" && d.Why != "" {
			kind, text = "gpu", d.Why
		}
		if kind != "" {
			no = nearer(no, kind+": "+text)
			continue
		}
		fit = append(fit, d)
	}
	switch {
	case len(fit) == 0 && no != "":
		return nil, no
	case len(fit) < wish.Count && strings.HasPrefix(no, "gpu: "):
		return nil, fmt.Sprintf("gpu: wants %d, has %d free; another: %s", wish.Count, len(fit), strings.TrimPrefix(no, "gpu: "))
	case len(fit) < wish.Count:
		return nil, fmt.Sprintf("gpu: wants %d, has %s", wish.Count, none(len(fit)))
	}
	slices.SortStableFunc(fit, func(a, b Device) int { return cmp.Compare(a.Memory, b.Memory) })
	for _, d := range fit[:min(slots, len(fit)/wish.Count)*wish.Count] {
		picked = append(picked, d.Device)
	}
	return picked, ""
}

// nearer is which of two refusals is told: that of the device that comes nearer to the wish.
func nearer(a, b string) string {
	rank := func(s string) int {
		kind, _, _ := strings.Cut(s, ":")
		return slices.Index([]string{"", "gpu vendor", "gpu model", "gpu memory", "gpu"}, kind)
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}

func none(n int) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}

// maxDeviceMemory bounds, in bytes, what a device may claim to have.
const maxDeviceMemory = 1 << 50

// checkDevices requires what was ordered: so many devices for each slot, each as was wished, none twice.
func checkDevices(q lease.Quote, order lease.Order) error {
	wish := order.Resources.GPU
	if len(q.GPUs) != q.Slots*wish.Count {
		return fmt.Errorf("quote: %d devices for %d slots of %d are not what was ordered", len(q.GPUs), q.Slots, wish.Count)
	}
	seen := map[string]bool{}
	for _, d := range q.GPUs {
		if len(d.ID) > maxName || len(d.Vendor) > maxName || len(d.Model) > maxName || d.Memory < 0 || d.Memory > maxDeviceMemory {
			return errors.New("quote: a device's names are too long, or its memory is not possible")
		}
		if kind, text := wish.Lacks(d.Vendor, d.Model, d.Memory); kind != "" {
			return fmt.Errorf("quote: a device is not as ordered: %s: %s", kind, clip(text))
		}
		if seen[d.ID] {
			return fmt.Errorf("quote: device %q is offered twice", clip(d.ID))
		}
		seen[d.ID] = true
	}
	return nil
}

// checkWish refuses wishes for devices that no honest requester writes.
func checkWish(w job.GPU) error {
	if w.Count < 0 || w.Count > job.MaxGPUs || w.Memory < 0 || len(w.Model) > maxName || len(w.Vendor) > maxName || w.Count == 0 && w != (job.GPU{}) {
		return errors.New("order: its wish for devices is not possible")
	}
	return nil
}
