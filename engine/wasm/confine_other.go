//go:build !linux

package wasm

import "runtime"

// confine can do nothing here: the program is held by WASM itself, and by the child being another process.
func confine(reach) []Check {
	what := "not on " + runtime.GOOS + ": programs are held by WASM and a process of their own alone"
	return []Check{{Name: "landlock", Detail: what}, {Name: "seccomp", Detail: what}, {Name: "limits", Detail: what}}
}

// probe has nothing to try.
func probe() []Check { return nil }
