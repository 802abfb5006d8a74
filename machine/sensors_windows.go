package machine

import (
	"context"
	"unsafe"

	"golang.org/x/sys/windows"
)

var (
	kernel32       = windows.NewLazySystemDLL("kernel32.dll")
	getPowerStatus = kernel32.NewProc("GetSystemPowerStatus")
)

// powerStatus is SYSTEM_POWER_STATUS (winbase.h).
type powerStatus struct {
	acLine, flag, percent, saver byte
	life, full                   uint32
}

// battery calls GetSystemPowerStatus: 255 is unknown, and bit 7 of flag says that there is none.
func (s sources) battery(context.Context) *Battery {
	var p powerStatus
	if ok, _, _ := getPowerStatus.Call(uintptr(unsafe.Pointer(&p))); ok == 0 || p.flag == 255 || p.flag&128 != 0 || p.acLine == 255 {
		return nil
	}
	b := &Battery{Discharging: p.acLine == 0}
	if p.percent <= 100 {
		charge := float64(p.percent) / 100
		b.Charge = &charge
	}
	return b
}

// network: the system tells it through COM alone, which is not asked here.
func network(context.Context) *bool { return nil }
