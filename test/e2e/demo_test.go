package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/test/e2e/pc"
)

// The main job, as make demo runs it: two jobs on five processes, one of which is killed at work, and the results compared with those of this
// machine alone.
func TestTheMainJob(t *testing.T) {
	examples := filepath.Join("..", "..", "examples")
	for _, name := range []string{"concordance", "render"} {
		if _, err := os.Stat(filepath.Join(examples, name, name+".wasm")); err != nil {
			t.Skipf("examples are not built (make examples): %v", err)
		}
	}
	t.Setenv("TMPDIR", t.TempDir())
	picture := filepath.Join(t.TempDir(), "picture.png")
	p := pc.New(t, built.hpips, "alice")
	a := p.Hpips(t, "demo", "-o", "json", "--examples", examples, "--picture", picture)
	lines := strings.Split(strings.TrimSuffix(a.Stdout, "\n"), "\n")
	var told struct {
		OK    bool
		Jobs  []job.Status
		Chain struct {
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
