//go:build unix

package pc

import (
	"syscall"
	"testing"
)

func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) } // a group that is gone has ended

// Freeze stops the process where it is; peers see a PC that says nothing.
func (p *PC) Freeze(t testing.TB) { p.signal(t, syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (p *PC) Thaw(t testing.TB) { p.signal(t, syscall.SIGCONT) }

func (p *PC) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(p.Pid(), s); err != nil {
		t.Fatalf("%v to %s: %v", s, p.Name, err)
	}
}

// Alone waits until nothing is left of the life that ended last: a sandbox whose PC is gone has nobody to work for.
func (p *PC) Alone(t testing.TB) {
	t.Helper()
	Eventually(t, "the sandboxes of "+p.Name+" end with it", func() bool {
		return syscall.Kill(-p.Pid(), 0) == syscall.ESRCH
	}, func() string { return p.Log(5) })
}
