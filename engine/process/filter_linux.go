package process

import (
	"fmt"
	"strings"

	"github.com/elastic/go-seccomp-bpf"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine/syscalls"
)

// unaccounted are calls that make memory which belongs to no process: where no control group counts it, nobody would.
var unaccounted = strings.Fields("memfd_create shmget shmat shmctl msgget msgsnd mq_open")

// filter is the seccomp filter of native programs. Beyond syscalls.Doors they may not make namespaces, put characters into a terminal, or speak to parts of the
// kernel by sockets other than local ones, those of the internet protocols, which lead nowhere from here, and the one that tells network devices.
func filter(accounted bool) ([]byte, error) {
	deny := syscalls.Doors
	if !accounted {
		deny = append(append([]string(nil), deny...), unaccounted...)
	}
	family := func(f uint64, more ...seccomp.Condition) seccomp.NameWithConditions {
		return seccomp.NameWithConditions{Name: "socket", Conditions: append(seccomp.ArgumentConditions{syscalls.When(0, seccomp.Equal, f)}, more...)}
	}
	lower := func(argument uint32) seccomp.Condition { return syscalls.When(argument, seccomp.LessOrEqual, 1<<32-1) } // the kernel looks at this half alone
	usual := syscalls.When(2, seccomp.LessOrEqual, unix.IPPROTO_UDP)                                                  // the kernel loads parts of itself for others, such as SCTP
	guarded := []seccomp.NameWithConditions{
		{Name: "clone", Conditions: seccomp.ArgumentConditions{syscalls.When(0, seccomp.BitsNotSet, syscalls.Namespaces)}},
		family(unix.AF_UNIX), family(unix.AF_INET, usual), family(unix.AF_INET6, usual), family(unix.AF_NETLINK, syscalls.When(2, seccomp.Equal, unix.NETLINK_ROUTE)),
		{Name: "socketpair", Conditions: seccomp.ArgumentConditions{syscalls.When(0, seccomp.Equal, unix.AF_UNIX)}},
		{Name: "mmap", Conditions: seccomp.ArgumentConditions{syscalls.When(3, seccomp.BitsNotSet, unix.MAP_HUGETLB)}},                  // no limit of memory counts huge pages
		{Name: "prctl", Conditions: seccomp.ArgumentConditions{lower(0), syscalls.When(0, seccomp.NotEqual, unix.PR_SET_MEMORY_MERGE)}}, // nor pages that it shares with others, who could tell
		{Name: "madvise", Conditions: seccomp.ArgumentConditions{lower(2), syscalls.When(2, seccomp.NotEqual, unix.MADV_MERGEABLE)}},
		{Name: "ioctl", Conditions: seccomp.ArgumentConditions{
			lower(1), syscalls.When(1, seccomp.NotEqual, unix.TIOCSTI), syscalls.When(1, seccomp.NotEqual, unix.TIOCLINUX),
		}},
	}
	if accounted {
		guarded = append(guarded, seccomp.NameWithConditions{Name: "memfd_create", Conditions: seccomp.ArgumentConditions{syscalls.When(1, seccomp.BitsNotSet, unix.MFD_HUGETLB)}})
	}
	f, _, err := syscalls.Allow(deny, guarded)
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
