package ledger

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"

	sdkmath "cosmossdk.io/math"
	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/crypto/ed25519"
	cmtypes "github.com/cometbft/cometbft/types"

	"github.com/hpips/hpips/spec/sortition"
)

// Checker follows a chain from one block to the next and believes nothing that it can reckon itself. It is given for each height the block,
// what its execution answered, and the commit that decided it. Outline of Add:
//
//  1. the header: shape, chain, height, time, the hash of the one before, the hash of what the one before answered;
//  2. its contents against the hashes in the header;
//  3. the committee: its hash in the header, more than two thirds of it under the commit, a proposer that sits, power 1 for all;
//  4. the seed: carried exactly when it must be, proven under the proposer's key;
//  5. claims that were accepted: proven under their node's key against the seed that drew;
//  6. changes: the committee two blocks on is this one's, changed as the block says, and who enters has claimed.
//
// It holds no state of accounts: that a block's answers are right is what the committee's signatures on the next header vouch for. Draws and supply are
// reckoned beside it, from the same blocks and from states that its headers prove.
type Checker struct {
	chain string
	keys  *Keyset

	height    int64
	last      *cmtypes.Header
	lastHash  []byte
	lastID    cmtypes.BlockID
	results   []byte                // hash of what the last block answered
	before    *cmtypes.ValidatorSet // of the last block; nil: not known
	now, next *cmtypes.ValidatorSet // of the next one, and of the one after

	seed    *sortition.Seed // after the last block; nil: not known yet
	carried *bool           // the last block carried one; nil: not known
	seeds   []sortition.Seed
	draws   map[uint64]sortition.Seed // what drew for an epoch, as far as found
	whole   bool                      // nothing came before the first block given
	claimed map[sortition.Key]bool

	Count Counted
}

// Counted is how much a checker has seen.
type Counted struct {
	Blocks       int64 `json:"blocks"`
	Transactions int64 `json:"transactions"`
	Seeds        int64 `json:"seeds"`
	Claims       int64 `json:"claims"`
	Changes      int64 `json:"changes"`    // of seats
	Offences     int64 `json:"offences"`   // double signatures that blocks tell of
	Signatures   int64 `json:"signatures"` // of seats under blocks
}

// Keyset knows whose keys are whose. Keys are registered once and for ever, so those of later are good for earlier.
type Keyset struct {
	vrf   map[string]sortition.Key          // by consensus address
	nodes map[sortition.Key][]sortition.Key // VRF keys by node, the newest last
	who   map[string]sortition.Key          // node by consensus address
}

// Learn takes in the keys of a node.
func (k *Keyset) Learn(node, consensus, vrf sortition.Key) {
	if k.vrf == nil {
		k.vrf, k.nodes, k.who = map[string]sortition.Key{}, map[sortition.Key][]sortition.Key{}, map[string]sortition.Key{}
	}
	address := string(consensusAddress(consensus[:]))
	k.vrf[address], k.who[address] = vrf, node
	if !slices.Contains(k.nodes[node], vrf) {
		k.nodes[node] = append(k.nodes[node], vrf)
	}
}

func consensusAddress(key []byte) []byte {
	sum := sha256.Sum256(key)
	return sum[:20]
}

// Origin is where a checker starts.
type Origin struct {
	Chain     string
	Before    *cmtypes.ValidatorSet // of the block before the first given; nil: not known
	Now, Next *cmtypes.ValidatorSet // of the first block given, and of the one after
	Seed      *sortition.Seed       // before it; nil: not known
	Carried   *bool                 // whether the block before carried a seed; nil: not known
	Draws     map[uint64]sortition.Seed
	Whole     bool // it is the chain's first block
	Keys      *Keyset
}

// NewChecker starts to follow a chain. Who sits at the origin is taken on trust: compare the first hash with one you know.
func NewChecker(o Origin) *Checker {
	c := &Checker{chain: o.Chain, keys: o.Keys, before: o.Before, now: o.Now.Copy(), next: o.Next.Copy(), seed: o.Seed, carried: o.Carried, draws: map[uint64]sortition.Seed{}, whole: o.Whole,
		claimed: map[sortition.Key]bool{}}
	for e, s := range o.Draws {
		c.draws[e] = s
	}
	return c
}

// Step is what a checker is given of one height.
type Step struct {
	Block   *cmtypes.Block
	Commit  *cmtypes.Commit // that decided it
	Results []*abci.ExecTxResult
	Updates []abci.ValidatorUpdate
	Said    []Said // what its successful transactions said, by the chain's own decoding
}

// Said is a message of a successful transaction that matters here: a claim, keys that became known, a node that retired, a seat that steps down, HPIPS that
// were burned.
type Said struct {
	Claim   *Claimed
	Keys    *[3]sortition.Key // node, consensus, VRF
	Retired *sortition.Key
	Left    *sortition.Key
	Burned  sdkmath.Int // in uhpips; nil: none
	Ticket  bool        // it may give, move or take away a ticket
}

// Claimed is a claim that the chain accepted.
type Claimed struct {
	Node  sortition.Key
	Epoch uint64
	Proof sortition.Proof
}

// Wrong is the first height at which a chain is not what it says.
type Wrong struct {
	Height int64  `json:"height"`
	What   string `json:"what"`
}

func (w *Wrong) Error() string { return fmt.Sprintf("block %d is wrong: %s", w.Height, w.What) }

// Add checks the next height. The error is a *Wrong.
func (c *Checker) Add(s Step) error {
	height := c.height + 1
	if s.Block != nil && c.last == nil {
		height = s.Block.Height
	}
	for _, check := range []func(Step, int64) error{c.header, c.contents, c.committee, c.seeded, c.said, c.changes} {
		if err := check(s, height); err != nil {
			return &Wrong{height, err.Error()}
		}
	}
	header := s.Block.Header
	c.height, c.last, c.lastHash, c.lastID = height, &header, header.Hash(), s.Commit.BlockID
	c.results = cmtypes.NewResults(s.Results).Hash()
	c.Count.Blocks++
	c.Count.Transactions += int64(len(s.Block.Txs))
	if *c.carried {
		c.Count.Transactions-- // the seed is none
	}
	c.Count.Offences += int64(len(s.Block.Evidence.Evidence))
	return nil
}

// Hash is that of the last block added.
func (c *Checker) Hash() []byte { return c.lastHash }

// Vouched checks that the block after the last one added is signed by who had to, and takes the last one and its answers for right.
func (c *Checker) Vouched(next *cmtypes.Header, commit *cmtypes.Commit) error {
	h := c.height + 1
	probe := *c
	step := Step{Block: &cmtypes.Block{Header: *next}, Commit: commit}
	if err := probe.header(step, h); err != nil {
		return wrong(c.height, "the block after it does not vouch for it: %v", err)
	}
	if err := probe.committee(step, h); err != nil {
		return wrong(c.height, "the block after it does not vouch for it: %v", err)
	}
	return nil
}

// Seed is the one after the last block added, if it is known.
func (c *Checker) Seed() (sortition.Seed, bool) {
	if c.seed == nil {
		return sortition.Seed{}, false
	}
	return *c.seed, true
}

func (c *Checker) header(s Step, height int64) error {
	if s.Block == nil || s.Commit == nil {
		return fmt.Errorf("it is not there")
	}
	h := s.Block.Header
	if err := h.ValidateBasic(); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	switch {
	case h.ChainID != c.chain:
		return fmt.Errorf("it is of chain %q, not of %q", h.ChainID, c.chain)
	case h.Height != height:
		return fmt.Errorf("its header says height %d", h.Height)
	case !bytes.Equal(s.Commit.BlockID.Hash, h.Hash()):
		return fmt.Errorf("its commit is for another block, %X", s.Commit.BlockID.Hash)
	case c.last == nil:
		return nil
	case !bytes.Equal(h.LastBlockID.Hash, c.lastHash):
		return fmt.Errorf("it does not follow block %d: it names %X, that one is %X", height-1, h.LastBlockID.Hash, c.lastHash)
	case !h.LastBlockID.Equals(c.lastID):
		return fmt.Errorf("it does not follow the parts of block %d", height-1)
	case !h.Time.After(c.last.Time):
		return fmt.Errorf("its time is not after that of block %d", height-1)
	case !bytes.Equal(h.LastResultsHash, c.results):
		return fmt.Errorf("it does not agree with the results of block %d", height-1)
	}
	return nil
}

func (c *Checker) contents(s Step, _ int64) error {
	if err := s.Block.ValidateBasic(); err != nil { // the hashes of data, evidence and last commit
		return fmt.Errorf("contents: %w", err)
	}
	if !bytes.Equal(s.Block.Txs.Hash(), s.Block.DataHash) { // ValidateBasic may remember an earlier one
		return fmt.Errorf("its transactions are not those of its header")
	}
	if len(s.Results) != len(s.Block.Txs) {
		return fmt.Errorf("%d results for %d transactions", len(s.Results), len(s.Block.Txs))
	}
	return nil
}

func (c *Checker) committee(s Step, height int64) error {
	h := s.Block.Header
	switch {
	case !bytes.Equal(h.ValidatorsHash, c.now.Hash()):
		return fmt.Errorf("its committee is not the one that the blocks before made")
	case !bytes.Equal(h.NextValidatorsHash, c.next.Hash()):
		return fmt.Errorf("its next committee is not the one that the blocks before made")
	case !c.now.HasAddress(h.ProposerAddress):
		return fmt.Errorf("its proposer %s holds no seat", h.ProposerAddress)
	}
	for _, v := range c.now.Validators {
		if v.VotingPower != 1 {
			return fmt.Errorf("seat %s has power %d", v.Address, v.VotingPower)
		}
	}
	if err := c.now.VerifyCommitLightAllSignatures(c.chain, s.Commit.BlockID, height, s.Commit); err != nil {
		return fmt.Errorf("signatures: %w", err)
	}
	for _, sig := range s.Commit.Signatures {
		if sig.BlockIDFlag == cmtypes.BlockIDFlagCommit {
			c.Count.Signatures++
		}
	}
	return nil
}

func (c *Checker) seeded(s Step, height int64) error {
	txs := s.Block.Txs
	var proof sortition.Proof
	carries := false
	for i, tx := range txs {
		p, magic, err := sortition.ParseSeedTx(tx)
		switch {
		case err != nil:
			return fmt.Errorf("its seed: %w", err)
		case magic && i > 0:
			return fmt.Errorf("transaction %d is a second seed", i)
		case magic:
			proof, carries = p, true
		}
	}
	users := len(txs)
	if carries {
		users--
	}
	if before := c.carried; before != nil && sortition.Carries(users, len(s.Block.Evidence.Evidence), *before) != carries {
		if carries {
			return fmt.Errorf("it carries a seed and must not")
		}
		return fmt.Errorf("it carries no seed and must")
	}
	c.carried = &carries
	if !carries {
		return nil
	}
	c.Count.Seeds++
	if c.seed == nil {
		return nil
	}
	key, known := c.keys.vrf[string(s.Block.ProposerAddress)]
	if !known {
		return fmt.Errorf("nobody registered the key of its proposer %s", s.Block.ProposerAddress)
	}
	beta, err := sortition.Verify(key, sortition.SeedAlpha(c.chain, height, *c.seed), proof)
	if err != nil {
		return fmt.Errorf("its seed: %w", err)
	}
	next := c.seed.Extend(beta)
	c.seed = &next
	if c.seeds = append(c.seeds, next); len(c.seeds) > remembered {
		c.seeds = slices.Clone(c.seeds[len(c.seeds)-remembered/2:])
	}
	return nil
}

// remembered is how many seeds are kept to find the one that drew; an epoch has fewer.
const remembered = 8192

func (c *Checker) said(s Step, _ int64) error {
	for _, said := range s.Said {
		if k := said.Keys; k != nil {
			c.keys.Learn(k[0], k[1], k[2])
		}
		if said.Claim == nil || c.seed == nil {
			continue
		}
		if err := c.claim(*said.Claim); err != nil {
			return err
		}
	}
	return nil
}

// claim checks the proof of a claim against the seed that drew, which is that of one block of its epoch, the same for all its claims.
func (c *Checker) claim(m Claimed) error {
	c.claimed[m.Node] = true
	keys := c.keys.nodes[m.Node]
	if len(keys) == 0 {
		return fmt.Errorf("nobody registered node %s, which claims a seat", m.Node)
	}
	proven := func(draw sortition.Seed) bool {
		alpha := sortition.DrawAlpha(c.chain, m.Epoch, draw)
		return slices.ContainsFunc(keys, func(k sortition.Key) bool { _, err := sortition.Verify(k, alpha, m.Proof); return err == nil })
	}
	if draw, known := c.draws[m.Epoch]; known {
		if !proven(draw) {
			return fmt.Errorf("the claim of %s in epoch %d is not proven", NodeText(m.Node[:]), m.Epoch)
		}
		c.Count.Claims++
		return nil
	}
	for i := len(c.seeds) - 1; i >= 0; i-- {
		if proven(c.seeds[i]) {
			c.draws[m.Epoch] = c.seeds[i]
			c.Count.Claims++
			return nil
		}
	}
	return fmt.Errorf("the claim of %s in epoch %d is proven by no seed", NodeText(m.Node[:]), m.Epoch)
}

func (c *Checker) changes(s Step, _ int64) error {
	after := c.next.Copy()
	if len(s.Updates) > 0 {
		list, err := cmtypes.PB2TM.ValidatorUpdates(s.Updates)
		if err != nil {
			return fmt.Errorf("changes of seats: %w", err)
		}
		for _, v := range list {
			if v.VotingPower > 1 {
				return fmt.Errorf("it gives seat %s power %d", v.Address, v.VotingPower)
			}
			if _, ours := v.PubKey.(ed25519.PubKey); !ours {
				return fmt.Errorf("it seats a key of type %s", v.PubKey.Type())
			}
			node, known := c.keys.who[string(v.Address)]
			if entered := v.VotingPower == 1 && !c.next.HasAddress(v.Address); entered && c.whole && c.seed != nil && (!known || !c.claimed[node]) {
				return fmt.Errorf("it seats %s, which never claimed", v.Address)
			}
		}
		if err := after.UpdateWithChangeSet(list); err != nil {
			return fmt.Errorf("changes of seats: %w", err)
		}
		c.Count.Changes += int64(len(list))
	}
	c.before, c.now, c.next = c.now, c.next, after
	return nil
}
