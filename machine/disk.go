package machine

import (
	"context"
	"strings"

	"github.com/shirou/gopsutil/v4/disk"
)

// disks are the file systems of hardware, each once.
func disks(ctx context.Context) []Disk {
	all := []Disk{}
	parts, err := disk.PartitionsWithContext(ctx, false)
	if err != nil {
		return all
	}
	seen := map[string]bool{}
	for _, p := range parts {
		if seen[p.Device] || strings.HasPrefix(p.Device, "/dev/loop") {
			continue
		}
		use, err := disk.UsageWithContext(ctx, p.Mountpoint)
		if err != nil || use.Total == 0 {
			continue
		}
		seen[p.Device] = true
		all = append(all, Disk{Path: p.Mountpoint, Device: p.Device, System: p.Fstype, Total: int64(use.Total), Free: int64(use.Free)})
	}
	return all
}
