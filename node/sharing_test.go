package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/chain/chaintest"
	"github.com/hpips/hpips/engine/container"
	"github.com/hpips/hpips/machine"
	"github.com/hpips/hpips/spec/job"
)

func TestSettingsOfSharing(t *testing.T) {
	home := t.TempDir()
	text := "version = 1\n\n[share]\non = true   # for now\nprograms = [\n  \"a\", # one\n]\n[share.away]\n# nothing\n\n[log]\nlevel = \"warn\"\n"
	if err := os.WriteFile(filepath.Join(home, ConfigFile), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range [][2]string{{"on", "false"}, {"away.cpu", "50%"}, {"in_use.total", "70"}, {"away_after", "10m"}, {"temperature", "82.5"}, {"presence", "away"}, {"others", "25 %"}, {"gpu_others", "50"}, {"gpu_temperature", "0"}, {"net_up", "20Mbit"}, {"net_cap", "300GB"}} {
		if _, err := SetShare(home, row[0], row[1]); err != nil {
			t.Fatalf("%s %s: %v", row[0], row[1], err)
		}
	}
	if _, err := SetShareList(home, "programs", []string{"blender", "doom \"2\".exe"}); err != nil {
		t.Fatal(err)
	}
	if _, err := SetShareList(home, "schedule", []string{"mon-fri 22:00-07:00"}); err != nil {
		t.Fatal(err)
	}
	c, err := Load(home)
	p := c.Share.Policy
	if err != nil || !p.Off || p.Away.CPU != 0.5 || p.InUse.Total != 0.7 || p.AwayAfter != 10*time.Minute || p.Temperature != 82.5 || c.Share.Presence != "away" || p.Others != 0.25 || p.GPUOthers != 0.5 || p.GPUTemperature != 0 || p.NetUp != 2.5e6 || p.NetDown != 0 || p.NetCap != 300e9 ||
		len(p.Programs) != 2 || p.Programs[1] != "doom \"2\".exe" || len(p.Schedule) != 1 || c.LogLevel != "warn" {
		t.Errorf("%+v, %v", c.Share, err)
	}
	got, err := os.ReadFile(filepath.Join(home, ConfigFile))
	if err != nil || !strings.Contains(string(got), "on = false   # for now\n") || !strings.Contains(string(got), "# nothing\n") || !strings.Contains(string(got), "level = \"warn\"\n") {
		t.Errorf("what was not changed stays as it was: %s", got)
	}
	for _, row := range [][2]string{{"of", "1"}, {"on", "perhaps"}, {"away.cpu", "101"}, {"away.cpu", "-1"}, {"away.cpu", "NaN"}, {"away_after", "soon"}, {"presence", "there"}, {"temperature", "1000"}, {"gpu_temperature", "200"}, {"net_up", "1kbit"}, {"net_cap", "much"}, {"patience", "0s"}} {
		var f *job.Failure
		if _, err := SetShare(home, row[0], row[1]); !errors.As(err, &f) || f.Code != job.CodeUsage || f.Hint == "" {
			t.Errorf("%s %s: %v", row[0], row[1], err)
		}
	}
	if again, _ := os.ReadFile(filepath.Join(home, ConfigFile)); string(again) != string(got) {
		t.Error("what was refused was written")
	}
	if _, err := SetPrice(home, "2.5"); err != nil {
		t.Fatal(err)
	}
	if c, err := SetPrice(home, "auto"); err != nil || c.Prices.Rates.CPU != 2_500_000 || !c.Prices.Auto {
		t.Errorf("price %+v, %v", c.Prices, err)
	}
	if _, err := SetShare(filepath.Join(home, "nowhere"), "on", "true"); err == nil {
		t.Error("a home that is not there is written")
	}
}

// What the template of a new home shows as defaults are the defaults.
func TestTheTemplateOfSharingTellsTheDefaults(t *testing.T) {
	c := Default(t.TempDir())
	open := strings.NewReplacer("# on =", "on =", "# presence =", "presence =", "# away_after =", "away_after =", "# patience =", "patience =", "# battery =", "battery =", "# metered =", "metered =",
		"# temperature =", "temperature =", "# watts =", "watts =", "# others =", "others =", "# gpus =", "gpus =", "# net_up =", "net_up =", "# net_down =", "net_down =", "# net_cap =", "net_cap =", "# gpu_temperature =", "gpu_temperature =", "# gpu_others =", "gpu_others =", "# cpu =", "cpu =", "# total =", "total =", "# memory =", "memory =").Replace(shareTemplate)
	if err := c.read([]byte("version = 1\n" + open)); err != nil {
		t.Fatal(err)
	}
	want := defaultSharing()
	if c.Share.Policy.AwayAfter != want.Policy.AwayAfter || c.Share.Policy.Away != want.Policy.Away || c.Share.Policy.InUse != want.Policy.InUse || c.Share.Patience != want.Patience || c.Share.Presence != want.Presence || c.Share.Policy.GPUTemperature != want.Policy.GPUTemperature || c.Share.Policy.GPUOthers != want.Policy.GPUOthers || c.Share.Policy.Off {
		t.Errorf("%+v, want %+v", c.Share, want)
	}
}

func TestAPauseSurvivesARestart(t *testing.T) {
	cfg := quiet(t)
	h, err := New(t.Context(), cfg)
	alice := start(t, h, err)
	if s, err := alice.api.Share(t.Context()); err != nil || s.Cores <= 0 || s.Presence != "headless" || len(s.Reasons) != 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	if s, err := alice.api.Pause(t.Context(), 2*time.Hour); err != nil || s.Cores != 0 || len(s.Reasons) != 1 || s.Reasons[0].Kind != "paused" || s.Reasons[0].Until == nil {
		t.Fatalf("%+v, %v", s, err)
	}
	if s, err := alice.api.Finish(t.Context()); err != nil || len(s.Reasons) != 2 { // one does not hide the other
		t.Fatalf("%+v, %v", s, err)
	}
	_ = alice.stop()
	if _, err := SetShare(cfg.Home, "battery", "true"); err != nil {
		t.Fatal(err)
	}
	h, err = New(t.Context(), cfg)
	again := start(t, h, err)
	if s, err := again.api.Share(t.Context()); err != nil || s.Cores != 0 || len(s.Reasons) != 2 {
		t.Fatalf("after a restart: %+v, %v", s, err)
	}
	if s, err := again.api.Resume(t.Context()); err != nil || s.Cores <= 0 || len(s.Reasons) != 0 || s.Finish {
		t.Fatalf("%+v, %v", s, err)
	}
	// A program in her session reports that she is there, then that she leaves.
	again.sharing.stepping.Lock()
	again.sharing.assumed, again.sharing.rules.Presence = "", "auto"
	again.sharing.stepping.Unlock()
	if err := again.api.Report(t.Context(), client.Presence{Idle: 10}); err != nil {
		t.Fatal(err)
	}
	if s, err := again.api.Share(t.Context()); err != nil || s.Presence != "in-use" || s.Cores != 0 || s.Idle == nil || *s.Idle < 10 {
		t.Errorf("%+v, %v", s, err)
	}
}

// Each rule that can be set by its name is heeded by the running node, without a restart. What follows from each is the machine's to know (machine.Policy).
func TestEverySettingIsHeeded(t *testing.T) {
	cfg := quiet(t)
	h, err := New(t.Context(), cfg)
	alice := start(t, h, err)
	s, m := alice.sharing, alice.first()
	stranger := peerOf(t, chaintest.New("a stranger"))
	all := machine.Read(cfg.Home).MemoryTotal
	rows := map[string]struct {
		value  string
		heeded func() bool
	}{
		"on":              {"false", func() bool { return s.policy.Off }},
		"presence":        {"in-use", func() bool { return s.readings.Presence == machine.InUse }},
		"away_after":      {"7m", func() bool { return s.policy.AwayAfter == 7*time.Minute }},
		"patience":        {"1m", func() bool { return s.rules.Patience == time.Minute }},
		"battery":         {"true", func() bool { return s.policy.Battery }},
		"metered":         {"true", func() bool { return s.policy.Metered }},
		"temperature":     {"71", func() bool { return s.policy.Temperature == 71 }},
		"watts":           {"72", func() bool { return s.policy.Watts == 72 }},
		"others":          {"73", func() bool { return s.policy.Others == 0.73 }},
		"gpu_temperature": {"74", func() bool { return s.policy.GPUTemperature == 74 }},
		"gpu_others":      {"75", func() bool { return s.policy.GPUOthers == 0.75 }},
		"net_up":          {"16Mbit", func() bool { return s.policy.NetUp == 2e6 }},
		"net_down":        {"24Mbit", func() bool { return s.policy.NetDown == 3e6 }},
		"net_cap":         {"4GB", func() bool { return s.policy.NetCap == 4e9 }},
		"in_use.cpu":      {"25", func() bool { return s.policy.InUse.CPU == 0.25 }},
		"in_use.total":    {"60", func() bool { return s.policy.InUse.Total == 0.6 }},
		"in_use.memory":   {"5", func() bool { return s.policy.InUse.Memory == 0.05 }},
		"away.cpu":        {"50%", func() bool { return s.policy.Away.CPU == 0.5 }},
		"away.total":      {"70", func() bool { return s.policy.Away.Total == 0.7 }},
		"away.memory":     {"1", func() bool { return m.provider.Free(stranger).Memory == int64(0.01*float64(all)) }},
		"disk":            {"3MiB", func() bool { return m.provider.Free(stranger).Disk == 3<<20 }},
		"native":          {"nobody", func() bool { return m.provider.Free(stranger).Lacking["native"] == unwanted }},
		"containers":      {"nobody", func() bool { return m.provider.Free(stranger).Lacking[container.Name] == unwanted }},
	}
	heeds := func(is func() bool) bool {
		if _, err := alice.api.Share(t.Context()); err != nil { // it looks at once
			t.Fatal(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return is()
	}
	for _, name := range Settings() {
		row, ok := rows[name]
		if !ok {
			t.Errorf("nobody looks whether %s is heeded", name)
			continue
		}
		if name == "presence" {
			s.mu.Lock()
			s.assumed = "" // what a flag says would come first
			s.mu.Unlock()
		}
		if heeds(row.heeded) {
			t.Errorf("%s: it is %s already", name, row.value)
		}
		if _, err := SetShare(cfg.Home, name, row.value); err != nil {
			t.Fatal(err)
		}
		if !heeds(row.heeded) {
			t.Errorf("%s: it is not %s", name, row.value)
		}
	}
	for name, row := range map[string]struct {
		list   []string
		heeded func() bool
	}{
		"schedule": {[]string{"mon 01:00-02:00"}, func() bool { return len(s.policy.Schedule) == 1 }},
		"programs": {[]string{"blender"}, func() bool { return len(s.policy.Programs) == 1 }},
		"gpus":     {[]string{"0=never"}, func() bool { return s.policy.GPUs["0"] == machine.GPUNever }},
	} {
		if _, err := SetShareList(cfg.Home, name, row.list); err != nil {
			t.Fatal(err)
		}
		if !heeds(row.heeded) {
			t.Errorf("%s: it is not %q", name, row.list)
		}
	}
}

// What a graphics device tells is told, and what it does not is not available.
func TestWhatAGraphicsDeviceTells(t *testing.T) {
	r := machine.Readings{Presence: machine.Headless, GPUs: []machine.GPU{{ID: "GPU-1", Vendor: "NVIDIA", Busy: new(0.5), Temperature: new(61.0)}}}
	told := tellDevices(r, machine.DefaultPolicy(), machine.Decision{}, []string{"GPU-1"})
	if len(told) != 1 || told[0].State != "leased" || told[0].Busy == nil || *told[0].Busy != 0.5 || told[0].Temperature == nil || *told[0].Temperature != 61 || told[0].Watts != nil || told[0].Memory != nil {
		t.Errorf("%+v", told)
	}
}
