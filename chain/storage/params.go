package storage

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"

	"github.com/hpips/hpips/proto/gen/storagev1"
	"github.com/hpips/hpips/spec/placement"
)

const (
	hpips = 1_000_000
	total = 100_000_000 * hpips // all that ever was
)

// Public are the parameters of the public chain, and of all others.
func Public() storagev1.Params {
	return storagev1.Params{Copies: placement.Copies, Misses: 3, Penalty: 2 * hpips, Batch: 200, HandOverDays: 14}
}

// CheckParams tells whether a chain can live with the parameters.
func CheckParams(p storagev1.Params) error {
	for _, rule := range []struct {
		holds bool
		want  string
	}{
		{p.Copies >= 1 && p.Copies <= 1000, "copies from 1 to 1000"},
		{p.Misses >= 1 && p.Misses <= 30, "misses from 1 to 30"},
		{p.Penalty <= total, "penalty up to the supply"},
		{p.HandOverDays >= 1 && p.HandOverDays <= 366, "hand_over_days from 1 to 366"},
		{p.Batch >= 1 && p.Batch <= 10_000, "batch from 1 to 10,000"},
	} {
		if !rule.holds {
			return ErrParams.Wrap(rule.want)
		}
	}
	return nil
}

// Params are the parameters in force: those of the public chain while nothing else was set.
func (k Keeper) Params(ctx context.Context) (storagev1.Params, error) {
	p, err := k.params.Get(ctx)
	if errors.Is(err, collections.ErrNotFound) {
		return Public(), nil
	}
	if err != nil {
		return p, fmt.Errorf("storage parameters: %w", err)
	}
	return p, nil
}
