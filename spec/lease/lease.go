// Package lease keeps the words between a requester and a provider: order, quote, the signed lease, and the messages that travel under it.
// It promises that terms mean the same on both sides: they have one binary form, an identity, and two signatures that anybody can check.
// It leaves asking and answering to package market, and doing what the messages say to the requester and the provider.
package lease

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/voucher"
)

// The longest names in terms of payment, in bytes.
const (
	maxPayer = 128
	maxDenom = 128
)

// The limits of what is read from outside, in bytes.
const (
	MaxOrder   = 16 << 10
	MaxLease   = 16 << 10
	MaxMessage = 8 << 20
)

// MaxTerm is the longest time that one lease may run before it is extended.
const MaxTerm = 24 * time.Hour

// Order asks providers for slots. It is not signed: it binds nobody.
type Order struct {
	Job       string        `cbor:"job"`       // the requester's name for the job
	Requester string        `cbor:"requester"` // peer ID
	Engine    string        `cbor:"engine"`
	Resources job.Resources `cbor:"resources"`       // of one task
	Slots     int           `cbor:"slots"`           // wanted at most
	Reach     []string      `cbor:"reach,omitempty"` // places outside that tasks want to call
}

// Quote is a provider's answer to an order: what it offers, and until when.
type Quote struct {
	Provider string        `cbor:"provider"`          // peer ID
	Owner    string        `cbor:"owner"`             // who is paid; nodes of one owner never check one another
	Network  string        `cbor:"network"`           // label of the network the node is in
	Slots    int           `cbor:"slots"`             // tasks at once
	Rates    voucher.Rates `cbor:"rates"`             // prices, in base units of what terms pay in
	Class    string        `cbor:"class,omitempty"`   // hardware class: copies of a native program are compared within one
	Region   string        `cbor:"region,omitempty"`  // where it says to be
	Speed    uint64        `cbor:"speed,omitempty"`   // operations a second of one processor while all work, as it was measured; 0: it was not
	GPUs     []Device      `cbor:"gpus,omitempty"`    // that tasks will have to themselves; only where the order asks for any
	Load     int           `cbor:"load"`              // leases that share these slots already
	Until    int64         `cbor:"until"`             // Unix milliseconds
	Refusal  string        `cbor:"refusal,omitempty"` // why there is no offer; then Slots is 0
}

// Device is a graphics device that a quote offers.
type Device struct {
	ID     string   `cbor:"id" json:"id"` // the provider's name for it
	Vendor string   `cbor:"vendor" json:"vendor"`
	Model  string   `cbor:"model" json:"model"`
	Memory job.Size `cbor:"memory,omitempty" json:"memory"` // 0: its provider does not know
}

// Terms is what both sides sign.
type Terms struct {
	Order  Order  `cbor:"order"`
	Quote  Quote  `cbor:"quote"`
	From   int64  `cbor:"from"`          // Unix milliseconds
	Until  int64  `cbor:"until"`         // Unix milliseconds
	Serial uint64 `cbor:"serial"`        // 0 at first, one more at each extension
	Pay    *Pay   `cbor:"pay,omitempty"` // how the work is paid for; nil: it is not
}

// Pay says who pays for the work of a lease, on which chain, and in what.
type Pay struct {
	Chain   string `cbor:"chain"`
	Payer   string `cbor:"payer"`   // account whose deposit it is
	Key     []byte `cbor:"key"`     // compressed secp256k1 key that signs vouchers
	Denom   string `cbor:"denom"`   // asset
	Deposit uint64 `cbor:"deposit"` // base units, at first; a top-up is known to the chain alone
	// Jury tells that the payer signs, with each voucher, the root of the results that it pays for, so that jurors can be shown any of them.
	Jury bool `cbor:"jury,omitempty"`
}

// Lease is signed terms. A provider needs to keep no record of a lease: its own signature proves it.
type Lease struct {
	Terms     Terms  `cbor:"terms"`
	Requester []byte `cbor:"requester"` // signature
	Provider  []byte `cbor:"provider,omitempty"`
}

// The reasons for which a lease is not taken as one.
var (
	ErrExpired   = errors.New("lease has expired")
	ErrSignature = errors.New("signature is wrong")
)

const domain = "hpips/lease/v1\n"

// ID names a lease: the content address of its terms without serial and end, so that an extension keeps it.
func (t Terms) ID() string {
	t.Serial, t.Until = 0, 0
	return canon.ID(canon.MustEncode(t)).String()
}

// Digest is the SHA-256 in the ID.
func (t Terms) Digest() [32]byte {
	t.Serial, t.Until = 0, 0
	return sha256.Sum256(canon.MustEncode(t))
}

// Key is the lease as the chain knows it once its payer has opened it; terms without pay have none that means anything.
func (t Terms) Key() voucher.ID {
	var payer string
	if t.Pay != nil {
		payer = t.Pay.Payer
	}
	return voucher.LeaseID(payer, t.Digest())
}

// signed returns the bytes that both sides sign.
func (t Terms) signed() []byte { return append([]byte(domain), canon.MustEncode(t)...) }

// Sign returns the signature of the terms by key.
func (t Terms) Sign(key crypto.PrivKey) ([]byte, error) {
	sig, err := key.Sign(t.signed())
	if err != nil {
		return nil, fmt.Errorf("sign lease: %w", err)
	}
	return sig, nil
}

// ID is the identity of the lease's terms.
func (l Lease) ID() string { return l.Terms.ID() }

// CheckRequester checks the terms' shape at the time now (Unix milliseconds) and the requester's signature.
func (l Lease) CheckRequester(now int64) error {
	t := l.Terms
	switch {
	case t.Order.Slots <= 0 || t.Quote.Slots <= 0 || t.Quote.Slots > t.Order.Slots:
		return fmt.Errorf("lease: %d slots of %d ordered are not possible", t.Quote.Slots, t.Order.Slots)
	case t.Until <= t.From || t.Until-t.From > MaxTerm.Milliseconds()*int64(t.Serial+1):
		return fmt.Errorf("lease: a term of %v is not possible", time.Duration(t.Until-t.From)*time.Millisecond)
	case t.Until <= now:
		return fmt.Errorf("lease: %w", ErrExpired)
	}
	if err := t.checkPay(); err != nil {
		return err
	}
	return check(t, t.Order.Requester, l.Requester)
}

// checkPay requires that somebody pays for what has a price, and nobody for what has none.
func (t Terms) checkPay() error {
	p := t.Pay
	switch {
	case p == nil && t.Quote.Rates.Free():
		return nil
	case p == nil:
		return errors.New("lease: its work has a price and nobody pays")
	case t.Quote.Rates.Free():
		return errors.New("lease: it pays for work without a price")
	case p.Chain == "" || len(p.Chain) > voucher.MaxChain:
		return fmt.Errorf("lease: a chain ID of %d bytes is not possible", len(p.Chain))
	case p.Payer == "" || len(p.Payer) > maxPayer || p.Denom == "" || len(p.Denom) > maxDenom:
		return errors.New("lease: it does not say who pays, or in what")
	case len(p.Key) != voucher.KeySize || p.Key[0] != 2 && p.Key[0] != 3:
		return errors.New("lease: its voucher key is no compressed secp256k1 key")
	case p.Deposit == 0:
		return errors.New("lease: nothing is deposited for its work")
	}
	return nil
}

// Check is CheckRequester and the provider's signature as well.
func (l Lease) Check(now int64) error {
	if err := l.CheckRequester(now); err != nil {
		return err
	}
	return check(l.Terms, l.Terms.Quote.Provider, l.Provider)
}

// check verifies one signature; an ed25519 peer ID holds its public key.
func check(t Terms, id string, sig []byte) error {
	p, err := peer.Decode(id)
	if err != nil {
		return fmt.Errorf("lease: peer %q: %w", id, err)
	}
	key, err := p.ExtractPublicKey()
	if err != nil {
		return fmt.Errorf("lease: peer %q holds no key: %w", id, err)
	}
	if ok, err := key.Verify(t.signed(), sig); err != nil || !ok {
		return fmt.Errorf("lease: %w of %s", ErrSignature, id)
	}
	return nil
}
