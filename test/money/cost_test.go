package money

import (
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"cosmossdk.io/math"

	dbm "github.com/cosmos/cosmos-db"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/chain/reward"
	"github.com/hpips/hpips/proto/gen/rewardv1"
)

var full = flag.Bool("full", false, "a million holders, too")

func sizes() []int {
	if *full {
		return []int{1000, 100_000, 1_000_000}
	}
	return []int{1000, 100_000}
}

// onDisk opens databases of the kind that a node's chain has.
func onDisk(t testing.TB) func() dbm.DB {
	return func() dbm.DB {
		db, err := dbm.NewGoLevelDB("application", t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
}

// crowd is a town where n more people hold HPIPS, each of them settled once since the stream began.
func crowd(t testing.TB, kind storetypes.StoreType, data func() dbm.DB, n int) *town {
	s := settled(t, kind, data, reward.Development(), map[string]int64{"alice": 30_000_000 * hpips, "bob": 2_000_000 * hpips}, "alice", "bob")
	s.job("alice", "bob", uhpips, 100_000*hpips)
	s.block(daySeconds)
	s.block(1)
	for i := range n {
		who := at(fmt.Sprint("holder ", i))
		s.must(s.bank.SendCoins(s.ctx, at("alice"), who, coin(uhpips, int64(20*hpips+i))))
		if i%10_000 == 0 {
			s.ctx = s.ctx.WithEventManager(sdk.NewEventManager())
		}
	}
	s.commit()
	return s
}

func (s *town) commit() {
	s.store.Commit()
	s.ctx = s.ctx.WithEventManager(sdk.NewEventManager())
}

// TestCostsDoNotDependOnHowManyHold counts what a transfer, a claim, a day's end and its close ask of the stores with ever more holders.
func TestCostsDoNotDependOnHowManyHold(t *testing.T) {
	var first [4]work
	for i, n := range sizes() {
		s := crowd(t, storetypes.StoreTypeDB, inMemory, n) // what is asked of a store does not depend on its kind
		measure := func(do func()) work {
			*s.work = work{}
			do()
			return *s.work
		}
		have := [4]work{
			measure(func() { s.block(10); s.must(s.send("alice", "holder 7", uhpips, 5)) }),
			measure(func() { s.block(10); s.must(s.claim("holder 8")) }),
			measure(func() { s.block(daySeconds) }),
			measure(func() { s.job("alice", "bob", uhpips, 1000*hpips); s.block(daySeconds) }),
		}
		t.Logf("%d holders: a transfer in a block asks %+v of the stores, a claim %+v, a day's change %+v, one with pay %+v", n, have[0], have[1], have[2], have[3])
		if i == 0 {
			first = have
		}
		if have != first || have[0].sets == 0 {
			t.Errorf("%d holders: %+v; %d: %+v", n, have, sizes()[0], first)
		}
	}
}

// TestADayWithManyProvidersClosesInShortBlocks closes a day of 10,000 providers, each with pay and duty, in the blocks that follow it, on the chain's own
// store. No block may take half a second, its commit included; what counts is processor time, since others may work here, too. The collector
// goes through all that the town has in memory whenever it likes: it rests meanwhile, and what it needs for the whole day afterwards is shared among the blocks.
func TestADayWithManyProvidersClosesInShortBlocks(t *testing.T) {
	const providers = 10_000
	s := crowd(t, storetypes.StoreTypeIAVL, onDisk(t), 1000)
	for i := range providers {
		name := fmt.Sprint("provider ", i)
		s.comes(name)
		s.job("alice", name, uhpips, 10*hpips+int64(i))
		s.must(s.reward.Duty(s.ctx, nodeOf(name), 1, 1))
	}
	s.commit()
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	day, blocks, worst, whole := s.Day(s.ctx), 0, time.Duration(0), time.Duration(0)
	for done := false; !done; blocks++ {
		seconds := int64(1)
		if blocks == 0 {
			seconds = daySeconds
		}
		began := spent(t)
		s.block(seconds)
		s.commit()
		took := spent(t) - began
		worst, whole = max(worst, took), whole+took
		r, err := s.ask().Day(s.ctx, &rewardv1.QueryDayRequest{Day: day})
		s.must(err)
		done = r.Day.Done
		if blocks > providers/int(reward.Development().Batch)+1 {
			t.Fatalf("not done after %d blocks: %+v", blocks, r.Day)
		}
	}
	began := spent(t)
	runtime.GC()
	collected := (spent(t) - began) / time.Duration(blocks)
	worst += collected
	t.Logf("%d providers: %d blocks, the longest took %s, of which %s for the collector, all of them %s", providers, blocks, worst, collected, whole)
	if worst > 500*time.Millisecond {
		t.Errorf("a block took %s", worst)
	}
	paid, err := s.reward.DutyPaid(s.ctx, nodeOf("provider 9999"), 2)
	if err != nil || !paid.Equal(math.NewInt(5100)) {
		t.Errorf("the last provider got %s for its duty, %v", paid, err)
	}
}

func BenchmarkTransfer(b *testing.B) {
	for _, n := range sizes() {
		b.Run(fmt.Sprint(n, " holders"), func(b *testing.B) {
			s := crowd(b, storetypes.StoreTypeIAVL, onDisk(b), n)
			b.ResetTimer()
			for i := range b.N {
				if i%100 == 0 { // the index moves, so that accounts are settled
					s.block(1)
					s.commit()
				}
				s.must(s.bank.SendCoins(s.ctx, at(fmt.Sprint("holder ", i%n)), at(fmt.Sprint("holder ", (i+n/2)%n)), coin(uhpips, 1)))
			}
		})
	}
}

func BenchmarkDay(b *testing.B) {
	for _, n := range sizes() {
		b.Run(fmt.Sprint(n, " holders"), func(b *testing.B) {
			s := crowd(b, storetypes.StoreTypeIAVL, onDisk(b), n)
			b.ResetTimer()
			for range b.N {
				s.block(daySeconds)
				s.commit()
			}
		})
	}
}
