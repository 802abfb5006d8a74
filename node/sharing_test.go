package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/api/client"
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
