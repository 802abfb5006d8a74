package ledger

import (
	"context"
	"encoding/hex"

	abci "github.com/cometbft/cometbft/abci/types"

	"github.com/hpips/hpips/spec/voucher"
)

// JuryPay is what jurors were paid from a lease, in base units of its asset. Of one that the chain has buried the blocks tell, as far back as its node keeps them; 0 for one that
// nobody ever opened.
func (l *Ledger) JuryPay(ctx context.Context, id voucher.ID) (uint64, error) {
	one, err := l.Lease(ctx, id)
	if !IsNotFound(err) {
		return one.Jury, err
	}
	told, err := l.happened(ctx, juryPaid, "lease", hex.EncodeToString(id[:]))
	if err != nil {
		return 0, err
	}
	sum := uint64(0)
	for _, e := range told {
		n, _ := units(e.Attributes["amount"], denomOf(e.Attributes["amount"])) // the chain wrote it
		sum += n
	}
	return sum, nil
}

const juryPaid = "hpips_juror_paid"

// happening is an event, and the height of the block that tells of it.
type happening struct {
	Event
	height int64
}

// happened lists all events of a name that have a value in one of their attributes: those of transactions, and those that fell due. Blocks that the node does not keep any more tell of nothing that fell due.
func (l *Ledger) happened(ctx context.Context, name, attribute, value string) (all []happening, err error) {
	what := name + "." + attribute + "='" + value + "'"
	note := func(height int64, told []abci.Event) {
		for _, e := range events(told) {
			if e.Type == name && e.Attributes[attribute] == value {
				all = append(all, happening{e, height})
			}
		}
	}
	txs, err := l.withEvent(ctx, what)
	if err != nil {
		return nil, err
	}
	for _, tx := range txs {
		note(tx.Height, tx.TxResult.Events)
	}
	falls, err := l.blocksWith(ctx, what)
	if err != nil {
		return nil, err
	}
	for _, h := range falls {
		r, err := l.rpc.BlockResults(ctx, &h)
		if err != nil {
			return nil, l.missing(ctx, h, err)
		}
		note(h, r.FinalizeBlockEvents)
	}
	return all, nil
}

// blocksWith finds the heights of all blocks in which an event fell due.
func (l *Ledger) blocksWith(ctx context.Context, what string) (heights []int64, err error) {
	for page, size := 1, 100; ; page++ {
		r, err := l.rpc.BlockSearch(ctx, what, &page, &size, "asc")
		if err != nil {
			return nil, l.unreachable(ctx, err)
		}
		for _, b := range r.Blocks {
			heights = append(heights, b.Block.Height)
		}
		if len(r.Blocks) < size || len(heights) >= r.TotalCount {
			return heights, nil
		}
	}
}
