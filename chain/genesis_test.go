package chain_test

import (
	"testing"
	"time"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/chaintest"
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
	start := time.Now()
	doc, err := genesis(t, "alice", "bob").Build()
	if err != nil {
		t.Fatal(err)
	}
	t.Log("build", time.Since(start))
	start = time.Now()
	s, err := chain.CheckGenesis(doc)
	if err != nil {
		t.Fatal(err)
	}
	t.Log("check", time.Since(start))
	t.Logf("%+v", s)
}
