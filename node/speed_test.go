package node

import (
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/hpips/hpips/machine"
	"github.com/hpips/hpips/spec/job"
)

// What was measured of Bob's PC stands in its quotes from the next one on; what was measured of another one does not.
func TestQuotesTellWhatWasMeasured(t *testing.T) {
	cfg := quiet(t)
	h, err := New(t.Context(), cfg)
	bob := start(t, h, err)
	told := func() uint64 {
		t.Helper()
		m, err := bob.api.Offers(t.Context(), job.Resources{CPU: 1})
		if err != nil || len(m) != 1 {
			t.Fatalf("%+v, %v", m, err)
		}
		return m[0].Speed
	}
	if got := told(); got != 0 {
		t.Errorf("%d operations a second, and nobody has measured", got)
	}
	b := machine.Benchmark{Class: machine.Class(), All: machine.Rates{Matrix: 2e9 * float64(runtime.NumCPU())}}
	if err := KeepBenchmark(cfg.Home, b, time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := told(); got != 2e9 {
		t.Errorf("%d operations a second, want those of one processor while all work", got)
	}
	b.Class = "another"
	if err := KeepBenchmark(cfg.Home, b, time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := told(); got != 0 {
		t.Errorf("%d operations a second, which were another machine's", got)
	}
	p := &pacer{log: slog.New(slog.DiscardHandler), home: t.TempDir()}
	for text, want := range map[string]uint64{"": 0, "{": 0, "null": 0, `{"all":{"matrix":-5}}`: 0, `{"all":{"matrix":1e300}}`: 0} {
		if err := os.WriteFile(filepath.Join(p.home, speedFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p.mark = mark{size: -1}
		if got := p.now(); got != want {
			t.Errorf("%q: %d", text, got)
		}
	}
	if err := KeepBenchmark(filepath.Join(p.home, "none"), b, time.Now()); err != nil || there(filepath.Join(p.home, "none")) {
		t.Errorf("where there is no home: %v", err)
	}
}
