package syscalls

import (
	"encoding/binary"
	"testing"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// verdict runs a filter over a call as the kernel does (struct seccomp_data of seccomp(2)). The machine of package bpf reads words from their large end, so they are written so.
func verdict(t *testing.T, f Filter, number int, machine uint32, args ...uint64) uint32 {
	t.Helper()
	vm, err := bpf.NewVM(f.program)
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
		{Name: "ioctl", Conditions: seccomp.ArgumentConditions{When(1, seccomp.NotEqual, unix.TIOCSTI)}},
		{Name: "no such call", Conditions: seccomp.ArgumentConditions{When(0, seccomp.Equal, 1)}},
	}
	f, denied, err := Allow(Doors, guarded)
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
		{"another whose protocol is the number of a guarded call", unix.SYS_SOCKET, own, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.SYS_IOCTL}, eperm},
		{"one whose family is", unix.SYS_SOCKET, own, []uint64{unix.SYS_IOCTL, unix.SOCK_RAW}, eperm}, {"one whose family is that of another", unix.SYS_SOCKET, own, []uint64{unix.SYS_CLONE}, eperm},
		{"a control of files", unix.SYS_IOCTL, own, []uint64{0, unix.TCGETS}, allow}, {"typing for others", unix.SYS_IOCTL, own, []uint64{0, unix.TIOCSTI}, eperm},
		{"what no table knows", 9999, own, nil, eperm}, {"another word size", unix.SYS_READ, own ^ 0x80000000, nil, eperm},
	} {
		if got := verdict(t, f, row.number, row.machine, row.args...); got != row.want {
			t.Errorf("%s: %#x, want %#x", row.what, got, row.want)
		}
	}
	if denied < 40 {
		t.Errorf("only %d calls are denied", denied)
	}
	code, err := f.Code()
	if err != nil || len(code)%8 != 0 || len(code) < 8*100 {
		t.Errorf("%d bytes of code, %v", len(code), err)
	}
}
