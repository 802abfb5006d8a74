package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

// The files of a member about money.
const (
	payBook   = "pay.db" // promises of others, until they are redeemed
	payerFile = "payer"  // the account that lets this node pay, as last seen on the chain
)

// till is a node's money: it pays for the node's jobs and takes in what others promise for its work. Which chain, whose account and who is paid comes
// to be known while the node runs; until then nothing is paid and nothing is taken. Whose account pays is the owner's word, never that of who gives a right.
type till struct {
	log   *slog.Logger
	dir   string
	chain *chaining // of this node, or of another one in the same process
	spend *ledger.Secret
	key   ed25519.PrivateKey
	self  peer.ID

	secret []byte // of spend

	mu     sync.Mutex
	payers map[string]*pay.Payer // by account: leases stay with that which pays for them
	pays   string                // account that lets this node pay now; "": none does
	payee  *pay.Payee
	opened chan struct{} // closed when payee is there
	owner  string        // of this node, as registered
	looked time.Time     // when it was last seen to whether there is something to ask
	asked  time.Time
	told   uint64   // blocks that were told of when it was asked
	named  []string // whom the node's owner had named then
	wrote  string   // what payerFile says
	others map[peer.ID]known
}

// known is whose a peer is, for a while.
type known struct {
	owner string
	until time.Time
}

// openTill opens what an earlier life has left.
func openTill(m *member, chain *chaining) (*till, error) {
	raw, err := m.key.Raw()
	if err != nil {
		return nil, err
	}
	secret, err := spendSecret(m.dir)
	if err != nil {
		return nil, err
	}
	spend, err := ledger.KeySigner(secret)
	if err != nil {
		return nil, err
	}
	t := &till{secret: secret, log: m.log.With("room", "pay"), dir: m.dir, chain: chain, spend: spend, key: raw, self: m.host.ID(), opened: make(chan struct{}), payers: map[string]*pay.Payer{}, others: map[peer.ID]known{}}
	text, err := os.ReadFile(t.path(payerFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wrote = strings.TrimSpace(string(text))
	if err := t.open(t.wrote); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *till) path(name string) string { return filepath.Join(t.dir, chainDir, name) }

// window is the ledger, nil while no chain node runs.
func (t *till) window() *ledger.Ledger {
	if life := t.chain.running(); life != nil {
		return life.ledger
	}
	return nil
}

// open opens payee and payer as far as the chain and the account are known. Needs t.mu.
func (t *till) open(account string) error {
	g := t.chain.known()
	if g == nil {
		return nil
	}
	if t.payee == nil {
		cfg := pay.DefaultPayee(g.summary.Day)
		cfg.Path, cfg.Key = filepath.Join(t.dir, payBook), t.key
		payee, err := pay.OpenPayee(t.log, t.purse(g, ""), cfg)
		if err != nil {
			return err
		}
		t.payee = payee
		close(t.opened)
	}
	if account == "" {
		return nil
	}
	_, err := t.payer(g, account)
	if err == nil && t.pays != account {
		t.log.Debug("An account lets this node pay", "account", account, "before", t.pays)
		t.pays = account
	}
	return err
}

func (t *till) purse(g *genesis, account string) *purse {
	return &purse{chain: g.summary.ChainID, owner: account, spend: t.spend, node: t.key.Public().(ed25519.PublicKey), window: t.window}
}

// paysFrom tells whether this node pays, or once paid, in an account's name.
func (t *till) paysFrom(account string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.payers[account] != nil
}

// payer is what pays in an account's name. Needs t.mu.
func (t *till) payer(g *genesis, account string) (*pay.Payer, error) {
	if p := t.payers[account]; p != nil {
		return p, nil
	}
	p, err := pay.NewPayer(t.purse(g, account), pay.PayerConfig{Account: account, Secret: t.secret})
	if err == nil {
		t.payers[account] = p
	}
	return p, err
}

// String names the service.
func (t *till) String() string { return "till" }

// Serve redeems what others promised, and looks who lets this node pay and who is paid for its work.
func (t *till) Serve(ctx context.Context) error {
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() {
		select {
		case <-t.opened:
			if err := t.payee.Serve(ctx); err != nil && ctx.Err() == nil {
				t.log.Error("Redeeming has ended", "err", err)
			}
		case <-ctx.Done():
		}
	})
	opened, tick := t.opened, time.NewTicker(500*time.Millisecond) // until the chain is known
	defer tick.Stop()
	for {
		if err := t.look(ctx); err != nil && ctx.Err() == nil {
			t.log.Debug("The chain does not say who pays", "err", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-opened:
			opened = nil
			tick.Reset(lookSoon)
		case <-tick.C:
		}
	}
}

// close closes the book. Serve must have returned.
func (t *till) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.payee == nil {
		return nil
	}
	return t.payee.Close()
}

// Times between two looks at what seldom changes, and at what is awaited: an allowance, a registration.
const (
	lookAgain   = 30 * time.Second
	lookSoon    = 3 * time.Second
	rememberFor = time.Minute
)

// look asks the chain whose this node is, and which of the accounts that its owner named lets it pay, or the owner's.
func (t *till) look(ctx context.Context) error {
	t.mu.Lock()
	again := lookSoon
	if t.pays != "" && t.owner != "" {
		again = lookAgain
	}
	settled := time.Since(t.looked) < again-lookSoon/2 // the tick is not exact
	t.mu.Unlock()
	w := t.window()
	if settled || w == nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.open("")
	}
	told := t.chain.told.Load()
	named, err := namedPayers(t.dir)
	if err != nil {
		return err
	}
	if t.same(told, named) {
		return nil
	}
	owner, err := t.ownerOf(ctx, w, t.self)
	if err != nil {
		return err
	}
	account, err := payerOf(named, owner, func(account string) (bool, error) { return w.Allows(ctx, account, t.spend.Address()) })
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked, t.told, t.named = time.Now(), told, named
	t.looked = t.asked
	if t.owner == "" && owner != "" {
		t.log.Info("Work of this node is paid to", "account", owner)
	}
	t.owner = owner
	if err := t.open(account); err != nil || account == "" || account == t.wrote {
		return err
	}
	if err := writeWhole(t.path(payerFile), []byte(account+"\n")); err != nil {
		return err
	}
	t.wrote = account
	return nil
}

// same tells whether the chain would say the same again: no block came, and the node's owner has named nobody else.
func (t *till) same(told uint64, named []string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if told == 0 || told != t.told || time.Since(t.asked) >= lookAgain || !slices.Equal(named, t.named) {
		return false
	}
	t.looked = time.Now()
	return true
}

// ownerOf is whose a registered node is; "": it is not registered.
func (t *till) ownerOf(ctx context.Context, w *ledger.Ledger, p peer.ID) (string, error) {
	key, err := ledger.NodeKey(p.String())
	if err != nil {
		return "", err
	}
	n, err := w.Node(ctx, key)
	if ledger.IsNotFound(err) || err == nil && n.Standing != "active" {
		return "", nil
	}
	return n.Owner, err
}

// account is who is paid for this node's work.
func (t *till) account(label string) func() market.Account {
	return func() market.Account {
		g := t.chain.known()
		if g == nil {
			return market.Account{Owner: label}
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.owner == "" {
			return market.Account{Owner: label, Chain: g.summary.ChainID, Why: "its owner has not registered it on the chain, so it cannot be paid"}
		}
		return market.Account{Owner: t.owner, Chain: g.summary.ChainID}
	}
}

// ours reports whether a peer is of this node's owner; without a till nobody is known to be.
func (t *till) ours(p peer.ID) bool {
	if t == nil {
		return false
	}
	t.mu.Lock()
	mine, k := t.owner, t.others[p]
	t.mu.Unlock()
	if mine == "" {
		return false
	}
	if time.Now().After(k.until) {
		w := t.window()
		if w == nil {
			return false
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		owner, err := t.ownerOf(ctx, w, p)
		if err != nil {
			return false
		}
		k = known{owner, time.Now().Add(rememberFor)}
		t.mu.Lock()
		if len(t.others) > 4096 {
			clear(t.others)
		}
		t.others[p] = k
		t.mu.Unlock()
	}
	return k.owner == mine
}

// paid is the till as a provider sees it.
type paid struct{ *till }

func (t paid) get() *pay.Payee {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.payee
}

var errNoBook = &job.Failure{Code: job.CodeUnavailable, Message: "this node does not follow the chain yet on which it would be paid", Hint: "see hpips chain status"}

// Funded waits for the deposit of a lease.
func (t paid) Funded(ctx context.Context, l lease.Lease) (uint64, error) {
	if p := t.get(); p != nil {
		return p.Funded(ctx, l)
	}
	return 0, errNoBook
}

// Lease finds a lease whose deposit was seen.
func (t paid) Lease(ctx context.Context, id string) (lease.Lease, bool) {
	if p := t.get(); p != nil {
		return p.Lease(ctx, id)
	}
	return lease.Lease{}, false
}

// Closed tells whether the chain has closed a lease.
func (t paid) Closed(l lease.Lease) bool {
	p := t.get()
	return p != nil && p.Closed(l)
}

// Take takes a promise.
func (t paid) Take(ctx context.Context, l lease.Lease, v lease.Voucher) (uint64, error) {
	if p := t.get(); p != nil {
		return p.Take(ctx, l, v)
	}
	return 0, errNoBook
}

// Did counts results.
func (t paid) Did(l lease.Lease, results []job.Result, statements ...[32]byte) voucher.Usage {
	if p := t.get(); p != nil {
		return p.Did(l, results, statements...)
	}
	return voucher.Usage{}
}

// Taken is how many results are paid for that have their places under a root.
func (t paid) Taken(ctx context.Context, l lease.Lease) uint64 {
	if p := t.get(); p != nil {
		return p.Taken(ctx, l)
	}
	return 0
}

// Lost takes back results that could not be sent.
func (t paid) Lost(l lease.Lease, results []job.Result) {
	if p := t.get(); p != nil {
		p.Lost(l, results)
	}
}

// Unpaid is what was done and not promised.
func (t paid) Unpaid(l lease.Lease) (unpaid, promised uint64) {
	if p := t.get(); p != nil {
		return p.Unpaid(l)
	}
	return 0, 0
}

// Ended tells that a lease is over.
func (t paid) Ended(ctx context.Context, l lease.Lease) {
	if p := t.get(); p != nil {
		p.Ended(ctx, l)
	}
}
