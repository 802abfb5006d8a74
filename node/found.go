package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/money"
)

// A development chain's words.
const (
	devChain = "hpips-dev-1"
	devOwner = "dev"                 // name and label of the owner's account
	devGrant = 100_000 * money.Scale // to the owner, out of the community's
	devSpend = 10 * money.Scale      // to each spending key
	devDaily = 1_000 * money.Scale   // that each spending key may take of the owner's for errands
)

// Founding is a new development chain.
type Founding struct {
	Ring  string   // folder with the keyring of the owner's account, which is made if it is not there
	Homes []string // of the nodes
	Seats int      // the first so many nodes sit at the beginning; the others follow

	Heartbeat   time.Duration // between blocks of an idle chain; 0: as the rules have it
	EpochBlocks uint64        // blocks of an epoch; 0: as the rules have it
	Day         time.Duration // 0: as the rules have it
}

// Found makes a development chain of the nodes with these homes, all of one owner, and puts its genesis into each. Where the first home has a
// genesis already, that one stays and goes to the others.
func Found(f Founding) error {
	text, err := os.ReadFile(filepath.Join(f.Homes[0], chainDir, genesisFile))
	if errors.Is(err, fs.ErrNotExist) {
		text, err = f.genesis()
	}
	if err != nil {
		return fmt.Errorf("development chain: %w", err)
	}
	for _, home := range f.Homes {
		name := filepath.Join(home, chainDir, genesisFile)
		if _, err := os.Stat(name); err == nil {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return fmt.Errorf("development chain: %w", err)
		}
		if err := writeWhole(name, text); err != nil {
			return err
		}
	}
	return nil
}

func (f Founding) genesis() ([]byte, error) {
	owner, err := f.owner()
	if err != nil {
		return nil, err
	}
	g := chain.Genesis{Network: chain.Dev, ChainID: devChain, Time: time.Now().UTC(), Heartbeat: f.Heartbeat, EpochBlocks: f.EpochBlocks,
		Day: f.Day}
	g.Grants = append(g.Grants, chain.Grant{Address: owner.Address(), Amount: devGrant, From: "community", Label: devOwner})
	for i, home := range f.Homes {
		spend, err := LoadSpendKey(home)
		if err != nil {
			return nil, err
		}
		g.Grants = append(g.Grants, chain.Grant{Address: spend.Address(), Amount: devSpend, From: "community", Label: fmt.Sprintf("dev spending key %d", i+1)})
		g.Allowances = append(g.Allowances, chain.Allowance{Owner: owner.Address(), Spender: spend.Address(), Daily: devDaily})
		if i >= f.Seats {
			continue
		}
		keys, err := LoadChainKeys(home)
		if err != nil {
			return nil, err
		}
		e, err := keys.Enrol(devChain, owner.Address(), 0)
		if err != nil {
			return nil, err
		}
		if e.OwnerKey, e.Owner, err = ledger.SignWord(owner, e.Signed); err != nil {
			return nil, err
		}
		g.Seats = append(g.Seats, chain.GenesisNode{Registration: e.Word, NodeSignature: e.Node, ConsensusSignature: e.Consensus, VRFProof: e.VRF,
			OwnerKey: e.OwnerKey, OwnerSignature: e.Owner})
	}
	doc, err := g.Build()
	if err != nil {
		return nil, err
	}
	return chain.GenesisBytes(doc)
}

// owner reads or makes the account of whoever develops: its secret lies open in the ring.
func (f Founding) owner() (*ledger.Holder, error) {
	ring, err := ledger.OpenKeys(f.Ring, ledger.StoreTest, nil)
	if err != nil {
		return nil, err
	}
	all, err := ring.List()
	if err != nil {
		return nil, err
	}
	for _, a := range all {
		if a.Name == devOwner {
			return ring.Signer(devOwner)
		}
	}
	if _, _, err := ring.New(devOwner); err != nil {
		return nil, err
	}
	return ring.Signer(devOwner)
}

// found makes the chain of a development network, once.
func (h *House) found(n int) error {
	var homes []string
	for k := range h.seats(n) {
		homes = append(homes, h.devHome(k+1))
	}
	return Found(Founding{Ring: h.home.path("keys"), Homes: homes, Seats: len(homes)})
}

// seats is how many of n development nodes take part in the chain.
func (h *House) seats(n int) int { return min(n, max(1, h.cfg.ChainNode.Seats)) }
