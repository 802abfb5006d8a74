package wasm

import (
	"fmt"

	"golang.org/x/sys/windows"
)

var (
	ntdll     = windows.NewLazySystemDLL("ntdll.dll")
	ntSuspend = ntdll.NewProc("NtSuspendProcess")
	ntResume  = ntdll.NewProc("NtResumeProcess")
)

// suspendResume is PROCESS_SUSPEND_RESUME (winnt.h).
const suspendResume = 0x0800

// freeze stops the child where it is, or lets it go on. The system counts how often a process was stopped, so it is not to be repeated.
func (p *process) freeze(on bool) error {
	h, err := windows.OpenProcess(suspendResume, false, uint32(p.cmd.Process.Pid))
	if err != nil {
		return fmt.Errorf("pause: %w", err)
	}
	defer windows.CloseHandle(h)
	call := ntResume
	if on {
		call = ntSuspend
	}
	if status, _, _ := call.Call(uintptr(h)); status != 0 {
		return fmt.Errorf("pause: status %x", status)
	}
	return nil
}
