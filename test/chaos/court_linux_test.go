package chaos

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/chain/audit"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/test/e2e/pc"
	"github.com/hpips/hpips/test/e2e/receipts"
)

// Bob makes up what he is paid for, and while that is disputed everybody's power fails, one after the other, as the seed has it: the provider's, the requester's, a juror's between commitment
// and reveal, and that of a seat that has nothing to do with it. One more juror dies by itself when it has committed itself. All are started again. It ends as if nothing had happened: bob is
// convicted, no juror is fined, all others are paid, every dispute has ended in time, and deposits and bonds are what the blocks say.
func TestSoakACourtIsKilled(t *testing.T) {
	longOnly(t)
	sellers := []string{"bob", "carol", "dave", "erin", "frank", "grace", "heidi"}
	rules := audit.Development()
	rules.PassSeconds, rules.RecentSeconds, rules.CommitBlocks, rules.RevealBlocks = 1800, 5400, 50, 50
	v := newVillage(t, plan{names: append(sellers, "alice"), seats: 7, payers: 1, tune: lasting(7), jury: &rules,
		trade: trade{known: 8, sells: sellers, buys: "alice", keeps: "carol", day: 10 * time.Minute, price: trialPrice, apart: true}})
	bob, alice := v.folk[0], v.folk[7]
	for _, c := range v.folk {
		c.runs(built.liar)
		c.write("hasty", "")
	}
	bob.write("lies", "garbage")
	v.folk[1+v.rng.IntN(6)].write("lies", "dies")
	v.start()
	v.goesOn(2, v.folk...)
	v.sell(alice, len(sellers))
	w := &town{t: t, rng: v.rng, alice: alice.PC, steps: "30000"}
	began := time.Now()
	v.hears(alice, w.steps, len(sellers), counted(42, 140))

	killed := v.whileDisputed(w, bob, alice)
	d := v.adjourned(t.Context(), bob)
	if got := slices.Collect(maps.Keys(d.Convicted)); !slices.Equal(got, []string{nodeName(bob)}) {
		t.Errorf("convicted are %v, not bob", d.Convicted)
	}
	if len(d.Fines) > 0 || d.Paid[nodeName(bob)] > 0 || d.Lost[nodeName(bob)] == 0 {
		t.Errorf("fined are %v; bob is paid %d, and %d of his went back", d.Fines, d.Paid[nodeName(bob)], d.Lost[nodeName(bob)])
	}
	for _, c := range v.folk[1:7] {
		if d.Paid[nodeName(c)] == 0 || d.Lost[nodeName(c)] > 0 || d.Slashed[nodeName(c)] > 0 {
			t.Errorf("%s is paid %d, and %d went back, %d of its bond", c.Name, d.Paid[nodeName(c)], d.Lost[nodeName(c)], d.Slashed[nodeName(c)])
		}
	}
	longest, all := d.Longest()
	if most := int64(2 * (rules.CommitBlocks + rules.RevealBlocks + 6)); !all || longest > most {
		t.Errorf("the longest of %d disputes took %d blocks, at most %d are right; all ended: %t", len(d.Disputes), longest, most, all)
	}
	t.Logf("seed %d: killed %v; audits %v, disputes %v, the longest %d blocks, in %.0f s", *seed, killed, d.Audits, d.Verdicts(), longest, time.Since(began).Seconds())
}

// whileDisputed kills one after the other, in the order that the seed has, while a dispute is open.
func (v *village) whileDisputed(w *town, bob, alice *citizen) (killed []string) {
	v.t.Helper()
	t := v.t
	roles := []string{"provider", "requester", "juror", "seat"}
	v.rng.Shuffle(len(roles), func(i, k int) { roles[i], roles[k] = roles[k], roles[i] })
	dead := map[*citizen]bool{}
	for _, role := range roles {
		var c *citizen
		pc.Within(t, trialTime, "a juror has committed itself", func() bool {
			v.arise(dead)
			jurors := v.committed()
			switch {
			case len(jurors) == 0:
				return false
			case role == "provider":
				c = bob
			case role == "requester":
				c = alice
			case role == "juror":
				c = jurors[v.rng.IntN(len(jurors))]
			default:
				rest := slices.DeleteFunc(slices.Clone(v.folk[1:7]), func(o *citizen) bool { return slices.Contains(jurors, o) })
				c = rest[v.rng.IntN(len(rest))]
			}
			return true
		}, func() string { return alice.Log(20) })
		c.Kill(t)
		w.pause(time.Second)
		c.start()
		c.Await(t, "answers", func(client.Status) bool { return true })
		killed = append(killed, role+" "+c.Name)
	}
	return killed
}

// arise starts who ended by itself: once.
func (v *village) arise(dead map[*citizen]bool) {
	for _, c := range v.folk {
		if !dead[c] && c.Ended() {
			dead[c] = true
			c.start()
		}
	}
}

// committed are those who have committed themselves in a round that is open, and not revealed.
func (v *village) committed() (all []*citizen) {
	for _, c := range v.folk {
		_, window, err := c.look()
		if err != nil {
			continue
		}
		disputes, err := window.Disputes(v.t.Context())
		if err != nil {
			continue
		}
		for _, o := range v.folk[1:7] {
			for _, d := range disputes {
				bound := slices.ContainsFunc(d.Committed, func(k sortition.Key) bool { return string(k[:]) == string(o.node()) })
				told := slices.ContainsFunc(d.Revealed, func(k sortition.Key) bool { return string(k[:]) == string(o.node()) })
				if bound && !told && !slices.Contains(all, o) {
					all = append(all, o)
				}
			}
		}
		return all
	}
	return nil
}

// adjourned waits until nothing is looked at or disputed any more, all but one are paid, and the accounts hold what the blocks say.
func (v *village) adjourned(ctx context.Context, liar *citizen) (d *receipts.Docket) {
	v.t.Helper()
	dead := map[*citizen]bool{}
	keeper := v.folk[1]
	trouble := ""
	pc.Within(v.t, trialTime, "all is settled", func() bool {
		v.arise(dead)
		rpc, window, err := keeper.look()
		if err != nil {
			return false
		}
		audits, err1 := window.Audits(ctx)
		disputes, err2 := window.Disputes(ctx)
		if err1 != nil || err2 != nil || len(audits)+len(disputes) > 0 {
			trouble = fmt.Sprintf("%d audits, %d disputes, %v, %v", len(audits), len(disputes), err1, err2)
			return false
		}
		if d, err = receipts.ReadDocket(ctx, rpc, 1, keeper.height()-1); err == nil {
			err = d.Sound(ctx, window)
		}
		trouble = fmt.Sprintf("%+v, %v", d, err)
		return err == nil && d.Pending == 0 && d.Convicted[nodeName(liar)] > 0 && len(d.Paid) >= 6
	}, func() string { return trouble + "\n" + v.folk[7].Log(20) })
	return d
}

func nodeName(c *citizen) string { return ledger.NodeText(c.node()) }
