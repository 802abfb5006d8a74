package node

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/hpips/hpips/spec/job"
)

// metrics serves the house's figures in Prometheus' format: the process, the node, and each provider.
func (h *House) metrics() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newGauges(h))
	for _, m := range h.members {
		if m.provider != nil {
			prometheus.WrapRegistererWith(prometheus.Labels{"node": m.host.ID().String()}, r).MustRegister(m.provider.Metrics())
		}
	}
	all := prometheus.Gatherers{r}
	if m := h.first(); m.served != nil {
		all = append(all, m.served)
	}
	return promhttp.HandlerFor(all, promhttp.HandlerOpts{})
}

// gauges reads the node's figures when they are asked for.
type gauges struct {
	h                                                *House
	info, peers, sessions, jobs, tasks, blocks, size *prometheus.Desc
}

func newGauges(h *House) *gauges {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("hpips_"+name, help, labels, nil)
	}
	return &gauges{h: h,
		info:     desc("build_info", "Always 1.", "version", "node"),
		peers:    desc("p2p_peers", "Connected nodes."),
		sessions: desc("p2p_sessions", "Sessions with other nodes.", "state"),
		jobs:     desc("requester_jobs", "Jobs asked for at this node.", "state"),
		tasks:    desc("requester_tasks", "Tasks of jobs that are under way.", "state"),
		blocks:   desc("store_blocks", "Blocks held."),
		size:     desc("store_bytes", "Bytes of blocks held."),
	}
}

// Describe sends the descriptions.
func (g *gauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.info, g.peers, g.sessions, g.jobs, g.tasks, g.blocks, g.size} {
		to <- d
	}
}

// Collect sends the values. What cannot be read is left out.
func (g *gauges) Collect(to chan<- prometheus.Metric) {
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	m := g.h.first()
	gauge(g.info, 1, g.h.cfg.Version, g.h.ID())
	gauge(g.peers, float64(len(m.host.Peers())))
	up, down := 0, 0
	for _, s := range m.sessions.All() {
		if s.Up {
			up++
		} else {
			down++
		}
	}
	gauge(g.sessions, float64(up), "up")
	gauge(g.sessions, float64(down), "down")
	if jobs, err := m.requester.Jobs(ctx); err == nil {
		g.count(gauge, jobs)
	}
	if held, err := m.store.Stat(ctx); err == nil {
		gauge(g.blocks, float64(held.Blocks))
		gauge(g.size, float64(held.Bytes))
	}
}

func (g *gauges) count(gauge func(*prometheus.Desc, float64, ...string), jobs []job.Status) {
	states := map[job.State]int{}
	total, done := 0, 0
	for _, j := range jobs {
		states[j.State]++
		if !j.State.Final() {
			total, done = total+j.Tasks.Total, done+j.Tasks.Done
		}
	}
	for state, n := range states {
		gauge(g.jobs, float64(n), string(state))
	}
	gauge(g.tasks, float64(done), "done")
	gauge(g.tasks, float64(total-done), "open")
}
