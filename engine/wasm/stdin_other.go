//go:build !unix

package wasm

import "os"

// orders is standard input.
func orders() *os.File { return os.Stdin }
