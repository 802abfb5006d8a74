package chaintest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

	"cosmossdk.io/log/v2"
	abci "github.com/cometbft/cometbft/abci/types"
	cmtbytes "github.com/cometbft/cometbft/libs/bytes"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	cmtversion "github.com/cometbft/cometbft/proto/tendermint/version"
	rpcclient "github.com/cometbft/cometbft/rpc/client"
	ctypes "github.com/cometbft/cometbft/rpc/core/types"
	cmttypes "github.com/cometbft/cometbft/types"
	"github.com/cometbft/cometbft/version"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/cosmos-sdk/store/v2/rootmulti"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"

	"github.com/hpips/hpips/chain"
	committeev1 "github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/sortition"
)

// Chronicle is a chain that is written block by block in this process, with the real rules and the signatures of its people. It answers as a node does.
type Chronicle struct {
	rpcclient.Client // what is not there is not asked
	App              *chain.App
	Doc              *cmttypes.GenesisDoc

	people  []Person
	away    map[string]bool // by name: signs nothing
	blocks  []*cmttypes.Block
	commits []*cmttypes.Commit
	results []*abci.ResponseFinalizeBlock
	sets    []*cmttypes.ValidatorSet // who sits in each block, and two more
	seed    sortition.Seed
	carried bool
}

// NewChronicle begins a chain with a genesis, which may be one that nobody would found. All who may ever sit are among the people.
func NewChronicle(doc *cmttypes.GenesisDoc, people ...Person) (c *Chronicle, err error) {
	c = &Chronicle{Doc: doc, people: people, away: map[string]bool{}, seed: sortition.Genesis(doc.ChainID)}
	if c.App, err = chain.New(chain.Options{ChainID: doc.ChainID, DB: dbm.NewMemDB(), Log: log.NewNopLogger()}); err != nil {
		return nil, err
	}
	params := doc.ConsensusParams.ToProto()
	res, err := c.App.InitChain(&abci.RequestInitChain{
		ChainId: doc.ChainID, Time: doc.GenesisTime, ConsensusParams: &params, AppStateBytes: doc.AppState, InitialHeight: doc.InitialHeight,
	})
	if err != nil {
		return nil, err
	}
	first, err := cmttypes.PB2TM.ValidatorUpdates(res.Validators)
	if err != nil {
		return nil, err
	}
	set := cmttypes.NewValidatorSet(first)
	c.sets = []*cmttypes.ValidatorSet{set, set.Copy()}
	return c, nil
}

// Away has a person sign nothing from now on, or sign again.
func (c *Chronicle) Away(p Person, away bool) { c.away[p.Name] = away }

// Height is that of the last block.
func (c *Chronicle) Height() int64 { return int64(len(c.blocks)) }

// Sits tells whether a person has a seat in the next block.
func (c *Chronicle) Sits(p Person) bool {
	return c.sets[len(c.blocks)].HasAddress(p.ConsensusAddress())
}

// Forge changes a store of the state that the block now being written leaves.
type Forge func(store func(name string) storetypes.KVStore)

// Write writes a block of these transactions; each must succeed. forge, if there is one, changes the state behind the rules' back.
func (c *Chronicle) Write(guilty cmttypes.EvidenceList, forge Forge, txs ...[]byte) error {
	height, at := c.Height()+1, c.Doc.GenesisTime.Add(time.Second)
	last, lastID, results := &cmttypes.Commit{}, cmttypes.BlockID{}, cmttypes.NewResults(nil).Hash()
	if height > 1 {
		last = c.commits[height-2]
		lastID, at, results = last.BlockID, c.blocks[height-2].Time.Add(time.Second), cmttypes.NewResults(c.results[height-2].TxResults).Hash()
	}
	now, next := c.sets[height-1], c.sets[height]
	proposer, err := c.proposer(now, height)
	if err != nil {
		return err
	}
	var all cmttypes.Txs
	c.carried = sortition.Carries(len(txs), len(guilty), c.carried)
	if c.carried {
		proof, err1 := sortition.Prove(proposer.VRF, sortition.SeedAlpha(c.Doc.ChainID, height, c.seed))
		beta, err2 := proof.Beta()
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		c.seed = c.seed.Extend(beta)
		all = append(all, sortition.SeedTx(proof))
	}
	for _, tx := range txs {
		all = append(all, tx)
	}
	b := cmttypes.MakeBlock(height, all, last, guilty)
	b.Header.Populate(cmtversion.Consensus{Block: version.BlockProtocol}, c.Doc.ChainID, at, lastID, now.Hash(), next.Hash(), c.Doc.ConsensusParams.Hash(),
		c.App.LastCommitID().Hash, results, proposer.ConsensusAddress())
	res, err := c.run(b, last, forge)
	if err != nil {
		return fmt.Errorf("block %d: %w", height, err)
	}
	commit, err := c.sign(b, now)
	if err != nil {
		return err
	}
	changes, err := cmttypes.PB2TM.ValidatorUpdates(res.ValidatorUpdates)
	if err != nil {
		return err
	}
	after := next.Copy()
	if err := after.UpdateWithChangeSet(changes); err != nil {
		return fmt.Errorf("block %d: %w", height, err)
	}
	c.blocks, c.commits, c.results, c.sets = append(c.blocks, b), append(c.commits, commit), append(c.results, res), append(c.sets, after)
	for i, r := range res.TxResults[len(all)-len(txs):] {
		if r.Code != 0 {
			return fmt.Errorf("block %d: transaction %d: %s", height, i, r.Log)
		}
	}
	return nil
}

// run has the application do a block.
func (c *Chronicle) run(b *cmttypes.Block, last *cmttypes.Commit, forge Forge) (*abci.ResponseFinalizeBlock, error) {
	req := &abci.RequestFinalizeBlock{Hash: b.Hash(), Height: b.Height, Time: b.Time, Txs: b.Txs.ToSliceOfBytes(), ProposerAddress: b.ProposerAddress}
	for i, s := range last.Signatures {
		v := c.sets[b.Height-2].Validators[i]
		req.DecidedLastCommit.Votes = append(req.DecidedLastCommit.Votes, abci.VoteInfo{
			Validator: abci.Validator{Address: v.Address, Power: v.VotingPower}, BlockIdFlag: cmtproto.BlockIDFlag(s.BlockIDFlag)})
	}
	for _, e := range b.Evidence.Evidence {
		req.Misbehavior = append(req.Misbehavior, e.ABCI()...)
	}
	res, err := c.App.FinalizeBlock(req)
	if err != nil {
		return nil, err
	}
	if forge != nil {
		stores := c.App.CommitMultiStore().(*rootmulti.Store)
		forge(func(name string) storetypes.KVStore { return stores.GetStoreByName(name).(storetypes.KVStore) })
	}
	_, err = c.App.Commit()
	return res, err
}

// proposer is somebody who sits and is there.
func (c *Chronicle) proposer(set *cmttypes.ValidatorSet, height int64) (Person, error) {
	for i := range set.Validators {
		p, err := c.named(set.Validators[(int(height)+i)%set.Size()].Address)
		if err != nil || !c.away[p.Name] {
			return p, err
		}
	}
	return Person{}, errors.New("all who sit are away")
}

func (c *Chronicle) named(address []byte) (Person, error) {
	i := slices.IndexFunc(c.people, func(p Person) bool { return bytes.Equal(p.ConsensusAddress(), address) })
	if i < 0 {
		return Person{}, fmt.Errorf("seat %X is nobody's", address)
	}
	return c.people[i], nil
}

// sign gives the commit of all who sit and are there.
func (c *Chronicle) sign(b *cmttypes.Block, set *cmttypes.ValidatorSet) (*cmttypes.Commit, error) {
	parts, err := b.MakePartSet(cmttypes.BlockPartSizeBytes)
	if err != nil {
		return nil, err
	}
	commit := &cmttypes.Commit{Height: b.Height, BlockID: cmttypes.BlockID{Hash: b.Hash(), PartSetHeader: parts.Header()}}
	for i := range set.Validators {
		p, err := c.named(set.Validators[i].Address)
		if err != nil {
			return nil, err
		}
		if c.away[p.Name] {
			commit.Signatures = append(commit.Signatures, cmttypes.NewCommitSigAbsent())
			continue
		}
		v := c.vote(p, b.Height, int32(i), commit.BlockID, b.Time)
		commit.Signatures = append(commit.Signatures, v.CommitSig())
	}
	return commit, nil
}

func (c *Chronicle) vote(p Person, height int64, index int32, id cmttypes.BlockID, at time.Time) *cmttypes.Vote {
	v := &cmttypes.Vote{Type: cmtproto.PrecommitType, Height: height, BlockID: id, Timestamp: at, ValidatorAddress: p.ConsensusAddress(), ValidatorIndex: index}
	v.Signature = ed25519.Sign(p.Consensus, cmttypes.VoteSignBytes(c.Doc.ChainID, v.ToProto()))
	return v
}

// Twice is the evidence that a person signed the last block and another one.
func (c *Chronicle) Twice(p Person) (cmttypes.EvidenceList, error) {
	h := c.Height()
	index, _ := c.sets[h-1].GetByAddress(p.ConsensusAddress())
	id := c.commits[h-1].BlockID
	other := id
	other.Hash = bytes.Repeat([]byte{7}, 32)
	one, two := c.vote(p, h, index, id, c.blocks[h-1].Time), c.vote(p, h, index, other, c.blocks[h-1].Time)
	e, err := cmttypes.NewDuplicateVoteEvidence(one, two, c.blocks[h-1].Time, c.sets[h-1])
	return cmttypes.EvidenceList{e}, err
}

// Committee is the state of seats.
func (c *Chronicle) Committee() (r committeev1.QueryCommitteeResponse, err error) {
	return r, c.ask("/hpips.committee.v1.Query/Committee", &committeev1.QueryCommitteeRequest{}, &r)
}

// Ticket is a person's place in the lottery.
func (c *Chronicle) Ticket(p Person) (r committeev1.QueryTicketResponse, err error) {
	id := p.ID()
	return r, c.ask("/hpips.committee.v1.Query/Ticket", &committeev1.QueryTicketRequest{Node: id[:]}, &r)
}

type message interface {
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}

func (c *Chronicle) ask(path string, question, answer message) error {
	data, err := question.Marshal()
	if err != nil {
		return err
	}
	res, err := c.App.Query(context.Background(), &abci.RequestQuery{Path: path, Data: data})
	if err != nil || res.Code != 0 {
		return fmt.Errorf("%s: %w %s", path, err, res.GetLog())
	}
	return answer.Unmarshal(res.Value)
}

// Free is a transaction of a message that needs no account.
func (c *Chronicle) Free(m Message) ([]byte, error) { return chain.FreeTx(c.App.Codec(), m) }

// Apply is a transaction by which a person takes out a ticket; the chain must ask for no receipts.
func (c *Chronicle) Apply(p Person) ([]byte, error) {
	state, err := c.Committee()
	if err != nil {
		return nil, err
	}
	id := p.ID()
	word := sortition.Application{Chain: c.Doc.ChainID, Node: id, Slot: state.Beacon.Slot, Receipts: sortition.Digest(nil)}
	signature, err := word.Sign(p.Node)
	if err != nil {
		return nil, err
	}
	return chain.FreeTx(c.App.Codec(), &committeev1.MsgTicket{Sender: Sender(p), Node: id[:], Slot: word.Slot, Signature: signature})
}

// Draw is a person's claim in the draw of the epoch that is open, and its rank among the tickets of its network.
func (c *Chronicle) Draw(p Person) (tx []byte, rank sortition.Rank, err error) {
	state, err := c.Committee()
	if err != nil {
		return nil, rank, err
	}
	place, err := c.Ticket(p)
	if err != nil {
		return nil, rank, err
	}
	id := p.ID()
	proof, err := sortition.Prove(p.VRF, sortition.DrawAlpha(c.Doc.ChainID, state.Epoch.Number, sortition.Seed(state.Epoch.DrawSeed)))
	if err != nil {
		return nil, rank, err
	}
	beta, err := proof.Beta()
	if err != nil {
		return nil, rank, err
	}
	tx, err = chain.FreeTx(c.App.Codec(), &committeev1.MsgClaim{Sender: Sender(p), Node: id[:], Epoch: state.Epoch.Number, Proof: proof[:]})
	return tx, beta.Output().Rank(max(1, place.NetworkTickets)), err
}

// Resign is a person's word that its seat steps down.
func (c *Chronicle) Resign(p Person) ([]byte, error) {
	state, err := c.Committee()
	if err != nil {
		return nil, err
	}
	id := p.ID()
	signature, err := sortition.Resignation{Chain: c.Doc.ChainID, Node: id, Epoch: state.Epoch.Number}.Sign(p.Node)
	if err != nil {
		return nil, err
	}
	return chain.FreeTx(c.App.Codec(), &committeev1.MsgStepDown{Sender: Sender(p), Node: id[:], Epoch: state.Epoch.Number, Signature: signature})
}

// Prune lets go of the states up to a height.
func (c *Chronicle) Prune(to int64) error { return c.App.Prune(to) }

// What follows is how a chronicle answers as a node does.

// Status says which blocks there are.
func (c *Chronicle) Status(context.Context) (*ctypes.ResultStatus, error) {
	st := &ctypes.ResultStatus{}
	st.NodeInfo.Network, st.SyncInfo.LatestBlockHeight, st.SyncInfo.EarliestBlockHeight = c.Doc.ChainID, c.Height(), 1
	return st, nil
}

// Genesis is the chain's.
func (c *Chronicle) Genesis(context.Context) (*ctypes.ResultGenesis, error) {
	return &ctypes.ResultGenesis{Genesis: c.Doc}, nil
}

func (c *Chronicle) gone(height int64) error {
	if height < 1 || height > c.Height() {
		return fmt.Errorf("height %d is not available", height)
	}
	return nil
}

// Block is one of them.
func (c *Chronicle) Block(_ context.Context, h *int64) (*ctypes.ResultBlock, error) {
	if err := c.gone(*h); err != nil {
		return nil, err
	}
	return &ctypes.ResultBlock{BlockID: c.commits[*h-1].BlockID, Block: c.blocks[*h-1]}, nil
}

// Commit is the signatures under a block.
func (c *Chronicle) Commit(_ context.Context, h *int64) (*ctypes.ResultCommit, error) {
	if err := c.gone(*h); err != nil {
		return nil, err
	}
	return ctypes.NewResultCommit(&c.blocks[*h-1].Header, c.commits[*h-1], true), nil
}

// BlockResults is what the application answered.
func (c *Chronicle) BlockResults(_ context.Context, h *int64) (*ctypes.ResultBlockResults, error) {
	if err := c.gone(*h); err != nil {
		return nil, err
	}
	r := c.results[*h-1]
	return &ctypes.ResultBlockResults{Height: *h, TxsResults: r.TxResults, ValidatorUpdates: r.ValidatorUpdates}, nil
}

// Validators are who sits in a block.
func (c *Chronicle) Validators(_ context.Context, h *int64, _, _ *int) (*ctypes.ResultValidators, error) {
	if *h < 1 || int(*h) > len(c.sets) {
		return nil, fmt.Errorf("height %d is not available", *h)
	}
	all := c.sets[*h-1].Copy().Validators
	return &ctypes.ResultValidators{BlockHeight: *h, Validators: all, Count: len(all), Total: len(all)}, nil
}

// ABCIQueryWithOptions asks the application.
func (c *Chronicle) ABCIQueryWithOptions(ctx context.Context, path string, data cmtbytes.HexBytes, o rpcclient.ABCIQueryOptions) (*ctypes.ResultABCIQuery, error) {
	res, err := c.App.Query(ctx, &abci.RequestQuery{Path: path, Data: data, Height: o.Height, Prove: o.Prove})
	if err != nil {
		return nil, err
	}
	return &ctypes.ResultABCIQuery{Response: *res}, nil
}
