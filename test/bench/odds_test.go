package bench

import (
	"fmt"
	"math"
	"testing"
)

// fails is the chance that a committee of n seats drawn at random has at least a third of bad ones when a share of all claims is bad:
// the upper tail of the binomial law, summed by the logarithms of its terms.
func fails(n int, bad float64) float64 {
	choose := func(k int) float64 {
		a, _ := math.Lgamma(float64(n + 1))
		b, _ := math.Lgamma(float64(k + 1))
		c, _ := math.Lgamma(float64(n - k + 1))
		return a - b - c
	}
	var p float64
	for k := (n + 2) / 3; k <= n; k++ {
		p += math.Exp(choose(k) + float64(k)*math.Log(bad) + float64(n-k)*math.Log(1-bad))
	}
	return p
}

// claimed is the share of claims that a share of tickets makes when bad nodes are always up and honest ones for a share of the time.
func claimed(tickets, up float64) float64 { return tickets / (tickets + (1-tickets)*up) }

// TestOdds computes the table of docs/scale.md: how likely a drawn committee fails, by size and by the share of bad claims.
func TestOdds(t *testing.T) {
	if got := claimed(0.2, 0.8); math.Abs(got-0.238) > 0.001 {
		t.Errorf("a fifth of the tickets makes %.4f of the claims, want 0.238", got)
	}
	for _, row := range []struct {
		n          int
		bad        float64
		low, above float64 // the figure lies between
	}{
		{101, 0.20, 8.5e-4, 9.5e-4}, {101, 0.238, 1.5e-2, 2.0e-2},
		{301, 0.20, 2.4e-8, 2.6e-8}, {301, 0.238, 7.5e-5, 8.5e-5},
		{501, 0.20, 1.8e-12, 2.0e-12}, {501, 0.238, 8.5e-7, 9.5e-7},
	} {
		if got := fails(row.n, row.bad); got < row.low || got > row.above {
			t.Errorf("%d seats, %.3f bad: %.3g, want between %.3g and %.3g", row.n, row.bad, got, row.low, row.above)
		}
	}
	fmt.Fprintf(t.Output(), "%5s", "seats")
	shares := []float64{0.05, 0.10, 0.15, 0.20, 0.238, 0.25, 0.30}
	for _, f := range shares {
		fmt.Fprintf(t.Output(), "%10.3f", f)
	}
	fmt.Fprintln(t.Output())
	for _, n := range []int{4, 7, 13, 31, 51, 101, 201, 301, 501} {
		fmt.Fprintf(t.Output(), "%5d", n)
		for _, f := range shares {
			fmt.Fprintf(t.Output(), "%10.1e", fails(n, f))
		}
		fmt.Fprintln(t.Output())
	}
}
