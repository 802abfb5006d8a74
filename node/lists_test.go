package node

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/spec/job"
)

const (
	bobsNode   = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
	carolsNode = "12D3KooWNvSZnPi3RrhrTwEY4LuuBeB6K6facKUCJcyWG1aoDd2p"
	bobsOwner  = "owner-000102030405060708090a0b"
)

// homeWith is a home whose configuration has this text; "" leaves it out.
func homeWith(t testing.TB, text string) string {
	t.Helper()
	home := t.TempDir()
	if text != "" {
		if err := os.WriteFile(filepath.Join(home, ConfigFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return home
}

func TestAlicesListsStandInHerFile(t *testing.T) {
	home := homeWith(t, "")
	for _, step := range []struct {
		side    Side
		do      Verb
		entry   string
		changed bool
		allow   []string
		deny    []string
	}{
		{Buying, Deny, carolsNode, true, nil, []string{carolsNode}},
		{Buying, Deny, carolsNode, false, nil, []string{carolsNode}},
		{Buying, Deny, "network:dev-2", true, nil, []string{carolsNode, "network:dev-2"}},
		{Buying, Allow, bobsOwner, true, []string{bobsOwner}, []string{carolsNode, "network:dev-2"}},
		{Selling, Deny, bobsNode, true, nil, []string{bobsNode}},
		{Buying, Allow, carolsNode, true, []string{bobsOwner, carolsNode}, []string{"network:dev-2"}},
		{Buying, Forget, carolsNode, true, []string{bobsOwner}, []string{"network:dev-2"}},
		{Buying, Forget, "nobody", false, []string{bobsOwner}, []string{"network:dev-2"}},
	} {
		l, changed, err := Relist(home, step.side, step.do, step.entry)
		if err != nil || changed != step.changed || !slices.Equal(l.Allow, step.allow) || !slices.Equal(l.Deny, step.deny) {
			t.Fatalf("%s %s: %+v, %v, %v", step.do, step.entry, l, changed, err)
		}
		c, err := Load(home)
		if got := c.list(step.side); err != nil || c.Check() != nil || !slices.Equal(got.Allow, step.allow) || !slices.Equal(got.Deny, step.deny) {
			t.Fatalf("%s %s: the file says %+v, %v, %v", step.do, step.entry, got, err, c.Check())
		}
	}
	text, err := os.ReadFile(filepath.Join(home, ConfigFile))
	if err != nil || !strings.Contains(string(text), `# cpu = "3.6"`) {
		t.Errorf("the comments are gone: %v\n%s", err, text)
	}
}

func TestEntriesThatAreNone(t *testing.T) {
	home := homeWith(t, "")
	for _, row := range []struct {
		side  Side
		entry string
		says  string
	}{
		{Buying, "bob", `"bob" is no node, account or network`},
		{Buying, "12D3KooWbob", "no node"},
		{Buying, "hpips1bob", "no account"},
		{Buying, "owner-bob", "no owner"},
		{Buying, "network:", "no network"},
		{Buying, "network:a\x1b[2J", "no network"},
		{Selling, "network:lan", "does not know the networks"},
		{Selling, "", "no node"},
	} {
		for _, do := range []Verb{Allow, Deny} {
			_, _, err := Relist(home, row.side, do, row.entry)
			var f *job.Failure
			if !errors.As(err, &f) || f.Code != job.CodeUsage || !strings.Contains(f.Message, row.says) || f.Hint == "" {
				t.Errorf("%s %q: %v", do, row.entry, err)
			}
		}
		c := Default(home)
		c.list(row.side).Deny = []string{row.entry}
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), string(row.side)+".deny: ") {
			t.Errorf("%q in the file: %v", row.entry, err)
		}
	}
	if there(filepath.Join(home, ConfigFile)) {
		t.Error("a file was written")
	}
	if _, _, err := Relist(filepath.Join(home, "none"), Buying, Deny, bobsNode); err == nil || !strings.Contains(fmt.Sprint(err), "no home") {
		t.Errorf("without a home: %v", err)
	}
}

func TestTheRestOfTheFileStays(t *testing.T) {
	rows := map[string][2]string{
		"no section":       {"version = 1\n[work]\nslots = 3 # all\n", "version = 1\n[work]\nslots = 3 # all\n\n[requester]\ndeny = [\"" + bobsNode + "\"]\n"},
		"an empty section": {"version = 1\n[requester] # mine\n[work]\nslots = 3", "version = 1\n[requester] # mine\ndeny = [\"" + bobsNode + "\"]\n[work]\nslots = 3\n"},
		"another side":     {"version = 1\n[provider]\ndeny = []\n", "version = 1\n[provider]\ndeny = []\n\n[requester]\ndeny = [\"" + bobsNode + "\"]\n"},
		"many lines": {"version = 1\n[requester]\n  deny = [ # ] \"\n    \"network:]#\", # loud\n    'network:x',\n  ] # end\nallow = []\n",
			"version = 1\n[requester]\ndeny = [\"network:]#\", \"network:x\", \"" + bobsNode + "\"] # end\nallow = []\n"},
	}
	for name, row := range rows {
		home := homeWith(t, row[0])
		if _, _, err := Relist(home, Buying, Deny, bobsNode); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if text, err := os.ReadFile(filepath.Join(home, ConfigFile)); err != nil || string(text) != row[1] {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
	for name, text := range map[string]string{
		"an inline table": "version = 1\nrequester = {deny = [\"network:x\"]}\n",
		"a dotted key":    "version = 1\nrequester.deny = [\"network:x\"]\n",
		"no TOML":         "{{{",
	} {
		home := homeWith(t, text)
		_, _, err := Relist(home, Buying, Deny, bobsNode)
		var f *job.Failure
		if !errors.As(err, &f) || f.Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
		if now, err := os.ReadFile(filepath.Join(home, ConfigFile)); err != nil || string(now) != text {
			t.Errorf("%s is changed: %q, %v", name, now, err)
		}
	}
}

// TestNoEditBreaksTheFile plays random edits: what is read afterwards is what was asked for.
func TestNoEditBreaksTheFile(t *testing.T) {
	pool := []string{bobsNode, carolsNode, bobsOwner, "network:lan", `network:"[x]\`, "network:ü #"}
	home := homeWith(t, "")
	rapid.Check(t, func(t *rapid.T) {
		if err := os.WriteFile(filepath.Join(home, ConfigFile), []byte(template), 0o600); err != nil {
			t.Fatal(err)
		}
		want := map[Side]map[string]Verb{Buying: {}, Selling: {}}
		for range rapid.IntRange(1, 12).Draw(t, "edits") {
			s, do := rapid.SampledFrom([]Side{Buying, Selling}).Draw(t, "side"), rapid.SampledFrom([]Verb{Allow, Deny, Forget}).Draw(t, "verb")
			entry := rapid.SampledFrom(pool).Draw(t, "entry")
			if _, _, err := Relist(home, s, do, entry); err != nil {
				if s == Selling && market.KindOf(entry) == market.NetworkEntry {
					continue
				}
				t.Fatal(err)
			}
			want[s][entry] = do
		}
		c, err := Load(home)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []Side{Buying, Selling} {
			for _, entry := range pool {
				allowed, denied := slices.Contains(c.list(s).Allow, entry), slices.Contains(c.list(s).Deny, entry)
				if allowed != (want[s][entry] == Allow) || denied != (want[s][entry] == Deny) {
					t.Fatalf("%s %s: allowed %v, denied %v, want %q", s, entry, allowed, denied, want[s][entry])
				}
			}
		}
	})
}

func TestARunningNodeHeedsItsLists(t *testing.T) {
	home := homeWith(t, template)
	cfg, err := Load(home)
	if err != nil {
		t.Fatal(err)
	}
	l := newLists(slog.New(slog.DiscardHandler), cfg)
	bob := market.Party{Node: bobsNode, Whole: true}
	if no := l.buying().Refuses(bob); no != "" {
		t.Fatal(no)
	}
	if _, _, err := Relist(home, Buying, Deny, bobsNode); err != nil {
		t.Fatal(err)
	}
	if no := l.buying().Refuses(bob); no == "" || l.selling().Refuses(bob) != "" {
		t.Fatalf("bob is denied for work: %q, for pay: %q", no, l.selling().Refuses(bob))
	}
	name := filepath.Join(home, ConfigFile)
	if err := os.WriteFile(name, []byte("{{{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if no := l.buying().Refuses(bob); no == "" {
		t.Fatal("a file that cannot be read lets bob in")
	}
}
