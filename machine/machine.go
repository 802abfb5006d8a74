// Package machine keeps what this PC has: its processors, memory, disk and system.
// It promises figures that were read from the system, and says "not available" where this system does not tell, instead of a guess.
// It leaves what may be used of them to the provider, and telling them to people to the node.
package machine

import "runtime"

// Inventory is what a PC has. A figure of 0 and a word "" mean that this system does not tell.
type Inventory struct {
	OS              string `json:"os"`
	Arch            string `json:"arch"`
	Kernel          string `json:"kernel,omitempty"`   // version of the system
	CPUs            int    `json:"cpus"`               // that this process may run on
	CPU             string `json:"cpu,omitempty"`      // model
	MemoryTotal     int64  `json:"memoryTotal"`        // bytes
	MemoryAvailable int64  `json:"memoryAvailable"`    // bytes that new work can get without swapping
	DiskPath        string `json:"diskPath,omitempty"` // the folder that the next figure is about
	DiskFree        int64  `json:"diskFree"`           // bytes that an ordinary user may still write
}

// Read takes stock of this PC; disk is a folder on the disk of interest. It reads a few small files and may be called again at any time.
func Read(disk string) Inventory {
	v := Inventory{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), DiskPath: disk}
	v.Kernel, v.CPU = kernel(), cpuModel()
	v.MemoryTotal, v.MemoryAvailable = memory()
	v.DiskFree = diskFree(disk)
	return v
}
