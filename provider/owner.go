package provider

import (
	"cmp"
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hpips/hpips/spec/job"
)

// Allowance is what the PC's owner lets the provider use for others now. Work for this node itself is not held to it: it is the owner's own.
type Allowance struct {
	Cores  float64 // processors that tasks may keep busy; 0: whatever runs stands still where it is
	Memory int64   // bytes that running tasks may take together; 0: as configured
	Disk   int64   // bytes of inputs and results of tasks; 0: as configured
	Finish bool    // leases that are here go on, and no further one is taken
	Why    string  // what buyers are told where no lease is taken

	Devices []Device // graphics devices that there are, also those that others may not use now

	Patience time.Duration // for which leases are kept while everything stands still; 0: 5 minutes
}

// Everything is what a provider may use whose owner says nothing.
func Everything() Allowance { return Allowance{Cores: math.Inf(1)} }

// refusal is what a buyer is told; "" where leases are taken.
func (a Allowance) refusal() string {
	switch {
	case a.Cores > 0 && !a.Finish:
		return ""
	case a.Why == "":
		return "its owner shares nothing now"
	}
	return a.Why
}

func (a Allowance) patience() time.Duration {
	if a.Patience > 0 {
		return a.Patience
	}
	return 5 * time.Minute
}

// own tells whether a lease is this node's own.
func (p *Provider) own(t *tenant) bool { return t.peer == p.self }

// standsStill tells whether nothing of a lease may run now. Needs p.mu.
func (p *Provider) standsStill(t *tenant) bool {
	return !p.own(t) && (p.allowed.Cores <= 0 || p.withheld(t) != "")
}

// shared is how many slots work for others: as many as the processors that they may keep busy, the last of them perhaps for a part of the time. Needs p.mu.
func (p *Provider) shared() int {
	return int(math.Ceil(min(max(p.allowed.Cores, 0), float64(p.cfg.Slots))))
}

// memoryLimit is what tasks of others may take together. Needs p.mu.
func (p *Provider) memoryLimit() int64 {
	if p.allowed.Memory > 0 {
		return min(p.allowed.Memory, p.cfg.Memory)
	}
	return p.cfg.Memory
}

// diskLimit is what inputs and results of tasks may take. Needs p.mu.
func (p *Provider) diskLimit() int64 {
	if p.allowed.Disk > 0 {
		return p.allowed.Disk
	}
	return p.cfg.Disk
}

// measure finds the leases whose tasks take more memory than others' may now: those that cannot fit, and of the others the newest that are too many. Needs p.mu.
func (p *Provider) measure() {
	limit, sum := p.memoryLimit(), int64(0)
	for _, t := range p.turns {
		if p.own(t) || !t.prepared {
			continue
		}
		each := t.program.Limits.Memory
		if t.large = each > limit || sum+each*int64(t.running) > limit; !t.large {
			sum += each * int64(t.running)
		}
	}
}

// Allow says what may be used from now on. When it returns, whatever may not run any more stands still: its processes are stopped where they are, and programs
// that were being compiled are given up for now. It may be repeated. Where the system cannot stop a process it says so; nothing new is started there either.
func (p *Provider) Allow(a Allowance) error {
	p.mu.Lock()
	before := p.allowed
	p.allowed = a
	now := time.Now()
	p.measure()
	p.stillness(now)
	switch {
	case a.Cores > 0 && before.Cores <= 0:
		p.suspended = time.Time{}
		p.halt, p.halted = context.WithCancel(p.life)
	case a.Cores <= 0 && before.Cores > 0:
		p.suspended = now
		p.halted()
	}
	if !reflect.DeepEqual(a, before) {
		p.work.Broadcast()
	}
	p.mu.Unlock()
	select {
	case p.changed <- struct{}{}:
	default:
	}
	return p.steer(false)
}

// beat is how often it changes which tasks run, where they may not all run all the time.
const beat = 100 * time.Millisecond

// rota shares out a number of processors that is not whole: over many beats as many tasks run in each as there are processors on average.
type rota struct {
	first int     // who runs first in the next beat
	rest  float64 // of the processors, not used in beats before
}

// next says how many of n run in the next beat, beginning with which.
func (r *rota) next(cores float64, n int) (first, count int) {
	if cores >= float64(n) {
		r.rest = 0
		return 0, n
	}
	r.rest += cores
	count = min(int(r.rest), n)
	r.rest -= float64(count)
	first = r.first % n
	r.first = (first + count) % n
	return first, count
}

// govern keeps the tasks of others to a part of the processors, by letting some stand still in each beat. It does nothing where all or none may run.
func (p *Provider) govern(ctx context.Context) {
	told := false
	for {
		p.mu.Lock()
		parted := p.allowed.Cores > 0 && p.allowed.Cores < float64(p.cfg.Slots)
		p.mu.Unlock()
		var next <-chan time.Time
		if parted {
			next = time.After(beat)
		}
		select {
		case <-next:
			if err := p.steer(true); err != nil && !told {
				p.log.Warn("Tasks cannot be kept to a part of the processors", "err", err)
				told = true
			}
		case <-p.changed:
		case <-ctx.Done():
			return
		}
	}
}

// steer lets run what may run. A part of the processors is shared out anew with each beat.
func (p *Provider) steer(onBeat bool) error {
	p.pausing.Lock()
	defer p.pausing.Unlock()
	p.mu.Lock()
	var others, stopped []*box
	for b := range p.boxes {
		switch {
		case p.own(b.t):
		case p.standsStill(b.t):
			stopped = append(stopped, b)
		default:
			others = append(others, b)
		}
	}
	cores, n, first, count := p.allowed.Cores, len(others), 0, 0
	switch {
	case n == 0:
	case !onBeat && cores < float64(n):
		others = nil // the next beat says
	default:
		slices.SortFunc(others, func(a, b *box) int { return cmp.Compare(a.number, b.number) })
		first, count = p.round.next(cores, n)
	}
	p.mu.Unlock()
	// All at once: a container's engine may take its time, and nobody waits for another's.
	errs := make([]error, len(stopped)+len(others))
	var all sync.WaitGroup
	now := time.Now()
	for i, b := range stopped {
		all.Go(func() { errs[i] = p.still(b, true, now) })
	}
	for i, b := range others {
		all.Go(func() { errs[len(stopped)+i] = p.still(b, (i-first+n)%n >= count, now) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// still has a sandbox stand still, or lets it go on. The time that it stood still is none that its task has run. Needs p.pausing.
func (p *Provider) still(b *box, yes bool, now time.Time) error {
	if yes == !b.held.IsZero() {
		return nil
	}
	act := b.sandbox.Resume
	if yes {
		act = b.sandbox.Pause
	}
	if err := act(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if yes {
		b.held = now
		return nil
	}
	for _, s := range b.t.shifts {
		if s.box == b {
			s.last = s.last.Add(now.Sub(b.held))
		}
	}
	b.held = time.Time{}
	return nil
}

// Mode says in one word what the owner allows.
type Mode string

// The modes. A finishing provider works for the leases it has and takes no more.
const (
	Open      Mode = "open"
	Suspended Mode = "suspended"
	Finishing Mode = "finishing"
)

func (a Allowance) mode() Mode {
	switch {
	case a.Cores <= 0:
		return Suspended
	case a.Finish:
		return Finishing
	}
	return Open
}

// Status is what the owner sees.
type Status struct {
	Mode    Mode   `json:"mode"`
	Slots   int    `json:"slots"`
	Busy    int    `json:"busy"`    // slots at work
	Leases  int    `json:"leases"`  // held
	Waiting int    `json:"waiting"` // tasks
	Running int    `json:"running"` // tasks, those in a batch behind a running one among them
	Done    uint64 `json:"done"`    // executions that ended since the start
	Disk    int64  `json:"disk"`    // bytes of inputs and results kept
}

// Leases counts those that are held for others than this node.
func (p *Provider) Leases() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.tenants {
		if !p.own(t) {
			n++
		}
	}
	return n
}

// Deals reports whether a lease is held for a requester.
func (p *Provider) Deals(requester peer.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.tenants {
		if t.peer == requester {
			return true
		}
	}
	return false
}

// Status tells how it stands.
func (p *Provider) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Status{Mode: p.allowed.mode(), Slots: p.cfg.Slots, Leases: len(p.tenants), Disk: p.disk}
	for _, t := range p.tenants {
		s.Busy += t.running
		for _, k := range t.tasks {
			switch k.state {
			case running:
				s.Running++
			case answering, sent:
			default:
				s.Waiting++
			}
		}
	}
	for _, n := range p.ended {
		s.Done += n
	}
	return s
}

// metrics turns Status into what Prometheus reads.
type metrics struct {
	p                                            *Provider
	slots, busy, leases, tasks, executions, disk *prometheus.Desc
}

// Metrics returns a collector of this provider.
func (p *Provider) Metrics() prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("hpips_provider_"+name, help, labels, nil)
	}
	return &metrics{p: p,
		slots:      desc("slots", "Tasks that can run at once."),
		busy:       desc("slots_busy", "Slots at work."),
		leases:     desc("leases", "Leases held."),
		tasks:      desc("tasks", "Tasks held.", "state"),
		executions: desc("executions_total", "Executions that ended.", "end"),
		disk:       desc("disk_bytes", "Bytes of inputs and results kept."),
	}
}

// Describe sends the descriptions.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.slots, m.busy, m.leases, m.tasks, m.executions, m.disk} {
		ch <- d
	}
}

// Collect sends the values.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	s := m.p.Status()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(m.slots, float64(s.Slots))
	gauge(m.busy, float64(s.Busy))
	gauge(m.leases, float64(s.Leases))
	gauge(m.tasks, float64(s.Waiting), "waiting")
	gauge(m.tasks, float64(s.Running), "running")
	gauge(m.disk, float64(s.Disk))
	m.p.mu.Lock()
	ended := make(map[job.End]uint64, len(m.p.ended))
	for end, n := range m.p.ended {
		ended[end] = n
	}
	m.p.mu.Unlock()
	for end, n := range ended {
		ch <- prometheus.MustNewConstMetric(m.executions, prometheus.CounterValue, float64(n), string(end))
	}
}
