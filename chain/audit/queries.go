package audit

import (
	"context"
	"errors"
	"math"

	"cosmossdk.io/collections"

	"github.com/cosmos/cosmos-sdk/types/query"

	"github.com/hpips/hpips/proto/gen/auditv1"
)

type queries struct{ keeper Keeper }

var _ auditv1.QueryServer = queries{}

// Audit gives that of one redemption, with the disputes about it.
func (q queries) Audit(ctx context.Context, r *auditv1.QueryAuditRequest) (*auditv1.QueryAuditResponse, error) {
	at := collections.Join(r.Node, r.Sequence)
	a, known, err := found(q.keeper.audits.Get(ctx, at))
	if err == nil && !known {
		a, known, err = found(q.keeper.recent.Get(ctx, at))
	}
	if err == nil && !known {
		err = ErrUnknown.Wrapf("of redemption %d of %x", r.Sequence, r.Node)
	}
	if err != nil {
		return nil, err
	}
	res := &auditv1.QueryAuditResponse{Audit: a}
	rng := collections.NewPrefixedTripleRange[[]byte, uint64, []byte](a.Lease)
	err = q.keeper.asked.Walk(ctx, rng, func(_ leaf, id uint64) (bool, error) {
		d, known, err := found(q.keeper.disputes.Get(ctx, id))
		if known && d.Sequence == a.Sequence {
			res.Disputes = append(res.Disputes, d)
		}
		return false, err
	})
	return res, err
}

// Audits lists those of redemptions that are not final, of all nodes or of one.
func (q queries) Audits(ctx context.Context, r *auditv1.QueryAuditsRequest) (*auditv1.QueryAuditsResponse, error) {
	of := []func(*query.CollectionsPaginateOptions[turn]){}
	if len(r.Node) > 0 {
		of = append(of, query.WithCollectionPaginationPairPrefix[[]byte, uint64](r.Node))
	}
	all, page, err := query.CollectionPaginate(ctx, q.keeper.audits, r.Pagination, func(_ turn, a auditv1.Audit) (auditv1.Audit, error) { return a, nil }, of...)
	return &auditv1.QueryAuditsResponse{Audits: all, Pagination: page}, err
}

// Disputes lists those that are open.
func (q queries) Disputes(ctx context.Context, r *auditv1.QueryDisputesRequest) (*auditv1.QueryDisputesResponse, error) {
	all, page, err := query.CollectionPaginate(ctx, q.keeper.disputes, r.Pagination, func(_ uint64, d auditv1.Dispute) (auditv1.Dispute, error) { return d, nil })
	res := &auditv1.QueryDisputesResponse{Disputes: all, Pagination: page}
	for _, d := range all {
		err = errors.Join(err, q.keeper.commits.Walk(ctx, collections.NewPrefixedTripleRange[uint64, uint64, []byte](d.Id), func(_ choice, c auditv1.Commitment) (bool, error) {
			res.Commitments = append(res.Commitments, c)
			return false, nil
		}))
	}
	return res, err
}

// Standing tells what a node may be drawn by. One that is barred is as one without a ticket.
func (q queries) Standing(ctx context.Context, r *auditv1.QueryStandingRequest) (*auditv1.QueryStandingResponse, error) {
	node, err := key(r.Node)
	if err != nil {
		return nil, err
	}
	res := &auditv1.QueryStandingResponse{Tickets: q.keeper.Committee.Tickets(ctx)}
	owner, err1 := q.keeper.owner(ctx, r.Node)
	t, holds, err2 := q.keeper.Committee.Ticket(ctx, node, math.MaxInt64)
	barred, err3 := q.keeper.isBarred(ctx, r.Node)
	if res.Owner = owner; holds && !barred {
		res.Holds, res.VrfKey, res.Network, res.Beside, res.Since = true, t.VRF[:], t.Network, t.Beside, t.Since
	}
	return res, errors.Join(err1, err2, err3)
}

// Recent gives the node's final results that can be disputed once it is convicted.
func (q queries) Recent(ctx context.Context, r *auditv1.QueryRecentRequest) (*auditv1.QueryRecentResponse, error) {
	res := &auditv1.QueryRecentResponse{}
	c, convicted, err1 := found(q.keeper.convictions.Get(ctx, r.Node))
	if convicted {
		res.Conviction = &c
	}
	err2 := q.keeper.recent.Walk(ctx, collections.NewPrefixedPairRange[[]byte, uint64](r.Node), func(_ turn, a auditv1.Audit) (bool, error) {
		res.Audits = append(res.Audits, a)
		return false, nil
	})
	return res, errors.Join(err1, err2)
}

// Params gives the parameters.
func (q queries) Params(ctx context.Context, _ *auditv1.QueryParamsRequest) (*auditv1.QueryParamsResponse, error) {
	p, err := q.keeper.Params(ctx)
	return &auditv1.QueryParamsResponse{Params: p}, err
}
