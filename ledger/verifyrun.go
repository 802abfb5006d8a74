package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/cometbft/cometbft/crypto/ed25519"
	ctypes "github.com/cometbft/cometbft/rpc/core/types"
	cmtypes "github.com/cometbft/cometbft/types"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/proto/gen/registryv1"
	"github.com/hpips/hpips/proto/gen/supplyv1"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/sortition"
)

// Verified is what a verification found.
type Verified struct {
	OK         bool         `json:"ok"`
	ChainID    string       `json:"chainId"`
	Genesis    string       `json:"genesis"` // SHA-256 of the genesis that the node shows
	Whole      bool         `json:"whole"`   // From is the chain's first block
	From       int64        `json:"from"`
	To         int64        `json:"to"`
	FirstHash  string       `json:"firstHash"`
	LastHash   string       `json:"lastHash"`
	SeedsFrom  int64        `json:"seedsFrom"`  // height from which seeds and claims were checked; 0: at none
	ProvenFrom int64        `json:"provenFrom"` // first block of which draws, seats and supply were recomputed; 0: none
	ProvenTo   int64        `json:"provenTo"`   // the last one
	Supply     money.Amount `json:"supply"`     // after block ProvenTo
	Burned     money.Amount `json:"burned"`
	Counted
	Draws  int64  `json:"draws"`  // turns of the committee that were drawn again
	Proofs int64  `json:"proofs"` // of states, against headers
	Wrong  *Wrong `json:"wrong,omitempty"`
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
	w := walk{Ledger: l, proofs: l.proofs(), v: Verified{ChainID: st.NodeInfo.Network, From: from, To: to}, at: at}
	if err = w.begin(ctx); err == nil {
		err = w.blocks(ctx)
	}
	w.v.Proofs = w.proofs.count
	if w.checker != nil {
		w.v.Counted = w.checker.Count
	}
	if w.draws != nil {
		w.v.Draws = w.draws.turns
		w.v.Supply, w.v.Burned = w.sums.left()
	}
	if err == nil {
		err = w.ends(ctx)
	}
	if errors.As(err, &w.v.Wrong) {
		return w.v, nil
	}
	w.v.OK = err == nil
	return w.v, err
}

// walk is one verification.
type walk struct {
	*Ledger
	proofs  *proofs
	checker *Checker
	genesis beginning
	v       Verified
	at      func(int64)

	stands int64 // the block with whose state draws and supply begin; 0: with the genesis, or not at all
	draws  *draws
	sums   *sums
	last   *followed // the block that was checked last: what it left, the next header says
	state  stateRoot // what it found
}

// begin takes what is trusted at the first block.
func (w *walk) begin(ctx context.Context) (err error) {
	if w.genesis, err = w.beginning(ctx); err != nil {
		return err
	}
	w.v.Genesis = w.genesis.sum
	origin, seedsFrom, err := w.origin(ctx, w.v.ChainID, w.v.From, w.v.To, w.genesis)
	if err != nil {
		return err
	}
	if w.v.SeedsFrom = seedsFrom; seedsFrom > w.v.From {
		origin.Seed, origin.Draws = nil, nil
	}
	w.checker, w.v.Whole = NewChecker(origin), origin.Whole
	switch {
	case origin.Whole:
		return w.found(ctx, origin)
	case seedsFrom == w.v.From && origin.Before == nil:
		w.stands = seedsFrom
	case seedsFrom > 0:
		w.stands = max(seedsFrom-1, provable)
	}
	return nil
}

// found begins draws and supply with the genesis; or, where the node has let go of the first states, with the oldest that it has.
func (w *walk) found(ctx context.Context, o Origin) (err error) {
	if oldest := max(provable, w.v.From); w.v.To >= oldest {
		if first, _, err := w.oldest(ctx, oldest, w.v.To); err != nil || first != oldest {
			w.stands = first
			return err
		}
	}
	if w.draws, err = w.genesis.draws(o.Chain, w.proofs); err != nil {
		return err
	}
	w.sums = &sums{proofs: w.proofs, oldest: w.draws.oldest, burned: w.genesis.totals.Burned}
	w.v.ProvenFrom = w.v.From
	if w.draws.agree(followed{height: w.v.From, after: o.Now}) != nil {
		return wrong(w.v.From, "its committee is not that of the genesis")
	}
	return nil
}

// blocks walks through the blocks. The commit under a block, and the state that it left, stand in the next one.
func (w *walk) blocks(ctx context.Context) error {
	this, err := w.rpc.Block(ctx, &w.v.From)
	if err != nil {
		return w.missing(ctx, w.v.From, err)
	}
	w.v.FirstHash = this.BlockID.Hash.String()
	for h := w.v.From; h <= w.v.To; h++ {
		if h == w.v.SeedsFrom && h > w.v.From {
			state, err := w.committeeAt(ctx, h-1)
			if err != nil {
				return err
			}
			if err := w.checker.begin(state); err != nil {
				return err
			}
		}
		next, err := w.block(ctx, h, this)
		if err != nil {
			return err
		}
		if w.at != nil {
			w.at(h)
		}
		this = next
	}
	w.v.LastHash = fmt.Sprintf("%X", w.checker.Hash())
	if this == nil { // it is the chain's last: nobody has signed yet for what it left
		return nil
	}
	_, commit, err := w.decided(ctx, w.v.To+1)
	if err != nil {
		return err
	}
	if err := w.checker.Vouched(&this.Block.Header, commit); err != nil {
		return err
	}
	return w.left(ctx, stateRoot{w.v.To, this.Block.AppHash})
}

// block does one height, and gives the next block if there is one.
func (w *walk) block(ctx context.Context, h int64, this *ctypes.ResultBlock) (*ctypes.ResultBlock, error) {
	next, commit, err := w.decided(ctx, h)
	if err != nil {
		return nil, err
	}
	results, err := w.rpc.BlockResults(ctx, &h)
	if err != nil {
		return nil, w.missing(ctx, h, err)
	}
	said, err := w.heard(this.Block, results)
	if err != nil {
		return nil, &Wrong{h, err.Error()}
	}
	voters := w.checker.before
	step := Step{Block: this.Block, Commit: commit, Results: results.TxsResults, Updates: results.ValidatorUpdates, Said: said}
	if err := w.checker.Add(step); err != nil {
		return nil, err
	}
	if err := w.left(ctx, stateRoot{h - 1, this.Block.AppHash}); err != nil {
		return nil, err
	}
	w.last = &followed{height: h, time: this.Block.Time, signed: signed(this.Block.LastCommit, voters), said: said, after: w.checker.next}
	if *w.checker.carried {
		w.last.seed = w.checker.seed
	}
	for _, one := range this.Block.Evidence.Evidence {
		w.last.guilty = append(w.last.guilty, one.ABCI()...)
	}
	return next, nil
}

// signed tells of each who was asked whether it signed.
func signed(commit *cmtypes.Commit, voters *cmtypes.ValidatorSet) map[string]bool {
	all := map[string]bool{}
	if commit == nil || voters == nil || len(commit.Signatures) != voters.Size() {
		return all
	}
	for i, s := range commit.Signatures {
		all[string(voters.Validators[i].Address)] = s.BlockIDFlag == cmtypes.BlockIDFlagCommit
	}
	return all
}

// left looks at what a block did to seats and money, now that a header which was checked says which state it left.
func (w *walk) left(ctx context.Context, state stateRoot) error {
	found := w.state
	w.state = state
	if w.draws != nil && w.last != nil {
		f := *w.last
		f.before, f.state = found, state
		if err := w.draws.follow(ctx, f); err != nil {
			return err
		}
		if err := w.sums.follow(ctx, f); err != nil {
			return err
		}
		w.v.ProvenTo = state.height
		return nil
	}
	if w.draws != nil || w.stands != state.height || w.stands == 0 {
		return nil
	}
	after := w.checker.now // before the first block: of two blocks on
	if w.last != nil {
		after = w.last.after
	}
	return w.stand(ctx, state, after)
}

// stand begins draws and supply with a state.
func (w *walk) stand(ctx context.Context, at stateRoot, after *cmtypes.ValidatorSet) (err error) {
	if w.draws, err = w.drawsAt(ctx, w.v.ChainID, w.proofs, w.genesis, at, after); err != nil {
		return err
	}
	w.sums = &sums{proofs: w.proofs, oldest: w.draws.oldest}
	w.v.ProvenFrom = at.height + 1
	return w.sums.begin(ctx, at)
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
func (l *Ledger) origin(ctx context.Context, chain string, from, to int64, b beginning) (Origin, int64, error) {
	o := Origin{Chain: chain, Keys: &Keyset{}, Whole: from == b.first}
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
	for _, n := range b.nodes { // who may have other keys by now
		learn(o.Keys, n.Id, n.ConsensusKey, n.VrfKey)
	}
	if o.Whole {
		seed, err := sortition.SeedOf(b.beacon.Seed)
		if no := false; err == nil {
			o.Seed, o.Carried = &seed, &no
		}
		return o, from, err
	}
	if o.Before, err = l.satBefore(ctx, from, o); err != nil {
		return o, 0, err
	}
	first, state, err := l.oldest(ctx, from-1, to)
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

// spare is how many of its oldest states are left alone where a node has not all: it drops them while it is asked.
const spare = 100

// oldest is remembers, but for the states that may be gone in a moment.
func (l *Ledger) oldest(ctx context.Context, from, to int64) (int64, Committee, error) {
	first, state, err := l.remembers(ctx, from, to)
	later := min(first+spare, to)
	if err != nil || first == 0 || first == from || later == first {
		return first, state, err
	}
	state, err = l.committeeAt(ctx, later)
	return later, state, err
}

// satBefore gives who sat one block before the first one, as its header says, which the first block names; nil where the node has it no more.
func (l *Ledger) satBefore(ctx context.Context, from int64, o Origin) (*cmtypes.ValidatorSet, error) {
	first, err := l.rpc.Block(ctx, &from)
	if err != nil {
		return nil, l.missing(ctx, from, err)
	}
	before := from - 1
	r, err := l.rpc.Block(ctx, &before)
	if err != nil || r.Block == nil {
		return nil, ctx.Err()
	}
	set, err := l.validators(ctx, before)
	if err != nil {
		var no *Wrong
		if errors.As(err, &no) || ctx.Err() != nil {
			return nil, err
		}
		return nil, nil // it holds the block, and has let go of who sat
	}
	h := r.Block.Header
	switch {
	case !bytes.Equal(h.Hash(), first.Block.LastBlockID.Hash):
		return nil, wrong(from, "it does not follow block %d", before)
	case !bytes.Equal(h.ValidatorsHash, set.Hash()) || !bytes.Equal(h.NextValidatorsHash, o.Now.Hash()):
		return nil, wrong(before, "its committee is not that of its header")
	}
	if err := set.VerifyCommitLightAllSignatures(o.Chain, first.Block.LastBlockID, before, first.Block.LastCommit); err != nil {
		return nil, wrong(before, "signatures: %v", err)
	}
	return set, nil
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

// deepest is more than a transaction can hold: the decoder gives up before.
const deepest = 64

func (l *Ledger) hear(m sdk.Msg, depth int) []Said {
	switch m := m.(type) {
	case *committeev1.MsgClaim:
		node, err1 := sortition.KeyOf(m.Node)
		proof, err2 := sortition.ProofOf(m.Proof)
		if errors.Join(err1, err2) == nil {
			return []Said{{Claim: &Claimed{node, m.Epoch, proof}}}
		}
	case *committeev1.MsgStepDown:
		if node, err := sortition.KeyOf(m.Node); err == nil {
			return []Said{{Left: &node}}
		}
	case *committeev1.MsgTicket:
		return []Said{{Ticket: true}}
	case *supplyv1.MsgBurn:
		return []Said{{Burned: m.Amount}}
	case *registryv1.MsgRetire:
		if node, err := sortition.KeyOf(m.Node); err == nil {
			return []Said{{Retired: &node, Ticket: true}}
		}
	case *registryv1.MsgRegister:
		return known(m.Registration)
	case *registryv1.MsgChangeKeys:
		return known(m.Registration)
	case interface{ GetMessages() ([]sdk.Msg, error) }: // sent in another's name
		inner, err := m.GetMessages()
		if err != nil || depth > deepest {
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
	return []Said{{Keys: &[3]sortition.Key{r.Node, r.Consensus, r.VRF}, Ticket: true}}
}

// ends compares what was reckoned with what the node says of the last block.
func (w *walk) ends(ctx context.Context) error {
	seed, known := w.checker.Seed()
	if !known {
		return nil
	}
	state, err := w.committeeAt(ctx, w.v.To)
	switch {
	case isRefused(err):
		return nil
	case err != nil:
		return err
	case state.Seed != seed.String():
		return wrong(w.v.To, "the seed after it is %s; the node says %s", seed, state.Seed)
	case !w.checker.seats(state):
		return wrong(w.v.To, "the node names another committee than its blocks made")
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
