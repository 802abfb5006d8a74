package escrow

import (
	"context"
	"fmt"

	"github.com/hpips/hpips/proto/gen/escrowv1"
)

// MaxBatch is the most that a vote may allow in one message.
const MaxBatch = 1000

const day = 86_400 // seconds

// Public are the parameters of the public network: three days of grace, which are as many heartbeats of 30 s.
func Public() escrowv1.Params {
	return escrowv1.Params{GraceSeconds: 3 * day, GraceBlocks: 8640, LongestSeconds: 30 * day, RedeemFee: 200, Batch: 200, LeastDeposit: 10_000}
}

// Development are those of a development network: one development day of grace.
func Development() escrowv1.Params {
	return escrowv1.Params{GraceSeconds: 60, GraceBlocks: 6, LongestSeconds: day, RedeemFee: 200, Batch: 200, LeastDeposit: 1000}
}

// CheckParams tells whether a vote may set these. The fee stays below the least deposit, so that what was deposited can be redeemed.
func CheckParams(p escrowv1.Params) error {
	switch {
	case p.GraceSeconds < 1 || p.GraceSeconds > 366*day:
		return ErrParams.Wrapf("grace_seconds is %d, not between 1 and a year", p.GraceSeconds)
	case p.GraceBlocks < 1 || p.GraceBlocks > 366*day:
		return ErrParams.Wrapf("grace_blocks is %d, not between 1 and a year of seconds", p.GraceBlocks)
	case p.LongestSeconds < 60 || p.LongestSeconds > 366*day:
		return ErrParams.Wrapf("longest_seconds is %d, not between a minute and a year", p.LongestSeconds)
	case p.Batch < 1 || p.Batch > MaxBatch:
		return ErrParams.Wrapf("batch is %d, not between 1 and %d", p.Batch, MaxBatch)
	case p.LeastDeposit < 1 || p.LeastDeposit > 1_000_000_000_000:
		return ErrParams.Wrapf("least_deposit is %d, not between 1 uhpips and a million HPIPS", p.LeastDeposit)
	case p.RedeemFee > p.LeastDeposit:
		return ErrParams.Wrapf("redeem_fee is %d, more than the least deposit", p.RedeemFee)
	}
	return nil
}

// Params are the parameters now; those of an upgrade that forgot to set them are the public ones.
func (k Keeper) Params(ctx context.Context) (escrowv1.Params, error) {
	p, known, err := found(k.params.Get(ctx))
	if err != nil {
		return p, fmt.Errorf("escrow parameters: %w", err)
	}
	if !known {
		return Public(), nil
	}
	return p, nil
}
