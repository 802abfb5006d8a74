package engine

import (
	"testing"
	"time"
)

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 bytes", 1023: "1023 bytes", 1024: "1 KiB", 1536: "1.5 KiB", 256 << 20: "256 MiB", 1 << 30: "1 GiB", 1<<30 + 1<<29: "1.5 GiB", 3 << 50: "3072 TiB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("%d is written %q, want %q", n, got, want)
		}
	}
}

// TestExcess names the limit and the flag that raises it, for each end that a limit causes, and nothing for the others.
func TestExcess(t *testing.T) {
	l := Limits{Time: 90 * time.Second, Memory: 5 << 20, Output: 1000}.OrDefault()
	for end, want := range map[End]string{
		TimedOut: "time passed its limit of 1m30s; raise it with --time", MemoryFull: "memory passed its limit of 5 MiB; raise it with --memory",
		OutputFull: "output passed its limit of 1000 bytes; raise it with --max-output", DiskFull: "files passed their limit of 1 GiB; raise it with --disk",
		Exited: "", Trapped: "", Cancelled: "", Broken: "",
	} {
		if got := l.Excess(end); got != want {
			t.Errorf("%s: %q, want %q", end, got, want)
		}
	}
	if (Limits{}).OrDefault() != DefaultLimits() {
		t.Error("no limits are not the default ones")
	}
}

func TestProgramError(t *testing.T) {
	e := &ProgramError{Module: "a.wasm", Message: "it is not WASM"}
	if got := e.Error(); got != "program a.wasm: it is not WASM" {
		t.Errorf("%q", got)
	}
	e.Hint = "build it"
	if got := e.Error(); got != "program a.wasm: it is not WASM (build it)" {
		t.Errorf("%q", got)
	}
}
