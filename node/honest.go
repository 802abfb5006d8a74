//go:build !lies

package node

import "github.com/hpips/hpips/engine"

// lying is the engine as it is; nodes that lie are built for tests only.
func lying(_ string, e engine.Engine) engine.Engine { return e }
