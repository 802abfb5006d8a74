package chaos

import (
	"fmt"
	"testing"
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/test/e2e/pc"
)

// trialTime is how long a stage of a trial takes at most: days of the chain, and on a busy machine more of them.
const trialTime = 5 * time.Minute

// worthIt is how many tasks a provider needs of one job so that its pay is more than the fee for redeeming it, at the price of trials.
const (
	worthIt    = 3
	trialPrice = "36"
)

// hears has alice's jobs done until every seller had work enough in one of them to be paid, so that the chain looks at each; it gives all of them.
func (v *village) hears(alice *citizen, steps string, sellers, tasks int) (jobs []job.Status) {
	v.t.Helper()
	paid := map[string]bool{}
	for len(paid) < sellers {
		if len(jobs) == 8 {
			v.t.Fatalf("after %d jobs these alone had enough: %v", len(jobs), paid)
		}
		st := alice.Hpips(v.t, "map", built.guest, "--over", fmt.Sprintf("count:%d", tasks), "--verify", "jury", "--copies", "1", "-o", "json", "--", "squares", steps).Status(v.t)
		for _, n := range st.Nodes {
			if n.Tasks >= worthIt {
				paid[n.Node] = true
			}
		}
		jobs = append(jobs, st)
	}
	return jobs
}

// longOnly skips a trial without -soak: it takes minutes, in which the chain counts blocks. test/swarm convicts liars in the reduced run, too.
func longOnly(t *testing.T) {
	t.Helper()
	if !*soak {
		t.Skip("a trial of minutes; run it with -args -soak")
	}
}

// Bob makes up what he is paid for. Alice, who believes all of it, is told by the jury: he is convicted and gets nothing, those who worked are paid, and so are those who looked.
func TestSoakALiarIsConvicted(t *testing.T) {
	longOnly(t)
	sellers := []string{"bob", "carol", "dave", "erin", "frank", "grace"}
	v := newVillage(t, plan{names: append(sellers, "alice"), seats: 6, payers: 1, tune: lasting(6),
		trade: trade{known: 7, sells: sellers, buys: "alice", keeps: "carol", day: 3 * time.Minute, price: trialPrice, apart: true}})
	bob, alice := v.folk[0], v.folk[6]
	bob.runs(built.liar)
	bob.write("lies", "garbage")
	v.start()
	v.goesOn(2, v.folk...)
	v.sell(alice, len(sellers))
	began := time.Now()
	jobs := v.hears(alice, "30000", len(sellers), counted(60, 240))
	_, window := v.folk[1].through()
	convicted, disputed, paid := map[string]bool{}, false, 0
	look := func() bool {
		disputes, err := window.Disputes(t.Context())
		disputed = disputed || err == nil && len(disputes) > 0
		paid = 0
		for _, c := range v.folk[:6] {
			_, until, err := window.Recent(t.Context(), c.node())
			if err == nil && !until.IsZero() {
				convicted[c.Name] = true
			}
			b, err := window.Balance(t.Context(), v.ownerOf(c).Address())
			if err == nil && b.Balance > 0 && c != bob {
				paid++
			}
		}
		return err == nil
	}
	trouble := func() string {
		return fmt.Sprintf("disputed: %t, convicted: %v, paid: %d\n%s", disputed, convicted, paid, alice.Log(20))
	}
	pc.Within(t, trialTime, "somebody is paid, or bob's results are disputed", func() bool { return look() && (paid > 0 || disputed) }, trouble)
	pc.Within(t, trialTime, "what bob made up is disputed", func() bool { return look() && (disputed || convicted["bob"]) }, trouble)
	pc.Within(t, trialTime, "bob is convicted", func() bool { return look() && convicted["bob"] }, trouble)
	pc.Within(t, trialTime, "the others are paid", func() bool { return look() && paid == 5 }, trouble)
	if len(convicted) != 1 {
		t.Errorf("convicted are %v", convicted)
	}
	verified, all := 0, 0
	for _, st := range jobs {
		shown := alice.Hpips(t, "job", "show", st.Job, "-o", "json").Status(t)
		verified, all = verified+shown.Verified, all+shown.Tasks.Total
	}
	if verified == 0 {
		t.Error("nothing counts as verified")
	}
	t.Logf("%d of %d results were verified, and bob convicted within %v", verified, all, time.Since(began).Round(time.Second))
}
