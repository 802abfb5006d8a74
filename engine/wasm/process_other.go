//go:build !linux

package wasm

import "os/exec"

// detach does nothing here: the child ends when its standard input closes.
func detach(*exec.Cmd) {}
