package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/crypto/tmhash"
	ctypes "github.com/cometbft/cometbft/rpc/core/types"

	"github.com/hpips/hpips/spec/sortition"
)

// Event is something that a block or a transaction says happened.
type Event struct {
	Type       string            `json:"type"`
	Attributes map[string]string `json:"attributes,omitempty"`
}

// News is a block as those see it who follow the chain.
type News struct {
	Height       int64
	Time         time.Time
	Hash         string
	Seeded       bool // it carries a seed: the others change nothing
	Events       []Event
	Transactions []Outcome
}

// Outcome is what became of a transaction in a block.
type Outcome struct {
	Hash   string
	Events []Event
	Err    error // *Refused
}

func events(list []abci.Event) []Event {
	var all []Event
	for _, e := range list {
		one := Event{Type: e.Type, Attributes: map[string]string{}}
		for _, a := range e.Attributes {
			one.Attributes[a.Key] = a.Value
		}
		all = append(all, one)
	}
	return all
}

// ErrGone says that the node does not keep the blocks any more that were asked for.
var ErrGone = errors.New("the node does not keep these blocks any more")

// Follow hands each block from a height on to take, in order, none left out and none twice, until ctx ends or take fails. It outlives
// breaks of the link. Whoever goes on later from the height after the last one taken misses nothing. from 0 is the next block.
// ErrGone: the node has pruned a block that would be next.
func (l *Ledger) Follow(ctx context.Context, from int64, take func(News) error) error {
	for from <= 0 {
		head, err := l.head(ctx)
		if err == nil {
			from = head + 1
			break
		}
		if err := l.rest(ctx); err != nil {
			return err
		}
	}
	var failed error
	err := l.walk(ctx, from, func(height int64) error {
		n, err := l.news(ctx, height)
		if err != nil {
			return err
		}
		if failed = take(n); failed != nil {
			return context.Canceled
		}
		return nil
	})
	if failed != nil {
		return failed
	}
	return err
}

func (l *Ledger) news(ctx context.Context, height int64) (News, error) {
	b, err := l.rpc.Block(ctx, &height)
	if err != nil {
		return News{}, l.unreachable(ctx, err)
	}
	r, err := l.rpc.BlockResults(ctx, &height)
	if err != nil {
		return News{}, l.unreachable(ctx, err)
	}
	n := News{Height: height, Time: b.Block.Time.UTC(), Hash: b.BlockID.Hash.String(), Events: events(r.FinalizeBlockEvents)}
	for i, tx := range b.Block.Txs {
		if i == 0 {
			if _, n.Seeded, _ = sortition.ParseSeedTx(tx); n.Seeded {
				continue
			}
		}
		if i >= len(r.TxsResults) {
			return News{}, fmt.Errorf("block %d: %d results of %d transactions", height, len(r.TxsResults), len(b.Block.Txs))
		}
		o := Outcome{Hash: fmt.Sprintf("%X", tmhash.Sum(tx)), Events: events(r.TxsResults[i].Events)}
		if t := r.TxsResults[i]; t.Code != 0 {
			o.Err = refused(t.Codespace, t.Code, t.Log)
		}
		n.Transactions = append(n.Transactions, o)
	}
	return n, nil
}

// walk calls each for every height from one on, in order, as blocks come. An error of each is taken for a broken link and its height tried
// again, but for context.Canceled, which ends the walk.
func (l *Ledger) walk(ctx context.Context, from int64, each func(height int64) error) error {
	news, tick, stop := l.beat(ctx)
	defer stop()
	for next := from; ; {
		first, last, err := l.settled(ctx)
		if err == nil && first > next && last >= next {
			return fmt.Errorf("block %d, the first that is held is %d: %w", next, first, ErrGone)
		}
		for err == nil && next <= last {
			if err = each(next); err == nil {
				next++
			}
		}
		if errors.Is(err, context.Canceled) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-news:
		case <-tick:
		}
	}
}

// settled gives the heights of the first block that is held and of the last one whose state can be asked for: the engine keeps a block a moment before the application has done with it, and who was told of a
// transaction asks what came of it.
func (l *Ledger) settled(ctx context.Context) (first, last int64, err error) {
	st, err := l.rpc.Status(ctx)
	if err != nil {
		return 0, 0, err
	}
	app, err := l.rpc.ABCIInfo(ctx)
	if err != nil {
		return 0, 0, err
	}
	return st.SyncInfo.EarliestBlockHeight, min(st.SyncInfo.LatestBlockHeight, app.Response.LastBlockHeight), nil
}

// beat tells when to look for a new block: at the news of one where the node pushes it, and from time to time in any case.
func (l *Ledger) beat(ctx context.Context) (<-chan ctypes.ResultEvent, <-chan time.Time, func()) {
	name := fmt.Sprintf("ledger-%d", l.readers.Add(1))
	every := l.config.Poll
	news, err := l.rpc.Subscribe(ctx, name, "tm.event='NewBlock'", 4)
	if err == nil {
		every *= 10 // a subscription may be cut
	}
	tick := time.NewTicker(every)
	return news, tick.C, func() {
		tick.Stop()
		if err == nil {
			_ = l.rpc.UnsubscribeAll(context.WithoutCancel(ctx), name)
		}
	}
}

// rest waits a moment.
func (l *Ledger) rest(ctx context.Context) error {
	t := time.NewTimer(l.config.Poll)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
