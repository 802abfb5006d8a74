//go:build linux

package bench

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	rpchttp "github.com/cometbft/cometbft/rpc/client/http"

	"github.com/hpips/hpips/ledger"
	housenode "github.com/hpips/hpips/node"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/test/e2e/receipts"
)

// market is a requester and providers of one slot each, every one of an owner of its own, on a chain of theirs whose one seat the first provider has.
func market(t *testing.T, providers int, day time.Duration, flags ...string) *node {
	t.Helper()
	bin, dir := program(t), t.TempDir()
	f := housenode.Founding{Ring: filepath.Join(dir, "requester", "keys"), Seats: 1, Known: providers, Rich: providers, Day: day}
	for k := range providers {
		f.Homes = append(f.Homes, filepath.Join(dir, fmt.Sprint("provider-", k+1)))
	}
	f.Homes = append(f.Homes, filepath.Join(dir, "requester"))
	for _, home := range f.Homes {
		must(t, os.MkdirAll(home, 0o700))
	}
	must(t, housenode.Found(f))
	listen := []string{"--listen", "/ip4/127.0.0.1/tcp/0"}
	requester := upAt(t, bin, f.Homes[providers], append(listen, "--no-provider")...)
	requester.pool = []*node{requester}
	for _, home := range f.Homes[:providers] {
		requester.pool = append(requester.pool, upAt(t, bin, home, slices.Concat(listen, flags, []string{"--slots", "1", "--join", requester.address()})...))
	}
	requester.poll("who may pay", func() bool {
		_, err := os.Stat(filepath.Join(requester.home, "chain", "payer"))
		return err == nil
	})
	requester.offers(providers)
	return requester
}

// The same job on two networks of three nodes each, whose chains run: on one its providers are paid what they ask by default, on the other they give their
// work away. A job that is paid for begins when its deposits stand in a block, which is a tenth of a second however long it is: so there is one of four times
// the tasks too.
func TestTinyTasksPaid(t *testing.T) {
	tiny := assemble(t, filepath.Join("..", "..", "examples", "tiny", "tiny.wat"))
	free, paid := market(t, 2, 0, "--price", "0"), market(t, 2, 0)
	for _, n := range []*node{free, paid} {
		n.mapped(1000, "--verify", "none", tiny) // compiles, and learns how long a task takes
	}
	count := either(5_000, 50_000)
	inTurn(t, "tiny", free, paid, tiny, count, either(1, 8))
	long := inTurn(t, "tiny-long", free, paid, tiny, 4*count, either(1, 6))
	atLeast(t, "tiny-long-paid-to-free", long, 90, 20)
}

// inTurn runs pairs of a free job and a paid one, each pair in the other order than the one before, and gives the paid rate in parts of the unpaid one.
func inTurn(t *testing.T, name string, free, paid *node, program string, count, pairs int) float64 {
	t.Helper()
	rates, cpu := map[*node][]float64{}, map[*node][]float64{}
	var ratios []float64
	for i := range pairs {
		turn := []*node{free, paid}
		if i%2 == 1 {
			slices.Reverse(turn)
		}
		for _, n := range turn {
			nodes, sandboxes := n.spent()
			o := n.mapped(count, "--verify", "none", program)
			nodesAfter, sandboxesAfter := n.spent()
			if cost := n.cost(o.Job); (n == paid) != (cost.Promised > 0) {
				t.Errorf("a job of %d tasks cost %+v", count, cost)
			}
			rates[n] = append(rates[n], float64(count)/o.Seconds)
			cpu[n] = append(cpu[n], float64((nodesAfter-nodes+sandboxesAfter-sandboxes).Microseconds())/float64(count))
		}
		ratios = append(ratios, 100*rates[paid][i]/rates[free][i])
	}
	whole := 100 * median(rates[paid]) / median(rates[free])
	figure(t, name+"-free", median(rates[free]), "tasks/s, on a network with a chain")
	figure(t, name+"-paid", median(rates[paid]), "tasks/s")
	figure(t, name+"-free-cpu", median(cpu[free]), "µs of processor time a task, nodes and sandboxes")
	figure(t, name+"-paid-cpu", median(cpu[paid]), "µs of processor time a task, nodes and sandboxes")
	figure(t, name+"-paid-to-free", whole, "% of the unpaid rate")
	figure(t, name+"-paid-to-free-pairs", median(ratios), "% of the unpaid rate, median of pairs")
	figure(t, name+"-paid-to-free-cpu", 100*median(cpu[free])/median(cpu[paid]), "% of the unpaid rate, by processor time")
	t.Logf("%d pairs of %d tasks: free %.0f, paid %.0f, ratios %.1f; load %s", pairs, count, rates[free], rates[paid], ratios, load(t))
	return whole
}

// However many tasks a job has, its money takes few messages: a lease is opened once, closed once, and redeemed, or let go of unused, at most once a day. What was
// not used returns before the days of grace.
func TestMessagesOfAPaidJob(t *testing.T) {
	const providers = 4
	alice := market(t, providers, time.Duration(either(300, 480))*time.Second) // a node that was never paid redeems a twelfth of a day after its first promise: the job is to end before
	count, program := either(2_000, 200_000), []string{assemble(t, filepath.Join("..", "..", "examples", "tiny", "tiny.wat"))}
	if !*full { // few tasks are to cost more than a redemption
		program = []string{assemble(t, filepath.Join("testdata", "spin.wat")), "--", strconv.Itoa(5_000_000)}
	}
	rpc, window := alice.chain()
	before := alice.chainHeight()
	o := alice.mapped(count, append([]string{"--verify", "none"}, program...)...)
	rules, err := window.LeaseRules(t.Context())
	must(t, err)
	var cost job.Cost
	alice.poll("leases that are redeemed and closed", func() bool {
		cost = alice.cost(o.Job)
		due := map[string]uint64{}
		for _, l := range cost.Leases {
			due[l.Node] += l.Promised
			if !l.Closed {
				return false
			}
		}
		// What was let go the chain itself does not list any more, and what came of the newest block may not be written yet.
		b, err := receipts.Read(t.Context(), rpc, before, alice.chainHeight())
		if err != nil {
			return false
		}
		for _, l := range b.Leases {
			node, err := hex.DecodeString(l.Node)
			must(t, err)
			due[ledger.NodeText(node)] -= l.Redeemed
		}
		return !slices.ContainsFunc(cost.Leases, func(l job.LeaseCost) bool { return due[l.Node] > rules.Fee })
	})
	var b *receipts.Book
	alice.poll("what was not used is back, minutes before the grace is over", func() bool {
		if b, err = receipts.Read(t.Context(), rpc, before, alice.chainHeight()); err != nil {
			return false
		}
		for _, l := range b.Leases {
			if l.Over != 1 {
				return false
			}
		}
		return true
	})
	var redeemed int
	for id, l := range b.Leases {
		if l.Opened != 1 || l.Closed != 1 || len(l.Redemptions) > 1 {
			t.Errorf("lease %s: opened %d times, closed %d times, redeemed %d times", id, l.Opened, l.Closed, len(l.Redemptions))
		}
		redeemed += len(l.Redemptions)
	}
	if len(b.Leases) != providers || len(cost.Leases) != providers {
		t.Errorf("%d leases on the chain, %d in the journal, of %d providers", len(b.Leases), len(cost.Leases), providers)
	}
	if b.Opens > 1 || b.Closes > 1 || b.Redeems > providers || b.TopUps > 0 || redeemed == 0 {
		t.Errorf("the job took %d messages that open leases, %d that add to deposits, %d that close leases, %d that redeem", b.Opens, b.TopUps, b.Closes, b.Redeems)
	}
	figure(t, "paid-job-messages", float64(b.Opens+b.TopUps+b.Closes+b.Redeems), fmt.Sprintf("messages for %d tasks on %d providers", count, providers))
	t.Logf("%d tasks in %.1f s: %d transactions open %d leases, %d add to deposits, %d close, %d redeem %d leases; %d uhpips promised; load %s",
		count, o.Seconds, b.Opens, len(b.Leases), b.TopUps, b.Closes, b.Redeems, redeemed, cost.Promised, load(t))
}

// cost is what a job cost.
func (n *node) cost(id string) (c job.Cost) {
	n.t.Helper()
	must(n.t, json.Unmarshal([]byte(n.hpips("job", "cost", id, "-o", "json")), &c))
	return c
}

// chain is the chain as this node has it.
func (n *node) chain() (*rpchttp.HTTP, *ledger.Ledger) {
	n.t.Helper()
	text, err := os.ReadFile(filepath.Join(n.home, housenode.ChainAddressFile))
	must(n.t, err)
	rpc, err := rpchttp.New(strings.TrimSpace(string(text)), "/websocket")
	must(n.t, err)
	window, err := ledger.New(rpc, ledger.Default())
	must(n.t, err)
	return rpc, window
}
