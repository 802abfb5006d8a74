package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/voucher"
)

func TestTheMarketOnOnePage(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	later, before := now.Add(time.Hour), now.Add(-time.Hour)
	offer := func(node, class string, slots int, cpu uint64) client.Offer {
		return client.Offer{Provider: node, Class: class, Slots: slots, Rates: voucher.Rates{CPU: cpu}, Hour: cpu}
	}
	mine := offer("alice", "arm64", 2, 0)
	mine.Ours = true
	m := client.Market{
		Offers: []client.Offer{mine, offer("bob", "amd64", 4, 3_000_000), offer("dan", "amd64", 4, 5_000_000), offer("eve", "amd64", 8, 9_000_000), {Provider: "frank", Refusal: "paused by its owner"}},
		Standings: []client.Standing{
			{Node: "bob", Score: 0.99, Verified: true, Records: []client.Record{{Class: "amd64", Right: 90, Lost: 1, Seen: before}, {Class: "arm64", Right: 9, Unverified: 4, Seen: now}}},
			{Node: "dan", Score: 0.9, Records: []client.Record{{Unverified: 7}}},
			{Node: "gone", Score: 0.8, Verified: true, Rests: &before, Records: []client.Record{{Wrong: 1}}},
			{Node: "carol", Score: 0.2, Verified: true, Rests: &later, Records: []client.Record{{Wrong: 2}}},
		},
		Convicted: []string{"eve"},
	}
	r := reportOf(m, now)
	if want := (marketSum{Offers: 4, Refusals: 1, Slots: 18, Asked: 5, Recorded: 1, Known: 4, Resting: 1}); r.Sum != want {
		t.Errorf("%+v, want %+v", r.Sum, want)
	}
	if len(r.Classes) != 2 || r.Classes[0].Class != "amd64" || *r.Classes[0].Lowest != 3_000_000 || *r.Classes[0].Median != 5_000_000 || *r.Classes[0].Highest != 9_000_000 || r.Classes[1].Lowest != nil {
		t.Errorf("%+v", r.Classes)
	}
	var page strings.Builder
	reportPage(&page, r)
	for _, line := range []string{"offers\t4, 18 slots; nothing to sell now: 1 node", "records\tof 1 of 5 providers here; known in all: 4 nodes", "convicted\t1\n\teve\n",
		"amd64\t3\t16\t3.000000\t5.000000\t9.000000\n", "arm64\t1\t2\tfree: yours", "bob\t0.990\t99\t0\t1\t4\t", "cools off until"} {
		if !strings.Contains(page.String(), line) {
			t.Errorf("the page does not say %q:\n%s", line, page.String())
		}
	}
	if strings.Contains(page.String(), "WORST") || strings.Contains(page.String(), "dan\t0.9") {
		t.Errorf("few are shown once, newcomers not at all:\n%s", page.String())
	}
	text, err := json.Marshal(r)
	var told map[string]any
	if err != nil || json.Unmarshal(text, &told) != nil {
		t.Fatal(err)
	}
	if len(told["offers"].([]any)) != 5 || len(told["standings"].([]any)) != 4 || !strings.Contains(string(text), `"lowest":"3000000"`) || !strings.Contains(string(text), `"highest":null`) {
		t.Errorf("%s", text)
	}
	for i := range 12 {
		r.Standings = append(r.Standings, client.Standing{Node: strings.Repeat("x", i+1), Verified: true, Score: 0.1})
	}
	page.Reset()
	if reportPage(&page, r); !strings.Contains(page.String(), "WORST") || strings.Count(page.String(), "\n") > 32 {
		t.Errorf("the page is no page:\n%s", page.String())
	}
}
