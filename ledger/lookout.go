package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"

	abci "github.com/cometbft/cometbft/abci/types"
)

// lookout reads each new block once for all who wait for a transaction in it. It works only while somebody waits.
type lookout struct {
	ledger *Ledger

	mu      sync.Mutex
	waiting map[[32]byte]chan Receipt
	stop    context.CancelFunc // of the reading that goes on, if any
	done    chan struct{}
	closed  bool
}

// watch gives a channel that the transaction comes on as soon as a block after since holds it. What is watched before it is handed in
// cannot be missed.
func (o *lookout) watch(hash [32]byte, since int64) <-chan Receipt {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := make(chan Receipt, 1)
	if o.waiting == nil {
		o.waiting = map[[32]byte]chan Receipt{}
	}
	o.waiting[hash] = c
	if o.stop == nil && !o.closed {
		ctx, stop := context.WithCancel(context.Background())
		o.stop, o.done = stop, make(chan struct{})
		go o.read(ctx, since, o.done)
	}
	return c
}

// forget ends the watch for a transaction.
func (o *lookout) forget(hash [32]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.waiting, hash)
}

func (o *lookout) wanted(hash [32]byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.waiting[hash] != nil
}

// idle ends the reading when nobody waits.
func (o *lookout) idle() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiting) > 0 {
		return false
	}
	if o.stop != nil {
		o.stop()
		o.stop = nil
	}
	return true
}

func (o *lookout) close() {
	o.mu.Lock()
	o.closed = true
	stop, done := o.stop, o.done
	o.stop = nil
	o.mu.Unlock()
	if stop != nil {
		stop()
	}
	if done != nil {
		<-done
	}
}

// read goes from block to block until nobody waits. A watch that ctx ends finds out by itself, with outcome's slower look.
func (o *lookout) read(ctx context.Context, since int64, done chan struct{}) {
	defer close(done)
	_ = o.ledger.walk(ctx, since+1, func(height int64) error {
		if o.idle() {
			return context.Canceled
		}
		found, err := o.ledger.inBlock(ctx, height, o.wanted)
		if err != nil {
			return err
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		for hash, r := range found {
			if c := o.waiting[hash]; c != nil {
				c <- r
				delete(o.waiting, hash)
			}
		}
		return nil
	})
}

// inBlock gives the transactions of a block that are wanted.
func (l *Ledger) inBlock(ctx context.Context, height int64, wanted func([32]byte) bool) (map[[32]byte]Receipt, error) {
	b, err := l.rpc.Block(ctx, &height)
	if err != nil {
		return nil, l.unreachable(ctx, err)
	}
	var found map[[32]byte]Receipt
	var results []*abci.ExecTxResult
	for i, tx := range b.Block.Txs {
		hash := sha256.Sum256(tx)
		if !wanted(hash) {
			continue
		}
		if found == nil {
			r, err := l.rpc.BlockResults(ctx, &height)
			if err != nil {
				return nil, l.unreachable(ctx, err)
			}
			found, results = map[[32]byte]Receipt{}, r.TxsResults
		}
		if i < len(results) {
			found[hash] = receipt(hash, height, i, results[i])
		}
	}
	return found, nil
}

func receipt(hash [32]byte, height int64, index int, r *abci.ExecTxResult) Receipt {
	out := Receipt{Hash: strings.ToUpper(hex.EncodeToString(hash[:])), Height: height, Index: index, Gas: r.GasUsed, Events: events(r.Events)}
	if r.Code != 0 {
		out.refused = &Refused{r.Codespace, r.Code, r.Log}
	}
	return out
}
