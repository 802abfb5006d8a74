package engine

import (
	"fmt"
	"strings"
)

// Device is a graphics device of this machine, and all that a sandbox needs to give it to a task.
type Device struct {
	// ID is the device's own: NVIDIA's UUID, or its address on the bus.
	ID string
	// Vendor is NVIDIA, AMD or Intel.
	Vendor string
	// CDI names it for container engines (Container Device Interface), such as "nvidia.com/gpu=GPU-5e3f…"; "" where the machine has no such name, and Nodes have to do.
	CDI string
	// Nodes are device files, which the task may read and write. Guest and Host are the same but in tests.
	Nodes []Mount
	// Files are files and folders that the vendor's libraries read, shown read-only; Links are symbolic links that have to be there: Guest is the link, Host where it leads.
	Files, Links []Mount
	// Visible is the name by which the vendor's libraries choose the device among those that they see (VisibleIn); "" leaves it to its place among the task's.
	Visible string
}

// VisibleIn are the variables by which vendors' libraries choose devices. CDI hooks read NVIDIA's second.
var VisibleIn = map[string][]string{
	"NVIDIA": {"CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"},
	"AMD":    {"ROCR_VISIBLE_DEVICES"},
	"Intel":  {"ZE_AFFINITY_MASK"},
}

// DeviceEnv says ("K=V") to the vendors' libraries which devices a task has. It goes after the task's own variables, and is empty for a task without devices.
func DeviceEnv(devices []Device) (env []string) {
	var vendors []string
	visible := map[string][]string{}
	for _, d := range devices {
		if visible[d.Vendor] == nil {
			vendors = append(vendors, d.Vendor)
		}
		name := d.Visible
		if name == "" {
			name = fmt.Sprint(len(visible[d.Vendor]))
		}
		visible[d.Vendor] = append(visible[d.Vendor], name)
	}
	for _, vendor := range vendors {
		for _, name := range VisibleIn[vendor] {
			env = append(env, name+"="+strings.Join(visible[vendor], ","))
		}
	}
	return env
}
