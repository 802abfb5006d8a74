// Package machine keeps what this PC has and what it may give: processors, memory, disks, devices and sensors, whether somebody is at it, and the rules of its owner.
// It promises figures that were read from the system, and says "not available" where this system does not tell, instead of a guess.
// It leaves what is done with the rules to the provider and the node, and telling figures to people to cli.
package machine

import (
	"context"
	"net"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Inventory is what a PC has at a glance. A figure of 0 and a word "" mean that this system does not tell.
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

// Devices is everything that a PC has. What is nil is not available.
type Devices struct {
	Inventory
	Class    string    `json:"class"`
	Cores    *int      `json:"cores"` // of the processors; each may run two threads
	Flags    []string  `json:"flags"` // what the processors can do
	Disks    []Disk    `json:"disks"`
	Networks []Network `json:"networks"`
	GPUs     []GPU     `json:"gpus"`
	Sensors  Sensors   `json:"sensors"`
}

// Disk is a file system that data can lie on.
type Disk struct {
	Path   string `json:"path"`
	Device string `json:"device"`
	System string `json:"system"`
	Total  int64  `json:"total"` // bytes
	Free   int64  `json:"free"`
}

// Network is a link to other machines.
type Network struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"`
	Megabits  *int64   `json:"megabits"` // a second, as the hardware says
}

// TakeStock reads everything, which may take a few seconds: some devices are asked by programs of their makers.
func TakeStock(ctx context.Context, disk string) Devices {
	return here().stock(ctx, disk)
}

func (s sources) stock(ctx context.Context, disk string) Devices {
	d := Devices{Inventory: Read(disk), Class: Class(), Cores: s.cores(), Flags: s.flags(), Disks: disks(ctx), Networks: s.networks(), GPUs: s.gpus(ctx), Sensors: s.sensors(ctx)}
	if d.GPUs == nil {
		d.GPUs = []GPU{}
	}
	before := s.energy(time.Now())
	if len(before.joules) > 0 {
		timer := time.NewTimer(300 * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
			d.Sensors.Watts = s.energy(time.Now()).since(before)
		case <-ctx.Done():
		}
	}
	return d
}

// networks are the links that are up and lead to other machines.
func (s sources) networks() []Network {
	all := []Network{}
	links, err := net.Interfaces()
	if err != nil {
		return all
	}
	for _, l := range links {
		if l.Flags&net.FlagUp == 0 || l.Flags&net.FlagLoopback != 0 {
			continue
		}
		n := Network{Name: l.Name, Addresses: []string{}}
		if addresses, err := l.Addrs(); err == nil {
			for _, a := range addresses {
				n.Addresses = append(n.Addresses, a.String())
			}
		}
		if v := figure(wordOf(s.sys, "class/net/"+l.Name, "speed")); v != nil && *v > 0 { // -1 is unknown (sysfs-class-net)
			megabits := int64(*v)
			n.Megabits = &megabits
		}
		all = append(all, n)
	}
	return all
}

// flags are the extensions of the first processor (proc(5), /proc/cpuinfo).
func (s sources) flags() []string {
	text, err := read(s.proc, "cpuinfo")
	if err != nil {
		return []string{}
	}
	words := strings.Fields(field(text, "flags"))
	if len(words) == 0 {
		words = strings.Fields(field(text, "Features")) // of ARM
	}
	slices.Sort(words)
	return slices.Compact(append([]string{}, words...))
}

// cores counts the different pairs of package and core (proc(5), /proc/cpuinfo).
func (s sources) cores() *int {
	text, err := read(s.proc, "cpuinfo")
	if err != nil {
		return nil
	}
	seen := map[string]bool{}
	for _, one := range strings.Split(string(text), "\n\n") {
		if core := field([]byte(one), "core id"); core != "" {
			seen[field([]byte(one), "physical id")+"/"+core] = true
		}
	}
	n := len(seen)
	if n == 0 {
		return nil
	}
	return &n
}
