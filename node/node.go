// Package node is the only room that knows all others: it builds a node bottom-up, runs it as one supervised tree, and closes it in reverse.
// It promises that a home belongs to one process at a time, that keys and tokens on disk are their owner's alone, and that what starts also stops.
// It leaves every decision about work, content and peers to the rooms that it joins, and all talk with people to cli and api.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/hpips/hpips/api"
	"github.com/hpips/hpips/machine"
	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/spec/job"
)

// House is what runs in one process: one node, or the nodes of a development network. The first node is the one that people speak to.
type House struct {
	log     *slog.Logger
	cfg     Config
	dev     bool
	home    *home
	members []*member
	api     *api.Server
	sharing *sharing
	started time.Time
	closers []func() error
	ready   readiness
	foreign []*foreign // engines that not every PC has, the same for all members
}

// WayChild is how the program starts itself to make a native task's way out.
const WayChild = "way-child"

// nice is how far programs of others stand behind the owner's own for the processor, 0 to 19: where somebody may be at this PC, as far as can be; else least.
func (c Config) nice(least int) int {
	if c.Share.Presence == string(machine.Headless) {
		return least
	}
	return 19
}

// readiness remembers for a moment whether a job can be placed, so that asking for the status asks no peers each time.
type readiness struct {
	mu   sync.Mutex
	yes  bool
	when time.Time
}

// New builds the node of a home. It listens when New returns and works while Serve runs. Close it in any case.
func New(ctx context.Context, cfg Config) (*House, error) { return build(ctx, cfg, 1, false) }

// Dev builds a network of n nodes on loopback, each with its own folder, keys, owner and sockets, joined to the first, which also hands jobs in.
func Dev(ctx context.Context, cfg Config, n int) (*House, error) { return build(ctx, cfg, n, true) }

func build(ctx context.Context, cfg Config, n int, dev bool) (_ *House, err error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	cfg.throttle = p2p.NewThrottle()
	h := &House{cfg: cfg, dev: dev, started: time.Now()}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	if h.home, err = openHome(cfg.Home); err != nil {
		return nil, err
	}
	h.opened(h.home.close)
	log, file, err := openLog(cfg.Home, cfg.LogLevel, cfg.LogFormat, cfg.Stderr)
	if err != nil {
		return nil, err
	}
	h.log = log
	h.opened(file.Close)
	for _, f := range []*foreign{h.natives(), h.containers()} {
		h.foreign = append(h.foreign, f)
		h.opened(f.shut)
	}
	if dev && cfg.Chain {
		if err := h.found(n); err != nil {
			return nil, err
		}
	}
	if err := h.populate(ctx, n); err != nil {
		return nil, err
	}
	shares := h.cfg
	if dev && shares.Share.Presence == "auto" {
		shares.Share.Presence = "headless" // its nodes are the developer's own
	}
	h.sharing = newSharing(h.log, shares, h.members)
	return h, h.openAPI()
}

// populate opens the members.
func (h *House) populate(ctx context.Context, n int) error {
	for k := 1; k <= n; k++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		log, dir, cfg := h.log, h.cfg.Home, h.cfg
		if h.dev {
			cfg, dir = h.devConfig(k, n), h.devHome(k)
			log = log.With("node", k)
		}
		role := role{request: k == 1, foreign: h.foreign}
		if k == 1 {
			role.address = h.home.path(ChainAddressFile)
		} else {
			role.books = h.first().chain
		}
		m, err := openMember(log, dir, cfg, role)
		if err != nil {
			return err
		}
		h.members = append(h.members, m)
		h.opened(m.close)
	}
	return nil
}

// devConfig is the configuration of the k-th of n development nodes.
func (h *House) devConfig(k, n int) Config {
	c := h.cfg
	c.Listen, c.MDNS, c.Label = []string{"/ip4/127.0.0.1/tcp/0"}, false, fmt.Sprintf("dev-%d", k)
	c.Chain = c.Chain && k <= h.seats(n)
	c.Unsaid = Everybody // all of it is the owner's own
	if k > 1 {
		c.ChainNode = ChainNode{} // wallets speak to the first
	}
	if c.Slots == 0 {
		c.Slots = max(1, runtime.GOMAXPROCS(0)/n)
	}
	if k > 1 {
		c.Join = h.members[0].host.Addrs()
	}
	return c
}

// devHome is the folder of the k-th development node.
func (h *House) devHome(k int) string { return devHome(h.cfg.Home, k) }

func devHome(home string, k int) string { return filepath.Join(home, "dev", fmt.Sprintf("node-%d", k)) }

// NodeHome is the folder with the keys and the chain of a home's node: the home itself, or that of the first node of a development network.
func NodeHome(home string) string {
	if first := devHome(home, 1); there(first) {
		return first
	}
	return home
}

func (h *House) openAPI() error {
	token, err := h.home.token()
	if err != nil {
		return err
	}
	h.api, err = api.New(h.log.With("room", "api"), h.first().requester, &content{m: h.first()}, h, h.metrics(),
		api.Config{Address: h.cfg.API, Token: token, Version: h.cfg.Version})
	if err != nil {
		return err
	}
	h.opened(h.api.Close)
	return nil
}

func (h *House) first() *member { return h.members[0] }

func (h *House) opened(undo func() error) { h.closers = append(h.closers, undo) }

// Close closes in reverse what was opened. Serve must have returned. It may be repeated.
func (h *House) Close() error {
	var errs []error
	for i := len(h.closers) - 1; i >= 0; i-- {
		errs = append(errs, h.closers[i]())
	}
	h.closers = nil
	return errors.Join(errs...)
}

// ID is the peer ID of the first node.
func (h *House) ID() string { return h.first().host.ID().String() }

// API is the host:port of the API.
func (h *House) API() string { return h.api.Addr() }

// Addresses are what others can join by.
func (h *House) Addresses() []string { return h.first().host.Addrs() }

// Log opens the end of the log.
func (h *House) Log(lines int) (io.ReadCloser, error) {
	text, err := LogEnd(h.cfg.Home, lines)
	if err != nil {
		return nil, &job.Failure{Code: job.CodeInternal, Message: "the log cannot be read: " + err.Error()}
	}
	return io.NopCloser(newReader(text)), nil
}
