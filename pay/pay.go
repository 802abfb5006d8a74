// Package pay keeps what passes between a requester and a provider for work: deposits, the requester's growing promises, and their redemption
// on the chain.
// It promises that a payer never signs less than before, that a voucher which a payee has taken is on its disk and is redeemed in time whatever
// happens to this process, and that neither side can lose more than one credit window to the other.
// It leaves the rules of deposits and payouts to the chain, the words to spec/voucher, and when results count to the requester and the provider.
package pay

import (
	"context"
	"errors"
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/trust"
	"github.com/hpips/hpips/spec/voucher"
)

// Chain is what paying asks of the chain. Every method may be called from several goroutines. Open, TopUp, Close and Redeem return when a block
// holds what they did; their errors are ErrUnknown, ErrFunds or ErrBudget where these fit, a *job.Failure with CodeUnavailable where the chain
// cannot be reached, and anything else where the chain refused. A question that the node cannot ask yet, or not any more, is answered with ErrAway too.
type Chain interface {
	// ID is the chain's name, which vouchers carry.
	ID() string
	// Now is the newest block.
	Now(ctx context.Context) (Head, error)
	// Rules are the parameters of leases as they stand now.
	Rules(ctx context.Context) (Rules, error)
	// Lease finds a lease; false means that the chain does not have it, or not any more.
	Lease(ctx context.Context, id voucher.ID) (Account, bool, error)

	// Open makes deposits, TopUp adds to them and Close ends leases early: each one transaction of the node's spending key in its owner's name.
	Open(ctx context.Context, deposits []Deposit) error
	TopUp(ctx context.Context, additions []Addition) error
	Close(ctx context.Context, leases []voucher.ID) error
	// Redeem hands in claims with this node's signature over them (voucher.SignRedeem), those by which it lets go of leases, too; it needs no account. tx is the
	// transaction's name.
	Redeem(ctx context.Context, claims []voucher.Claim, signature []byte) (tx string, err error)
}

// Head is the newest block that a node has.
type Head struct {
	Time   time.Time
	Height int64
}

// Rules are the parameters of leases.
type Rules struct {
	Fee   uint64        // of each claim, out of the HPIPS that its transaction redeems; in base units
	Least uint64        // deposit of a lease in HPIPS, in base units
	Batch int           // leases or claims in one transaction
	Grace time.Duration // from the closing of a lease to the return of what is left
}

// Phase is where a lease is in its life on the chain.
type Phase int

// The phases of a lease.
const (
	Open    Phase = iota + 1
	Closing       // closed by a side or expired: redemptions until its grace is over
	Closed        // what was left has returned
)

// Account is a lease as the chain has it. Amounts are base units of Denom.
type Account struct {
	Payer    string // account whose deposit it is
	Key      []byte // signs vouchers
	Node     []byte // the provider's ed25519 key
	Payee    string // account that is paid
	Denom    string
	Deposit  uint64
	Redeemed uint64 // final or not
	Final    uint64
	Free     uint64 // what would return if it closed now: neither redeemed nor paid to jurors
	Pending  bool   // something that was redeemed is not final
	LetGo    bool   // its node has let go of it
	Phase    Phase
	Until    int64 // end of the term, Unix seconds
	Closing  int64 // since when it is closing, Unix seconds; 0: it is not
}

// Deposit opens one lease.
type Deposit struct {
	Terms  [32]byte // SHA-256: with the payer it makes the lease's ID
	Node   []byte   // the provider's ed25519 key
	Key    []byte   // signs vouchers
	Denom  string
	Amount uint64
	Until  int64 // Unix seconds
}

// Addition adds to one lease's deposit, 0 or more; a later Until moves its end.
type Addition struct {
	Lease  voucher.ID
	Denom  string // of the lease
	Amount uint64
	Until  int64
}

// What a chain says, see Chain.
var (
	ErrUnknown = errors.New("it is not known whether the chain took it")
	ErrFunds   = errors.New("the account has not enough")
	ErrBudget  = errors.New("the spending key's budget of the day is used up")
	ErrAway    = errors.New("the chain cannot be asked")
)

// The reasons for which paying does not go on.
var (
	ErrUnpaid   = errors.New("lease is not paid for")
	ErrUnfunded = errors.New("the chain has no such deposit")
	ErrForeign  = errors.New("the deposit is not that of the lease")
	ErrDeposit  = errors.New("the deposit is less than what is owed")
	ErrLess     = errors.New("less than was promised before")
	ErrUsage    = errors.New("more usage than there was")
	ErrVoucher  = errors.New("voucher is not for this lease")
	ErrRoot     = errors.New("voucher's root is not that of the results")
	ErrLetGo    = errors.New("the lease was let go: all that was done is paid for, and its rest goes back")
)

// passing tells whether an error may go away by itself, with an unknown outcome or none.
func passing(err error) bool {
	var f *job.Failure
	return errors.Is(err, ErrUnknown) || errors.As(err, &f) && f.Code == job.CodeUnavailable
}

// pause waits, or returns the error of ctx when it ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// longer is the time to wait after another failure: twice the last one, up to most.
func longer(last, least, most time.Duration) time.Duration {
	return min(max(2*last, least), most)
}

// forWork is what of a lease's deposit may be promised: where its payer wants juries they are paid from it, too.
func forWork(l lease.Lease, deposit uint64) uint64 {
	if l.Terms.Pay.Jury {
		return trust.ForWork(deposit)
	}
	return deposit
}
