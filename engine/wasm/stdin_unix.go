//go:build unix

package wasm

import (
	"os"
	"syscall"
)

// orders is standard input as Go's poller reads it. A read that waits then holds no processor of Go's scheduler, which else wakes every
// 20 µs for a while to take it back, and takes that time from the program that runs.
func orders() *os.File {
	if syscall.SetNonblock(0, true) != nil {
		return os.Stdin
	}
	return os.NewFile(0, "orders")
}
