package bench

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// full is set by make bench: the counts that the figures of docs/performance.md and docs/trust.md are taken with, and failure below what is required.
var full = flag.Bool("full", false, "full counts; fail below the required figures")

// either picks a count.
func either(small, whole int) int {
	if *full {
		return whole
	}
	return small
}

// figure tells one measured value.
func figure(t *testing.T, name string, value float64, unit string) {
	t.Helper()
	digits := 2
	switch {
	case value >= 1000:
		digits = 0
	case value >= 10:
		digits = 1
	}
	fmt.Fprintf(t.Output(), "figure %s = %.*f %s\n", name, digits, value, unit)
}

// atLeast fails if a figure is below what is required of the full counts, or, with small ones, below what only a fault explains.
func atLeast(t *testing.T, name string, got, required, smoke float64) {
	t.Helper()
	if floor := map[bool]float64{true: required, false: smoke}[*full]; got < floor {
		t.Errorf("%s is %.4g, required is %.4g; the machine's load is %s", name, got, floor, load(t))
	}
}

// load is how busy the machine is: the three averages of Linux.
func load(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// command runs a program to its end and returns its standard output.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	return finish(t, exec.CommandContext(t.Context(), name, args...))
}

func finish(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v (make setup installs what is missing)\n%s%s", cmd, err, &out, &errs)
	}
	return strings.TrimSpace(out.String())
}

// assemble makes a module of a text.
func assemble(t *testing.T, text string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), strings.TrimSuffix(filepath.Base(text), ".wat")+".wasm")
	command(t, "wat2wasm", text, "-o", to)
	return to
}
