package chain

import (
	"fmt"
	"time"

	errorsmod "cosmossdk.io/errors"
	abci "github.com/cometbft/cometbft/abci/types"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/chain/committee"
	"github.com/hpips/hpips/spec/sortition"
)

// freeShare is the part of a block's bytes that free messages may fill: one in this many.
const freeShare = 4

// prepare makes the block that this node proposes: the seed first if the block must carry one, then the transactions that fit.
// With an error the engine proposes what it had; without a seed the others refuse that, and the turn passes to the next seat.
func (a *App) prepare(ctx sdk.Context, req *abci.RequestPrepareProposal) (*abci.ResponsePrepareProposal, error) {
	room, free := req.MaxTxBytes-sizeInBlock(sortition.SeedTxSize), a.freeBytes(ctx)
	var txs [][]byte
	for _, tx := range req.Txs {
		if _, magic, _ := sortition.ParseSeedTx(tx); magic || len(tx) > MaxTx {
			continue
		}
		size := sizeInBlock(len(tx))
		if size > room {
			break
		}
		if looksFree(tx) {
			if size > free {
				continue
			}
			free -= size
		}
		room -= size
		txs = append(txs, tx)
	}
	carries, err := a.keepers.committee.Carries(ctx, len(txs), len(req.Misbehavior))
	if err != nil {
		return nil, err
	}
	if !carries {
		return &abci.ResponsePrepareProposal{Txs: txs}, nil
	}
	if a.options.VRF == nil {
		return nil, fmt.Errorf("propose block %d: no VRF key", req.Height)
	}
	alpha, err := a.keepers.committee.Alpha(ctx)
	if err != nil {
		return nil, err
	}
	proof, err := sortition.Prove(a.options.VRF, alpha)
	if err != nil {
		return nil, fmt.Errorf("propose block %d: %w", req.Height, err)
	}
	return &abci.ResponsePrepareProposal{Txs: append([][]byte{sortition.SeedTx(proof)}, txs...)}, nil
}

// process judges a proposed block before this node votes for it. It never runs the transactions: a bad one fails when it is run.
func (a *App) process(ctx sdk.Context, req *abci.RequestProcessProposal) (*abci.ResponseProcessProposal, error) {
	if err := a.judge(ctx, req); err != nil {
		a.Logger().Info("proposal refused", "height", req.Height, "proposer", fmt.Sprintf("%X", req.ProposerAddress), "cause", err)
		return &abci.ResponseProcessProposal{Status: abci.ResponseProcessProposal_REJECT}, nil
	}
	return &abci.ResponseProcessProposal{Status: abci.ResponseProcessProposal_ACCEPT}, nil
}

func (a *App) judge(ctx sdk.Context, req *abci.RequestProcessProposal) error {
	free := a.freeBytes(ctx)
	for _, tx := range req.Txs {
		if len(tx) > MaxTx {
			return fmt.Errorf("transaction of %d bytes", len(tx))
		}
		if looksFree(tx) {
			free -= sizeInBlock(len(tx))
		}
	}
	if free < 0 {
		return fmt.Errorf("free messages fill more than one part in %d", freeShare)
	}
	_, carries, err := a.seed(ctx, req.ProposerAddress, req.Txs, len(req.Misbehavior))
	if err != nil {
		return err
	}
	if carries && len(req.Txs) == 1 && len(req.Misbehavior) == 0 {
		return a.early(ctx)
	}
	return nil
}

// early refuses a heartbeat that comes sooner than half a heartbeat after the last block: a proposer could otherwise try seed after
// seed. The clock is this node's own, so the rule decides votes only, never whether a committed block is valid.
func (a *App) early(ctx sdk.Context) error {
	if a.options.Calm == nil {
		return nil
	}
	params, err := a.keepers.committee.Params(ctx)
	if err != nil {
		return err
	}
	heartbeat := pace(params).Heartbeat
	if calm := a.options.Calm(); calm < heartbeat/2 {
		return fmt.Errorf("empty block %v after the last: heartbeats come %v apart", calm.Round(time.Millisecond), heartbeat)
	}
	return nil
}

// seed finds the seed of a block and checks that it is there exactly when it must be, and right. It gives the proposer's output, and
// whether the block carries one.
func (a *App) seed(ctx sdk.Context, proposer []byte, txs [][]byte, evidence int) (sortition.Beta, bool, error) {
	var none sortition.Beta
	rest, proof, carries := txs, sortition.Proof{}, false
	if len(txs) > 0 {
		var err error
		if proof, carries, err = sortition.ParseSeedTx(txs[0]); err != nil {
			return none, false, errorsmod.Wrap(committee.ErrSeed, err.Error())
		}
		if carries {
			rest = txs[1:]
		}
	}
	for _, tx := range rest {
		if _, magic, _ := sortition.ParseSeedTx(tx); magic {
			return none, false, errorsmod.Wrap(committee.ErrSeed, "a seed out of place")
		}
	}
	want, err := a.keepers.committee.Carries(ctx, len(rest), evidence)
	if err != nil {
		return none, false, err
	}
	if want != carries {
		return none, false, errorsmod.Wrapf(committee.ErrSeed, "want one: %v, has one: %v", want, carries)
	}
	if !carries {
		return none, false, nil
	}
	beta, err := a.keepers.committee.CheckSeed(ctx, proposer, proof)
	if err != nil {
		return none, false, err
	}
	return beta, true, nil
}

// freeBytes is how much of a block free messages may fill.
func (a *App) freeBytes(ctx sdk.Context) int64 {
	if block := ctx.ConsensusParams().Block; block != nil && block.MaxBytes > 0 {
		return block.MaxBytes / freeShare
	}
	return MaxBlock / freeShare
}

// sizeInBlock is what a transaction of n bytes takes in a block: its tag and length besides. Transactions are far below 2^21 bytes.
func sizeInBlock(n int) int64 {
	switch {
	case n < 1<<7:
		return int64(n) + 2
	case n < 1<<14:
		return int64(n) + 3
	}
	return int64(n) + 4
}
