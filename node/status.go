package node

import (
	"context"
	"time"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/engine/wasm"
	"github.com/hpips/hpips/machine"
)

// Status tells how the house is.
func (h *House) Status(ctx context.Context) (client.Status, error) {
	m := h.first()
	s := client.Status{Version: h.cfg.Version, Node: h.ID(), Owner: m.owner, Network: m.label, API: h.API(), Home: h.cfg.Home,
		Addresses: h.Addresses(), Peers: len(m.host.Peers()), Started: h.started}
	s.Ready = h.ready.get(ctx, m.requester.Ready)
	for _, other := range h.members {
		if other.provider != nil {
			p := other.provider.Status()
			s.Slots, s.Running, s.Leases = s.Slots+p.Slots, s.Running+p.Busy, s.Leases+p.Leases
		}
		if h.dev {
			s.Dev = append(s.Dev, other.host.ID().String())
		}
	}
	if g := m.gateway; g != nil {
		s.Gateway = &client.Gateway{Address: g.Addr(), URL: g.URL(), Trustless: g.Trustless(), Fetch: h.cfg.Gateway.Fetch, Pins: m.pins != nil}
	}
	if m.chain != nil {
		s.Chain = m.chain.status(ctx)
	}
	jobs, err := m.requester.Jobs(ctx)
	if err != nil {
		return s, err
	}
	s.Jobs.Total = len(jobs)
	for _, j := range jobs {
		if !j.State.Final() {
			s.Jobs.Active++
		}
	}
	held, err := m.store.Stat(ctx)
	s.Store = client.Store{Blocks: held.Blocks, Bytes: held.Bytes, Pins: int64(held.Pins)}
	return s, err
}

// Peers lists the nodes that the first node is connected to.
func (h *House) Peers(context.Context) ([]client.Peer, error) {
	peers := []client.Peer{}
	for _, p := range h.first().host.Peers() {
		peers = append(peers, client.Peer{Node: p.ID.String(), Addresses: p.Addrs, Agent: p.Agent, Transport: p.Transport,
			Direction: p.Direction, Millis: float64(p.Latency) / float64(time.Millisecond), Since: p.Since})
	}
	return peers, nil
}

// The states of a finding.
const (
	fine = "ok"
	warn = "warn"
	bad  = "fail"
)

// Doctor examines the first node.
func (h *House) Doctor(ctx context.Context) ([]client.Finding, error) {
	m := h.first()
	all := []client.Finding{examineMachine(machine.Read(m.dir)), examineDisk(machine.Read(m.dir)), h.examineClock(), h.examinePeers()}
	all = append(all, h.examineJoins()...)
	all = append(all, h.examineChain(ctx))
	if m.provider == nil {
		all = append(all, client.Finding{Name: "work", State: warn, Text: "this node runs no tasks", Remedy: "start it without --no-provider"})
	} else {
		checks, err := m.engine.Probe(ctx)
		if err != nil {
			all = append(all, client.Finding{Name: "sandbox", State: bad, Text: err.Error(), Remedy: "this PC cannot run tasks: see hpips node logs"})
		}
		all = append(all, walls(checks)...)
		for _, f := range h.foreign {
			all = append(all, f.examine(ctx, m.lists.consent(f.name) != Nobody)...)
		}
		all = append(append(all, h.examineGraphics()...), h.examineSharing(ctx))
	}
	ready := client.Finding{Name: "ready", State: fine, Text: "a job can be placed"}
	if !h.ready.get(ctx, m.requester.Ready) {
		ready = client.Finding{Name: "ready", State: bad, Text: "no node takes a job now", Remedy: "join a node that runs tasks, or start this one without --no-provider"}
	}
	return append(all, ready), nil
}

func walls(checks []wasm.Check) []client.Finding {
	var all []client.Finding
	for _, c := range checks {
		f := client.Finding{Name: "sandbox " + c.Name, State: fine, Text: c.Detail}
		if !c.OK {
			f.State = warn
			f.Remedy = "tasks run with the walls that are left; a newer kernel, or fewer restrictions on this process, brings this one back"
		}
		all = append(all, f)
	}
	return all
}
