package machine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// GPURule says when a device is shared.
type GPURule string

// The rules. Without one a device is shared while nobody is at the PC.
const (
	GPUNever  GPURule = "never"
	GPUAway   GPURule = "away"
	GPUAlways GPURule = "always"
)

// GPURules are by a device's ID or its place in the inventory ("0").
type GPURules map[string]GPURule

// ParseGPURules reads rules such as "0=never" or "GPU-5e3f…=always".
func ParseGPURules(texts []string) (GPURules, error) {
	rules := GPURules{}
	for _, text := range texts {
		id, word, ok := strings.Cut(text, "=")
		rule := GPURule(word)
		if !ok || id == "" || rule != GPUNever && rule != GPUAway && rule != GPUAlways {
			return nil, fmt.Errorf("%q is no rule of a GPU: write DEVICE=never, away or always, such as 0=never", text)
		}
		rules[id] = rule
	}
	return rules, nil
}

// Of is the rule of the device at a place of the inventory, and whether the owner has written one: that is their word that strangers may use the device, too.
func (r GPURules) Of(place int, g GPU) (rule GPURule, written bool) {
	for _, id := range []string{g.ID, strconv.Itoa(place)} {
		if rule, ok := r[id]; ok {
			return rule, true
		}
	}
	return GPUAway, false
}

// Kept is a graphics device that is not shared now.
type Kept struct {
	ID   string `json:"id"`
	Text string `json:"text"` // why
	Ends string `json:"ends"` // what has to happen
}

// graphics says which devices are shared, and of each other one why not. What holds for the whole PC holds for them.
func (p Policy) graphics(r Readings, d Decision) (shared []string, kept []Kept) {
	shared, kept = []string{}, []Kept{}
	for i, g := range r.GPUs {
		why := p.keeps(i, g, r)
		if d.Cores <= 0 {
			why = &Kept{Text: d.Why(), Ends: "this PC is shared again: hpips share status"}
		}
		if why == nil {
			shared = append(shared, g.ID)
			continue
		}
		why.ID = g.ID
		kept = append(kept, *why)
	}
	return shared, kept
}

// keeps says why one device is not shared; nil where it is.
func (p Policy) keeps(place int, g GPU, r Readings) *Kept {
	rule, _ := p.GPUs.Of(place, g)
	switch {
	case g.Passage.Why != "":
		return &Kept{Text: g.Passage.Why, Ends: g.Passage.Remedy}
	case rule == GPUNever:
		return &Kept{Text: "its owner does not share it", Ends: fmt.Sprintf("hpips share devices %d=away", place)}
	case rule == GPUAway && r.Presence.attended():
		return &Kept{Text: "somebody is at this PC", Ends: fmt.Sprintf("nobody is, or hpips share devices %d=always", place)}
	case p.GPUTemperature > 0 && valueOr(g.Temperature, 0) > p.GPUTemperature:
		return &Kept{Text: fmt.Sprintf("it is at %.0f °C, above %.0f °C", *g.Temperature, p.GPUTemperature), Ends: "a minute below that, or hpips share set gpu_temperature 0"}
	case p.GPUOthers > 0 && valueOr(g.Busy, 0) > p.GPUOthers && !slices.Contains(r.Leased, g.ID):
		return &Kept{Text: fmt.Sprintf("programs of its owner use %s of it, above %s", percent(*g.Busy), percent(p.GPUOthers)), Ends: "they use less, or hpips share set gpu_others 0"}
	}
	return nil
}
