package requester

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/trust"
	"github.com/hpips/hpips/spec/voucher"
)

// keeper is a worker's real payee: it takes no voucher whose root is not that of its own leaves.
type keeper struct {
	t      testing.TB
	name   string
	payee  *pay.Payee
	open   func() *pay.Payee
	leases map[string]lease.Lease
	state  map[string]func(job.Task) [32]byte
	refuse []error
	hears  bool // vouchers reach it
}

// juryTown is a paying town whose alice wants a jury, and whose workers have real books.
func juryTown(t testing.TB, pace time.Duration, names ...string) *town {
	tn := payingTown(t, pace, names...)
	tn.jury, tn.bank.payees = true, map[string]string{}
	for _, w := range tn.folk {
		seed := sha256.Sum256([]byte(w.name))
		key := ed25519.NewKeyFromSeed(seed[:])
		tn.bank.payees[string(key.Public().(ed25519.PublicKey))] = w.name
		cfg := pay.DefaultPayee(24 * time.Hour)
		cfg.Path, cfg.Key = filepath.Join(t.TempDir(), "pay.db"), key
		w.book = &keeper{t: t, name: w.name, hears: true, leases: map[string]lease.Lease{}, state: map[string]func(job.Task) [32]byte{}, open: func() *pay.Payee {
			p, err := pay.OpenPayee(slog.New(slog.DiscardHandler), tn.bank, cfg)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}}
		w.book.payee = w.book.open()
		w.answer = counted(w.name, pace)
	}
	return tn
}

// counted answers like honest, with some work; two executions of a task differ now and then.
func counted(name string, pace time.Duration) func(lease.Work, job.Task) *job.Result {
	n := 0
	return func(w lease.Work, t job.Task) *job.Result {
		r := honest(pace)(w, t)
		r.Usage.Work = int64(t.Index%7) * 1000
		if n++; n%5 == 0 {
			r.Stdout = text(fmt.Sprint(name, n))
		}
		return r
	}
}

func (k *keeper) begins(l lease.Lease, w lease.Work) uint64 {
	if k == nil || l.Terms.Pay == nil || !l.Terms.Pay.Jury {
		return 0
	}
	id := l.ID()
	k.leases[id] = l
	var err error
	if k.state[id], err = w.Digests(); err == nil {
		_, err = k.payee.Funded(context.Background(), l)
	}
	if err != nil {
		k.t.Errorf("%s cannot begin: %v", k.name, err)
	}
	return k.payee.Taken(context.Background(), l)
}

func (k *keeper) did(id string, tasks []job.Task, results []job.Result) {
	if k == nil || len(tasks) == 0 || k.state[id] == nil {
		return
	}
	var statements [][32]byte
	for _, t := range tasks {
		statements = append(statements, k.state[id](t))
	}
	k.payee.Did(k.leases[id], results, statements...)
}

func (k *keeper) takes(id string, v lease.Voucher) uint64 {
	if k == nil || !k.hears || k.state[id] == nil {
		return 0
	}
	if _, err := k.payee.Take(context.Background(), k.leases[id], v); err != nil {
		k.refuse = append(k.refuse, err)
	}
	return k.payee.Taken(context.Background(), k.leases[id])
}

// restarts is another process of w, with its book.
func (w *worker) restarts() {
	w.mu.Lock()
	if err := w.book.payee.Close(); err != nil {
		w.book.t.Fatal(err)
	}
	w.book.payee = w.book.open()
	w.mu.Unlock()
	w.restart()
}

// closeBooks ends the workers.
func (tn *town) closeBooks() {
	for _, w := range tn.folk {
		if err := w.book.payee.Close(); err != nil {
			tn.t.Error(err)
		}
	}
}

// agree holds alice's leaves against her workers', with the statements of their tasks. It returns how many there are.
func (tn *town) agree(r *Requester) (n uint64) {
	tn.t.Helper()
	ctx := context.Background()
	for _, w := range tn.folk {
		w.mu.Lock()
		for id, vouchers := range w.paid {
			v := vouchers[len(vouchers)-1].Voucher
			key := w.book.leases[id].Terms.Key()
			if _, promised := w.book.payee.Unpaid(w.book.leases[id]); promised != v.Amount {
				tn.t.Errorf("%s has taken %d, alice signed %d; refused: %v", w.name, promised, v.Amount, errors.Join(w.book.refuse...))
				continue
			}
			roots := map[uint64][32]byte{}
			for _, s := range vouchers {
				if root, ok := roots[s.Voucher.Amount]; ok && root != s.Voucher.Root || s.Voucher.Root == [32]byte{} {
					tn.t.Errorf("an amount of %d has two roots, or none", s.Voucher.Amount)
				}
				roots[s.Voucher.Amount] = s.Voucher.Root
			}
			for place := range v.Usage.Tasks {
				hers, err := r.Leaf(ctx, id, place, v.Usage.Tasks)
				if err != nil {
					tn.t.Fatal(err)
				}
				his, err := w.book.payee.Leaf(ctx, key, place, v.Usage.Tasks)
				if err != nil {
					tn.t.Fatal(err)
				}
				if hers.Leaf != his.Leaf || hers.Index != his.Index {
					tn.t.Fatalf("leaf %d is %+v with alice and %+v with %s", place, hers, his, w.name)
				}
				if err := trust.CheckPath(v.Root, v.Usage.Tasks, place, hers.Leaf.Seal(hers.Salt), hers.Path); err != nil {
					tn.t.Fatal(err)
				}
				s, err := r.Statement(ctx, id, hers.Index)
				if err != nil {
					tn.t.Fatal(err)
				}
				if trust.Digest(s.Digest()) != hers.Leaf.Statement || s.Task.Index != hers.Index {
					tn.t.Fatalf("the statement of task %d is not that of its leaf", hers.Index)
				}
				n++
			}
		}
		w.mu.Unlock()
	}
	return n
}

func TestAliceSignsTheRootsOfHerResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := juryTown(t, 10*time.Millisecond, "bob", "carol")
		defer tn.closeBooks()
		r, stop := tn.life()
		defer stop()
		spec := tn.dearCount(200)
		spec.Reduce = &job.Reduce{Run: spec.Run}
		if s := finish(t, r, submit(t, r, spec)); s.State != job.Settled {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
		synctest.Wait()
		tn.settleAccounts()
		if n := tn.agree(r); n != 201 {
			t.Errorf("%d leaves of 200 tasks and a reduce", n)
		}
		if _, err := r.Leaf(context.Background(), "nobody's", 0, 1); !errors.Is(err, pay.ErrLeaf) {
			t.Errorf("a lease that is not alice's: %v", err)
		}
	})
}

// With no jury nothing of it is in any voucher, or in the journal.
func TestWithoutAJuryNothingIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := payingTown(t, 10*time.Millisecond, "bob")
		r, stop := tn.life()
		defer stop()
		finish(t, r, submit(t, r, tn.dearCount(50)))
		synctest.Wait()
		rows := 0
		for _, table := range []string{"leaf", "work"} {
			var n int
			if err := r.journal.r.QueryRow(`SELECT count(*) FROM ` + table).Scan(&n); err != nil {
				t.Fatal(err)
			}
			rows += n
		}
		for _, vouchers := range tn.folk[0].paid {
			for _, v := range vouchers {
				if v.Voucher.Root != [32]byte{} || rows > 0 {
					t.Fatalf("%+v, %d rows", v.Voucher, rows)
				}
			}
		}
	})
}

// What comes live cannot be run again: alice wants no jury for it, and pays all the same.
func TestNoJuryForALiveInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := juryTown(t, 10*time.Millisecond, "bob")
		defer tn.closeBooks()
		r, stop := tn.life()
		defer stop()
		spec := tn.batch()
		spec.Limits.Hour = "10000 HPIPS"
		id, err := r.Submit(context.Background(), spec, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Stdin(context.Background(), id, bytes.NewReader([]byte("hello"))); err != nil {
			t.Fatal(err)
		}
		if s := finish(t, r, id); s.State != job.Settled {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
		synctest.Wait()
		for _, vouchers := range tn.folk[0].paid {
			for _, v := range vouchers {
				if v.Voucher.Root != [32]byte{} {
					t.Error("a root is signed")
				}
			}
		}
	})
}

// Alice and her workers are killed again and again; tasks fail and are tried again, and copies come too late. In the end each has alice's leaves, and no amount ever had two
// roots.
func TestKilledInTheMiddleOfJobsWithAJury(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				luck := rand.New(rand.NewPCG(seed, 3))
				tn := juryTown(t, 30*time.Millisecond, "bob", "carol")
				defer tn.closeBooks()
				if seed%2 == 1 {
					for i, w := range tn.folk {
						plain, luck := w.answer, rand.New(rand.NewPCG(seed, 4+uint64(i)))
						w.answer = func(work lease.Work, k job.Task) *job.Result {
							r := plain(work, k)
							if luck.IntN(10) == 0 {
								r.Exit = 1
							}
							return r
						}
					}
				}
				r, stop := tn.life()
				spec := tn.dearCount(300)
				spec.Retries = 20
				id := submit(t, r, spec)
				for range 8 {
					time.Sleep(time.Duration(luck.IntN(900)) * time.Millisecond)
					if luck.IntN(2) == 0 {
						tn.folk[luck.IntN(2)].restarts()
						continue
					}
					stop()
					time.Sleep(time.Duration(luck.IntN(100)) * time.Millisecond)
					r, stop = tn.life()
				}
				synctest.Wait()
				s := finish(t, r, id)
				if s.State != job.Settled || s.Tasks.Done != 300 {
					t.Fatalf("status %+v, error %+v", s, s.Error)
				}
				time.Sleep(2 * closeLate)
				synctest.Wait()
				n := tn.agree(r)
				if n < 300 {
					t.Errorf("%d leaves of 300 tasks", n)
				}
				for _, w := range tn.folk {
					for _, err := range w.book.refuse {
						if !errors.Is(err, pay.ErrLess) { // one of an earlier life comes late
							t.Errorf("%s: %v", w.name, err)
						}
					}
				}
				t.Logf("%d leaves; %d and %d vouchers refused", n, len(tn.folk[0].book.refuse), len(tn.folk[1].book.refuse))
				stop()
			})
		})
	}
}

// A voucher of an ended lease names its results in the next life, too: bob has not heard the last ones.
func TestALostVoucherWithNamesComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := juryTown(t, 10*time.Millisecond, "bob")
		defer tn.closeBooks()
		bob := tn.folk[0]
		r, stop := tn.life()
		id := submit(t, r, tn.dearCount(200))
		time.Sleep(time.Second)
		bob.mu.Lock()
		bob.book.hears = false
		bob.mu.Unlock()
		finish(t, r, id)
		synctest.Wait()
		stop()
		bob.mu.Lock()
		bob.book.hears = true
		bob.mu.Unlock()
		r, stop = tn.life()
		synctest.Wait()
		if n := tn.agree(r); n != 200 {
			t.Errorf("%d leaves of 200 tasks", n)
		}
		stop()
	})
}

// The root is worth nothing if alice signs before the leaves are written: in her journal there is the one with the other.
func TestLeavesAreInTheTransactionOfTheirVoucher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := juryTown(t, 10*time.Millisecond, "bob")
		defer tn.closeBooks()
		r, stop := tn.life()
		if _, err := r.journal.w.Exec(`CREATE TRIGGER full BEFORE INSERT ON leaf BEGIN SELECT RAISE(ABORT, 'disk is full'); END`); err != nil {
			t.Fatal(err)
		}
		id := submit(t, r, tn.dearCount(100))
		if s := finish(t, r, id); s.State != job.Failed {
			t.Fatalf("status %+v", s)
		}
		synctest.Wait()
		purses, err := r.journal.purses(context.Background(), id)
		if err != nil || len(purses) != 1 || purses[0].Voucher != nil || purses[0].Used != (voucher.Usage{}) {
			t.Errorf("%+v, %v", purses, err)
		}
		tn.folk[0].mu.Lock()
		if len(tn.folk[0].paid) > 0 {
			t.Errorf("bob has vouchers without leaves: %+v", tn.folk[0].paid)
		}
		tn.folk[0].mu.Unlock()
		stop()
	})
}

// Mallory never says that she has taken a voucher. Alice names all her results each time, as long as one message holds them, and then parts with her.
func TestWhoTakesNoVouchersIsTurnedAway(t *testing.T) {
	if testing.Short() {
		t.Skip("half a million tasks")
	}
	synctest.Test(t, func(t *testing.T) {
		tn := payingTown(t, 0, "mallory")
		tn.jury = true
		mallory := tn.folk[0]
		mallory.silent, mallory.slots, mallory.credit, mallory.answer = true, 4, 4096, honest(0)
		mallory.rates = voucher.Rates{Sent: 1 << 30} // 1 for a byte: no time goes by here
		r, stop := tn.life()
		defer stop()
		const many = pay.MostOpen + 50_000
		s := finish(t, r, submit(t, r, tn.dearCount(many)))
		if s.State != job.Settled {
			t.Fatalf("status %+v, error %+v", s, s.Error)
		}
		synctest.Wait()
		mallory.mu.Lock()
		defer mallory.mu.Unlock()
		if len(mallory.paid) != 2 || len(mallory.ends) != 2 {
			t.Errorf("%d leases were paid for, %d have ended", len(mallory.paid), len(mallory.ends))
		}
	})
}

// What takes so much work that a dispute may find no jury in time is run by a second owner; carol lies about it and is odd. Light tasks are left to the jury, and heavy ones of a job without one
// are run once.
func TestHeavyTasksAreRunByASecondOwner(t *testing.T) {
	for name, juried := range map[string]bool{"with a jury": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const pace = 10 * time.Minute
				tn := juryTown(t, pace, "bob", "carol", "dave")
				defer tn.closeBooks()
				for _, w := range tn.folk {
					w.answer = func(l lease.Work, task job.Task) *job.Result {
						r := honest(pace)(l, task)
						r.Usage.Work = trust.Disputable + 1
						switch heavy := task.Index%3 == 0; {
						case heavy && w.name == "carol":
							r.Stdout = text("made up")
						case heavy:
						case task.Index%3 == 1: // many instructions, but quickly done
							r.Usage.CPU = (trust.DisputableSeconds * time.Second).Nanoseconds()
						default: // long, on a slow PC
							r.Usage.Work--
						}
						return r
					}
				}
				const tasks = 15 // of ten minutes: two nodes alone have done them all within the three hours that a test waits
				spec := tn.dearCount(tasks)
				spec.Verify = job.Verify{Mode: job.Jury, Copies: 1}
				tn.jury = juried
				r, stop := tn.life()
				defer stop()
				id := submit(t, r, spec)
				s := finish(t, r, id)
				if s.State != job.Settled {
					t.Fatalf("status %+v, error %+v", s, s.Error)
				}
				ran := map[uint64]int{}
				for _, w := range tn.folk {
					for _, i := range w.ran {
						ran[i]++
					}
				}
				for i := range uint64(tasks) {
					if heavy := juried && i%3 == 0; heavy != (ran[i] > 1) {
						t.Errorf("task %d was run %d times", i, ran[i])
					}
				}
				if !juried {
					return
				}
				if s.Verified != tasks/3 || len(s.Odd) != 1 || s.Odd[0] != tn.folk[1].id.String() || tn.folk[1].history(r).Wrong == 0 {
					t.Errorf("verified %d, odd %v, carol %+v", s.Verified, s.Odd, tn.folk[1].history(r))
				}
				for name, content := range tn.shelf.files(t, s.Result) {
					if content == "made up" {
						t.Errorf("part %s is carol's", name)
					}
				}
				why, err := r.Why(t.Context(), id)
				if err != nil || !strings.Contains(fmt.Sprint(why), "a second owner runs them, too") {
					t.Errorf("%+v, %v", why, err)
				}
			})
		})
	}
}
