package cli

import (
	"errors"
	"testing"

	"github.com/hpips/hpips/spec/job"
)

// A price is told for a MiB or a GiB, and kept in base units for a GiB.
func TestPriceOfContent(t *testing.T) {
	for text, want := range map[string]uint64{"": 0, "0.001/MiB": 1_024_000, "0.5/GiB": 500_000, "0.000001/GiB": 1, "1000/MiB": 1000 * 1_000_000 * 1024} {
		if got, err := rateOf(text); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"0/MiB", "1", "1/MB", "1/mib", "/MiB", "-1/MiB", "1000.000001/MiB", "0.0000001/GiB", "1/MiB/s", "9999999999999999999999/GiB"} {
		var f *job.Failure
		if got, err := rateOf(text); !errors.As(err, &f) || f.Code != job.CodeUsage || f.Hint == "" {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}
