//go:build !unix

package pc

import (
	"os"
	"syscall"
	"testing"
)

func ownGroup() *syscall.SysProcAttr { return nil }

func killGroup(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill() // a process that is gone has ended
	}
}

// Freeze needs a signal that this system does not have.
func (p *PC) Freeze(t testing.TB) { t.Skip("this system has no SIGSTOP") }

// Thaw needs a signal that this system does not have.
func (p *PC) Thaw(t testing.TB) { t.Skip("this system has no SIGCONT") }

// Alone cannot be seen without process groups.
func (p *PC) Alone(testing.TB) {}
