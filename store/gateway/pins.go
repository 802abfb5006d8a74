package gateway

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/hpips/hpips/store"
)

// The states of a request to pin.
const (
	Queued  = "queued"  // it waits for its turn
	Pinning = "pinning" // what is missing is being fetched
	Pinned  = "pinned"  // all of it is here, held and durable
	Failed  = "failed"  // it was given up; Status.Info says why
)

// Pin is what a client asks to be held.
type Pin struct {
	CID     string            `json:"cid"`
	Name    string            `json:"name,omitempty"`    // 255 characters at most
	Origins []string          `json:"origins,omitempty"` // multiaddrs with /p2p/ID of who has it, 20 at most
	Meta    map[string]string `json:"meta,omitempty"`    // 100 entries at most
}

// Status is what became of it.
type Status struct {
	Request   string            `json:"requestid"`
	Status    string            `json:"status"`
	Created   time.Time         `json:"created"`
	Pin       Pin               `json:"pin"`
	Delegates []string          `json:"delegates"` // multiaddrs of this node, for who has it
	Info      map[string]string `json:"info,omitempty"`
}

// PinsConfig says how much a pinning service takes on.
type PinsConfig struct {
	File   string        // of its SQLite database
	Token  string        // that clients show, 16 characters at least
	AtOnce int           // requests that are fetched at the same time
	Most   int           // requests that are kept
	Bytes  int64         // of one request's content; 0 is no limit
	Idle   time.Duration // without a byte, after which a request fails
	Prices *Prices       // of what is held at a price; nil: a request that names one is refused
}

// DefaultPins are settings for a home with its database at file.
func DefaultPins(file, token string) PinsConfig {
	return PinsConfig{File: file, Token: token, AtOnce: 4, Most: 100_000, Idle: 5 * time.Minute}
}

// Pins is the IPFS Pinning Service API (ipfs.github.io/pinning-services-api-spec, version 1.0.0) over the pins of the store. A request that was
// answered is on the disk; after a kill it goes on where it was.
//
// Each request holds its content by a pin of its own: a folder with the content as its only entry, named by the request. So two requests for one
// content, or the owner's own pin of it, do not let go of each other's.
type Pins struct {
	log       *slog.Logger
	cfg       PinsConfig
	store     *store.Store
	delegates func() []string
	list      *pinList
	wake      chan struct{}

	mu      sync.Mutex
	working map[string]context.CancelCauseFunc // by request
}

// pinPrefix begins the names of the service's pins in the store.
const pinPrefix = "pins/"

var (
	errRemoved = errors.New("the request was removed")
	errIdle    = errors.New("no connected node sent any of it")
)

// OpenPins opens the service. delegates gives the addresses that it is reached by, with /p2p/ID. Serve works; Close it in any case.
func OpenPins(log *slog.Logger, blocks *store.Store, delegates func() []string, cfg PinsConfig) (*Pins, error) {
	if len(cfg.Token) < 16 || cfg.AtOnce < 1 || cfg.Most < 1 || cfg.Bytes < 0 || cfg.Idle <= 0 {
		return nil, errors.New("pins: token, counts or times are not possible")
	}
	list, err := openPinList(cfg.File)
	if err != nil {
		return nil, err
	}
	p := &Pins{log: log, cfg: cfg, store: blocks, delegates: delegates, list: list, wake: make(chan struct{}, 1), working: map[string]context.CancelCauseFunc{}}
	if err := p.recall(); err != nil {
		return nil, errors.Join(err, list.close())
	}
	return p, nil
}

// Recall gives what the service of a home holds at a price its price where the service itself does not run. file is its database, which need not be there.
func Recall(log *slog.Logger, blocks *store.Store, file string, prices *Prices) error {
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	list, err := openPinList(file)
	if err != nil {
		return err
	}
	p := &Pins{log: log, cfg: PinsConfig{Prices: prices}, store: blocks, list: list}
	return errors.Join(p.recall(), list.close())
}

// recall gives what is held at a price its price again, before anybody is served.
func (p *Pins) recall() error {
	if p.cfg.Prices == nil {
		return nil
	}
	ctx := context.Background()
	all, err := p.list.read(ctx, pinColumns+" WHERE EXISTS (SELECT 1 FROM json_each(meta) WHERE key = ?)", PriceMeta)
	if err != nil {
		return fmt.Errorf("pins: prices: %w", err)
	}
	for _, s := range all {
		rate, err := rateOf(s.Pin.Meta)
		c, wrong := cid.Decode(s.Pin.CID)
		if err = errors.Join(err, wrong); err != nil {
			return fmt.Errorf("pins: request %s: %w", s.Request, err)
		}
		if s.Status == Failed {
			continue
		}
		if s.Status != Pinned {
			p.cfg.Prices.announce(s.Request, c, rate)
			continue
		}
		if err := p.cfg.Prices.set(ctx, p.store, s.Request, c, rate); err != nil {
			p.log.Warn("Content with a price is not whole", "cid", s.Pin.CID, "err", err)
		}
	}
	return nil
}

// Close releases the database. Serve must not be running.
func (p *Pins) Close() error { return p.list.close() }

// Serve pins what is asked for, oldest first, until ctx ends. What a life before this one left half done is done again.
func (p *Pins) Serve(ctx context.Context) error {
	if err := p.begin(ctx); err != nil {
		return err
	}
	var hands sync.WaitGroup
	defer hands.Wait()
	free := make(chan struct{}, p.cfg.AtOnce)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case free <- struct{}{}:
		}
		work, err := p.list.next(ctx)
		if ctx.Err() != nil {
			return ctx.Err() // what next took out is put back by the next life
		}
		if err != nil {
			return fmt.Errorf("pins: %w", err)
		}
		if work == nil { // nothing waits
			<-free
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-p.wake:
			}
			continue
		}
		hands.Go(func() {
			defer func() { <-free }()
			p.carry(ctx, *work)
		})
	}
}

// begin puts what was under way back into the queue, and lets go of pins whose requests are gone.
func (p *Pins) begin(ctx context.Context) error {
	roots, err := p.list.begin(ctx)
	if err != nil {
		return fmt.Errorf("pins: %w", err)
	}
	held, err := p.store.Pins(ctx)
	if err != nil {
		return fmt.Errorf("pins: %w", err)
	}
	for _, h := range held {
		if strings.HasPrefix(h.Name, pinPrefix) && !roots[h.CID.String()] {
			p.release(h.CID.String())
		}
	}
	return nil
}

func (p *Pins) notice() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// carry takes one request to its end. The end of ctx leaves it for the next life.
func (p *Pins) carry(ctx context.Context, w pinWork) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p.mu.Lock()
	p.working[w.id] = cancel
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.working, w.id)
		p.mu.Unlock()
	}()
	_, err := p.list.get(ctx, w.id) // it may have been removed before it could be stopped
	if err == nil {
		err = p.hold(ctx, w)
	}
	if err != nil {
		p.cfg.Prices.drop(w.id)
	}
	switch cause := context.Cause(ctx); {
	case err == nil, errors.Is(err, errNoRequest), errors.Is(err, errRemoved), errors.Is(cause, errRemoved):
		return
	case cause != nil:
		return // this life ends
	case errors.Is(err, errIdle):
		err = fmt.Errorf("%w within %v: check that a node that has it is up, and name it in origins", errIdle, p.cfg.Idle)
	case errors.Is(err, store.ErrTooLarge):
		err = fmt.Errorf("it is larger than this service takes: %d bytes", p.cfg.Bytes)
	}
	p.log.Info("A content could not be pinned", "cid", w.cid, "request", w.id, "err", err)
	if err := p.list.fail(context.WithoutCancel(ctx), w.id, err.Error()); err != nil {
		p.log.Warn("A request to pin could not be marked as failed", "request", w.id, "err", err)
	}
}

// hold brings the content here and pins it. A request that is removed meanwhile keeps nothing.
func (p *Pins) hold(ctx context.Context, w pinWork) error {
	c, err := cid.Decode(w.cid)
	if err != nil {
		return err
	}
	free, err := p.store.Reserve(ctx) // until the pin holds it
	if err != nil {
		return err
	}
	defer free()
	if w.rate > 0 && p.cfg.Prices != nil {
		p.cfg.Prices.announce(w.id, c, w.rate)
	}
	if err := p.bring(ctx, c, w.origins); err != nil {
		return err
	}
	if w.rate > 0 && p.cfg.Prices != nil {
		if err := p.cfg.Prices.set(ctx, p.store, w.id, c, w.rate); err != nil {
			return err
		}
	}
	folder, err := p.store.Dir(ctx, []store.Link{{Name: w.id, CID: c}})
	if err != nil {
		return err
	}
	root := folder.CID.String()
	if there, err := p.list.rooted(ctx, w.id, root); err != nil || !there {
		return errors.Join(err, errRemoved)
	}
	if err := p.store.Pin(ctx, folder.CID, pinPrefix+w.id); err != nil {
		return err
	}
	there, err := p.list.pinned(context.WithoutCancel(ctx), w.id)
	if err != nil {
		return err
	}
	if !there {
		p.release(root)
		return errRemoved
	}
	p.release(w.instead)
	return nil
}

// bring fetches what is not here; its time begins again with each byte that comes.
func (p *Pins) bring(ctx context.Context, c cid.Cid, origins []string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(p.cfg.Idle, func() { cancel(errIdle) })
	defer late.Stop()
	from, err := p.meet(origins)
	if err != nil {
		return err
	}
	_, err = p.store.FetchWithin(ctx, c, p.cfg.Bytes, func(store.Progress) { late.Reset(p.cfg.Idle) }, from...)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

func (p *Pins) meet(origins []string) ([]peer.ID, error) {
	var all []multiaddr.Multiaddr
	for _, o := range origins {
		a, err := multiaddr.NewMultiaddr(o)
		if err != nil {
			return nil, fmt.Errorf("origin %s: %w", o, err)
		}
		all = append(all, a)
	}
	return p.store.Meet(all)
}

// release lets go of a pin of the service; one that is not there is no error. What it held stays on the disk until garbage is collected.
func (p *Pins) release(root string) {
	if root == "" {
		return
	}
	c, err := cid.Decode(root)
	if err == nil {
		err = p.store.Unpin(context.Background(), c)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		p.log.Warn("A pin could not be released", "root", root, "err", err)
	}
}

// add takes a request on; old is the one that it replaces, or "".
func (p *Pins) add(ctx context.Context, pin Pin, old string) (Status, error) {
	raw := make([]byte, 12)
	_, _ = rand.Read(raw) // never fails since Go 1.24
	s, err := p.list.add(ctx, hex.EncodeToString(raw), pin, old, p.cfg.Most)
	if err != nil {
		return Status{}, err
	}
	p.stop(old)
	p.cfg.Prices.drop(old)
	p.notice()
	return s, nil
}

// remove gives a request up. What it held is let go of when it returns.
func (p *Pins) remove(ctx context.Context, id string) error {
	roots, err := p.list.remove(ctx, id)
	if err != nil {
		return err
	}
	p.stop(id)
	p.cfg.Prices.drop(id)
	for _, root := range roots {
		p.release(root)
	}
	return nil
}

func (p *Pins) stop(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if cancel := p.working[id]; cancel != nil {
		cancel(errRemoved)
	}
}
