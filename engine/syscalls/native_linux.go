package syscalls

import (
	"strings"

	"github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"
)

// unaccounted are calls that make memory which belongs to no process: where no control group counts it, nobody would.
var unaccounted = strings.Fields("memfd_create shmget shmat shmctl msgget msgsnd mq_open")

// Native is the policy for native programs. Beyond Doors they may not make namespaces, put characters into a terminal, or speak to parts of the kernel by sockets other than
// local ones, those of the internet protocols, which lead nowhere from their sandboxes, and the one that tells network devices. accounted says that a control group counts their
// memory, terminal that they may have one.
func Native(accounted, terminal bool) (seccomp.Policy, error) {
	deny := Doors
	if !accounted {
		deny = append(append([]string(nil), deny...), unaccounted...)
	}
	family := func(f uint64, more ...seccomp.Condition) seccomp.NameWithConditions {
		return seccomp.NameWithConditions{Name: "socket", Conditions: append(seccomp.ArgumentConditions{When(0, seccomp.Equal, f)}, more...)}
	}
	guarded := []seccomp.NameWithConditions{
		{Name: "clone", Conditions: seccomp.ArgumentConditions{When(0, seccomp.BitsNotSet, Namespaces)}},
		family(unix.AF_UNIX), family(unix.AF_INET), family(unix.AF_INET6), family(unix.AF_NETLINK, When(2, seccomp.Equal, unix.NETLINK_ROUTE)),
		{Name: "socketpair", Conditions: seccomp.ArgumentConditions{When(0, seccomp.Equal, unix.AF_UNIX)}},
	}
	if terminal {
		guarded = append(guarded, seccomp.NameWithConditions{Name: "ioctl", Conditions: seccomp.ArgumentConditions{ // the kernel looks at the lower half alone
			When(1, seccomp.LessOrEqual, 1<<32-1), When(1, seccomp.NotEqual, unix.TIOCSTI), When(1, seccomp.NotEqual, unix.TIOCLINUX),
		}})
	}
	p, _, err := Allow(deny, guarded)
	return p, err
}
