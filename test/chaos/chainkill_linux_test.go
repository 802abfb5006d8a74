package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cometbft/cometbft/crypto/ed25519"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/test/e2e/pc"
)

// load is payments that go on while PCs come and go.
type load struct {
	v    *village
	stop context.CancelFunc
	all  sync.WaitGroup

	mu     sync.Mutex
	stood  []ledger.Receipt // what the payers were told that it stands in a block
	failed int
}

// load begins a load: each payer pays again and again, through one of these PCs after the other.
func (v *village) load(through ...*citizen) *load {
	ctx, stop := context.WithCancel(v.t.Context())
	l := &load{v: v, stop: stop}
	for i, payer := range v.payers {
		l.all.Go(func() {
			for turn := i; ctx.Err() == nil; turn++ {
				once, done := context.WithTimeout(ctx, 20*time.Second)
				r, err := v.pay(once, through[turn%len(through)], payer, v.owner.Address())
				done()
				l.mu.Lock()
				if err == nil {
					l.stood = append(l.stood, r)
				} else {
					l.failed++
				}
				l.mu.Unlock()
				if err != nil { // that PC is away
					select {
					case <-ctx.Done():
					case <-time.After(100 * time.Millisecond):
					}
				}
			}
		})
	}
	return l
}

// end ends the load, and finds every payment that stood in a block there, on each of these PCs.
func (l *load) end(on ...*citizen) {
	v := l.v
	v.t.Helper()
	l.stop()
	l.all.Wait()
	v.goesOn(2, on...)
	at := map[int64][]string{}
	for _, r := range l.stood {
		at[r.Height] = append(at[r.Height], r.Hash)
	}
	unlisted := 0
	for _, c := range on {
		_, window := c.through()
		for height, hashes := range at {
			b, err := window.Block(v.t.Context(), height)
			if err != nil {
				v.t.Fatalf("block %d of %s: %v", height, c.Name, err)
			}
			for _, hash := range hashes {
				if !slices.ContainsFunc(b.Transactions, func(i ledger.BlockedItem) bool { return i.Hash == hash && i.OK }) {
					v.t.Errorf("payment %s stood in block %d, which at %s does not hold it", hash, height, c.Name)
				}
				if _, err := window.Tx(v.t.Context(), hash); err != nil {
					unlisted++
				}
			}
		}
	}
	if unlisted > 0 {
		v.t.Logf("%d of %d payments are in their block and not in a PC's list of transactions", unlisted, len(l.stood)*len(on))
	}
	if len(l.stood) == 0 {
		v.t.Error("no payment stood in a block")
	}
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.stood)
}

// soon is how long a PC that was killed may need to be at the head again, from the start of its process on.
const soon = 10 * time.Second

// Each of four PCs in turn loses its power at any moment, while payments are made. No payment is lost, all come to the same state, each is back
// soon, and what each has signed it remembers. Two cores carry that much: it runs before the tests that run side by side, so that its times are its own.
func TestSoakChainIsKilled(t *testing.T) {
	v := newVillage(t, plan{names: []string{"alice", "bob", "carol", "dave"}, payers: 3, tune: lasting(4)})
	v.start()
	v.goesOn(2, v.folk...)
	l := v.load(v.folk...)
	var back []time.Duration
	began, kills, votes := time.Now(), counted(6, 50), 0
	for i := range kills {
		c := v.folk[i%len(v.folk)]
		rest := slices.DeleteFunc(slices.Clone(v.folk), func(o *citizen) bool { return o == c })
		before := l.count()
		v.until("payments stand in blocks", func() bool { return l.count() > before })
		v.pause(time.Second)
		c.Kill(t)
		votes += v.remembers(c, rest)
		v.goesOn(2, rest...)
		took := v.returns(c, rest)
		if back = append(back, took); took >= soon {
			t.Errorf("kill %d: %s is at the head %.1f s after its start, %v is the most (load average %s)", i+1, c.Name, took.Seconds(), soon,
				strings.TrimSpace(read(t, "/proc/loadavg")))
		}
	}
	l.end(v.folk...)
	last := v.agree(1, v.folk...)
	slices.Sort(back)
	t.Logf("seed %d: %d kills in %.0f s: %d payments stood in blocks and stand there, %d were given up; all agree up to block %d; %d votes seen, none forgotten; back at the head in %.1f s (median), %.1f s (worst)",
		*seed, kills, time.Since(began).Seconds(), len(l.stood), l.failed, last, votes, back[len(back)/2].Seconds(), back[len(back)-1].Seconds())
}

func (v *village) pause(most time.Duration) { <-time.After(time.Duration(v.rng.Int64N(int64(most)))) }

// returns starts a PC and tells how long it took to be at the head of the others, from before its process was there.
func (v *village) returns(c *citizen, rest []*citizen) time.Duration {
	v.t.Helper()
	began := time.Now()
	c.start()
	v.until(c.Name+" is back at the head", func() bool {
		var head int64
		for _, o := range rest {
			head = max(head, o.height())
		}
		return head > 0 && c.height() >= head
	})
	return time.Since(began)
}

// moment is a place in the order of what one signs.
type moment struct{ height, round, step int64 }

func (m moment) after(o moment) bool {
	return slices.Compare([]int64{m.height, m.round, m.step}, []int64{o.height, o.round, o.step}) > 0
}

// remembers compares what a PC that was just killed has on its disk about its last signature with the votes of it that others have seen: to
// forget one would be to sign another in its place. It gives how many votes it looked at.
func (v *village) remembers(c *citizen, rest []*citizen) (votes int) {
	v.t.Helper()
	signed := c.signed()
	address := ed25519.PrivKey(c.keys.Consensus).PubKey().Address()
	// "Vote{2:3E7B7A2C0D31 12/00/SIGNED_MSG_TYPE_PREVOTE(Prevote) …}"
	word := regexp.MustCompile(fmt.Sprintf(`Vote\{\d+:%X (\d+)/(\d+)/[A-Z_]*(PREVOTE|PRECOMMIT)`, []byte(address[:6])))
	look := func(o *citizen) {
		rpc, _ := o.through()
		ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
		defer stop()
		if state, err := rpc.ConsensusState(ctx); err == nil {
			for _, m := range word.FindAllStringSubmatch(string(state.RoundState), -1) {
				at := moment{number(m[1]), number(m[2]), map[string]int64{"PREVOTE": 2, "PRECOMMIT": 3}[m[3]]}
				votes++
				if at.after(signed) {
					v.t.Errorf("%s has seen %s vote at %+v, which itself remembers %+v", o.Name, c.Name, at, signed)
				}
			}
		}
		height := o.height()
		for h := max(1, height-1); h <= height; h++ {
			commit, err := rpc.Commit(ctx, &h)
			if err != nil {
				continue
			}
			for _, s := range commit.Commit.Signatures {
				if at := (moment{h, int64(commit.Commit.Round), 3}); s.ValidatorAddress.String() == address.String() {
					votes++
					if at.after(signed) {
						v.t.Errorf("a block at %s has a vote of %s of %+v, which itself remembers %+v", o.Name, c.Name, at, signed)
					}
				}
			}
		}
	}
	for range 3 { // what was under way arrives
		for _, o := range rest {
			look(o)
		}
	}
	return votes
}

// signed is the PC's record of its last signature.
func (c *citizen) signed() moment {
	var last struct {
		Height string `json:"height"`
		Round  int64  `json:"round"`
		Step   int64  `json:"step"`
	}
	if err := json.Unmarshal([]byte(read(c.t, filepath.Join(c.Home, "chain", "signed.json"))), &last); err != nil {
		c.t.Fatal(err)
	}
	return moment{number(last.Height), last.Round, last.Step}
}

func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// A PC is killed again and again in the very moments when it votes: what it has signed is on its disk before others see it.
func TestSoakChainVotesAreRemembered(t *testing.T) {
	t.Parallel()
	v := newVillage(t, plan{names: []string{"alice", "bob", "carol", "dave"}, payers: 4, tune: lasting(4)})
	v.start()
	v.goesOn(2, v.folk...)
	l := v.load(v.folk...)
	bob, rest := v.folk[1], []*citizen{v.folk[0], v.folk[2], v.folk[3]}
	began, kills, votes := time.Now(), counted(3, 40), 0
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range kills {
		from := bob.signed()
		pc.Eventually(t, "bob votes", func() bool { return bob.signed().height > from.height }, func() string { return bob.Log(10) })
		for at := bob.signed(); bob.signed() == at; <-tick.C { // until it signs
		}
		bob.Kill(t)
		votes += v.remembers(bob, rest)
		v.returns(bob, rest)
		back := rest[0].height()
		v.until("bob's vote is in a block", func() bool { return v.signatures(bob, rest[0], back, rest[0].height()-1) > 0 }) // or his seat would go to another
	}
	l.end(v.folk...)
	v.agree(1, v.folk...)
	if got := v.offenders(v.folk[0]); len(got) > 0 {
		t.Errorf("%d double signatures are recorded", len(got))
	}
	if votes == 0 {
		t.Error("nobody has seen a vote")
	}
	t.Logf("seed %d: %d kills at the moment of a signature in %.0f s: %d votes seen by others, none of them forgotten", *seed, kills, time.Since(began).Seconds(), votes)
}
