package syscalls

import (
	"encoding/binary"
	"testing"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// verdict runs a policy over a call as the kernel does (struct seccomp_data of seccomp(2)). The machine of package bpf reads words from their large end, so they are written so.
func verdict(t *testing.T, p seccomp.Policy, number int, machine uint32, args ...uint64) uint32 {
	t.Helper()
	program, err := p.Assemble()
	if err != nil {
		t.Fatal(err)
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	data := binary.BigEndian.AppendUint32(nil, uint32(number))
	data = binary.BigEndian.AppendUint32(data, machine)
	data = append(data, make([]byte, 8)...)
	for i := range 6 {
		var a uint64
		if i < len(args) {
			a = args[i]
		}
		data = binary.BigEndian.AppendUint32(data, uint32(a))
		data = binary.BigEndian.AppendUint32(data, uint32(a>>32))
	}
	out, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(out)
}

// TestWhatTheFilterAllows has ordinary calls pass, doors shut, guarded calls pass by their arguments, and what is not known refused.
func TestWhatTheFilterAllows(t *testing.T) {
	guarded := []seccomp.NameWithConditions{
		{Name: "socket", Conditions: seccomp.ArgumentConditions{When(0, seccomp.Equal, unix.AF_UNIX)}},
		{Name: "socket", Conditions: seccomp.ArgumentConditions{When(0, seccomp.Equal, unix.AF_INET)}},
		{Name: "clone", Conditions: seccomp.ArgumentConditions{When(0, seccomp.BitsNotSet, Namespaces)}},
	}
	p, denied, err := Allow(Doors, guarded)
	if err != nil {
		t.Fatal(err)
	}
	here, err := arch.GetInfo("")
	if err != nil {
		t.Fatal(err)
	}
	const allow, eperm, enosys = uint32(seccomp.ActionAllow), uint32(seccomp.ActionErrno) | uint32(unix.EPERM), uint32(seccomp.ActionErrno) | uint32(unix.ENOSYS)
	own := uint32(here.ID)
	for _, row := range []struct {
		what    string
		number  int
		machine uint32
		args    []uint64
		want    uint32
	}{
		{"read", unix.SYS_READ, own, nil, allow}, {"execve", unix.SYS_EXECVE, own, nil, allow},
		{"mount", unix.SYS_MOUNT, own, nil, eperm}, {"bpf", unix.SYS_BPF, own, nil, eperm}, {"ptrace", unix.SYS_PTRACE, own, nil, eperm},
		{"clone3", unix.SYS_CLONE3, own, nil, enosys},
		{"a local socket", unix.SYS_SOCKET, own, []uint64{unix.AF_UNIX}, allow}, {"one of the internet", unix.SYS_SOCKET, own, []uint64{unix.AF_INET}, allow},
		{"one of packets", unix.SYS_SOCKET, own, []uint64{unix.AF_PACKET}, eperm},
		{"a process", unix.SYS_CLONE, own, []uint64{uint64(unix.SIGCHLD)}, allow}, {"a namespace", unix.SYS_CLONE, own, []uint64{unix.CLONE_NEWUSER | uint64(unix.SIGCHLD)}, eperm},
		{"what no table knows", 9999, own, nil, eperm}, {"another word size", unix.SYS_READ, own ^ 0x80000000, nil, eperm},
	} {
		if got := verdict(t, p, row.number, row.machine, row.args...); got != row.want {
			t.Errorf("%s: %#x, want %#x", row.what, got, row.want)
		}
	}
	if denied < 40 {
		t.Errorf("only %d calls are denied", denied)
	}
	code, err := Code(p)
	if err != nil || len(code)%8 != 0 || len(code) < 8*100 {
		t.Errorf("%d bytes of code, %v", len(code), err)
	}
}
