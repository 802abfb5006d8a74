package bond

import (
	"context"
	"errors"

	"cosmossdk.io/collections"
	"cosmossdk.io/math"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/bondv1"
	"github.com/hpips/hpips/spec/sortition"
)

type queries struct{ keeper Keeper }

var _ bondv1.QueryServer = queries{}

// Node gives the bonds of a node, what they grow to and what they count, and how its leaving stands.
func (q queries) Node(ctx context.Context, r *bondv1.QueryNodeRequest) (*bondv1.QueryNodeResponse, error) {
	k := q.keeper
	node, err := sortition.KeyOf(r.Node)
	if err != nil {
		return nil, ErrNode.Wrap(err.Error())
	}
	p, err1 := k.Params(ctx)
	all, err2 := k.of(ctx, node)
	l, leaves, err3 := found(k.leaving.Get(ctx, node[:]))
	busy, err4 := k.Work.Busy(ctx, node)
	enough, err5 := k.Enough(ctx, node)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return nil, err
	}
	res := &bondv1.QueryNodeResponse{Busy: busy, Enough: enough}
	if leaves {
		res.Leaving = &l
	}
	for _, b := range all {
		target, err := k.target(ctx, p, b, math.ZeroInt())
		if err != nil {
			return nil, err
		}
		s := bondv1.Standing{Bond: b, Target: target, Counts: b.Held}
		if leaves {
			s.Counts = math.ZeroInt()
		}
		res.Bonds = append(res.Bonds, s)
	}
	return res, nil
}

// Account sums the bonds that are an account's, by asset.
func (q queries) Account(ctx context.Context, r *bondv1.QueryAccountRequest) (*bondv1.QueryAccountResponse, error) {
	who, err := q.keeper.addresses.StringToBytes(r.Address)
	if err != nil {
		return nil, ErrOwner.Wrapf("%.100q: %v", r.Address, err)
	}
	text, err := q.keeper.addresses.BytesToString(who)
	if err != nil {
		return nil, ErrOwner.Wrap(err.Error())
	}
	res := &bondv1.QueryAccountResponse{}
	err = q.keeper.owned.Walk(ctx, collections.NewPrefixedPairRange[string, string](text), func(key purse, n math.Int) (bool, error) {
		res.Bonds = append(res.Bonds, sdk.NewCoin(key.K2(), n))
		return false, nil
	})
	return res, err
}

// Totals gives the running sums of all assets.
func (q queries) Totals(ctx context.Context, _ *bondv1.QueryTotalsRequest) (*bondv1.QueryTotalsResponse, error) {
	res := &bondv1.QueryTotalsResponse{}
	err := q.keeper.totals.Walk(ctx, nil, func(_ string, t bondv1.Totals) (bool, error) {
		res.Totals = append(res.Totals, t)
		return false, nil
	})
	return res, err
}

// Params gives the parameters.
func (q queries) Params(ctx context.Context, _ *bondv1.QueryParamsRequest) (*bondv1.QueryParamsResponse, error) {
	p, err := q.keeper.Params(ctx)
	return &bondv1.QueryParamsResponse{Params: p}, err
}
