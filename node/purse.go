package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/voucher"
)

// purse is the chain as paying wants it: deposits in the owner's name by the node's spending key, redemptions by the node's own word.
type purse struct {
	chain  string // ID
	owner  string // who allows the spending key to deposit; "": nobody does
	spend  *ledger.Secret
	node   ed25519.PublicKey
	window func() *ledger.Ledger // nil while no chain node runs
}

var _ pay.Chain = (*purse)(nil)

// ID is the chain's.
func (p *purse) ID() string { return p.chain }

func (p *purse) open() (*ledger.Ledger, error) {
	if w := p.window(); w != nil {
		return w, nil
	}
	return nil, fmt.Errorf("%w: %w", pay.ErrAway, &job.Failure{Code: job.CodeUnavailable, Message: "the chain node does not run", Hint: "see hpips chain status"})
}

// Now is the newest block.
func (p *purse) Now(ctx context.Context) (pay.Head, error) {
	w, err := p.open()
	if err != nil {
		return pay.Head{}, err
	}
	st, err := w.Status(ctx)
	return pay.Head{Time: st.Time, Height: st.Height}, absent(pay.ErrAway, err)
}

// Rules are those of leases.
func (p *purse) Rules(ctx context.Context) (pay.Rules, error) {
	w, err := p.open()
	if err != nil {
		return pay.Rules{}, err
	}
	r, err := w.LeaseRules(ctx)
	return pay.Rules{Fee: r.Fee, Least: r.Least, Batch: r.Batch, Grace: r.Grace}, absent(pay.ErrAway, err)
}

var phases = map[string]pay.Phase{"open": pay.Open, "closing": pay.Closing, "closed": pay.Closed}

// Lease finds a lease.
func (p *purse) Lease(ctx context.Context, id voucher.ID) (pay.Account, bool, error) {
	w, err := p.open()
	if err != nil {
		return pay.Account{}, false, err
	}
	l, err := w.Lease(ctx, id)
	if ledger.IsNotFound(err) {
		return pay.Account{}, false, nil
	}
	if err != nil {
		return pay.Account{}, false, absent(pay.ErrAway, err)
	}
	a := pay.Account{Payer: l.Payer, Key: l.VoucherKey, Node: l.NodeKey, Payee: l.Payee, Denom: l.Denom, Deposit: l.Deposit, Redeemed: l.Redeemed, Final: l.Final,
		Free: l.Deposit - min(l.Deposit, l.Redeemed+l.Jury), Pending: l.Pending > 0, LetGo: l.LetGo, Phase: phases[l.Phase], Until: l.Until.Unix()}
	if !l.Closing.IsZero() {
		a.Closing = l.Closing.Unix()
	}
	return a, true, nil
}

// Open makes deposits.
func (p *purse) Open(ctx context.Context, deposits []pay.Deposit) error {
	list := make([]ledger.Deposit, len(deposits))
	for i, d := range deposits {
		list[i] = ledger.Deposit{Terms: d.Terms, Node: d.Node, VoucherKey: d.Key, Denom: d.Denom, Amount: d.Amount, Until: time.Unix(d.Until, 0)}
	}
	return p.send(ctx, ledger.OpenLeases(p.owner, list))
}

// TopUp adds to deposits.
func (p *purse) TopUp(ctx context.Context, additions []pay.Addition) error {
	list := make([]ledger.Addition, len(additions))
	for i, a := range additions {
		list[i] = ledger.Addition{Lease: a.Lease, Denom: a.Denom, Amount: a.Amount, Until: time.Unix(a.Until, 0)}
	}
	return p.send(ctx, ledger.TopUp(p.owner, list))
}

// Close ends leases early.
func (p *purse) Close(ctx context.Context, leases []voucher.ID) error {
	return p.send(ctx, ledger.CloseLeases(p.owner, leases))
}

// send lets the spending key do something in the owner's name.
func (p *purse) send(ctx context.Context, m ledger.Message) error {
	if p.owner == "" {
		return &job.Failure{Code: job.CodeFunds, Message: "no account lets this node pay for jobs", Hint: "hpips wallet new makes one; hpips wallet allow 5/day lets this node spend so much of it"}
	}
	w, err := p.open()
	if err != nil {
		return err
	}
	o, err := ledger.Errand(p.spend, p.owner, m)
	if err != nil {
		return err
	}
	_, err = w.Deliver(ctx, o)
	return spoken(err)
}

// spoken puts a refusal into the words of pay.
func spoken(err error) error {
	if err == nil {
		return nil
	}
	var f *job.Failure
	var no *ledger.Refused
	switch {
	case errors.Is(err, ledger.ErrOpen):
		return fmt.Errorf("%w: %w", pay.ErrUnknown, err)
	case errors.As(err, &no) && (strings.Contains(no.Log, "a day") || strings.Contains(no.Log, "fee limit exceeded") || strings.Contains(no.Log, "authorization not found")):
		return fmt.Errorf("%w: %w", pay.ErrBudget, err)
	case errors.As(err, &f) && f.Code == job.CodeFunds:
		return fmt.Errorf("%w: %w", pay.ErrFunds, err)
	}
	return err
}

// Redeem hands claims in and waits for the block that holds them.
func (p *purse) Redeem(ctx context.Context, claims []voucher.Claim, signature []byte) (string, error) {
	w, err := p.open()
	if err != nil {
		return "", err
	}
	tx, err := w.FreeAwait(ctx, ledger.Redeem(p.node, claims, signature))
	return tx, spoken(err)
}
