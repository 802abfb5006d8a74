//go:build !unix

package machine

import "github.com/shirou/gopsutil/v4/disk"

func diskFree(path string) int64 {
	use, err := disk.Usage(path)
	if err != nil {
		return 0
	}
	return int64(use.Free)
}
