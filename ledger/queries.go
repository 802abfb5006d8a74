package ledger

import (
	"context"
	"encoding/hex"
	"errors"
	"strconv"
	"time"

	sdkmath "cosmossdk.io/math"
	sdkquery "github.com/cosmos/cosmos-sdk/types/query"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/proto/gen/registryv1"
	"github.com/hpips/hpips/proto/gen/supplyv1"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/placement"
)

// Status is how the chain is, as one node sees it. The JSON names of this and of all other words here are a contract (docs/cli.md).
type Status struct {
	ChainID     string       `json:"chainId"`
	Height      int64        `json:"height"`
	Time        time.Time    `json:"time"`
	Hash        string       `json:"hash"`
	AppHash     string       `json:"appHash"`
	CatchingUp  bool         `json:"catchingUp"`
	Oldest      int64        `json:"oldest"` // block that the node still holds
	Supply      money.Amount `json:"supply"`
	SupplyBase  string       `json:"supplyBase"`
	Burned      money.Amount `json:"burned"`
	Circulating money.Amount `json:"circulating"`
	Breach      string       `json:"breach,omitempty"` // an invariant that was found broken
	Seats       int          `json:"seats"`
	Epoch       uint64       `json:"epoch"`
	Day         uint64       `json:"day"`
	Tickets     uint64       `json:"tickets"`
	Peers       int          `json:"peers"`
}

// Status asks how the chain is.
func (l *Ledger) Status(ctx context.Context) (Status, error) {
	st, err := l.rpc.Status(ctx)
	if err != nil {
		return Status{}, l.unreachable(ctx, err)
	}
	s := Status{ChainID: st.NodeInfo.Network, Height: st.SyncInfo.LatestBlockHeight, Time: st.SyncInfo.LatestBlockTime.UTC(),
		Hash: st.SyncInfo.LatestBlockHash.String(), AppHash: st.SyncInfo.LatestAppHash.String(), CatchingUp: st.SyncInfo.CatchingUp,
		Oldest: st.SyncInfo.EarliestBlockHeight}
	if s.Height == 0 {
		return s, nil
	}
	if net, err := l.rpc.NetInfo(ctx); err == nil {
		s.Peers = net.NPeers
	}
	supply, err := l.Supply(ctx)
	if err != nil {
		return Status{}, err
	}
	s.Supply, s.SupplyBase, s.Burned, s.Circulating, s.Breach = supply.Total, supply.Total.Base(), supply.Burned, supply.Circulating, supply.Breach
	c, err := l.Committee(ctx)
	if err != nil {
		return Status{}, err
	}
	s.Seats, s.Epoch, s.Day, s.Tickets = len(c.Seats), c.Epoch, c.Day, c.Tickets
	return s, nil
}

// Committee is who sits, and how the next draw stands.
type Committee struct {
	Epoch       uint64   `json:"epoch"`
	Opened      int64    `json:"opened"` // height of the epoch's first block with a seed, 0 before it
	Seed        string   `json:"seed"`
	SeedHeight  int64    `json:"seedHeight"`
	DrawSeed    string   `json:"drawSeed"`
	Threshold   string   `json:"threshold"`
	Day         uint64   `json:"day"`
	Slot        uint64   `json:"slot"`
	Seats       []Seat   `json:"seats"`
	Substitutes []string `json:"substitutes"`
	Claims      uint32   `json:"claims"`
	Tickets     uint64   `json:"tickets"`
	Waiting     uint64   `json:"waiting"`
	Before      []Term   `json:"before"`

	Time    time.Time `json:"-"` // of the block with the last seed
	Genesis time.Time `json:"-"`
}

// Seat is one place in the committee. All have power 1.
type Seat struct {
	Node        string `json:"node"`
	Owner       string `json:"owner"`
	Network     string `json:"network"`
	Power       int    `json:"power"`
	Since       uint64 `json:"since"` // epoch
	SinceHeight int64  `json:"sinceHeight"`
	Guardian    bool   `json:"guardian"`
	Leaving     bool   `json:"leaving"`

	Key, Consensus, VRF []byte `json:"-"`
}

// Term is who sat in an earlier epoch.
type Term struct {
	Epoch uint64   `json:"epoch"`
	Nodes []string `json:"nodes"`
}

// Committee asks who sits.
func (l *Ledger) Committee(ctx context.Context) (Committee, error) { return l.committeeAt(ctx, 0) }

func (l *Ledger) committeeAt(ctx context.Context, height int64) (Committee, error) {
	r, err := committeev1.NewQueryClient(query{l, height}).Committee(ctx, &committeev1.QueryCommitteeRequest{})
	if err != nil {
		return Committee{}, err
	}
	c := Committee{Epoch: r.Epoch.Number, Opened: r.Epoch.Opened, Seed: hex.EncodeToString(r.Beacon.Seed), SeedHeight: r.Beacon.Height,
		DrawSeed: hex.EncodeToString(r.Epoch.DrawSeed), Threshold: hex.EncodeToString(r.Epoch.Threshold), Day: r.Beacon.Day, Slot: r.Beacon.Slot,
		Seats: []Seat{}, Substitutes: names(r.Substitutes), Claims: r.Epoch.Claims, Tickets: r.Tickets, Waiting: r.Waiting, Before: []Term{},
		Time: r.Beacon.Time, Genesis: r.Beacon.GenesisTime}
	for _, s := range r.Seats {
		c.Seats = append(c.Seats, Seat{Node: NodeText(s.Node), Owner: s.Owner, Network: s.Network, Power: 1, Since: s.SinceEpoch, SinceHeight: s.SinceHeight,
			Guardian: s.Guardian, Leaving: s.Leaving, Key: s.Node, Consensus: s.ConsensusKey, VRF: s.VrfKey})
	}
	for _, b := range r.Before {
		c.Before = append(c.Before, Term{b.Epoch, names(b.Nodes)})
	}
	return c, nil
}

func names(keys [][]byte) []string {
	all := make([]string, len(keys))
	for i, k := range keys {
		all[i] = NodeText(k)
	}
	return all
}

// Ticket is a node's right to be drawn, or why it has none.
type Ticket struct {
	Node           string `json:"node"`
	Held           bool   `json:"held"`
	Owner          string `json:"owner,omitempty"`
	Network        string `json:"network,omitempty"`
	Since          int64  `json:"since,omitempty"` // height
	SinceSlot      uint64 `json:"sinceSlot,omitempty"`
	UntilDay       uint64 `json:"untilDay,omitempty"`
	KeysHeight     int64  `json:"keysHeight,omitempty"`
	Waiting        bool   `json:"waiting"`
	NetworkTickets uint64 `json:"networkTickets"`
	Claimed        bool   `json:"claimed"`
	Seated         bool   `json:"seated"`
	Reason         string `json:"reason,omitempty"` // why it could not take one out now
	Asks           string `json:"asks"`             // what of work, duty and bond the chain asks for one
}

// Ticket asks for the ticket of a node.
func (l *Ledger) Ticket(ctx context.Context, node []byte) (Ticket, error) {
	r, err := committeev1.NewQueryClient(l.now()).Ticket(ctx, &committeev1.QueryTicketRequest{Node: node})
	if err != nil {
		return Ticket{}, err
	}
	t := Ticket{Node: NodeText(node), Waiting: r.Waiting, NetworkTickets: r.NetworkTickets, Claimed: r.Claimed, Seated: r.Seated, Reason: r.Reason, Asks: r.Asks}
	if k := r.Ticket; k != nil {
		t.Held, t.Owner, t.Network, t.Since, t.SinceSlot, t.UntilDay, t.KeysHeight = true, k.Owner, k.Network, k.SinceHeight, k.SinceSlot, k.UntilDay, k.KeysHeight
	}
	return t, nil
}

// Observers names the nodes that may testify for a node in a slot, and how many of them a slot needs.
func (l *Ledger) Observers(ctx context.Context, node []byte, slot uint64) (observers [][]byte, needed uint32, err error) {
	r, err := committeev1.NewQueryClient(l.now()).Observers(ctx, &committeev1.QueryObserversRequest{Node: node, Slot: slot})
	if err != nil {
		return nil, 0, err
	}
	return r.Observers, r.Needed, nil
}

// Picks names the slots for which a ticket taken out in a slot needs receipts, and how many of them.
func (l *Ledger) Picks(ctx context.Context, node []byte, slot uint64) (slots []uint64, needed uint32, err error) {
	r, err := committeev1.NewQueryClient(l.now()).Picks(ctx, &committeev1.QueryPicksRequest{Node: node, Slot: slot})
	if err != nil {
		return nil, 0, err
	}
	return r.Slots, r.Needed, nil
}

// Rules gives the parameters of seats as the module has them.
func (l *Ledger) Rules(ctx context.Context) (committeev1.Params, error) {
	r, err := committeev1.NewQueryClient(l.now()).Params(ctx, &committeev1.QueryParamsRequest{})
	if err != nil {
		return committeev1.Params{}, err
	}
	return r.Params, nil
}

// Node is a registered node.
type Node struct {
	Node         string    `json:"node"`
	Owner        string    `json:"owner"`
	Standing     string    `json:"standing"` // active, retired or barred
	Consensus    string    `json:"consensusKey"`
	VRF          string    `json:"vrfKey"`
	Capabilities string    `json:"capabilities,omitempty"`
	Height       int64     `json:"registeredHeight"`
	Time         time.Time `json:"registeredTime"`
	KeysHeight   int64     `json:"keysHeight"`
	KeysEpoch    uint64    `json:"keysEpoch"`

	Key, ConsensusKey, VRFKey []byte           `json:"-"`
	Point                     *placement.Point `json:"-"` // where it stands among pieces; nil until the first seed after it was registered
}

var standings = map[registryv1.Standing]string{registryv1.STANDING_ACTIVE: "active", registryv1.STANDING_RETIRED: "retired", registryv1.STANDING_BARRED: "barred"}

func registered(n registryv1.Node) Node {
	out := Node{Node: NodeText(n.Id), Owner: n.Owner, Standing: standings[n.Standing], Consensus: hex.EncodeToString(n.ConsensusKey),
		VRF: hex.EncodeToString(n.VrfKey), Capabilities: hex.EncodeToString(n.Capabilities), Height: n.RegisteredHeight, Time: n.RegisteredTime.UTC(),
		KeysHeight: n.KeysHeight, KeysEpoch: n.KeysEpoch, Key: n.Id, ConsensusKey: n.ConsensusKey, VRFKey: n.VrfKey}
	out.Point = pointOf(n.Point)
	return out
}

func pointOf(b []byte) *placement.Point {
	if len(b) != len(placement.Point{}) {
		return nil
	}
	p := placement.Point(b)
	return &p
}

// Node asks for one registered node.
func (l *Ledger) Node(ctx context.Context, key []byte) (Node, error) {
	r, err := registryv1.NewQueryClient(l.now()).Node(ctx, &registryv1.QueryNodeRequest{Id: key})
	if err != nil {
		return Node{}, err
	}
	return registered(r.Node), nil
}

// Nodes lists all registered nodes, or those of one owner.
func (l *Ledger) Nodes(ctx context.Context, owner string) ([]Node, error) {
	all := []Node{}
	for page := []byte(nil); ; {
		r, err := registryv1.NewQueryClient(l.now()).Nodes(ctx, &registryv1.QueryNodesRequest{Owner: owner, Pagination: &sdkquery.PageRequest{Key: page, Limit: 500}})
		if err != nil {
			return nil, err
		}
		for _, n := range r.Nodes {
			all = append(all, registered(n))
		}
		if r.Pagination == nil || len(r.Pagination.NextKey) == 0 {
			return all, nil
		}
		page = r.Pagination.NextKey
	}
}

// Balance is what an account holds.
type Balance struct {
	Address string       `json:"address"`
	Balance money.Amount `json:"balance"`
	Base    string       `json:"balanceBase"`
}

// Balance asks what an account holds; one that never received anything holds nothing.
func (l *Ledger) Balance(ctx context.Context, address string) (Balance, error) {
	if err := CheckAddress(address); err != nil {
		return Balance{}, err
	}
	r, err := banktypes.NewQueryClient(l.now()).Balance(ctx, &banktypes.QueryBalanceRequest{Address: address, Denom: money.Denom})
	if err != nil {
		return Balance{}, err
	}
	b := Balance{Address: address}
	if r.Balance != nil {
		b.Balance = amount(r.Balance.Amount)
	}
	b.Base = b.Balance.Base()
	return b, nil
}

// Supply is where the HPIPS are.
type Supply struct {
	Total       money.Amount            `json:"supply"`
	TotalBase   string                  `json:"supplyBase"`
	Circulating money.Amount            `json:"circulating"`
	Burned      money.Amount            `json:"burned"`
	Released    money.Amount            `json:"released"`
	Breach      string                  `json:"breach,omitempty"`
	Accounts    map[string]money.Amount `json:"accounts"` // the five
}

// Supply asks where the HPIPS are.
func (l *Ledger) Supply(ctx context.Context) (Supply, error) {
	r, err := supplyv1.NewQueryClient(l.now()).Supply(ctx, &supplyv1.QuerySupplyRequest{})
	if err != nil {
		return Supply{}, err
	}
	s := Supply{Total: amount(r.Total), TotalBase: amount(r.Total).Base(), Circulating: amount(r.Circulating), Burned: amount(r.Totals.Burned),
		Released: amount(r.Totals.Released), Breach: r.Totals.Breach, Accounts: map[string]money.Amount{}}
	for _, p := range r.Pots {
		s.Accounts[p.Name] = amount(p.Amount)
	}
	return s, nil
}

// amount reads an amount that the chain keeps. There is never more than money.Total of HPIPS, so what does not fit is no HPIPS.
func amount(i sdkmath.Int) money.Amount {
	if i.IsNil() || !i.IsUint64() {
		return 0
	}
	return money.Amount(i.Uint64())
}

func amountOf(base string) money.Amount {
	n, err := strconv.ParseUint(base, 10, 64)
	if err != nil {
		return 0
	}
	return money.Amount(n)
}

// IsNotFound tells whether the chain answered that there is no such thing.
func IsNotFound(err error) bool {
	var f *job.Failure
	return errors.As(err, &f) && f.Code == job.CodeNotFound
}

// IsAway tells whether a question has no answer because the chain node is away just now: nothing answers there, it has no block yet, or it is behind.
func IsAway(err error) bool {
	var f *job.Failure
	return errors.As(err, &f) && f.Code == job.CodeUnavailable
}
