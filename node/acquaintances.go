package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// peersFile is where a node's folder keeps whom the node knew.
const peersFile = "peers.json"

const (
	maxAcquaintances = 64
	maxPeersFile     = 1 << 20
	lookAround       = time.Second // between two looks at who is connected
	firstCall        = time.Second // between the first and the second try to reach an old acquaintance; doubled up to lastCall
	lastCall         = 5 * time.Minute
	forgetAfter      = 7 * 24 * time.Hour
)

// acquaintance is a node that this one was connected to. A node that comes back at another address, to nodes that know only its old one,
// finds them by this memory.
type acquaintance struct {
	ID    peer.ID   `json:"id"`
	Addrs []string  `json:"addrs"` // what it listens on, multiaddrs
	Seen  time.Time `json:"seen"`

	calls int       // that failed since it was seen
	next  time.Time // when it is called again
}

// acquaintances keeps the connections of a node's earlier lives.
type acquaintances struct {
	log  *slog.Logger
	file string
	host host.Host
	list []*acquaintance // the last seen first
}

// Serve calls those whom an earlier life knew, and writes down whom this one meets, until ctx ends.
func (a *acquaintances) Serve(ctx context.Context) error {
	if err := a.load(); err != nil {
		a.log.Warn("Nodes of an earlier life are forgotten", "err", err)
	}
	tick := time.NewTicker(lookAround)
	defer tick.Stop()
	for {
		if a.meet(time.Now()) {
			if err := a.save(); err != nil {
				a.log.Warn("Nodes met cannot be written down", "err", err)
			}
		}
		a.call(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// load reads the memory strictly; a file that is none is an error, none at all is not.
func (a *acquaintances) load() error {
	f, err := os.Open(a.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil || fi.Size() > maxPeersFile {
		return errors.Join(err, fmt.Errorf("%s is larger than %d bytes", a.file, maxPeersFile))
	}
	dec := json.NewDecoder(f)
	dec.DisallowUnknownFields()
	var list []*acquaintance
	if err := dec.Decode(&list); err != nil {
		return fmt.Errorf("%s: %w", a.file, err)
	}
	a.list = slices.DeleteFunc(list, func(k *acquaintance) bool { return k == nil || k.ID == "" || k.ID == a.host.ID() })
	a.list = a.list[:min(len(a.list), maxAcquaintances)]
	return nil
}

func (a *acquaintances) save() error {
	text, err := json.MarshalIndent(a.list, "", " ")
	if err != nil {
		return err
	}
	return writeWhole(a.file, append(text, '\n'))
}

// meet notes who is connected now, and reports whether the file has to follow.
func (a *acquaintances) meet(now time.Time) (changed bool) {
	for _, id := range a.host.Network().Peers() {
		if a.host.Network().Connectedness(id) != network.Connected {
			continue
		}
		addrs := texts(a.host.Peerstore().Addrs(id))
		if len(addrs) == 0 {
			continue
		}
		k := a.find(id)
		if k == nil {
			k = &acquaintance{ID: id}
			a.list = append(a.list, k)
		}
		if !slices.Equal(k.Addrs, addrs) || now.Sub(k.Seen) > time.Hour {
			changed = true
			k.Addrs, k.Seen = addrs, now
		}
		k.calls, k.next = 0, time.Time{}
	}
	slices.SortStableFunc(a.list, func(x, y *acquaintance) int { return cmp.Compare(y.Seen.Unix(), x.Seen.Unix()) })
	known := len(a.list)
	a.list = slices.DeleteFunc(a.list, func(k *acquaintance) bool { return now.Sub(k.Seen) > forgetAfter })
	a.list = a.list[:min(len(a.list), maxAcquaintances)]
	return changed || len(a.list) != known
}

func (a *acquaintances) find(id peer.ID) *acquaintance {
	i := slices.IndexFunc(a.list, func(k *acquaintance) bool { return k.ID == id })
	if i < 0 {
		return nil
	}
	return a.list[i]
}

// call dials those who are not connected and whose time has come.
func (a *acquaintances) call(ctx context.Context) {
	for _, k := range a.list {
		if ctx.Err() != nil || a.host.Network().Connectedness(k.ID) == network.Connected || time.Now().Before(k.next) {
			continue
		}
		dial, stop := context.WithTimeout(ctx, 5*time.Second)
		err := a.host.Connect(dial, peer.AddrInfo{ID: k.ID, Addrs: multiaddrs(k.Addrs)})
		stop()
		if err == nil {
			a.log.Info("Found a node of an earlier life", "peer", k.ID)
			continue
		}
		k.next = time.Now().Add(min(firstCall<<min(k.calls, 20), lastCall))
		k.calls++
	}
}

// texts gives addresses in one order, without those that lead nowhere tomorrow.
func texts(addrs []ma.Multiaddr) []string {
	var out []string
	for _, a := range addrs {
		if _, err := a.ValueForProtocol(ma.P_CIRCUIT); err != nil {
			out = append(out, a.String())
		}
	}
	slices.Sort(out)
	return out[:min(len(out), 16)]
}

func multiaddrs(list []string) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, text := range list[:min(len(list), 16)] {
		if a, err := ma.NewMultiaddr(text); err == nil {
			out = append(out, a)
		}
	}
	return out
}
