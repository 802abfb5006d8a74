package machine

import (
	"fmt"
	"time"
)

// Traffic is what went over the network in a month, in bytes.
type Traffic struct {
	Month    string `json:"month"` // "2026-11"
	Sent     int64  `json:"sent"`
	Received int64  `json:"received"`
}

const month = "2006-01"

// Add counts further bytes. A new month begins at nothing; a clock that goes back begins none.
func (t Traffic) Add(sent, received int64, now time.Time) Traffic {
	if m := now.Format(month); m > t.Month {
		t = Traffic{Month: m}
	}
	t.Sent, t.Received = t.Sent+sent, t.Received+received
	return t
}

// Total is both directions, as contracts count them.
func (t Traffic) Total() int64 { return t.Sent + t.Received }

// exhausted is the rule of the monthly cap.
func exhausted(p Policy, r Readings, now time.Time) *Reason {
	if p.NetCap <= 0 || r.Traffic == nil || r.Traffic.Total() < p.NetCap {
		return nil
	}
	next := time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, now.Location())
	return &Reason{Kind: "traffic", Effect: Suspends, Text: fmt.Sprintf("%s went over the network this month, and %s are the most", volume(r.Traffic.Total()), volume(p.NetCap)),
		Ends: "the next month, or hpips share set net_cap with more", Until: &next}
}

// volume writes bytes as contracts do, in decimal units.
func volume(n int64) string {
	for _, u := range []struct {
		name string
		size float64
	}{{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}} {
		if v := float64(n) / u.size; v >= 1 {
			return number(v) + " " + u.name
		}
	}
	return fmt.Sprintf("%d kB", n/1000)
}
