package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/container"
	"github.com/hpips/hpips/engine/process"
	"github.com/hpips/hpips/engine/sandbox"
	"github.com/hpips/hpips/machine"
)

// foreign is an engine for what runs on the processor itself, native programs or images: not every PC has it, and its owner may want none of it. It is looked for when it is
// first wanted, as that takes its time, and once for all members of a house.
type foreign struct {
	log  *slog.Logger
	name string // the engine's
	word string // of the configuration
	what string // it runs
	find func() (probed, error)

	finding sync.Mutex // held while the engine is looked for, which takes its time

	mu      sync.Mutex
	looked  bool
	engine  probed
	lacking *sandbox.Missing
	failed  error // the last time; what is this machine's fault for now is tried again
}

// probed is an engine that can say what its walls are worth.
type probed interface {
	engine.Engine
	Probe(ctx context.Context) ([]sandbox.Check, error)
}

// Name is the engine's.
func (f *foreign) Name() string { return f.name }

// Open opens a sandbox of the engine, which it looks for if nobody has.
func (f *foreign) Open(ctx context.Context, p engine.Program) (engine.Sandbox, error) {
	e, err := f.look()
	if err != nil {
		return nil, err
	}
	return e.Open(ctx, p)
}

// look finds the engine. Who comes meanwhile waits.
func (f *foreign) look() (probed, error) {
	f.finding.Lock()
	defer f.finding.Unlock()
	if e, err, looked := f.known(); looked {
		return e, err
	}
	e, err := f.find()
	f.mu.Lock()
	if f.engine, f.failed = e, err; errors.As(err, &f.lacking) {
		f.log.Info("An engine is not here", "engine", f.name, "why", f.lacking.What, "remedy", f.lacking.Remedy)
	}
	f.looked = err == nil || f.lacking != nil
	f.mu.Unlock()
	return e, err
}

// known is what the last look found, if it does not have to be repeated.
func (f *foreign) known() (e probed, err error, looked bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.engine, f.failed, f.looked
}

// lacks says why the engine is not here, as far as anybody has looked; "" when it may be.
func (f *foreign) lacks() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lacking == nil {
		return ""
	}
	return f.lacking.Error()
}

// kin are the first processes of its tasks, where another program has started them.
func (f *foreign) kin() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e, ok := f.engine.(interface{ Kin() []int }); ok {
		return e.Kin()
	}
	return nil
}

// shut ends what the engine has started.
func (f *foreign) shut() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, ok := f.engine.(interface{ Close() error }); ok {
		return c.Close()
	}
	return nil
}

// findTime is how long finding an engine may take.
const findTime = time.Minute

// natives is the engine for native programs. It is found in a moment.
func (h *House) natives() *foreign {
	return &foreign{log: h.log, name: process.Name, word: "native", what: "native programs", find: func() (probed, error) {
		ctx, cancel := context.WithTimeout(context.Background(), findTime)
		defer cancel()
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("node: where this program is: %w", err)
		}
		return found(process.New(ctx, h.log.With("room", "engine"),
			process.Config{Nice: h.cfg.nice(10), Reach: h.cfg.Reach, Pace: h.cfg.throttle.Conn, Seen: h.seen, Way: []string{self, WayChild}}))
	}}
}

// seen are the addresses by which other nodes say that they see this machine, or which its router gave it: its own, and behind a router that one's.
func (h *House) seen() (all []netip.Addr) {
	for _, text := range h.first().host.Addrs() {
		if a, ok := addressIn(text); ok && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}

// addressIn is the IP address in a multiaddress; those by way of a relay are the relay's.
func addressIn(text string) (netip.Addr, bool) {
	a, err := ma.NewMultiaddr(text)
	if err != nil {
		return netip.Addr{}, false
	}
	if _, err := a.ValueForProtocol(ma.P_CIRCUIT); err == nil {
		return netip.Addr{}, false
	}
	ip, err := manet.ToIP(a)
	if err != nil {
		return netip.Addr{}, false
	}
	is, ok := netip.AddrFromSlice(ip)
	return is.Unmap(), ok
}

// containers is the engine for images. Finding it may start a service and takes seconds, so that waits for the first who wants one.
func (h *House) containers() *foreign {
	cfg := container.Config{Nice: h.cfg.nice(10), Runtime: h.cfg.Runtime, Dir: filepath.Join(h.cfg.Home, "cache", "containers")}
	if free := machine.Read(h.cfg.Home).DiskFree; free > 0 { // images leave most of it to others: half to all of them together, a quarter to one, and to those that nobody uses
		cfg.MaxImage, cfg.Images, cfg.AllImages = min(20<<30, max(1, free/4)), min(40<<30, max(1, free/4)), min(80<<30, max(1, free/2))
	}
	if len(cfg.Dir) > longest {
		cfg.Dir = "" // one among the system's temporary folders
	}
	f := &foreign{log: h.log, name: container.Name, word: "containers", what: "container images", find: func() (probed, error) {
		ctx, cancel := context.WithTimeout(context.Background(), findTime)
		defer cancel()
		if err := os.MkdirAll(cfg.Dir, 0o700); cfg.Dir != "" && err != nil {
			return nil, fmt.Errorf("node: %w", err)
		}
		return found(container.New(ctx, h.log.With("room", "engine"), cfg))
	}}
	if f.lacking = container.Installed(cfg); f.lacking != nil {
		f.looked, f.failed = true, f.lacking
	}
	return f
}

// longest is how long the path of a folder for a socket may be, in bytes (unix(7)).
const longest = 80

// found keeps a nil engine from becoming one that is not nil.
func found[E probed](e E, err error) (probed, error) {
	if err != nil {
		return nil, err
	}
	return e, nil
}

// examine runs programs in sandboxes of the engine to see which walls stand and which limits hold.
func (f *foreign) examine(ctx context.Context, wanted bool) []client.Finding {
	if !wanted {
		return []client.Finding{{Name: f.name, State: fine, Text: f.what + " are not run, as the owner wants it"}}
	}
	e, err := f.look()
	var lacking *sandbox.Missing
	if errors.As(err, &lacking) {
		return []client.Finding{{Name: f.name, State: warn, Text: lacking.What, Remedy: lacking.Remedy}}
	}
	var checks []sandbox.Check
	if err == nil {
		checks, err = e.Probe(ctx)
	}
	if err != nil {
		return []client.Finding{{Name: f.name, State: bad, Text: err.Error(), Remedy: "this PC cannot run " + f.what + ": see hpips node logs"}}
	}
	var all []client.Finding
	for _, c := range checks {
		finding := client.Finding{Name: f.name + " " + c.Name, State: fine, Text: c.Detail}
		if !c.OK {
			finding.State = warn
			finding.Remedy = cmp.Or(c.Remedy, fmt.Sprintf("run no %s of others here (hpips share set %s nobody), or start the node as a user's service with Delegate=yes", f.what, f.word))
		}
		all = append(all, finding)
	}
	return all
}
