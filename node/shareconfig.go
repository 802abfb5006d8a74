package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hpips/hpips/machine"
	"github.com/hpips/hpips/spec/job"
)

// Sharing is what the PC's owner lets others have of it: [share] of config.toml.
type Sharing struct {
	Policy   machine.Policy
	Presence string        // auto | in-use | away | headless: what is sensed, or what is taken for granted
	Patience time.Duration // for which leases are kept while nothing may run

	Schedule, Programs, GPUs []string // as they were written
	NetUp, NetDown, NetCap   string   // likewise
}

// PresenceVariable names the environment variable that presence is taken from where no flag says it, as in tests on a desk.
const PresenceVariable = "HPIPS_PRESENCE"

func defaultSharing() Sharing {
	return Sharing{Policy: machine.DefaultPolicy(), Presence: "auto", Patience: 5 * time.Minute, NetUp: "0", NetDown: "0", NetCap: "0"}
}

// shareFile is the shape of [share].
type shareFile struct {
	On             *bool       `toml:"on"`
	Presence       string      `toml:"presence"`
	AwayAfter      string      `toml:"away_after"`
	Patience       string      `toml:"patience"`
	Battery        bool        `toml:"battery"`
	Metered        bool        `toml:"metered"`
	Temperature    float64     `toml:"temperature"`
	Watts          float64     `toml:"watts"`
	Others         float64     `toml:"others"`
	NetUp          string      `toml:"net_up"`
	NetDown        string      `toml:"net_down"`
	NetCap         string      `toml:"net_cap"`
	Schedule       []string    `toml:"schedule"`
	Programs       []string    `toml:"programs"`
	GPUs           []string    `toml:"gpus"`
	GPUTemperature *float64    `toml:"gpu_temperature"`
	GPUOthers      *float64    `toml:"gpu_others"`
	InUse          profileFile `toml:"in_use"`
	Away           profileFile `toml:"away"`
}

type profileFile struct {
	CPU    *float64 `toml:"cpu"`
	Total  *float64 `toml:"total"`
	Memory *float64 `toml:"memory"`
}

// shareTemplate is the end of a new home's config.toml.
const shareTemplate = `
[share]              # what others may have of this PC; hpips share set | on | off | schedule | apps. Your own jobs are not held to it
# on = true
# presence = "auto"  # whether somebody is at this PC: auto looks; in-use, away, headless say it
# away_after = "3m"  # without a key or the mouse
# patience = "5m"    # for which leases are kept while nothing may run
# battery = false    # share on battery, too
# metered = false    # share on a network that is paid for by volume, too
# temperature = 0    # °C of the processors above which nothing runs; 0 = any
# watts = 0          # of the processors, likewise
# others = 0         # % of the processors that other programs may use before nothing runs; 0 = any
# net_up = "0"       # what goes out over the network, such as "20Mbit"; 0 = any. It holds for all of this node, your own jobs too
# net_down = "0"     # what comes in
# net_cap = "0"      # a month, both together, such as "300GB"; then nothing is shared any more until the next one; 0 = any
# schedule = []      # when it is shared, such as "mon-fri 22:00-07:00"; empty = always
# programs = []      # while one of these runs, nothing is shared
# gpus = []          # rules of graphics devices: "0=never", "0=away" (the usual one) or "0=always"; strangers use only those of which a rule is written
# gpu_temperature = 85 # °C of a graphics device above which it is not shared; 0 = any
# gpu_others = 10    # % of a graphics device that your own programs may use before it is not shared; 0 = any

[share.in_use]       # while somebody is at this PC
# cpu = 0            # % of the processors at most
# total = 0          # % of the processors for all programs together; 0 = 80 where people sit at this PC, else 100
# memory = 0         # % of the memory for tasks together; 0 = as [work] says

[share.away]         # while nobody is
# cpu = 100
# total = 0
# memory = 0
`

// read takes over what the file says.
func (s *Sharing) read(f shareFile) (err error) {
	p := &s.Policy
	if f.On != nil {
		p.Off = !*f.On
	}
	s.Presence = orElse(f.Presence, s.Presence)
	p.Battery, p.Metered, p.Temperature, p.Watts, p.Others = f.Battery, f.Metered, f.Temperature, f.Watts, f.Others/100
	s.Schedule, s.Programs, s.GPUs = f.Schedule, f.Programs, f.GPUs
	p.Programs = f.Programs
	for _, d := range []struct {
		name, text string
		to         *time.Duration
	}{{"away_after", f.AwayAfter, &p.AwayAfter}, {"patience", f.Patience, &s.Patience}} {
		if d.text == "" {
			continue
		}
		if *d.to, err = time.ParseDuration(d.text); err != nil || *d.to < time.Second || *d.to > 24*time.Hour {
			return fmt.Errorf("share.%s: %q is no time from 1s to 24h, such as \"3m\"", d.name, d.text)
		}
	}
	for _, share := range []struct {
		name string
		v    *float64
		to   *float64
	}{{"in_use.cpu", f.InUse.CPU, &p.InUse.CPU}, {"in_use.total", f.InUse.Total, &p.InUse.Total}, {"in_use.memory", f.InUse.Memory, &p.InUse.Memory},
		{"away.cpu", f.Away.CPU, &p.Away.CPU}, {"away.total", f.Away.Total, &p.Away.Total}, {"away.memory", f.Away.Memory, &p.Away.Memory}, {"others", &f.Others, &p.Others}, {"gpu_others", f.GPUOthers, &p.GPUOthers}} {
		if share.v == nil {
			continue
		}
		if *share.v < 0 || *share.v > 100 {
			return fmt.Errorf("share.%s: %v is no percentage: write 0 to 100", share.name, *share.v)
		}
		*share.to = *share.v / 100
	}
	if err := s.readNetwork(f); err != nil {
		return err
	}
	set(&p.GPUTemperature, f.GPUTemperature)
	if p.GPUTemperature < 0 || p.GPUTemperature > 150 {
		return fmt.Errorf("share.gpu_temperature: %v is not 0 to 150 °C", p.GPUTemperature)
	}
	if p.Temperature < 0 || p.Temperature > 150 || p.Watts < 0 || p.Watts > 10000 {
		return errors.New("share.temperature is 0 to 150 °C, share.watts 0 to 10000")
	}
	if !slices.Contains(presences, s.Presence) {
		return fmt.Errorf("share.presence: %q is none of %s", s.Presence, strings.Join(presences, ", "))
	}
	for _, name := range f.Programs {
		if strings.TrimSpace(name) == "" || len(name) > 255 {
			return fmt.Errorf("share.programs: %q is no name of a program, such as \"blender\"", name)
		}
	}
	if p.Schedule, err = machine.ParseSchedule(f.Schedule); err != nil {
		return fmt.Errorf("share.schedule: %w", err)
	}
	if p.GPUs, err = machine.ParseGPURules(f.GPUs); err != nil {
		return fmt.Errorf("share.gpus: %w", err)
	}
	return nil
}

// readNetwork takes over what the file says of the network.
func (s *Sharing) readNetwork(f shareFile) (err error) {
	s.NetUp, s.NetDown, s.NetCap = orElse(f.NetUp, "0"), orElse(f.NetDown, "0"), orElse(f.NetCap, "0")
	for _, rate := range []struct {
		name, text string
		to         *float64
	}{{"net_up", s.NetUp, &s.Policy.NetUp}, {"net_down", s.NetDown, &s.Policy.NetDown}} {
		if *rate.to, err = parseRate(rate.text); err != nil {
			return fmt.Errorf("share.%s: %w", rate.name, err)
		}
	}
	size, err := job.ParseSize(s.NetCap)
	if err != nil {
		return fmt.Errorf("share.net_cap: %q is no volume, such as \"300GB\"", s.NetCap)
	}
	s.Policy.NetCap = int64(size)
	return nil
}

var presences = []string{"auto", "in-use", "away", "headless"}

// kinds of settings, by name: how what a person types becomes TOML.
var settings = map[string]func(text string) (string, error){
	"on": boolean, "battery": boolean, "metered": boolean,
	"presence": quoted, "away_after": quoted, "patience": quoted, "net_up": quoted, "net_down": quoted, "net_cap": quoted,
	"temperature": decimal, "watts": decimal, "others": decimal, "gpu_temperature": decimal, "gpu_others": decimal,
	"in_use.cpu": decimal, "in_use.total": decimal, "in_use.memory": decimal,
	"away.cpu": decimal, "away.total": decimal, "away.memory": decimal,
	"native": quoted, "containers": quoted, "disk": quoted,
}

// ofWork are those that stand in [work].
var ofWork = []string{"native", "containers", "disk"}

// Settings are the names of what SetShare sets, in order.
func Settings() []string {
	names := []string{}
	for name := range settings {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func boolean(text string) (string, error) {
	v, err := strconv.ParseBool(text)
	if err != nil {
		return "", fmt.Errorf("%q is neither true nor false", text)
	}
	return strconv.FormatBool(v), nil
}

func quoted(text string) (string, error) { return strconv.Quote(text), nil }

func decimal(text string) (string, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(text, "%")), 64)
	if err != nil || v != v || v > 1e9 || v < -1e9 {
		return "", fmt.Errorf("%q is no number", text)
	}
	return strconv.FormatFloat(v, 'f', -1, 64), nil
}

// SetShare writes a setting of [share], or one of [work] that is heeded at once as well, into a home's configuration, and returns what it is then.
func SetShare(home, name, value string) (Config, error) {
	literal, ok := settings[name]
	if !ok {
		return Config{}, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%q is no setting", name), Hint: "there are " + strings.Join(Settings(), ", ")}
	}
	text, err := literal(value)
	if err != nil {
		return Config{}, &job.Failure{Code: job.CodeUsage, Message: name + ": " + err.Error(), Hint: "see hpips share limits"}
	}
	section := "share"
	if slices.Contains(ofWork, name) {
		section = "work"
	}
	if profile, rest, ok := strings.Cut(name, "."); ok {
		section, name = "share."+profile, rest
	}
	return rewrite(home, section, name, text)
}

// SetShareList writes a list of [share] (schedule, programs, gpus).
func SetShareList(home, name string, values []string) (Config, error) {
	return rewrite(home, "share", name, textList(values))
}

// SetPrice writes the price of an hour of one core, "auto" to let it move.
func SetPrice(home, price string) (Config, error) {
	if price == "auto" {
		return rewrite(home, "price", "auto", "true")
	}
	if _, err := rewrite(home, "price", "auto", "false"); err != nil {
		return Config{}, err
	}
	return rewrite(home, "price", "cpu", strconv.Quote(price))
}

// SetGPUPrice writes the price of an hour of one graphics device.
func SetGPUPrice(home, price string) (Config, error) {
	return rewrite(home, "price", "gpu", strconv.Quote(price))
}

// rewrite changes one line of a home's config.toml; everything else stays as it is written. A value that the configuration refuses is not written.
func rewrite(home, section, key, literal string) (Config, error) {
	name := filepath.Join(home, ConfigFile)
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && there(home) {
		text, err = []byte(template), nil
	}
	if err != nil {
		return Config{}, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("there is no home in %s: %v", home, err), Hint: "start a node there first: hpips up --home " + home}
	}
	before := Default(home)
	if err := before.read(text); err != nil {
		return Config{}, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%s: %v", name, err), Hint: "correct it first"}
	}
	changed := setLine(text, section, key, literal)
	after := Default(home)
	if err := after.read(changed); err != nil {
		return Config{}, &job.Failure{Code: job.CodeUsage, Message: err.Error(), Hint: "see hpips share limits"}
	}
	return after, writeWhole(name, changed)
}

// textList is a list of texts in TOML.
func textList(values []string) string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = strconv.Quote(v)
	}
	return "[" + strings.Join(all, ", ") + "]"
}
