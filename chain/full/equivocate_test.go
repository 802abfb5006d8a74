//go:build equivocate

package full

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hpips/hpips/chain/chaintest"
	committeev1 "github.com/hpips/hpips/proto/gen/committeev1"
)

func TestALiarLosesItsSeat(t *testing.T) {
	v := &village{t: t}
	names := []string{"alice", "bob", "carol", "mallory"}
	for _, name := range names {
		v.people = append(v.people, chaintest.New(name))
	}
	v.doc = genesis(t, quick(1, 20), v.people...)
	var addresses []string
	for _, p := range v.people {
		c := home(t, p, v.doc)
		c.Peers = addresses
		if p.Name == "mallory" {
			if err := os.MkdirAll(c.Home, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(c.Home, "equivocate"), []byte("votes"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		n, _ := serve(t, c)
		v.nodes = append(v.nodes, n)
		addresses = append(addresses, n.Address())
	}
	id := v.people[3].ID()
	until(t, "mallory's offence", func() bool {
		if height(v.nodes[0]) < 2 {
			return false
		}
		var res committeev1.QueryOffencesResponse
		if err := ask(t, v.nodes[0], "/hpips.committee.v1.Query/Offences", &committeev1.QueryOffencesRequest{}, &res); err != nil {
			t.Fatal(err)
		}
		return len(res.Offences) > 0 && string(res.Offences[0].Node) == string(id[:])
	})
	for _, s := range seats(t, v.nodes[0]).Seats {
		if string(s.Node) == string(id[:]) {
			t.Error("mallory sits on")
		}
	}
	h := height(v.nodes[0])
	until(t, "blocks without mallory", func() bool { return height(v.nodes[0]) >= h+3 })
}
