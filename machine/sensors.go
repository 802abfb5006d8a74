package machine

import (
	"context"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// Sensors are what the machine says about itself. What is nil is not available.
type Sensors struct {
	Temperature *float64 `json:"temperature"` // °C of the hottest processor
	Watts       *float64 `json:"watts"`       // of the processors
	Battery     *Battery `json:"battery"`     // nil: there is none, or it does not tell
	Metered     *bool    `json:"metered"`     // the network is paid for by volume
}

// Battery is what a PC runs on without mains power.
type Battery struct {
	Discharging bool     `json:"discharging"`
	Charge      *float64 `json:"charge"` // 0 … 1
}

// chips are the drivers of processors' temperature sensors (kernel: Documentation/hwmon).
var chips = []string{"coretemp", "k10temp", "zenpower", "cpu_thermal", "scpi_sensors", "soc_thermal"}

// temperature is that of the hottest processor (sysfs: class/hwmon, class/thermal; in thousandths of a degree).
func (s sources) temperature() *float64 {
	var hottest *float64
	take := func(v *float64) {
		if v != nil && *v > -50 && *v < 200 && (hottest == nil || *v > *hottest) {
			hottest = v
		}
	}
	monitors, _ := fs.Glob(s.sys, "class/hwmon/hwmon*")
	for _, dir := range monitors {
		if !slices.Contains(chips, wordOf(s.sys, dir, "name")) {
			continue
		}
		inputs, _ := fs.Glob(s.sys, path.Join(dir, "temp*_input"))
		for _, name := range inputs {
			take(scaled(word(s.sys, name), 1e3))
		}
	}
	if hottest != nil {
		return hottest
	}
	zones, _ := fs.Glob(s.sys, "class/thermal/thermal_zone*")
	for _, dir := range zones {
		if kind := strings.ToLower(wordOf(s.sys, dir, "type")); kind == "x86_pkg_temp" || strings.Contains(kind, "cpu") {
			take(scaled(wordOf(s.sys, dir, "temp"), 1e3))
		}
	}
	return hottest
}

// supply reads the batteries of the PC itself (kernel: Documentation/ABI/testing/sysfs-class-power).
func (s sources) supply() *Battery {
	var all *Battery
	var charges []float64
	dirs, _ := fs.Glob(s.sys, "class/power_supply/*")
	for _, dir := range dirs {
		if wordOf(s.sys, dir, "type") != "Battery" || wordOf(s.sys, dir, "scope") == "Device" { // that of a mouse is no PC's
			continue
		}
		if all == nil {
			all = &Battery{}
		}
		all.Discharging = all.Discharging || wordOf(s.sys, dir, "status") == "Discharging"
		if v := scaled(wordOf(s.sys, dir, "capacity"), 100); v != nil {
			charges = append(charges, *v)
		}
	}
	if len(charges) > 0 {
		sum := 0.0
		for _, c := range charges {
			sum += c / float64(len(charges))
		}
		all.Charge = &sum
	}
	return all
}

// counter is the energy that processors have taken so far.
type counter struct {
	at     time.Time
	joules map[string]float64
}

// energy reads the counters of processor packages (kernel: Documentation/power/powercap; in microjoules), which the system shows to its administrator alone.
func (s sources) energy(now time.Time) counter {
	c := counter{now, map[string]float64{}}
	zones, _ := fs.Glob(s.sys, "class/powercap/*:*")
	for _, dir := range zones {
		if v := scaled(wordOf(s.sys, dir, "energy_uj"), 1e6); v != nil && strings.HasPrefix(wordOf(s.sys, dir, "name"), "package") {
			c.joules[dir] = *v
		}
	}
	return c
}

// since is the power between two readings. A counter that began anew has none.
func (c counter) since(before counter) *float64 {
	seconds := c.at.Sub(before.at).Seconds()
	if seconds <= 0 {
		return nil
	}
	var sum *float64
	for zone, joules := range c.joules {
		earlier, ok := before.joules[zone]
		if !ok || joules < earlier {
			continue
		}
		watts := (joules - earlier) / seconds
		if sum == nil {
			sum = new(float64)
		}
		*sum += watts
	}
	return sum
}

// sensors reads all but power, which takes two readings.
func (s sources) sensors(ctx context.Context) Sensors {
	return Sensors{Temperature: s.temperature(), Battery: s.battery(ctx), Metered: network(ctx)}
}
