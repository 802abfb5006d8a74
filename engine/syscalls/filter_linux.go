package syscalls

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"unsafe"

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

// Filter is what the kernel runs before each call (seccomp(2)).
type Filter struct{ program []bpf.Instruction }

// Allow makes the filter that allows every call known here, those in guarded under their conditions only, but for the denied ones; all else fails with EPERM, calls
// younger than this program and those of another word size, which have numbers of their own, among it. denied is how many known calls are not allowed.
// clone3 hides its flags from a filter; told that it is unknown, the C library takes clone instead.
func Allow(deny []string, guarded []seccomp.NameWithConditions) (f Filter, denied int, err error) {
	s, err := sorted(deny, guarded)
	if err != nil {
		return f, 0, err
	}
	if f.program, err = assembled(s.absent, s.allowed); err != nil {
		return f, 0, err
	}
	for _, name := range s.guarded {
		if err := f.guard(s.here.SyscallNames[name], s.conditions[name]); err != nil {
			return f, 0, err
		}
	}
	return f, len(s.here.SyscallNames) - len(s.allowed.Names), nil
}

// sort is this processor's calls by what becomes of them, each list in the order of their numbers.
type sort struct {
	here            *arch.Info
	absent, allowed seccomp.SyscallGroup
	guarded         []string
	conditions      map[string][]seccomp.NameWithConditions // of these
}

func sorted(deny []string, guarded []seccomp.NameWithConditions) (s sort, err error) {
	if s.here, err = arch.GetInfo(""); err != nil {
		return s, fmt.Errorf("seccomp: %w", err)
	}
	s.allowed.Action = seccomp.ActionAllow
	s.absent.Action = seccomp.ActionErrno | seccomp.Action(unix.ENOSYS)
	s.conditions = map[string][]seccomp.NameWithConditions{}
	for _, call := range guarded {
		if _, known := s.here.SyscallNames[call.Name]; known {
			s.conditions[call.Name] = append(s.conditions[call.Name], call)
		}
	}
	for name := range s.here.SyscallNames {
		switch {
		case name == "clone3":
			s.absent.Names = []string{name}
		case slices.Contains(deny, name), s.conditions[name] != nil:
		default:
			s.allowed.Names = append(s.allowed.Names, name)
		}
	}
	byNumber := func(a, b string) int { return s.here.SyscallNames[a] - s.here.SyscallNames[b] }
	slices.SortFunc(s.allowed.Names, byNumber)
	s.guarded = slices.SortedFunc(maps.Keys(s.conditions), byNumber)
	return s, nil
}

// assembled is a whole filter of these groups.
func assembled(groups ...seccomp.SyscallGroup) ([]bpf.Instruction, error) {
	p := seccomp.Policy{DefaultAction: seccomp.ActionErrno, Syscalls: groups}
	program, err := p.Assemble()
	if err != nil {
		return nil, fmt.Errorf("seccomp: %w", err)
	}
	return program, nil
}

// guard puts a filter of one call's conditions before the rest. The library's own way to put several such calls into one filter leaves the argument that was looked at
// last where the number of the call was (seccomp-bpf 1.6.0): what fails the conditions of one is then taken for the call of which the argument is the number.
func (f *Filter) guard(number int, conditions []seccomp.NameWithConditions) error {
	own, err := assembled(seccomp.SyscallGroup{Action: seccomp.ActionAllow, NamesWithCondtions: conditions})
	if err != nil {
		return err
	}
	f.program = slices.Concat([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 4}, // the number of the call, in struct seccomp_data
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(number), SkipTrue: 1},
		bpf.Jump{Skip: uint32(len(own))},
	}, own, f.program)
	return nil
}

// Code is the filter as the kernel reads it: an array of struct sock_filter (seccomp(2)) in the machine's byte order.
func (f Filter) Code() ([]byte, error) {
	raw, err := bpf.Assemble(f.program)
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

// Install puts the filter before all threads of this process, for good. They must have given up new privileges (prctl(2), PR_SET_NO_NEW_PRIVS).
func (f Filter) Install() error {
	raw, err := bpf.Assemble(f.program)
	if err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	code := make([]unix.SockFilter, len(raw))
	for n, i := range raw {
		code[n] = unix.SockFilter{Code: i.Op, Jt: i.Jt, Jf: i.Jf, K: i.K}
	}
	program := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program))); e != 0 {
		return fmt.Errorf("seccomp: %w", e)
	}
	return nil
}
