//go:build !linux

package wasm

import "time"

// threadCPU is 0 where the system does not tell: usage then has wall-clock time alone.
func threadCPU() time.Duration { return 0 }
