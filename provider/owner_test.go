package provider

import (
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"

	"github.com/hpips/hpips/spec/job"
)

// Over many beats as many run as there are processors, and each has its turn.
func TestTheRotaSharesOutPartsOfAProcessor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, beats := rapid.IntRange(1, 16).Draw(t, "tasks"), 1000
		cores := rapid.Float64Range(0.05, float64(n)).Draw(t, "processors")
		var r rota
		each, sum := make([]int, n), 0
		for range beats {
			first, count := r.next(cores, n)
			if count > int(math.Ceil(cores)) {
				t.Fatalf("%d run at once on %v processors", count, cores)
			}
			for i := range count {
				each[(first+i)%n]++
			}
			sum += count
		}
		if math.Abs(float64(sum)/float64(beats)-cores) > 0.01 {
			t.Fatalf("%v processors were to be used, %v were", cores, float64(sum)/float64(beats))
		}
		for i, got := range each {
			if math.Abs(float64(got)-float64(sum)/float64(n)) > 2 {
				t.Fatalf("task %d ran in %d beats of %v: %v", i, got, float64(sum)/float64(n), each)
			}
		}
	})
}

func TestALeaseThatStandsStillForTooLongIsHandedBack(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		alice.begins(alice.work("second"), 1)
		alice.assigns(0)
		time.Sleep(500 * time.Millisecond)
		if err := b.Allow(Allowance{Why: "somebody is at this PC"}); err != nil {
			t.Fatal(err)
		}
		if b.engine.still() != 1 {
			t.Fatal("what runs does not stand still when Allow returns")
		}
		began := time.Now()
		no := alice.refusal()
		if took := time.Since(began); took < 5*time.Minute || took > 5*time.Minute+2*time.Second || no.Reason != "suspended for too long: somebody is at this PC" || no.Program {
			t.Errorf("after %v: %+v", took, no)
		}
		synctest.Wait()
		if s := b.Status(); s.Leases != 0 || s.Busy != 0 || b.engine.rooms() != 0 {
			t.Errorf("it is handed back: %+v, %d sandboxes", s, b.engine.rooms())
		}
		if f := b.Free(alice.me.id); f.Refusal != "somebody is at this PC" {
			t.Errorf("alice is told %q", f.Refusal)
		}
		if err := b.Allow(Everything()); err != nil {
			t.Fatal(err)
		}
		alice.begins(alice.work("second"), 1)
		alice.assigns(0)
		alice.collects(1)
	})
}

// Bob takes back that strangers' programs run on his PC: what runs of alice's ends within a second or so, carol's PC, which is his own, works on.
func TestWhatIsNotAgreedToAnyMoreEnds(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		var refuses atomic.Bool
		owns := named(t, "carol").id
		b.barred = func(engine string, buyer peer.ID) string {
			if !refuses.Load() || engine != "fake" || buyer == owns {
				return ""
			}
			return "its owner has not agreed"
		}
		b.restarts()
		alice, carol := b.visits("alice"), b.visits("carol")
		alice.begins(alice.work("second"), 1)
		carol.begins(carol.work("second"), 1)
		alice.assigns(upTo(100)...)
		carol.assigns(0, 1)
		time.Sleep(500 * time.Millisecond)
		refuses.Store(true)
		began := time.Now()
		no := alice.refusal()
		if took := time.Since(began); took > 1100*time.Millisecond || no.Reason != "engine fake: its owner has not agreed" || no.Program {
			t.Errorf("after %v: %+v", took, no)
		}
		carol.collects(2)
		if s := b.Status(); s.Leases != 1 {
			t.Errorf("carol's lease alone is left: %+v", s)
		}
	})
}

// Two tasks of 64 MiB run. Bob leaves room for one: the newer lease stands still at once, and is handed back soon, since it takes its memory all the same; the older one works on.
func TestTheMemoryThatItsOwnerTakesBack(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice, carol := b.visits("alice"), b.visits("carol")
		alice.begins(alice.work("second"), 1)
		carol.begins(carol.work("second"), 1)
		alice.assigns(upTo(3)...)
		carol.assigns(0)
		time.Sleep(500 * time.Millisecond)
		began := time.Now()
		b.allows(Allowance{Cores: math.Inf(1), Memory: 100 << 20})
		if n := b.engine.still(); n != 1 {
			t.Errorf("%d of 2 stand still when Allow returns", n)
		}
		if f := b.Free(alice.me.id); f.Memory != 100<<20 {
			t.Errorf("buyers are offered %d bytes", f.Memory)
		}
		if no, took := carol.refusal(), time.Since(began); took < largeFor || took > largeFor+2*time.Second || no.Reason != "suspended for too long: memory: its tasks take more than is shared now" {
			t.Errorf("after %v: %+v", took, no)
		}
		alice.collects(3)
		if took := time.Since(began); took > largeFor+4*time.Second {
			t.Errorf("alice's tasks, which fit, took %v", took)
		}
		// What does not fit at all is not begun, also where nothing else runs.
		b.allows(Allowance{Cores: math.Inf(1), Memory: 32 << 20})
		started := len(b.engine.started())
		alice.assigns(3)
		if no := alice.refusal(); no.Reason != "suspended for too long: memory: its tasks take more than is shared now" || len(b.engine.started()) != started {
			t.Errorf("%d more were started: %+v", len(b.engine.started())-started, no)
		}
		// It goes on where there is room again.
		b.allows(Everything())
		carol.begins(carol.work("second"), 1)
		carol.assigns(0)
		time.Sleep(500 * time.Millisecond)
		b.allows(Allowance{Cores: math.Inf(1), Memory: 32 << 20})
		still := b.engine.still()
		b.allows(Everything())
		if carol.collects(1); still != 1 {
			t.Errorf("%d stood still", still)
		}
	}, func(c *Config) { c.Slots = 2 })
}

// Bob gives tasks more of his disk than he did, then less: both hold at once.
func TestTheDiskThatItsOwnerTakesBack(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice, large := b.visits("alice"), make([]byte, 900<<10)
		w := alice.work("cat")
		w.Limits.Output = 16 << 10
		alice.begins(w, 1)
		for i, row := range []struct {
			disk int64
			full bool
		}{{0, true}, {4 << 20, false}, {64 << 10, true}} {
			b.allows(Allowance{Cores: math.Inf(1), Disk: row.disk})
			large[0] = byte(i)
			alice.gives(job.Task{Index: uint64(i), Path: "/in/x", Input: &job.Content{CID: b.shelf.put(slices.Clone(large)), Size: 900 << 10}})
			r := alice.collects(1)[uint64(i)]
			if got := r.End == job.Broken && strings.Contains(r.Message, "this node gives to tasks is full"); got != row.full {
				t.Errorf("with %d bytes: %+v", row.disk, r)
			}
			if free := b.Free(alice.me.id).Disk; row.disk > 0 && free > row.disk {
				t.Errorf("with %d bytes, %d are offered", row.disk, free)
			}
		}
	}, func(c *Config) { c.Disk = 800 << 10 })
}

func TestAShortStopCostsNothing(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		alice := b.visits("alice")
		alice.begins(alice.work("second"), 1)
		alice.assigns(0, 1)
		for range 3 {
			time.Sleep(300 * time.Millisecond)
			if err := b.Allow(Allowance{Why: "somebody is at this PC"}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(4 * time.Minute)
			if err := b.Allow(Everything()); err != nil {
				t.Fatal(err)
			}
		}
		alice.collects(2)
		if n := len(b.engine.started()); n != 2 {
			t.Errorf("2 tasks were started %d times", n)
		}
	})
}

// Bob's own job goes on while he is at his PC: it is not sharing.
func TestOwnWorkIsNotHeldBack(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		if err := b.Allow(Allowance{Why: "somebody is at this PC"}); err != nil {
			t.Fatal(err)
		}
		own := b.visits("bob")
		if f := b.Free(own.me.id); f.Refusal != "" || f.Slots != b.cfg.Slots {
			t.Fatalf("bob is offered %+v", f)
		}
		if err := b.Hold(own.signs(1)); err != nil {
			t.Fatal(err)
		}
		own.begins(own.work("second"), 1)
		own.assigns(0)
		own.collects(1)
		time.Sleep(10 * time.Minute)
		own.assigns(1)
		own.collects(1)
	})
}

// Half of two processors: one task after the other, and buyers are offered one slot.
func TestAPartOfTheProcessors(t *testing.T) {
	story(t, func(t *testing.T, b *bob) {
		if err := b.Allow(Allowance{Cores: 1}); err != nil {
			t.Fatal(err)
		}
		alice := b.visits("alice")
		if f := b.Free(alice.me.id); f.Slots != 1 || f.Refusal != "" {
			t.Errorf("alice is offered %+v", f)
		}
		alice.begins(alice.work("second"), 2)
		began := time.Now()
		alice.assigns(0, 1, 2, 3)
		alice.collects(4)
		if took := time.Since(began); took < 4*time.Second {
			t.Errorf("four tasks of a second took %v", took)
		}
		if err := b.Allow(Allowance{Cores: 0.5}); err != nil {
			t.Fatal(err)
		}
		alice.assigns(4)
		still, looks := 0, 50
		for range looks {
			time.Sleep(beat)
			still += b.engine.still()
		}
		alice.collects(1)
		if still < 3 {
			t.Errorf("on half a processor a task stood still in %d of %d looks", still, looks)
		}
	}, func(c *Config) { c.Slots = 2 })
}
