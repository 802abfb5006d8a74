package provider

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/spec/job"
)

// Mode is what the PC's owner lets the provider do.
type Mode string

// The modes. A finishing provider works for the leases it has and takes no more.
const (
	Open      Mode = "open"
	Paused    Mode = "paused"
	Finishing Mode = "finishing"
)

// refusal is what a buyer is told.
func (m Mode) refusal() string {
	switch m {
	case Paused:
		return "paused by its owner"
	case Finishing:
		return "finishing by order of its owner"
	}
	return ""
}

// Pause stops all running tasks where they are and starts no other. It may be repeated. Where the system cannot stop a process it says so; nothing new
// is started there either.
func (p *Provider) Pause() error {
	return p.setMode(Paused, engine.Sandbox.Pause)
}

// Resume lets everything go on.
func (p *Provider) Resume() error {
	return p.setMode(Open, engine.Sandbox.Resume)
}

// Finish lets the leases that are here come to their end and takes no more.
func (p *Provider) Finish() error {
	return p.setMode(Finishing, engine.Sandbox.Resume)
}

func (p *Provider) setMode(m Mode, each func(engine.Sandbox) error) error {
	p.pausing.Lock()
	defer p.pausing.Unlock()
	p.mu.Lock()
	p.mode = m
	var running []engine.Sandbox
	for b := range p.boxes {
		running = append(running, b.sandbox)
	}
	p.work.Broadcast()
	p.mu.Unlock()
	var errs []error
	for _, s := range running {
		errs = append(errs, each(s))
	}
	return errors.Join(errs...)
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

// Status tells how it stands.
func (p *Provider) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Status{Mode: p.mode, Slots: p.cfg.Slots, Leases: len(p.tenants), Disk: p.disk}
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
