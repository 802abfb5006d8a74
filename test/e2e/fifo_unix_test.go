//go:build unix

package e2e

import "syscall"

func makeFIFO(name string) error { return syscall.Mkfifo(name, 0o600) }
