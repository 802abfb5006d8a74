package chaos

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/proto/gen/committeev1"
)

// Many nodes, more than seats: newcomers register, take out tickets, claim, and the committee turns over, never more than a third of it in an
// epoch, while all come to the same state.
func TestSoakChainOfManyNodes(t *testing.T) {
	t.Parallel()
	nodes, seats, epochs := counted(6, 12), counted(3, 7), uint64(counted(5, 20))
	folk := strings.Fields("alice bob carol dave erin frank grace heidi ivan judy kim leo")[:nodes]
	v := newVillage(t, plan{names: folk, seats: seats, payers: 3, tune: func(p *committeev1.Params) {
		p.Seats, p.EpochBlocks, p.ClaimBlocks = uint32(seats), 10, 7
	}})
	for _, c := range v.folk[seats:] {
		for _, to := range v.folk[2:max(seats, 3)] {
			c.join = append(c.join, to.address())
		}
	}
	v.start()
	v.goesOn(2, v.folk...)
	alice := v.folk[0]
	_, window := alice.through()
	for _, c := range v.folk[seats:] {
		n := v.enrol(c, max(1, alice.height()-1))
		m := ledger.Register(v.owner.Address(), n.Registration, ledger.Signatures{Node: n.NodeSignature, Consensus: n.ConsensusSignature, VRF: n.VRFProof, OwnerKey: n.OwnerKey, Owner: n.OwnerSignature})
		if _, err := window.Send(t.Context(), v.owner, m); err != nil {
			t.Fatalf("%s registers: %v", c.Name, err)
		}
	}
	l := v.load(v.folk...)
	began, first := time.Now(), v.epoch(alice)
	history := map[uint64][]string{}
	var claims uint32
	different := 0
	for next := first; next < first+epochs || different < 3 && next < first+4*epochs; next++ {
		v.until("the next epoch", func() bool {
			k, err := window.Committee(t.Context())
			if err != nil {
				return false
			}
			claims = max(claims, k.Claims)
			for _, before := range k.Before {
				history[before.Epoch] = sorted(before.Nodes)
			}
			return k.Epoch > next
		})
		different = distinct(history)
	}
	l.end(v.folk...)
	last := v.agree(1, v.folk...)
	turned, sat := v.turnover(history)
	if claims == 0 {
		t.Error("nobody claimed a seat")
	}
	if different < 3 {
		t.Errorf("%d different committees in %d epochs", different, len(history))
	}
	t.Logf("seed %d: %d nodes, %d seats, %d epochs in %.0f s: %d committees, %d seats changed hands, %d nodes sat, up to %d claims in an epoch; all agree up to block %d",
		*seed, nodes, seats, len(history), time.Since(began).Seconds(), different, turned, sat, claims, last)
}

// turnover compares the committees of epochs that follow each other.
func (v *village) turnover(history map[uint64][]string) (turned, sat int) {
	v.t.Helper()
	var epochs []uint64
	nodes := map[string]bool{}
	for e, members := range history {
		epochs = append(epochs, e)
		for _, m := range members {
			nodes[m] = true
		}
	}
	slices.Sort(epochs)
	for i := 1; i < len(epochs); i++ {
		before, now := history[epochs[i-1]], history[epochs[i]]
		entered := 0
		for _, m := range now {
			if !slices.Contains(before, m) {
				entered++
			}
		}
		turned += entered
		if epochs[i] == epochs[i-1]+1 && entered > max(1, len(before)/3) {
			v.t.Errorf("%d of %d seats changed from epoch %d to the next", entered, len(before), epochs[i-1])
		}
	}
	return turned, len(nodes)
}

// distinct counts the committees that differ.
func distinct(history map[uint64][]string) int {
	all := map[string]bool{}
	for _, members := range history {
		all[strings.Join(members, " ")] = true
	}
	return len(all)
}

func sorted(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return names
}
