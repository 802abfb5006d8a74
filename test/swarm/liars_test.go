//go:build lies

package swarm

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/test/e2e/receipts"
)

var fellowTasks = flag.Int("fellow-tasks", 2_000, "of the trial of fellows")

// trial bounds the time of one of these tests: on a busy machine a round of juries takes minutes.
func trial(t *testing.T) context.Context {
	t.Helper()
	long := 40 * time.Minute
	if *soak {
		long = 150 * time.Minute
	}
	ctx, stop := context.WithTimeout(t.Context(), long)
	t.Cleanup(stop)
	return ctx
}

// counted gives the reduced count, or with -soak the full one.
func counted(reduced, full int) int {
	if *soak {
		return full
	}
	return reduced
}

// Bob says what comes to his mind, carol always the same, dave is wrong where it is dear, and erin once she is trusted. Each of them is convicted, none is paid for a lie, and the others, who
// look as well, lose nothing.
func TestSoakLiarsOfEachKind(t *testing.T) {
	ctx := trial(t)
	bob, carol, dave := &villager{name: "bob", lies: "garbage"}, &villager{name: "carol", lies: "constant"}, &villager{name: "dave", lies: "dear"}
	erin := &villager{name: "erin", lies: "after 3"}
	if *soak {
		erin.lies = "after 1000"
	}
	liars := []*villager{bob, carol, dave, erin}
	v := raise(ctx, t, time.Duration(counted(10, 30))*time.Minute, append(liars, &villager{name: "frank"}, &villager{name: "grace"}, &villager{name: "heidi"}, &villager{name: "ivan"})...)
	if *soak { // until erin is trusted: what she earns first is her bond, so that less of what follows is looked at
		for _, tasks := range []int{400, 9_000} {
			had := maps.Clone(v.docket(ctx).Paid)
			v.shared(ctx, v.cheap, tasks, job.Jury)
			v.adjourns(ctx, "who works is paid, and who lies is convicted", func() bool {
				d := v.docket(ctx)
				return !slices.ContainsFunc(v.folk[:len(v.folk)-1], func(p *villager) bool { return d.Paid[p.id] <= had[p.id] && d.Convicted[p.id] == 0 })
			})
			v.tally(ctx)
		}
	}
	v.shared(ctx, v.cheap, 24, job.Jury)
	v.shared(ctx, v.dear, counted(40, 2_000), job.Jury)
	v.workUntil(ctx, "all liars are convicted", func(d *receipts.Docket) bool {
		for _, p := range liars {
			if d.Convicted[p.id] == 0 {
				return false
			}
		}
		return true
	})
	d := v.rests(ctx, v.folk[len(liars):len(v.folk)-1]...)
	v.judged(ctx, d, liars...)
	if len(d.Fines) > 0 {
		t.Errorf("fined are %v", d.Fined)
	}
}

// mostRounds is how often more work is given before a trial is given up. Whoever is first at a panel has a place there, so on a busy machine one juror may come to none in several rounds.
func mostRounds() int { return counted(12, 40) }

// workUntil gives more dear work, round after round, until it is so: what the lot looks at, and who comes to a panel first, is not up to the test.
func (v *village) workUntil(ctx context.Context, what string, so func(*receipts.Docket) bool) {
	v.t.Helper()
	for round := 1; !v.round(ctx, so); round++ {
		v.tally(ctx)
		if round == mostRounds() {
			v.tell()
			v.t.Fatalf("after %d rounds this has not come: %s", round, what)
		}
		v.wants(ctx, v.dear, counted(40, 600), job.Jury)
	}
}

// tally logs how things stand.
func (v *village) tally(ctx context.Context) {
	v.t.Helper()
	d := v.docket(ctx)
	v.t.Logf("audits %v, disputes %v, convicted %v, fined %v", d.Audits, d.Verdicts(), d.Convicted, d.Fined)
}

// round waits until it is so, or the juries are done with all that was redeemed, and tells which. Providers redeem within seconds when a job is over; where one is late, its juries sit in the
// next round.
func (v *village) round(ctx context.Context, so func(*receipts.Docket) bool) (yes bool) {
	v.t.Helper()
	const settled = 30 * time.Second
	quiet := time.Now()
	v.adjourns(ctx, "a round of juries ends", func() bool {
		d := v.docket(ctx)
		if yes = so(d); yes {
			return true
		}
		audits, err1 := v.window.Audits(ctx)
		disputes, err2 := v.window.Disputes(ctx)
		if err1 != nil || err2 != nil || len(audits)+len(disputes)+d.Pending > 0 {
			quiet = time.Now()
		}
		return time.Since(quiet) > settled
	})
	return yes
}

// judged finds that exactly these providers were convicted, that they have less than work would have brought, that all others were paid for all, and that the books are in order.
func (v *village) judged(ctx context.Context, d *receipts.Docket, liars ...*villager) {
	v.t.Helper()
	var guilty []string
	for _, p := range liars {
		guilty = append(guilty, p.id)
	}
	slices.Sort(guilty)
	if got := slices.Sorted(maps.Keys(d.Convicted)); !slices.Equal(got, guilty) {
		v.t.Errorf("convicted are %v, want %v", d.Convicted, guilty)
	}
	for _, p := range v.folk[:len(v.folk)-1] {
		v.t.Logf("%-8s %-10s paid %d, lost %d, slashed %d, juror's pay %d, fined %d times", p.name, p.lies, d.Paid[p.id], d.Lost[p.id], d.Slashed[p.id], d.Juries[p.id], d.Fines[p.id])
		lied := slices.Contains(guilty, p.id)
		switch {
		case lied && d.Lost[p.id] == 0:
			v.t.Errorf("%s lost nothing", p.name)
		case !lied && (d.Lost[p.id] > 0 || d.Slashed[p.id] > 0 && d.Fines[p.id] == 0):
			v.t.Errorf("%s lost %d, and %d of its bond", p.name, d.Lost[p.id], d.Slashed[p.id])
		case !lied && d.Paid[p.id] == 0:
			v.t.Errorf("%s was not paid", p.name)
		}
	}
	v.books(ctx, d)
}

// books finds that every dispute has ended within three rounds' time, which is three epochs on the public chain, that deposits and bonds hold what is owed, and that the chain is what its rules make it.
func (v *village) books(ctx context.Context, d *receipts.Docket) {
	v.t.Helper()
	longest, all := d.Longest()
	if !all || longest > 3*(committing+revealing) {
		v.t.Errorf("the longest of %d disputes took %d blocks; all ended: %t", len(d.Disputes), longest, all)
	}
	v.t.Logf("audits %v, disputes %v, the longest %d blocks; of %d a node still tells the verdict", d.Audits, d.Verdicts(), longest, v.told(ctx, d))
	var unsound error
	defer func() {
		if unsound != nil {
			v.t.Error(unsound)
		}
	}()
	v.until(ctx, "deposits and bonds hold what is owed", func() bool {
		unsound = v.docket(ctx).Sound(ctx, v.window)
		return unsound == nil
	})
	seen, err := v.window.Verify(ctx, 0, 0, func(int64) {})
	if err != nil || !seen.OK {
		v.t.Errorf("verify: %+v, %v", seen, err)
	}
}

// told asks a node of the chain for the verdicts about all redemptions that were disputed: each outcome is one that its blocks tell of. It counts those of which the chain still knows.
func (v *village) told(ctx context.Context, d *receipts.Docket) (n int) {
	v.t.Helper()
	type redemption struct{ node, sequence string }
	by := map[redemption][]string{} // who was accused, and what came of it
	for _, t := range d.Disputes {
		at := redemption{t.Node, t.Sequence}
		by[at] = append(by[at], t.Accused+" "+t.Verdict)
	}
	for at, want := range by {
		node, err1 := ledger.NodeKey(at.node)
		sequence, err2 := strconv.ParseUint(at.sequence, 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			v.t.Fatal(err)
		}
		got, known, err := v.window.Verdicts(ctx, node, sequence)
		if err != nil || known && len(got) == 0 {
			v.t.Errorf("redemption %s of %s: %v, %v", at.sequence, at.node, got, err)
		}
		for _, one := range got {
			if said := ledger.NodeText(one.Accused[:]) + " " + one.Outcome; !slices.Contains(want, said) {
				v.t.Errorf("redemption %s of %s: a node says %q, its blocks %q", at.sequence, at.node, said, want)
			}
			n++
		}
	}
	return n
}

// Jurors of each kind. Everybody works as it should but bob, so that there is something to dispute. Mute jurors lose their places, or are fined on the chain; who makes up what it says is found
// wrong; who makes up a state is found by a canary. Each of them is fined, nobody else is, and two nodes of one owner never have two places.
func TestSoakJurorsOfEachKind(t *testing.T) {
	ctx := trial(t)
	bob := &villager{name: "bob", lies: "garbage"}
	mute, parrot, lazy := &villager{name: "carol", lies: "mute"}, &villager{name: "dave", lies: "parrot"}, &villager{name: "erin", lies: "lazy"}
	twin, other := &villager{name: "frank"}, &villager{name: "frances", owner: "frank"}
	v := raise(ctx, t, 10*time.Minute, bob, mute, parrot, lazy, twin, other, &villager{name: "grace"}, &villager{name: "heidi"}, &villager{name: "ivan"}, &villager{name: "judy"})
	v.shared(ctx, v.dear, counted(40, 600), job.Jury)
	v.workUntil(ctx, "all of them are found", func(d *receipts.Docket) bool {
		return d.Convicted[bob.id] > 0 && d.Fines[parrot.id] > 0 && d.Fines[lazy.id] > 0 && d.Fines[mute.id] > 0
	})
	d := v.rests(ctx, v.folk[1:len(v.folk)-1]...)
	v.judged(ctx, d, bob)
	for _, p := range v.folk {
		wrong := slices.Contains([]string{"mute", "parrot", "lazy"}, p.lies)
		switch {
		case wrong && d.Fines[p.id] == 0:
			t.Errorf("%s, who is %s, was not fined", p.name, p.lies)
		case !wrong && d.Fines[p.id] > 0:
			t.Errorf("%s was fined: %v", p.name, d.Fined[p.id])
		}
	}
	both := func(jurors []string) bool {
		return slices.Contains(jurors, twin.id) && slices.Contains(jurors, other.id)
	}
	for id, one := range d.Disputes {
		if both(one.Committed) {
			t.Errorf("both twins are in dispute %s", id)
		}
	}
	if slices.ContainsFunc(d.Panels, both) || len(d.Panels) == 0 {
		t.Errorf("both twins are in a panel: %v", d.Panels)
	}
}

// Nobody is there when alice asks about what bob made up: her questions find no jury. She asks again, by real transactions of other bytes, and those who come then convict him. With -soak alone:
// each of his results is asked about once before one is asked about again, and each question takes 50 blocks.
func TestSoakJurorsWhoComeLate(t *testing.T) {
	if !*soak {
		t.Skip("eight minutes of waiting; run it with -args -soak")
	}
	ctx := trial(t)
	bob := &villager{name: "bob", lies: "garbage"}
	folk := []*villager{bob}
	for _, name := range []string{"carol", "dave", "erin", "frank", "grace"} {
		folk = append(folk, &villager{name: name, lies: "absent"})
	}
	v := raise(ctx, t, 10*time.Minute, folk...)
	v.shared(ctx, v.dear, 16, job.Jury)
	v.until(ctx, "what bob made up is asked about", func() bool { return len(v.docket(ctx).Disputes) > 0 })
	v.workUntil(ctx, "bob is convicted", func(d *receipts.Docket) bool { return d.Convicted[bob.id] > 0 })
	d := v.rests(ctx, folk[1:]...)
	v.judged(ctx, d, bob)
	again := 0 // times that the question which convicts had found no jury before
	for _, first := range d.Disputes {
		for _, second := range d.Disputes {
			if first.Verdict == "no-jury" && second.Verdict == "wrong" && first.Lease == second.Lease && first.Sequence == second.Sequence && first.Place == second.Place && first.Accused == second.Accused && first.Ended <= second.Opened {
				again++
			}
		}
	}
	if again == 0 || len(d.Fines) > 0 {
		t.Errorf("of %v none was asked again, or somebody was fined: %v", d.Verdicts(), d.Fined)
	}
	t.Logf("of %v, %d is the question that convicts, asked before", d.Verdicts(), again)
}

// The same without a jury: what bob and carol make up is accepted and paid, so the trials above show what juries do.
func TestSoakWithoutAJuryLiesArePaid(t *testing.T) {
	ctx := trial(t)
	bob, carol := &villager{name: "bob", lies: "garbage"}, &villager{name: "carol", lies: "constant"}
	v := raise(ctx, t, time.Minute, bob, carol, &villager{name: "dave"}, &villager{name: "erin"})
	st := v.shared(ctx, v.dear, counted(24, 2_000), job.None)
	wrong := v.wrong(ctx, st) // of the last job
	d := v.rests(ctx, v.folk[:len(v.folk)-1]...)
	if d.Paid[bob.id] == 0 || d.Paid[carol.id] == 0 || len(d.Convicted) > 0 || len(d.Audits) > 0 {
		t.Errorf("paid are %v, convicted %v, audits %v", d.Paid, d.Convicted, d.Audits)
	}
	t.Logf("%d of %d results are wrong, and all are paid: %v", wrong, st.Tasks.Total, d.Paid)
}

// Four of twenty lie together: each says the same of every task, and says it as a juror, too, where a fellow is looked at. With -soak alone: round after round of jurors who have not spoken needs
// so many nodes.
func TestSoakFellows(t *testing.T) {
	if !*soak {
		t.Skip("twenty nodes; run it with -args -soak")
	}
	ctx := trial(t)
	var folk []*villager
	for i := range 20 {
		folk = append(folk, &villager{name: fmt.Sprintf("node%d", i)})
	}
	liars := folk[:4]
	for _, p := range liars {
		p.lies, p.fellows = "fellow", liars
	}
	v := raise(ctx, t, 2*time.Hour, folk...)
	wrong, all := 0, 0
	for range 10 {
		st := v.wants(ctx, v.dear, *fellowTasks/10, job.Jury)
		wrong, all = wrong+v.wrong(ctx, st), all+st.Tasks.Total
	}
	d := v.rests(ctx, folk[len(liars):]...)
	v.judged(ctx, d, liars...)
	for _, p := range folk[len(liars):] {
		if d.Fines[p.id] > 0 {
			t.Errorf("%s was fined: %v", p.name, d.Fined[p.id])
		}
	}
	var kept uint64
	for _, p := range liars {
		kept += d.Paid[p.id]
	}
	if kept > 0 { // all that they tell is wrong
		t.Errorf("%d were paid for lies", kept)
	}
	t.Logf("%d of %d results were wrong; %d are paid for them", wrong, all, kept)
}
