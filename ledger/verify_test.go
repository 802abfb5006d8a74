package ledger

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmted "github.com/cometbft/cometbft/crypto/ed25519"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	cmtversion "github.com/cometbft/cometbft/proto/tendermint/version"
	cmtypes "github.com/cometbft/cometbft/types"
	"github.com/cometbft/cometbft/version"

	"github.com/hpips/hpips/spec/sortition"
)

// elder is a node that may sit.
type elder struct {
	node           sortition.Key
	consensus, vrf ed25519.PrivateKey
}

func newElder(n byte) elder {
	key := func(use byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n, use}, 16)) }
	return elder{sortition.Key(key(1)[32:]), key(2), key(3)}
}

func (e elder) public() cmted.PubKey { return cmted.PubKey(e.consensus[32:]) }

// scribe writes a chain by the rules, four elders sitting: a user's transaction in every third block, a claim in block 5, and in block 6 the
// claimant takes a seat.
type scribe struct {
	elders []elder
	steps  []Step
	origin Origin
}

const scribed = "village-1"

func write(t *testing.T, blocks int) *scribe {
	t.Helper()
	s := &scribe{}
	for n := range byte(5) {
		s.elders = append(s.elders, newElder(n+1))
	}
	set := s.sitting(0, 1, 2, 3)
	first, no := sortition.Genesis(scribed), false
	seed := first
	s.origin = Origin{Chain: scribed, Now: set, Next: set.Copy(), Seed: &first, Carried: &no, Whole: true, Keys: &Keyset{}}
	for _, e := range s.elders {
		s.origin.Keys.Learn(e.node, sortition.Key(e.consensus[32:]), sortition.Key(e.vrf[32:]))
	}
	now, next := set, set
	var last *Step
	carried := false
	results := cmtypes.ABCIResults(nil).Hash()
	var draw sortition.Seed
	for h := int64(1); h <= int64(blocks); h++ {
		proposer := s.elders[h%4]
		if !now.HasAddress(proposer.public().Address()) {
			proposer = s.elders[(h+1)%4]
		}
		var step Step
		var users [][]byte
		if h%3 == 0 {
			users = append(users, fmt.Appendf(nil, "payment %d", h))
		}
		txs := cmtypes.Txs{}
		if sortition.Carries(len(users), 0, carried) {
			proof, err := sortition.Prove(proposer.vrf, sortition.SeedAlpha(scribed, h, seed))
			if err != nil {
				t.Fatal(err)
			}
			beta, err := proof.Beta()
			if err != nil {
				t.Fatal(err)
			}
			seed = seed.Extend(beta)
			txs = append(txs, sortition.SeedTx(proof))
			if draw == (sortition.Seed{}) {
				draw = seed
			}
		}
		carried = len(txs) > 0
		for _, u := range users {
			txs = append(txs, u)
		}
		for range txs {
			step.Results = append(step.Results, &abci.ExecTxResult{GasUsed: h})
		}
		after := next.Copy()
		switch h {
		case 5:
			proof, err := sortition.Prove(s.elders[4].vrf, sortition.DrawAlpha(scribed, 1, draw))
			if err != nil {
				t.Fatal(err)
			}
			step.Said = []Said{{Claim: &Claimed{s.elders[4].node, 1, proof}}}
		case 6:
			step.Updates = []abci.ValidatorUpdate{update(s.elders[4], 1), update(s.elders[0], 0)}
			list, err := cmtypes.PB2TM.ValidatorUpdates(step.Updates)
			if err != nil {
				t.Fatal(err)
			}
			if err := after.UpdateWithChangeSet(list); err != nil {
				t.Fatal(err)
			}
		}
		commit := &cmtypes.Commit{}
		var lastID cmtypes.BlockID
		if last != nil {
			commit, lastID = last.Commit, last.Commit.BlockID
		}
		b := cmtypes.MakeBlock(h, txs, commit, nil)
		b.Header.Populate(cmtversion.Consensus{Block: version.BlockProtocol}, scribed, time.Unix(1_800_000_000+h, 0).UTC(), lastID, now.Hash(), next.Hash(),
			bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{byte(h)}, 32), results, proposer.public().Address())
		step.Block = b
		step.Commit = s.decide(t, b, now)
		results = cmtypes.NewResults(step.Results).Hash()
		s.steps = append(s.steps, step)
		last = &s.steps[len(s.steps)-1]
		now, next = next, after
	}
	return s
}

func update(e elder, power int64) abci.ValidatorUpdate {
	return abci.Ed25519ValidatorUpdate(e.public(), power)
}

func (s *scribe) sitting(who ...int) *cmtypes.ValidatorSet {
	var list []*cmtypes.Validator
	for _, i := range who {
		list = append(list, cmtypes.NewValidator(s.elders[i].public(), 1))
	}
	return cmtypes.NewValidatorSet(list)
}

// decide has all who sit sign a block.
func (s *scribe) decide(t *testing.T, b *cmtypes.Block, set *cmtypes.ValidatorSet) *cmtypes.Commit {
	t.Helper()
	parts, err := b.MakePartSet(cmtypes.BlockPartSizeBytes)
	if err != nil {
		t.Fatal(err)
	}
	id := cmtypes.BlockID{Hash: b.Hash(), PartSetHeader: parts.Header()}
	c := &cmtypes.Commit{Height: b.Height, BlockID: id}
	for i, v := range set.Validators {
		at := slices.IndexFunc(s.elders, func(e elder) bool { return bytes.Equal(e.public().Address(), v.Address) })
		vote := cmtypes.Vote{Type: cmtproto.PrecommitType, Height: b.Height, BlockID: id, Timestamp: b.Time, ValidatorAddress: v.Address, ValidatorIndex: int32(i)}
		vote.Signature = ed25519.Sign(s.elders[at].consensus, cmtypes.VoteSignBytes(scribed, vote.ToProto()))
		c.Signatures = append(c.Signatures, cmtypes.CommitSig{BlockIDFlag: cmtypes.BlockIDFlagCommit, ValidatorAddress: v.Address, Timestamp: b.Time, Signature: vote.Signature})
	}
	return c
}

// read checks all that the scribe wrote.
func (s *scribe) read() (*Checker, error) {
	c := NewChecker(s.origin)
	for _, step := range s.steps {
		if err := c.Add(step); err != nil {
			return c, err
		}
	}
	return c, nil
}

func TestAChainByTheRulesIsFoundRight(t *testing.T) {
	c, err := write(t, 12).read()
	if err != nil {
		t.Fatal(err)
	}
	want := Counted{Blocks: 12, Transactions: 4, Seeds: c.Count.Seeds, Claims: 1, Changes: 2, Signatures: 48}
	if c.Count != want || c.Count.Seeds < 6 {
		t.Errorf("counted %+v", c.Count)
	}
}

func TestCarolsLiesAreFoundAtTheirHeight(t *testing.T) {
	resign := func(s *scribe, step *Step) { // she has all the consensus keys, so no signature betrays her
		step.Block.Header.DataHash, step.Block.Header.LastCommitHash, step.Block.Header.EvidenceHash = step.Block.Txs.Hash(), step.Block.LastCommit.Hash(), step.Block.Evidence.Hash()
		set := s.sitting(0, 1, 2, 3)
		if step.Block.Height >= 8 {
			set = s.sitting(1, 2, 3, 4)
		}
		step.Block = &cmtypes.Block{Header: step.Block.Header, Data: cmtypes.Data{Txs: step.Block.Txs}, LastCommit: step.Block.LastCommit} // without remembered hashes
		step.Commit = s.decide(t, step.Block, set)
	}
	forged := func(t *testing.T, alpha []byte, e elder) sortition.Proof {
		p, err := sortition.Prove(e.vrf, alpha)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, lie := range []struct {
		what   string
		height int64
		tell   func(s *scribe)
	}{
		{"a transaction is changed", 3, func(s *scribe) { s.steps[2].Block.Txs[1] = []byte("payment to carol") }},
		{"a result is changed", 4, func(s *scribe) { s.steps[2].Results[1].Code = 7 }},
		{"a result is left out", 3, func(s *scribe) { s.steps[2].Results = s.steps[2].Results[:1] }},
		{"a signature is wrong", 5, func(s *scribe) { s.steps[4].Commit.Signatures[2].Signature[0] ^= 1 }},
		{"too few sign", 5, func(s *scribe) {
			for i := range 2 {
				s.steps[4].Commit.Signatures[i] = cmtypes.NewCommitSigAbsent()
			}
		}},
		{"the header is another", 5, func(s *scribe) { s.steps[4].Block.Header.AppHash = bytes.Repeat([]byte{9}, 32) }},
		{"a block is left out", 7, func(s *scribe) { s.steps = slices.Delete(s.steps, 6, 7) }},
		{"a block of another chain", 6, func(s *scribe) { s.steps[5].Block.Header.ChainID = "village-2"; resign(s, &s.steps[5]) }},
		{"a block that follows another one", 6, func(s *scribe) {
			s.steps[4].Block.Header.AppHash = bytes.Repeat([]byte{9}, 32)
			resign(s, &s.steps[4])
		}},
		{"time runs back", 9, func(s *scribe) {
			s.steps[8].Block.Header.Time = s.steps[7].Block.Time.Add(-time.Second)
			resign(s, &s.steps[8])
		}},
		{"a proposer without a seat", 7, func(s *scribe) {
			s.steps[6].Block.Header.ProposerAddress = s.elders[4].public().Address()
			resign(s, &s.steps[6])
		}},
		{"a seed that was picked", 3, func(s *scribe) {
			s.steps[2].Block.Txs[0] = sortition.SeedTx(forged(t, []byte("luck"), s.elders[3]))
			resign(s, &s.steps[2])
		}},
		{"another's seed", 3, func(s *scribe) {
			c := NewChecker(s.origin)
			_, _ = c.Add(s.steps[0]), c.Add(s.steps[1])
			seed, _ := c.Seed()
			s.steps[2].Block.Txs[0] = sortition.SeedTx(forged(t, sortition.SeedAlpha(scribed, 3, seed), s.elders[2]))
			resign(s, &s.steps[2])
		}},
		{"no seed where one is due", 3, func(s *scribe) {
			s.steps[2].Block.Txs, s.steps[2].Results = s.steps[2].Block.Txs[1:], s.steps[2].Results[1:]
			resign(s, &s.steps[2])
		}},
		{"two seeds", 3, func(s *scribe) {
			s.steps[2].Block.Txs[1] = s.steps[2].Block.Txs[0]
			resign(s, &s.steps[2])
		}},
		{"half a seed", 3, func(s *scribe) {
			s.steps[2].Block.Txs[0] = s.steps[2].Block.Txs[0][:40]
			resign(s, &s.steps[2])
		}},
		{"a claim that did not draw", 5, func(s *scribe) {
			s.steps[4].Said[0].Claim.Proof = forged(t, sortition.DrawAlpha(scribed, 1, sortition.Seed{1}), s.elders[4])
		}},
		{"a claim for another epoch", 5, func(s *scribe) { s.steps[4].Said[0].Claim.Epoch = 2 }},
		{"a claim of an unknown node", 5, func(s *scribe) { s.steps[4].Said[0].Claim.Node = sortition.Key{9} }},
		{"a seat without a claim", 6, func(s *scribe) { s.steps[4].Said = nil }},
		{"a seat with more power", 6, func(s *scribe) { s.steps[5].Updates[0].Power = 2 }},
		{"a change of seats that the headers do not have", 5, func(s *scribe) { s.steps[3].Updates = []abci.ValidatorUpdate{update(s.elders[0], 0)} }},
		{"a change of seats that is hidden", 7, func(s *scribe) { s.steps[5].Updates = nil }},
		{"the last seat is taken away", 4, func(s *scribe) {
			for _, e := range s.elders[:4] {
				s.steps[3].Updates = append(s.steps[3].Updates, update(e, 0))
			}
		}},
		{"nothing at all", 4, func(s *scribe) { s.steps[3] = Step{} }},
	} {
		t.Run(lie.what, func(t *testing.T) {
			s := write(t, 12)
			lie.tell(s)
			_, err := s.read()
			var w *Wrong
			if !errors.As(err, &w) || w.Height != lie.height {
				t.Errorf("found %v, want block %d", err, lie.height)
			}
		})
	}
}

// Where states are dropped sooner than blocks, the seed is taken up in the middle.
func TestSeedsAreTakenUpInTheMiddle(t *testing.T) {
	s := write(t, 12)
	whole, err := s.read()
	if err != nil {
		t.Fatal(err)
	}
	half := NewChecker(s.origin)
	for _, step := range s.steps[:6] {
		if err := half.Add(step); err != nil {
			t.Fatal(err)
		}
	}
	seed, _ := half.Seed()
	o := s.origin
	o.Seed, o.Carried, o.Whole = nil, nil, false
	late := NewChecker(o)
	for i, step := range s.steps {
		if i == 6 {
			if err := late.begin(Committee{Seed: seed.String()}); err != nil {
				t.Fatal(err)
			}
		}
		if err := late.Add(step); err != nil {
			t.Fatal(err)
		}
	}
	a, _ := whole.Seed()
	if b, known := late.Seed(); !known || a != b {
		t.Errorf("seeds %s and %s", a, b)
	}
}

// The last block of a range is right only if the one behind it says so: it names the answers, and is signed by the next committee.
func TestTheBlockBehindVouches(t *testing.T) {
	for _, lie := range []struct {
		what, words string
		tell        func(s *scribe, next *Step)
	}{
		{"none", "", func(*scribe, *Step) {}},
		{"a result is changed", "results", func(s *scribe, _ *Step) { s.steps[11].Results[1].Code = 7 }},
		{"a change of seats is hidden", "committee", func(s *scribe, _ *Step) { s.steps[11].Updates = []abci.ValidatorUpdate{update(s.elders[1], 0)} }},
		{"too few sign", "signatures", func(_ *scribe, next *Step) {
			for i := range 2 {
				next.Commit.Signatures[i] = cmtypes.NewCommitSigAbsent()
			}
		}},
		{"it follows another block", "does not follow", func(s *scribe, next *Step) {
			next.Block.Header.LastBlockID = s.steps[9].Commit.BlockID
			next.Block = &cmtypes.Block{Header: next.Block.Header, Data: cmtypes.Data{Txs: next.Block.Txs}, LastCommit: next.Block.LastCommit} // without remembered hashes
			next.Commit = s.decide(t, next.Block, s.sitting(1, 2, 3, 4))
		}},
		{"it signs for another", "another block", func(_ *scribe, next *Step) { next.Block.Header.AppHash = bytes.Repeat([]byte{9}, 32) }},
	} {
		t.Run(lie.what, func(t *testing.T) {
			s := write(t, 13)
			next := s.steps[12]
			s.steps = s.steps[:12]
			lie.tell(s, &next)
			c, err := s.read()
			if err != nil {
				t.Fatal(err)
			}
			count := c.Count
			err = c.Vouched(&next.Block.Header, next.Commit)
			var w *Wrong
			if lie.words == "" && err != nil || lie.words != "" && (!errors.As(err, &w) || w.Height != 12 || !strings.Contains(w.What, lie.words)) {
				t.Errorf("found %v", err)
			}
			if c.Count != count {
				t.Error("the block behind was counted")
			}
		})
	}
}
