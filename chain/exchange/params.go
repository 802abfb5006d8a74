package exchange

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"

	"github.com/hpips/hpips/proto/gen/exchangev1"
	"github.com/hpips/hpips/spec/auction"
)

// DefaultParams are those of the public network. The least order, 1 HPIPS, is a thousand seconds of a processor at the default price: what a PC
// with four of them earns in five minutes can be sold, and 500 orders, which keep a block busy for a tenth of a second, tie up 500 HPIPS.
func DefaultParams() exchangev1.Params {
	return exchangev1.Params{
		BatchBlocks: 10, LeastOrder: 1_000_000, OrdersPerAccount: 100, FillsPerBatch: 500,
		SaleParts: 24, SalePremium: 20_000, SaleFall: 10_000, PartSeconds: 3600,
	}
}

// DevelopmentParams are those of a network whose day has 60 s: a part is a 24th of it, rounded down.
func DevelopmentParams() exchangev1.Params {
	p := DefaultParams()
	p.BatchBlocks, p.PartSeconds = 2, 2
	return p
}

// CheckParams tells whether a vote may set these.
func CheckParams(p exchangev1.Params) error {
	for _, row := range []struct {
		name           string
		is, from, upTo uint64
	}{
		{"batch_blocks", p.BatchBlocks, 1, 100_000},
		{"least_order", p.LeastOrder, 1, auction.Most},
		{"orders_per_account", uint64(p.OrdersPerAccount), 1, 1000},
		{"fills_per_batch", uint64(p.FillsPerBatch), 1, 10_000},
		{"sale_parts", uint64(p.SaleParts), 1, 1000},
		{"sale_premium", p.SalePremium, 0, million},
		{"sale_fall", p.SaleFall, 1, million / 2},
		{"part_seconds", p.PartSeconds, 1, 10_000_000},
	} {
		if row.is < row.from || row.is > row.upTo {
			return ErrParams.Wrapf("%s is %d, not between %d and %d", row.name, row.is, row.from, row.upTo)
		}
	}
	return nil
}

// million is the whole of which premium and fall are parts.
const million = 1_000_000

// Params are the parameters now; those of an upgrade that forgot to set them are the defaults.
func (k Keeper) Params(ctx context.Context) (exchangev1.Params, error) {
	p, err := k.params.Get(ctx)
	if errors.Is(err, collections.ErrNotFound) {
		return DefaultParams(), nil
	}
	if err != nil {
		return p, fmt.Errorf("exchange parameters: %w", err)
	}
	return p, nil
}
