package process

import (
	"fmt"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine/syscalls"
)

// filter is the seccomp filter of native programs as the kernel reads it.
func filter(accounted bool) ([]byte, error) {
	p := syscalls.Native(accounted, true)
	f, _, err := syscalls.Allow(p.Deny, p.Guarded)
	if err != nil {
		return nil, err
	}
	return f.Code()
}

// scopes is the version of Landlock that keeps signals and abstract sockets in.
const scopes = 6

// scoped says whether the kernel can keep signals and abstract sockets inside.
func scoped() error {
	version, err := ll.LandlockGetABIVersion()
	if err != nil {
		return fmt.Errorf("the kernel has no Landlock: %w", err)
	}
	if version < scopes {
		return fmt.Errorf("version %d of Landlock in the kernel, %d wanted", version, scopes)
	}
	return nil
}

// scope gives this thread, which must end with the program that it starts, a Landlock domain: what it starts sends no signals out of the domain and reaches no
// abstract socket outside. A second wall behind the namespaces of processes and of the network. Files are not in it: who may not see them cannot mount, and bwrap has to.
func scope() error {
	fd, err := ll.LandlockCreateRuleset(&ll.RulesetAttr{Scoped: ll.ScopeAbstractUnixSocket | ll.ScopeSignal}, 0)
	if err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	if err := ll.LandlockRestrictSelf(fd, 0); err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	return nil
}
