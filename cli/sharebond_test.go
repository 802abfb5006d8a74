package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/ledger"
)

// What hpips share status says of a bond: what is held and why, that it was slashed, and when it returns.
func TestABondExplainsItself(t *testing.T) {
	due := time.Date(2026, 12, 11, 10, 0, 0, 0, time.Local)
	whole := ledger.Bonded{Denom: "uhpips", Held: "12000000", Target: "12000000"}
	slashed := ledger.Bonded{Denom: "uhpips", Held: "2500000", Target: "12000000", Slashed: true, Before: "12500000"}
	for name, row := range map[string]struct {
		bond ledger.Bond
		want []string
		not  string
	}{
		"none":    {ledger.Bond{}, []string{"none: 25 % of pay is held until it is worth ten days' pay", "returns 14 days after hpips share leave"}, "slashed"},
		"whole":   {ledger.Bond{Assets: []ledger.Bonded{whole}}, []string{"12.000000 of 12.000000 HPIPS: 25 % of pay is held until it is whole"}, "slashed"},
		"slashed": {ledger.Bond{Assets: []ledger.Bonded{slashed}}, []string{"2.500000 of 12.000000 HPIPS: it was slashed, and had 12.500000 before; 25 % of pay is held until it is whole"}, "none"},
		"leaves":  {ledger.Bond{Assets: []ledger.Bonded{whole}, Leaves: true, Due: &due}, []string{"counts nothing while the node leaves, and returns on 2026-12-11 10:00:00"}, "slashed"},
		"busy":    {ledger.Bond{Assets: []ledger.Bonded{whole}, Leaves: true, Due: &due, Busy: "lease"}, []string{"returns 14 days after the end of its last lease"}, "returns on"},
	} {
		row.bond.Share, row.bond.Returns = 0.25, 14*24*time.Hour
		var said bytes.Buffer
		bondLines(&said, row.bond)
		for _, want := range row.want {
			if !strings.Contains(said.String(), want) {
				t.Errorf("%s: %q does not say %q", name, said.String(), want)
			}
		}
		if strings.Contains(said.String(), row.not) {
			t.Errorf("%s: %q says %q", name, said.String(), row.not)
		}
	}
}
