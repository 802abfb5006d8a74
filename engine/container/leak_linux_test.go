package container

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/enginetest"
	"github.com/hpips/hpips/engine/sandbox"
)

var starts = flag.Int("starts", 8, "containers that the test for leaks opens and closes")

// TestNothingIsLeft wants no container, process, mount, control group, file, folder or goroutine to be left.
func TestNothingIsLeft(t *testing.T) {
	e, word := ours(t), token(t)
	p := program(t, "hostile")
	p.Limits = engine.Limits{Time: time.Minute, Memory: 96 << 20}
	_ = opened(t, e, p) // it is there, whatever comes
	enginetest.NothingIsLeft(t, enginetest.Leak{
		Engine: e, Program: p, Starts: *starts, Slack: map[string]int{"files": 1},
		Ends: engine.Task{Args: []string{"zombies", word}, Outputs: []string{"/out"}}, Spins: engine.Task{Args: []string{"spin", word}},
		Look: func(t *testing.T) map[string]int {
			mounts, err := os.ReadFile("/proc/self/mountinfo")
			if err != nil {
				t.Fatal(err)
			}
			groups := 0
			err = filepath.WalkDir("/sys/fs/cgroup", func(_ string, d os.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					groups++
				}
				return nil // what goes while it is looked at is gone
			})
			if err != nil {
				t.Fatal(err)
			}
			return map[string]int{"mounts": bytes.Count(mounts, []byte("\n")), "groups": groups, "children": len(sandbox.Family(os.Getpid(), sandbox.Everyone))}
		},
		Left: func(t *testing.T) {
			if left := enginetest.Tokened(t, word); len(left) > 0 {
				t.Errorf("processes, and with them namespaces, are left: %v", left)
			}
			list, err := e.api.ContainerList(t.Context(), client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", label+"="+e.self)})
			if err != nil || len(list.Items) > 0 {
				t.Errorf("containers are left: %v, %v", list.Items, err)
			}
			if err := e.api.Close(); err != nil { // connections that wait for the next question
				t.Error(err)
			}
		},
	})
}

// BenchmarkStart measures what a container costs: how long it takes to have run what does nothing.
func BenchmarkStart(b *testing.B) {
	held := enginetest.NewBench(b, ours(b), program(b, "guest"))
	for b.Loop() {
		held.Run("exit", "0")
	}
}
