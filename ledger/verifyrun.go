package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cometbft/cometbft/crypto/ed25519"
	ctypes "github.com/cometbft/cometbft/rpc/core/types"
	cmtypes "github.com/cometbft/cometbft/types"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/proto/gen/registryv1"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/sortition"
)

// Verified is what a verification found.
type Verified struct {
	OK        bool         `json:"ok"`
	ChainID   string       `json:"chainId"`
	From      int64        `json:"from"`
	To        int64        `json:"to"`
	FirstHash string       `json:"firstHash"`
	LastHash  string       `json:"lastHash"`
	SeedsFrom int64        `json:"seedsFrom"` // height from which seeds and claims were checked; 0: at none
	Supply    money.Amount `json:"supply"`    // at the head
	Burned    money.Amount `json:"burned"`
	Counted
	Wrong *Wrong `json:"wrong,omitempty"`
}

// Verify fetches the blocks of a range and checks them. from 0 is the oldest that the node holds, to 0 the last. At a block that is
// wrong it ends: the answer names it, and there is no error. at is told of each height.
func (l *Ledger) Verify(ctx context.Context, from, to int64, at func(height int64)) (Verified, error) {
	st, err := l.rpc.Status(ctx)
	if err != nil {
		return Verified{}, l.unreachable(ctx, err)
	}
	oldest, head := max(st.SyncInfo.EarliestBlockHeight, 1), st.SyncInfo.LatestBlockHeight
	if _, err := l.rpc.BlockResults(ctx, &head); err != nil && head > oldest {
		head-- // it is kept already, and not carried out yet
	}
	if from == 0 {
		from = oldest
	}
	if to == 0 {
		to = head
	}
	if from < oldest || to > head || from > to {
		return Verified{}, &job.Failure{Code: job.CodeNotFound, Message: fmt.Sprintf("the node holds blocks %d to %d, not %d to %d", oldest, head, from, to),
			Hint: "a node with --archive keeps all"}
	}
	v := Verified{ChainID: st.NodeInfo.Network, From: from, To: to}
	origin, seedsFrom, err := l.origin(ctx, v.ChainID, from, to)
	if err != nil {
		return v, err
	}
	if v.SeedsFrom = seedsFrom; seedsFrom > from {
		origin.Seed, origin.Draws = nil, nil
	}
	c := NewChecker(origin)
	err = l.check(ctx, c, &v, at)
	v.Counted = c.Count
	if err == nil {
		err = l.ends(ctx, c, &v)
	}
	if errors.As(err, &v.Wrong) {
		return v, nil
	}
	v.OK = err == nil
	return v, err
}

// check walks through the blocks. The commit under a block stands in the next one.
func (l *Ledger) check(ctx context.Context, c *Checker, v *Verified, at func(int64)) error {
	this, err := l.rpc.Block(ctx, &v.From)
	if err != nil {
		return l.missing(ctx, v.From, err)
	}
	v.FirstHash = this.BlockID.Hash.String()
	for h := v.From; h <= v.To; h++ {
		if h == v.SeedsFrom && h > v.From {
			state, err := l.committeeAt(ctx, h-1)
			if err != nil {
				return err
			}
			if err := c.begin(state); err != nil {
				return err
			}
		}
		next, commit, err := l.decided(ctx, h)
		if err != nil {
			return err
		}
		results, err := l.rpc.BlockResults(ctx, &h)
		if err != nil {
			return l.missing(ctx, h, err)
		}
		said, err := l.heard(this.Block, results)
		if err != nil {
			return &Wrong{h, err.Error()}
		}
		step := Step{Block: this.Block, Commit: commit, Results: results.TxsResults, Updates: results.ValidatorUpdates, Said: said}
		if err := c.Add(step); err != nil {
			return err
		}
		if at != nil {
			at(h)
		}
		this = next
	}
	v.LastHash = fmt.Sprintf("%X", c.Hash())
	return nil
}

// decided gives the commit under a block, and the block after it where there is one.
func (l *Ledger) decided(ctx context.Context, h int64) (*ctypes.ResultBlock, *cmtypes.Commit, error) {
	after := h + 1
	if next, err := l.rpc.Block(ctx, &after); err == nil && next.Block != nil {
		return next, next.Block.LastCommit, nil
	} else if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	r, err := l.rpc.Commit(ctx, &h)
	if err != nil {
		return nil, nil, l.missing(ctx, h, err)
	}
	return nil, r.Commit, nil
}

// origin collects what is taken on trust at the first block, and finds the first height from which the seed is known.
func (l *Ledger) origin(ctx context.Context, chain string, from, to int64) (Origin, int64, error) {
	o := Origin{Chain: chain, Keys: &Keyset{}, Whole: from == 1}
	var err error
	if o.Now, err = l.validators(ctx, from); err != nil {
		return o, 0, err
	}
	if o.Next, err = l.validators(ctx, from+1); err != nil {
		return o, 0, err
	}
	nodes, err := l.Nodes(ctx, "")
	if err != nil {
		return o, 0, err
	}
	for _, n := range nodes {
		learn(o.Keys, n.Key, n.ConsensusKey, n.VRFKey)
	}
	if err := l.begun(ctx, o.Keys); err != nil {
		return o, 0, err
	}
	if from == 1 {
		seed, no := sortition.Genesis(chain), false
		o.Seed, o.Carried = &seed, &no
		return o, 1, nil
	}
	first, state, err := l.remembers(ctx, from-1, to)
	if err != nil || first == 0 {
		return o, 0, err
	}
	for _, s := range state.Seats {
		learn(o.Keys, s.Key, s.Consensus, s.VRF)
	}
	if first == from-1 {
		o.Draws = map[uint64]sortition.Seed{}
		o.Seed, err = seedOf(state, o.Draws)
		carried := state.SeedHeight == first
		o.Carried = &carried
	}
	return o, first + 1, err
}

// begun learns the keys of the first nodes, who may have others by now.
func (l *Ledger) begun(ctx context.Context, k *Keyset) error {
	r, err := l.rpc.Genesis(ctx)
	if err != nil {
		return l.unreachable(ctx, err)
	}
	var state struct {
		Registry struct {
			Nodes []struct {
				Value struct {
					ID        []byte `json:"id"`
					Consensus []byte `json:"consensus_key"`
					VRF       []byte `json:"vrf_key"`
				} `json:"value"`
			} `json:"nodes"`
		} `json:"registry"`
	}
	if err := json.Unmarshal(r.Genesis.AppState, &state); err != nil {
		return fmt.Errorf("genesis: %w", err)
	}
	for _, n := range state.Registry.Nodes {
		learn(k, n.Value.ID, n.Value.Consensus, n.Value.VRF)
	}
	return nil
}

func learn(k *Keyset, node, consensus, vrf []byte) {
	n, err1 := sortition.KeyOf(node)
	c, err2 := sortition.KeyOf(consensus)
	v, err3 := sortition.KeyOf(vrf)
	if errors.Join(err1, err2, err3) == nil {
		k.Learn(n, c, v)
	}
}

// seedOf reads the seed in a state, and what draws in its epoch.
func seedOf(state Committee, draws map[uint64]sortition.Seed) (*sortition.Seed, error) {
	var seed sortition.Seed
	if err := seed.UnmarshalText([]byte(state.Seed)); err != nil {
		return nil, err
	}
	var draw sortition.Seed
	if state.Opened > 0 && draw.UnmarshalText([]byte(state.DrawSeed)) == nil {
		draws[state.Epoch] = draw
	}
	return &seed, nil
}

// begin takes up the seed in the middle.
func (c *Checker) begin(state Committee) (err error) {
	c.seed, err = seedOf(state, c.draws)
	return err
}

// remembers finds the lowest height from one on whose state the node still has: states are dropped sooner than blocks.
func (l *Ledger) remembers(ctx context.Context, from, to int64) (int64, Committee, error) {
	state, err := l.committeeAt(ctx, from)
	if err == nil {
		return from, state, nil
	}
	low, high, found := from, to, int64(0) // low has none
	for probe := to; ; probe = low + (high-low)/2 {
		at, err := l.committeeAt(ctx, probe)
		var no *Refused
		switch {
		case err == nil:
			high, found, state = probe, probe, at
		case !errors.As(err, &no):
			return 0, state, err
		default:
			low = probe
		}
		if high-low <= 1 || found == 0 {
			return found, state, nil
		}
	}
}

// validators gives who sits at a height, equal though their order among themselves may be.
func (l *Ledger) validators(ctx context.Context, height int64) (*cmtypes.ValidatorSet, error) {
	var all []*cmtypes.Validator
	for page, size := 1, 100; ; page++ {
		r, err := l.rpc.Validators(ctx, &height, &page, &size)
		if err != nil {
			return nil, l.missing(ctx, height, err)
		}
		if all = append(all, r.Validators...); len(all) >= r.Total || len(r.Validators) == 0 {
			break
		}
	}
	for _, v := range all {
		if _, ours := v.PubKey.(ed25519.PubKey); !ours || !bytes.Equal(v.PubKey.Address(), v.Address) {
			return nil, &Wrong{height, "a seat has a key of another kind"}
		}
	}
	set, err := cmtypes.ValidatorSetFromExistingValidators(all)
	if err != nil {
		return nil, &Wrong{height, err.Error()}
	}
	return set, nil
}

// heard gives what successful transactions of a block said about claims and keys.
func (l *Ledger) heard(b *cmtypes.Block, r *ctypes.ResultBlockResults) ([]Said, error) {
	var all []Said
	for i, tx := range b.Txs {
		if i >= len(r.TxsResults) || r.TxsResults[i].Code != 0 {
			continue
		}
		t, err := l.words.tx.TxDecoder()(tx)
		if err != nil {
			return nil, fmt.Errorf("transaction %d succeeded and cannot be read: %w", i, err)
		}
		for _, m := range t.GetMsgs() {
			all = append(all, l.hear(m, 0)...)
		}
	}
	return all, nil
}

func (l *Ledger) hear(m sdk.Msg, depth int) []Said {
	switch m := m.(type) {
	case *committeev1.MsgClaim:
		node, err1 := sortition.KeyOf(m.Node)
		proof, err2 := sortition.ProofOf(m.Proof)
		if errors.Join(err1, err2) == nil {
			return []Said{{Claim: &Claimed{node, m.Epoch, proof}}}
		}
	case *registryv1.MsgRegister:
		return known(m.Registration)
	case *registryv1.MsgChangeKeys:
		return known(m.Registration)
	case interface{ GetMessages() ([]sdk.Msg, error) }: // sent in another's name
		inner, err := m.GetMessages()
		if err != nil || depth > 4 {
			return nil
		}
		var all []Said
		for _, one := range inner {
			all = append(all, l.hear(one, depth+1)...)
		}
		return all
	}
	return nil
}

func known(word []byte) []Said {
	r, err := sortition.ParseRegistration(word)
	if err != nil {
		return nil
	}
	return []Said{{Keys: &[3]sortition.Key{r.Node, r.Consensus, r.VRF}}}
}

// ends compares what was reckoned with what the node says of the last block, and counts the HPIPS at the head.
func (l *Ledger) ends(ctx context.Context, c *Checker, v *Verified) error {
	if seed, known := c.Seed(); known {
		state, err := l.committeeAt(ctx, v.To)
		var no *Refused
		if err != nil && !errors.As(err, &no) {
			return err
		}
		if err == nil && state.Seed != seed.String() {
			return &Wrong{v.To, fmt.Sprintf("the seed after it is %s; the node says %s", seed, state.Seed)}
		}
		if err == nil && !c.seats(state) {
			return &Wrong{v.To, "the node names another committee than its blocks made"}
		}
	}
	s, err := l.Supply(ctx)
	if err != nil {
		return err
	}
	banked, err := l.banked(ctx)
	if err != nil {
		return err
	}
	v.Supply, v.Burned = s.Total, s.Burned
	if banked+s.Burned != money.Total {
		return &Wrong{v.To, fmt.Sprintf("there are %s HPIPS and %s were burned: together not %s", banked, s.Burned, money.Total)}
	}
	return nil
}

// seats tells whether a state names the committee that the blocks made.
func (c *Checker) seats(state Committee) bool {
	for _, s := range state.Seats {
		if !c.next.HasAddress(consensusAddress(s.Consensus)) {
			return false
		}
	}
	return len(state.Seats) == c.next.Size()
}
