package machine

import (
	"testing"
	"time"
)

func TestAMonthOfTraffic(t *testing.T) {
	var m Traffic
	november := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		at   time.Time
		want Traffic
	}{
		{november, Traffic{"2026-11", 3, 2}}, {november.Add(time.Hour), Traffic{"2026-11", 6, 4}},
		{november.AddDate(0, -1, 0), Traffic{"2026-11", 9, 6}}, // a clock that was set back
		{november.AddDate(0, 1, 0), Traffic{"2026-12", 3, 2}}, {november.AddDate(1, 0, 0), Traffic{"2027-11", 3, 2}},
	} {
		if m = m.Add(3, 2, row.at); m != row.want {
			t.Errorf("at %v: %+v, want %+v", row.at, m, row.want)
		}
	}
}

// Past its cap nothing is shared until the first of the next month, and the owner is told so.
func TestTheMonthIsUsedUp(t *testing.T) {
	p, r := DefaultPolicy(), server()
	at := time.Date(2026, 12, 30, 12, 0, 0, 0, time.UTC)
	r.Traffic = &Traffic{"2026-12", 200e9, 100e9}
	if d := p.Decide(r, at); d.Cores == 0 {
		t.Errorf("without a cap: %s", d)
	}
	if p.NetCap = 300e9 + 1; p.Decide(r, at).Cores == 0 {
		t.Error("one byte is left, and nothing is shared")
	}
	p.NetCap = 300e9
	d := p.Decide(r, at)
	if d.Cores != 0 || d.String() != "This PC shares nothing: 300 GB went over the network this month, and 300 GB are the most." {
		t.Errorf("%s", d)
	}
	if why := d.Reasons[0]; why.Kind != "traffic" || !why.Until.Equal(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", why)
	}
	r.Traffic = nil
	if d := p.Decide(r, at); d.Cores == 0 {
		t.Errorf("what is not counted: %s", d)
	}
	for n, want := range map[int64]string{999: "0 kB", 1_500_000: "1.5 MB", 2e9: "2 GB", 3.2e12: "3.2 TB"} {
		if got := volume(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}
