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

// Bob has no HPIPS. He joins alice's network, has his node registered by her, and computes for her. Within a minute of that he holds what she paid, less the
// levy and the fees, and can spend it; when the day is over anybody can recompute it from the blocks.
func TestBobEarnsHisFirstHPIPS(t *testing.T) {
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

	st := alice.Hpips(t, "map", primes, "--over", "count:16", "-o", "json", "--", "2000000000").Status(t)
	if st.State != job.Settled || st.Tasks.Done != 16 || len(st.Nodes) != 1 {
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
	pc.Eventually(t, "bob has nine tenths of what alice promised", func() bool {
		last = bob.Hpips(t, "share", "earnings", "-o", "json")
		if last.Code != 0 || json.Unmarshal([]byte(last.Stdout), &earned) != nil || len(earned.Redemptions) == 0 {
			return false
		}
		parts := uint64(len(earned.Redemptions))
		paid := cost.Promised - parts*rules.Fee
		want = paid - (paid+9)/10 - (parts - 1)
		has, err = l.Balance(t.Context(), owner.Address)
		return err == nil && uint64(has.Balance) >= want
	}, func() string { return has.Balance.String() + last.Stdout + last.Stderr })
	parts := len(earned.Redemptions)
	if took := time.Since(began); took > time.Minute {
		t.Errorf("bob waited %v", took)
	}
	if uint64(has.Balance) >= want+uint64(parts) {
		t.Errorf("bob has %d uhpips of %d promised, want %d", has.Balance, cost.Promised, want)
	}
	bob.Must(t, "wallet", "send", "--yes", "-o", "json", dev(t, alice.Home).Address(), "0.000001")

	if !slices.ContainsFunc(earned.Redemptions, func(r ledger.Redemption) bool { return r.Tx != "" && (parts > 1 || r.Usage.Tasks == 16) }) {
		t.Errorf("bob's earnings: %+v", earned)
	}
	var day ledger.Day // the last one in which bob earned: work that is redeemed in parts may be paid on two
	var paid, payments int
	pc.Eventually(t, "the days are closed in which bob earned", func() bool {
		paid, payments = 0, 0
		var newest ledger.Day
		if last = alice.Hpips(t, "chain", "day", "-o", "json"); last.Code != 0 || json.Unmarshal([]byte(last.Stdout), &newest) != nil {
			return false
		}
		for n := range newest.Day + 1 {
			var one ledger.Day
			number := strconv.FormatUint(n, 10)
			if last = alice.Hpips(t, "chain", "day", number, "-o", "json"); last.Code != 0 || json.Unmarshal([]byte(last.Stdout), &one) != nil || one.Gross == "0" {
				continue
			}
			var v ledger.Settlement
			reads(t, alice.Must(t, "chain", "settle-verify", "--day", number, "-o", "json"), &v)
			sum, err := strconv.Atoi(one.Paid)
			if err != nil || !v.OK {
				t.Errorf("day %d: settled %+v, paid %q", n, v, one.Paid)
			}
			day, paid, payments = one, paid+sum, payments+v.Payments
		}
		return strconv.Itoa(paid) == has.Balance.Base()
	}, func() string { return fmt.Sprintf("%d paid; %s%s", paid, last.Stdout, last.Stderr) })
	if payments != parts {
		t.Errorf("%d payments, bob's earnings have %d", payments, parts)
	}
	var v ledger.Settlement
	reads(t, alice.Must(t, "chain", "settle-verify", "--day", strconv.FormatUint(day.Day, 10), "-o", "json"), &v)
	if want := []ledger.Pair{{Denom: money.Denom, Payer: dev(t, alice.Home).Address(), Payee: owner.Address, Nodes: 1, Amount: day.Gross, Share: 1}}; !reflect.DeepEqual(day.Pairs, want) {
		t.Errorf("the day's pairs are %+v, want %+v", day.Pairs, want)
	}
	if h := day.Holders; h == nil || h.Accounts < 2 || h.Circulating != day.Circulating || h.Height != day.Height-1 || h.Holders[0].Address != dev(t, alice.Home).Address() {
		t.Errorf("the day's largest holders are %+v", h)
	}
	if n := day.Networks; n == nil || n.Seats != 1 || len(n.Networks) != 1 || len(day.Notes) != 0 {
		t.Errorf("the committee by network is %+v, the notes %q", n, day.Notes)
	}
	var held struct {
		Accounts []struct{ Spendable, Escrowed, Reward money.Amount }
	}
	reads(t, alice.Must(t, "wallet", "balances", "dev", "-o", "json"), &held)
	if len(held.Accounts) != 1 || held.Accounts[0].Spendable == 0 {
		t.Errorf("alice has %+v", held)
	}
	costlier(t, alice)
	var again ledger.Settlement
	reads(t, alice.Must(t, "chain", "settle-verify", "--day", strconv.FormatUint(day.Day, 10), "-o", "json"), &again)
	if !again.OK || !reflect.DeepEqual(again, v) {
		t.Errorf("after the fee rose the day is %+v, it was %+v", again, v)
	}
	// A person sees a price before the work, and what it cost after it.
	last = alice.Hpips(t, "map", primes, "--over", "count:4", "--", "1000000")
	if last.Code != 0 || !regexp.MustCompile(`(?s)price: likely 0\.\d+ HPIPS, at most .*paid: 0\.\d+ HPIPS`).MatchString(last.Stderr) {
		t.Errorf("exit %d: %s", last.Code, last.Stderr)
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
