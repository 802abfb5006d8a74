package machine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"testing"
	"time"
)

// desk is a PC on which this program is process 10, with a task 11, and Bob's game is 20.
func desk(busy, idle, ours, bytes int) map[string]string {
	return map[string]string{
		"stat":    fmt.Sprintf("cpu  %d 0 0 %d 0 0 0 0 0 0", busy, idle),
		"10/stat": stat(10, "hpips", 1, ours/2, 0, 0, 0), "11/stat": stat(11, "task", 10, ours-ours/2, 0, 0, 0), "20/stat": stat(20, "game", 1, busy-ours, 0, 0, 0),
		"10/status": "Name:\thpips\nVmRSS:\t 900000 kB\nRssAnon:\t 1024 kB\nRssFile:\t 898976 kB\nRssShmem:\t 0 kB", "11/status": "RssAnon:\t 2048 kB\nRssShmem:\t 1024 kB", "20/status": "RssAnon:\t 999999 kB\nRssShmem:\t 0 kB",
		"meminfo": "MemTotal:       16384 kB\nMemFree: 1 kB\nMemAvailable:    8192 kB",
		"net/dev": fmt.Sprintf("Inter-|   Receive  |  Transmit\n face |bytes packets\n    lo: 999 0 0 0 0 0 0 0 999 0 0 0 0 0 0 0\n  eth0:%d 0 0 0 0 0 0 0 %d 0 0 0 0 0 0 0\ndocker0: 7777 0 0 0 0 0 0 0 7777 0 0 0 0 0 0 0", 3*bytes, 2*bytes),
	}
}

// figures writes what is used by this program and by others; "-" is not available.
func figures(m Meters) string {
	text := ""
	for _, u := range []Use{m.CPU, m.Memory, m.Sent, m.Received} {
		for _, v := range []*float64{u.Ours, u.Others} {
			if v == nil {
				text += " -"
			} else {
				text += fmt.Sprintf(" %.4g", *v)
			}
		}
	}
	return text[1:]
}

func TestMetersTellOursFromOthers(t *testing.T) {
	clock, waited, sent, received := noon, time.Duration(0), int64(0), int64(0)
	later := desk(300, 200, 100, 100_000)
	g := &Gauges{self: 10, kin: Kin{Moved: func() (int64, int64) { return sent, received }}, from: sources{run: silent, proc: files(desk(100, 100, 50, 0)),
		sys: files(map[string]string{"class/net/eth0/device/vendor": "0x8086", "class/powercap/intel-rapl:0/name": "package-0", "class/powercap/intel-rapl:0/energy_uj": "0"})}}
	g.wait = func(_ context.Context, d time.Duration) error {
		waited, clock, sent, received = waited+d, clock.Add(d), sent+50_000, received+20_000
		g.from.proc = files(later)
		return nil
	}
	now := func() time.Time { return clock }
	m, err := g.Read(t.Context(), now)
	// In half a second 200 of 300 ticks were busy, 50 of them ours; 300 kB came in and 200 kB went out, of which 20 and 50 were ours.
	if got, want := figures(m), "0.1667 0.5 4.194e+06 4.194e+06 1e+05 3e+05 4e+04 5.6e+05"; err != nil || got != want {
		t.Errorf("%s (%v), want %s", got, err, want)
	}
	if m.Seconds != 0.5 || waited != shortSpan || m.Total == nil || *m.Total != 16<<20 || m.Watts == nil || *m.Watts != 0 || m.Temperature != nil || m.Battery != nil || m.Cores < 1 {
		t.Errorf("%+v, after %v", m, waited)
	}
	// Who asks again and again is told of the time between, without waiting.
	clock, later = clock.Add(2*time.Second), desk(400, 300, 150, 100_000)
	g.from.proc = files(later)
	if m, err := g.Read(t.Context(), now); err != nil || waited != shortSpan || m.Seconds != 2 || math.Abs(*m.CPU.Ours-0.25) > 1e-9 || *m.Sent.Ours != 0 || *m.Sent.Others != 0 {
		t.Errorf("%s, %+v, %v after %v", figures(m), m, err, waited)
	}
	// What is long ago says nothing of now.
	clock = clock.Add(time.Minute)
	if m, err := g.Read(t.Context(), now); err != nil || m.Seconds != 0.5 || waited != 2*shortSpan {
		t.Errorf("%+v, %v after %v", m, err, waited)
	}
	g.wait = func(context.Context, time.Duration) error { return context.Canceled }
	if _, err := g.Read(t.Context(), now); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// A figure whose source is not there is not available, and never 0; the others are told.
func TestAMeterWithoutASourceIsNotAvailable(t *testing.T) {
	whole := desk(100, 100, 50, 1000)
	for name, row := range map[string]struct {
		lacks []string
		want  string
	}{
		"all are there":           {nil, "0 0 4.194e+06 4.194e+06 0 0 0 0"},
		"no load":                 {[]string{"stat"}, "- - - - 0 0 0 0"},
		"no memory":               {[]string{"meminfo"}, "0 0 - - 0 0 0 0"},
		"no memory of processes":  {[]string{"10/status", "11/status"}, "0 0 - - 0 0 0 0"},
		"no network":              {[]string{"net/dev"}, "0 0 4.194e+06 4.194e+06 0 - 0 -"},
		"nothing":                 {[]string{"stat", "meminfo", "net/dev", "10/status", "11/status"}, "- - - - 0 - 0 -"},
		"a kernel without a part": {[]string{"11/status"}, "0 0 1.049e+06 7.34e+06 0 0 0 0"},
	} {
		texts := maps.Clone(whole)
		for _, file := range row.lacks {
			delete(texts, file)
		}
		clock, busy := noon, maps.Clone(texts)
		if _, ok := busy["stat"]; ok {
			busy["stat"] = "cpu  100 0 0 150 0 0 0 0 0 0"
		}
		g := &Gauges{self: 10, from: sources{sys: files(nil), proc: files(texts), run: silent}}
		g.wait = func(_ context.Context, d time.Duration) error {
			clock = clock.Add(d)
			g.from.proc = files(busy)
			return nil
		}
		m, err := g.Read(t.Context(), func() time.Time { return clock })
		if got := figures(m); err != nil || got != row.want {
			t.Errorf("%s: %s, want %s (%v)", name, got, row.want, err)
		}
		if m.Temperature != nil || m.Watts != nil || m.Battery != nil || (m.Total == nil) != (texts["meminfo"] == "") {
			t.Errorf("%s: %+v", name, m)
		}
	}
}
