package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/full"
	"github.com/hpips/hpips/spec/job"
)

// genesis is the beginning of a chain.
type genesis struct {
	text    []byte
	sum     [sha256.Size]byte
	summary chain.Summary
	trust   *full.Trust // beside it in a file that the owner has named; nil: none
}

// pin keeps what the owner says about the genesis: the SHA-256 that it must have, or a file with it. What an earlier life kept holds on.
func (c *chaining) pin(said string) error {
	if said == "" {
		text, err := os.ReadFile(c.path(pinFile))
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		c.wanted = strings.TrimSpace(string(text))
		return err
	}
	if sum, err := hex.DecodeString(said); err == nil && len(sum) == sha256.Size {
		c.wanted = strings.ToLower(said)
		return nil
	}
	text, err := os.ReadFile(said)
	var g *genesis
	if err == nil {
		g, err = readGenesis(text)
	}
	if err != nil {
		return &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("--genesis %s: %v", said, err), Hint: "name a genesis file, or the SHA-256 of one"}
	}
	c.wanted = g.summary.Hash
	if err := c.newer(g.trust); err != nil {
		return err
	}
	if _, err := os.Stat(c.path(genesisFile)); err == nil {
		return nil // it is compared with the pin
	}
	return writeWhole(c.path(genesisFile), g.text)
}

// newer writes down a block to trust, unless the home has been told a newer one.
func (c *chaining) newer(t *full.Trust) error {
	had, err := c.named()
	if err != nil || t == nil || had != nil && had.Height >= t.Height {
		return err
	}
	return writeWhole(c.path(trustFile), []byte(t.String()+"\n"))
}

// readGenesis reads and checks a genesis. Its text is as all write it, and so is its hash, whatever it looked like.
func readGenesis(text []byte) (*genesis, error) {
	doc, err := chain.ReadGenesis(text)
	if err != nil {
		return nil, err
	}
	g := &genesis{}
	if g.summary, err = chain.CheckGenesis(doc); err != nil {
		return nil, err
	}
	if g.text, err = chain.GenesisBytes(doc); err != nil {
		return nil, err
	}
	g.sum = sha256.Sum256(g.text)
	g.trust, err = full.GenesisTrust(text)
	return g, err
}

// check reads a genesis and compares it with the pin.
func (c *chaining) check(text []byte) (*genesis, error) {
	g, err := readGenesis(text)
	if err != nil {
		return nil, err
	}
	if c.wanted != "" && g.summary.Hash != c.wanted {
		return nil, fmt.Errorf("its SHA-256 is %s, asked for is %s", g.summary.Hash, c.wanted)
	}
	return g, nil
}

// await takes the genesis from a node that this one was told to join; false means that ctx ended first.
func (c *chaining) await(ctx context.Context) bool {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	said := ""
	for {
		c.mu.Lock()
		g := c.genesis
		c.mu.Unlock()
		if g != nil {
			return true
		}
		for _, from := range c.joined() {
			text, err := fetchGenesis(ctx, c.host, from, c.wanted)
			if err == nil {
				err = c.adopt(text)
			}
			if err == nil {
				break
			}
			if text := err.Error(); text != said && ctx.Err() == nil {
				said = text
				c.log.Debug("A joined node gives no genesis", "peer", from, "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// joined are the nodes that the owner named.
func (c *chaining) joined() (all []peer.ID) {
	for _, a := range c.cfg.Join {
		if ai, err := peer.AddrInfoFromString(a); err == nil && ai.ID != c.host.ID() && !slices.Contains(all, ai.ID) {
			all = append(all, ai.ID)
		}
	}
	return all
}

// known is the genesis, nil as long as there is none.
func (c *chaining) known() *genesis {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.genesis
}

// adopt keeps a genesis for good. It came from a peer, who must not say what to trust.
func (c *chaining) adopt(text []byte) error {
	g, err := c.check(text)
	if err != nil {
		return err
	}
	g.trust = nil
	if err := writeWhole(c.path(genesisFile), g.text); err != nil {
		return err
	}
	c.log.Info("This node joins a chain; compare the SHA-256 of its genesis with what its owners publish", "chain", g.summary.ChainID, "sha256", g.summary.Hash)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.genesis = g
	return nil
}
