//go:build linux

package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/cometbft/cometbft/config"
	rpcclient "github.com/cometbft/cometbft/rpc/client"
	cmttypes "github.com/cometbft/cometbft/types"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/chaintest"
	fullnode "github.com/hpips/hpips/chain/full"
)

// benchChain is how both chains are called, so that the same signed transfers are good on either.
const benchChain = "hpips-bench-1"

// town is a chain in this process: one client for each node.
type town struct {
	name    string
	codec   chain.Codec
	doc     *cmttypes.GenesisDoc
	clients []rpcclient.Client
	nodes   []*fullnode.Node // ours alone
}

// people are so many, each with keys of its own.
func people(name string, n int) (all []chaintest.Person) {
	for i := range n {
		all = append(all, chaintest.New(fmt.Sprintf("%s-%d", name, i)))
	}
	return all
}

// founding is the genesis of our chain: seats of their own, and money for savers.
func founding(t *testing.T, seats, savers []chaintest.Person, change func(*chain.Genesis)) *cmttypes.GenesisDoc {
	t.Helper()
	g, err := chaintest.Genesis(benchChain, seats...)
	must(t, err)
	for _, p := range savers {
		g.Grants = append(g.Grants, chain.Grant{Address: p.Address(), Amount: 1_000_000_000, From: "community", Label: "bench"})
	}
	if change != nil {
		change(&g)
	}
	doc, err := g.Build()
	must(t, err)
	return doc
}

// ours founds our chain as hpips runs it, every node with its own home, engine and state, and connected to some five that came before it.
func ours(t *testing.T, doc *cmttypes.GenesisDoc, seats []chaintest.Person, change func(*fullnode.Config)) *town {
	t.Helper()
	codec, err := chain.Encoding()
	must(t, err)
	w := &town{name: "hpips", codec: codec, doc: doc}
	dir, luck := t.TempDir(), rand.New(rand.NewPCG(1, 2))
	for i, p := range seats {
		c := fullnode.Config{
			Home: filepath.Join(dir, p.Name), Doc: doc, Consensus: p.Consensus, VRF: p.VRF, Listen: "127.0.0.1:0", Dev: true, Log: quiet(t),
		}
		for _, k := range luck.Perm(i)[:min(i, 5)] {
			c.Peers = append(c.Peers, w.nodes[k].Address())
		}
		if change != nil {
			change(&c)
		}
		n, err := fullnode.New(c)
		must(t, err)
		w.nodes, w.clients = append(w.nodes, n), append(w.clients, n.Client())
		served(t, n)
	}
	w.await(t, 1)
	return w
}

// served runs a node until the test ends.
func served(t *testing.T, n *fullnode.Node) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("a chain node ended: %v", err)
		}
	})
}

// settings are those with which hpips runs the engine.
func settings(t *testing.T, doc *cmttypes.GenesisDoc, p chaintest.Person) config.Config {
	t.Helper()
	n, err := fullnode.New(fullnode.Config{Home: t.TempDir(), Doc: doc, Consensus: p.Consensus, VRF: p.VRF, Listen: "127.0.0.1:0", Dev: true, Log: quiet(t)})
	must(t, err)
	s := n.Settings()
	must(t, n.Close())
	return s
}

func quiet(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
}

// height is that of a node's last block.
func height(t *testing.T, c rpcclient.Client) int64 {
	t.Helper()
	st, err := c.Status(t.Context())
	must(t, err)
	return st.SyncInfo.LatestBlockHeight
}

// await polls until all nodes have a height.
func (w *town) await(t *testing.T, least int64) {
	t.Helper()
	limit, tick := time.After(10*time.Minute), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for _, c := range w.clients {
		for height(t, c) < least {
			select {
			case <-limit:
				t.Fatalf("%s: height %d does not come", w.name, least)
			case <-tick.C:
			}
		}
	}
}

// numbers reads the numbers of accounts from a genesis.
func numbers(t *testing.T, doc *cmttypes.GenesisDoc) map[string]uint64 {
	t.Helper()
	var state struct {
		Auth struct {
			Accounts []struct {
				Address string `json:"address"`
				Number  uint64 `json:"account_number,string"`
			} `json:"accounts"`
		} `json:"auth"`
	}
	must(t, json.Unmarshal(doc.AppState, &state))
	all := map[string]uint64{}
	for _, a := range state.Auth.Accounts {
		all[a.Address] = a.Number
	}
	return all
}
