package pay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/trust"
	"github.com/hpips/hpips/spec/voucher"
)

// jury makes a lease's payer want one.
func jury(t *lease.Terms) { t.Pay.Jury = true }

// task is the digest of a task's statement, here.
func task(index uint64) [32]byte { return [32]byte{'t', byte(index), byte(index >> 8)} }

// worked is what a task gave that took so many instructions.
func worked(index uint64, work int64, text string) job.Result {
	return job.Result{Index: index, End: job.Exited, Stdout: job.Content{Inline: []byte(text)}, Usage: job.Usage{CPU: int64(time.Second), Wall: int64(time.Second), Work: work}}
}

// deed is what alice makes of a result.
func deed(r job.Result) Deed { return Deed{r.Index, task(r.Index), r.Digest(), uint64(r.Usage.Work)} }

// diary is alice's side of a lease whose payer wants a jury: what she knows, and what outlives her.
type diary struct {
	*town
	l     lease.Lease
	payer *Payer
	tally *Tally
	used  voucher.Usage

	kept struct { // in her journal
		used   voucher.Usage
		sheets []Sheet
		signed *voucher.Signed
	}
}

func (tn *town) diary(l lease.Lease) *diary {
	d := &diary{town: tn, l: l}
	d.wakes()
	return d
}

// wakes begins a life with what the journal has.
func (d *diary) wakes() {
	d.t.Helper()
	d.payer = d.town.payer("alice")
	if d.kept.signed != nil {
		if err := d.payer.Restore(d.l, *d.kept.signed); err != nil {
			d.t.Fatal(err)
		}
	}
	d.used, d.tally = d.kept.used, NewTally(d.l.Terms)
	if len(d.kept.sheets) > 0 {
		var err error
		if d.tally, err = Resume(d.l.Terms, d.kept.sheets); err != nil {
			d.t.Fatal(err)
		}
	}
	d.tally.Doubt()
}

// pays counts a result.
func (d *diary) pays(r job.Result) {
	d.used = d.used.Add(Used(r, job.Resources{}))
	d.tally.Add(deed(r))
}

// signs signs for all that counts and writes it down; lives tells whether she is there after that.
func (d *diary) signs() {
	d.t.Helper()
	draft := d.tally.Draft()
	root, sheet, some := draft.Reckon()
	s, err := d.payer.Promise(d.l, d.used, root)
	if err != nil {
		d.t.Fatal(err)
	}
	if some {
		sheet.Deeds = slices.Clone(sheet.Deeds) // as a journal does
		d.kept.sheets = append(d.kept.sheets, sheet)
	}
	d.kept.used, d.kept.signed = d.used, &s
	d.tally.Kept(draft)
}

func (d *diary) says() lease.Voucher { return d.tally.Message(*d.kept.signed) }

// shows is her own leaf.
func (d *diary) shows(place, size uint64) (Shown, error) {
	return Show(d.l.Terms.Digest(), d.kept.sheets, place, size)
}

// agree holds alice's leaves against bob's, all of them, under the root of the last voucher.
func agree(t testing.TB, d *diary, bob *Payee, from uint64) {
	t.Helper()
	v := d.kept.signed.Voucher
	id := d.l.Terms.Key()
	if got := bob.tabs[id].last; got != v {
		t.Fatalf("bob has %+v, alice signed %+v", got, v)
	}
	before := uint64(0)
	for place := range v.Usage.Tasks {
		hers, err := d.shows(place, v.Usage.Tasks)
		if err != nil {
			t.Fatal(err)
		}
		his, err := bob.Leaf(context.Background(), id, place, v.Usage.Tasks)
		if err != nil {
			t.Fatal(err)
		}
		if his.Index != hers.Index || his.Leaf != hers.Leaf || his.Salt != hers.Salt || !slices.Equal(his.Path, hers.Path) {
			t.Fatalf("leaf %d is %+v with bob, %+v with alice", place, his, hers)
		}
		if err := trust.CheckPath(v.Root, v.Usage.Tasks, place, his.Leaf.Seal(his.Salt), his.Path); err != nil {
			t.Fatal(err)
		}
		if his.Leaf.Before != before || his.Leaf.Statement != task(his.Index) {
			t.Fatalf("leaf %d: %+v, %d were done before it", place, his, before)
		}
		before += his.Leaf.Work
	}
	if before != v.Usage.Work {
		t.Fatalf("the leaves' work is %d, the voucher says %d", before, v.Usage.Work)
	}
	for _, beyond := range []uint64{v.Usage.Tasks, v.Usage.Tasks + 7} {
		if _, err := bob.Leaf(context.Background(), id, beyond, beyond+1); !errors.Is(err, ErrLeaf) {
			t.Fatalf("a leaf that is not there: %v", err)
		}
	}
}

// sworn is a lease with a jury whose deposit stands.
func (tn *town) sworn(bob *Payee) *diary {
	tn.t.Helper()
	alice := tn.payer("alice")
	l := tn.lease(alice, "bob", 500*hpips, jury)
	ctx := context.Background()
	if err := alice.Fund(ctx, []lease.Lease{l}); err != nil {
		tn.t.Fatal(err)
	}
	if _, err := bob.Funded(ctx, l); err != nil {
		tn.t.Fatal(err)
	}
	return tn.diary(l)
}

func did(bob *Payee, l lease.Lease, r job.Result) { bob.Did(l, []job.Result{r}, task(r.Index)) }

func TestBothSidesComeToTheSameRoot(t *testing.T) {
	tn := newTown(t, "alice", "bob")
	bob := tn.payee("bob")
	defer func() { bob.Close() }()
	alice := tn.sworn(bob)
	ctx := context.Background()
	for i := range uint64(5) {
		did(bob, alice.l, worked(i, int64(100+i), fmt.Sprint(i)))
	}
	for _, i := range []uint64{3, 1} { // the order is hers
		alice.pays(worked(i, int64(100+i), fmt.Sprint(i)))
	}
	alice.signs()
	v := alice.says()
	if v.From != 0 || len(v.Tasks) != 2 {
		t.Errorf("she names %x from %d on", v.Tasks, v.From)
	}
	if _, err := bob.Take(ctx, alice.l, v); err != nil {
		t.Fatal(err)
	}
	agree(t, alice, bob, 0)
	if n := bob.Taken(ctx, alice.l); n != 2 {
		t.Errorf("bob has taken %d", n)
	}
	for _, i := range []uint64{0, 4} {
		alice.pays(worked(i, int64(100+i), fmt.Sprint(i)))
		alice.signs()
	}
	if v := alice.says(); v.From != 0 || alice.tally.Open() != 4 {
		t.Errorf("she was not told that bob has any, and names from %d on", v.From)
	}
	alice.tally.Taken(2)
	if v := alice.says(); v.From != 2 || alice.tally.Open() != 2 {
		t.Errorf("bob has two, and she names from %d on", v.From)
	}
	if err := bob.Close(); err != nil {
		t.Fatal(err)
	}
	bob = tn.payee("bob") // he knows what he did
	if _, err := bob.Take(ctx, alice.l, alice.says()); err != nil {
		t.Fatal(err)
	}
	agree(t, alice, bob, 0)
	if got, err := bob.Take(ctx, alice.l, alice.says()); err != nil || got != alice.kept.signed.Voucher.Amount {
		t.Errorf("the same once more: %d, %v", got, err)
	}
	if n := bob.tabs[alice.l.Terms.Key()].sheaf.unpaid; n != 1 {
		t.Errorf("%d results wait for their pay, want that of task 2", n)
	}
}

// Alice frames bob, or pays for something else than he did: he takes none of it, and takes what is right after that.
func TestARootThatIsNotThatOfTheResults(t *testing.T) {
	for name, row := range map[string]struct {
		change func(alice *diary)
		forge  func(v *lease.Voucher)
	}{
		"another result": {change: func(alice *diary) {
			d := deed(worked(1, 10, "1"))
			d.Result[0]++
			alice.tally.fresh[1] = d
		}},
		"another task's statement":    {change: func(alice *diary) { alice.tally.fresh[1].Statement[0]++ }},
		"a result that he never gave": {change: func(alice *diary) { alice.tally.fresh[1] = deed(worked(7, 10, "7")) }},
		"the same one twice":          {change: func(alice *diary) { alice.tally.fresh[1] = alice.tally.fresh[0] }},
		"less work for the same sum":  {change: func(alice *diary) { alice.tally.fresh[1].Work--; alice.tally.fresh[2].Work++ }},
		"one is left out":             {change: func(alice *diary) { alice.tally.fresh = alice.tally.fresh[:2] }},
		"another order than is named": {forge: func(v *lease.Voucher) { v.Tasks = lease.NameTasks([]uint64{1, 0, 2}) }},
		"names are lacking":           {forge: func(v *lease.Voucher) { v.Tasks = lease.NameTasks([]uint64{0, 1}) }},
		"no names":                    {forge: func(v *lease.Voucher) { v.Tasks = nil }},
		"a gap":                       {forge: func(v *lease.Voucher) { v.From = 1; v.Tasks = lease.NameTasks([]uint64{1, 2}) }},
		"from beyond all":             {forge: func(v *lease.Voucher) { v.From = 1 << 63 }},
		"names that are none":         {forge: func(v *lease.Voucher) { v.Tasks = []byte{0x80} }},
		"another execution":           {forge: func(v *lease.Voucher) { v.Answers = make([]byte, 24) }},
		"answers that are cut off":    {forge: func(v *lease.Voucher) { v.Answers = make([]byte, 23) }},
		"no root": {forge: func(v *lease.Voucher) {
			w := v.Voucher
			w.Root = noRoot
			v.Signed = resign(t, w, "alice", func(*voucher.Voucher) {})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			tn := newTown(t, "alice", "bob")
			bob := tn.payee("bob")
			defer bob.Close()
			alice := tn.sworn(bob)
			for i := range uint64(3) {
				did(bob, alice.l, worked(i, 10, fmt.Sprint(i)))
				alice.pays(worked(i, 10, fmt.Sprint(i)))
			}
			honest := *alice.tally
			honest.fresh = slices.Clone(honest.fresh)
			used := alice.used
			if row.change != nil {
				row.change(alice)
			}
			alice.signs()
			v := alice.says()
			if row.forge != nil {
				row.forge(&v)
			}
			if _, err := bob.Take(context.Background(), alice.l, v); !errors.Is(err, ErrRoot) {
				t.Fatalf("bob takes it: %v", err)
			}
			if n := bob.Taken(context.Background(), alice.l); n != 0 {
				t.Errorf("%d results have their place", n)
			}
			if unpaid, promised := bob.Unpaid(alice.l); unpaid != 3*cpuSecond || promised != 0 {
				t.Errorf("%d unpaid, %d promised", unpaid, promised)
			}
			draft := honest.Draft()
			root, _, _ := draft.Reckon()
			honest.Kept(draft)
			s := resign(t, voucher.Voucher{Chain: "hpips-test-1", Lease: alice.l.Terms.Key(), Amount: cost(t, used), Usage: used, Root: root}, "alice", func(*voucher.Voucher) {})
			if _, err := bob.Take(context.Background(), alice.l, honest.Message(s)); err != nil {
				t.Errorf("what is right is refused after that: %v", err)
			}
		})
	}
}

// Carol commits herself to another result than she sent: alice's root does not come out, so she is not paid.
func TestWhoLeavesOutALeafIsNotPaid(t *testing.T) {
	tn := newTown(t, "alice", "bob")
	bob := tn.payee("bob")
	defer bob.Close()
	alice := tn.sworn(bob)
	did(bob, alice.l, worked(0, 10, "right"))
	bob.Did(alice.l, []job.Result{worked(1, 10, "left out")}) // he keeps no leaf of it
	alice.pays(worked(0, 10, "right"))
	alice.pays(worked(1, 10, "left out"))
	alice.signs()
	if _, err := bob.Take(context.Background(), alice.l, alice.says()); !errors.Is(err, ErrRoot) {
		t.Errorf("taken: %v", err)
	}
}

// A root without a jury would be audited, and nobody had the leaves.
func TestARootIsForAJuryAlone(t *testing.T) {
	tn := newTown(t, "alice", "bob")
	alice, bob := tn.payer("alice"), tn.payee("bob")
	defer bob.Close()
	l := tn.hired(alice, bob, "bob", hpips)
	bob.Did(l, []job.Result{ran(0, time.Second)})
	if _, err := alice.Promise(l, used(time.Second), [32]byte{1}); !errors.Is(err, ErrRoot) {
		t.Errorf("alice signs a root: %v", err)
	}
	v := resign(t, promise(t, alice, l, used(time.Second)).Voucher, "alice", func(v *voucher.Voucher) { v.Root = [32]byte{1} })
	if _, err := bob.Take(context.Background(), l, lease.Voucher{Signed: v}); !errors.Is(err, ErrRoot) {
		t.Errorf("bob takes one: %v", err)
	}
	sworn := tn.sworn(bob)
	if _, err := sworn.payer.Promise(sworn.l, used(time.Second), noRoot); !errors.Is(err, ErrRoot) {
		t.Errorf("alice forgets it: %v", err)
	}
	if _, err := bob.Leaf(context.Background(), l.Terms.Key(), 0, 1); !errors.Is(err, ErrLeaf) {
		t.Errorf("a lease without a jury has leaves: %v", err)
	}
	if n := bob.Taken(context.Background(), l); n != 0 || bob.tabs[l.Terms.Key()].sheaf != nil {
		t.Errorf("it costs something: %d", n)
	}
}

// affair is an alice and a mortal bob with what is under way between them.
type affair struct {
	*mortal
	alice    *diary
	results  []job.Result // sent to alice; a restart of bob loses some
	unkept   []job.Result // with alice, and not written down: they come again if she dies
	vouchers []lease.Voucher
	next     uint64
}

// works lets bob do a task: a new one, or one that he has done already, with the same outcome or another.
func (a *affair) works(r *rapid.T) {
	i := a.next
	if again := rapid.IntRange(0, 3).Draw(r, "again") == 0; again && i > 0 {
		i = rapid.Uint64Range(0, i-1).Draw(r, "task")
		a.alice.tally.Doubt() // it is she who assigns
	} else {
		a.next++
	}
	result := worked(i, int64(rapid.IntRange(0, 2).Draw(r, "work")), fmt.Sprint(i, rapid.IntRange(0, 1).Draw(r, "outcome")))
	lived := false
	a.does(func() {
		if !lived {
			lived = true
			did(a.bob, a.alice.l, result)
			a.results = append(a.results, result) // sent after it is counted
		}
	})
}

// hears lets alice count results as they come.
func (a *affair) hears(n int) {
	for _, r := range a.results[:n] {
		a.alice.pays(r)
	}
	a.unkept = append(a.unkept, a.results[:n]...)
	a.results = a.results[n:]
}

func (a *affair) signs() {
	a.alice.signs()
	a.unkept = nil
	a.vouchers = append(a.vouchers, a.alice.says())
}

// takes lets bob have the vouchers that are under way, and alice may hear of it.
func (a *affair) takes(n int, told bool) {
	for _, v := range a.vouchers[:n] {
		a.does(func() {
			if _, err := a.bob.Take(context.Background(), a.alice.l, v); err != nil && !errors.Is(err, ErrLess) {
				a.t.Errorf("bob died at %v, and does not take %+v: %v", a.deaths, v, err)
			}
		})
	}
	a.vouchers = a.vouchers[n:]
	if told {
		a.alice.tally.Taken(a.bob.Taken(context.Background(), a.alice.l))
	}
}

// restarts begins another life of bob; what he sent last may be lost.
func (a *affair) restarts(lost int) {
	if err := a.bob.Close(); err != nil {
		a.t.Fatal(err)
	}
	a.wakes()
	a.results = a.results[:len(a.results)-lost]
	a.alice.tally.Doubt() // she sees it
}

// dies begins another life of alice. Results that were not written down come again; what she said last may be lost.
func (a *affair) dies(lost int) {
	a.results = append(a.unkept, a.results...)
	a.unkept = nil
	a.vouchers = a.vouchers[:len(a.vouchers)-lost]
	a.alice.wakes()
}

// Whatever happens, in the end both have the same leaves under the same root, and one amount never had two.
func TestAnyHistoryEndsWithTheSameLeaves(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			a := &affair{mortal: &mortal{town: newTown(t, "alice", "bob")}}
			a.wakes()
			defer func() { a.bob.Close() }()
			a.alice = a.sworn(a.bob)
			signed := map[uint64]voucher.Voucher{}
			for range rapid.IntRange(1, 60).Draw(r, "steps") {
				switch rapid.SampledFrom([]string{"work", "work", "work", "work", "hear", "hear", "sign", "take", "bob restarts", "alice dies", "bob is mortal"}).Draw(r, "what") {
				case "work":
					a.works(r)
				case "hear":
					a.hears(rapid.IntRange(0, len(a.results)).Draw(r, "results"))
				case "sign":
					if a.alice.used.Tasks == 0 {
						continue
					}
					a.signs()
					v := a.alice.kept.signed.Voucher
					if before, ok := signed[v.Amount]; ok && before != v {
						t.Fatalf("one amount is signed as %+v and as %+v", before, v)
					}
					signed[v.Amount] = v
				case "take":
					a.takes(rapid.IntRange(0, len(a.vouchers)).Draw(r, "vouchers"), rapid.Bool().Draw(r, "told"))
				case "bob restarts":
					a.restarts(rapid.IntRange(0, len(a.results)).Draw(r, "lost"))
				case "alice dies":
					a.dies(rapid.IntRange(0, len(a.vouchers)).Draw(r, "lost"))
				case "bob is mortal":
					a.left = rapid.IntRange(1, 6).Draw(r, "steps to live")
				}
			}
			a.left = 0
			a.alice.tally.Doubt()
			a.works(r)
			a.hears(len(a.results))
			a.signs()
			a.takes(len(a.vouchers), true)
			agree(t, a.alice, a.bob, 0)
			if a.alice.tally.Open() != 0 {
				t.Errorf("alice names %d once more", a.alice.tally.Open())
			}
		})
	})
}

// Bob dies at every step of a paid result once: his leaves are alice's.
func TestBobDiesWithLeaves(t *testing.T) {
	seen := map[string]bool{}
	for at := 1; at < 40; at++ {
		synctest.Test(t, func(t *testing.T) {
			a := &affair{mortal: &mortal{town: newTown(t, "alice", "bob")}}
			a.wakes()
			defer func() { a.bob.Close() }()
			a.alice = a.sworn(a.bob)
			a.left = at
			for i := range uint64(4) {
				r, lived := worked(i, 5, "x"), false
				a.does(func() {
					if !lived {
						lived = true
						did(a.bob, a.alice.l, r)
						a.results = append(a.results, r)
					}
				})
				a.alice.tally.Doubt()
				if len(a.results) > 0 {
					a.hears(1)
					a.signs()
					a.takes(1, true)
				}
			}
			a.left = 0
			for _, d := range a.deaths {
				seen[d] = true
			}
			agree(t, a.alice, a.bob, 0)
		})
	}
	for _, step := range []string{"did: counted", "did: kept", "take: checked", "take: written", "take: kept"} {
		if !seen[step] {
			t.Errorf("bob never died at %q", step)
		}
	}
}

// Many results are unpaid for ever, as those that were lost are: what is kept of them has a bound, and what is paid is not kept from it.
func TestWhatNobodyPaysForHasABound(t *testing.T) {
	s := &sheaf{roll: NewRoll([32]byte{})}
	const many = 1 << 14
	for n := uint64(0); n < mostUnpaid+3*many; n += many {
		deeds := make([]Deed, many)
		for i := range deeds {
			deeds[i] = Deed{Index: n + uint64(i)}
		}
		s.put(int64(n/many+1), deeds)
	}
	if !slices.Equal(s.dropped, []int64{1, 2, 3}) {
		t.Errorf("rows %v are to go", s.dropped)
	}
	x := search{s: s}
	_, first := x.find(0, nil)
	_, last := x.find(mostUnpaid+many, nil)
	if s.unpaid != mostUnpaid || s.kept != mostUnpaid || len(x.index) != mostUnpaid || first || !last {
		t.Errorf("%d are kept, %d by their tasks", s.unpaid, len(x.index))
	}
}

// A book of an older version is taken over.
func TestAnOlderBook(t *testing.T) {
	for version, older := range map[int]string{
		1: `DROP TABLE leaf; DROP TABLE deed; ALTER TABLE lease DROP COLUMN leaving; ALTER TABLE lease ADD COLUMN leaves INTEGER NOT NULL DEFAULT 0;
			ALTER TABLE lease ADD COLUMN peaks BLOB NOT NULL DEFAULT ''; PRAGMA user_version = 1`,
		2: `ALTER TABLE lease DROP COLUMN leaving; PRAGMA user_version = 2`,
	} {
		t.Run(fmt.Sprint(version), func(t *testing.T) { olderBook(t, older) })
	}
}

func olderBook(t *testing.T, older string) {
	tn := newTown(t, "alice", "bob")
	alice, bob := tn.payer("alice"), tn.payee("bob")
	l := tn.hired(alice, bob, "bob", hpips)
	bob.Did(l, []job.Result{ran(0, time.Second)})
	if _, err := bob.book.safe.Exec(older); err != nil {
		t.Fatal(err)
	}
	if err := bob.Close(); err != nil {
		t.Fatal(err)
	}
	bob = tn.payee("bob")
	defer bob.Close()
	take(t, bob, l, promise(t, alice, l, used(time.Second)))
	sworn := tn.sworn(bob)
	did(bob, sworn.l, worked(0, 1, "0"))
	sworn.pays(worked(0, 1, "0"))
	sworn.signs()
	if _, err := bob.Take(context.Background(), sworn.l, sworn.says()); err != nil {
		t.Error(err)
	}
}

// Leaves outlive their lease for 30 days, and the last of one that goes on stays.
func TestLeavesAreKeptForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		tn := newTown(t, "alice", "bob")
		bob := tn.payee("bob")
		defer bob.Close()
		alice := tn.sworn(bob)
		id := alice.l.Terms.Key()
		for i := range uint64(2) {
			did(bob, alice.l, worked(i, 1, "x"))
			alice.pays(worked(i, 1, "x"))
			alice.signs()
			if _, err := bob.Take(ctx, alice.l, alice.says()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
		has := func(place, size uint64, want bool) {
			t.Helper()
			if _, err := bob.Leaf(ctx, id, place, size); (err == nil) != want || err != nil && !errors.Is(err, ErrLeaf) {
				t.Errorf("leaf %d: %v", place, err)
			}
		}
		if err := bob.prune(ctx, time.Now().Add(KeepLeaves)); err != nil {
			t.Fatal(err)
		}
		has(0, 2, false)
		has(1, 2, true)
		bob.Ended(ctx, alice.l)
		serves(t, bob, 10*24*time.Hour)
		if len(bob.tabs) != 0 {
			t.Fatal("the lease is not forgotten yet")
		}
		has(1, 2, true)
		serves(t, bob, 25*24*time.Hour)
		has(1, 2, false)
	})
}
