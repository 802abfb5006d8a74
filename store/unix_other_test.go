//go:build !unix

package store

import "syscall"

// nobody has no counterpart here; the caller needs it for root only.
func nobody() *syscall.SysProcAttr { return nil }
