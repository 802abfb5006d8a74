package auditor

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// Results of one program with the same inputs run in one sandbox, each with its own input alone; what else comes, or comes after one that broke off, has a sandbox of its own.
func TestASessionKeepsItsSandbox(t *testing.T) {
	c := sits(t, func(cfg *Config) { cfg.Disk = 1 << 20 })
	s := c.Session("alice")
	var ids []uint64
	end := engine.Exited
	var want []byte
	c.machine.play = func(task engine.Task, p engine.Program) engine.Outcome {
		ids = append(ids, task.ID)
		there, err := filepath.Glob(filepath.Join(p.Inputs, "*"))
		if err != nil || len(there) != 1 || task.Mounts[0].Host != there[0] {
			t.Errorf("beside %v lie %v, %v", task.Mounts, there, err)
		}
		if got, err := os.ReadFile(task.Mounts[0].Host); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes of another's input, %v", len(got), err)
		}
		o := honest(task, p)
		o.End = end
		return o
	}
	examines := func(fill byte, rules []Rule, change func(*lease.Statement), sandboxes int) {
		t.Helper()
		st := c.statement()
		want = bytes.Repeat([]byte{fill}, 600<<10) // two of them are more than the disk
		st.Work.Limits.Output = 1 << 20
		st.Task.Path, st.Task.Input = "/in/part", &job.Content{CID: c.shelf.put(want), Size: int64(len(want))}
		if change != nil {
			change(&st)
		}
		if f, err := s.Examine(t.Context(), st, rules); err != nil || len(f.States) != len(rules) {
			t.Errorf("%+v, %v", f, err)
		}
		if n := len(c.machine.opened); n != sandboxes {
			t.Errorf("%d sandboxes were begun, want %d", n, sandboxes)
		}
	}
	at := []Rule{At(1)}
	examines('a', at, nil, 1)
	examines('b', at, nil, 1)
	for _, on := range []bool{true, false} { // a hold between two of them
		if err := c.Hold(on); err != nil {
			t.Fatal(err)
		}
		if _, still := c.machine.seen(); still == 1 != on {
			t.Errorf("hold %t: %d sandboxes stand still", on, still)
		}
	}
	end = engine.Trapped
	examines('c', at, nil, 1)
	end = engine.Exited
	examines('d', at, nil, 2)
	if !slices.Equal(ids, []uint64{1, 2, 3, 1}) {
		t.Errorf("tasks have the numbers %v", ids)
	}
	examines('e', at, func(st *lease.Statement) { st.Work.Args = []string{"other"} }, 3)
	examines('f', nil, func(st *lease.Statement) { st.Work.Args = []string{"other"} }, 4) // no states are asked for
	s.Close()
	c.leavesNothing()
}
