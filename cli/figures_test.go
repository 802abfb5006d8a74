package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/ledger"
)

// A day that is not what the chain says ends the command with 1, and what was not reckoned is said.
func TestASettledDayIsShown(t *testing.T) {
	for _, c := range []struct {
		found ledger.Settlement
		code  int
		words []string
	}{
		{ledger.Settlement{Day: 3, Differs: "block 4: a unit more"}, exitWrong, []string{"DIFFERS", "block 4: a unit more"}},
		{ledger.Settlement{OK: true, Day: 3, Payments: 2, Redeemed: 1, NotReckoned: []string{"the weather"}}, 0, []string{"OK", "1 claim, each paid when it was due", "not reckoned", "the weather"}},
	} {
		var out bytes.Buffer
		err := (&purse{shell: &shell{out: &out}}).settled(ledger.Day{Gross: "0"}, c.found)
		var code exit
		if errors.As(err, &code); int(code) != c.code || c.code == 0 && err != nil {
			t.Errorf("%+v: %v", c.found, err)
		}
		for _, word := range c.words {
			if !strings.Contains(out.String(), word) {
				t.Errorf("no %q in\n%s", word, out.String())
			}
		}
	}
}

// One's own slots are no price: they are told apart from what others ask.
func TestOnesOwnSlotsAreFree(t *testing.T) {
	mine, other := client.Offer{Provider: "12D3mine", Owner: "hpips1me", Slots: 4, Ours: true}, client.Offer{Provider: "12D3other", Owner: "hpips1other", Slots: 2, Hour: 3_600_000}
	for _, c := range []struct {
		all    []client.Offer
		quote  []string
		absent string
	}{
		{[]client.Offer{mine, other}, []string{"yours\tfree, 4 slots", "cheapest\t3.600000 HPIPS", "providers\t1 of 2"}, "0.000000"},
		{[]client.Offer{mine}, []string{"yours\tfree, 4 slots", "nobody else sells that now"}, "cheapest"},
		{[]client.Offer{other}, []string{"cheapest\t3.600000 HPIPS"}, "yours"},
	} {
		var out bytes.Buffer
		quoteTable(&out, c.all)
		for _, word := range c.quote {
			if !strings.Contains(out.String(), word) {
				t.Errorf("no %q in\n%s", word, out.String())
			}
		}
		if strings.Contains(out.String(), c.absent) {
			t.Errorf("%q in\n%s", c.absent, out.String())
		}
	}
	var out bytes.Buffer
	offersTable(&out, []client.Offer{mine, other})
	if !strings.Contains(out.String(), "12D3mine\tfree: yours") || !strings.Contains(out.String(), "12D3other\t3.600000") {
		t.Error(out.String())
	}
}

// A day that is open is marked, and each redemption says what became of it.
func TestEarningsAreExplained(t *testing.T) {
	var out bytes.Buffer
	day := ledger.Earned{Bonus: "5", Duty: "7", Assets: []ledger.AssetDay{{Denom: "uhpips", Gross: "6800", Paid: "6120", Held: "1530", Levied: "680"}}}
	empty := ledger.Earned{Bonus: "0", Duty: "0"}
	earningsTable(&out, ledger.Earnings{Days: []ledger.EarnedDay{{Day: 8, Open: true, Earned: day}, {Day: 7, Earned: day, Lost: []ledger.Coin{{Denom: "silver", Amount: "3"}, {Denom: "uhpips", Amount: "1350"}}}, {Day: 6, Earned: empty}},
		Redemptions: []ledger.Redemption{
			{Denom: "uhpips", Amount: "7000", Fee: "200", Paid: "6120", Levied: "680", Lost: "0", Costs: &ledger.Costs{CPU: 6900, Memory: 99}},
			{Denom: "uhpips", Amount: "1200", Fee: "200", Paid: "0", Levied: "0", Lost: "1000"}},
		Losses: []ledger.Loss{{Height: 9, What: ledger.Refunded, Denom: "uhpips", Amount: "1000", Lease: "abcdef"}, {Height: 9, What: ledger.Slashed, Denom: "uhpips", Amount: "350"}}})
	for _, word := range []string{"8 (open)\tHPIPS\t0.006800\t0.006120\t0.001530\t0.000680\t-\t-\t0.000000\n", "7\tHPIPS\t0.006800\t0.006120\t0.001530\t0.000680\t0.000005\t0.000007\t0.001350\n",
		"7\tsilver\t0\t0\t0\t0\t\t\t3\n", "6\tHPIPS\t0.000000\t0.000000\t0.000000\t0.000000\t0.000000\t0.000000\t0.000000\n",
		"HPIPS\t0.007000\t0.000200\t0.006120\t0.000680\t0.000000\t", "HPIPS\t0.001200\t0.000200\t0.000000\t0.000000\t0.001000\t",
		"9\tHPIPS\t0.001000\tpay went back to its payer\tabcdef\n", "9\tHPIPS\t0.000350\ttaken from the bond\t\n", "for CPU\t\t\t0.006900", "for memory\t\t\t0.000099"} {
		if !strings.Contains(out.String(), word) {
			t.Errorf("no %q in\n%s", word, out.String())
		}
	}
	if strings.Contains(out.String(), "for disk") {
		t.Errorf("nothing was paid for a disk:\n%s", out.String())
	}
}

// Who sits is shown with what sets it apart: a guardian, and one that leaves.
func TestGuardiansAreShown(t *testing.T) {
	k := ledger.Committee{Epoch: 7, Tickets: 3, Seats: []ledger.Seat{
		{Node: "12D3alice", Power: 1, Guardian: true}, {Node: "12D3bob", Power: 1, Guardian: true, Leaving: true}, {Node: "12D3carol", Power: 1}, {Node: "12D3dan", Power: 1, Leaving: true},
	}}
	rows := func() map[string][]string {
		var out bytes.Buffer
		seated(&out, k)
		all := map[string][]string{}
		for line := range strings.Lines(out.String()) {
			cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
			all[cells[0]] = cells[1:]
		}
		return all
	}
	shown := rows()
	for node, note := range map[string]string{"12D3alice": "guardian", "12D3bob": "guardian, leaving", "12D3carol": "", "12D3dan": "leaving"} {
		if row := shown[node]; len(row) != 5 || row[0] != "1" || row[4] != note {
			t.Errorf("%s: %q, want power 1 and %q", node, row, note)
		}
	}
	if row := shown["guardians"]; len(row) != 1 || !strings.HasPrefix(row[0], "2 of 4 seats") {
		t.Errorf("guardians: %q", row)
	}
	for i := range k.Seats {
		k.Seats[i].Guardian = false
	}
	if row, told := rows()["guardians"]; told {
		t.Errorf("guardians of a chain without: %q", row)
	}
}

// What a verification could not check is said, block by block; nothing is passed over.
func TestAVerificationSaysWhatItDidNotCheck(t *testing.T) {
	for _, c := range []struct {
		found  ledger.Verified
		code   int
		words  []string
		absent []string
	}{
		{ledger.Verified{OK: true, From: 1, To: 9, SeedsFrom: 1, ProvenFrom: 1, ProvenTo: 9, Whole: true, Genesis: "ab", Draws: 2}, 0,
			[]string{"OK", "2 draws", "after block 9", "trusted\tthe genesis, ab"}, []string{"not checked"}},
		{ledger.Verified{OK: true, From: 1, To: 9, SeedsFrom: 1, ProvenFrom: 5, ProvenTo: 8, Whole: true}, 0,
			[]string{"draws, seats and supply of blocks 1 to 4", "the state that block 9 left", "who sat in block 1"}, []string{"not checked\tseeds"}},
		{ledger.Verified{OK: true, From: 3, To: 9}, 0,
			[]string{"not checked\tseeds and claims: ", "draws, seats and supply of blocks 3 to 9", "who sat in block 3"}, []string{"burned"}},
		{ledger.Verified{OK: true, From: 3, To: 9, SeedsFrom: 6, ProvenFrom: 6, ProvenTo: 9}, 0,
			[]string{"seeds and claims of blocks 3 to 5", "supply of blocks 3 to 5"}, nil},
		{ledger.Verified{From: 1, To: 9, Wrong: &ledger.Wrong{Height: 4, What: "luck"}}, exitWrong, []string{"WRONG\tblock 4\tluck"}, []string{"OK"}},
	} {
		var out bytes.Buffer
		err := (&purse{shell: &shell{out: &out}}).verified(c.found)
		var code exit
		if errors.As(err, &code); int(code) != c.code || c.code == 0 && err != nil {
			t.Errorf("%+v: %v", c.found, err)
		}
		text := strings.Join(strings.Fields(out.String()), " ")
		for _, word := range c.words {
			if !strings.Contains(text, strings.ReplaceAll(word, "\t", " ")) {
				t.Errorf("no %q in\n%s", word, out.String())
			}
		}
		for _, word := range c.absent {
			if strings.Contains(text, strings.ReplaceAll(word, "\t", " ")) {
				t.Errorf("%q in\n%s", word, out.String())
			}
		}
	}
}
