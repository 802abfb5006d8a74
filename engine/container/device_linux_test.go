package container

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/enginetest"
)

// A task has the device files that it is given, under the names of the real ones, and no other.
func TestATaskHasItsDevices(t *testing.T) {
	e, p := ours(t), program(t, "guest")
	node := filepath.Join(t.TempDir(), "nvidia0")
	if err := unix.Mknod(node, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))); err != nil { // the number of /dev/zero, which takes what is written
		t.Skipf("mknod: %v: device files are made by root only", err)
	}
	if err := os.Chmod(node, 0o666); err != nil {
		t.Fatal(err)
	}
	p.Dir, p.Limits = t.TempDir(), engine.Limits{Memory: 64 << 20}
	s, err := e.Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	card := engine.Device{ID: "GPU-a", Vendor: "NVIDIA", Visible: "GPU-a", Nodes: []engine.Mount{{Guest: "/dev/nvidia0", Host: node}}}
	write := []string{"write", "/dev/nvidia0", "kernel"}
	l := enginetest.NewLedger()
	if err := s.Run(t.Context(), []engine.Task{{ID: 1, Args: write, Devices: []engine.Device{card}}, {ID: 2, Args: write}}, l); err != nil {
		t.Fatal(err)
	}
	if o := l.Of[1]; o.End != engine.Exited || o.Exit != 0 {
		t.Errorf("with the device: %s %d %s %s", o.End, o.Exit, o.Message, o.Stderr.Inline)
	}
	if o := l.Of[2]; o.End != engine.Exited || o.Exit == 0 {
		t.Errorf("without one: %s %d %s", o.End, o.Exit, o.Stderr.Inline)
	}
}

// A device with a CDI name goes to Docker as a request and to Podman as a name; files that two devices share are given once.
func TestDevicesByName(t *testing.T) {
	named := engine.Device{ID: "a", CDI: "nvidia.com/gpu=a"}
	var docker, podman container.HostConfig
	if err := give(&docker, []engine.Device{named}, true); err != nil || len(docker.DeviceRequests) != 1 || docker.DeviceRequests[0].Driver != "cdi" || docker.DeviceRequests[0].DeviceIDs[0] != named.CDI || len(docker.Devices) > 0 {
		t.Errorf("%+v, %v", docker.DeviceRequests, err)
	}
	if err := give(&podman, []engine.Device{named}, false); err != nil || len(podman.Devices) != 1 || podman.Devices[0].PathOnHost != named.CDI {
		t.Errorf("%+v, %v", podman.Devices, err)
	}
	shared := engine.Mount{Guest: "/dev/nvidiactl", Host: "/dev/null"}
	var both container.HostConfig
	one, two := engine.Device{ID: "a", Nodes: []engine.Mount{{Guest: "/dev/nvidia0", Host: "/dev/zero"}, shared}}, engine.Device{ID: "b", Nodes: []engine.Mount{{Guest: "/dev/nvidia1", Host: "/dev/full"}, shared}}
	if err := give(&both, []engine.Device{one, two}, false); err != nil || len(both.Devices) != 3 {
		t.Errorf("%+v, %v", both.Devices, err)
	}
	if err := give(&both, []engine.Device{{ID: "c", Nodes: []engine.Mount{{Guest: "/dev/nvidia2", Host: "/dev/nowhere"}}}}, false); err == nil {
		t.Error("a device that has gone is given")
	}
}
