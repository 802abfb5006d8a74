package chain

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/test/e2e/pc"
)

// Bob has no HPIPS. He joins alice's network, has his node registered by her, and computes for her. A day of the chain later, as nobody else is there to look at his work, he holds what
// she paid, less the levy and the fees, and can spend three quarters of it, while the rest is his node's bond; when the day is over anybody can recompute it from the blocks.
func TestBobEarnsHisFirstHPIPS(t *testing.T) {
	t.Parallel()
	const tasks = 6
	program, err := pc.Program(filepath.Join("..", ".."), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	primes, err := pc.Guest(filepath.Join("..", ".."), t.TempDir(), "./examples/primes")
	if err != nil {
		t.Fatal(err)
	}
	alice := pc.New(t, program, "alice", "--dev", "--nodes", "1", "--no-provider")
	alice.Launch(t)
	l := window(t, alice.Home)
	bob := pc.New(t, program, "bob", "--join", alice.Address(t))
	bob.Up(t)
	window(t, bob.Home)
	var owner ledger.Account
	reads(t, bob.Must(t, "wallet", "new", "bob", "--keyring", "test", "-o", "json"), &owner)
	if b, err := l.Balance(t.Context(), owner.Address); err != nil || b.Balance != 0 {
		t.Fatalf("bob begins with %v, %v", b.Balance, err)
	}
	var last pc.Answer
	pc.Eventually(t, "bob is registered, and alice pays the fee", func() bool {
		last = bob.Hpips(t, "chain", "register")
		return last.Code == 0
	}, func() string { return last.Stderr })
	pc.Eventually(t, "bob sells", func() bool {
		last = alice.Hpips(t, "market", "offers", "-o", "json")
		var told struct{ Offers []struct{ Slots int } }
		return last.Code == 0 && json.Unmarshal([]byte(last.Stdout), &told) == nil && len(told.Offers) == 1 && told.Offers[0].Slots > 0
	}, func() string { return last.Stdout + last.Stderr })

	st := alice.Hpips(t, "map", primes, "--over", fmt.Sprintf("count:%d", tasks), "-o", "json", "--", "2000000000").Status(t)
	if st.State != job.Settled || st.Tasks.Done != tasks || len(st.Nodes) != 1 {
		t.Fatalf("the job: %+v", st)
	}
	began := time.Now()
	var cost job.Cost
	reads(t, alice.Must(t, "job", "cost", st.Job, "-o", "json"), &cost)
	if cost.Promised == 0 || cost.Promised > cost.Deposited || len(cost.Leases) != 1 || cost.Leases[0].Owner != owner.Address {
		t.Fatalf("the job cost %+v", cost)
	}
	rules, err := l.LeaseRules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var earned ledger.Earnings
	var want uint64 // on a busy machine the work is redeemed in several parts: each costs a fee, and its levy is rounded up
	var has ledger.Balance
	var bonded, whole uint64 // without what the fund paid him for the archive, on a busy machine
	pc.Eventually(t, "bob has nine tenths of what alice promised", func() bool {
		last = bob.Hpips(t, "share", "earnings", "-o", "json")
		if last.Code != 0 || json.Unmarshal([]byte(last.Stdout), &earned) != nil || len(earned.Redemptions) == 0 {
			return false
		}
		parts := uint64(len(earned.Redemptions))
		paid := cost.Promised - parts*rules.Fee
		want = paid - (paid+9)/10 - (parts - 1)
		has, err = l.Balance(t.Context(), owner.Address)
		bonded = heldOf(t, l, owner.Address)
		whole = uint64(has.Balance) + bonded
		for _, d := range earned.Days {
			for _, extra := range []string{d.Bonus, d.Duty} {
				if n, err := strconv.ParseUint(extra, 10, 64); err == nil && n <= whole {
					whole -= n
				}
			}
		}
		return err == nil && whole >= want && whole < want+parts
	}, func() string { return has.Balance.String() + last.Stdout + last.Stderr })
	parts := len(earned.Redemptions)
	if took := time.Since(began); took > 3*time.Minute { // on a network of two there is nobody to be a juror: after a day of one minute it is paid all the same
		t.Errorf("bob waited %v", took)
	}
	if whole >= want+uint64(parts) || bonded > whole/4 || bonded+uint64(parts) < whole/4 {
		t.Errorf("bob has %d uhpips and a bond of %d of %d promised, want %d and a quarter of it", has.Balance, bonded, cost.Promised, want)
	}
	pc.Eventually(t, "bob's node has seen it, too", func() bool {
		last = bob.Hpips(t, "share", "earnings", "-o", "json")
		return last.Code == 0 && json.Unmarshal([]byte(last.Stdout), &earned) == nil && len(earned.Bond.Assets) == 1 && earned.Bond.Assets[0].Held == strconv.FormatUint(bonded, 10)
	}, func() string { return last.Stdout + last.Stderr })
	if a := earned.Bond.Assets; len(a) != 1 || a[0].Held != strconv.FormatUint(bonded, 10) || a[0].Target != "10000000" || a[0].Counts != a[0].Held {
		t.Errorf("bob has %d uhpips, his bond is %+v, his account's bonds are %d", has.Balance, earned.Bond, bonded)
	}
	bob.Must(t, "wallet", "send", "--yes", "-o", "json", dev(t, alice.Home).Address(), "0.000001")
	goes(t, bob)

	if !slices.ContainsFunc(earned.Redemptions, func(r ledger.Redemption) bool { return r.Tx != "" && (parts > 1 || r.Usage.Tasks == tasks) }) {
		t.Errorf("bob's earnings: %+v", earned)
	}
	var day ledger.Day // the last on which bob was paid; on a busy machine there may be two
	var days []uint64
	var paid, kept uint64
	pc.Eventually(t, "the days on which bob was paid are closed", func() bool {
		if last = alice.Hpips(t, "chain", "day", "-o", "json"); last.Code != 0 {
			return false
		}
		var newest ledger.Day
		reads(t, strings.TrimSuffix(last.Stdout, "\n"), &newest)
		days, paid, kept = nil, 0, 0
		for n := range newest.Day + 1 {
			var d ledger.Day
			reads(t, alice.Must(t, "chain", "day", strconv.FormatUint(n, 10), "-o", "json"), &d)
			if d.Closed && d.Gross != "0" {
				p, err1 := strconv.ParseUint(d.Paid, 10, 64)
				h, err2 := strconv.ParseUint(d.Held, 10, 64)
				if err1 != nil || err2 != nil {
					t.Fatal(err1, err2)
				}
				day, days, paid, kept = d, append(days, n), paid+p, kept+h
			}
		}
		return paid >= whole
	}, func() string { return last.Stdout + last.Stderr })
	var v ledger.Settlement
	payments := 0
	for _, n := range days {
		reads(t, alice.Must(t, "chain", "settle-verify", "--day", strconv.FormatUint(n, 10), "-o", "json"), &v)
		if payments += v.Payments; !v.OK {
			t.Errorf("settled %+v", v)
		}
	}
	if payments != parts || paid != whole || kept != bonded {
		t.Errorf("bob was paid %d times, %d and of it %d as his bond; he has %d and %d, redeemed %d times", payments, paid, kept, whole, bonded, parts)
	}
	if want := []ledger.Pair{{Denom: money.Denom, Payer: dev(t, alice.Home).Address(), Payee: owner.Address, Nodes: 1, Amount: day.Gross, Share: 1}}; !reflect.DeepEqual(day.Pairs, want) {
		t.Errorf("the day's pairs are %+v, want %+v", day.Pairs, want)
	}
	if h := day.Holders; h == nil || h.Accounts < 2 || h.Circulating != day.Circulating || h.Height != day.Height-1 || h.Holders[0].Address != dev(t, alice.Home).Address() {
		t.Errorf("the day's largest holders are %+v", h)
	}
	if n := day.Networks; n == nil || n.Seats < 1 || len(n.Networks) != n.Seats || len(day.Notes) != 0 { // one of the two who draw for a seat has it, or both
		t.Errorf("the committee by network is %+v, the notes %q", n, day.Notes)
	}
	var wallet struct {
		Accounts []struct{ Spendable, Escrowed, Reward money.Amount }
	}
	reads(t, alice.Must(t, "wallet", "balances", "dev", "-o", "json"), &wallet)
	if len(wallet.Accounts) != 1 || wallet.Accounts[0].Spendable == 0 {
		t.Errorf("alice has %+v", wallet)
	}
	costlier(t, alice)
	var again ledger.Settlement
	reads(t, alice.Must(t, "chain", "settle-verify", "--day", strconv.FormatUint(day.Day, 10), "-o", "json"), &again)
	if !again.OK || !reflect.DeepEqual(again, v) {
		t.Errorf("after the fee rose the day is %+v, it was %+v", again, v)
	}
	// A person sees a price before the work, and what it cost after it.
	last = alice.Hpips(t, "map", primes, "--over", "count:4", "--", "1000000")
	if last.Code != 0 || !regexp.MustCompile(`(?s)price: about 0\.\d+ HPIPS for a minute of each task, and for juries up to twice that; at most .*paid: 0\.\d+ HPIPS`).MatchString(last.Stderr) {
		t.Errorf("exit %d: %s", last.Code, last.Stderr)
	}
}

// heldOf is what is held of the pay of an account's nodes, in uhpips.
func heldOf(t *testing.T, l *ledger.Ledger, owner string) (n uint64) {
	t.Helper()
	all, err := l.Bonds(t.Context(), owner)
	for _, c := range all {
		if c.Denom == money.Denom && err == nil {
			n, err = strconv.ParseUint(c.Amount, 10, 64)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// goes has bob ask for his bond, and think better of it.
func goes(t *testing.T, bob *pc.PC) {
	t.Helper()
	type told struct {
		Node, Standing string
		Bond           ledger.Bond
	}
	var before, left, status, stayed told
	reads(t, bob.Must(t, "share", "status", "-o", "json"), &before)
	if before.Standing != "active" || before.Bond.Leaves || before.Bond.Share != 0.25 || before.Bond.Seconds != 14*60 || len(before.Bond.Assets) != 1 {
		t.Errorf("before: %+v", before)
	}
	reads(t, bob.Must(t, "share", "leave", "--yes", "-o", "json"), &left)
	if left.Node != before.Node || !left.Bond.Leaves || left.Bond.Due == nil || left.Bond.Assets[0].Counts != "0" || left.Bond.Assets[0].Held != before.Bond.Assets[0].Held {
		t.Errorf("at his word: %+v", left)
	}
	if again := bob.Hpips(t, "share", "leave", "--yes"); again.Code != 125 || !strings.Contains(again.Stderr, "asked for already") {
		t.Errorf("twice: %+v", again)
	}
	reads(t, bob.Must(t, "share", "status", "-o", "json"), &status)
	if !reflect.DeepEqual(status.Bond.Due, left.Bond.Due) && status.Bond.Busy == "" {
		t.Errorf("a moment later: %+v", status)
	}
	if text := bob.Must(t, "share", "status"); !strings.Contains(text, "counts nothing while the node leaves") {
		t.Errorf("for people: %s", text)
	}
	reads(t, bob.Must(t, "share", "stay", "--yes", "-o", "json"), &stayed)
	if stayed.Bond.Leaves || stayed.Bond.Assets[0].Counts != before.Bond.Assets[0].Held {
		t.Errorf("after all: %+v", stayed)
	}
	var has struct {
		Accounts []struct{ Bonded money.Amount }
	}
	reads(t, bob.Must(t, "wallet", "balances", "bob", "-o", "json"), &has)
	if len(has.Accounts) != 1 || has.Accounts[0].Bonded.Base() != before.Bond.Assets[0].Held {
		t.Errorf("bob's wallet: %+v, the bond %+v", has, before.Bond)
	}
	if text := bob.Must(t, "share", "earnings"); !strings.Contains(text, "of 10.000000 HPIPS: 25 % of pay is held until it is whole; it returns 14m0s after hpips share leave") {
		t.Errorf("for people: %s", text)
	}
}

// costlier has a vote raise the fee of redemptions and the prices of duty.
func costlier(t *testing.T, alice *pc.PC) {
	t.Helper()
	words := filepath.Join(t.TempDir(), "dearer.json")
	if err := os.WriteFile(words, []byte(`[
		{"@type": "/hpips.escrow.v1.MsgUpdateParams",
			"params": {"grace_seconds": "60", "grace_blocks": "6", "longest_seconds": "86400", "redeem_fee": "300", "batch": 200, "least_deposit": "1000"}},
		{"@type": "/hpips.reward.v1.MsgUpdateParams",
			"params": {"bonus_day": "1000", "least_circulating": "1000000000000", "whole_circulating": "60000000000000", "seat_price": "1", "receipt_price": "1",
				"ticket_levy": "0", "ticket_days": 30, "batch": 500}}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	var put struct{ Proposal uint64 }
	reads(t, alice.Must(t, "gov", "propose", "--title", "Dearer", "--messages", words, "--from", "dev", "--yes", "-o", "json"), &put)
	id := strconv.FormatUint(put.Proposal, 10)
	alice.Must(t, "gov", "vote", id, "yes", "--from", "dev", "--yes")
	var last pc.Answer
	pc.Eventually(t, "the vote passes", func() bool {
		last = alice.Hpips(t, "gov", "show", id, "-o", "json")
		return strings.Contains(last.Stdout, `"status":"passed"`)
	}, func() string { return last.Stdout + last.Stderr })
}
