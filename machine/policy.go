package machine

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Policy is what the owner of a PC allows. It is pure: Decide says what follows from it, from readings and from the time.
type Policy struct {
	Off         bool      // nothing is shared
	Paused      bool      // until it is resumed
	PausedUntil time.Time // zero: no such pause
	Finishing   bool      // leases that are here come to their end, then it is paused

	InUse, Away Profile
	AwayAfter   time.Duration // without a key or the mouse, from which on nobody is at the PC

	Battery     bool     // share on battery, too
	Metered     bool     // share on a network that is paid for by volume, too
	Temperature float64  // °C of the processors above which nothing runs; 0: any
	Watts       float64  // of the processors, above which nothing runs; 0: any
	Others      float64  // share of all processors that other programs may use before nothing runs; 0: any
	Schedule    Schedule // when it is shared; empty: always
	Programs    []string // while one of these runs, nothing is shared
	GPUs        GPURules

	NetUp, NetDown float64 // bytes a second over the network at most; 0: any
	NetCap         int64   // bytes a month, both directions together, after which nothing is shared; 0: any

	GPUTemperature float64 // °C of a graphics device above which it is not shared; 0: any
	GPUOthers      float64 // share of a graphics device that the owner's programs may use before it is not shared; 0: any
}

// Profile is what is shared while somebody is at the PC, or nobody. Shares are of the whole machine, 0 … 1.
type Profile struct {
	CPU    float64 // of the processors, for this program and its tasks
	Total  float64 // of the processors, for all programs together: what others leave under it is shared; 0: usual
	Memory float64 // of the memory, for tasks together; 0: as the provider has it
}

// usual is the total use at which a PC on which people work is held.
const usual = 0.8

// DefaultPolicy shares all while nobody is at the PC, held at 80 % of total use where people work at it, and nothing while somebody is.
func DefaultPolicy() Policy {
	return Policy{Away: Profile{CPU: 1}, AwayAfter: 3 * time.Minute, GPUTemperature: 85, GPUOthers: 0.1}
}

// Readings are what the machine shows at one moment. What is nil is not available.
type Readings struct {
	Cores       int   // processors
	Memory      int64 // bytes in all; 0: not available
	Presence    Presence
	Idle        *time.Duration // since the last key or move of the mouse
	Others      *float64       // share of all processors that other programs use
	Temperature *float64       // °C
	Watts       *float64
	OnBattery   *bool
	Metered     *bool
	Programs    []string // names of those that run
	Traffic     *Traffic // of this month
	GPUs        []GPU
	Leased      []string // IDs of those that leases of this node have: what keeps them busy is no program of the owner's
	Leases      int      // that are held here
}

// Effect is what a reason does.
type Effect string

// The effects, the strongest first.
const (
	Suspends Effect = "suspends" // nothing runs
	Finishes Effect = "finishes" // leases that are here go on, no more are taken
	Limits   Effect = "limits"   // less than the whole machine is shared
)

// Reason is why less than all is shared, and what ends that.
type Reason struct {
	Kind   string     `json:"kind"`
	Effect Effect     `json:"effect"`
	Text   string     `json:"text"`
	Ends   string     `json:"ends"`            // what has to happen
	Until  *time.Time `json:"until,omitempty"` // when, where that is known
}

// Decision is what may be shared now, and every reason why it is not more.
type Decision struct {
	Profile string   `json:"profile"`          // in-use | away
	Cores   float64  `json:"cores"`            // processors that tasks may keep busy
	Of      int      `json:"of"`               // processors that there are
	Memory  int64    `json:"memory,omitempty"` // bytes; 0: as the provider has it
	GPUs    []string `json:"gpus"`             // devices that may be used
	Kept    []Kept   `json:"kept"`             // devices that may not
	Finish  bool     `json:"finish"`           // no further lease is taken
	Reasons []Reason `json:"reasons"`
}

// least is how much of one processor is worth a task.
const least = 0.05

// Decide says what may be shared. Each rule speaks for itself, so that no reason hides another.
func (p Policy) Decide(r Readings, now time.Time) Decision {
	profile, name := p.Away, "away"
	if r.Presence.attended() {
		profile, name = p.InUse, "in-use"
	}
	d := Decision{Profile: name, Of: r.Cores, Reasons: []Reason{}}
	for _, rule := range []func(Policy, Readings, time.Time) *Reason{off, paused, finishing, inUse, outside, battery, metered, exhausted, hot, hungry, crowded, exclusive} {
		if why := rule(p, r, now); why != nil {
			d.Reasons = append(d.Reasons, *why)
		}
	}
	var limits []Reason
	d.Cores, limits = profile.cores(r, name)
	d.Reasons = append(d.Reasons, limits...)
	if profile.Memory > 0 && r.Memory > 0 {
		d.Memory = max(1, int64(profile.Memory*float64(r.Memory)))
	}
	for _, why := range d.Reasons {
		d.Finish = d.Finish || why.Effect == Finishes
		if why.Effect == Suspends {
			d.Cores = 0
		}
	}
	d.GPUs, d.Kept = p.graphics(r, d)
	return d
}

// cores is what a profile leaves of the processors, and why that is not all of them.
func (p Profile) cores(r Readings, name string) (float64, []Reason) {
	var all []Reason
	free := math.Min(p.CPU, 1)
	if p.CPU < 1 && p.CPU > 0 {
		all = append(all, Reason{Kind: "cpu", Effect: Limits, Text: fmt.Sprintf("%s of the processors at most", percent(p.CPU)), Ends: "hpips share set " + key(name, "cpu") + " 100"})
	}
	total := p.Total
	if total == 0 {
		total = 1
		if r.Presence != Headless {
			total = usual
		}
	}
	if left := total - valueOr(r.Others, 0); total < 1 && left < free {
		free = math.Max(left, 0)
		why := Reason{Kind: "total", Effect: Limits, Text: fmt.Sprintf("%s of the processors at most, for all programs together", percent(total)), Ends: "hpips share set " + key(name, "total") + " 100"}
		if r.Others != nil {
			why.Text = fmt.Sprintf("other programs use %s of the processors, and %s is the most for all together", percent(*r.Others), percent(total))
			why.Ends = "others use less, or " + why.Ends
		}
		all = append(all, why)
	}
	cores := free * float64(r.Cores)
	if cores < least {
		cores = 0
		if len(all) > 0 {
			all[len(all)-1].Effect = Suspends
		}
	}
	return cores, all
}

func key(profile, name string) string { return strings.ReplaceAll(profile, "-", "_") + "." + name }

func off(p Policy, _ Readings, _ time.Time) *Reason {
	if !p.Off {
		return nil
	}
	return &Reason{Kind: "off", Effect: Suspends, Text: "sharing is off", Ends: "hpips share on"}
}

func paused(p Policy, _ Readings, now time.Time) *Reason {
	switch {
	case p.Paused:
		return &Reason{Kind: "paused", Effect: Suspends, Text: "paused by its owner", Ends: "hpips share resume"}
	case now.Before(p.PausedUntil):
		return &Reason{Kind: "paused", Effect: Suspends, Text: "paused by its owner until " + clock(p.PausedUntil, now), Ends: "the time, or hpips share resume", Until: &p.PausedUntil}
	}
	return nil
}

func finishing(p Policy, r Readings, _ time.Time) *Reason {
	switch {
	case !p.Finishing:
		return nil
	case r.Leases > 0:
		return &Reason{Kind: "finishing", Effect: Finishes, Text: "finishing by order of its owner", Ends: "the last lease ends, then it is paused; or hpips share resume"}
	}
	return &Reason{Kind: "finished", Effect: Suspends, Text: "finished and paused by order of its owner", Ends: "hpips share resume"}
}

func inUse(p Policy, r Readings, now time.Time) *Reason {
	if !r.Presence.attended() {
		return nil
	}
	why := &Reason{Kind: "in-use", Effect: Limits, Text: "somebody is at this PC", Ends: fmt.Sprintf("%s without a key or the mouse", p.AwayAfter)}
	if p.InUse.CPU < least {
		why.Effect = Suspends
	}
	switch {
	case r.Presence == Unknown:
		why.Text, why.Ends = "nobody tells any more whether somebody is at this PC", "the program in the owner's session tells it again"
	case r.Idle != nil:
		at := now.Add(p.AwayAfter - *r.Idle)
		why.Until = &at
	}
	return why
}

func outside(p Policy, _ Readings, now time.Time) *Reason {
	open, next := p.Schedule.At(now)
	if open {
		return nil
	}
	return &Reason{Kind: "schedule", Effect: Suspends, Text: "outside of the schedule until " + clock(next, now), Ends: "the schedule's next time", Until: &next}
}

func battery(p Policy, r Readings, _ time.Time) *Reason {
	if p.Battery || !valueOr(r.OnBattery, false) {
		return nil
	}
	return &Reason{Kind: "battery", Effect: Suspends, Text: "this PC runs on battery", Ends: "mains power, or hpips share set battery true"}
}

func metered(p Policy, r Readings, _ time.Time) *Reason {
	if p.Metered || !valueOr(r.Metered, false) {
		return nil
	}
	return &Reason{Kind: "metered", Effect: Suspends, Text: "the network is paid for by volume", Ends: "another network, or hpips share set metered true"}
}

func hot(p Policy, r Readings, _ time.Time) *Reason {
	if p.Temperature <= 0 || valueOr(r.Temperature, 0) <= p.Temperature {
		return nil
	}
	return &Reason{Kind: "temperature", Effect: Suspends, Text: fmt.Sprintf("the processors are at %.0f °C, above %.0f °C", *r.Temperature, p.Temperature), Ends: "a minute below that"}
}

func hungry(p Policy, r Readings, _ time.Time) *Reason {
	if p.Watts <= 0 || valueOr(r.Watts, 0) <= p.Watts {
		return nil
	}
	return &Reason{Kind: "watts", Effect: Suspends, Text: fmt.Sprintf("the processors draw %.0f W, above %.0f W", *r.Watts, p.Watts), Ends: "a minute below that"}
}

func crowded(p Policy, r Readings, _ time.Time) *Reason {
	if p.Others <= 0 || valueOr(r.Others, 0) <= p.Others {
		return nil
	}
	return &Reason{Kind: "others", Effect: Suspends, Text: fmt.Sprintf("other programs use %s of the processors, above %s", percent(*r.Others), percent(p.Others)), Ends: "they use less"}
}

func exclusive(p Policy, r Readings, _ time.Time) *Reason {
	for _, name := range p.Programs {
		if slices.ContainsFunc(r.Programs, func(running string) bool { return sameProgram(name, running) }) {
			return &Reason{Kind: "program", Effect: Suspends, Text: name + " is running", Ends: name + " ends"}
		}
	}
	return nil
}

// comm is how much of a program's name Linux tells (proc(5), /proc/PID/comm).
const comm = 15

// sameProgram compares names as people write them: without case, without .exe, and as far as the system tells them.
func sameProgram(want, running string) bool {
	short := func(s string) string { return strings.TrimSuffix(strings.ToLower(s), ".exe") }
	a, b := short(want), short(running)
	return a == b || len(running) == comm && len(a) > comm && a[:comm] == b
}

// String is one sentence: what is shared now and why, or why not.
func (d Decision) String() string {
	var texts []string
	for _, effect := range []Effect{Suspends, Finishes, Limits} {
		for _, why := range d.Reasons {
			if why.Effect == effect && (d.Cores > 0 || effect == Suspends) {
				texts = append(texts, why.Text)
			}
		}
	}
	why := strings.Join(texts, "; ")
	switch {
	case d.Cores <= 0 && why == "":
		return "This PC shares nothing: no processor is left for it."
	case d.Cores <= 0:
		return "This PC shares nothing: " + why + "."
	}
	what := fmt.Sprintf("This PC shares %s of %d processors", number(d.Cores), d.Of)
	if d.Finish {
		what = fmt.Sprintf("This PC takes no further leases, and works for those it has with %s of %d processors", number(d.Cores), d.Of)
	}
	if why == "" {
		return what + ": nothing speaks against it."
	}
	return what + ": " + why + "."
}

// Why is what a buyer is told where nothing is shared, or no further lease is taken; "" where one is.
func (d Decision) Why() string {
	for _, effect := range []Effect{Suspends, Finishes} {
		for _, why := range d.Reasons {
			if why.Effect == effect {
				return why.Text
			}
		}
	}
	if d.Cores <= 0 {
		return "no processor is left"
	}
	return ""
}

func valueOr[T any](v *T, or T) T {
	if v == nil {
		return or
	}
	return *v
}

func percent(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }

func number(f float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0")
}

// clock writes a moment as short as it can be understood.
func clock(at, now time.Time) string {
	at = at.In(now.Location())
	if at.Sub(now) < 20*time.Hour {
		return at.Format("15:04")
	}
	return at.Format("Mon 2 Jan 15:04")
}
