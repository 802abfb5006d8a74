package ledger

import (
	"context"
	"encoding/hex"

	"github.com/hpips/hpips/spec/voucher"
)

// JuryPay is what jurors were paid from a lease, in base units of its asset. Of one that the chain has buried the blocks tell, as far back as its node keeps them; 0 for one that
// nobody ever opened.
func (l *Ledger) JuryPay(ctx context.Context, id voucher.ID) (uint64, error) {
	one, err := l.Lease(ctx, id)
	if !IsNotFound(err) {
		return one.Jury, err
	}
	key := hex.EncodeToString(id[:])
	what := juryPaid + ".lease='" + key + "'"
	told, err := l.withEvent(ctx, what) // for panels, by transactions
	if err != nil {
		return 0, err
	}
	var all []Event
	for _, tx := range told {
		all = append(all, events(tx.TxResult.Events)...)
	}
	falls, err := l.blocksWith(ctx, what) // for disputes, as they fall due
	if err != nil {
		return 0, err
	}
	for _, h := range falls {
		r, err := l.rpc.BlockResults(ctx, &h)
		if err != nil {
			return 0, l.unreachable(ctx, err)
		}
		all = append(all, events(r.FinalizeBlockEvents)...)
	}
	sum := uint64(0)
	for _, e := range all {
		if e.Type == juryPaid && e.Attributes["lease"] == key {
			n, _ := units(e.Attributes["amount"], denomOf(e.Attributes["amount"])) // the chain wrote it
			sum += n
		}
	}
	return sum, nil
}

const juryPaid = "hpips_juror_paid"

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
