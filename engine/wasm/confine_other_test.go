//go:build !(linux && amd64)

package wasm

// breakout is written for the calls of Linux on amd64.
func breakout() int { return 2 }
