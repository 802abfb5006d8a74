package job

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func solver(edit func(*Spec)) Spec {
	s := Spec{Kind: Batch, Run: Run{Native: "solve"}}
	edit(&s)
	return s.Filled()
}

// Alice's wishes are written out: one device where she gives no number, and what her conditions say of devices.
func TestWishesForDevices(t *testing.T) {
	for name, row := range map[string]struct {
		wish  GPU
		where []string
		want  GPU
	}{
		"none":          {},
		"a number":      {wish: GPU{Count: 2}, want: GPU{Count: 2}},
		"a model alone": {wish: GPU{Model: "rtx 4090"}, want: GPU{Count: 1, Model: "rtx 4090"}},
		"a vendor":      {wish: GPU{Vendor: "NVIDIA"}, want: GPU{Count: 1, Vendor: "nvidia"}},
		"conditions": {wish: GPU{Count: 1, Memory: 8 << 30}, where: []string{"gpu.memory >= 12GiB", "gpu.vendor==AMD", "gpu.model==mi210", "os==linux"},
			want: GPU{Count: 1, Vendor: "amd", Model: "mi210", Memory: 12 << 30}},
		"a condition that allows more": {wish: GPU{Count: 1}, where: []string{"gpu.memory<12GiB", "gpu.vendor in (amd,intel)"}, want: GPU{Count: 1}},
	} {
		s := solver(func(s *Spec) { s.Resources.GPU, s.Where = row.wish, row.where })
		if s.Resources.GPU != row.want {
			t.Errorf("%s: %+v, want %+v", name, s.Resources.GPU, row.want)
		}
		if again := s.Filled(); !reflect.DeepEqual(again, s) {
			t.Errorf("%s: filled twice it is another: %+v", name, again)
		}
		if err := s.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWishesThatCannotBe(t *testing.T) {
	for field, edit := range map[string]func(*Spec){
		"resources.gpu.count":  func(s *Spec) { s.Resources.GPU.Count = -1 },
		"resources.gpu.vendor": func(s *Spec) { s.Resources.GPU.Vendor = "matrox" },
		"resources.gpu.model":  func(s *Spec) { s.Resources.GPU.Model = "--" },
		"resources.gpu.memory": func(s *Spec) { s.Resources.GPU.Memory = -1 },
		"resources.gpu":        func(s *Spec) { s.Run, s.Resources.GPU.Count = Run{WASM: "x"}, 1 },
		"where[0]":             func(s *Spec) { s.Where = []string{"gpu.memory>=1GiB"} },
	} {
		var bad *Error
		if err := solver(edit).Check(); !errors.As(err, &bad) || bad.Field != field || bad.Hint == "" {
			t.Errorf("%s: %v", field, err)
		}
	}
	var bad *Error
	err := solver(func(s *Spec) { s.Run, s.Resources.GPU.Count = Run{WASM: "x"}, 1 }).Check()
	if !errors.As(err, &bad) || !strings.Contains(bad.Text, "WASI module") || !strings.Contains(bad.Hint, "--native") {
		t.Errorf("a module that wants a device: %v, want a remedy", err)
	}
	s := solver(func(s *Spec) {
		s.Kind, s.Over, s.Reduce, s.Resources = Map, &Over{Count: 2}, &Reduce{Run: Run{WASM: "sum"}}, Resources{Memory: 1 << 30, GPU: GPU{Count: 1}}
	})
	if err := s.Check(); err != nil || s.Resources.For(EngineWASM).GPU != (GPU{}) || s.Resources.For(EngineNative) != s.Resources {
		t.Errorf("parts with devices and a reduce without: %v", err)
	}
}

// What is sold as 24 GB shows less, and a name may be written in many ways.
func TestDevicesAndWishes(t *testing.T) {
	const rtx, mib = "NVIDIA GeForce RTX 4090", Size(1 << 20)
	for _, row := range []struct {
		wish   GPU
		vendor string
		model  string
		memory Size
		lacks  string
	}{
		{GPU{Count: 1}, "AMD", "1002:73bf", 0, ""},
		{GPU{Vendor: "nvidia", Model: "rtx 4090", Memory: 24 << 30}, "NVIDIA", rtx, 24564 * mib, ""},
		{GPU{Model: "RTX4090"}, "NVIDIA", rtx, 0, ""}, {GPU{Model: "4090"}, "NVIDIA", rtx, 0, ""}, {GPU{Model: "GeForce-RTX"}, "NVIDIA", rtx, 0, ""},
		{GPU{Model: "a100"}, "NVIDIA", "NVIDIA A100-SXM4-40GB", 0, ""},
		{GPU{Memory: 24 << 30}, "NVIDIA", "NVIDIA A10G", 23028 * mib, ""}, {GPU{Memory: 16 << 30}, "NVIDIA", "Tesla T4", 15360 * mib, ""},
		{GPU{Memory: 12 << 30}, "NVIDIA", "RTX 2080 Ti", 11264 * mib, "gpu memory: wants 12GiB, has 11GiB"},
		{GPU{Memory: 1 << 30}, "Intel", "8086:9a49", 0, "gpu memory: wants 1GiB, has an unknown one"},
		{GPU{Model: "t4"}, "NVIDIA", "NVIDIA T400", 0, "gpu model: wants t4, has NVIDIA T400"}, {GPU{Model: "rtx 409"}, "NVIDIA", rtx, 0, "gpu model: wants rtx 409, has " + rtx},
		{GPU{Vendor: "amd", Model: "rtx"}, "NVIDIA", rtx, 0, "gpu vendor: wants amd, has nvidia"},
	} {
		kind, text := row.wish.Lacks(row.vendor, row.model, row.memory)
		if got := strings.TrimSuffix(kind+": "+text, ": "); got != row.lacks {
			t.Errorf("%+v of %s with %v: %q, want %q", row.wish, row.model, row.memory, got, row.lacks)
		}
	}
}
