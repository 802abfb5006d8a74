package deal

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"

	"github.com/hpips/hpips/proto/gen/dealv1"
)

// Public are the parameters of the public chain, and of all others.
func Public() dealv1.Params { return dealv1.Params{LongestDays: 3660, Batch: 20} }

// CheckParams tells whether a chain can live with the parameters.
func CheckParams(p dealv1.Params) error {
	switch {
	case p.LongestDays < 1 || p.LongestDays > 100_000:
		return ErrParams.Wrap("longest_days from 1 to 100,000")
	case p.Batch < 1 || p.Batch > 1000:
		return ErrParams.Wrap("batch from 1 to 1000")
	}
	return nil
}

// Params are the parameters in force: those of the public chain while nothing else was set.
func (k Keeper) Params(ctx context.Context) (dealv1.Params, error) {
	p, err := k.params.Get(ctx)
	if errors.Is(err, collections.ErrNotFound) {
		return Public(), nil
	}
	if err != nil {
		return p, fmt.Errorf("deal parameters: %w", err)
	}
	return p, nil
}
