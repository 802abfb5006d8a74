package node

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/machine"
	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/spec/job"
)

func TestRatesAsPeopleWriteThem(t *testing.T) {
	for text, want := range map[string]float64{"0": 0, "20Mbit": 2.5e6, "1 Gbit": 125e6, "2.5MB": 2.5e6, "1MiB": 1 << 20, "1000kbit": 125e3} {
		if got, err := parseRate(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "fast", "20bit", "Mbit", "-1Mbit", "100kbit", "1kB", "NaNMbit", "9999999Gbit"} {
		if got, err := parseRate(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestTheCountOfAMonthSurvives(t *testing.T) {
	home := t.TempDir()
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	open := func() *accounts {
		t.Helper()
		a, err := openAccounts(home, p2p.NewThrottle())
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := open()
	a.month = a.month.Add(300, 20, now)
	for range 2 {
		if err := a.save(now, true); err != nil {
			t.Fatal(err)
		}
		if a = open(); a.month != (machine.Traffic{Month: "2026-11", Sent: 300, Received: 20}) {
			t.Fatalf("%+v", a.month)
		}
	}
	a.month = a.month.Add(1, 0, now)
	if err := a.save(now, false); err != nil || open().month.Sent != 301 {
		t.Errorf("it is written at once for the first time: %v", err)
	}
	a.month = a.month.Add(1, 0, now)
	if err := a.save(now.Add(saveEvery-1), false); err != nil || open().month.Sent != 301 {
		t.Errorf("it is written too often: %v", err)
	}
	if err := a.save(now.Add(saveEvery), false); err != nil || open().month.Sent != 302 {
		t.Errorf("it is not written: %v", err)
	}
	if err := os.WriteFile(filepath.Join(home, trafficFile), []byte(`{"month":"2026-11","sent":-1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if a, err := openAccounts(home, p2p.NewThrottle()); err == nil || a.month != (machine.Traffic{}) {
		t.Errorf("a damaged count is believed: %+v", a.month)
	}
}

// Bob's month is used up: his node says so, gives strangers no content and takes no work, and his own job runs. With a larger cap all is as before.
func TestBobsMonthIsUsedUp(t *testing.T) {
	cfg := quiet(t)
	text := `{"month":"` + time.Now().Format("2006-01") + `","sent":2000000000,"received":1000000000}`
	h, err := New(t.Context(), cfg)
	bob := start(t, h, err)
	content, err := bob.api.PutBytes(t.Context(), bytes.NewReader(make([]byte, 300_000)))
	if err != nil {
		t.Fatal(err)
	}
	if err := bob.stop(); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cfg.Home, trafficFile), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := SetShare(cfg.Home, "net_cap", "3GB"); err != nil {
		t.Fatal(err)
	}
	again := cfg
	if saved, err := Load(cfg.Home); err != nil {
		t.Fatal(err)
	} else {
		again.Share.Policy, again.Share.NetCap = saved.Share.Policy, saved.Share.NetCap
	}
	h, err = New(t.Context(), again)
	bob = start(t, h, err)
	s, err := bob.api.Share(t.Context())
	if err != nil || s.Cores != 0 || !strings.Contains(s.Sentence, "went over the network this month, and 3 GB are the most") || s.Readings.Traffic == nil || s.Readings.Traffic.Cap != 3e9 {
		t.Fatalf("%+v, %v", s, err)
	}

	desk := quiet(t)
	desk.Join = bob.Addresses()
	h2, err := New(t.Context(), desk)
	alice := start(t, h2, err)
	if _, err := alice.api.List(t.Context(), content.CID, 2*time.Second); err == nil {
		t.Error("alice is given content of a node whose month is used up")
	}
	why, err := alice.api.Preview(t.Context(), job.Spec{Kind: job.Batch, Run: job.Run{WASM: "bafkqaaa"}})
	if err != nil || why.Accepted != 1 || !strings.Contains(why.Summary, "1 of 2 nodes refused: 1 owner") {
		t.Errorf("%+v, %v", why, err)
	}
	program, err := bob.api.PutBytes(t.Context(), bytes.NewReader(nothing))
	if err != nil {
		t.Fatal(err)
	}
	id, err := bob.api.Submit(t.Context(), job.Spec{Kind: job.Batch, Run: job.Run{WASM: program.CID}}, false)
	if err != nil {
		t.Fatal(err)
	}
	said := errors.New("not told")
	if err := bob.api.Watch(t.Context(), id, func(st job.Status) error {
		if said = nil; st.State.Final() && st.State != job.Settled {
			said = st.Error
		}
		return nil
	}); err != nil || said != nil {
		t.Errorf("bob's own job: %v, %v", err, said)
	}

	if _, err := SetShare(cfg.Home, "net_cap", "4GB"); err != nil {
		t.Fatal(err)
	}
	if s, err := bob.api.Share(t.Context()); err != nil || s.Cores == 0 {
		t.Errorf("with a larger cap: %+v, %v", s, err)
	}
	if e, err := alice.api.List(t.Context(), content.CID, 20*time.Second); err != nil {
		t.Errorf("with a larger cap alice is not given it: %+v, %v", e, err)
	}
}
