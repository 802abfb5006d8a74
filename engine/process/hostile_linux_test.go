package process

import (
	"strconv"
	"testing"
	"time"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/enginetest"
	"github.com/hpips/hpips/engine/sandbox"
)

func hostileKit(t *testing.T, cfg Config) (enginetest.HostileKit, *Engine) {
	e := newEngine(t, cfg)
	kit := enginetest.HostileKit{Engine: e, Patience: sandbox.Patience, Program: func(t *testing.T) engine.Program { return program(t, helper(t, "hostile")) }}
	if cfg.NoGroups { // there such calls are refused
		kit.Ends = map[string][]engine.End{"memory in files of memory": {engine.Exited}, "memory that is shared": {engine.Exited}}
	}
	return kit, e
}

// TestHostile lets mallory's programs do their worst, where control groups hold them and where a watch-dog does.
func TestHostile(t *testing.T) {
	for name, cfg := range map[string]Config{"groups": {Processes: 64}, "watch-dog": {Processes: 64, NoGroups: true}} {
		t.Run(name, func(t *testing.T) {
			kit, e := hostileKit(t, cfg)
			enginetest.Hostile(t, kit)
			leftGroups(t, e)
		})
	}
}

// TestCancelledWhileSuspended has mallory's program stopped by a control group or by signals, and ended.
func TestCancelledWhileSuspended(t *testing.T) {
	for name, cfg := range map[string]Config{"groups": {}, "watch-dog": {NoGroups: true}} {
		t.Run(name, func(t *testing.T) {
			kit, _ := hostileKit(t, cfg)
			enginetest.Suspended(t, kit, func(pid string) time.Duration {
				n, err := strconv.Atoi(pid)
				if err != nil {
					t.Fatal(err)
				}
				return sandbox.Weigh(sandbox.Family(n, sandbox.Everyone)).CPU
			})
		})
	}
}

// leftGroups wants no control group of this process.
func leftGroups(t *testing.T, e *Engine) {
	t.Helper()
	if left, err := e.groups.Made(); err != nil || len(left) > 0 {
		t.Errorf("control groups are left: %v, %v", left, err)
	}
}
