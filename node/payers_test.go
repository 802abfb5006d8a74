package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cosmossdk.io/log/v2"
	abci "github.com/cometbft/cometbft/abci/types"
	cmtbytes "github.com/cometbft/cometbft/libs/bytes"
	rpcclient "github.com/cometbft/cometbft/rpc/client"
	coretypes "github.com/cometbft/cometbft/rpc/core/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/chaintest"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/money"
)

// oneBlock is a chain as it is after its first block, behind the part of its RPC that answers questions.
type oneBlock struct {
	rpcclient.Client
	app *chain.App
}

func (o *oneBlock) ABCIQueryWithOptions(ctx context.Context, path string, data cmtbytes.HexBytes, _ rpcclient.ABCIQueryOptions) (*coretypes.ResultABCIQuery, error) {
	r, err := o.app.Query(ctx, &abci.RequestQuery{Path: path, Data: data})
	if err != nil {
		return nil, err
	}
	return &coretypes.ResultABCIQuery{Response: *r}, nil
}

func newOneBlock(t *testing.T, g chain.Genesis, alice chaintest.Person) *ledger.Ledger {
	t.Helper()
	doc, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	app, err := chain.New(chain.Options{ChainID: doc.ChainID, DB: dbm.NewMemDB(), Log: log.NewNopLogger(), VRF: alice.VRF, Calm: func() time.Duration { return time.Hour }})
	if err != nil {
		t.Fatal(err)
	}
	params := doc.ConsensusParams.ToProto()
	_, err1 := app.InitChain(&abci.RequestInitChain{ChainId: doc.ChainID, Time: doc.GenesisTime, ConsensusParams: &params, AppStateBytes: doc.AppState, InitialHeight: doc.InitialHeight})
	at := doc.GenesisTime.Add(time.Second)
	block, err2 := app.PrepareProposal(&abci.RequestPrepareProposal{Height: doc.InitialHeight, Time: at, MaxTxBytes: 1 << 20, ProposerAddress: alice.ConsensusAddress()})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	_, err1 = app.FinalizeBlock(&abci.RequestFinalizeBlock{Height: doc.InitialHeight, Time: at, Txs: block.Txs, ProposerAddress: alice.ConsensusAddress()})
	_, err2 = app.Commit()
	l, err3 := ledger.New(&oneBlock{app: app}, ledger.Default())
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return l
}

// Alice lets her node pay. So do a hundred strangers, whose addresses are listed before hers and after: nothing changes by that, also if she has not named
// her account, or names one that allows nothing. Another account of hers pays as soon as she names it, and then a stranger's right does not count either.
func TestOnlyWhoTheOwnerNamesPays(t *testing.T) {
	alice, savings, empty := chaintest.New("alice"), chaintest.New("alice's savings"), chaintest.New("alice's empty account")
	home := t.TempDir()
	secret, err1 := spendSecret(home)
	spend, err2 := LoadSpendKey(home)
	g, err3 := chaintest.Genesis("hpips-test-1", alice)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	people := []chaintest.Person{alice, savings}
	var before, after int
	for i := range 100 {
		mallory := chaintest.New(fmt.Sprint("mallory ", i))
		if people = append(people, mallory); bytes.Compare(mallory.Account(), alice.Account()) < 0 {
			before++
		} else {
			after++
		}
	}
	if before == 0 || after == 0 {
		t.Fatalf("%d strangers are listed before alice, %d after", before, after)
	}
	for _, p := range people {
		g.Allowances = append(g.Allowances, chain.Allowance{Owner: p.Address(), Spender: spend.Address(), Daily: money.Scale})
	}
	l := newOneBlock(t, g, alice)
	till := &till{log: slog.New(slog.NewTextHandler(t.Output(), nil)), dir: home, spend: spend, secret: secret, key: alice.Node,
		chain:  &chaining{genesis: &genesis{summary: chain.Summary{ChainID: "hpips-test-1", Day: time.Hour}}, life: &chainLife{ledger: l}},
		opened: make(chan struct{}), payers: map[string]*pay.Payer{}, others: map[peer.ID]known{}}
	if err := os.MkdirAll(filepath.Dir(till.path(payerFile)), 0o700); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := till.close(); err != nil {
			t.Error(err)
		}
	}()
	pays := func(self chaintest.Person) string {
		t.Helper()
		till.looked, till.self = time.Time{}, peerOf(t, self)
		if err := till.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		return till.pays
	}
	if who := pays(chaintest.New("a newcomer")); who != "" {
		t.Errorf("%s pays for a node that nobody registered, and whose owner named nobody", who)
	}
	if who := pays(alice); who != alice.Address() {
		t.Errorf("%s pays, and the owner is %s", who, alice.Address())
	}
	for _, row := range []struct{ named, want chaintest.Person }{{empty, alice}, {savings, savings}, {empty, savings}, {alice, alice}} {
		if err := NamePayer(home, row.named.Address()); err != nil {
			t.Fatal(err)
		}
		if who := pays(alice); who != row.want.Address() {
			t.Errorf("%s is named, and %s pays", row.named.Name, who)
		}
	}
	if text, err := os.ReadFile(till.path(payerFile)); err != nil || strings.TrimSpace(string(text)) != alice.Address() {
		t.Errorf("the file names %q, %v", text, err)
	}

	// From here on every question is an error: none is asked until a block comes, or alice names somebody.
	till.chain.told.Store(7)
	pays(alice)
	nobody, err := ledger.Open("http://127.0.0.1:1", ledger.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer nobody.Close()
	till.chain.life = &chainLife{ledger: nobody}
	if who := pays(alice); who != alice.Address() {
		t.Errorf("%s pays, and nothing has happened", who)
	}
	if till.looked.IsZero() {
		t.Error("what was seen to is seen to again at once")
	}
	asks := func() bool { till.looked = time.Time{}; return till.look(t.Context()) != nil }
	if err := NamePayer(home, empty.Address()); err != nil {
		t.Fatal(err)
	}
	if !asks() {
		t.Error("alice names another account, and the chain is not asked about it")
	}
	if err := NamePayer(home, alice.Address()); err != nil {
		t.Fatal(err)
	}
	till.named, _ = namedPayers(home)
	for range 2 {
		if asks() {
			t.Error("the chain is asked though nothing has happened")
		}
	}
	if till.chain.told.Add(1); !asks() {
		t.Error("a block came, and the chain is not asked")
	}
	till.chain.told.Store(0) // the chain node tells of no blocks
	till.told = 0
	if !asks() {
		t.Error("nobody tells of blocks, and the chain is not asked")
	}
}

func TestPayersAreRemembered(t *testing.T) {
	home := t.TempDir()
	if err := NamePayer(home, "bob"); err == nil {
		t.Error("bob is no address")
	}
	var want []string
	for i := range mostPayers + 2 {
		a := chaintest.New(fmt.Sprint(i)).Address()
		if err := NamePayer(home, a); err != nil {
			t.Fatal(err)
		}
		want = append(want, a)
	}
	want = want[2:]
	if got, err := namedPayers(home); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	away := errors.New("away")
	if _, err := payerOf(want, "", func(string) (bool, error) { return false, away }); !errors.Is(err, away) {
		t.Errorf("a chain that does not answer says %v", err)
	}
}

func peerOf(t *testing.T, p chaintest.Person) peer.ID {
	t.Helper()
	key := p.ID()
	id, err := peer.Decode(ledger.NodeText(key[:]))
	if err != nil {
		t.Fatal(err)
	}
	return id
}
