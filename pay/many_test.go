package pay

import (
	"testing"
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
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

// BenchmarkManyPaid counts, signs and takes messages of 512 results, without a jury and with one.
func BenchmarkManyPaid(b *testing.B) {
	for name, with := range map[string]bool{"paid": false, "jury": true} {
		b.Run(name, func(b *testing.B) {
			tn := newTown(b, "alice", "bob")
			bob := tn.payee("bob")
			defer bob.Close()
			d := tn.sworn(bob)
			if !with {
				d.l = tn.hired(d.payer, bob, "bob", 300*hpips)
			}
			statements := make([][32]byte, 512)
			results := make([]job.Result, len(statements))
			next, each := uint64(0), 512
			for b.Loop() {
				for i := range results {
					results[i] = ran(next, time.Microsecond)
					results[i].Usage.Work = 2000
					statements[i] = task(next)
					next++
				}
				bob.Did(d.l, results, statements...)
				for i := range results {
					d.used = d.used.Add(Used(results[i], job.Resources{}))
					if with {
						d.tally.Add(Deed{results[i].Index, statements[i], results[i].Digest(), uint64(results[i].Usage.Work)})
					}
				}
				if next/uint64(each)%8 != 0 { // a voucher for every eighth message
					continue
				}
				v := lease.Voucher{}
				if with {
					d.signs()
					v = d.says()
				} else {
					v.Signed = promise(b, d.payer, d.l, d.used)
				}
				n, err := bob.Take(b.Context(), d.l, v)
				if err != nil {
					b.Fatal(n, err)
				}
				d.tally.Taken(bob.Taken(b.Context(), d.l))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(next), "ns/task")
		})
	}
}

// BenchmarkShow finds a leaf at the beginning of a lease that has as many as are kept.
func BenchmarkShow(b *testing.B) {
	roll := NewRoll([32]byte{})
	var sheets []Sheet
	deeds := make([]Deed, 1000)
	for roll.Size() < MostLeaves {
		next, s := roll.Next(deeds, nil)
		roll, sheets = next, append(sheets, s)
	}
	for b.Loop() {
		if _, err := Show([32]byte{}, sheets, 500, MostLeaves); err != nil {
			b.Fatal(err)
		}
	}
}
