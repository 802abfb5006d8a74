package chain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cosmossdk.io/math"
	"github.com/cosmos/cosmos-sdk/client"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	"github.com/grpc-ecosystem/grpc-gateway/runtime"

	"github.com/hpips/hpips/chain/audit"
	"github.com/hpips/hpips/chain/bond"
	"github.com/hpips/hpips/chain/committee"
	"github.com/hpips/hpips/chain/deal"
	"github.com/hpips/hpips/chain/escrow"
	"github.com/hpips/hpips/chain/reward"
	"github.com/hpips/hpips/chain/storage"
	archivev1 "github.com/hpips/hpips/proto/gen/archivev1"
	auditv1 "github.com/hpips/hpips/proto/gen/auditv1"
	bondv1 "github.com/hpips/hpips/proto/gen/bondv1"
	committeev1 "github.com/hpips/hpips/proto/gen/committeev1"
	dealv1 "github.com/hpips/hpips/proto/gen/dealv1"
	escrowv1 "github.com/hpips/hpips/proto/gen/escrowv1"
	exchangev1 "github.com/hpips/hpips/proto/gen/exchangev1"
	governancev1 "github.com/hpips/hpips/proto/gen/governancev1"
	registryv1 "github.com/hpips/hpips/proto/gen/registryv1"
	rewardv1 "github.com/hpips/hpips/proto/gen/rewardv1"
	storagev1 "github.com/hpips/hpips/proto/gen/storagev1"
	supplyv1 "github.com/hpips/hpips/proto/gen/supplyv1"
	"github.com/hpips/hpips/spec/placement"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/voucher"
)

// tickets tells the registry the committee's time, and the committee whose ticket goes.
type tickets struct{ *keepers }

func (t tickets) Day(ctx context.Context) uint64   { return t.committee.Day(ctx) }
func (t tickets) Epoch(ctx context.Context) uint64 { return t.committee.EpochNumber(ctx) }
func (t tickets) Forget(ctx context.Context, id sortition.Key) error {
	return t.committee.Forget(ctx, id)
}

// nodes tells the committee and the escrow what the registry knows.
type nodes struct{ *keepers }

func (n nodes) Node(ctx context.Context, id sortition.Key) (committee.Node, bool, error) {
	return seen(n.registry.Node(ctx, id))
}

func (n nodes) ByConsensusAddress(ctx context.Context, address []byte) (committee.Node, bool, error) {
	return seen(n.registry.ByConsensusAddress(ctx, address))
}

func (n nodes) Bar(ctx context.Context, id sortition.Key) error { return n.registry.Bar(ctx, id) }

// Owner tells the escrow who is paid for a node's work.
func (n nodes) Owner(ctx context.Context, node []byte) (owner string, active, known bool, err error) {
	id, err := sortition.KeyOf(node)
	if err != nil {
		return "", false, false, nil // no such key can be registered
	}
	r, known, err := n.registry.Node(ctx, id)
	return r.Owner, r.Standing == registryv1.STANDING_ACTIVE, known, err
}

// owners tells the fund who is paid for a node's duty.
type owners struct{ *keepers }

func (o owners) Owner(ctx context.Context, node sortition.Key) (string, error) {
	r, known, err := o.registry.Node(ctx, node)
	if err != nil || !known {
		return "", err
	}
	return r.Owner, nil
}

// holdings tells those who reckon by holdings that one is about to change.
type holdings struct{ *keepers }

func (h holdings) BeforeHolding(ctx context.Context, who sdk.AccAddress) error {
	return errors.Join(h.reward.BeforeHolding(ctx, who), h.governance.BeforeHolding(ctx, who))
}

// totals are the running sums of reward, escrow, bond and deals, for the supply's invariants.
type totals struct{ *keepers }

func (t totals) Unsound(ctx context.Context) (string, error) {
	for _, sums := range []func(context.Context) (string, error){t.reward.Unsound, t.escrow.Unsound, t.bond.Unsound, t.deal.Unsound} {
		if what, err := sums(ctx); err != nil || what != "" {
			return what, err
		}
	}
	return "", nil
}

// seeds counts the blocks with a seed for the escrow's grace.
type seeds struct{ *keepers }

func (s seeds) Index(ctx context.Context) (uint64, error) {
	b, err := s.committee.Beacon(ctx)
	return b.Index, err
}

// admitted tells the escrow what else may be paid with.
type admitted struct{ *keepers }

func (a admitted) Admitted(ctx context.Context, denom string) (bool, error) {
	return a.exchange.Admitted(ctx, denom)
}

// pay hands final pay to the module that shares it out.
type pay struct{ *keepers }

func (p pay) Split(ctx context.Context, f escrow.Final) error {
	node, err1 := sortition.KeyOf(f.Node)
	payer, err2 := sdk.AccAddressFromBech32(f.Payer)
	payee, err3 := sdk.AccAddressFromBech32(f.Payee)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	err := p.reward.Split(ctx, reward.Final{From: escrow.Name, Lease: f.Lease, Node: node, Payer: payer, Payee: payee, Denom: f.Denom, Amount: f.Amount})
	if errors.Is(err, reward.ErrRests) {
		return escrow.ErrResting.Wrap(err.Error())
	}
	return err
}

// bonds tells the bond of leases that are gone, paid what a node was paid, and work what it is busy with.
type (
	bonds struct{ *keepers }
	paid  struct{ *keepers }
	work  struct{ *keepers }
)

func (b bonds) Touch(ctx context.Context, node []byte) error {
	id, err := sortition.KeyOf(node)
	if err != nil {
		return err
	}
	return b.bond.Touch(ctx, id)
}

func (p paid) Paid(ctx context.Context, node sortition.Key, denom string, days uint64) (math.Int, error) {
	return p.reward.Paid(ctx, node, denom, days)
}

func (w work) Busy(ctx context.Context, node sortition.Key) (string, error) {
	serves, err1 := w.escrow.Serves(ctx, node[:])
	sits, err2 := w.committee.Seated(ctx, node)
	watched, err3 := w.audit.Watched(ctx, node)
	bound, err4 := w.storage.Bound(ctx, node)
	switch err := errors.Join(err1, err2, err3, err4); {
	case err != nil:
		return "", err
	case serves:
		return "lease", nil
	case sits:
		return "seat", nil
	case watched:
		return "audit", nil
	case bound:
		return "deal", nil
	}
	return "", nil
}

// audits look at results before their pay is final; the rest is what they ask of others.
type (
	audits  struct{ *keepers }
	lottery struct{ *keepers }
	purse   struct{ *keepers }
	pledge  struct{ *keepers }
)

func (a audits) Redeemed(ctx context.Context, r escrowv1.Redemption, l escrowv1.Lease) error {
	return a.audit.Redeemed(ctx, auditv1.Audit{Node: r.Node, Sequence: r.Sequence, Lease: r.Lease, Payer: l.Payer, VoucherKey: l.VoucherKey, Denom: l.Denom, Amount: r.Amount.Uint64(), Root: r.Root,
		TasksBefore: r.TasksBefore, Tasks: r.Tasks, WorkBefore: r.WorkBefore, Work: r.Work, Height: r.Height})
}

func (a audits) Fate(ctx context.Context, node []byte, sequence uint64) (escrow.Fate, error) {
	fate, err := a.audit.Fate(ctx, node, sequence)
	return escrow.Fate(fate), err
}

func (a audits) Settled(ctx context.Context, r escrowv1.Redemption, lost bool) error {
	return a.audit.Settled(ctx, r.Node, r.Sequence, lost)
}

func (a audits) Busy(ctx context.Context, lease []byte) (bool, error) {
	return a.audit.Busy(ctx, lease)
}

func (l lottery) Seed(ctx context.Context) (sortition.Seed, uint64, error) {
	b, err := l.committee.Beacon(ctx)
	if err != nil {
		return sortition.Seed{}, 0, err
	}
	return sortition.Seed(b.Seed), b.Index, nil
}

func (l lottery) Tickets(ctx context.Context) uint64 { return l.committee.Tickets(ctx) }

func (l lottery) Ticket(ctx context.Context, node sortition.Key, before int64) (audit.Ticket, bool, error) {
	t, beside, good, err := l.committee.Good(ctx, node, before)
	if err != nil || !good {
		return audit.Ticket{}, false, err
	}
	return audit.Ticket{Owner: t.Owner, VRF: sortition.Key(t.VrfKey), Network: t.Network, Beside: beside, Since: t.SinceHeight}, true, nil
}

func (p purse) Free(ctx context.Context, lease []byte) (math.Int, error) {
	return p.escrow.Free(ctx, voucher.ID(lease))
}

func (p purse) Hire(ctx context.Context, lease, node []byte, owner string, amount math.Int) (math.Int, error) {
	paid, err := p.escrow.Hire(ctx, voucher.ID(lease), node, owner, amount)
	if errors.Is(err, escrow.ErrResting) {
		err = audit.ErrRests.Wrap(err.Error())
	}
	return paid, err
}

func (p purse) Last(ctx context.Context) (uint64, error) { return p.escrow.Last(ctx) }

func (p purse) First(ctx context.Context, node []byte) (uint64, bool, error) {
	return p.escrow.First(ctx, node)
}

func (p pledge) Counts(ctx context.Context, node sortition.Key, denom string) (math.Int, error) {
	return p.bond.Counts(ctx, node, denom)
}

func (p pledge) Held(ctx context.Context, node sortition.Key, denom string) (math.Int, error) {
	b, err := p.bond.Bond(ctx, node, denom)
	return b.Held, err
}

func (p pledge) Slash(ctx context.Context, node sortition.Key, denom string, amount math.Int, refunds ...audit.Refund) (math.Int, error) {
	var back []bond.Refund
	for _, r := range refunds {
		to, err := sdk.AccAddressFromBech32(r.To)
		if err != nil {
			return math.ZeroInt(), err
		}
		back = append(back, bond.Refund{To: to, Amount: r.Amount})
	}
	taken, err := p.bond.Slash(ctx, node, denom, amount, back...)
	if errors.Is(err, bond.ErrRests) {
		err = audit.ErrRests.Wrap(err.Error())
	}
	return taken, err
}

func (p pledge) Touch(ctx context.Context, node sortition.Key) error { return p.bond.Touch(ctx, node) }

// seats tells the archive who sits, and when.
type seats struct{ *keepers }

func (s seats) Sitting(ctx context.Context) ([]sortition.Key, error) { return s.committee.Sitting(ctx) }
func (s seats) Epoch(ctx context.Context) uint64                     { return s.committee.EpochNumber(ctx) }

// ring draws auditors; shelves are the nodes that hold pieces, and their bonds; segments are what they hold.
type (
	ring     struct{ committee.Keeper }
	shelves  struct{ *keepers }
	segments struct{ *keepers }
)

func (r ring) Slot(ctx context.Context) (uint64, error) {
	b, err := r.Beacon(ctx)
	return b.Slot, err
}

func (r ring) Limited(ctx context.Context) (owner, network bool, err error) {
	p, err := r.Params(ctx)
	return p.SeatsPerOwner > 0, p.SeatsPerNetwork > 0, err
}

func (s shelves) Placed(ctx context.Context, node sortition.Key) (placement.Node, bool, error) {
	n, known, err := s.registry.Node(ctx, node)
	if err != nil || !known || n.Standing != registryv1.STANDING_ACTIVE || len(n.Point) == 0 {
		return placement.Node{}, false, err
	}
	network, err := s.committee.Network(ctx, node)
	return placement.Node{ID: node, Point: placement.Point(n.Point), Owner: n.Owner, Network: network}, true, err
}

func (s shelves) Fine(ctx context.Context, node sortition.Key, amount uint64) error {
	_, err := s.bond.Slash(ctx, node, bond.Denom, math.NewIntFromUint64(amount))
	return err
}

func (s segments) Segment(ctx context.Context, number uint64) (storage.Segment, bool, error) {
	e, point, height, err := s.archive.Placed(ctx, number)
	if err != nil || point == nil {
		return storage.Segment{}, false, err
	}
	return storage.Segment{Piece: e.Piece, Point: *point, Height: height}, true, nil
}

// contracts tell rows of the deals that their parts are of; rent is what deals pay.
type (
	contracts struct{ *keepers }
	rent      struct{ *keepers }
)

func (c contracts) Take(ctx context.Context, p proof.Part, node sortition.Key, nodes []placement.Node, rules placement.Rules) (proof.Piece, uint64, *sortition.Key, error) {
	terms, left, err := c.deal.Take(ctx, p, node, nodes, rules)
	return terms.Piece, terms.Rate, left, err
}

func (c contracts) Still(ctx context.Context, p proof.Part, node sortition.Key) error {
	return c.deal.Still(ctx, p, node)
}

func (c contracts) Open(ctx context.Context, after uint64) (bool, error) {
	return c.deal.Open(ctx, after)
}

func (c contracts) Offers(ctx context.Context, node sortition.Key, nodes []placement.Node, rules placement.Rules, after uint64, most int) ([]proof.Part, error) {
	return c.deal.Offers(ctx, node, nodes, rules, after, most)
}

func (c contracts) Leaves(ctx context.Context, p proof.Part, node sortition.Key, leaves bool) error {
	return c.deal.Leaves(ctx, p, node, leaves)
}

func (c contracts) Left(ctx context.Context, p proof.Part, node sortition.Key, days uint64, why string) error {
	return c.deal.Left(ctx, p, node, days, why)
}

func (c contracts) Reward(ctx context.Context, node sortition.Key, amount uint64) error {
	return c.deal.Reward(ctx, node, amount)
}

func (c contracts) Over(ctx context.Context, today uint64) (gone []storage.Kept, done bool, err error) {
	list, done, err := c.deal.Over(ctx, today)
	for _, k := range list {
		gone = append(gone, storage.Kept(k))
	}
	return gone, done, err
}

func (r rent) Split(ctx context.Context, from string, node sortition.Key, amount math.Int) error {
	n, known, err := r.registry.Node(ctx, node)
	if err != nil {
		return err
	}
	if !known {
		return deal.ErrPayer.Wrapf("node %s is nobody's", node)
	}
	payee, err := sdk.AccAddressFromBech32(n.Owner)
	if err != nil {
		return err
	}
	err = r.reward.Split(ctx, reward.Final{From: from, Node: node, Payer: authtypes.NewModuleAddress(from), Payee: payee, Denom: Base, Amount: amount})
	if errors.Is(err, reward.ErrRests) {
		return deal.ErrRests.Wrap(err.Error())
	}
	return err
}

// sale hands levies to the exchange, and bought brings back what they bring.
type (
	sale   struct{ *keepers }
	bought struct{ *keepers }
)

func (s sale) Sell(ctx context.Context, denom string, amount math.Int) error {
	return s.exchange.Sell(ctx, denom, amount)
}

func (b bought) Converted(ctx context.Context, amount math.Int) error {
	return b.reward.Converted(ctx, amount)
}

// seen turns the registry's node into the committee's.
func seen(n registryv1.Node, known bool, err error) (committee.Node, bool, error) {
	if err != nil || !known {
		return committee.Node{}, false, err
	}
	out := committee.Node{
		Owner: n.Owner, Active: n.Standing == registryv1.STANDING_ACTIVE,
		KeysHeight: n.KeysHeight, KeysTime: n.KeysTime, KeysEpoch: n.KeysEpoch,
	}
	for _, key := range []struct {
		to   *sortition.Key
		from []byte
	}{{&out.ID, n.Id}, {&out.Consensus, n.ConsensusKey}, {&out.VRF, n.VrfKey}} {
		if *key.to, err = sortition.KeyOf(key.from); err != nil {
			return committee.Node{}, false, fmt.Errorf("registered node: %w", err)
		}
	}
	return out, true, nil
}

// advance does in a block that carries a seed what nobody sends a message for:
//
//  1. The committee takes the seed.
//  2. The holders' stream flows up to this block's time, before any holding changes; a day that is over is ended.
//  3. Audits are drawn from redemptions, and disputes go on.
//  4. Pay becomes final, or is lost; leases end.
//  5. Bonds that are due return.
//  6. A batch of the exchange ends, if the seed's lot says so.
//  7. What the fund owes for days that are over is paid.
//  8. What was registered or recorded before this seed gets its place, and holders are asked.
//  9. On the first block of a day all sums are looked at.
func (a *App) advance(ctx sdk.Context, beta sortition.Beta) error {
	k := &a.keepers
	change, err := k.committee.Advance(ctx, beta) // 1
	if err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		k.reward.Flow,    // 2
		k.audit.Advance,  // 3
		k.escrow.Advance, // 4
		k.bond.Advance,   // 5
		a.trade,          // 6
		k.reward.Close,   // 7
		a.place,          // 8
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if change.Day { // 9
		return k.supply.CheckInvariants(ctx)
	}
	return nil
}

// trade hands the block's seed to the exchange.
func (a *App) trade(ctx context.Context) error {
	b, err := a.keepers.committee.Beacon(ctx)
	if err != nil {
		return err
	}
	return a.keepers.exchange.Advance(ctx, sortition.Seed(b.Seed))
}

// place hands the block's seed to those who give points.
func (a *App) place(ctx context.Context) error {
	b, err := a.keepers.committee.Beacon(ctx)
	if err != nil {
		return err
	}
	return errors.Join(a.keepers.registry.Advance(ctx, sortition.Seed(b.Seed)), a.keepers.archive.Advance(ctx, sortition.Seed(b.Seed)),
		a.keepers.deal.Advance(ctx, sortition.Seed(b.Seed)), a.keepers.storage.Advance(ctx, sortition.Seed(b.Seed)))
}

// seeded tells whether the block that is being made carries a seed.
func (a *App) seeded(ctx sdk.Context) (bool, error) {
	b, err := a.keepers.committee.Beacon(ctx)
	return b.Height == ctx.BlockHeight(), err
}

// EpochNumber is the epoch of the last block; 0 before there is one.
func (a *App) EpochNumber() uint64 {
	ctx, err := a.state()
	if err != nil {
		return 0
	}
	return a.keepers.committee.EpochNumber(ctx)
}

// state reads the last committed state.
func (a *App) state() (sdk.Context, error) {
	return a.CreateQueryContextWithCheckHeader(0, false, false)
}

// Pace is how fast the chain goes by itself.
type Pace struct {
	Heartbeat   time.Duration
	EpochBlocks uint64
}

func pace(p committeev1.Params) Pace {
	return Pace{Heartbeat: time.Duration(p.HeartbeatSeconds) * time.Second, EpochBlocks: p.EpochBlocks}
}

// ourRoutes offers the queries of our modules over REST.
func ourRoutes(c client.Context, mux *runtime.ServeMux) {
	ctx := context.Background()
	for _, err := range []error{
		registryv1.RegisterQueryHandlerClient(ctx, mux, registryv1.NewQueryClient(c)),
		committeev1.RegisterQueryHandlerClient(ctx, mux, committeev1.NewQueryClient(c)),
		supplyv1.RegisterQueryHandlerClient(ctx, mux, supplyv1.NewQueryClient(c)),
		governancev1.RegisterQueryHandlerClient(ctx, mux, governancev1.NewQueryClient(c)),
		escrowv1.RegisterQueryHandlerClient(ctx, mux, escrowv1.NewQueryClient(c)),
		rewardv1.RegisterQueryHandlerClient(ctx, mux, rewardv1.NewQueryClient(c)),
		exchangev1.RegisterQueryHandlerClient(ctx, mux, exchangev1.NewQueryClient(c)),
		bondv1.RegisterQueryHandlerClient(ctx, mux, bondv1.NewQueryClient(c)),
		auditv1.RegisterQueryHandlerClient(ctx, mux, auditv1.NewQueryClient(c)),
		archivev1.RegisterQueryHandlerClient(ctx, mux, archivev1.NewQueryClient(c)),
		storagev1.RegisterQueryHandlerClient(ctx, mux, storagev1.NewQueryClient(c)),
		dealv1.RegisterQueryHandlerClient(ctx, mux, dealv1.NewQueryClient(c)),
	} {
		if err != nil {
			panic(err) // the generated code never fails here
		}
	}
}
