//go:build unix

package cli

import (
	"os"
	"syscall"
)

// ownGroup keeps the terminal's Ctrl-C away from a process: whoever started it decides.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func askToEnd(p *os.Process) { _ = p.Signal(syscall.SIGTERM) } // a process that is gone has ended
