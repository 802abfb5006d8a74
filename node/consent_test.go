package node

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/chaintest"
	"github.com/hpips/hpips/engine/container"
	"github.com/hpips/hpips/engine/process"
	"github.com/hpips/hpips/spec/job"
)

// Bob's PC follows a chain. Strangers' programs run on it, with the kernel's walls alone around them, from when he says so until he takes it back; he need not start his node again.
func TestStrangersProgramsWaitForTheOwnersWord(t *testing.T) {
	home := homeWith(t, template)
	cfg, err := Load(home)
	if err != nil {
		t.Fatal(err)
	}
	bobs, other := peerOf(t, chaintest.New("bob's other PC")), peerOf(t, chaintest.New("a stranger"))
	books := &till{owner: "hpips1bob", chain: &chaining{genesis: &genesis{summary: chain.Summary{ChainID: "hpips-test-1"}}},
		others: map[peer.ID]known{bobs: {"hpips1bob", time.Now().Add(time.Hour)}, other: {"hpips1mallory", time.Now().Add(time.Hour)}}}
	public := &member{owner: "owner-bob", lists: newLists(slog.New(slog.DiscardHandler), cfg), till: books}
	pool := &member{owner: "owner-bob", lists: newLists(slog.New(slog.DiscardHandler), cfg)}
	early := &member{owner: "owner-bob", lists: newLists(slog.New(slog.DiscardHandler), cfg), till: &till{chain: &chaining{}}} // of a chain that it does not know yet
	for _, f := range []string{process.Name, container.Name} {
		public.foreign = append(public.foreign, &foreign{name: f, word: map[string]string{process.Name: "native", container.Name: "containers"}[f]})
	}
	const no = "its owner has not agreed to native programs of strangers"
	for _, row := range []struct {
		set, value, closed, barred, own, lacking string
	}{
		{"", "", no, no, "", ""}, // nothing said
		{"native", "everybody", "", "", "", ""},
		{"containers", "nobody", "", "", "", ""}, // what is said of images is not said of programs
		{"native", "own", no, no, "", ""},
		{"native", "nobody", "", unwanted, unwanted, unwanted},
		{"native", "true", "", "", "", ""}, // as older files have it
		{"native", "false", "", unwanted, unwanted, unwanted},
	} {
		if row.set != "" {
			value := row.value
			if value == "true" || value == "false" {
				if _, err := rewrite(home, "work", row.set, value); err != nil {
					t.Fatal(err)
				}
			} else if _, err := SetShare(home, row.set, value); err != nil {
				t.Fatal(err)
			}
		}
		if got := public.closed(process.Name); got != row.closed {
			t.Errorf("%s %s: strangers are told %q, want %q", row.set, row.value, got, row.closed)
		}
		if got := public.barred(process.Name, other); got != row.barred {
			t.Errorf("%s %s: a stranger's lease: %q, want %q", row.set, row.value, got, row.barred)
		}
		if got := public.barred(process.Name, bobs); got != row.own {
			t.Errorf("%s %s: a lease of his other PC: %q, want %q", row.set, row.value, got, row.own)
		}
		if got := public.lacking()[process.Name]; got != row.lacking {
			t.Errorf("%s %s: it lacks %q, want %q", row.set, row.value, got, row.lacking)
		}
		for name, m := range map[string]*member{"without a chain": pool, "before its genesis": early} {
			if got := m.closed(process.Name); got != "" {
				t.Errorf("%s %s: %s a pool is told %q", row.set, row.value, name, got)
			}
		}
		if no := public.closed("wasm") + public.barred("wasm", other); no != "" {
			t.Errorf("%s %s: WASM is closed: %q", row.set, row.value, no)
		}
	}
	if told := public.tellEngines(); len(told) != 2 || told[0].Name != "native" || told[0].Consent != "nobody" || told[0].Lacking != unwanted || told[1].Consent != "nobody" {
		t.Errorf("%+v", told)
	}
	again, err := Load(home) // as after a restart
	if err != nil || again.Consent(process.Name) != Nobody || again.Consent(container.Name) != Nobody || again.wants(process.Name) {
		t.Errorf("after a restart: %q, %q, %v", again.Native, again.Containers, err)
	}
	text, err := os.ReadFile(filepath.Join(home, ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"yes", "true", ""} { // a bare true would not say whose
		var f *job.Failure
		if _, err := SetShare(home, "native", value); !errors.As(err, &f) || f.Code != job.CodeUsage || !strings.Contains(f.Message, "none of own, everybody, nobody") {
			t.Errorf("native %q: %v", value, err)
		}
	}
	if after, _ := os.ReadFile(filepath.Join(home, ConfigFile)); string(after) != string(text) {
		t.Error("what was refused was written")
	}
}

// Where nothing is said, a development network runs everybody's, since all of its nodes are one person's; what is said holds there, too.
func TestADevelopmentNetworkAgreesByItself(t *testing.T) {
	c := Default(t.TempDir())
	if c.Consent(process.Name) != Own || c.Consent(container.Name) != Own || c.Consent("wasm") != "" {
		t.Errorf("%q, %q, %q", c.Consent(process.Name), c.Consent(container.Name), c.Consent("wasm"))
	}
	dev := (&House{cfg: c}).devConfig(1, 1)
	if dev.Consent(process.Name) != Everybody || dev.Consent(container.Name) != Everybody {
		t.Errorf("%q, %q", dev.Consent(process.Name), dev.Consent(container.Name))
	}
	c.Native = Own
	if dev := (&House{cfg: c}).devConfig(1, 1); dev.Consent(process.Name) != Own {
		t.Errorf("%q", dev.Consent(process.Name))
	}
}
