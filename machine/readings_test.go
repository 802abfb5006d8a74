package machine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/fstest"
	"time"
)

// files are a file system of small texts.
func files(texts map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, text := range texts {
		m[name] = &fstest.MapFile{Data: []byte(text + "\n")}
	}
	return m
}

func says(text string) func(context.Context, string, ...string) ([]byte, error) {
	return func(context.Context, string, ...string) ([]byte, error) { return []byte(text), nil }
}

func silent(context.Context, string, ...string) ([]byte, error) {
	return nil, errors.New("no such program")
}

func TestWhatIsNotThereIsNotAvailable(t *testing.T) {
	s := sources{proc: files(nil), sys: files(nil), run: silent}
	if s.temperature() != nil || s.supply() != nil || len(s.gpus(t.Context())) != 0 || s.cores() != nil || len(s.flags()) != 0 {
		t.Error("an empty machine tells figures")
	}
	if w := s.energy(noon).since(s.energy(noon.Add(-time.Second))); w != nil {
		t.Errorf("%v W without a counter", *w)
	}
	if _, err := s.procLoad(); err == nil {
		t.Error("load without /proc/stat")
	}
}

func TestSensorsOfALaptop(t *testing.T) {
	sys := map[string]string{
		"class/hwmon/hwmon0/name": "nvme", "class/hwmon/hwmon0/temp1_input": "91000",
		"class/hwmon/hwmon1/name": "coretemp", "class/hwmon/hwmon1/temp1_input": "54000", "class/hwmon/hwmon1/temp2_input": "61500", "class/hwmon/hwmon1/temp3_input": "broken",
		"class/thermal/thermal_zone0/type": "x86_pkg_temp", "class/thermal/thermal_zone0/temp": "70000",
		"class/power_supply/AC/type": "Mains", "class/power_supply/AC/online": "0",
		"class/power_supply/BAT0/type": "Battery", "class/power_supply/BAT0/status": "Discharging", "class/power_supply/BAT0/capacity": "80",
		"class/power_supply/BAT1/type": "Battery", "class/power_supply/BAT1/status": "Unknown", "class/power_supply/BAT1/capacity": "40",
		"class/power_supply/mouse/type": "Battery", "class/power_supply/mouse/scope": "Device", "class/power_supply/mouse/status": "Discharging", "class/power_supply/mouse/capacity": "1",
		"class/powercap/intel-rapl:0/name": "package-0", "class/powercap/intel-rapl:0/energy_uj": "1000000",
		"class/powercap/intel-rapl:0:0/name": "core", "class/powercap/intel-rapl:0:0/energy_uj": "1",
	}
	s := sources{sys: files(sys)}
	if v := s.temperature(); v == nil || *v != 61.5 {
		t.Errorf("temperature %v, want the hottest of the processor's, not the disk's", v)
	}
	b := s.supply()
	if b == nil || !b.Discharging || b.Charge == nil || math.Abs(*b.Charge-0.6) > 1e-9 {
		t.Errorf("battery %+v", b)
	}
	before := s.energy(noon)
	sys["class/powercap/intel-rapl:0/energy_uj"] = "31000000"
	after := sources{sys: files(sys)}.energy(noon.Add(2 * time.Second))
	if w := after.since(before); w == nil || *w != 15 {
		t.Errorf("30 J in 2 s are %v W", w)
	}
	if w := before.since(after); w != nil {
		t.Errorf("a counter that began anew tells %v W", *w)
	}
	for _, name := range []string{"class/hwmon/hwmon1/name"} {
		delete(sys, name)
	}
	if v := (sources{sys: files(sys)}).temperature(); v == nil || *v != 70 {
		t.Errorf("temperature %v, want the zone's", v)
	}
}

func TestGraphicsDevices(t *testing.T) {
	sys := files(map[string]string{
		"class/drm/card0/device/vendor": "0x8086", "class/drm/card0/device/device": "0x9a49", "class/drm/card0/device/uevent": "DRIVER=i915\nPCI_SLOT_NAME=0000:00:02.0",
		"class/drm/card1/device/vendor": "0x1002", "class/drm/card1/device/device": "0x73bf", "class/drm/card1/device/uevent": "DRIVER=amdgpu\nPCI_SLOT_NAME=0000:03:00.0",
		"class/drm/card1/device/mem_info_vram_total": "17163091968", "class/drm/card1/device/gpu_busy_percent": "25",
		"class/drm/card1/device/hwmon/hwmon4/temp1_input": "48000", "class/drm/card1/device/hwmon/hwmon4/power1_average": "31000000",
		"class/drm/card1-DP-1/status":   "connected",
		"class/drm/card2/device/vendor": "0x10de", "class/drm/card2/device/device": "0x2684", "class/drm/card2/device/uevent": "DRIVER=nvidia\nPCI_SLOT_NAME=0000:41:00.0",
		"class/drm/card3/device/vendor": "0x1af4",
	})
	all := sources{sys: sys, run: says("GPU-5e3f, NVIDIA GeForce RTX 4090, 570.86, 24564, 37, 61, [N/A], 00000000:41:00.0\n")}.gpus(t.Context())
	var ids []string
	for _, g := range all {
		ids = append(ids, g.ID)
	}
	if !slices.Equal(ids, []string{"GPU-5e3f", "0000:00:02.0", "0000:03:00.0"}) {
		t.Fatalf("devices %q: NVIDIA's counts once, and what is no GPU not at all", ids)
	}
	nv, intel, amd := all[0], all[1], all[2]
	if nv.Model != "NVIDIA GeForce RTX 4090" || nv.Driver != "570.86" || *nv.Memory != 24564<<20 || *nv.Busy != 0.37 || *nv.Temperature != 61 || nv.Watts != nil {
		t.Errorf("NVIDIA's: %+v", nv)
	}
	if nv.Name() != "NVIDIA GeForce RTX 4090" || intel.Name() != "Intel 8086:9a49" {
		t.Errorf("people call them %q and %q", nv.Name(), intel.Name())
	}
	if intel.Vendor != "Intel" || intel.Driver != "i915" || intel.Model != "8086:9a49" || intel.Memory != nil || intel.Temperature != nil {
		t.Errorf("Intel's: %+v", intel)
	}
	if amd.Vendor != "AMD" || *amd.Memory != 17163091968 || *amd.Busy != 0.25 || *amd.Temperature != 48 || *amd.Watts != 31 {
		t.Errorf("AMD's: %+v", amd)
	}
	if all := (sources{sys: sys, run: says("No devices were found\n")}).gpus(t.Context()); len(all) != 3 || all[2].Vendor != "NVIDIA" {
		t.Errorf("without its program NVIDIA's device is what the kernel tells: %+v", all)
	}
}

func TestProcessorsOfALaptop(t *testing.T) {
	one := "processor\t: %d\nphysical id\t: 0\ncore id\t\t: %d\nflags\t\t: fpu avx2 aes fpu\n\n"
	text := fmt.Sprintf(one, 0, 0) + fmt.Sprintf(one, 1, 0) + fmt.Sprintf(one, 2, 1) + fmt.Sprintf(one, 3, 1)
	s := sources{proc: files(map[string]string{"cpuinfo": text})}
	if n := s.cores(); n == nil || *n != 2 {
		t.Errorf("cores %v", n)
	}
	if f := s.flags(); !slices.Equal(f, []string{"aes", "avx2", "fpu"}) {
		t.Errorf("flags %q", f)
	}
}

// proc makes a /proc with a load and some processes.
func proc(busy, idle int, stats ...string) fstest.MapFS {
	m := map[string]string{"stat": fmt.Sprintf("cpu  %d 0 0 %d 0 0 0 0 0 0\ncpu0 1 2 3", busy, idle)}
	for _, s := range stats {
		var pid int
		_, _ = fmt.Sscan(s, &pid)
		m[fmt.Sprint(pid, "/stat")] = s
	}
	return files(m)
}

func stat(pid int, name string, parent, utime, stime, cutime, cstime int) string {
	return fmt.Sprintf("%d (%s) S %d 1 1 0 -1 4194304 103 0 0 0 %d %d %d %d 20 0 1 0", pid, name, parent, utime, stime, cutime, cstime)
}

// This process and its children are 10 and 11; a child of 11 has ended and was waited for. Bob's game is 20.
func TestWhatOthersUse(t *testing.T) {
	m := &Meter{watch: WatchOf(), self: 10, from: sources{sys: files(nil), run: silent, proc: proc(1000, 1000, stat(1, "init", 0, 0, 0, 0, 0), stat(10, "hpips", 1, 5, 5, 0, 0), stat(11, "a) (b", 10, 0, 0, 0, 0), stat(20, "game", 1, 900, 0, 0, 0))}}
	p := DefaultPolicy()
	p.Others = 0.5
	p.Programs = []string{"game"}
	if r := m.Read(t.Context(), p, noon); r.Others != nil || !slices.Equal(sorted(r.Programs), []string{"game", "init"}) {
		t.Errorf("one reading is no measure: %v, %q", r.Others, r.Programs)
	}
	m.from.proc = proc(1150, 1050, stat(1, "init", 0, 0, 0, 0, 0), stat(10, "hpips", 1, 15, 5, 0, 0), stat(11, "a) (b", 10, 20, 0, 10, 10), stat(20, "game", 1, 1010, 0, 0, 0))
	r := m.Read(t.Context(), p, noon.Add(time.Second))
	if r.Others == nil || math.Abs(*r.Others-0.5) > 1e-9 { // 150 of 200 ticks were busy, 50 of them ours
		t.Errorf("others use %v, want half", r.Others)
	}
	// A container of bob's tasks, 30 with 31 below it, was started by its engine's service; 20 ticks of the next 100 are its.
	m.kin, m.others = Kin{Pids: func() []int { return []int{30} }}, nil
	begun := []string{stat(1, "init", 0, 0, 0, 0, 0), stat(10, "hpips", 1, 15, 5, 0, 0), stat(11, "task", 10, 20, 0, 10, 10), stat(20, "game", 1, 1020, 0, 0, 0), stat(29, "service", 1, 0, 0, 0, 0)}
	m.from.proc = proc(1180, 1120, append(begun, stat(30, "boxed", 29, 5, 5, 0, 0), stat(31, "boxed", 30, 10, 0, 0, 0))...)
	if r := m.Read(t.Context(), p, noon.Add(2*time.Second)); r.Others == nil || math.Abs(*r.Others-0.1) > 1e-9 || !slices.Equal(sorted(r.Programs), []string{"game", "init", "service"}) {
		t.Errorf("beside a container others use %v, want a tenth; %q", r.Others, r.Programs)
	}
	m.from.proc, m.others = proc(1210, 1190, begun...), nil // it has ended, and what it did at last is not known
	if r := m.Read(t.Context(), p, noon.Add(3*time.Second)); r.Others == nil || math.Abs(*r.Others-0.3) > 1e-9 {
		t.Errorf("after a container others use %v", r.Others)
	}
	m.from.proc = files(nil)
	if r := m.Read(t.Context(), p, noon.Add(4*time.Second)); r.Others != nil {
		t.Errorf("without /proc others use %v", *r.Others)
	}
}

func sorted(s []string) []string { s = slices.Clone(s); slices.Sort(s); return s }

func TestAHeadlessPCMeasuresNothing(t *testing.T) {
	m := &Meter{watch: WatchOf(), self: 1, from: sources{sys: files(nil), run: silent}} // reading proc would panic
	if r := m.Read(t.Context(), DefaultPolicy(), noon); r.Presence != Headless || r.Others != nil || r.Cores < 1 {
		t.Errorf("%+v", r)
	}
}

func TestTheHighestOfAMinuteStands(t *testing.T) {
	var p peak
	if p.of(noon) != nil {
		t.Error("nothing was read")
	}
	for i, v := range []float64{70, 90, 60, 80, 50} {
		p.add(&v, noon.Add(time.Duration(i)*20*time.Second))
	}
	for _, row := range []struct {
		after time.Duration
		want  float64
	}{{80 * time.Second, 90}, {81 * time.Second, 80}, {120 * time.Second, 80}, {121 * time.Second, 50}} {
		if got := p.of(noon.Add(row.after)); got == nil || *got != row.want {
			t.Errorf("after %v: %v, want %v", row.after, got, row.want)
		}
	}
	if p.of(noon.Add(time.Hour)) != nil {
		t.Error("an old figure stands for ever")
	}
}

// screen is a screen that tells what it is set to.
type screen struct {
	idle  time.Duration
	err   error
	asked int
}

func (s *screen) Idle(context.Context) (time.Duration, error) { s.asked++; return s.idle, s.err }

func TestWhetherSomebodyIsThere(t *testing.T) {
	one, other := &screen{idle: time.Hour}, &screen{err: ErrNoSession}
	w := WatchOf(one, other)
	look := func(after time.Duration, want Presence) {
		t.Helper()
		if got, _ := w.Look(t.Context(), 3*time.Minute, noon.Add(after)); got != want {
			t.Errorf("after %v: %s, want %s", after, got, want)
		}
	}
	look(0, Away)
	other.err, other.idle = nil, time.Second
	look(0, InUse) // somebody is at the other screen
	one.err, other.err = errors.New("broken"), errors.New("broken")
	look(0, Unknown)
	one.err, other.err = ErrNoSession, ErrNoSession
	look(0, Headless)
	asked := one.asked
	look(time.Second, Headless)
	if one.asked != asked {
		t.Error("a PC without a session is asked every second")
	}
	// Alice's session has a program that reports: it is believed, and runs out into "in use".
	w.Report(2*time.Minute, noon)
	look(time.Second, InUse)
	w.Report(3*time.Minute, noon)
	look(time.Second, Away)
	look(AgentTerm, Away)
	look(AgentTerm+time.Second, Unknown)
	if !Unknown.attended() {
		t.Error("unknown is not taken as in use")
	}
	w.Leave()
	look(time.Hour, Headless)
}

func TestTextsOfMacOS(t *testing.T) {
	b := pmset("Now drawing from 'Battery Power'\n -InternalBattery-0 (id=4653155)\t84%; discharging; 4:51 remaining present: true\n")
	if b == nil || !b.Discharging || b.Charge == nil || *b.Charge != 0.84 {
		t.Errorf("%+v", b)
	}
	if b := pmset("Now drawing from 'AC Power'\n -InternalBattery-0 (id=1)\t100%; charged; 0:00 remaining present: true\n"); b == nil || b.Discharging {
		t.Errorf("%+v", b)
	}
	if b := pmset("Now drawing from 'AC Power'\n"); b != nil {
		t.Errorf("a desktop has %+v", b)
	}
	if d, ok := ioreg("    | |   \"HIDIdleTime\" = 1500000000\n"); !ok || d != 1500*time.Millisecond {
		t.Errorf("%v %v", d, ok)
	}
	if _, ok := ioreg("nothing"); ok {
		t.Error("nothing tells a time")
	}
}
