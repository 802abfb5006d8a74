package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
)

// person gives a signer whose key is made of a name.
func person(t *testing.T, name string) *Secret {
	t.Helper()
	key := make([]byte, 32)
	copy(key[1:], name)
	key[0] = 1
	s, err := KeySigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// inVillage runs a story in a village that makes a block every half second, in no time.
func inVillage(t *testing.T, story func(t *testing.T, v *village, l *Ledger)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		l, err := New(v, Config{GasPrice: "0.001uhpips"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var alive sync.WaitGroup
		alive.Go(func() { v.live(ctx) })
		story(t, v, l)
		stop()
		alive.Wait()
		_ = l.Close()
	})
}

func pay(t *testing.T, from, to Signer, memo string) Order {
	t.Helper()
	m, err := Pay(from.Address(), to.Address(), 5_000_000)
	if err != nil {
		t.Fatal(err)
	}
	return Order{Signer: from, Messages: []Message{m}, Memo: memo}
}

// crowd sends n payments of one account at once and gives their outcomes by memo.
func crowd(t *testing.T, l *Ledger, n int) map[string]error {
	alice, bob := person(t, "alice"), person(t, "bob")
	outcomes := map[string]error{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range n {
		o := pay(t, alice, bob, fmt.Sprintf("bill %d", i))
		all.Go(func() {
			_, err := l.Deliver(t.Context(), o)
			mu.Lock()
			defer mu.Unlock()
			outcomes[o.Memo] = err
		})
	}
	all.Wait()
	return outcomes
}

func TestAHundredPaymentsAtOnceAllLand(t *testing.T) {
	inVillage(t, func(t *testing.T, v *village, l *Ledger) {
		for memo, err := range crowd(t, l, 100) {
			if err != nil || v.paid[memo] != 1 {
				t.Errorf("%s landed %d times: %v", memo, v.paid[memo], err)
			}
		}
	})
}

// The link breaks at every third question on average, half of the times after the node heard it, and the node restarts and forgets its
// mempool now and then. Whatever happens: who is told that a payment landed has paid once, and nobody pays twice.
func TestNoPaymentLandsTwiceOverABrokenLink(t *testing.T) {
	for seed := range uint64(20) {
		inVillage(t, func(t *testing.T, v *village, l *Ledger) {
			dice := rand.New(rand.NewPCG(seed, 1))
			v.cut = func() (bool, bool) { n := dice.IntN(6); return n == 0, n == 1 }
			ctx, stop := context.WithCancel(t.Context())
			var faults sync.WaitGroup
			faults.Go(func() {
				tick := time.NewTicker(1700 * time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-ctx.Done():
						return
					case <-tick.C:
						v.crash()
					}
				}
			})
			landed := 0
			for memo, err := range crowd(t, l, 30) {
				switch {
				case v.paid[memo] > 1:
					t.Errorf("seed %d: %s was paid %d times", seed, memo, v.paid[memo])
				case err == nil && v.paid[memo] != 1:
					t.Errorf("seed %d: %s is said to have landed and did not", seed, memo)
				case err != nil && !errors.Is(err, ErrOpen) && v.paid[memo] != 0:
					t.Errorf("seed %d: %s is said to have failed and landed: %v", seed, memo, err)
				case err == nil:
					landed++
				}
			}
			stop()
			faults.Wait()
			if landed == 0 {
				t.Errorf("seed %d: nothing landed", seed)
			}
		})
	}
}

func TestANodeThatForgetsItsMempoolIsReminded(t *testing.T) {
	inVillage(t, func(t *testing.T, v *village, l *Ledger) {
		v.standing = true
		var told sync.WaitGroup
		told.Go(func() {
			for memo, err := range crowd(t, l, 20) {
				if err != nil || v.paid[memo] != 1 {
					t.Errorf("%s landed %d times: %v", memo, v.paid[memo], err)
				}
			}
		})
		time.Sleep(300 * time.Millisecond)
		v.crash()
		v.mu.Lock()
		v.standing = false
		v.mu.Unlock()
		told.Wait()
	})
}

func TestTwoProgramsShareAnAccount(t *testing.T) {
	inVillage(t, func(t *testing.T, v *village, l *Ledger) {
		other, err := New(v, Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		var both sync.WaitGroup
		for i, window := range []*Ledger{l, other} {
			for j := range 20 {
				o := pay(t, person(t, "alice"), person(t, "bob"), fmt.Sprintf("program %d, bill %d", i, j))
				both.Go(func() {
					if _, err := window.Deliver(t.Context(), o); err != nil {
						t.Errorf("%s: %v", o.Memo, err)
					}
				})
			}
		}
		both.Wait()
		for memo, n := range v.paid {
			if n != 1 {
				t.Errorf("%s landed %d times", memo, n)
			}
		}
		if len(v.paid) != 40 {
			t.Errorf("%d payments landed", len(v.paid))
		}
	})
}

func TestAnOutcomeThatIsNotKnownIsSaidToBeOpen(t *testing.T) {
	inVillage(t, func(t *testing.T, v *village, l *Ledger) {
		v.standing = true
		_, err := l.Deliver(t.Context(), pay(t, person(t, "alice"), person(t, "bob"), "patience"))
		var f *job.Failure
		if !errors.Is(err, ErrOpen) || !errors.As(err, &f) || !strings.Contains(f.Hint, "hpips chain tx") {
			t.Fatalf("a chain that stands still says %v", err)
		}
		v.standing = false
		again, err := l.Deliver(t.Context(), pay(t, person(t, "alice"), person(t, "bob"), "later"))
		if err != nil || v.paid["patience"] != 1 || v.paid["later"] != 1 {
			t.Errorf("afterwards %v, %v, paid %v", again, err, v.paid)
		}
	})
}

func TestAFailedPaymentIsToldInWordsAndWithItsCode(t *testing.T) {
	inVillage(t, func(t *testing.T, v *village, l *Ledger) {
		_, err := l.Deliver(t.Context(), pay(t, person(t, "alice"), person(t, "bob"), "fails in its block"))
		var f *job.Failure
		if !errors.As(err, &f) || f.ExitCode(0) != 121 || f.Message != "not enough HPIPS: 1.000001 are there, 5.000000 are wanted" || f.Hint == "" {
			t.Errorf("too poor: %v", err)
		}
		v.refuse = &Refused{root, codeFee, "insufficient fees; got:  required: 50uhpips: insufficient fee"}
		_, err = l.Deliver(t.Context(), pay(t, person(t, "alice"), person(t, "bob"), "stingy"))
		if !errors.As(err, &f) || f.ExitCode(0) != 121 || v.paid["stingy"] != 0 {
			t.Errorf("too stingy: %v", err)
		}
		if _, err = l.Deliver(t.Context(), pay(t, person(t, "alice"), person(t, "bob"), "fine")); err != nil {
			t.Errorf("after a refusal: %v", err)
		}
	})
}

func TestAFeeIsForTheGasWithAMargin(t *testing.T) {
	inVillage(t, func(t *testing.T, v *village, l *Ledger) {
		for used, want := range map[int]uint64{50_000: 110_000, 150_000: 210_000, 200_000: 280_000} {
			v.dearer = used - 50_000
			c, err := l.Estimate(t.Context(), pay(t, person(t, "alice"), person(t, "bob"), ""))
			if err != nil || c.Gas != want || c.Fee != money.Amount(want/1000) {
				t.Errorf("what takes %d costs %+v, %v", used, c, err)
			}
		}
	})
}

func TestFollowersMissNothing(t *testing.T) {
	inVillage(t, func(t *testing.T, v *village, l *Ledger) {
		dice := rand.New(rand.NewPCG(7, 7))
		v.cut = func() (bool, bool) { return dice.IntN(3) == 0, false }
		next := int64(1)
		enough := errors.New("enough")
		for range 5 { // a program that is started five times
			taken := 0
			err := l.Follow(t.Context(), next, func(n News) error {
				if n.Height != next {
					t.Fatalf("block %d came, %d was next", n.Height, next)
				}
				if taken++; taken > 7 {
					return enough
				}
				next++
				return nil
			})
			if !errors.Is(err, enough) {
				t.Fatal(err)
			}
		}
		v.cut, v.oldest = nil, next+2
		if err := l.Follow(t.Context(), next, func(News) error { return nil }); !errors.Is(err, ErrGone) {
			t.Errorf("blocks that were pruned: %v", err)
		}
	})
}

func TestNobodyAtTheAddress(t *testing.T) {
	inVillage(t, func(t *testing.T, v *village, l *Ledger) {
		v.cut = func() (bool, bool) { return true, false }
		_, err := l.Status(t.Context())
		var f *job.Failure
		if !errors.As(err, &f) || f.Code != job.CodeUnavailable || !strings.Contains(f.Hint, "hpips up") {
			t.Errorf("no node: %v", err)
		}
	})
	for _, address := range []string{"", "127.0.0.1:1", "ftp://x", "http://\x7f"} {
		if _, err := Open(address, Default()); err == nil {
			t.Errorf("%q is taken for an address", address)
		}
	}
}

// A block is there a moment before its state is. Who was told of a transaction may ask what came of it.
func TestATransactionIsToldOfWhenItsStateIsThere(t *testing.T) {
	inVillage(t, func(t *testing.T, v *village, l *Ledger) {
		v.mu.Lock()
		v.behind = 1 << 20
		v.mu.Unlock()
		told := make(chan error, 1)
		go func() {
			_, err := l.Deliver(t.Context(), pay(t, person(t, "alice"), person(t, "bob"), "early"))
			told <- err
		}()
		time.Sleep(1900 * time.Millisecond) // of the village's clock: the block is there, and who waits has not asked by the account yet
		select {
		case err := <-told:
			t.Fatalf("told before its state was there: %v", err)
		default:
		}
		v.mu.Lock()
		v.behind = 0
		v.mu.Unlock()
		if err := <-told; err != nil {
			t.Error(err)
		}
	})
}
