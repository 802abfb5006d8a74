//go:build !linux

package machine

import (
	"io/fs"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/mem"
)

func everything() fs.FS { return nil }

func accessible(string) error { return nil }

func kernel() string { return "" }

func cpuModel() string {
	all, err := cpu.Info()
	if err != nil || len(all) == 0 {
		return ""
	}
	return all[0].ModelName
}

func processor() []string { return nil }

func memory() (total, available int64) {
	m, err := mem.VirtualMemory()
	if err != nil {
		return 0, 0
	}
	return int64(m.Total), int64(m.Available)
}
