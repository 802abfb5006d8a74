package machine

import (
	"bytes"
	"context"
	"encoding/csv"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// GPU is a graphics device that can compute. What is nil or "" is not available.
type GPU struct {
	ID          string   `json:"id"` // NVIDIA's UUID, or the address on the bus
	Vendor      string   `json:"vendor"`
	Model       string   `json:"model,omitempty"`
	Driver      string   `json:"driver,omitempty"`
	Memory      *int64   `json:"memory"`      // bytes
	Busy        *float64 `json:"busy"`        // 0 … 1
	Temperature *float64 `json:"temperature"` // °C
	Watts       *float64 `json:"watts"`
	Passage     Passage  `json:"passage"`

	address string // on the bus
	sysfs   string // its folder below /sys, as far as the kernel shows it as a card
}

// Name is what people call it: its maker and its model, where the model does not begin with the maker already.
func (g GPU) Name() string {
	if strings.HasPrefix(strings.ToLower(g.Model), strings.ToLower(g.Vendor)) {
		return g.Model
	}
	return strings.TrimSpace(g.Vendor + " " + g.Model)
}

// GPUs lists the graphics devices. It may start a program that takes a second.
func GPUs(ctx context.Context) []GPU { return here().gpus(ctx) }

// Graphics reads the graphics devices again and again. It is not for several goroutines at once.
type Graphics struct {
	from    sources
	hottest map[string]*peak
}

// NewGraphics reads those of this PC.
func NewGraphics() *Graphics { return &Graphics{from: here(), hottest: map[string]*peak{}} }

// Read lists the devices; a temperature is the highest of the last minute, so that what was too hot does not come back the moment that it has fallen. It may start a program that
// takes a second.
func (g *Graphics) Read(ctx context.Context, now time.Time) []GPU {
	all := g.from.gpus(ctx)
	for i, d := range all {
		if g.hottest[d.ID] == nil {
			g.hottest[d.ID] = &peak{}
		}
		g.hottest[d.ID].add(d.Temperature, now)
		all[i].Temperature = g.hottest[d.ID].of(now)
	}
	return all
}

// gpus lists what NVIDIA's own program and the kernel tell.
func (s sources) gpus(ctx context.Context) []GPU {
	all := s.nvidia(ctx)
	byDriver := len(all) > 0
	cards, _ := fs.Glob(s.sys, "class/drm/card*") // the pattern is a good one
	slices.Sort(cards)
	for _, card := range cards {
		if strings.Contains(path.Base(card), "-") { // an outlet of a card
			continue
		}
		if g, ok := s.card(path.Join(card, "device")); ok && (g.Vendor != "NVIDIA" || !byDriver) {
			all = append(all, g)
		}
	}
	for i := range all {
		all[i].Passage = s.passage(all[i])
	}
	return all
}

// fields are what nvidia-smi is asked for (nvidia-smi --help-query-gpu): the names of NVML's own values.
const fields = "uuid,name,driver_version,memory.total,utilization.gpu,temperature.gpu,power.draw,pci.bus_id"

// nvidia asks nvidia-smi, which comes with NVIDIA's driver on all systems and reads NVML.
func (s sources) nvidia(ctx context.Context) []GPU {
	text, err := s.run(ctx, "nvidia-smi", "--query-gpu="+fields, "--format=csv,noheader,nounits")
	if err != nil {
		return nil
	}
	r := csv.NewReader(bytes.NewReader(text))
	r.TrimLeadingSpace, r.FieldsPerRecord = true, strings.Count(fields, ",")+1
	rows, err := r.ReadAll()
	if err != nil {
		return nil
	}
	var all []GPU
	for _, row := range rows {
		g := GPU{ID: row[0], Vendor: "NVIDIA", Model: row[1], Driver: row[2], Temperature: figure(row[5]), Watts: figure(row[6])}
		g.address = strings.ToLower(row[7][max(0, len(row[7])-len("0000:01:00.0")):]) // it writes the domain with eight digits
		if mib := figure(row[3]); mib != nil {
			bytes := int64(*mib) << 20
			g.Memory = &bytes
		}
		if busy := figure(row[4]); busy != nil {
			*busy /= 100
			g.Busy = busy
		}
		all = append(all, g)
	}
	return all
}

// vendors are those of display devices in the list of PCI identifiers.
var vendors = map[string]string{"0x1002": "AMD", "0x8086": "Intel", "0x10de": "NVIDIA"}

// card reads a device below /sys/class/drm (kernel: Documentation/gpu/amdgpu/driver-misc.rst and thermal.rst).
func (s sources) card(dir string) (g GPU, ok bool) {
	word := func(name string) string { return word(s.sys, path.Join(dir, name)) }
	if g.Vendor, ok = vendors[word("vendor")]; !ok {
		return g, false
	}
	g.Model = word("product_name")
	if g.Model == "" {
		g.Model = strings.TrimPrefix(word("vendor"), "0x") + ":" + strings.TrimPrefix(word("device"), "0x")
	}
	for line := range strings.SplitSeq(word("uevent"), "\n") {
		switch name, value, _ := strings.Cut(line, "="); name {
		case "DRIVER":
			g.Driver = value
		case "PCI_SLOT_NAME":
			g.ID = value
		}
	}
	if g.ID == "" {
		g.ID = path.Base(path.Dir(dir))
	}
	if v := figure(word("mem_info_vram_total")); v != nil {
		bytes := int64(*v)
		g.Memory = &bytes
	}
	g.address, g.sysfs = g.ID, dir
	g.Busy = scaled(word("gpu_busy_percent"), 100)
	if chips, err := fs.Glob(s.sys, path.Join(dir, "hwmon/hwmon*")); err == nil && len(chips) > 0 {
		g.Temperature = scaled(wordOf(s.sys, chips[0], "temp1_input"), 1e3)
		if g.Watts = scaled(wordOf(s.sys, chips[0], "power1_average"), 1e6); g.Watts == nil {
			g.Watts = scaled(wordOf(s.sys, chips[0], "power1_input"), 1e6)
		}
	}
	return g, true
}
