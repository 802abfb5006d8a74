package machine

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"time"
)

// cave is a PC that tells its devices from files; its /sys and /proc are below its root, too.
func cave(texts map[string]string) sources {
	root := files(texts)
	proc, err1 := fs.Sub(root, "proc")
	sys, err2 := fs.Sub(root, "sys")
	if err := errors.Join(err1, err2); err != nil {
		panic(err)
	}
	return sources{root: root, proc: proc, sys: sys, run: silent, may: func(string) error { return nil }, real: func(p string) (string, error) {
		return strings.Replace(p, "/sys/class/drm/card1/device", "/sys/devices/pci0000:00/0000:03:00.0", 1), nil
	}}
}

func nvidiaCave() map[string]string {
	return map[string]string{
		"proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA GeForce RTX 3060\nGPU UUID: \t GPU-0a\nBus Location: \t 0000:01:00.0\nDevice Minor: \t 0",
		"proc/driver/nvidia/gpus/0000:c1:00.0/information": "Model: \t\t NVIDIA GeForce RTX 4090\nGPU UUID: \t GPU-????????-????\nBus Location: \t 0000:c1:00.0\nDevice Minor: \t 1",
		"dev/nvidia0": "", "dev/nvidia1": "", "dev/nvidiactl": "", "dev/nvidia-uvm": "", "dev/nvidia-uvm-tools": "", "etc/OpenCL/vendors/nvidia.icd": "libnvidia-opencl.so.1",
		"etc/cdi/nvidia.yaml": "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- name: all\n  containerEdits: {deviceNodes: [{path: /dev/nvidia0}, {path: /dev/nvidia1}]}\n" +
			"- name: GPU-1b\n  containerEdits: {deviceNodes: [{path: /dev/nvidia1}]}\n",
		"var/run/cdi/broken.yaml": "{", "var/run/cdi/nameless.json": `{"devices": [{"name": "x", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia1"}]}}]}`,
	}
}

func twoOfNVIDIA() func(context.Context, string, ...string) ([]byte, error) {
	return says("GPU-0a, NVIDIA GeForce RTX 3060, 570.86, 12288, 0, 40, 20.1, 00000000:01:00.0\nGPU-1b, NVIDIA GeForce RTX 4090, 570.86, 24564, 0, 41, 21.5, 00000000:C1:00.0\n")
}

// A device's files are its own and the two that all of NVIDIA's share, never those of another.
func TestPassageOfNVIDIA(t *testing.T) {
	s := cave(nvidiaCave())
	s.run = twoOfNVIDIA()
	all := s.gpus(t.Context())
	if len(all) != 2 {
		t.Fatalf("%+v", all)
	}
	p := all[1].Passage
	if want := []string{"/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"}; !slices.Equal(p.Nodes, want) {
		t.Errorf("files %q, want %q", p.Nodes, want)
	}
	if p.Why != "" || p.Visible != "GPU-1b" || p.CDI != "nvidia.com/gpu=GPU-1b" || !slices.Equal(p.Files, []string{"/etc/OpenCL/vendors"}) {
		t.Errorf("%+v", p)
	}
	if p := all[0].Passage; p.Nodes[0] != "/dev/nvidia0" || p.CDI != "" {
		t.Errorf("the first, which only a description of all has: %+v", p)
	}
}

func TestDevicesThatCannotBePassedOn(t *testing.T) {
	for name, row := range map[string]struct {
		change func(map[string]string, *sources)
		why    string
	}{
		"no memory for both sides":    {func(m map[string]string, _ *sources) { delete(m, "dev/nvidia-uvm") }, "has not made /dev/nvidia-uvm"},
		"a driver that is not loaded": {func(m map[string]string, _ *sources) { delete(m, "proc/driver/nvidia/gpus/0000:c1:00.0/information") }, "kernel driver does not show it"},
		"parts":                       {func(m map[string]string, _ *sources) { m["proc/driver/nvidia/capabilities/gpu1/mig/gi0/access"] = "" }, "divided into parts"},
		"no rights":                   {func(_ map[string]string, s *sources) { s.may = func(string) error { return fs.ErrPermission } }, "cannot open /dev/nvidia1: permission denied"},
		"another system":              {func(_ map[string]string, s *sources) { s.root = nil }, "on Linux only"},
	} {
		texts := nvidiaCave()
		row.change(texts, &sources{})
		s := cave(texts)
		row.change(texts, &s)
		s.run = twoOfNVIDIA()
		if p := s.gpus(t.Context())[1].Passage; !strings.Contains(p.Why, row.why) || p.Remedy == "" && s.root != nil {
			t.Errorf("%s: %q, remedy %q", name, p.Why, p.Remedy)
		}
	}
	s := cave(map[string]string{"sys/class/drm/card1/device/vendor": "0x8086", "sys/class/drm/card1/device/uevent": "DRIVER=i915\nPCI_SLOT_NAME=0000:03:00.0"})
	if p := s.gpus(t.Context())[0].Passage; !strings.Contains(p.Why, "no render node") || len(p.Nodes) != 0 {
		t.Errorf("a card without a render node: %+v", p)
	}
}

// AMD's needs its render node, the one for computing, and what its libraries read below /sys, but neither its registers nor its screens.
func TestPassageOfAMD(t *testing.T) {
	const card, dir = "sys/class/drm/card1/device/", "sys/devices/pci0000:00/0000:03:00.0/"
	texts := map[string]string{"dev/kfd": "", "dev/dri/renderD129": "", "opt/rocm-6.2/lib/x": "",
		"sys/class/kfd/kfd/topology/nodes/0/properties": "simd_count 0\ndrm_render_minor 0", "sys/class/kfd/kfd/topology/nodes/2/properties": "simd_count 160\ndrm_render_minor 129",
		"sys/class/kfd/kfd/topology/nodes/10/properties": "simd_count 160\ndrm_render_minor 130", "sys/class/kfd/kfd/topology/nodes/1/properties": "simd_count 8\ndrm_render_minor 128",
		"etc/cdi/amd.json": `{"kind": "amd.com/gpu", "devices": [{"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/kfd"}, {"path": "/dev/dri/renderD129"}]}}]}`}
	for name, text := range map[string]string{"vendor": "0x1002", "device": "0x73bf", "uevent": "DRIVER=amdgpu\nPCI_SLOT_NAME=0000:03:00.0", "drm/renderD129/dev": "226:129", "resource0": "registers",
		"drm/card1/card1-DP-1/edid": "serial number", "mem_info_vram_total": "17163091968"} {
		texts[card+name], texts[dir+name] = text, text
	}
	s := cave(texts)
	g := s.gpus(t.Context())[0]
	p := g.Passage
	if p.Why != "" || p.CDI != "amd.com/gpu=0" || p.Visible != "1" || !slices.Equal(p.Nodes, []string{"/dev/dri/renderD129", "/dev/kfd"}) {
		t.Errorf("%+v", p)
	}
	for _, want := range []string{"/" + dir + "vendor", "/" + dir + "uevent", "/" + dir + "drm/renderD129", "/sys/devices/virtual/kfd", "/opt/rocm-6.2"} {
		if !slices.Contains(p.Files, want) {
			t.Errorf("%s is not shown: %q", want, p.Files)
		}
	}
	for _, f := range p.Files {
		if strings.Contains(f, "resource") || strings.Contains(f, "card1") || path.Clean(f) == "/"+path.Clean(dir) {
			t.Errorf("%s is shown", f)
		}
	}
	if !slices.Contains(p.Links, [2]string{"/sys/dev/char/226:129", "/" + dir + "drm/renderD129"}) || !slices.Contains(p.Links, [2]string{"/" + dir + "subsystem", "/sys/bus/pci"}) {
		t.Errorf("links %q", p.Links)
	}
	texts[card+"unique_id"] = "1a2b3c"
	if p := cave(texts).gpus(t.Context())[0].Passage; p.Visible != "GPU-1a2b3c" {
		t.Errorf("a device with a name of its own is chosen by %q", p.Visible)
	}
}

// A device that was hot stays so for a minute.
func TestGraphicsRememberHeat(t *testing.T) {
	const line = "GPU-0a, RTX, 570.86, 12288, 0, %s, 20.1, 00000000:01:00.0\n"
	g := NewGraphics()
	g.from = cave(nvidiaCave())
	for _, row := range []struct {
		after time.Duration
		now   string
		want  float64
	}{{0, "90", 90}, {30 * time.Second, "60", 90}, {61 * time.Second, "50", 60}} {
		g.from.run = says(strings.Replace(line, "%s", row.now, 1))
		if all := g.Read(t.Context(), noon.Add(row.after)); len(all) != 1 || *all[0].Temperature != row.want {
			t.Errorf("after %v: %+v", row.after, all)
		}
	}
}
