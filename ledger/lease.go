package ledger

import (
	"context"
	"encoding/hex"
	"time"

	sdkmath "cosmossdk.io/math"
	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkquery "github.com/cosmos/cosmos-sdk/types/query"

	"github.com/hpips/hpips/proto/gen/escrowv1"
	"github.com/hpips/hpips/spec/voucher"
)

// Coin is an amount of an asset, in its base units.
type Coin struct {
	Denom  string `json:"denom"`
	Amount string `json:"amount"`
}

func coinsOf(all sdk.Coins) []Coin {
	list := make([]Coin, len(all))
	for i, c := range all {
		list[i] = Coin{c.Denom, c.Amount.String()}
	}
	return list
}

// Lease is a deposit for the work of one node, as the chain has it. Amounts are in base units of its asset.
type Lease struct {
	ID       string    `json:"lease"`
	Payer    string    `json:"payer"`
	Node     string    `json:"node"`
	Payee    string    `json:"payee"`
	Denom    string    `json:"denom"`
	Deposit  uint64    `json:"deposit"`
	Redeemed uint64    `json:"redeemed"`
	Final    uint64    `json:"final"`
	Jury     uint64    `json:"jury"`  // paid to jurors out of the deposit
	Phase    string    `json:"phase"` // open, closing or closed
	Opened   int64     `json:"openedHeight"`
	Until    time.Time `json:"until"`
	Closing  time.Time `json:"closing,omitzero"` // since when
	LetGo    bool      `json:"letGo,omitempty"`  // its node has let go of it: no voucher is good any more

	Pending    uint32     `json:"-"` // redemptions that are not final
	Key        voucher.ID `json:"-"`
	NodeKey    []byte     `json:"-"`
	VoucherKey []byte     `json:"-"`
}

var phases = map[escrowv1.Phase]string{escrowv1.PHASE_OPEN: "open", escrowv1.PHASE_CLOSING: "closing", escrowv1.PHASE_CLOSED: "closed"}

func leaseOf(l escrowv1.Lease) Lease {
	one := Lease{ID: hex.EncodeToString(l.Id), Payer: l.Payer, Node: NodeText(l.Node), Payee: l.Payee, Denom: l.Denom, Deposit: whole(l.Deposit), Redeemed: whole(l.Redeemed),
		Final: whole(l.Final), Jury: whole(l.Jury), Phase: phases[l.Phase], Opened: l.OpenedHeight, Until: time.Unix(l.Until, 0).UTC(), LetGo: l.LetGo, Pending: l.Pending, NodeKey: l.Node, VoucherKey: l.VoucherKey}
	copy(one.Key[:], l.Id)
	if l.ClosingTime > 0 {
		one.Closing = time.Unix(l.ClosingTime, 0).UTC()
	}
	return one
}

// whole reads an amount that fits into 64 bits; what does not is more than anybody can owe.
func whole(i sdkmath.Int) uint64 {
	if i.IsNil() || !i.IsUint64() {
		return 0
	}
	return i.Uint64()
}

// Lease asks for one lease. The error of one that is not there is IsNotFound.
func (l *Ledger) Lease(ctx context.Context, id voucher.ID) (Lease, error) {
	r, err := escrowv1.NewQueryClient(l.now()).Lease(ctx, &escrowv1.QueryLeaseRequest{Id: id[:]})
	if err != nil {
		return Lease{}, err
	}
	return leaseOf(r.Lease), nil
}

// Leases lists those of a payer, or of a node.
func (l *Ledger) Leases(ctx context.Context, payer string, node []byte) ([]Lease, error) {
	all := []Lease{}
	for page := []byte(nil); ; {
		r, err := escrowv1.NewQueryClient(l.now()).Leases(ctx, &escrowv1.QueryLeasesRequest{Payer: payer, Node: node, Pagination: &sdkquery.PageRequest{Key: page, Limit: 500}})
		if err != nil {
			return nil, err
		}
		for _, one := range r.Leases {
			all = append(all, leaseOf(one))
		}
		if r.Pagination == nil || len(r.Pagination.NextKey) == 0 {
			return all, nil
		}
		page = r.Pagination.NextKey
	}
}

// LeaseRules are the parameters of leases.
type LeaseRules struct {
	Fee   uint64 // of each claim of a redemption, in uhpips
	Least uint64 // deposit in HPIPS, in uhpips
	Batch int    // leases, or claims, in one message
	Grace time.Duration
}

// LeaseRules asks for the parameters of leases.
func (l *Ledger) LeaseRules(ctx context.Context) (LeaseRules, error) {
	r, err := escrowv1.NewQueryClient(l.now()).Params(ctx, &escrowv1.QueryParamsRequest{})
	if err != nil {
		return LeaseRules{}, err
	}
	return LeaseRules{r.Params.RedeemFee, r.Params.LeastDeposit, int(r.Params.Batch), time.Duration(r.Params.GraceSeconds) * time.Second}, nil
}

// Escrow is what an account has in escrow, and what waits to be final for it.
type Escrow struct {
	Escrowed []Coin `json:"escrowed"`
	Pending  []Coin `json:"pending"`
}

// Escrowed asks what an account has in escrow.
func (l *Ledger) Escrowed(ctx context.Context, address string) (Escrow, error) {
	r, err := escrowv1.NewQueryClient(l.now()).Account(ctx, &escrowv1.QueryAccountRequest{Address: address})
	if err != nil {
		return Escrow{}, err
	}
	return Escrow{coinsOf(r.Escrowed), coinsOf(r.Pending)}, nil
}

// Deposit opens one lease.
type Deposit struct {
	Terms      [32]byte // SHA-256: with the payer it makes the lease's ID
	Node       []byte   // node key
	VoucherKey []byte
	Denom      string
	Amount     uint64
	Until      time.Time
}

// OpenLeases deposits for many leases at once.
func OpenLeases(payer string, deposits []Deposit) Message {
	m := &escrowv1.MsgOpen{Payer: payer}
	for _, d := range deposits {
		m.Deposits = append(m.Deposits, escrowv1.Deposit{Terms: d.Terms[:], Node: d.Node, VoucherKey: d.VoucherKey, Denom: d.Denom,
			Amount: sdkmath.NewIntFromUint64(d.Amount), Until: d.Until.Unix()})
	}
	return m
}

// Addition adds to one lease's deposit, and moves its end out if that is later.
type Addition struct {
	Lease  voucher.ID
	Denom  string // of the lease
	Amount uint64
	Until  time.Time
}

// TopUp adds to many deposits at once.
func TopUp(payer string, additions []Addition) Message {
	m := &escrowv1.MsgTopUp{Payer: payer}
	for _, a := range additions {
		m.Additions = append(m.Additions, escrowv1.Addition{Lease: a.Lease[:], Denom: a.Denom, Amount: sdkmath.NewIntFromUint64(a.Amount), Until: a.Until.Unix()})
	}
	return m
}

// CloseLeases ends leases of a payer or a payee early.
func CloseLeases(party string, leases []voucher.ID) Message {
	m := &escrowv1.MsgClose{Party: party}
	for _, id := range leases {
		m.Leases = append(m.Leases, id[:])
	}
	return m
}

// Redeem asks for what vouchers promise a node; signature is voucher.SignRedeem's. It needs no account: hand it to Free.
func Redeem(node []byte, claims []voucher.Claim, signature []byte) Message {
	m := &escrowv1.MsgRedeem{Sender: sender(node), Node: node, Signature: signature}
	for _, c := range claims {
		m.Claims = append(m.Claims, escrowv1.Claim{Voucher: c.Voucher, Signature: c.Signature, Last: c.Last, Lease: c.Lease})
	}
	return m
}
