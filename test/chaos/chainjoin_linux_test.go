package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/test/e2e/pc"
)

// snapshotAt is the height of a development chain's first snapshot.
const snapshotAt = 200

// Erin and frank come late. Erin takes the chain's whole history, frank, who trusts a block that alice told him, a snapshot; both follow from then
// on, with the state of all others. The first snapshot comes after 200 blocks, so that frank comes in the full run alone.
func TestSoakChainIsJoinedLate(t *testing.T) {
	t.Parallel()
	v := newVillage(t, plan{names: []string{"alice", "bob", "erin", "frank"}, seats: 2, payers: 4, tune: lasting(2)})
	alice, bob, erin, frank := v.folk[0], v.folk[1], v.folk[2], v.folk[3]
	alice.start()
	bob.start()
	v.goesOn(1, alice, bob)
	l := v.load(alice, bob)
	began := time.Now()
	for want := int64(counted(12, snapshotAt+20)); alice.height() < want; { // each step is bounded, the whole is long
		v.goesOn(min(10, want-alice.height()), alice, bob)
	}
	grown := time.Since(began)

	var genesis struct{ SHA256 string }
	if err := json.Unmarshal([]byte(alice.Must(t, "chain", "genesis", "-o", "json")), &genesis); err != nil {
		t.Fatal(err)
	}
	erin.forget("chain/genesis.json")
	erin.Must(t, "chain", "join", genesis.SHA256)
	replay := v.returns(erin, []*citizen{alice, bob})
	v.goesOn(3, alice, bob, erin)
	last := v.agree(1, alice, bob, erin)
	t.Logf("erin takes %d blocks, %.0f s old, in %.1f s, and follows", last, grown.Seconds(), replay.Seconds())
	if *soak {
		frank.forget("chain/genesis.json")
		frank.Must(t, "chain", "join", genesis.SHA256, "--trust", alice.Must(t, "chain", "snapshot", "-q"))
		took := v.returns(frank, []*citizen{alice, bob})
		v.goesOn(3, v.folk...)
		rpc, _ := frank.through()
		st, err := rpc.Status(t.Context())
		if err != nil || st.SyncInfo.EarliestBlockHeight < snapshotAt {
			t.Fatalf("frank has blocks from %d on, %v: he took no snapshot\n%s", st.SyncInfo.EarliestBlockHeight, err, frank.Log(20))
		}
		last = v.agree(st.SyncInfo.EarliestBlockHeight, v.folk...)
		t.Logf("frank takes a snapshot, has blocks from %d on after %.1f s, and follows; all agree up to block %d", st.SyncInfo.EarliestBlockHeight, took.Seconds(), last)
	}
	l.end(alice, bob, erin)
}

// forget takes a file away.
func (c *citizen) forget(name string) {
	c.t.Helper()
	if err := os.Remove(filepath.Join(c.Home, name)); err != nil {
		c.t.Fatal(err)
	}
}

// Seven sat in the beginning. Five of them step down and leave, and later lend their keys to a history of their own, from the first block on.
// Whoever trusts a block of the true chain does not take it. The control: who trusts nothing and knows nobody else is taken in.
func TestSoakChainForgedHistory(t *testing.T) {
	t.Parallel()
	forgers := []string{"forger1", "forger2", "forger3", "forger4", "forger5"}
	v := newVillage(t, plan{names: slices.Concat(sevenSeats, forgers, []string{"heidi", "ivan", "judy"}), seats: 7, payers: 2, levy: money.Scale,
		tune: func(p *committeev1.Params) { // the first tickets end soon, and nobody works for others: nobody comes back
			p.Seats, p.EpochBlocks, p.ClaimBlocks, p.DaySeconds, p.TicketDays, p.KeyAgeDays = 7, 5, 3, 5, 1, 1000
		}})
	right, forged, heidi, ivan, judy := v.folk[:7], v.folk[7:12], v.folk[12], v.folk[13], v.folk[14]
	for _, c := range right {
		c.start()
	}
	v.goesOn(1, right...)
	l := v.load(right[:2]...)
	former := right[2:]
	v.leave(former, right[0])
	trust := right[0].Must(t, "chain", "snapshot", "-q")
	var known int64
	if _, err := fmt.Sscanf(trust, "%d:", &known); err != nil {
		t.Fatal(err)
	}

	v.take(forged, former)
	apart(forged)
	for _, c := range forged {
		c.start()
	}
	v.goesOn(2, forged...)
	at, _ := v.fork(1, 2, right[0], forged[0])
	if at == 0 {
		t.Fatal("the forgers have made the true history")
	}
	t.Logf("five of seven former seats make another history from block %d on; the true chain's block %d is trusted", at, known)
	for forged[0].height() < known+2 {
		v.goesOn(min(10, known+2-forged[0].height()), forged...)
	}

	heidi.join = []string{forged[0].address(), forged[1].address()}
	ivan.join, judy.join = heidi.join, []string{right[0].address(), right[1].address()}
	for _, c := range []*citizen{heidi, judy} {
		c.write("chain/trust", trust+"\n")
	}
	heidi.start()
	ivan.start()
	judy.start()
	v.until("heidi is told", func() bool {
		if h := heidi.applied(); h >= known {
			t.Fatalf("heidi took the forged history up to block %d, and trusts another block %d", h, known)
		}
		return strings.Contains(heidi.Log(1000), "this history is not the one you trust")
	})
	if code := heidi.End(t, os.Interrupt); code == 0 {
		t.Error("heidi's node ends as if all were well")
	}
	v.until("ivan is at the forged head", func() bool { return ivan.height() >= known })
	v.until("judy is at the true head", func() bool { return judy.height() > known })
	v.agree(1, forged[0], ivan)
	v.agree(1, right[0], right[1], judy)
	l.end(right[:2]...)
}

// leave makes PCs step down, and switches each off as soon as nobody waits for its votes, and no ticket can seat it again: those end with day 1.
func (v *village) leave(former []*citizen, stays *citizen) {
	v.t.Helper()
	gone := map[*citizen]int64{}
	v.until(names(former)+" have left", func() bool {
		_, window, err := stays.look()
		if err != nil {
			return false
		}
		k, err := window.Committee(v.t.Context())
		if err != nil {
			return false
		}
		off := 0
		for _, c := range former {
			at := slices.IndexFunc(k.Seats, func(s ledger.Seat) bool { return bytes.Equal(s.Key, c.node()) })
			switch left, knows := gone[c]; {
			case at >= 0:
				delete(gone, c)
				if !k.Seats[at].Leaving {
					v.resigns(c)
				}
			case !knows:
				gone[c] = stays.height()
			case left < 0:
				off++
			case k.Day > 1 && stays.height() > left+3:
				c.Kill(v.t)
				gone[c] = -1
			}
		}
		return off == len(former)
	})
}

// resigns makes a PC step down from its seat.
func (v *village) resigns(c *citizen) {
	v.t.Helper()
	var last error
	pc.Eventually(v.t, c.Name+" steps down", func() bool {
		api, err := client.Open(c.Home)
		if err != nil {
			last = err
			return false
		}
		defer api.Close()
		last = api.StepDown(v.t.Context())
		return last == nil
	}, func() string { return fmt.Sprint(last) })
}

// applied is the height of the PC's state; it may hold a block more, whose turn has not come. 0 while it does not answer.
func (c *citizen) applied() int64 {
	rpc, _, err := c.look()
	if err != nil {
		return 0
	}
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	st, err := rpc.ABCIInfo(ctx)
	if err != nil {
		return 0
	}
	return st.Response.LastBlockHeight
}

// take gives thieves the keys with which others vote.
func (v *village) take(thieves, from []*citizen) {
	v.t.Helper()
	for i, c := range thieves {
		for _, name := range []string{"keys/consensus.key", "keys/vrf.key"} {
			c.write(name, read(v.t, filepath.Join(from[i].Home, name)))
		}
	}
}

// apart makes PCs that know one another alone.
func apart(all []*citizen) {
	for _, c := range all {
		c.join = nil
		for _, other := range all {
			if other != c {
				c.join = append(c.join, other.address())
			}
		}
	}
}

// A chain that is older than the trusting period is not joined on its former seats' word: whoever comes to it names a block.
func TestSoakChainTrustingPeriod(t *testing.T) {
	t.Parallel()
	v := newVillage(t, plan{names: []string{"alice", "bob", "carol"}, seats: 1, payers: 1, age: 15 * 24 * time.Hour, tune: lasting(1)})
	alice, bob, carol := v.folk[0], v.folk[1], v.folk[2]
	alice.start()
	v.goesOn(3, alice)
	bob.start()
	v.until("bob is told", func() bool { return strings.Contains(bob.Log(1000), "--trust HEIGHT:HASH") })
	if h := bob.height(); h > 0 {
		t.Errorf("bob follows a chain of 15 days ago without a trust point, up to block %d", h)
	}
	carol.write("chain/trust", alice.Must(t, "chain", "snapshot", "-q")+"\n")
	v.returns(carol, []*citizen{alice})
	v.goesOn(2, alice, carol)
	v.agree(1, alice, carol)
}
