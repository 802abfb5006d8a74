package syscalls

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Namespaces are the clone flags that make one, CLONE_NEWNS to CLONE_NEWNET.
const Namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// When is a condition on the argument at that place, counted from 0, of a call that is allowed with some arguments only.
func When(argument uint32, op seccomp.Operation, value uint64) seccomp.Condition {
	return seccomp.Condition{Argument: argument, Operation: op, Value: value}
}

// Allow makes the policy that allows every call known here, those in guarded under their conditions only, but for the denied ones; all else fails with EPERM, calls
// younger than this program and those of another word size, which have numbers of their own, among it. denied is how many known calls are not allowed.
// clone3 hides its flags from a filter; told that it is unknown, the C library takes clone instead.
func Allow(deny []string, guarded []seccomp.NameWithConditions) (p seccomp.Policy, denied int, err error) {
	here, err := arch.GetInfo("")
	if err != nil {
		return p, 0, fmt.Errorf("seccomp: %w", err)
	}
	allowed := seccomp.SyscallGroup{Action: seccomp.ActionAllow}
	for _, call := range guarded {
		if _, known := here.SyscallNames[call.Name]; known {
			allowed.NamesWithCondtions = append(allowed.NamesWithCondtions, call)
		}
	}
	absent := seccomp.SyscallGroup{Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS)}
	for name := range here.SyscallNames {
		switch {
		case name == "clone3":
			absent.Names = []string{name}
		case slices.Contains(deny, name), slices.ContainsFunc(guarded, func(c seccomp.NameWithConditions) bool { return c.Name == name }):
		default:
			allowed.Names = append(allowed.Names, name)
		}
	}
	slices.SortFunc(allowed.Names, func(a, b string) int { return here.SyscallNames[a] - here.SyscallNames[b] })
	p = seccomp.Policy{DefaultAction: seccomp.ActionErrno, Syscalls: []seccomp.SyscallGroup{absent, allowed}}
	return p, len(here.SyscallNames) - len(allowed.Names), nil
}

// Code is a policy as the kernel reads it: an array of struct sock_filter (seccomp(2)) in the machine's byte order.
func Code(p seccomp.Policy) ([]byte, error) {
	program, err := p.Assemble()
	if err != nil {
		return nil, fmt.Errorf("seccomp: %w", err)
	}
	raw, err := bpf.Assemble(program)
	if err != nil {
		return nil, fmt.Errorf("seccomp: %w", err)
	}
	code := make([]byte, 0, 8*len(raw))
	for _, i := range raw {
		code = binary.NativeEndian.AppendUint16(code, i.Op)
		code = append(code, i.Jt, i.Jf)
		code = binary.NativeEndian.AppendUint32(code, i.K)
	}
	return code, nil
}
