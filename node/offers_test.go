package node

import (
	"testing"
	"time"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/market"
)

func TestWhomTheChainConvicted(t *testing.T) {
	cut := ledger.Bond{Assets: []ledger.Bonded{{Denom: "uhpips"}, {Denom: "credit", Slashed: true}}}
	for name, row := range map[string]struct {
		node ledger.Node
		bond ledger.Bond
		want bool
	}{
		"bob":               {ledger.Node{Standing: "active"}, ledger.Bond{Assets: []ledger.Bonded{{Denom: "uhpips"}}}, false},
		"carol, barred":     {ledger.Node{Standing: "barred"}, ledger.Bond{}, true},
		"dan, who was cut":  {ledger.Node{Standing: "active"}, cut, true},
		"eve, without bond": {ledger.Node{Standing: "retired"}, ledger.Bond{}, false},
	} {
		if got := guilty(row.node, row.bond); got != row.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestStandingsAreToldBestFirst(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	saw := func(right, wrong uint64) market.Record {
		return market.Record{}.After(market.Tally{Right: right, Wrong: wrong}, now)
	}
	all := standingsOf(map[string]market.History{
		"carol": {"amd64": saw(3, 2), "arm64": saw(90, 0)},
		"bob":   {"amd64": saw(90, 0)},
		"dan":   {"amd64": market.Record{}.After(market.Tally{Unverified: 5}, now)},
	}, now.Add(time.Minute))
	if len(all) != 3 || all[0].Node != "bob" || all[1].Node != "dan" || all[2].Node != "carol" {
		t.Fatalf("%+v", all)
	}
	bob, dan, carol := all[0], all[1], all[2]
	if !bob.Verified || dan.Verified || dan.Score != market.Newcomer || bob.Rests != nil || carol.Rests == nil || !carol.Rests.Equal(now.Add(24*time.Hour)) {
		t.Errorf("%+v", all)
	}
	if len(carol.Records) != 2 || carol.Records[0].Class != "amd64" || carol.Score != carol.Records[0].Score || carol.Records[1].Score <= carol.Score || carol.Records[0].Wrong != 2 {
		t.Errorf("the score of carol is the lowest of hers: %+v", carol)
	}
}
