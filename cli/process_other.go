//go:build !unix

package cli

import (
	"os"
	"syscall"
)

func ownGroup() *syscall.SysProcAttr { return nil }

// askToEnd kills: this system has no signal that asks another process to end.
func askToEnd(p *os.Process) { _ = p.Kill() }
