package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	sdkmath "cosmossdk.io/math"
	"github.com/cosmos/cosmos-sdk/client/grpc/node"
	cryptotypes "github.com/cosmos/cosmos-sdk/crypto/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/tx/signing"
	authsigning "github.com/cosmos/cosmos-sdk/x/auth/signing"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"

	"github.com/hpips/hpips/spec/money"
)

// Signer signs for one account and keeps its secret to itself.
type Signer interface {
	Address() string
	Public() cryptotypes.PubKey
	Mode() signing.SignMode
	Sign(words []byte) ([]byte, error)
}

// Order is a transaction to be sent.
type Order struct {
	Signer   Signer
	Messages []Message
	Memo     string
	Payer    string // address that pays the fee by a grant; "": the signer
	Gas      uint64 // 0: as the node simulates, and 40 % or spareGas more
}

// Cost is what a transaction will take at most. The fee is taken whole.
type Cost struct {
	Gas uint64       `json:"gas"`
	Fee money.Amount `json:"fee"`
}

// Receipt is a transaction in a block.
type Receipt struct {
	Hash   string       `json:"tx"`
	Height int64        `json:"height"`
	Index  int          `json:"index"`
	Gas    int64        `json:"gas"`
	Fee    money.Amount `json:"fee"`
	Events []Event      `json:"-"`

	refused *Refused // what its block says of it
}

// refusal is the error of a transaction that its block holds as failed.
func (r Receipt) refusal() error {
	if r.refused == nil {
		return nil
	}
	return r.refused
}

// Send signs messages by one account, hands them in as one transaction, and waits for the block that holds it. It is safe side by side,
// also for one account. With ErrOpen the outcome is not known: ask Tx before sending the like again. Any other error means that
// nothing happened but perhaps the fee.
func (l *Ledger) Send(ctx context.Context, s Signer, messages ...Message) (Receipt, error) {
	return l.Deliver(ctx, Order{Signer: s, Messages: messages})
}

// Estimate says what an order would cost now, and whether the chain would take it, without sending it.
func (l *Ledger) Estimate(ctx context.Context, o Order) (Cost, error) {
	a := l.account(o.Signer.Address())
	if err := a.lock(ctx); err != nil {
		return Cost{}, err
	}
	defer a.unlock()
	var cost Cost
	err := l.inTurn(ctx, a, func() (err error) {
		cost, err = l.cost(ctx, a, o)
		return err
	})
	return cost, err
}

// Deliver sends an order. An order that other transactions of the account have crowded out for certain is signed anew.
func (l *Ledger) Deliver(ctx context.Context, o Order) (Receipt, error) {
	ctx, stop := context.WithTimeoutCause(ctx, l.config.Patience, errPatience)
	defer stop()
	for {
		s, err := l.submit(ctx, o)
		if err != nil {
			return Receipt{}, l.impatient(ctx, err)
		}
		r, err := l.outcome(ctx, s)
		if !errors.Is(err, errCrowded) {
			return r, err
		}
	}
}

var (
	errPatience = errors.New("no block took it in time")
	errCrowded  = errors.New("another transaction took its place")
)

// impatient puts the end of patience into words.
func (l *Ledger) impatient(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && context.Cause(ctx) == errPatience {
		return fmt.Errorf("the chain at %s took nothing for %s: %w", l.place, l.config.Patience, err)
	}
	return err
}

// sent is a signed transaction that was handed in.
type sent struct {
	from  string
	seq   uint64
	bytes []byte
	hash  [32]byte
	since int64 // it was handed in after this block
	fee   money.Amount
	found <-chan Receipt
}

func (s *sent) name() string { return strings.ToUpper(hex.EncodeToString(s.hash[:])) }

// account is what the ledger remembers of one that it sends for. Who holds turn may use the fields.
type account struct {
	address string
	turn    chan struct{}
	known   bool
	number  uint64
	next    uint64  // sequence of the next transaction
	waiting []*sent // handed in and not known to be in a block, by sequence
	retried time.Time
}

func (a *account) lock(ctx context.Context) error {
	select {
	case a.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *account) unlock() { <-a.turn }

func (l *Ledger) account(address string) *account {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.accounts[address]
	if a == nil {
		a = &account{address: address, turn: make(chan struct{}, 1)}
		l.accounts[address] = a
	}
	return a
}

// learn asks the chain for an account's number and the sequence that its last block left.
func (l *Ledger) learn(ctx context.Context, a *account) (sequence uint64, err error) {
	r, err := authtypes.NewQueryClient(l.now()).Account(ctx, &authtypes.QueryAccountRequest{Address: a.address})
	if err != nil {
		return 0, err
	}
	var acc sdk.AccountI
	if err := l.words.registry.UnpackAny(r.Account, &acc); err != nil {
		return 0, fmt.Errorf("account %s: %w", a.address, err)
	}
	a.number = acc.GetAccountNumber()
	return acc.GetSequence(), nil
}

// inTurn runs try, which uses the account's next sequence, and once more for as long as the chain names another.
func (l *Ledger) inTurn(ctx context.Context, a *account, try func() error) error {
	const enough = 100 // each time another program that sends from the account was faster
	for i := 0; ; i++ {
		if !a.known {
			seq, err := l.learn(ctx, a)
			if err != nil {
				return err
			}
			a.known, a.next = true, seq
		}
		err := try()
		var r *Refused
		if !errors.As(err, &r) || !r.is(root, codeSequence) || i == enough {
			return err
		}
		want, ok := r.expects()
		a.known = ok
		a.next = want
	}
}

// submit signs an order and hands it in. It returns as soon as the transaction may be on its way, known or not.
func (l *Ledger) submit(ctx context.Context, o Order) (*sent, error) {
	since, err := l.head(ctx)
	if err != nil {
		return nil, err
	}
	a := l.account(o.Signer.Address())
	if err := a.lock(ctx); err != nil {
		return nil, err
	}
	defer a.unlock()
	var s *sent
	err = l.inTurn(ctx, a, func() error {
		cost, err := l.cost(ctx, a, o)
		if err != nil {
			return err
		}
		text, err := l.sign(ctx, a, o, cost)
		if err != nil {
			return err
		}
		s = &sent{from: a.address, seq: a.next, bytes: text, hash: sha256.Sum256(text), since: since, fee: cost.Fee}
		s.found = l.lookout.watch(s.hash, since)
		if err = l.hand(ctx, s.bytes); err != nil {
			l.lookout.forget(s.hash)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	a.next = s.seq + 1
	a.waiting = append(a.waiting, s)
	slices.SortFunc(a.waiting, func(x, y *sent) int { return int(int64(x.seq - y.seq)) })
	return s, nil
}

// hand gives the bytes of a transaction to the node. Without an error it has them, or may have them: a link that broke in between is none.
func (l *Ledger) hand(ctx context.Context, bytes []byte) error {
	r, err := l.rpc.BroadcastTxSync(ctx, bytes)
	switch {
	case err == nil && r.Code == 0:
		return nil
	case err == nil:
		return refused(r.Codespace, r.Code, r.Log)
	case strings.Contains(err.Error(), "mempool is full"):
		return refused(root, codeFull, "mempool is full")
	case strings.Contains(err.Error(), "ax size is"), strings.Contains(err.Error(), "x too large"):
		return refused(root, codeLarge, err.Error())
	}
	return nil // it has the transaction already, or the link broke: outcome finds out
}

// outcome waits for the block that holds a transaction. Meanwhile it hands the account's waiting transactions in again, should the
// node have lost them, and looks whether this one can land at all.
func (l *Ledger) outcome(ctx context.Context, s *sent) (Receipt, error) {
	every := max(10*l.config.Poll, time.Second/4)
	tick := time.NewTicker(every)
	defer tick.Stop()
	var lost error
	for {
		select {
		case r := <-s.found:
			return l.landed(s, r)
		case <-ctx.Done():
			why := context.Cause(ctx)
			if lost != nil {
				why = lost
			}
			return Receipt{}, &open{s.name(), why.Error()}
		case <-tick.C:
		}
		r, settled, err := l.look(ctx, s, every)
		switch {
		case settled && err == nil:
			return l.landed(s, r)
		case settled:
			l.lookout.forget(s.hash)
			return Receipt{}, err
		}
		lost = err
	}
}

// landed is the outcome of a transaction that a block holds.
func (l *Ledger) landed(s *sent, r Receipt) (Receipt, error) {
	r.Fee = s.fee
	return r, r.refusal()
}

// look hands in again what waits, and finds out whether s landed, or never can. settled: it is known.
func (l *Ledger) look(ctx context.Context, s *sent, every time.Duration) (r Receipt, settled bool, err error) {
	a := l.account(s.from)
	if err := a.lock(ctx); err != nil {
		return r, false, err
	}
	defer a.unlock()
	height, err := l.head(ctx)
	if err != nil {
		return r, false, err
	}
	committed, err := l.learn(ctx, a)
	if err != nil {
		return r, false, err
	}
	if committed > s.seq { // a block up to now used its sequence: it is there, or never will be
		last, err := l.head(ctx)
		if err != nil {
			return r, false, err
		}
		r, err := l.search(ctx, s.hash, s.since+1, max(height, last))
		if err == nil || errors.Is(err, errCrowded) {
			a.waiting = slices.DeleteFunc(a.waiting, func(w *sent) bool { return w.seq < committed })
			return r, true, err
		}
		return r, false, err
	}
	if time.Since(a.retried) < every {
		return r, false, nil
	}
	a.waiting = slices.DeleteFunc(a.waiting, func(w *sent) bool { return w.seq < committed })
	a.retried = time.Now()
	for _, w := range a.waiting {
		if err = l.hand(ctx, w.bytes); err == nil {
			continue
		}
		var no *Refused
		if errors.As(err, &no) && no.is(root, codeSequence) {
			if want, ok := no.expects(); ok && want < w.seq {
				a.known = false // an earlier one is missing: the next new one takes its place
			}
		}
	}
	return r, false, err
}

// search looks for a transaction in blocks, not in the index, which lags behind them.
func (l *Ledger) search(ctx context.Context, hash [32]byte, from, to int64) (Receipt, error) {
	for h := max(from, 1); h <= to; h++ {
		found, err := l.inBlock(ctx, h, func(have [32]byte) bool { return have == hash })
		if err != nil {
			return Receipt{}, err
		}
		if r, ok := found[hash]; ok {
			return r, nil
		}
	}
	return Receipt{}, errCrowded
}

// price is what a unit of gas costs.
type price struct{ each sdkmath.LegacyDec }

func (l *Ledger) gasPrice(ctx context.Context) (sdkmath.LegacyDec, error) {
	l.mu.Lock()
	known := l.price
	l.mu.Unlock()
	if known != nil {
		return known.each, nil
	}
	text := l.config.GasPrice
	if text == "" {
		r, err := node.NewServiceClient(l.now()).Config(ctx, &node.ConfigRequest{})
		var no *Refused
		if err != nil && !errors.As(err, &no) {
			return sdkmath.LegacyDec{}, err
		}
		if r != nil {
			text = r.MinimumGasPrice
		}
	}
	coins, err := sdk.ParseDecCoins(text)
	if err != nil {
		return sdkmath.LegacyDec{}, fmt.Errorf("gas price %q: %w", text, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.price = &price{coins.AmountOf(money.Denom)}
	return l.price.each, nil
}

// spareGas is the least that an order may use beyond what the node simulates: a vote or a day that begins in between has each transfer write a few entries more.
const spareGas = 60_000

// cost simulates an order and reckons its fee.
func (l *Ledger) cost(ctx context.Context, a *account, o Order) (Cost, error) {
	each, err := l.gasPrice(ctx)
	if err != nil {
		return Cost{}, err
	}
	gas := o.Gas
	if gas == 0 {
		used, err := l.simulate(ctx, a, o)
		if err != nil {
			return Cost{}, err
		}
		gas = used + max(used*2/5, spareGas) // the state moves on between the question and the block
	}
	fee, err := feeOf(gas, each)
	if err != nil {
		return Cost{}, err
	}
	return Cost{gas, fee}, nil
}

// feeOf is what an amount of gas costs at a price, rounded up.
func feeOf(gas uint64, each sdkmath.LegacyDec) (money.Amount, error) {
	fee := each.MulInt(sdkmath.NewIntFromUint64(gas)).Ceil().TruncateInt()
	if !fee.IsUint64() || fee.Uint64() > uint64(money.Total) {
		return 0, fmt.Errorf("a fee of %s%s is more than exists", fee, money.Denom)
	}
	return money.Amount(fee.Uint64()), nil
}

func (l *Ledger) simulate(ctx context.Context, a *account, o Order) (uint64, error) {
	text, err := l.unsigned(a, o, Cost{})
	if err != nil {
		return 0, err
	}
	got, err := l.rpc.ABCIQuery(ctx, "/app/simulate", text)
	if err != nil {
		return 0, l.unreachable(ctx, err)
	}
	if r := got.Response; r.Code != 0 {
		return 0, refused(r.Codespace, r.Code, strings.TrimPrefix(r.Log, "failed to simulate tx: "))
	}
	var answer struct {
		Gas struct {
			Used json.Number `json:"gas_used"`
		} `json:"gas_info"`
	}
	if err := json.Unmarshal(got.Response.Value, &answer); err != nil {
		return 0, fmt.Errorf("simulation: %w", err)
	}
	used, err := answer.Gas.Used.Int64()
	return uint64(used), err
}

// unsigned writes an order with an empty signature, as simulation takes it.
func (l *Ledger) unsigned(a *account, o Order, c Cost) ([]byte, error) {
	b, err := l.draft(a, o, c)
	if err != nil {
		return nil, err
	}
	return l.words.tx.TxEncoder()(b.GetTx())
}

// builder is what of the SDK's transaction builder is used.
type builder interface {
	GetTx() authsigning.Tx
	SetSignatures(...signing.SignatureV2) error
}

func (l *Ledger) draft(a *account, o Order, c Cost) (builder, error) {
	b := l.words.tx.NewTxBuilder()
	if err := b.SetMsgs(o.Messages...); err != nil {
		return nil, fmt.Errorf("transaction: %w", err)
	}
	b.SetMemo(o.Memo)
	b.SetGasLimit(c.Gas)
	if c.Fee > 0 {
		b.SetFeeAmount(coins(c.Fee))
	}
	if o.Payer != "" {
		granter, err := addressBytes(o.Payer)
		if err != nil {
			return nil, err
		}
		b.SetFeeGranter(granter)
	}
	return b, b.SetSignatures(a.signature(o.Signer, nil))
}

func (a *account) signature(s Signer, text []byte) signing.SignatureV2 {
	return signing.SignatureV2{PubKey: s.Public(), Sequence: a.next, Data: &signing.SingleSignatureData{SignMode: s.Mode(), Signature: text}}
}

// sign writes an order with its signature.
func (l *Ledger) sign(ctx context.Context, a *account, o Order, c Cost) ([]byte, error) {
	chain, err := l.Chain(ctx)
	if err != nil {
		return nil, err
	}
	b, err := l.draft(a, o, c)
	if err != nil {
		return nil, err
	}
	data := authsigning.SignerData{Address: a.address, ChainID: chain, AccountNumber: a.number, Sequence: a.next, PubKey: o.Signer.Public()}
	words, err := authsigning.GetSignBytesAdapter(ctx, l.words.tx.SignModeHandler(), o.Signer.Mode(), data, b.GetTx())
	if err != nil {
		return nil, fmt.Errorf("transaction: %w", err)
	}
	text, err := o.Signer.Sign(words)
	if err != nil {
		return nil, fmt.Errorf("sign for %s: %w", a.address, err)
	}
	if err := b.SetSignatures(a.signature(o.Signer, text)); err != nil {
		return nil, err
	}
	return l.words.tx.TxEncoder()(b.GetTx())
}

// Free hands in one of the messages that cost nothing and carry their own proof, and does not wait for a block.
// The chain tells a repetition from a new one by itself, so it may be called again.
func (l *Ledger) Free(ctx context.Context, m Message) (hash string, err error) {
	text, err := l.free(m)
	if err != nil {
		return "", err
	}
	return l.handFree(ctx, text)
}

// free writes a message that needs no account.
func (l *Ledger) free(m Message) ([]byte, error) {
	b := l.words.tx.NewTxBuilder()
	if err := b.SetMsgs(m); err != nil {
		return nil, fmt.Errorf("free message: %w", err)
	}
	text, err := l.words.tx.TxEncoder()(b.GetTx())
	if err != nil {
		return nil, fmt.Errorf("free message: %w", err)
	}
	return text, nil
}

func (l *Ledger) handFree(ctx context.Context, text []byte) (hash string, err error) {
	sum := sha256.Sum256(text)
	hash = strings.ToUpper(hex.EncodeToString(sum[:]))
	r, err := l.rpc.BroadcastTxSync(ctx, text)
	switch {
	case err != nil && strings.Contains(err.Error(), "already exists in cache"):
		return hash, nil
	case err != nil:
		return "", l.unreachable(ctx, err)
	case r.Code != 0:
		return "", refused(r.Codespace, r.Code, r.Log)
	}
	return hash, nil
}

func coins(a money.Amount) sdk.Coins {
	return sdk.NewCoins(sdk.NewCoin(money.Denom, sdkmath.NewIntFromUint64(uint64(a))))
}

// FreeAwait is Free, and waits for the block that holds the message. With ErrOpen the outcome is not known.
func (l *Ledger) FreeAwait(ctx context.Context, m Message) (hash string, err error) {
	ctx, stop := context.WithTimeoutCause(ctx, l.config.Patience, errPatience)
	defer stop()
	since, err := l.head(ctx)
	if err != nil {
		return "", err
	}
	text, err := l.free(m)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	found := l.lookout.watch(sum, since)
	if hash, err = l.handFree(ctx, text); err != nil {
		l.lookout.forget(sum)
		return hash, err
	}
	select {
	case r := <-found:
		return hash, r.refusal()
	case <-ctx.Done():
		l.lookout.forget(sum)
		return hash, &open{hash, context.Cause(ctx).Error()}
	}
}
