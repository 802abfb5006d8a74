package registry

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"

	"github.com/hpips/hpips/proto/gen/registryv1"
)

// DefaultParams are those of the public network, and of all others.
func DefaultParams() registryv1.Params { return registryv1.Params{CarriedPerDay: 3} }

// CheckParams tells whether a vote may set these.
func CheckParams(p registryv1.Params) error {
	if p.CarriedPerDay < 1 || p.CarriedPerDay > 1000 {
		return ErrParams.Wrapf("carried_per_day is %d, not between 1 and 1000", p.CarriedPerDay)
	}
	return nil
}

// Params are the parameters now; those of an upgrade that forgot to set them are the defaults.
func (k Keeper) Params(ctx context.Context) (registryv1.Params, error) {
	p, err := k.params.Get(ctx)
	if errors.Is(err, collections.ErrNotFound) {
		return DefaultParams(), nil
	}
	if err != nil {
		return p, fmt.Errorf("registry parameters: %w", err)
	}
	return p, nil
}
