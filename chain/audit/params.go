package audit

import (
	"context"
	"fmt"

	"github.com/hpips/hpips/proto/gen/auditv1"
	"github.com/hpips/hpips/spec/trust"
)

const day = 86_400 // seconds

// Public are the parameters of the public chain: an epoch has 720 blocks, so a round of a dispute takes one, and a half more where the task takes long, and two end within three epochs.
func Public() auditv1.Params {
	r := trust.Default()
	return auditv1.Params{Least: r.Least, Colluder: r.Colluder, Penalty: r.Penalty, PassSeconds: day, CommitBlocks: 540, RevealBlocks: 180, WorkPerSecond: 50_000_000, RecentResults: 200,
		RecentSeconds: 3 * day, Disputes: 8, Batch: 100, BarSeconds: 14 * day}
}

// Development are those of a network on one desk: a day has a minute, an epoch 20 blocks, which are few, so more of them are for what is revealed.
func Development() auditv1.Params {
	p := Public()
	p.PassSeconds, p.RecentSeconds, p.BarSeconds, p.CommitBlocks, p.RevealBlocks = 60, 180, 840, 12, 8
	return p
}

// CheckParams tells whether a chain can live with the parameters.
func CheckParams(p auditv1.Params) error {
	for _, rule := range []struct {
		holds bool
		want  string
	}{
		{p.Least <= trust.Whole, "least up to 1000000"},
		{p.Colluder < trust.Whole, "colluder below 1000000"},
		{p.Penalty >= 1 && p.Penalty <= 1000, "penalty from 1 to 1000"},
		{p.PassSeconds >= 1 && p.PassSeconds <= 30*day, "pass_seconds from 1 to a month"},
		{p.CommitBlocks >= 1 && p.CommitBlocks <= 10_000 && p.RevealBlocks >= 1 && p.RevealBlocks <= 10_000, "commit_blocks and reveal_blocks from 1 to 10000"},
		{p.WorkPerSecond >= 1_000_000, "work_per_second from 1000000"},
		{p.RecentResults >= 1 && p.RecentResults <= 10_000, "recent_results from 1 to 10000"},
		{p.RecentSeconds >= 1 && p.RecentSeconds <= 30*day, "recent_seconds from 1 to a month"},
		{p.BarSeconds >= 1 && p.BarSeconds <= 365*day, "bar_seconds from 1 to a year"},
		{p.Disputes >= 1 && p.Disputes <= 100, "disputes from 1 to 100"},
		{p.Batch >= 1 && p.Batch <= 1000, "batch from 1 to 1000"},
	} {
		if !rule.holds {
			return ErrParams.Wrap(rule.want)
		}
	}
	return nil
}

// Params are the parameters in force: those of the public chain while nothing else was set.
func (k Keeper) Params(ctx context.Context) (auditv1.Params, error) {
	p, known, err := found(k.params.Get(ctx))
	if err != nil {
		return p, fmt.Errorf("audit parameters: %w", err)
	}
	if !known {
		return Public(), nil
	}
	return p, nil
}
