package engine

import (
	"slices"
	"testing"
)

// Each vendor's libraries are told which devices are the task's: by name, or by place where they have none.
func TestTasksSeeTheirDevicesAlone(t *testing.T) {
	for name, row := range map[string]struct {
		devices []Device
		want    []string
	}{
		"none": {},
		"two of NVIDIA's": {[]Device{{Vendor: "NVIDIA", Visible: "GPU-1"}, {Vendor: "NVIDIA", Visible: "GPU-2"}},
			[]string{"CUDA_VISIBLE_DEVICES=GPU-1,GPU-2", "NVIDIA_VISIBLE_DEVICES=GPU-1,GPU-2"}},
		"of nobody who has libraries": {[]Device{{Vendor: "Matrox"}}, nil},
		"by place": {[]Device{{Vendor: "Intel"}, {Vendor: "AMD", Visible: "GPU-ab"}, {Vendor: "Intel"}},
			[]string{"ZE_AFFINITY_MASK=0,1", "ROCR_VISIBLE_DEVICES=GPU-ab"}},
	} {
		if got := DeviceEnv(row.devices); !slices.Equal(got, row.want) {
			t.Errorf("%s: %q, want %q", name, got, row.want)
		}
	}
}
