package erasure

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/hpips/hpips/spec/spectest"
)

// lost is the chance that fewer than k of so many pieces are left when each goes with chance q.
func lost(k, of int, q float64) (sum float64) {
	for left := range k {
		chance := 1.0
		for i := range left {
			chance *= float64(of-i) / float64(i+1)
		}
		sum += chance * math.Pow(1-q, float64(left)) * math.Pow(q, float64(of-left))
	}
	return sum
}

// A PC that lasts 90 days goes within the five days between a loss, three missed days and a new piece with chance 5.4 %. An object of which repair begins is lost once in a million times or less, where a repair
// that begins with two pieces more than k would lose one of fifty; at the danger point it is below one in a thousand, and hundreds of times what it was: nobody may wait there.
func TestThresholdsComeFromFailures(t *testing.T) {
	q := 1 - math.Exp(-5./90)
	for _, row := range []struct {
		s                 Scheme
		threshold, danger int
	}{{Large, 32, 26}, {Small, 18, 14}} {
		if row.s.Threshold() != row.threshold || row.s.Danger() != row.danger {
			t.Errorf("%v: %d and %d, want %d and %d", row.s, row.s.Threshold(), row.s.Danger(), row.threshold, row.danger)
		}
		at, near, late := lost(row.s.Need, row.threshold-1, q), lost(row.s.Need, row.danger, q), lost(row.s.Need, row.s.Need+2, q)
		t.Logf("%v: lost with %.1e from %d pieces, %.1e from %d, %.1e from %d", row.s, at, row.threshold-1, near, row.danger, late, row.s.Need+2)
		if at > 1.2e-6 || near > 1e-3 || near < 100*at || late < 2e-2 {
			t.Errorf("%v: %.1e, %.1e, %.1e", row.s, at, near, late)
		}
	}
}

// Copies are made anew at the first loss; a code never later than when k are left, and never while all are there.
func TestAThresholdIsBetween(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, MaxPieces).Draw(t, "n")
		s := Scheme{rapid.IntRange(1, n-1).Draw(t, "k"), n}
		if r := s.Threshold(); r > n || r <= s.Need || !s.Coded() && r != n || s.Danger() < s.Need {
			t.Fatalf("%v: threshold %d, danger %d", s, r, s.Danger())
		}
	})
}

func TestThresholdVectors(t *testing.T) {
	spectest.Vectors(t, map[string]func(*testing.T) any{"thresholds": func(*testing.T) any {
		type vector struct {
			Need      int `json:"need"`
			Pieces    int `json:"pieces"`
			Threshold int `json:"threshold"`
			Danger    int `json:"danger"`
		}
		var all []vector
		for _, s := range []Scheme{{1, 1}, {1, 2}, {1, 6}, {2, 3}, {2, 9}, {3, 5}, Small, {16, 20}, {16, 32}, Large, {29, 80}, {100, 255}, {254, 255}} {
			all = append(all, vector{s.Need, s.Pieces, s.Threshold(), s.Danger()})
		}
		return all
	}})
}
