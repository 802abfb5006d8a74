//go:build linux

package bench

import (
	"context"
	"crypto/sha256"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	cmttypes "github.com/cometbft/cometbft/types"

	"github.com/hpips/hpips/chain/chaintest"
)

// freePort is an address of loopback where nobody listens now.
func freePort() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err) // no port is left on this machine
	}
	defer l.Close()
	return l.Addr().String()
}

// transfers signs so many for each saver, in the order in which they are sent: everybody's first, then everybody's second.
func transfers(t *testing.T, w *town, savers []chaintest.Person, first, each int) [][]byte {
	t.Helper()
	number := numbers(t, w.doc)
	all := make([][]byte, each*len(savers))
	var wg sync.WaitGroup
	for part := range runtime.NumCPU() {
		wg.Go(func() {
			for i := part; i < len(all); i += runtime.NumCPU() {
				who := i % len(savers)
				from, to := savers[who], savers[(who+1)%len(savers)]
				tx, err := chaintest.Sign(w.codec, from, chaintest.Envelope{
					ChainID: benchChain, Account: number[from.Address()], Sequence: uint64(first + i/len(savers)), Gas: 100_000,
				}, chaintest.Send(from, to, 1))
				if err != nil {
					t.Error(err)
				}
				all[i] = tx
			}
		})
	}
	wg.Wait()
	return all
}

// taken is how a load went.
type taken struct {
	wall, cpu time.Duration
	final     []time.Duration // from handing in to the block that holds it, sorted
	blocks    int
}

// rate is in transfers per second.
func (k taken) rate() float64 { return float64(len(k.final)) / k.wall.Seconds() }

// quantile is the time within which a share of all were final, in seconds.
func (k taken) quantile(q float64) float64 {
	return k.final[min(len(k.final)-1, int(q*float64(len(k.final))))].Seconds()
}

// quantiles is the median of rounds, each with the time within which a share of its transfers were final, in seconds.
func quantiles(rounds []taken, q float64) float64 {
	var each []float64
	for _, k := range rounds {
		each = append(each, k.quantile(q))
	}
	return median(each)
}

// carry hands transfers in, each at the node where its sender always goes, and waits until the same node has all of its own in blocks. With
// a pace it hands in so many a second, and reckons from when each was due; without, as many as the chain takes. Every transfer must succeed.
// Where there is one node a saver has up to three in flight; where there are more, one, since others may pass on a second before the first.
// Together that is less than a mempool holds, so that none is turned away.
func (w *town) carry(t *testing.T, txs [][]byte, savers int, pace float64) taken {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	index := make(map[[32]byte]int, len(txs))
	for i, tx := range txs {
		index[sha256.Sum256(tx)] = i
	}
	at := func(i int) int { return i % savers % len(w.clients) }
	sent, final := make([]time.Time, len(txs)), make([]time.Duration, len(txs))
	ahead := 1
	if len(w.clients) == 1 {
		ahead = 3
	}
	slots := make([]chan struct{}, savers)
	for i := range slots {
		slots[i] = make(chan struct{}, ahead)
	}
	var k taken
	var mu sync.Mutex
	watched := make(chan error, len(w.clients))
	for n, c := range w.clients {
		const query = "tm.event='NewBlock'"
		events, err := c.Subscribe(ctx, "bench", query, 1000)
		must(t, err)
		defer func() { _ = c.Unsubscribe(context.Background(), "bench", query) }()
		mine := 0
		for i := range txs {
			if at(i) == n {
				mine++
			}
		}
		go func() {
			for mine > 0 {
				select {
				case e := <-events:
					now := time.Now()
					block := e.Data.(cmttypes.EventDataNewBlock)
					mu.Lock()
					if n == 0 && len(block.Block.Txs) > 0 {
						k.blocks++
					}
					for at_, tx := range block.Block.Txs {
						i, known := index[sha256.Sum256(tx)]
						if !known || at(i) != n {
							continue
						}
						if r := block.ResultFinalizeBlock.TxResults[at_]; r.Code != 0 {
							t.Errorf("transfer %d failed: %s", i, r.Log)
						}
						final[i] = now.Sub(sent[i])
						mine--
						<-slots[i%savers]
					}
					mu.Unlock()
				case <-ctx.Done():
					watched <- ctx.Err()
					return
				}
			}
			watched <- nil
		}()
	}
	began, spent := time.Now(), ownCPU(t)
	w.send(ctx, t, txs, at, pace, func(i int, due time.Time) {
		select {
		case slots[i%savers] <- struct{}{}:
		case <-ctx.Done():
		}
		if pace == 0 {
			due = time.Now()
		}
		mu.Lock()
		sent[i] = due
		mu.Unlock()
	})
	for range w.clients {
		if err := <-watched; err != nil {
			t.Fatalf("%s: not all transfers came into blocks: %v", w.name, err)
		}
	}
	k.wall, k.cpu = time.Since(began), ownCPU(t)-spent
	slices.Sort(final)
	k.final = final
	return k
}

// send hands in by one routine for each node.
func (w *town) send(ctx context.Context, t *testing.T, txs [][]byte, at func(int) int, pace float64, before func(int, time.Time)) {
	t.Helper()
	began := time.Now()
	var all sync.WaitGroup
	for n, c := range w.clients {
		all.Go(func() {
			for i, tx := range txs {
				if at(i) != n {
					continue
				}
				due := began
				if pace > 0 {
					due = began.Add(time.Duration(float64(i) / pace * float64(time.Second)))
					select {
					case <-time.After(time.Until(due)):
					case <-ctx.Done():
						return
					}
				}
				before(i, due)
				r, err := c.BroadcastTxSync(ctx, tx)
				if err != nil || r.Code != 0 {
					t.Errorf("transfer %d is refused: %v %+v", i, err, r)
					return
				}
			}
		})
	}
	all.Wait()
}

// ownCPU is the processor time that this process has taken.
func ownCPU(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// idleMachine tells whether so little else runs that times by the clock can be compared.
func idleMachine(t *testing.T) bool {
	t.Helper()
	first, err := strconv.ParseFloat(strings.Fields(load(t) + " x")[0], 64)
	return err == nil && first < 2*float64(runtime.NumCPU())
}

// Dora runs a bank on the chain: a thousand savers who pay each other. The same transfers go over a chain of the SDK's plain parts, in turn
// with ours, so that both have the same company on the machine. Ours must carry as much but for one part in twenty: by processor time,
// which is what both run out of, and by the clock where the machine has no other work.
func TestChainTransfers(t *testing.T) {
	t.Run("one seat", func(t *testing.T) { compare(t, 1) })
	t.Run("four seats", func(t *testing.T) { compare(t, 4) })
}

func compare(t *testing.T, n int) {
	alone := idleMachine(t)
	savers, seats := people("saver", either(200, 1000)), people("seat", n)
	each, rounds := either(2, map[int]int{1: 8, 4: 3}[n]), either(1, 3)
	doc := founding(t, seats, savers, nil)
	name := map[int]string{1: "chain-1-seat", 4: "chain-4-seats"}[n]
	var rate, plainRate, ratio, cpuRatio, cpu []float64
	final, finalHalf := map[string][]taken{}, map[string][]taken{}
	for round := range rounds {
		run, half := map[string]taken{}, map[string]taken{}
		order := []string{"hpips", "plain"}
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, which := range order {
			t.Run(which, func(t *testing.T) {
				runtime.GC()
				var w *town
				if which == "hpips" {
					w = ours(t, doc, seats, nil)
				} else {
					w = plain(t, doc, seats)
				}
				w.carry(t, transfers(t, w, savers, 0, 1), len(savers), 0) // the first of each account carries its key besides
				txs := transfers(t, w, savers, 1, each)
				k := w.carry(t, txs, len(savers), 0)
				run[which] = k
				t.Logf("%s: %d transfers in %v, %d blocks, %v of processor time; load %s", which, len(txs), k.wall.Round(time.Millisecond), k.blocks, k.cpu.Round(time.Millisecond), load(t))
				pace := k.rate() / 2
				count := min(len(txs), max(len(savers), int(20*pace))) // 20 s of it
				half[which] = w.carry(t, transfers(t, w, savers, 1+each, each)[:count], len(savers), pace)
			})
		}
		if t.Failed() {
			return
		}
		h, p := run["hpips"], run["plain"]
		rate, plainRate, ratio = append(rate, h.rate()), append(plainRate, p.rate()), append(ratio, h.rate()/p.rate())
		cpu, cpuRatio = append(cpu, h.cpu.Seconds()*1e6/float64(len(h.final))), append(cpuRatio, p.cpu.Seconds()/h.cpu.Seconds())
		for which := range run {
			final[which] = append(final[which], run[which])
			finalHalf[which] = append(finalHalf[which], half[which])
		}
	}
	figure(t, name, median(rate), "transfers/s")
	figure(t, name+"-plain", median(plainRate), "transfers/s")
	figure(t, name+"-to-plain", 100*median(ratio), "% of the plain chain's rate")
	figure(t, name+"-to-plain-cpu", 100*median(cpuRatio), "% by processor time a transfer")
	figure(t, name+"-cpu", median(cpu), "µs of processor time a transfer, all nodes together")
	halfP99 := 0.0
	for _, which := range []string{"hpips", "plain"} {
		called := map[string]string{"hpips": name, "plain": name + "-plain"}[which]
		figure(t, called+"-p50", quantiles(final[which], 0.5), "s to finality at saturation")
		figure(t, called+"-p99", quantiles(final[which], 0.99), "s to finality at saturation")
		figure(t, called+"-half-p50", quantiles(finalHalf[which], 0.5), "s to finality at half of it")
		late := quantiles(finalHalf[which], 0.99)
		figure(t, called+"-half-p99", late, "s to finality at half of it")
		if which == "hpips" {
			halfP99 = late
		}
	}
	if alone {
		atLeast(t, name+"-to-plain", median(ratio), 0.95, 0.3)
	}
	atLeast(t, name+"-to-plain-cpu", median(cpuRatio), 0.95, 0.3)
	if limit := 2.0; n == 4 && *full && halfP99 >= limit {
		t.Errorf("finality at half of saturation: p99 is %.2f s, more than %.0f; load %s", halfP99, limit, load(t))
	}
}
