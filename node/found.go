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
	devOwner = "dev"                   // name and label of the owner's account
	devGrant = 2_000_000 * money.Scale // to the rich owner, out of the community's
	devSpend = 10 * money.Scale        // to each spending key, and to each other owner
	devDaily = 1_000 * money.Scale     // that each spending key may take of its owner's for leases and all fees
)

// Founding is a new development chain.
type Founding struct {
	Ring  string   // folder with the keyring of the rich owner's account, which is made if it is not there
	Homes []string // of the nodes
	Seats int      // the first so many nodes sit at the beginning
	Known int      // the first so many are registered, those with a seat in any case; the others follow
	Rich  int      // the node whose owner, named dev, holds what is granted

	Heartbeat   time.Duration // between blocks of an idle chain; 0: as the rules have it
	EpochBlocks uint64        // blocks of an epoch; 0: as the rules have it
	Day         time.Duration // length of a day; 0: as the rules have it
}

// Found makes a development chain of the nodes with these homes, each of an owner of its own, and puts its genesis into each. The first home's
// owner holds what is granted. Where the first home has a genesis already, that one stays and goes to the others.
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
	g := chain.Genesis{Network: chain.Dev, ChainID: devChain, Time: time.Now().UTC(), Heartbeat: f.Heartbeat, EpochBlocks: f.EpochBlocks, Day: f.Day}
	for i, home := range f.Homes {
		owner, err := f.owner(i)
		if err != nil {
			return nil, err
		}
		grant := chain.Grant{Address: owner.Address(), Amount: devSpend, From: "community", Label: fmt.Sprintf("dev owner %d", i+1)}
		if i == f.Rich {
			grant.Amount, grant.Label = devGrant, devOwner
		}
		spend, err := LoadSpendKey(home)
		if err != nil {
			return nil, err
		}
		g.Grants = append(g.Grants, grant,
			chain.Grant{Address: spend.Address(), Amount: devSpend, From: "community", Label: fmt.Sprintf("dev spending key %d", i+1)})
		g.Allowances = append(g.Allowances, chain.Allowance{Owner: owner.Address(), Spender: spend.Address(), Daily: devDaily})
		if err := NamePayer(home, owner.Address()); err != nil {
			return nil, err
		}
		if i >= max(f.Seats, f.Known) {
			continue
		}
		n, err := enrolled(home, owner)
		if err != nil {
			return nil, err
		}
		if i < f.Seats {
			g.Seats = append(g.Seats, n)
		} else {
			g.Nodes = append(g.Nodes, n)
		}
	}
	doc, err := g.Build()
	if err != nil {
		return nil, err
	}
	return chain.GenesisBytes(doc)
}

// enrolled is the registration of a home's node, with all its signatures.
func enrolled(home string, owner *ledger.Holder) (chain.GenesisNode, error) {
	keys, err := LoadChainKeys(home)
	if err != nil {
		return chain.GenesisNode{}, err
	}
	e, err := keys.Enrol(devChain, owner.Address(), 0)
	if err != nil {
		return chain.GenesisNode{}, err
	}
	if e.OwnerKey, e.Owner, err = ledger.SignWord(owner, e.Signed); err != nil {
		return chain.GenesisNode{}, err
	}
	return chain.GenesisNode{Registration: e.Word, NodeSignature: e.Node, ConsensusSignature: e.Consensus, VRFProof: e.VRF, OwnerKey: e.OwnerKey, OwnerSignature: e.Owner}, nil
}

// owner reads or makes the account of a node's owner: its secret lies open in a ring, that of the rich one in f.Ring, the others' in their homes.
func (f Founding) owner(i int) (*ledger.Holder, error) {
	dir := filepath.Join(f.Homes[i], "keys")
	if i == f.Rich {
		dir = f.Ring
	}
	ring, err := ledger.OpenKeys(dir, ledger.StoreTest, nil)
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
	for k := range n {
		homes = append(homes, h.devHome(k+1))
	}
	return Found(Founding{Ring: h.home.path("keys"), Homes: homes, Seats: h.seats(n), Known: n})
}

// seats is how many of n development nodes take part in the chain.
func (h *House) seats(n int) int { return min(n, max(1, h.cfg.ChainNode.Seats)) }
