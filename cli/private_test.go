package cli

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/store/seal"
)

// alice is told to try again where a holder went away, and not where her file is broken.
func TestWhatStopsComingIsNotBroken(t *testing.T) {
	for err, want := range map[error]job.Code{io.ErrUnexpectedEOF: job.CodeUnavailable, seal.ErrChanged: job.CodeInternal, seal.ErrKey: job.CodeUsage, seal.ErrPlain: job.CodeUsage} {
		var told *job.Failure
		if got := unopened("bafy", fmt.Errorf("open: %w", err)); !errors.As(got, &told) || told.Code != want || told.Hint == "" {
			t.Errorf("%v: told %v", err, got)
		}
	}
}
