package pay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

// killed ends a life in the midst of a step.
type killed struct{ step string }

// mortal is a bob whose life ends when he has reached so many steps, and who then opens his book again.
type mortal struct {
	*town
	bob    *Payee
	left   int // steps to the end; 0: none
	deaths []string
}

func (m *mortal) wakes() {
	m.bob = m.payee("bob")
	m.bob.reached = func(step string) {
		if m.left--; m.left == 0 {
			panic(killed{step})
		}
	}
}

// does repeats what bob is asked to do until he lives through it, as whoever asks him does.
func (m *mortal) does(what func()) {
	m.t.Helper()
	for dead := true; dead; {
		dead = func() (dead bool) {
			defer func() {
				if k, is := recover().(killed); is {
					m.deaths = append(m.deaths, k.step)
					dead = true
				}
			}()
			what()
			return false
		}()
		if dead {
			if err := m.bob.Close(); err != nil {
				m.t.Fatal(err)
			}
			m.wakes()
		}
	}
}

// day is a day of work under two leases, with bob dying at one step. It returns how many steps there were.
func (m *mortal) day(t *testing.T) (steps int) {
	ctx := context.Background()
	const whole = 1 << 20
	if m.left == 0 {
		m.left = whole
		defer func() { steps = whole - m.left }()
	}
	alice := m.payer("alice")
	var leases []lease.Lease
	used := map[voucher.ID]voucher.Usage{}
	for range 2 {
		l := m.lease(alice, "bob", hpips)
		if err := alice.Fund(ctx, []lease.Lease{l}); err != nil {
			t.Fatal(err)
		}
		m.does(func() {
			if _, err := m.bob.Funded(ctx, l); err != nil {
				t.Error(err)
			}
		})
		leases = append(leases, l)
	}
	look := func() {
		m.does(func() {
			if _, err := m.bob.step(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	owed := uint64(0)
	for round := range uint64(2) {
		for _, l := range leases {
			id := l.Terms.Key()
			m.does(func() { m.bob.Did(l, []job.Result{ran(round, time.Second)}) })
			used[id] = used[id].Add(Used(ran(round, time.Second), job.Resources{}))
			v := promise(t, alice, l, used[id])
			owed += cpuSecond
			m.does(func() { take(t, m.bob, l, v) })
		}
		time.Sleep(10 * time.Minute)
		look() // the first money, once
	}
	for _, l := range leases {
		m.does(func() { m.bob.Ended(ctx, l) })
	}
	for range 30 {
		look()
		time.Sleep(time.Hour)
	}
	if got := m.chain.final("hpips1bob") + m.chain.fees(); got != owed {
		t.Errorf("bob died at %v: he has %d of %d", m.deaths, got, owed)
	}
	m.chain.check(t)
	return 0
}

// Bob dies at every step once: no voucher is lost, none is redeemed twice.
func TestBobDiesAtEveryStep(t *testing.T) {
	seen, steps := map[string]int{}, 0
	for at := 0; at == 0 || at <= steps; at++ {
		synctest.Test(t, func(t *testing.T) {
			m := &mortal{town: newTown(t, "alice", "bob"), left: at}
			m.wakes()
			if n := m.day(t); at == 0 {
				steps = n
			}
			if err := m.bob.Close(); err != nil {
				t.Fatal(err)
			}
			for _, d := range m.deaths {
				seen[d]++
			}
			if at > 0 && len(m.deaths) != 1 {
				t.Errorf("step %d of %d: bob died at %v", at, steps, m.deaths)
			}
		})
	}
	t.Logf("%d steps: %v", steps, seen)
	for _, step := range []string{"funded: seen", "funded: kept", "did: counted", "did: kept", "take: checked", "take: kept", "ended: kept",
		"redeem: asked", "redeem: left", "redeem: signed", "redeem: sent", "redeem: kept"} {
		if seen[step] == 0 {
			t.Errorf("bob never died at %q", step)
		}
	}
}

// In any history of work, promises good and bad, deaths, redemptions, top-ups and closings, bob is paid all that he was promised and the chain's sums hold.
func TestAnyHistory(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx := context.Background()
			m := &mortal{town: newTown(t, "alice", "bob")}
			m.wakes()
			defer func() { m.bob.Close() }()
			alice := m.payer("alice")
			l := m.hired(alice, m.bob, "bob", 50*cpuSecond)
			var count voucher.Usage
			var last voucher.Signed
			most := uint64(0)
			closed := false        // by alice
			letGo := func() bool { // rightly; the chain may have it no more
				m.bob.mu.Lock()
				defer m.bob.mu.Unlock()
				k := m.bob.tabs[l.Terms.Key()]
				return k != nil && k.leaving && (closed || !time.Now().Before(k.until))
			}
			for i := range uint64(rapid.IntRange(1, 30).Draw(r, "steps")) {
				switch rapid.SampledFrom([]string{"work", "work", "work", "pay", "pay", "lie", "die", "redeem", "top up", "wait", "close"}).Draw(r, "what") {
				case "work":
					took := time.Duration(rapid.IntRange(1, 5000).Draw(r, "ms")) * time.Millisecond
					m.bob.Did(l, []job.Result{ran(i, took)})
					count = count.Add(used(took))
				case "pay":
					v, err := alice.Promise(l, count, noRoot)
					if err == nil || v.Signature != nil {
						_, err := m.bob.Take(ctx, l, lease.Voucher{Signed: v})
						if (errors.Is(err, ErrLetGo) || errors.Is(err, ErrUnfunded)) && letGo() { // closed, and all of it was paid when bob had died
							break
						}
						if last = v; err != nil {
							t.Fatal(err)
						}
						most = max(most, v.Voucher.Amount)
					}
				case "lie":
					v := last.Voucher
					v.Chain, v.Lease = "hpips-test-1", l.Terms.Key()
					v.Amount += uint64(rapid.IntRange(-5, 5).Draw(r, "more"))
					v.Usage.CPU += uint64(rapid.IntRange(-5, 5).Draw(r, "used"))
					lie := resign(t, v, "alice", func(*voucher.Voucher) {})
					if amount, err := m.bob.Take(ctx, l, lease.Voucher{Signed: lie}); err == nil {
						most = max(most, amount) // it was a promise after all
						if amount > cost(t, count) {
							t.Errorf("bob takes %d for work of %d", amount, cost(t, count))
						}
					}
				case "die":
					m.left = rapid.IntRange(1, 8).Draw(r, "steps to live")
					m.does(func() { m.bob.step(ctx) })
					m.does(func() { m.bob.Did(l, nil) })
					m.left = 0
				case "redeem":
					m.bob.step(ctx)
				case "top up":
					if err := alice.TopUp(ctx, l, 10*cpuSecond); err != nil && !errors.Is(err, ErrUnfunded) { // it may be closed
						t.Error(err)
					}
				case "wait":
					time.Sleep(time.Duration(rapid.IntRange(1, 100).Draw(r, "minutes")) * time.Minute)
				case "close":
					closed = true
					if err := alice.Close(ctx, []lease.Lease{l}); err != nil {
						t.Error(err)
					}
				}
			}
			for range 5 * 24 {
				m.bob.step(ctx)
				time.Sleep(time.Hour)
			}
			got := m.chain.final("hpips1bob") + m.chain.fees()
			if short := most - min(most, got); got > most || short > m.chain.rules.Fee {
				t.Errorf("bob has %d of %d", got, most)
			}
			m.chain.check(t)
		})
	})
}

// A process that only works and is paid, until it is killed.
const childBook = "HPIPS_TEST_PAY_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childBook); dir != "" {
		child(dir)
	}
	leakless(m)
}

// child tells what it has taken, after it has taken it.
func child(dir string) {
	t := &orphan{}
	tn := newTown(t, "alice", "bob")
	tn.dir = dir
	alice, bob := tn.payer("alice"), tn.payee("bob")
	tn.next = 0
	l := tn.lease(alice, "bob", 900*hpips, jury, func(t *lease.Terms) { t.From, t.Until = 0, 1<<42 })
	if err := alice.Fund(context.Background(), []lease.Lease{l}); err != nil {
		t.Fatal(err)
	}
	var count voucher.Usage
	if k := bob.tabs[l.Terms.Key()]; k != nil {
		count = k.done
	}
	if _, err := bob.Funded(context.Background(), l); err != nil {
		t.Fatal(err)
	}
	d := &diary{town: tn, l: l, payer: alice, tally: recalled(bob, l), used: count}
	for i := uint64(0); ; i++ {
		r := worked(i, 7, "x")
		did(bob, l, r)
		d.pays(r)
		d.signs()
		if _, err := bob.Take(context.Background(), l, d.says()); err != nil {
			t.Fatal(err)
		}
		fmt.Println(d.used.Tasks)
	}
}

// recalled is what alice knows of a lease when bob's book is all that there is: what he is paid for, and then all that he did besides.
func recalled(bob *Payee, l lease.Lease) *Tally {
	id, ctx := l.Terms.Key(), context.Background()
	tally := NewTally(l.Terms)
	k := bob.tabs[id]
	if k == nil {
		return tally
	}
	s, err := bob.sheafOf(ctx, id, k, l.Terms)
	if err == nil && s.roll.Size() > 0 {
		var sheets []Sheet
		if sheets, _, err = bob.book.sheets(ctx, id, 0, s.roll.Size()); err == nil {
			tally, err = Resume(l.Terms, sheets)
		}
	}
	if err != nil {
		(&orphan{}).Fatal(err)
	}
	for _, b := range s.bundles {
		for i := range b.deeds {
			tally.Add(b.deeds[i])
		}
	}
	return tally
}

// orphan stands for the test in a process of its own.
type orphan struct{ testing.TB }

func (*orphan) Helper()         {}
func (*orphan) TempDir() string { return "" }
func (*orphan) Fatal(args ...any) {
	fmt.Fprintln(os.Stderr, args...)
	os.Exit(1)
}
func (o *orphan) Fatalf(format string, args ...any) { o.Fatal(fmt.Sprintf(format, args...)) }

func TestKilledForReal(t *testing.T) {
	dir := t.TempDir()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	told := uint64(0)
	for life := range 20 {
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), childBook+"="+dir)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if _, err := fmt.Sscan(lines.Text(), &told); err != nil {
				t.Fatalf("%q: %v", lines.Text(), err)
			}
			if n == 3*life {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		cmd.Wait() // it was killed
		if stderr.Len() > 0 {
			t.Fatal(stderr.String())
		}
		b, err := openBook(dir + "/bob/pay.db")
		if err != nil {
			t.Fatal(err)
		}
		tabs, err := b.tabs()
		if err != nil || len(tabs) != 1 {
			t.Fatalf("life %d: %d leases: %v", life, len(tabs), err)
		}
		for id, k := range tabs {
			s := &sheaf{}
			l, found, err := b.lease(context.Background(), k.name)
			if s.roll = NewRoll(l.Terms.Digest()); err != nil || !found {
				t.Fatal(err)
			}
			if err := b.sheaf(context.Background(), id, s); err != nil {
				t.Fatal(err)
			}
			if k.last.Usage.Tasks != s.roll.Size() || k.last.Usage.Tasks > 0 && k.last.Root != s.roll.Root() || k.done.Tasks != s.roll.Size()+uint64(s.unpaid) {
				t.Errorf("life %d: %+v is kept, %d were done, and there are %d leaves and %d deeds", life, k.last, k.done.Tasks, s.roll.Size(), s.unpaid)
			}
			if k.last.Usage.Tasks < told || k.done.Tasks < k.last.Usage.Tasks {
				t.Errorf("life %d: %d were told, %d are kept, %d were done", life, told, k.last.Usage.Tasks, k.done.Tasks)
			}
			told = k.last.Usage.Tasks
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("20 lives: %d promises, all kept", told)
}
