package enginetest

import (
	"testing"

	"github.com/hpips/hpips/engine"
	"go.uber.org/goleak"
)

// TestFake holds the fake to the suite that it stands in for.
func TestFake(t *testing.T) {
	defer goleak.VerifyNone(t)
	fake := NewFake(map[string]Program{"acts": Acts})
	Suite(t, Kit{
		Engine:  fake,
		Program: func(*testing.T) engine.Program { return engine.Program{Module: "acts.wasm", Key: "acts"} },
		Bad:     func(*testing.T) engine.Program { return engine.Program{Module: "notes.txt", Key: "unknown"} },
		Crash:   func(_ *testing.T, s engine.Sandbox) { s.(*Box).Crash() },
		Pauses:  true,
	})
	if fake.Box("nobody") != nil || fake.Starts() < 10 {
		t.Errorf("%d children started", fake.Starts())
	}
}
