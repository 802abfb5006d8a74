package process

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/enginetest"
	"github.com/hpips/hpips/engine/sandbox"
)

// fakeNode makes a device file that reads as zeros and takes whatever is written: the number of /dev/zero under another name.
func fakeNode(t *testing.T, name string) string {
	t.Helper()
	node := filepath.Join(t.TempDir(), name)
	if err := unix.Mknod(node, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))); err != nil {
		t.Skipf("mknod: %v: device files are made by root only", err)
	}
	if err := os.Chmod(node, 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(node, os.O_RDWR, 0)
	if err != nil {
		t.Skipf("device files do not work on the disk of temporary files: %v", err)
	}
	f.Close()
	return node
}

// shell runs a script in a sandbox with devices.
func shell(t *testing.T, e *Engine, script string, devices ...engine.Device) engine.Outcome {
	t.Helper()
	s := sandbox.New(e.log, &maker{eng: e, guest: "/bin/sh"}, engine.Program{Args: []string{"-c", script}, Dir: t.TempDir(), Env: []string{"CUDA_VISIBLE_DEVICES=all"},
		Limits: engine.Limits{Memory: 64 << 20, Output: 64 << 10, Disk: 1 << 20, Time: sandbox.Patience}})
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	l := enginetest.NewLedger()
	if err := s.Run(t.Context(), []engine.Task{{ID: 1, Devices: devices}}, l); err != nil {
		t.Fatal(err)
	}
	return l.Of[1]
}

// A task sees the device files that it is given, under the names of the real ones, and no other; its own variables do not widen that.
func TestATaskHasItsDevices(t *testing.T) {
	e := newEngine(t, Config{})
	one, other, control := fakeNode(t, "nvidia0"), fakeNode(t, "nvidia1"), fakeNode(t, "nvidiactl")
	facts := filepath.Join(t.TempDir(), "vendor")
	if err := os.WriteFile(facts, []byte("0x10de\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	device := func(id, node, name string) engine.Device {
		return engine.Device{ID: id, Vendor: "NVIDIA", Visible: id, Nodes: []engine.Mount{{Guest: "/dev/" + name, Host: node}, {Guest: "/dev/nvidiactl", Host: control}},
			Files: []engine.Mount{{Guest: "/sys/devices/pci0/" + name + "/vendor", Host: facts}, {Guest: "/etc/nowhere", Host: "/not/there"}},
			Links: []engine.Mount{{Guest: "/sys/class/drm/" + name, Host: "/sys/devices/pci0/" + name}}}
	}
	const script = `ls /dev; for d in 0 1; do [ -e /dev/nvidia$d ] && stat -c '%n %F %t:%T' /dev/nvidia$d && head -c 3 /dev/nvidia$d | od -An -tx1 && echo x > /dev/nvidia$d && echo wrote $d; done
cat /sys/class/drm/nvidia0/vendor; (echo 1 > /sys/class/drm/nvidia0/vendor) 2>/dev/null || echo read-only; (mknod /tmp/d c 1 5) 2>/dev/null || echo no mknod; echo $CUDA_VISIBLE_DEVICES`
	a := device("GPU-a", one, "nvidia0")
	o := shell(t, e, script, a)
	said := string(o.Stdout.Inline)
	for _, want := range []string{"/dev/nvidia0 character special file 1:5", "00 00 00", "wrote 0", "0x10de", "read-only", "no mknod", "GPU-a"} {
		if !strings.Contains(said, want) {
			t.Errorf("the task does not say %q", want)
		}
	}
	if o.End != engine.Exited || o.Exit != 0 || strings.Contains(said, "nvidia1") || strings.Contains(said, "all") {
		t.Errorf("%s %d %s\n%s%s", o.End, o.Exit, o.Message, said, o.Stderr.Inline)
	}
	o = shell(t, e, script, a, device("GPU-b", other, "nvidia1"))
	if said := string(o.Stdout.Inline); !strings.Contains(said, "wrote 0") || !strings.Contains(said, "wrote 1") || !strings.Contains(said, "GPU-a,GPU-b") {
		t.Errorf("with two devices: %s %s\n%s", o.End, o.Message, said)
	}
	if o = shell(t, e, "ls /dev /sys"); strings.Contains(string(o.Stdout.Inline), "nvidia") || strings.Contains(string(o.Stdout.Inline), "class") {
		t.Errorf("without a device: %s", o.Stdout.Inline)
	}
	if b, err := os.ReadFile(facts); err != nil || string(b) != "0x10de\n" {
		t.Errorf("a fact of the host was changed: %q, %v", b, err)
	}
}

// Neither a plain file nor a device that has gone is passed on; the task is not run without what it was to have.
func TestDevicesThatAreNone(t *testing.T) {
	e := newEngine(t, Config{})
	plain := filepath.Join(t.TempDir(), "nvidia0")
	if err := os.WriteFile(plain, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		device engine.Device
		says   string
	}{
		"a plain file":      {engine.Device{ID: "GPU-a", Nodes: []engine.Mount{{Guest: "/dev/nvidia0", Host: plain}}}, "/dev/nvidia0 is no device file"},
		"one that has gone": {engine.Device{ID: "GPU-a", Nodes: []engine.Mount{{Guest: "/dev/nvidia0", Host: plain + "x"}}}, "device GPU-a: /dev/nvidia0: no such file"},
		"no file":           {engine.Device{ID: "GPU-a"}, "it has no device file"},
	} {
		if o := shell(t, e, "echo ran", row.device); o.End != engine.Broken || !strings.Contains(o.Message, row.says) || len(o.Stdout.Inline) > 0 {
			t.Errorf("%s: %s %q %s", name, o.End, o.Message, o.Stdout.Inline)
		}
	}
}
