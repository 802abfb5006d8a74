package wasm

import (
	"runtime"
	"syscall"
	"testing"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/enginetest"
)

// TestSuite holds this engine to the contract of all engines.
func TestSuite(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the suite's crash needs signals, which Windows lacks")
	}
	kit := enginetest.Kit{
		Engine:  newEngine(t),
		Program: func(t *testing.T) engine.Program { return program(t, guest(t)) },
		Bad:     func(t *testing.T) engine.Program { return program(t, assemble(t, "testdata/nostart.wat")) },
		Crash:   killChild,
		Pauses:  true,
		Counts:  true,
	}
	enginetest.Suite(t, kit)
}

// killChild does to a sandbox's child what an owner with a task manager would.
func killChild(t *testing.T, s engine.Sandbox) {
	t.Helper()
	if err := s.(*sandbox).current().cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}
