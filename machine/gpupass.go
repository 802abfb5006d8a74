package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Passage is what a sandbox needs to give a device to a program that sees nothing else of the machine. Paths are absolute.
type Passage struct {
	CDI    string   `json:"cdi,omitempty"`    // its name for container engines, where the machine has a description of it (Container Device Interface)
	Nodes  []string `json:"nodes,omitempty"`  // device files
	Why    string   `json:"why,omitempty"`    // it cannot be passed on: why
	Remedy string   `json:"remedy,omitempty"` // what its owner can do about that

	Files   []string    `json:"-"` // files and folders that the vendor's libraries read
	Links   [][2]string `json:"-"` // symbolic links that have to be there, and where they lead
	Visible string      `json:"-"` // the name by which the vendor's libraries choose it; "": its place among the devices that they see
}

// passage finds out how a device is passed on.
func (s sources) passage(g GPU) (p Passage) {
	if s.root == nil {
		return Passage{Why: "devices are passed on to programs on Linux only"}
	}
	if g.Vendor == "NVIDIA" {
		p = s.nvidiaPassage(g)
	} else {
		p = s.renderPassage(g)
	}
	for _, node := range p.Nodes {
		if err := s.may(node); err != nil && p.Why == "" {
			p.Why, p.Remedy = fmt.Sprintf("the user who runs this node cannot open %s: %v", node, err), "add that user to the group of the file, such as by usermod -aG render,video USER, and start the node anew"
		}
	}
	if len(p.Nodes) > 0 {
		p.CDI = s.cdi(p.Nodes[0])
	}
	for _, dir := range []string{"/etc/OpenCL/vendors", "/etc/vulkan"} {
		if s.there(dir) {
			p.Files = append(p.Files, dir)
		}
	}
	return p
}

// there reports whether a path of the machine exists.
func (s sources) there(name string) bool {
	_, err := fs.Stat(s.root, strings.TrimPrefix(name, "/"))
	return err == nil
}

// nvidiaPassage finds the device files of one of NVIDIA's: its own by the number that the driver gave it (/proc/driver/nvidia/gpus/ADDRESS/information), the control device and that
// of unified memory.
func (s sources) nvidiaPassage(g GPU) Passage {
	infos, _ := fs.Glob(s.proc, "driver/nvidia/gpus/*/information")
	for _, name := range infos {
		text, err := read(s.proc, name)
		if err != nil || strings.ToLower(field(text, "Bus Location")) != g.address {
			continue
		}
		minor, err := strconv.Atoi(field(text, "Device Minor"))
		if err != nil || minor < 0 {
			break
		}
		p := Passage{Nodes: []string{fmt.Sprint("/dev/nvidia", minor), "/dev/nvidiactl", "/dev/nvidia-uvm"}}
		if strings.HasPrefix(g.ID, "GPU-") { // else the only one that a task sees is its own
			p.Visible = g.ID
		}
		if parts, _ := fs.Glob(s.proc, fmt.Sprintf("driver/nvidia/capabilities/gpu%d/mig/gi*", minor)); len(parts) > 0 {
			p.Why, p.Remedy = "it is divided into parts (MIG), and only whole devices are leased", "nvidia-smi -mig 0, when nothing uses it"
		}
		for _, node := range p.Nodes {
			if !s.there(node) && p.Why == "" {
				p.Why, p.Remedy = "NVIDIA's driver has not made "+node, "nvidia-modprobe -u -c=0, or start a program that uses it once"
			}
		}
		if s.there("/dev/nvidia-uvm-tools") {
			p.Nodes = append(p.Nodes, "/dev/nvidia-uvm-tools")
		}
		return p
	}
	return Passage{Why: "NVIDIA's kernel driver does not show it", Remedy: "install NVIDIA's driver for this kernel, and see that nvidia-smi lists it"}
}

// What libdrm, ROCm and Level Zero read of a device on the bus. The folder also has the device's registers and the serial numbers of screens, which are not shown.
var ofDevice = strings.Fields("vendor device subsystem_vendor subsystem_device revision class uevent numa_node local_cpulist mem_info_vram_total mem_info_vis_vram_total mem_info_gtt_total")

// renderPassage finds the render node of a device that the kernel drives itself (AMD, Intel), AMD's for computing, and what libraries read below /sys to know the device.
func (s sources) renderPassage(g GPU) Passage {
	renders, _ := fs.Glob(s.sys, path.Join(g.sysfs, "drm/renderD*"))
	if len(renders) == 0 {
		return Passage{Why: "its driver has no render node", Remedy: "a driver that computes: amdgpu, i915 or xe"}
	}
	render := path.Base(renders[0])
	number := wordOf(s.sys, renders[0], "dev")
	dir, err := s.real(path.Join("/sys", g.sysfs))
	if err != nil || number == "" {
		return Passage{Why: "the kernel does not tell where it is on the bus", Remedy: "is /sys mounted?"}
	}
	p := Passage{Nodes: []string{"/dev/dri/" + render}, Links: [][2]string{
		{path.Join(dir, "subsystem"), "/sys/bus/pci"}, {"/sys/dev/char/" + number, path.Join(dir, "drm", render)}, {"/sys/class/drm/" + render, path.Join(dir, "drm", render)},
		{"/sys/bus/pci/devices/" + g.address, dir},
	}}
	for _, name := range ofDevice {
		if s.there(path.Join(dir, name)) {
			p.Files = append(p.Files, path.Join(dir, name))
		}
	}
	p.Files = append(p.Files, path.Join(dir, "drm", render))
	if g.Vendor == "AMD" && s.there("/dev/kfd") {
		p.Nodes = append(p.Nodes, "/dev/kfd")
		p.Files = append(p.Files, "/sys/devices/virtual/kfd")
		p.Links = append(p.Links, [2]string{"/sys/class/kfd/kfd", "/sys/devices/virtual/kfd/kfd"})
		rocm, _ := fs.Glob(s.root, "opt/rocm*")
		for _, dir := range rocm {
			p.Files = append(p.Files, "/"+dir)
		}
		p.Visible = s.rocm(g, render)
	}
	return p
}

// rocm is the name of a device for ROCm: that which it bears itself, or its place among all that can compute (kernel: Documentation/gpu/amdgpu, KFD topology).
func (s sources) rocm(g GPU, render string) string {
	if id := wordOf(s.sys, g.sysfs, "unique_id"); id != "" {
		return "GPU-" + id
	}
	var numbers []int
	minors := map[int]string{}
	nodes, _ := fs.Glob(s.sys, "class/kfd/kfd/topology/nodes/*")
	for _, dir := range nodes {
		n, err := strconv.Atoi(path.Base(dir))
		properties := word(s.sys, path.Join(dir, "properties"))
		if minor := property(properties, "drm_render_minor"); err == nil && property(properties, "simd_count") != "0" && minor != "" && minor != "0" {
			numbers, minors[n] = append(numbers, n), minor
		}
	}
	slices.Sort(numbers)
	for place, n := range numbers {
		if "renderD"+minors[n] == render {
			return strconv.Itoa(place)
		}
	}
	return ""
}

// property is the value of a line "name value".
func property(text, name string) string {
	for line := range strings.SplitSeq(text, "\n") {
		if key, value, ok := strings.Cut(line, " "); ok && key == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// The folders where descriptions of devices for container engines lie (Container Device Interface, SPEC.md); the second goes before the first.
var descriptions = []string{"etc/cdi", "var/run/cdi"}

// cdi is the name of the description that gives a container the device with this file, and no other with it where there is a choice; "" where there is none.
func (s sources) cdi(node string) (name string) {
	least := 0
	for _, dir := range descriptions {
		entries, err := fs.ReadDir(s.root, dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if ext := path.Ext(e.Name()); ext != ".json" && ext != ".yaml" {
				continue
			}
			d, err := s.description(path.Join(dir, e.Name()))
			if err != nil {
				continue // it is the container engine's to complain
			}
			for _, one := range d.Devices {
				files := one.Edits.Nodes
				if slices.ContainsFunc(files, func(f file) bool { return f.Path == node }) && (name == "" || len(files) < least) && one.Name != "all" {
					name, least = d.Kind+"="+one.Name, len(files)
				}
			}
		}
	}
	return name
}

// description is as much of one as is needed here.
type description struct {
	Kind    string `yaml:"kind"`
	Devices []struct {
		Name  string `yaml:"name"`
		Edits struct {
			Nodes []file `yaml:"deviceNodes"`
		} `yaml:"containerEdits"`
	} `yaml:"devices"`
}

type file struct {
	Path string `yaml:"path"`
}

func (s sources) description(name string) (d description, err error) {
	text, err := read(s.root, name)
	if err != nil {
		return d, err
	}
	if err := yaml.Unmarshal(text, &d); err != nil {
		return d, err
	}
	if vendor, class, ok := strings.Cut(d.Kind, "/"); !ok || vendor == "" || class == "" {
		return d, errors.New("a description without a kind")
	}
	return d, nil
}
