package pay

import (
	"testing"
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/voucher"
)

// A million tiny results, in messages as a provider sends them, with a promise whenever it is due: what payment costs for each.
func TestAMillionTinyResults(t *testing.T) {
	const batch = 512
	tasks := 1_000_000
	if testing.Short() {
		tasks = 50_000
	}
	tn := newTown(t, "alice", "bob")
	alice, bob := tn.payer("alice"), tn.payee("bob")
	defer bob.Close()
	l := tn.hired(alice, bob, "bob", 900*hpips)
	window := NewWindow(l.Terms, job.Limits{Time: job.Duration(time.Hour)})
	results := make([]job.Result, batch)
	for i := range results {
		results[i] = ran(uint64(i), 2*time.Millisecond)
	}
	var did, signing, taking time.Duration
	var done, counts voucher.Usage
	paid, promises := uint64(0), 0
	for n := 0; n < tasks; n += batch {
		at := time.Now()
		done = bob.Did(l, results)
		did += time.Since(at)
		at = time.Now()
		for i := range results {
			u := Used(results[i], l.Terms.Order.Resources)
			counts = counts.Add(u)
			window.Ended(u)
		}
		owed := cost(t, counts) - paid
		if !window.Due(owed, 0, n+batch >= tasks) {
			signing += time.Since(at)
			continue
		}
		v := promise(t, alice, l, counts)
		signing += time.Since(at)
		at = time.Now()
		take(t, bob, l, v)
		taking += time.Since(at)
		paid = v.Voucher.Amount
		window.Paid(paid)
		promises++
	}
	whole := (tasks + batch - 1) / batch * batch
	if done.Tasks != uint64(whole) || paid != cost(t, done) {
		t.Errorf("%d tasks, %d paid of %d", done.Tasks, paid, cost(t, done))
	}
	each := func(d time.Duration) time.Duration { return d / time.Duration(whole) }
	t.Logf("%d results, %d promises; for each result: Did %v, counting and signing %v, Take %v; a Take %v", whole, promises, each(did), each(signing), each(taking), taking/time.Duration(promises))
	if sum := each(did + signing + taking); sum > 200*time.Microsecond {
		t.Errorf("payment costs %v for a task", sum)
	}
}

// BenchmarkDid counts one result at a time, as of tasks that are not tiny.
func BenchmarkDid(b *testing.B) {
	tn := newTown(b, "alice", "bob")
	bob := tn.payee("bob")
	defer bob.Close()
	l := tn.hired(tn.payer("alice"), bob, "bob", 900*hpips)
	r := []job.Result{ran(1, time.Millisecond)}
	for b.Loop() {
		bob.Did(l, r)
	}
}
