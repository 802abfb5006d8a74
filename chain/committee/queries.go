package committee

import (
	"context"
	"errors"

	"cosmossdk.io/collections"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/query"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/sortition"
)

type queries struct {
	k    Keeper
	asks string // of a node for a ticket, in words
}

var _ committeev1.QueryServer = queries{}

func nodeKey(b []byte) (sortition.Key, error) {
	id, err := sortition.KeyOf(b)
	if err != nil {
		return id, status.Error(codes.InvalidArgument, err.Error())
	}
	return id, nil
}

// Committee is who sits now, and what is drawn.
func (q queries) Committee(ctx context.Context, _ *committeev1.QueryCommitteeRequest) (*committeev1.QueryCommitteeResponse, error) {
	var (
		res  committeev1.QueryCommitteeResponse
		errs [6]error
	)
	res.Beacon, errs[0] = q.k.beacon.Get(ctx)
	res.Epoch, errs[1] = q.k.epoch.Get(ctx)
	res.Seats, errs[2] = q.k.sitting(ctx)
	res.Tickets = q.k.Tickets(ctx)
	res.Waiting, errs[3] = q.k.waiters.Get(ctx)
	if errors.Is(errs[3], collections.ErrNotFound) {
		errs[3] = nil
	}
	substitutes, _, err := q.k.standingBy(ctx, res.Beacon.Day)
	for _, s := range substitutes {
		res.Substitutes = append(res.Substitutes, s.Node[:])
	}
	errs[4] = err
	errs[5] = q.k.before.Walk(ctx, nil, func(_ uint64, c committeev1.Committee) (bool, error) {
		res.Before = append(res.Before, c)
		return false, nil
	})
	return &res, errors.Join(errs[:]...)
}

// Ticket tells all about one node's place in the lottery.
func (q queries) Ticket(c context.Context, r *committeev1.QueryTicketRequest) (*committeev1.QueryTicketResponse, error) {
	id, err := nodeKey(r.GetNode())
	if err != nil {
		return nil, err
	}
	ctx := sdk.UnwrapSDKContext(c)
	res := committeev1.QueryTicketResponse{Asks: q.asks}
	t, err := q.k.ticket(ctx, id[:])
	if err != nil && !errors.Is(err, ErrTicket) {
		return nil, err
	}
	if err == nil {
		res.Ticket = &t
		if res.NetworkTickets, err = q.k.inNetwork(ctx, t.Network); err != nil {
			return nil, err
		}
	}
	var errs [3]error
	res.Waiting, errs[0] = q.k.waiting.Has(ctx, id[:])
	res.Claimed, errs[1] = q.k.claims.Has(ctx, id[:])
	res.Seated, errs[2] = q.k.seats.Has(ctx, id[:])
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	res.Reason, err = q.reason(ctx, id)
	return &res, err
}

// reason says why a node could not apply now, whatever its receipts are.
func (q queries) reason(ctx sdk.Context, id sortition.Key) (string, error) {
	params, err := q.k.Params(ctx)
	if err != nil {
		return "", err
	}
	b, err := q.k.beacon.Get(ctx)
	if err != nil {
		return "", err
	}
	_, err = q.k.mayApply(ctx, params, b, id)
	if isRefusal(err) {
		return err.Error(), nil
	}
	return "", err
}

// Tickets lists the tickets in the order of their nodes.
func (q queries) Tickets(ctx context.Context, r *committeev1.QueryTicketsRequest) (*committeev1.QueryTicketsResponse, error) {
	tickets, page, err := query.CollectionPaginate(ctx, q.k.holders, r.GetPagination(), func(_, point []byte) (committeev1.Ticket, error) {
		return q.k.ring.Get(ctx, point)
	})
	return &committeev1.QueryTicketsResponse{Tickets: tickets, Pagination: page}, err
}

// Observers names those who may testify for a node in a slot.
func (q queries) Observers(ctx context.Context, r *committeev1.QueryObserversRequest) (*committeev1.QueryObserversResponse, error) {
	id, err := nodeKey(r.GetNode())
	if err != nil {
		return nil, err
	}
	all, needed, err := q.k.Observers(ctx, id, r.Slot)
	res := &committeev1.QueryObserversResponse{Needed: needed}
	for _, o := range all {
		res.Observers = append(res.Observers, o[:])
	}
	return res, err
}

// Picks names the slots for which an application in a slot needs receipts.
func (q queries) Picks(ctx context.Context, r *committeev1.QueryPicksRequest) (*committeev1.QueryPicksResponse, error) {
	id, err := nodeKey(r.GetNode())
	if err != nil {
		return nil, err
	}
	slots, needed, err := q.k.Picks(ctx, id, r.Slot)
	return &committeev1.QueryPicksResponse{Slots: slots, Needed: needed}, err
}

// Offences lists proven double signatures.
func (q queries) Offences(ctx context.Context, r *committeev1.QueryOffencesRequest) (*committeev1.QueryOffencesResponse, error) {
	all, page, err := query.CollectionPaginate(ctx, q.k.offences, r.GetPagination(),
		func(_ collections.Pair[[]byte, int64], o committeev1.Offence) (committeev1.Offence, error) {
			return o, nil
		})
	return &committeev1.QueryOffencesResponse{Offences: all, Pagination: page}, err
}

// Params are the parameters in force.
func (q queries) Params(ctx context.Context, _ *committeev1.QueryParamsRequest) (*committeev1.QueryParamsResponse, error) {
	p, err := q.k.Params(ctx)
	return &committeev1.QueryParamsResponse{Params: p}, err
}
