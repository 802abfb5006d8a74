package full

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/consensus"
	"github.com/cometbft/cometbft/evidence"
	"github.com/cometbft/cometbft/mempool"
	"github.com/cometbft/cometbft/node"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/proxy"
	sm "github.com/cometbft/cometbft/state"
	"github.com/cometbft/cometbft/store"
	cmttypes "github.com/cometbft/cometbft/types"
	"github.com/cosmos/cosmos-sdk/server"
	"github.com/cosmos/gogoproto/proto"
)

// Rebuild makes a new home from the bytes of blocks alone, from the first one on, as Blocks gives them: each is believed by the commit in the next one, as if a peer had sent it, and none that contradicts the
// trust point is applied. So the last block waits for its successor; Rebuilt tells the one before it. New and Serve go on from there. A home that has blocks already is refused with ErrHasBlocks; after any other error what was
// written is gone again, and what a rebuilding that was cut off has left goes before the next one begins. It is ErrForged where blocks do not follow from the genesis and from one another, or contradict the trust point, and ErrNoTrust where they end before it.
func Rebuild(ctx context.Context, c Config, blocks iter.Seq2[[]byte, error]) (r Rebuilt, err error) {
	data := filepath.Join(c.Home, "data")
	if err := Abandon(c.Home); err != nil {
		return Rebuilt{}, fmt.Errorf("rebuild %s: %w", c.Home, err)
	}
	if _, err := os.Lstat(data); !errors.Is(err, fs.ErrNotExist) {
		return Rebuilt{}, fmt.Errorf("rebuild %s: %w", c.Home, errors.Join(ErrHasBlocks, err))
	}
	if err := markHalf(c.Home); err != nil {
		return Rebuilt{}, fmt.Errorf("rebuild %s: %w", c.Home, err)
	}
	b := &rebuilding{}
	defer func() {
		err = errors.Join(err, b.close())
		if err == nil {
			err = os.Remove(filepath.Join(c.Home, halfName))
		}
		if err != nil {
			err = fmt.Errorf("rebuild %s: %w", c.Home, errors.Join(err, Abandon(c.Home)))
			r = Rebuilt{}
		}
	}()
	for _, folder := range []string{c.Home, data, filepath.Join(c.Home, "snapshots")} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return Rebuilt{}, err
		}
	}
	if err := b.open(c); err != nil {
		return Rebuilt{}, err
	}
	if err := b.apply(ctx, c, blocks); err != nil {
		return Rebuilt{}, err
	}
	return Rebuilt{b.state.LastBlockHeight, b.state.AppHash}, nil
}

// halfName marks a home while it is rebuilt: what is in it is worth nothing before the end. The mark names the folders that the rebuilding made.
const halfName = "rebuilding"

// ErrHalf is why a home is not opened whose rebuilding was cut off.
var ErrHalf = errors.New("the home was being rebuilt, and that did not come to its end: rebuild it again (hpips chain rebuild --from-ipfs)")

// markHalf marks a home. A folder of snapshots that is there already is not the rebuilding's to remove.
func markHalf(home string) error {
	if err := os.MkdirAll(home, 0o700); err != nil {
		return err
	}
	made := "data\n"
	if _, err := os.Lstat(filepath.Join(home, "snapshots")); errors.Is(err, fs.ErrNotExist) {
		made += "snapshots\n"
	}
	return keep(filepath.Join(home, halfName), []byte(made))
}

// Abandon takes out of a home what a rebuilding has left that did not come to its end. Any other home stays as it is.
func Abandon(home string) error {
	mark := filepath.Join(home, halfName)
	made, err := os.ReadFile(mark)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range []string{"data", "snapshots"} {
		if slices.Contains(strings.Fields(string(made)), name) {
			if err := os.RemoveAll(filepath.Join(home, name)); err != nil {
				return err
			}
		}
	}
	return os.Remove(mark)
}

// ErrHasBlocks is why a home is not built anew.
var ErrHasBlocks = errors.New("the home has blocks already")

// Rebuilt is how far a home came: its last block, and the hash of the state after it.
type Rebuilt struct {
	Height  int64
	AppHash []byte
}

// rebuilding is an engine without a network.
type rebuilding struct {
	engine engine
	conns  proxy.AppConns
	blocks *store.BlockStore
	pool   *evidence.Pool
	exec   *sm.BlockExecutor
	state  sm.State
}

func (b *rebuilding) open(c Config) error {
	n := &Node{config: c, log: c.Log, started: time.Now(), fatal: make(chan error, 1), met: make(chan struct{}, 1)}
	e := &b.engine
	if err := e.openApp(n); err != nil {
		return err
	}
	if err := mayStart(c, e.app, time.Now()); err != nil {
		return err
	}
	pace, err := e.app.Pace(c.Doc)
	if err != nil {
		return err
	}
	settings, err := settle(c, pace)
	if err != nil {
		return err
	}
	open := func(id string) *database {
		if err != nil {
			return nil
		}
		opened, failed := config.DefaultDBProvider(&config.DBContext{ID: id, Config: settings})
		if failed != nil {
			err = failed
			return nil
		}
		db := &database{DB: opened}
		e.dbs = append(e.dbs, db)
		return db
	}
	blocksDB, stateDB, evidenceDB := open("blockstore"), open("state"), open("evidence")
	if err != nil {
		return err
	}
	b.blocks = store.NewBlockStore(blocksDB)
	states := sm.NewStore(stateDB, sm.StoreOptions{DiscardABCIResponses: settings.Storage.DiscardABCIResponses})
	state, doc, err := node.LoadStateFromDBOrGenesisDocProvider(stateDB, func() (*cmttypes.GenesisDoc, error) { return c.Doc, nil })
	if err != nil {
		return err
	}
	log := engineLog{sdkLog{c.Log}}
	conns := proxy.NewAppConns(proxy.NewLocalClientCreator(server.NewCometABCIWrapper(e.app)), proxy.NopMetrics())
	conns.SetLogger(log)
	if err := conns.Start(); err != nil {
		return err
	}
	b.conns = conns
	if err := consensus.NewHandshaker(states, state, b.blocks, doc).Handshake(conns); err != nil { // the application's genesis
		return err
	}
	if b.state, err = states.Load(); err != nil {
		return err
	}
	if b.pool, err = evidence.NewPool(evidenceDB, states, b.blocks); err != nil {
		return err
	}
	b.exec = sm.NewBlockExecutor(states, log, conns.Consensus(), &mempool.NopMempool{}, b.pool, b.blocks)
	return nil
}

// apply takes blocks one behind the other, each when its commit is there.
func (b *rebuilding) apply(ctx context.Context, c Config, blocks iter.Seq2[[]byte, error]) error {
	var waiting *cmttypes.Block
	for bytes, err := range blocks {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		block, err := parse(bytes)
		if err == nil && waiting != nil {
			err = b.one(c, waiting, block.LastCommit)
		}
		if err != nil {
			return fmt.Errorf("block %d: %w", b.state.LastBlockHeight+1, err)
		}
		waiting = block
	}
	switch {
	case b.state.LastBlockHeight == 0:
		return fmt.Errorf("%w: two blocks in a row are needed, for the second one vouches for the first", ErrNoBlock)
	case c.Trust != nil && b.state.LastBlockHeight < c.Trust.Height:
		return fmt.Errorf("%w: the blocks end with %d, before the trust point %s", ErrNoTrust, b.state.LastBlockHeight, c.Trust)
	}
	return nil
}

func parse(b []byte) (*cmttypes.Block, error) {
	var read cmtproto.Block
	if err := proto.Unmarshal(b, &read); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	block, err := cmttypes.BlockFromProto(&read) // checks it by itself
	if err == nil && len(block.Hash()) == 0 {
		err = errors.New("it names no committee, so it has no hash")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	return block, nil
}

// one applies a block that two thirds of its committee signed, as the engine does with those that a peer sends.
func (b *rebuilding) one(c Config, block *cmttypes.Block, commit *cmttypes.Commit) error {
	parts, err := block.MakePartSet(cmttypes.BlockPartSizeBytes)
	if err != nil {
		return err
	}
	id := cmttypes.BlockID{Hash: block.Hash(), PartSetHeader: parts.Header()}
	if want := max(b.state.LastBlockHeight+1, b.state.InitialHeight); block.Height != want {
		return fmt.Errorf("%w: block %d stands in its place", ErrForged, block.Height)
	}
	if err := c.Trust.agrees(block.Height, id.Hash); err != nil {
		return err
	}
	if err := b.state.Validators.VerifyCommit(b.state.ChainID, id, block.Height, commit); err != nil {
		return fmt.Errorf("%w: %w", ErrForged, err)
	}
	if err := b.exec.ValidateBlock(b.state, block); err != nil {
		return fmt.Errorf("%w: %w", ErrForged, err)
	}
	b.blocks.SaveBlock(block, parts, commit)
	b.state, err = b.exec.ApplyVerifiedBlock(b.state, id, block)
	return err
}

// close lets go of everything.
func (b *rebuilding) close() error {
	var stopped error
	if b.conns != nil {
		stopped = b.conns.Stop()
	}
	return errors.Join(stopped, b.engine.close())
}
