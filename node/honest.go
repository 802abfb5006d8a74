//go:build !lies

package node

import (
	"github.com/hpips/hpips/auditor"
	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/requester"
)

// Nodes that lie are built for tests only (lies.go). In all others what is handed in here stays as it is.

// lying is the engine of a provider.
func lying(_ string, e engine.Engine) engine.Engine { return e }

// guessing is the engine of an examiner.
func guessing(_ string, e engine.Engine) engine.Engine { return e }

// perjured is what a juror works with.
func perjured(_ string, _ bar, d auditor.Deps, cfg auditor.JurorConfig) (auditor.Deps, auditor.JurorConfig) {
	return d, cfg
}

// hasty is how long a requester waits.
func hasty(_ string, cfg requester.Config) requester.Config { return cfg }
