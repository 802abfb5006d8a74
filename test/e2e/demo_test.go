package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/test/e2e/pc"
)

// demoWithin is how many seconds the demo may take on a warm build and two cores, with chain and money.
const demoWithin = 150

// demoPlace gives the folder of the examples, and a folder for temporary files that is the test's own.
func demoPlace(t *testing.T) (examples string) {
	t.Helper()
	examples = filepath.Join("..", "..", "examples")
	for _, name := range []string{"concordance", "render"} {
		if _, err := os.Stat(filepath.Join(examples, name, name+".wasm")); err != nil {
			t.Skipf("examples are not built (make examples): %v", err)
		}
	}
	t.Setenv("TMPDIR", t.TempDir())
	return examples
}

// The main job, as make demo runs it: two jobs on five processes, one of which is killed at work, and the results compared with those of this
// machine alone.
func TestTheMainJob(t *testing.T) {
	examples := demoPlace(t)
	picture := filepath.Join(t.TempDir(), "picture.png")
	p := pc.New(t, built.hpips, "alice")
	a := p.Hpips(t, "demo", "-o", "json", "--examples", examples, "--picture", picture)
	lines := strings.Split(strings.TrimSuffix(a.Stdout, "\n"), "\n")
	var told struct {
		OK      bool
		Seconds float64
		Jobs    []job.Status
		Chain   struct {
			Height, HeightAtKill int64
			Committees           []struct{ Seats []string }
			Entered              []string
		}
		Money struct {
			Promised, Juries, Gross, Paid, Levied, Supply money.Amount
			Providers                                     []struct{ Promised, Gross, Paid money.Amount }
		}
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &told); err != nil || a.Code != 0 || !told.OK || len(told.Jobs) != 2 || a.Stderr != "" {
		t.Fatalf("code %d, %v\n%s\n%s", a.Code, err, a.Stdout, a.Stderr)
	}
	lost := 0
	for _, j := range told.Jobs {
		if j.State != job.Settled || j.Tasks.Done != j.Tasks.Total || j.Tasks.Total < 2 || len(j.Nodes) < 2 || j.Result == "" {
			t.Errorf("%s: %+v", j.Name, j)
		}
		lost += j.Tasks.Lost
		t.Logf("%s: %d tasks, %d executions, %d verified, %d lost, %d nodes, %.1f s", j.Name, j.Tasks.Total, j.Executions, j.Verified, j.Tasks.Lost, len(j.Nodes), j.Seconds)
	}
	if c := told.Chain; len(c.Committees) < 2 || len(c.Committees[0].Seats) != 4 || len(c.Entered) == 0 || c.Height <= c.HeightAtKill {
		t.Errorf("the committee of four does not turn over: %+v", c)
	}
	paid := 0
	for _, p := range told.Money.Providers {
		if p.Paid > 0 && p.Paid < p.Gross && p.Gross < p.Promised+told.Money.Juries {
			paid++
		}
	}
	if m := told.Money; paid < 3 || m.Gross != m.Paid+m.Levied || m.Gross >= m.Promised+m.Juries || m.Juries == 0 || m.Supply != money.Total {
		t.Errorf("the money: %+v", m)
	}
	if head := read(t, picture)[:8]; head != "\x89PNG\r\n\x1a\n" {
		t.Errorf("the picture begins with %q", head)
	}
	if lost < 1 {
		t.Error("nothing was lost, though a provider was killed at work")
	}
	if left := running(t, os.Getenv("TMPDIR")); len(left) > 0 {
		t.Errorf("the demo leaves these running: %v", left)
	}
	within := float64(demoWithin)
	if !*soak { // other tests, and lint, have run beside it
		within *= 2
	}
	if told.Seconds > within {
		t.Errorf("it took %.0f s, and may take %.0f", told.Seconds, within)
	}
	t.Logf("%.0f s in all", told.Seconds)
}

// With --keep the network stays, the commands that the demo prints at its end work as they stand there, and the last of them leaves nothing.
func TestTheDemoStays(t *testing.T) {
	if !*soak {
		t.Skip("a second demo takes most of a minute; run it with -args -soak")
	}
	examples := demoPlace(t)
	p := pc.New(t, built.hpips, "alice")
	a := p.Hpips(t, "demo", "--keep", "--examples", examples, "--picture", filepath.Join(t.TempDir(), "picture.png"))
	_, rest, told := strings.Cut(a.Stderr, "the network stays up; use it with:\n")
	use, stop, how := strings.Cut(rest, "stop it with:\n")
	if a.Code != 0 || !told || !how {
		t.Fatalf("code %d\n%s\n%s", a.Code, a.Stdout, a.Stderr)
	}
	typed := func(line string) string {
		if rest, own := strings.CutPrefix(line, "hpips "); own {
			line = built.hpips + " " + rest
		}
		cmd := exec.Command("bash", "-ec", line)
		text, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", line, err, text)
		}
		return string(text)
	}
	said := ""
	for line := range strings.Lines(use) {
		said += typed(strings.TrimSpace(line))
	}
	if !strings.Contains(said, "hello, alice") {
		t.Errorf("what it prints does not run a job:\n%s\n%s", use, said)
	}
	typed(strings.TrimSpace(stop))
	pc.Eventually(t, "all processes have ended", func() bool { return len(running(t, os.Getenv("TMPDIR"))) == 0 }, func() string { return strings.Join(running(t, os.Getenv("TMPDIR")), "\n") })
	if left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "hpips-demo-*")); err != nil || len(left) > 0 {
		t.Errorf("these are left: %v, %v", left, err)
	}
}

// Who interrupts a demo gets the PC back as it was.
func TestAnInterruptedDemoLeavesNothing(t *testing.T) {
	examples := demoPlace(t)
	p := pc.New(t, built.hpips, "alice")
	ctx, stop := context.WithTimeout(t.Context(), pc.Patience)
	defer stop()
	cmd := p.Command(ctx, "demo", "--examples", examples, "--picture", filepath.Join(t.TempDir(), "picture.png"))
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	nodes := func() int {
		homes, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "hpips-demo-*", "*", "up.log"))
		if err != nil {
			t.Fatal(err)
		}
		return len(homes)
	}
	pc.Eventually(t, "five nodes are started", func() bool { return nodes() == 5 }, func() string { return "" })
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("it ends with %v:\n%s", err, said.String())
	}
	if left := running(t, os.Getenv("TMPDIR")); len(left) > 0 || nodes() > 0 {
		t.Errorf("the demo leaves these running: %v, and %d folders", left, nodes())
	}
}

// running lists processes whose command line names dir.
func running(t *testing.T, dir string) (all []string) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err == nil && strings.Contains(string(text), dir) {
			all = append(all, strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
	return all
}
