package cli

import (
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/machine"
	"github.com/hpips/hpips/node"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
)

// limits are the rules of a home, for programs.
type limits struct {
	On             bool     `json:"on"`
	Presence       string   `json:"presence"`
	AwayAfter      string   `json:"awayAfter"`
	Patience       string   `json:"patience"`
	Battery        bool     `json:"battery"`
	Metered        bool     `json:"metered"`
	Temperature    float64  `json:"temperature"` // °C; 0: any
	Watts          float64  `json:"watts"`
	Others         float64  `json:"others"` // %
	InUse          profile  `json:"inUse"`
	Away           profile  `json:"away"`
	NetUp          string   `json:"netUp"` // as it was written; 0: any
	NetDown        string   `json:"netDown"`
	NetCap         string   `json:"netCap"` // a month
	Schedule       []string `json:"schedule"`
	Programs       []string `json:"programs"`
	GPUs           []string `json:"gpus"`
	GPUTemperature float64  `json:"gpuTemperature"` // °C; 0: any
	GPUOthers      float64  `json:"gpuOthers"`      // %
	Native         string   `json:"native"`         // own | everybody | nobody
	Containers     string   `json:"containers"`     // likewise
	Slots          int      `json:"slots"`          // 0: one per core
	Memory         job.Size `json:"memory"`         // 0: as the slots need
	Disk           job.Size `json:"disk"`
}

type profile struct {
	CPU    float64 `json:"cpu"` // % of the processors
	Total  float64 `json:"total"`
	Memory float64 `json:"memory"`
}

func limitsOf(c node.Config) limits {
	p := c.Share.Policy
	of := func(f machine.Profile) profile { return profile{100 * f.CPU, 100 * f.Total, 100 * f.Memory} }
	return limits{On: !p.Off, Presence: c.Share.Presence, AwayAfter: p.AwayAfter.String(), Patience: c.Share.Patience.String(), Battery: p.Battery, Metered: p.Metered,
		Temperature: p.Temperature, Watts: p.Watts, Others: 100 * p.Others, InUse: of(p.InUse), Away: of(p.Away),
		NetUp: c.Share.NetUp, NetDown: c.Share.NetDown, NetCap: c.Share.NetCap, Schedule: append([]string{}, c.Share.Schedule...),
		Programs: append([]string{}, c.Share.Programs...), GPUs: append([]string{}, c.Share.GPUs...), GPUTemperature: p.GPUTemperature, GPUOthers: 100 * p.GPUOthers,
		Native: string(c.Consent(job.EngineNative)), Containers: string(c.Consent(job.EngineContainer)), Slots: c.Slots, Memory: c.Memory, Disk: c.Disk}
}

func (s *shell) limitsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "limits", Short: "All rules of sharing, as config.toml has them", Args: noArgs, Example: "  hpips share limits\n  hpips share limits -o json",
		RunE: func(*cobra.Command, []string) error {
			c, err := node.Load(s.home)
			if err != nil {
				return err
			}
			return s.showLimits(c)
		},
	}
}

func (s *shell) showLimits(c node.Config) error {
	l := limitsOf(c)
	return s.show(l, "", func(w io.Writer) { limitLines(w, l) })
}

func limitLines(w io.Writer, l limits) {
	upTo := func(v float64, unit string) string {
		if v == 0 {
			return "any"
		}
		return "up to " + plainly(v) + unit
	}
	written := func(v, unit string) string {
		if v == "0" {
			return "any"
		}
		return "up to " + v + unit
	}
	list := func(all []string, none string) string {
		if len(all) == 0 {
			return none
		}
		return strings.Join(all, ", ")
	}
	total := func(p profile) string {
		if p.Total == 0 {
			return "80 % of the processors where people sit at this PC, else all"
		}
		return plainly(p.Total) + " % of the processors"
	}
	memory := func(p profile) string {
		if p.Memory == 0 {
			return "as the slots need"
		}
		return plainly(p.Memory) + " %"
	}
	fmt.Fprintf(w, "on\t%t\npresence\t%s\naway_after\t%s\n", l.On, l.Presence, l.AwayAfter)
	profileLines(w, "in_use", l.InUse, total(l.InUse), memory(l.InUse))
	profileLines(w, "away", l.Away, total(l.Away), memory(l.Away))
	fmt.Fprintf(w, "others\t%s\ntemperature\t%s\nwatts\t%s\nbattery\t%t\nmetered\t%t\nnet_up\t%s\nnet_down\t%s\nnet_cap\t%s\nschedule\t%s\nprograms\t%s\ngpus\t%s\ngpu_temperature\t%s\ngpu_others\t%s\npatience\t%s\n", upTo(l.Others, " %"), upTo(l.Temperature, " °C"), upTo(l.Watts, " W"),
		l.Battery, l.Metered, written(l.NetUp, ""), written(l.NetDown, ""), written(l.NetCap, " a month"), list(l.Schedule, "always"), list(l.Programs, "none"), list(l.GPUs, "while nobody is here"), upTo(l.GPUTemperature, " °C"), upTo(l.GPUOthers, " % by programs of yours"), l.Patience)
	whose := map[string]string{string(node.Own): "your own, and those of your pool; of strangers none", string(node.Everybody): "everybody's, strangers' too", string(node.Nobody): "nobody's"}
	disk := "20GiB, or four fifths of what is free"
	if l.Disk > 0 {
		disk = l.Disk.String()
	}
	fmt.Fprintf(w, "disk\t%s for inputs and results of tasks\n", disk)
	fmt.Fprintf(w, "native\t%s\ncontainers\t%s\n", whose[l.Native], whose[l.Containers])
}

func profileLines(w io.Writer, name string, p profile, total, memory string) {
	fmt.Fprintf(w, "%[1]s.cpu\t%[2]s %% of the processors at most\n%[1]s.total\t%[3]s, for all programs together\n%[1]s.memory\t%[4]s\n", name, plainly(p.CPU), total, memory)
}

func plainly(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func (s *shell) setCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "set NAME VALUE",
		Short: "Change a rule of sharing; a running node heeds it at once",
		Long: "Changes a rule of sharing in config.toml; a running node heeds it at once. Names: " + strings.Join(node.Settings(), ", ") + `.
Shares are in % of the whole machine. Lists have commands of their own: schedule, apps, devices. native and containers are own, everybody or nobody: on a network with a
chain, everybody is your word that programs of strangers run on this PC, with the kernel's walls alone around them.`,
		Args:    exactly(2, "a name and a value"),
		Example: "  hpips share set away.cpu 50%\n  hpips share set in_use.cpu 25\n  hpips share set temperature 80\n  hpips share set away_after 5m\n  hpips share set native everybody",
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := node.SetShare(s.home, args[0], args[1])
			if err != nil {
				return err
			}
			return s.showLimits(c)
		},
	}
}

// listCommand shows and changes a list of [share].
func (s *shell) listCommand(use, name, short, long, example, none string, of func(node.Config) []string) *cobra.Command {
	wipe := false
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Example: example,
		RunE: func(c *cobra.Command, args []string) error {
			var cfg node.Config
			var err error
			switch {
			case wipe && len(args) > 0:
				return usage(c, "--clear empties the list: name nothing besides")
			case wipe || len(args) > 0:
				cfg, err = node.SetShareList(s.home, name, args)
			default:
				cfg, err = node.Load(s.home)
			}
			if err != nil {
				return err
			}
			list := append([]string{}, of(cfg)...)
			return s.show(map[string][]string{name: list}, "", func(w io.Writer) {
				if len(list) == 0 {
					fmt.Fprintln(w, none)
				}
				for _, one := range list {
					fmt.Fprintln(w, one)
				}
			})
		},
	}
	c.Flags().BoolVar(&wipe, "clear", false, "empty the list")
	return c
}

func (s *shell) scheduleCommand() *cobra.Command {
	return s.listCommand("schedule [WINDOW…]", "schedule", "When this PC is shared",
		"The times of a week in which this PC is shared; without arguments, what they are. A window that ends at or before its beginning ends on the next day. Times are this PC's own.",
		"  hpips share schedule \"mon-fri 22:00-07:00\" \"sat,sun 00:00-24:00\"\n  hpips share schedule --clear", "always",
		func(c node.Config) []string { return c.Share.Schedule })
}

func (s *shell) appsCommand() *cobra.Command {
	return s.listCommand("apps [PROGRAM…]", "programs", "Programs while which nothing is shared",
		"While one of these programs runs, nothing is shared; without arguments, which they are. A name is that of the program's file; capitals and .exe do not matter.",
		"  hpips share apps blender doom.exe\n  hpips share apps --clear", "none",
		func(c node.Config) []string { return c.Share.Programs })
}

// device is a graphics device with its rule.
type device struct {
	machine.GPU
	Rule      machine.GPURule `json:"rule"`
	Strangers bool            `json:"strangers"` // the owner has written the rule: strangers may use it, too
}

// devices is what this PC has, with the rules of its graphics devices.
type devices struct {
	machine.Devices
	GPUs []device `json:"gpus"`
}

func (s *shell) devicesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "devices [DEVICE=RULE…]",
		Short: "What this PC has: processors, memory, disks, networks, graphics devices, sensors; and rules of its graphics devices",
		Long: `What this PC has, as far as its system tells; what it does not tell is "not available". With arguments it sets the rules of graphics devices, by their number or ID: never,
away (while nobody is here, the usual one) or always. Writing away or always is also your word that strangers on a network with a chain may use the device; one without a rule is for you
and your pool. A device is not shared either while it is too hot (gpu_temperature), while programs of yours use it (gpu_others), or where it cannot be given to a sandbox; hpips share status tells.`,
		Example: "  hpips share devices\n  hpips share devices 0=never 1=always",
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := node.Load(s.home)
			if len(args) > 0 {
				cfg, err = node.SetShareList(s.home, "gpus", args)
			}
			if err != nil {
				return err
			}
			d := devices{Devices: machine.TakeStock(c.Context(), s.home), GPUs: []device{}}
			for i, g := range d.Devices.GPUs {
				rule, written := cfg.Share.Policy.GPUs.Of(i, g)
				d.GPUs = append(d.GPUs, device{g, rule, written && rule != machine.GPUNever})
			}
			return s.show(d, "", func(w io.Writer) { deviceLines(w, d) })
		},
	}
}

// shared tells when a device is shared, and with whom, or what stands in the way.
func shared(g device) string {
	switch {
	case g.Passage.Why != "":
		return "cannot be: " + g.Passage.Why + ": " + g.Passage.Remedy
	case g.Rule != machine.GPUNever && !g.Strangers:
		return string(g.Rule) + ", not with strangers"
	}
	return string(g.Rule)
}

const unavailable = "not available"

// told writes a figure that may not be available.
func told[T any](v *T, text func(T) string) string {
	if v == nil {
		return unavailable
	}
	return text(*v)
}

func deviceLines(w io.Writer, d devices) {
	word := func(s string) string {
		if s == "" {
			return unavailable
		}
		return s
	}
	size := func(n int64) string {
		if n == 0 {
			return unavailable
		}
		return bytesText(n)
	}
	fmt.Fprintf(w, "system\t%s/%s %s\nclass\t%s\nprocessor\t%s, %s, %s\n", d.OS, d.Arch, word(d.Kernel), d.Class, word(d.CPU), job.Several(d.CPUs, "thread"),
		told(d.Cores, func(n int) string { return job.Several(n, "core") }))
	fmt.Fprintf(w, "memory\t%s, %s available\n", size(d.MemoryTotal), size(d.MemoryAvailable))
	for _, k := range d.Disks {
		fmt.Fprintf(w, "disk\t%s: %s of %s free (%s, %s)\n", k.Path, bytesText(k.Free), bytesText(k.Total), k.System, k.Device)
	}
	for _, n := range d.Networks {
		fmt.Fprintf(w, "network\t%s: %s, %s\n", n.Name, strings.Join(n.Addresses, " "), told(n.Megabits, func(v int64) string { return fmt.Sprintf("%d Mbit/s", v) }))
	}
	for i, g := range d.GPUs {
		fmt.Fprintf(w, "gpu %d\t%s (%s), driver %s, memory %s, busy %s, %s, %s; shared: %s\n", i, word(g.Name()), g.ID, word(g.Driver), told(g.Memory, bytesText), told(g.Busy, percentText),
			told(g.Temperature, degrees), told(g.Watts, watts), shared(g))
	}
	if len(d.GPUs) == 0 {
		fmt.Fprintln(w, "gpu\tnone")
	}
	battery := batteryText((*client.Battery)(d.Sensors.Battery))
	metered := told(d.Sensors.Metered, func(yes bool) string {
		return map[bool]string{true: "paid for by volume", false: "not paid for by volume"}[yes]
	})
	fmt.Fprintf(w, "temperature\t%s\npower\t%s\nbattery\t%s\nnetwork use\t%s\n", told(d.Sensors.Temperature, degrees), told(d.Sensors.Watts, watts), battery, metered)
}

func (s *shell) priceCommand() *cobra.Command {
	gpu := ""
	c := &cobra.Command{
		Use:     "price [HPIPS|auto]",
		Short:   "What an hour of one core, or of a graphics device, of this PC costs others",
		Long:    "What an hour of one core costs others, on a network with a chain; without an argument, what it costs. auto lets it rise and fall with the work, never under the price that was set. It is written into\nconfig.toml and holds from the node's next start. --gpu sets that of an hour of one graphics device, 0 where nothing was said.",
		Args:    optional("one price"),
		Example: "  hpips share price\n  hpips share price 2.5 --gpu 20\n  hpips share price auto",
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := node.Load(s.home)
			if len(args) > 0 {
				if _, wrong := money.Parse(args[0]); wrong != nil && args[0] != "auto" {
					return usage(c, fmt.Sprintf("%q is no price: write the HPIPS for an hour of one core, such as 3.6; 0 gives work away", args[0]))
				}
				cfg, err = node.SetPrice(s.home, args[0])
			}
			if gpu != "" && err == nil {
				if _, wrong := money.Parse(gpu); wrong != nil {
					return usage(c, fmt.Sprintf("--gpu %q is no price: write the HPIPS for an hour of one device, such as 20", gpu))
				}
				cfg, err = node.SetGPUPrice(s.home, gpu)
			}
			if err != nil {
				return err
			}
			price := struct {
				CPU  string `json:"cpu"` // HPIPS for an hour of one core
				GPU  string `json:"gpu"` // HPIPS for an hour of one graphics device
				Auto bool   `json:"auto"`
			}{money.Amount(cfg.Prices.Rates.CPU).String(), money.Amount(cfg.Prices.Rates.GPU).String(), cfg.Prices.Auto}
			return s.show(price, price.CPU, func(w io.Writer) {
				how := "fixed"
				if price.Auto {
					how = "and more while all is busy"
				}
				fmt.Fprintf(w, "%s HPIPS for an hour of one core, %s\n", price.CPU, how)
				if cfg.Prices.Rates.GPU > 0 {
					fmt.Fprintf(w, "%s HPIPS for an hour of one graphics device\n", price.GPU)
				}
			})
		},
	}
	c.Flags().StringVar(&gpu, "gpu", "", "HPIPS for an hour of one graphics device")
	return c
}

func (s *shell) benchmarkCommand() *cobra.Command {
	d := 30 * time.Second
	c := &cobra.Command{
		Use:     "benchmark",
		Short:   "Measure this PC: processors, memory, disk",
		Long:    "Measures one processor and all of them, memory and the disk of the home, and says in which class of speed this PC is. Quotes of this\nhome's node tell it from then on, so that jobs may ask for fast nodes (--where \"speed>=2\", --prefer speed). It uses the whole machine meanwhile: pause sharing for true figures.",
		Args:    noArgs,
		Example: "  hpips share benchmark\n  hpips share benchmark --time 1m -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			if d < time.Second || d > 10*time.Minute {
				return usage(c, fmt.Sprintf("--time %v: want 1s to 10m", d))
			}
			b, err := machine.Measure(c.Context(), s.home, d)
			if err != nil {
				return err
			}
			if err := node.KeepBenchmark(s.home, b, time.Now()); err != nil {
				return err
			}
			return s.show(b, b.Speed, func(w io.Writer) {
				fmt.Fprintf(w, "class\t%s\nspeed\t%s\n", b.Class, b.Speed)
				fmt.Fprintf(w, "SHA-256\t%.0f MB/s on one processor, %.0f MB/s on %d\n", b.One.Hash/1e6, b.All.Hash/1e6, runtime.NumCPU())
				fmt.Fprintf(w, "matrices\t%.2f GFLOP/s on one processor, %.2f GFLOP/s on %d\n", b.One.Matrix/1e9, b.All.Matrix/1e9, runtime.NumCPU())
				fmt.Fprintf(w, "memory\t%.1f GB/s copied\ndisk\t%.0f MB/s written and synced, %.0f MB/s read back\n", b.Memory/1e9, b.Written/1e6, b.Read/1e6)
			})
		},
	}
	c.Flags().DurationVar(&d, "time", d, "how long it takes, about")
	return c
}
