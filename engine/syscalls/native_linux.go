package syscalls

import (
	"strings"

	"github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"
)

// unaccounted are calls that make memory which belongs to no process: where no control group counts it, nobody would.
var unaccounted = strings.Fields("memfd_create shmget shmat shmctl msgget msgsnd mq_open")

// Policy is what programs of one kind may call.
type Policy struct {
	Deny    []string                     // beside what Allow does not know
	Guarded []seccomp.NameWithConditions // under conditions
}

// Native is the policy for native programs. Beyond Doors they may not make namespaces, put characters into a terminal, take pages that no limit counts or that are shared with
// others, or speak to parts of the kernel by sockets other than local ones, those of the usual internet protocols, which lead nowhere from their sandboxes, and the one that tells
// network devices. accounted says that a control group counts their memory, exact that a Filter holds them: Profile knows no two conditions on one argument, and leaves those out.
func Native(accounted, exact bool) Policy {
	p := Policy{Deny: Doors}
	family := func(f uint64, more ...seccomp.Condition) seccomp.NameWithConditions {
		return seccomp.NameWithConditions{Name: "socket", Conditions: append(seccomp.ArgumentConditions{When(0, seccomp.Equal, f)}, more...)}
	}
	usual := When(2, seccomp.LessOrEqual, unix.IPPROTO_UDP) // the kernel loads parts of itself for others, such as SCTP
	p.Guarded = []seccomp.NameWithConditions{
		{Name: "clone", Conditions: seccomp.ArgumentConditions{When(0, seccomp.BitsNotSet, Namespaces)}},
		family(unix.AF_UNIX), family(unix.AF_INET, usual), family(unix.AF_INET6, usual), family(unix.AF_NETLINK, When(2, seccomp.Equal, unix.NETLINK_ROUTE)),
		{Name: "socketpair", Conditions: seccomp.ArgumentConditions{When(0, seccomp.Equal, unix.AF_UNIX)}},
		{Name: "mmap", Conditions: seccomp.ArgumentConditions{When(3, seccomp.BitsNotSet, unix.MAP_HUGETLB)}}, // no limit of memory counts huge pages
	}
	if accounted {
		p.Guarded = append(p.Guarded, seccomp.NameWithConditions{Name: "memfd_create", Conditions: seccomp.ArgumentConditions{When(1, seccomp.BitsNotSet, unix.MFD_HUGETLB)}})
	} else {
		p.Deny = append(append([]string(nil), p.Deny...), unaccounted...)
	}
	if exact {
		lower := func(argument uint32) seccomp.Condition { return When(argument, seccomp.LessOrEqual, 1<<32-1) } // the kernel looks at this half alone
		p.Guarded = append(p.Guarded,
			seccomp.NameWithConditions{Name: "prctl", Conditions: seccomp.ArgumentConditions{lower(0), When(0, seccomp.NotEqual, unix.PR_SET_MEMORY_MERGE)}}, // who shares pages could tell
			seccomp.NameWithConditions{Name: "madvise", Conditions: seccomp.ArgumentConditions{lower(2), When(2, seccomp.NotEqual, unix.MADV_MERGEABLE)}},
			seccomp.NameWithConditions{Name: "ioctl", Conditions: seccomp.ArgumentConditions{lower(1), When(1, seccomp.NotEqual, unix.TIOCSTI), When(1, seccomp.NotEqual, unix.TIOCLINUX)}})
	}
	return p
}
