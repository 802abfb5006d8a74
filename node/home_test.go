package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/spec/job"
)

func TestConfigurationIsReadStrictly(t *testing.T) {
	for _, row := range []struct {
		name, text, says string
		check            func(Config) bool
	}{
		{"all defaults", template, "", func(c Config) bool {
			return c.MDNS && c.Provide && c.API == "127.0.0.1:4712" && c.Gateway.Address == "" && len(c.Listen) == 2
		}},
		{"some of it", "version = 1\n[work]\nslots = 3\nmemory = \"2GiB\"\nprovide = false\n[network]\nmdns = false\njoin = [\"/x\"]\n", "",
			func(c Config) bool {
				return c.Slots == 3 && c.Memory == 2<<30 && !c.Provide && !c.MDNS && c.Join[0] == "/x"
			}},
		{"a gateway", "version = 1\n[gateway]\naddress = \"0.0.0.0:4713\"\ncertificate = \"c.pem\"\nkey = \"/k.pem\"\ncache = \"1GiB\"\nrate = 9.0\nfetch = true\ndeny = [\"bafkqaaa\"]\n", "",
			func(c Config) bool {
				g := c.Gateway
				return g.Address == "0.0.0.0:4713" && g.Certificate == filepath.Join(c.Home, "c.pem") && g.Key == "/k.pem" && g.Cache == 1<<30 && g.Rate == 9 && g.Burst == 36 && g.Fetch && len(g.Deny) == 1
			}},
		{"a gateway that serves no CID", "version = 1\n[gateway]\ndeny = [\"x\"]\n", "gateway.deny", nil},
		{"unknown field", "version = 1\n[work]\nslotz = 3\n", "unknown field work.slotz", nil},
		{"unknown group", "version = 1\n[money]\nmuch = true\n", "unknown field money", nil},
		{"wrong type", "version = 1\n[work]\nslots = \"three\"\n", "slots", nil},
		{"wrong size", "version = 1\n[work]\nmemory = \"much\"\n", "work.memory", nil},
		{"other version", "version = 2\n", "version 2", nil},
		{"no version", "", "version 0", nil},
		{"no TOML", "{{{", "", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			home := t.TempDir()
			if err := os.WriteFile(filepath.Join(home, ConfigFile), []byte(row.text), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := Load(home)
			if row.check != nil {
				if err != nil || !row.check(c) {
					t.Errorf("%+v, %v", c, err)
				}
				return
			}
			var f *job.Failure
			if !errors.As(err, &f) || !strings.Contains(f.Message, row.says) || !strings.Contains(f.Message, home) || f.Hint == "" {
				t.Errorf("%v", err)
			}
		})
	}
}

func FuzzConfiguration(f *testing.F) {
	f.Add(template)
	f.Add("version = 1\n[work]\nslots = 3\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := Default("/home")
		if c.read([]byte(text)) == nil {
			_ = c.Check() // must not panic, whatever was read
		}
	})
}

func TestFlagsWinOverTheFile(t *testing.T) {
	c := Default("/home/alice")
	c.Join, c.Slots = []string{"/a"}, 7
	flags := Flags{Changed: func(name string) bool { return name == "join" || name == "api" }, Join: []string{"/b"}, API: "127.0.0.1:0", NoMDNS: true}
	got := flags.Over(c)
	if fmt.Sprint(got.Join) != "[/a /b]" || got.API != "127.0.0.1:0" || got.MDNS || got.Slots != 7 || !got.Provide {
		t.Errorf("%+v", got)
	}
}

// Who says nothing has a node that lets old blocks and states go. The flag and the file ask for an archive, and neither takes back what the other said.
func TestAnArchiveIsAskedFor(t *testing.T) {
	for _, row := range []struct{ file, flag, want bool }{{}, {file: true, want: true}, {flag: true, want: true}, {true, true, true}} {
		c := Default("/home/alice")
		if c.ChainNode.Archive {
			t.Error("an archive that nobody asked for")
		}
		if err := c.read(fmt.Appendf(nil, "version = 1\n[chain]\narchive = %v\n", row.file)); err != nil {
			t.Fatal(err)
		}
		c = Flags{Changed: func(string) bool { return false }, Archive: row.flag}.Over(c)
		if c.ChainNode.Archive != row.want {
			t.Errorf("file %v, flag %v: archive %v", row.file, row.flag, c.ChainNode.Archive)
		}
	}
}

func TestImpossibleConfigurationsAreNamed(t *testing.T) {
	for says, spoil := range map[string]func(*Config){
		"--slots":            func(c *Config) { c.Slots = -1 },
		"log level":          func(c *Config) { c.LogLevel = "loud" },
		"log format":         func(c *Config) { c.LogFormat = "xml" },
		"other machines":     func(c *Config) { c.API = "0.0.0.0:4712" },
		"not a multiaddress": func(c *Config) { c.Join = []string{"bob"} },
		"/ip4/1.2.3.4":       func(c *Config) { c.Join = []string{"/ip4/1.2.3.4/tcp/1"} }, // without /p2p/ID nobody can be sure who answers
		"listen on":          func(c *Config) { c.Listen = nil },
		"absolute":           func(c *Config) { c.Home = "home" },
	} {
		c := Default("/home/alice")
		spoil(&c)
		var f *job.Failure
		if err := c.Check(); !errors.As(err, &f) || !strings.Contains(f.Message, says) || f.Hint == "" {
			t.Errorf("%s: %v", says, err)
		}
	}
	if err := Default("/home/alice").Check(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

func TestADamagedKeyIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	key, err := loadKey(dir, "node.key")
	if err != nil {
		t.Fatal(err)
	}
	again, err := loadKey(dir, "node.key")
	if err != nil || !key.Equals(again) {
		t.Fatalf("a second reading gives another key: %v", err)
	}
	file := filepath.Join(dir, "keys", "node.key")
	if err := os.WriteFile(file, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadKey(dir, "node.key"); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a damaged key: %v", err)
	}
	if text, _ := os.ReadFile(file); string(text) != "damaged" {
		t.Error("the damaged key was overwritten")
	}
}

func TestTheTokenStays(t *testing.T) {
	h := &home{dir: t.TempDir()}
	first, err := h.token()
	if err != nil || len(first) != tokenBytes {
		t.Fatalf("%q, %v", first, err)
	}
	if second, err := h.token(); err != nil || second != first {
		t.Errorf("%q, then %q: %v", first, second, err)
	}
}

func TestTheLogIsCapped(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	r, err := openRotated(name, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if _, err := fmt.Fprintf(r, "line %03d of the log, which is long enough\n", i); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, n := range []string{name, name + ".1"} {
		fi, err := os.Stat(n)
		if err != nil {
			t.Fatal(err)
		}
		size += fi.Size()
	}
	if size > 2000 || size < 1000 {
		t.Errorf("%d bytes are kept", size)
	}
	if _, err := r.Write([]byte("late")); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("a closed log takes lines: %v", err)
	}
}

func TestTheEndOfTheLog(t *testing.T) {
	home := t.TempDir()
	if _, err := LogEnd(home, 3); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a home without a log: %v", err)
	}
	log, file, err := openLog(home, "info", "text", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		log.Info("told", "i", i)
	}
	log.Debug("not told")
	log.With(slog.Int("x", 1)).WithGroup("g").Info("last")
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	for lines, want := range map[int]int{1: 1, 3: 3, 6: 6, 100: 6} {
		text, err := LogEnd(home, lines)
		if err != nil || strings.Count(string(text), "\n") != want || !strings.Contains(string(text), `"last"`) {
			t.Errorf("%d lines: %q, %v", lines, text, err)
		}
	}
}

func TestAWaitEndsWithoutProgressOnly(t *testing.T) {
	w := newWait(t.Context(), time.Hour)
	w.touch()
	if w.ctx.Err() != nil {
		t.Error("it ended at once")
	}
	w.stop()
	short := newWait(t.Context(), time.Millisecond)
	<-short.ctx.Done()
	if !errors.Is(context.Cause(short.ctx), errIdle) {
		t.Error("the end has another cause than idleness")
	}
}
