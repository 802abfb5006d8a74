package machine

import (
	"context"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

var (
	user32           = windows.NewLazySystemDLL("user32.dll")
	getLastInputInfo = user32.NewProc("GetLastInputInfo")
	getTickCount     = windows.NewLazySystemDLL("kernel32.dll").NewProc("GetTickCount")
)

func idlers() []Idler { return []Idler{lastInput{}} }

// lastInput is of the session that this process runs in. A service has a session of its own, at which nobody sits: there the owner's program reports.
type lastInput struct{}

// lastInputInfo is LASTINPUTINFO (winuser.h).
type lastInputInfo struct{ size, time uint32 }

// Idle calls GetLastInputInfo. Both clocks are 32 bits of milliseconds, so that their difference survives when they begin anew after 49.7 days.
func (lastInput) Idle(context.Context) (time.Duration, error) {
	var session uint32
	if windows.ProcessIdToSessionId(windows.GetCurrentProcessId(), &session) == nil && session == 0 {
		return 0, ErrNoSession
	}
	info := lastInputInfo{size: uint32(unsafe.Sizeof(lastInputInfo{}))}
	if ok, _, err := getLastInputInfo.Call(uintptr(unsafe.Pointer(&info))); ok == 0 {
		return 0, fmt.Errorf("idle: %w", err)
	}
	now, _, _ := getTickCount.Call()
	return time.Duration(uint32(now)-info.time) * time.Millisecond, nil
}
