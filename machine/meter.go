package machine

import (
	"context"
	"math"
	"os"
	"runtime"
	"time"
)

// Meter reads the machine again and again. It reads no more than a policy asks for, so that a PC without rules pays nothing. It is not for several
// goroutines at once.
type Meter struct {
	from  sources
	watch *Watch
	self  int
	kin   Kin

	last   time.Time // of load and used; zero: none
	load   load
	used   spent
	others *float64

	slowly   time.Time // when sensors were read
	power    counter
	sensors  Sensors
	hottest  peak
	hungrier peak
}

// NewMeter reads this PC; whether somebody is at it is asked of watch.
func NewMeter(watch *Watch, kin Kin) *Meter {
	return &Meter{from: here(), watch: watch, self: os.Getpid(), kin: kin}
}

// smooth is the time over which the use by other programs is averaged, so that what is shared does not jump with every key.
const smooth = 3 * time.Second

// slow is how often sensors are read: they change slowly, and some of them are asked of programs.
const slow = 5 * time.Second

// Read returns what the policy needs to know.
func (m *Meter) Read(ctx context.Context, p Policy, now time.Time) Readings {
	r := Readings{Cores: runtime.NumCPU()}
	r.Presence, r.Idle = m.watch.Look(ctx, p.AwayAfter, now)
	if p.Away.Memory > 0 || p.InUse.Memory > 0 {
		r.Memory, _ = memory()
	}
	if p.asksOthers(r.Presence) {
		r.Others, r.Programs = m.programs(now, len(p.Programs) > 0)
	} else {
		m.last, m.others = time.Time{}, nil
	}
	m.slow(ctx, p, now)
	r.Temperature, r.Watts, r.Metered = m.hottest.of(now), m.hungrier.of(now), m.sensors.Metered
	if b := m.sensors.Battery; b != nil {
		r.OnBattery = &b.Discharging
	}
	return r
}

// asksOthers tells whether a rule looks at other programs.
func (p Policy) asksOthers(who Presence) bool {
	if p.Others > 0 || len(p.Programs) > 0 {
		return true
	}
	for _, f := range []Profile{p.InUse, p.Away} {
		if f.Total > 0 && f.Total < 1 || f.Total == 0 && who != Headless {
			return true
		}
	}
	return false
}

// programs measures what other programs use: what the processors did, less what this process and all below it did.
func (m *Meter) programs(now time.Time, names bool) (*float64, []string) {
	l, err1 := m.from.load()
	all, err2 := m.from.processes()
	if err1 != nil || err2 != nil {
		m.last, m.others = time.Time{}, nil
		return nil, nil
	}
	used, _, rest := kindred(all, m.kin.roots(m.self))
	var others []string
	for _, p := range rest {
		if names {
			others = append(others, p.name)
		}
	}
	if m.last.IsZero() {
		m.last, m.load, m.used = now, l, used
		return nil, others
	}
	took := l.all - m.load.all
	if took < time.Second/10 { // the clocks tick in hundredths of a second
		return m.others, others
	}
	share := math.Min(1, math.Max(0, float64(l.busy-m.load.busy-used.since(m.used))/float64(took)))
	if m.others == nil {
		m.others = &share
	} else {
		weight := 1 - math.Exp(-float64(now.Sub(m.last))/float64(smooth))
		mean := *m.others + (share-*m.others)*weight
		m.others = &mean
	}
	m.last, m.load, m.used = now, l, used
	return m.others, others
}

// slow reads the sensors that a rule asks for.
func (m *Meter) slow(ctx context.Context, p Policy, now time.Time) {
	if !m.slowly.IsZero() && now.Sub(m.slowly) < slow {
		return
	}
	m.slowly = now
	m.sensors.Battery = nil
	if !p.Battery {
		m.sensors.Battery = m.from.battery(ctx)
	}
	if p.Temperature > 0 {
		m.hottest.add(m.from.temperature(), now)
	}
	if p.Watts > 0 {
		e := m.from.energy(now)
		m.hungrier.add(e.since(m.power), now)
		m.power = e
	}
	if m.sensors.Metered = nil; !p.Metered {
		m.sensors.Metered = network(ctx)
	}
}

// hold is how long the highest figure stands: work that was stopped because of it does not start again the moment that it has fallen.
const hold = time.Minute

// peak is the highest figure of the last minute.
type peak struct{ seen []sample }

type sample struct {
	at    time.Time
	value float64
}

func (p *peak) add(v *float64, now time.Time) {
	if v == nil {
		return
	}
	for len(p.seen) > 0 && p.seen[len(p.seen)-1].value <= *v { // what is lower and older is never the highest again
		p.seen = p.seen[:len(p.seen)-1]
	}
	p.seen = append(p.seen, sample{now, *v})
}

func (p *peak) of(now time.Time) *float64 {
	for len(p.seen) > 0 && now.Sub(p.seen[0].at) > hold {
		p.seen = p.seen[1:]
	}
	if len(p.seen) == 0 {
		return nil
	}
	return &p.seen[0].value
}
