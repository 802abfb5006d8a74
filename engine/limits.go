package engine

import (
	"fmt"
	"time"
)

// DefaultLimits are taken where a program names none: 256 MiB of memory, 64 MiB of output, 1 GiB of disk, no time limit.
func DefaultLimits() Limits { return Limits{Memory: 256 << 20, Output: 64 << 20, Disk: 1 << 30} }

// OrDefault fills the zero fields of l from DefaultLimits.
func (l Limits) OrDefault() Limits {
	d := DefaultLimits()
	if l.Memory <= 0 {
		l.Memory = d.Memory
	}
	if l.Output <= 0 {
		l.Output = d.Output
	}
	if l.Disk <= 0 {
		l.Disk = d.Disk
	}
	return l
}

// Excess says for people which limit a task passed and which flag raises it; "" for an end that no limit caused.
func (l Limits) Excess(end End) string {
	switch end {
	case TimedOut:
		return fmt.Sprintf("time passed its limit of %s; raise it with --time", l.Time.Round(time.Millisecond))
	case MemoryFull:
		return fmt.Sprintf("memory passed its limit of %s; raise it with --memory", Bytes(l.Memory))
	case OutputFull:
		return fmt.Sprintf("output passed its limit of %s; raise it with --max-output", Bytes(l.Output))
	case DiskFull:
		return fmt.Sprintf("files passed their limit of %s; raise it with --disk", Bytes(l.Disk))
	case WorkFull:
		return fmt.Sprintf("work passed its limit of %d instructions; raise it with --work", l.Work)
	}
	return ""
}

// Bytes writes n with the largest binary unit that loses at most a tenth: 268435456 is "256 MiB".
func Bytes(n int64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if f == float64(int64(f)) {
		return fmt.Sprintf("%d %s", int64(f), units[i])
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}
