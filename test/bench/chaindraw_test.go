//go:build linux

package bench

import (
	"os/exec"
	"regexp"
	"strconv"
	"testing"
)

// A draw costs what its claims cost, however many tickets there are: the benchmark of chain/committee, whose state lies in a real tree, over
// a thousand, ten thousand and a hundred thousand tickets with eight claims each. The tree gets deeper by the logarithm; that is all.
func TestChainDraw(t *testing.T) {
	rounds := either(5, 50)
	cmd := exec.CommandContext(t.Context(), "go", "test", "github.com/hpips/hpips/chain/committee", "-run", "^$", "-bench", "^BenchmarkDraw$",
		"-benchtime", strconv.Itoa(rounds)+"x", "-count", strconv.Itoa(either(1, 3)), "-timeout", "30m")
	out := finish(t, cmd)
	took := map[int][]float64{}
	for _, m := range regexp.MustCompile(`tickets=(\d+)\S*\s+\d+\s+(\d+) ns/op`).FindAllStringSubmatch(out, -1) {
		tickets, err := strconv.Atoi(m[1])
		must(t, err)
		ns, err := strconv.ParseFloat(m[2], 64)
		must(t, err)
		took[tickets] = append(took[tickets], ns/1e6)
	}
	for _, tickets := range []int{1_000, 10_000, 100_000} {
		if len(took[tickets]) == 0 {
			t.Fatalf("no figure for %d tickets:\n%s", tickets, out)
		}
		figure(t, "chain-draw-"+strconv.Itoa(tickets), median(took[tickets]), "ms for an epoch's eight claims, its close and the next opening")
	}
	ratio := median(took[100_000]) / median(took[1_000])
	figure(t, "chain-draw-100000-to-1000", ratio, "times for a hundred times the tickets")
	if limit := map[bool]float64{true: 2, false: 5}[*full]; ratio > limit {
		t.Errorf("a hundred times the tickets cost %.1f times as much, more than %.0f; load %s", ratio, limit, load(t))
	}
}
