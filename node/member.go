package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hpips/hpips/auditor"
	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/process"
	"github.com/hpips/hpips/engine/sandbox"
	"github.com/hpips/hpips/engine/wasm"
	"github.com/hpips/hpips/machine"
	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/provider"
	"github.com/hpips/hpips/requester"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/store"
	"github.com/hpips/hpips/store/gateway"
)

// member is one node of a house: keys, host, store, and its conductors. Each keeps to its own folder and its own sockets.
type member struct {
	log       *slog.Logger
	dir       string
	owner     string
	label     string
	disk      int64 // bytes for inputs and results of tasks, where nothing is said
	key       crypto.PrivKey
	host      *p2p.Host
	sessions  *p2p.Sessions
	store     *store.Store
	engine    *wasm.Engine
	foreign   []*foreign           // engines that work where they are here and its owner lets them
	provider  *provider.Provider   // nil for a node that runs no tasks
	images    *images              // likewise
	broker    *market.Broker       // likewise
	requester *requester.Requester // nil for the further nodes of a development network
	examiner  *auditor.Examiner    // nil for a node without a chain
	juror     *auditor.Juror       // nil for a node that is none
	chain     *chaining            // nil for a node that takes no part in the chain
	keeper    *keeper              // likewise
	till      *till                // nil for a node without a chain
	lists     *lists
	guide     *gateway.Neighbours  // who has what
	prices    *gateway.Prices      // of what its gateway sells
	recalling atomic.Bool          // its prices are not known yet: peers are given nothing until then
	records   records              // of the chain, for the guide
	gateway   *gateway.Gateway     // nil: it serves no content over HTTP
	pins      *gateway.Pins        // nil: it takes no requests to pin
	served    *prometheus.Registry // the gateway's figures
	full      chan struct{}        // told when an import did not fit on the disk
	closers   []func() error       // in the order of opening
}

// openMember builds a node bottom-up; what was opened before an error is closed again.
func openMember(log *slog.Logger, dir string, cfg Config, role role) (_ *member, err error) {
	m := &member{log: log, dir: dir, label: cfg.Label, full: make(chan struct{}, 1), lists: newLists(log.With("room", "node"), cfg), prices: gateway.NewPrices()}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close())
		}
	}()
	if err := m.identify(); err != nil {
		return nil, err
	}
	if err := m.join(cfg); err != nil {
		return nil, err
	}
	books := role.books
	if cfg.Chain {
		if m.chain, err = openChain(m, cfg, role); err != nil {
			return nil, err
		}
		books, m.keeper = m.chain, newKeeper(m, cfg)
	}
	if books != nil {
		if m.till, err = openTill(m, books); err != nil {
			return nil, err
		}
		m.opened(m.till.close)
	}
	if err := m.sandboxes(cfg); err != nil {
		return nil, err
	}
	if m.till != nil {
		if err := m.examining(cfg); err != nil {
			return nil, err
		}
	}
	if cfg.Provide {
		if err := m.enlist(cfg, role); err != nil {
			return nil, err
		}
		if err := m.provide(cfg); err != nil {
			return nil, err
		}
	}
	if role.request {
		if err := m.request(); err != nil {
			return nil, err
		}
	} else {
		cfg.Gateway.Address = "" // people speak to the first node
	}
	return m, m.open(cfg)
}

// role is what a node of a house does besides working.
type role struct {
	request bool   // it hands jobs in
	address string // file that tells wallets where its chain node is; empty: nobody is told
	foreign []*foreign
	books   *chaining // of another node in this process, by which it is paid if it has no chain node of its own; nil: none
}

// identify reads or makes the keys.
func (m *member) identify() error {
	var err error
	if m.key, err = loadKey(m.dir, "node.key"); err != nil {
		return err
	}
	owner, err := loadKey(m.dir, "owner.key")
	if err != nil {
		return err
	}
	m.owner, err = ownerLabel(owner)
	return err
}

// join opens the ground: host, sessions, store.
func (m *member) join(cfg Config) error {
	host, err := p2p.New(m.log.With("room", "p2p"), m.key, cfg.network())
	if err != nil {
		return asUsage(err, "choose free addresses with --listen, such as --listen /ip4/0.0.0.0/tcp/0")
	}
	m.host = host
	m.opened(host.Close)
	m.sessions = p2p.NewSessions(m.log.With("room", "p2p"), host, p2p.DefaultSessions())
	settings := store.Default()
	settings.Withheld = m.withheld
	if _, err := os.Stat(m.pinsFile()); err == nil {
		m.recalling.Store(true)
	}
	if cfg.throttle != nil {
		settings.Gives = func(p peer.ID) bool { return cfg.throttle.Closed() == "" || m.deals(p) }
	}
	blocks, err := store.Open(m.log.With("room", "store"), filepath.Join(m.dir, "blocks"), host.Libp2p(), settings)
	if err != nil {
		return err
	}
	m.store = blocks
	m.opened(blocks.Close)
	return nil
}

// deals reports whether a peer works for this node, or this node for it, now: that goes on where others are given nothing any more.
func (m *member) deals(p peer.ID) bool {
	return m.provider != nil && m.provider.Deals(p) || m.requester != nil && m.requester.Deals(p)
}

// asUsage gives an error of opening the words for people.
func asUsage(err error, hint string) error {
	return &job.Failure{Code: job.CodeUnavailable, Message: err.Error(), Hint: hint}
}

// sandboxes builds what runs programs: those of others, and the checkers of this node's own jobs.
func (m *member) sandboxes(cfg Config) error {
	child := cfg.Child
	if child == nil {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("node: where this program is: %w", err)
		}
		child = []string{self, "wasm-child"}
	}
	cache := filepath.Join(m.dir, "cache", "wasm")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return fmt.Errorf("node: %w", err)
	}
	var err error
	m.engine, err = wasm.New(m.log.With("room", "engine"), wasm.Config{Command: child, Cache: cache, Nice: cfg.nice(0)})
	return err
}

// enlist takes the engines that not every PC has. That for native programs is looked for at once where the owner wants it, so that it is known what this PC takes.
func (m *member) enlist(cfg Config, r role) error {
	m.foreign = r.foreign
	for _, f := range m.foreign {
		var lacking *sandbox.Missing
		if f.name != process.Name || !cfg.wants(f.name) {
			continue
		} else if _, err := f.look(); err != nil && !errors.As(err, &lacking) {
			return err
		}
	}
	return nil
}

// lacking says why engines are not here, as far as that is known.
func (m *member) lacking() map[string]string {
	all := map[string]string{}
	for _, f := range m.foreign {
		why := f.lacks()
		if m.lists.consent(f.name) == Nobody {
			why = unwanted
		}
		if why != "" {
			all[f.name] = why
		}
	}
	return all
}

// provide builds what runs tasks: the provider, and the bidder that sells its slots.
func (m *member) provide(cfg Config) error {
	deps := provider.Deps{Self: m.host.ID(), Sessions: provider.Over(m.sessions), Store: m.store, Engines: map[string]engine.Engine{m.engine.Name(): lying(m.dir, m.engine)}, Alone: machine.Alone}
	for _, f := range m.foreign {
		deps.Engines[f.name] = f
	}
	m.images = newImages(m)
	deps.Lacking, deps.Barred, deps.Images = m.lacking, m.barred, m.images.Use
	terms := market.DefaultBidder()
	terms.Closed, terms.Reach = m.closed, cfg.Reach
	terms.Owner, terms.Network, terms.Class, terms.Region = m.owner, m.label, machine.Class(), cfg.Region
	terms.Whom, terms.Speed = m.lists.selling, (&pacer{log: m.log.With("room", "node"), home: cfg.Home}).now
	if m.till != nil {
		deps.Payee = paid{m.till}
		terms.Rates, terms.Pricing.Auto, terms.Account, terms.Ours = cfg.Prices.Rates, cfg.Prices.Auto, m.till.account(m.owner), m.till.ours
	}
	p, err := provider.New(m.log.With("room", "provider"), deps, m.providing(cfg))
	if err != nil {
		return err
	}
	m.provider = p
	bidder, err := market.NewBidder(m.log.With("room", "market"), m.key, time.Now, p, terms)
	if err != nil {
		return err
	}
	answers := &answerer{host: m.host}
	bidder.Answer(answers)
	return answers.err
}

// providing is what this node gives.
func (m *member) providing(cfg Config) provider.Config {
	c := provider.Default(filepath.Join(m.dir, "tasks"))
	c.Slots = cfg.slots()
	c.Memory = max(int64(c.Slots)<<30, 4<<30)
	if cfg.Memory > 0 {
		c.Memory = int64(cfg.Memory)
	}
	if free := machine.Read(m.dir).DiskFree; free > 0 {
		c.Disk = max(1, min(c.Disk, free/5*4))
	}
	m.disk = c.Disk
	if cfg.Disk > 0 {
		c.Disk = int64(cfg.Disk)
	}
	return c
}

// answerer registers calls with the host and keeps the first error.
type answerer struct {
	host *p2p.Host
	err  error
}

// Handle registers one protocol.
func (a *answerer) Handle(proto protocol.ID, max int, fn func(ctx context.Context, from peer.ID, req []byte) ([]byte, error)) {
	a.err = errors.Join(a.err, a.host.Handle(proto, max, fn))
}

// request builds what hands jobs in: the broker and the requester.
func (m *member) request() error {
	m.broker = market.NewBroker(m.log.With("room", "market"), m.key, time.Now, m.host, market.DefaultBroker())
	known := m.host.Libp2p().Peerstore()
	deps := requester.Deps{
		Self:   m.host.ID(),
		Peers:  func() []peer.ID { return m.host.Candidates(market.QuoteProtocol) },
		Dial:   func(p peer.ID) requester.Session { return m.sessions.Open(p, lease.Session) },
		Market: m.broker,
		Store:  m.store,
		Engine: m.engine,
		Whom:   m.lists.buying,
		Addrs: func(p peer.ID) []string {
			var out []string
			for _, a := range known.Addrs(p) {
				out = append(out, a.String())
			}
			return out
		},
		Learn: func(p peer.ID, addrs []string) {
			for _, text := range addrs {
				if a, err := ma.NewMultiaddr(text); err == nil {
					known.AddAddr(p, a, peerstore.RecentlyConnectedAddrTTL)
				}
			}
		},
	}
	cfg := hasty(m.dir, requester.Default(m.dir))
	if m.till != nil {
		deps.Payer = paying{m.till}
		deps.Court, cfg.Jury = &court{t: m.till}, true
		if m.examiner != nil {
			deps.Examine = examine(m.examiner)
		}
	}
	r, err := requester.New(m.log.With("room", "requester"), deps, cfg)
	if err != nil {
		return err
	}
	m.requester = r
	m.opened(r.Close)
	return m.host.Handle(lease.HearingProtocol, lease.MaxAsk, r.Hear)
}

// examining builds what runs results of others again: a juror of a node that takes part in the chain and works for others.
func (m *member) examining(cfg Config) (err error) {
	m.examiner, err = auditor.New(m.log.With("room", "auditor"), m.store, guessing(m.dir, m.engine), auditor.Default(filepath.Join(m.dir, "audits")))
	if err != nil || m.chain == nil || !cfg.Provide {
		return err
	}
	price := cfg.Prices.Rates.CPU
	if price == 0 {
		price = market.DefaultRates.CPU
	}
	b := bar{m.chain, m.host, leastFor(price)}
	deps, juror := perjured(m.dir, b, auditor.Deps{Keys: b, Chain: b, Dial: b.dial, Examiner: m.examiner}, auditor.DefaultJuror())
	m.juror = auditor.NewJuror(m.log.With("room", "auditor"), deps, juror)
	return nil
}

func (m *member) opened(undo func() error) { m.closers = append(m.closers, undo) }

// close closes in reverse what was opened. It may be repeated.
func (m *member) close() error {
	var errs []error
	for i := len(m.closers) - 1; i >= 0; i-- {
		errs = append(errs, m.closers[i]())
	}
	m.closers = nil
	return errors.Join(errs...)
}
