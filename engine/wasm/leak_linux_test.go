package wasm

import (
	"flag"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/enginetest"
)

var starts = flag.Int("starts", 100, "sandboxes that the test for leaks opens and closes")

// TestNothingIsLeft wants no process, mount, file, folder, goroutine or memory to be left.
func TestNothingIsLeft(t *testing.T) {
	module := assemble(t, "testdata/trap.wat")
	b, err := os.ReadFile(module)
	if err != nil {
		t.Fatal(err)
	}
	ends := indexed(1, "nothing")
	ends.Outputs = []string{"/out"}
	enginetest.NothingIsLeft(t, enginetest.Leak{
		Engine:  newEngine(t),
		Program: engine.Program{Module: module, Key: keyOf(b), Limits: engine.Limits{Time: time.Minute, Memory: 16 << 20, Output: 1 << 20, Disk: 4 << 20}},
		Ends:    ends, Spins: indexed(2, "loop"), Starts: *starts, Warm: 2, Slack: map[string]int{"memory": 4 << 20},
		Look: func(*testing.T) map[string]int {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return map[string]int{"memory": int(m.HeapAlloc)}
		},
		Left: func(t *testing.T) {
			if left := enginetest.Children(t); len(left) > 0 {
				t.Errorf("children are left, dead or alive: %v", left)
			}
		},
	})
}
