package chain_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	cmttypes "github.com/cometbft/cometbft/types"
	"github.com/cosmos/cosmos-sdk/x/authz"
	"github.com/cosmos/cosmos-sdk/x/feegrant"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/chaintest"
	committeev1 "github.com/hpips/hpips/proto/gen/committeev1"
)

const testChain = "hpips-test-1"

func genesis(t testing.TB, people ...string) chain.Genesis {
	t.Helper()
	var all []chaintest.Person
	for _, name := range people {
		all = append(all, chaintest.New(name))
	}
	g, err := chaintest.Genesis(testChain, all...)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestGenesisAddsUp(t *testing.T) {
	g := genesis(t, "alice", "bob")
	doc, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	s, err := chain.CheckGenesis(doc)
	if err != nil {
		t.Fatal(err)
	}
	want := "investors 15000000000000, founders 10000000000000, operations 15000000000000, community 10000000000000, fund 50000000000000"
	var got []string
	for _, a := range s.Accounts {
		got = append(got, a.Name+" "+a.Amount)
	}
	if text := strings.Join(got, ", "); text != want || s.Total != "100000000000000" {
		t.Errorf("allocated %s of %s", text, s.Total)
	}
	if s.Network != chain.Dev || s.ChainID != testChain || s.Seats != 2 || len(s.Moves) != 2 || s.Moves[0].From != "community" || s.Moves[0].Label != "dev" {
		t.Errorf("%+v", s)
	}
	text, err := chain.GenesisBytes(doc)
	if err != nil {
		t.Fatal(err)
	}
	read, err := chain.ReadGenesis(text)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := chain.CheckGenesis(read); err != nil || again.Hash != s.Hash {
		t.Errorf("read back: hash %s, want %s, %v", again.Hash, s.Hash, err)
	}
	twin, err := g.Build()
	if err != nil || string(twin.AppState) != string(doc.AppState) {
		t.Errorf("the same genesis twice differs, %v", err)
	}
}

func TestPublicAndPoolGenesis(t *testing.T) {
	for _, network := range []string{chain.Public, chain.Pool} {
		g := genesis(t, "alice", "bob", "carol")
		g.Network, g.Grants = network, nil
		g.Seats[0].Guardian, g.Seats[1].Guardian = network == chain.Public, network == chain.Public
		if network == chain.Public {
			g.Grants = []chain.Grant{{Address: chaintest.New("ivan").Address(), Amount: 3_400_000_000_000, From: "investors", Label: "free from the start"}}
		}
		doc, err := g.Build()
		if err != nil {
			t.Fatalf("%s: %v", network, err)
		}
		if s, err := chain.CheckGenesis(doc); err != nil || s.Network != network || (s.Guardians == 2) != (network == chain.Public) {
			t.Errorf("%s: %+v %v", network, s, err)
		}
		// What a ticket asks of a bond is the public chain's alone, and nobody founds that with less.
		asked := `"ticket_bond":"2000000"`
		if strings.Contains(string(doc.AppState), asked) != (network == chain.Public) || !strings.Contains(string(doc.AppState), `"return_seconds":"1209600"`) {
			t.Errorf("%s: bonds are not as they should be", network)
		}
		doc.AppState = json.RawMessage(strings.Replace(string(doc.AppState), asked, `"ticket_bond":"1"`, 1))
		if _, err := chain.CheckGenesis(doc); (err == nil) == (network == chain.Public) {
			t.Errorf("%s: tickets for a bond of 1 uhpips: %v", network, err)
		}
	}
}

func TestImpossibleGenesisIsNotBuilt(t *testing.T) {
	alice := chaintest.New("alice")
	for _, row := range []struct {
		what, says string
		change     func(*chain.Genesis)
	}{
		{"no seats", "0 nodes", func(g *chain.Genesis) { g.Seats = nil }},
		{"a network of carol's", "network", func(g *chain.Genesis) { g.Network = "carol" }},
		{"a registration for another chain", "registered for chain", func(g *chain.Genesis) { g.ChainID = "hpips-other-1" }},
		{"a forged owner", "owner's signature", func(g *chain.Genesis) { g.Seats[0].OwnerSignature[3] ^= 1 }},
		{"a forged node", "signature is wrong", func(g *chain.Genesis) { g.Seats[0].NodeSignature[3] ^= 1 }},
		{"one node twice", "registered before", func(g *chain.Genesis) { g.Seats = append(g.Seats, g.Seats[0]) }},
		{"more than community holds", "grant", func(g *chain.Genesis) { g.Grants[0].Amount = 11_000_000_000_000 }},
		{"money from nowhere", "grant", func(g *chain.Genesis) { g.Grants[0].From = "mint" }},
		{"a move without a name", "grant", func(g *chain.Genesis) { g.Grants[0].Label = "" }},
		{"a guardian on a desk", "guardians", func(g *chain.Genesis) { g.Seats[0].Guardian = true }},
		{"no day", "day_seconds", func(g *chain.Genesis) { g.Tune = func(p *committeev1.Params) { p.DaySeconds = 0 } }},
		{"public money out of community", "public chain moves only", func(g *chain.Genesis) { g.Network = chain.Public }},
		{"public heartbeats of our own", "public parameters", func(g *chain.Genesis) { g.Network, g.EpochBlocks = chain.Public, 30 }},
		{"guardians who decide alone", "2 of 2 seats are guardians, want 1 or none", func(g *chain.Genesis) {
			g.Network, g.Grants = chain.Public, nil
			g.Seats = append(g.Seats, genesis(t, "alice", "bob").Seats[1])
			g.Seats[0].Guardian, g.Seats[1].Guardian = true, true
		}},
		{"guardians who cannot stop anything", "1 of 3 seats are guardians, want 2 or none", func(g *chain.Genesis) {
			g.Network, g.Grants = chain.Public, nil
			g.Seats = genesis(t, "alice", "bob", "carol").Seats
			g.Seats[0].Guardian = true
		}},
		{"public days of our own", "public parameters", func(g *chain.Genesis) { g.Network, g.Day = chain.Public, time.Minute }},
		{"too much of the investors' part", "at most", func(g *chain.Genesis) {
			g.Network = chain.Public
			g.Grants = []chain.Grant{{Address: alice.Address(), Amount: 3_400_000_000_001, From: "investors", Label: "x"}}
		}},
	} {
		g := genesis(t, "alice")
		row.change(&g)
		if _, err := g.Build(); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v", row.what, err)
		}
	}
}

func TestCarolChangesAGenesis(t *testing.T) {
	for _, row := range []struct{ what, old, new, says string }{
		{"money for carol", `"amount":"50000000000000"`, `"amount":"50000000000001"`, ""},
		{"a larger total", `"100000000000000"`, `"100000000000001"`, ""},
		{"a smaller move", `"amount":"1000000000"`, `"amount":"1000000001"`, ""},
		{"other money", `"denom":"uhpips","amount":"50000000000000"`, `"denom":"ucarol","amount":"50000000000000"`, ""},
		{"a module of carol's", `"network":"dev"`, `"mint":{},"network":"dev"`, "no module"},
		{"burning votes", `"burn_vote_veto":false`, `"burn_vote_veto":true`, "burn"},
		{"another kind of network", `"network":"dev"`, `"network":"public"`, ""},
		{"no committee", `"committee":`, `"houses":{},"was":`, ""},
	} {
		doc, err := genesis(t, "alice", "bob").Build()
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(doc.AppState), row.old, row.new, 1)
		if changed == string(doc.AppState) {
			t.Fatalf("%s: nothing to change", row.what)
		}
		doc.AppState = json.RawMessage(changed)
		if _, err := chain.CheckGenesis(doc); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v", row.what, err)
		}
	}
	doc, err := genesis(t, "alice").Build()
	if err != nil {
		t.Fatal(err)
	}
	doc.ConsensusParams.Block.MaxBytes++
	if _, err := chain.CheckGenesis(doc); err == nil {
		t.Error("larger blocks are taken")
	}
	for _, bad := range []string{"", "{}", "null", `{"chain_id":"x"}`, `{"chain_id":"x","validators":[{"power":"1"}]}`} {
		if _, err := chain.ReadGenesis([]byte(bad)); err == nil {
			t.Errorf("%q is taken as a genesis", bad)
		}
	}
	if _, err := chain.CheckGenesis((*cmttypes.GenesisDoc)(nil)); err == nil {
		t.Error("no genesis is taken")
	}
}

func TestASpendingKeyWorksFromTheFirstBlock(t *testing.T) {
	g := genesis(t, "alice")
	bob := chaintest.New("bob")
	g.Allowances = []chain.Allowance{{Owner: chaintest.New("alice").Address(), Spender: bob.Address(), Daily: 5_000_000}}
	doc, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	d := deskOn(t, doc)
	d.block()
	var fees feegrant.QueryAllowanceResponse
	d.ask("/cosmos.feegrant.v1beta1.Query/Allowance", &feegrant.QueryAllowanceRequest{Granter: d.alice.Address(), Grantee: bob.Address()}, &fees)
	var rights authz.QueryGrantsResponse
	d.ask("/cosmos.authz.v1beta1.Query/Grants", &authz.QueryGrantsRequest{Granter: d.alice.Address(), Grantee: bob.Address()}, &rights)
	if fees.Allowance == nil || len(rights.Grants) != 6 { // three errands, three of leases
		t.Errorf("allowance %v, %d rights", fees.Allowance, len(rights.Grants))
	}
	for _, few := range []uint64{0, 2499} {
		g.Allowances[0].Daily = few
		if _, err := g.Build(); err == nil {
			t.Errorf("an allowance of %d is taken", few)
		}
	}
}
