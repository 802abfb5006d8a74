package chaos

import (
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	_ "modernc.org/sqlite" // the database/sql driver "sqlite"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/voucher"
	"github.com/hpips/hpips/test/e2e/pc"
	"github.com/hpips/hpips/test/e2e/receipts"
)

// Alice pays for her jobs by real deposits. Her PC, those of the providers and those that only hold seats of the chain lose their power at any moment, one
// after the other. In the end each job has its result, and every promise that was on a disk, hers or a provider's, is redeemed, once.
//
//  1. bob and carol sell and hold a seat, dave sells, erin and frank hold a seat alone: one of four seats may be away and the chain goes on.
//  2. Whoever is killed leaves its books on the disk: what they hold of vouchers is noted before it is started again (ledgers).
//  3. When all is over, the chain's blocks, alice's journal, the providers' earnings and their books have to tell the same (audit).
//
// It runs alone: jobs stand behind all else on a PC, and beside five villages the first one took 98 s where it takes 13.
func TestSoakPaidJobsAreKilled(t *testing.T) {
	sellers := []string{"bob", "carol", "dave"}
	v := newVillage(t, plan{names: []string{"erin", "frank", "bob", "carol", "dave", "alice"}, seats: 4, payers: 1, tune: lasting(4),
		trade: trade{known: 5, sells: sellers, buys: "alice", keeps: "erin", day: time.Duration(counted(40, 60)) * time.Second}})
	chain, folk, alice := v.folk[:2], v.folk[2:5], v.folk[5]
	v.start()
	v.goesOn(2, v.folk...)
	v.sell(alice, len(sellers))
	w := &town{t: t, rng: v.rng, alice: alice.PC, steps: "30000"}

	b := &ledgers{v: v, promised: map[string]uint64{}, kept: map[string]uint64{}}
	var n tally
	jobs := []string{w.undisturbed()}
	began, kills, killed := time.Now(), counted(6, 100), map[string]int{}
	for n.faults < kills {
		id := w.submit()
		jobs = append(jobs, id)
		for n.faults < kills {
			w.pause(2 * time.Second)
			if st, ok := w.status(id); ok && st.State.Final() {
				break
			}
			role, c := "requester", alice
			switch v.rng.IntN(3) {
			case 1:
				role, c = "provider", folk[v.rng.IntN(len(folk))]
			case 2:
				role, c = "chain node", chain[v.rng.IntN(len(chain))]
			}
			c.Kill(t)
			n.faults++
			killed[role]++
			b.look(c)
			w.pause(1500 * time.Millisecond)
			v.revive(c)
		}
		n.add(t, w, id)
	}
	a := b.audit(alice, folk, jobs)
	n.tell(t, fmt.Sprintf("kills (%v) of paid jobs", killed), began)
	t.Logf("%d leases, %d of them redeemed in %d parts: %d uhpips deposited, %d promised, %d redeemed (%d in fees), %d paid, %d levied, %d returned; %d are promised and not worth their fee",
		a.leases, a.used, a.parts, a.deposit, a.promised, a.redeemed, a.fees, a.paid, a.levied, a.returned, a.left)
	t.Logf("%d vouchers seen in the books of the killed, none lost", b.seen)
}

// sell waits until so many sell, and alice may pay.
func (v *village) sell(alice *citizen, sellers int) {
	v.t.Helper()
	var last pc.Answer
	pc.Eventually(v.t, "all sell, and alice may pay", func() bool {
		if _, err := os.Stat(filepath.Join(alice.Home, "chain", "payer")); err != nil {
			return false
		}
		last = alice.Hpips(v.t, "market", "offers", "-o", "json")
		var told struct{ Offers []struct{ Slots int } }
		return last.Code == 0 && json.Unmarshal([]byte(last.Stdout), &told) == nil && len(told.Offers) == sellers
	}, func() string { return last.Stdout + last.Stderr + alice.Log(10) })
}

// revive starts who was killed, and waits until it answers; one with a seat is to be at the head before the next is killed.
func (v *village) revive(c *citizen) {
	v.t.Helper()
	if c.Name == "alice" || c.Name == "dave" {
		c.start()
		c.Await(v.t, "answers", func(client.Status) bool { return true })
		return
	}
	v.returns(c, slices.DeleteFunc(slices.Clone(v.folk), func(o *citizen) bool { return o == c }))
}

// ledgers is what was seen on the disks of those who were killed.
type ledgers struct {
	v        *village
	promised map[string]uint64 // by lease: the highest voucher in the requester's journal
	kept     map[string]uint64 // and in a provider's book
	seen     int
}

// look notes the vouchers on the disk of a PC that does not run.
func (b *ledgers) look(c *citizen) {
	b.v.t.Helper()
	switch {
	case c.Name == b.v.trade.buys:
		b.rows(c, "node.db", `SELECT lease, voucher FROM purse WHERE voucher IS NOT NULL`, b.promised, func(text []byte) (voucher.Voucher, error) {
			var s voucher.Signed
			err := canon.Decode(text, 2*voucher.MaxVoucher, &s)
			return s.Voucher, err
		})
	case slices.Contains(b.v.trade.sells, c.Name):
		b.rows(c, "pay.db", `SELECT name, voucher FROM lease WHERE voucher IS NOT NULL`, b.kept, voucher.Parse)
	}
}

// rows reads leases and vouchers from a copy of a database, so that its owner finds it as it was left.
func (b *ledgers) rows(c *citizen, name, query string, into map[string]uint64, parse func([]byte) (voucher.Voucher, error)) {
	t := b.v.t
	t.Helper()
	to := filepath.Join(t.TempDir(), name)
	for _, end := range []string{"", "-wal"} {
		if err := copied(to+end, filepath.Join(c.Home, name+end)); err != nil {
			t.Fatal(err)
		}
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: to}).EscapedPath())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatalf("%s of %s: %v", name, c.Name, err)
	}
	defer rows.Close()
	for rows.Next() {
		var lease string
		var text []byte
		err := rows.Scan(&lease, &text)
		var s voucher.Voucher
		if err == nil {
			s, err = parse(text)
		}
		if err != nil {
			t.Fatalf("%s of %s: %v", name, c.Name, err)
		}
		if s.Amount < into[lease] {
			t.Errorf("%s of %s has a voucher of %d for lease %s, and had one of %d", name, c.Name, s.Amount, lease, into[lease])
		}
		into[lease] = max(into[lease], s.Amount)
		b.seen++
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

// copied copies a file; one that is not there is none.
func copied(to, from string) error {
	in, err := os.Open(from)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}

// audited is what an audit found, in uhpips.
type audited struct {
	leases, used, parts                                                    int
	deposit, promised, redeemed, fees, letGo, paid, levied, returned, left uint64
}

// audit waits until all leases are over, and compares what all books say.
func (b *ledgers) audit(alice *citizen, sellers []*citizen, jobs []string) (a audited) {
	v, t := b.v, b.v.t
	t.Helper()
	payer := v.payers[0].Address()
	costs := b.costs(alice, jobs)
	keeper := v.folk[slices.IndexFunc(v.folk, func(c *citizen) bool { return c.Name == v.trade.keeps })]
	rpc, window := keeper.through()
	var open []ledger.Lease
	pc.Eventually(t, "all leases are over", func() (over bool) {
		var err error
		open, err = window.Leases(t.Context(), payer, nil)
		return err == nil && len(open) == 0
	}, func() string { return fmt.Sprintf("%+v", open) })
	rules, err := window.LeaseRules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	book, err := receipts.Read(t.Context(), rpc, 1, keeper.height())
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for id, c := range costs {
		key := keyOf(t, payer, id)
		known[key] = true
		if cost, err := voucher.Cost(c.Rates, c.Usage); err != nil || c.Promised != min(cost, c.Deposited) {
			t.Errorf("lease %s: %d are promised for work of %d, %v", id, c.Promised, cost, err)
		}
		if c.Promised < b.promised[id] || c.Promised < b.kept[id] {
			t.Errorf("lease %s: %d are promised; %d were in the journal and %d in the provider's book", id, c.Promised, b.promised[id], b.kept[id])
		}
		l := book.Leases[key]
		if l == nil {
			if c.Promised > 0 {
				t.Errorf("lease %s: %d are promised, and there is no deposit", id, c.Promised)
			}
			continue
		}
		a.add(*l)
		a.promised += c.Promised
		b.check(id, c, *l, rules.Fee)
		if l.Redeemed < c.Promised {
			a.left += c.Promised - l.Redeemed
		}
	}
	for id := range b.kept {
		if _, ok := costs[id]; !ok && b.kept[id] > 0 {
			t.Errorf("lease %s is in a provider's book and not in the journal", id)
		}
	}
	for key, l := range book.Leases {
		switch {
		case known[key]:
		case l.Redeemed == 0: // nothing was promised for it, so it cost nothing and is not listed
			a.add(*l)
		default:
			t.Errorf("lease %s is on the chain and not in the journal: %+v", key, *l)
		}
	}
	b.verify(keeper, sellers, book, a)
	return a
}

// costs is what alice's journal says of the leases of all jobs, once she has told the chain of the end of all.
func (b *ledgers) costs(alice *citizen, jobs []string) map[string]job.LeaseCost {
	t := b.v.t
	t.Helper()
	all := map[string]job.LeaseCost{}
	for _, id := range jobs {
		var cost job.Cost
		pc.Eventually(t, "the leases of job "+id+" are closed", func() bool {
			cost = job.Cost{}
			if err := json.Unmarshal([]byte(alice.Must(t, "job", "cost", id, "-o", "json")), &cost); err != nil {
				t.Fatal(err)
			}
			return !slices.ContainsFunc(cost.Leases, func(l job.LeaseCost) bool { return !l.Closed })
		}, func() string { return fmt.Sprintf("%+v", cost) })
		st, err := alice.API(t).Job(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		var done uint64
		for _, l := range cost.Leases {
			all[l.Lease] = l
			done += l.Usage.Tasks
		}
		if done < uint64(st.Tasks.Done) { // more are copies that came too late; what a provider did not do it does not take pay for
			t.Errorf("job %s pays for %d results; %d tasks were done", id, done, st.Tasks.Done)
		}
	}
	return all
}

// check compares one lease on the chain with what was promised for it.
func (b *ledgers) check(id string, c job.LeaseCost, l receipts.Lease, fee uint64) {
	t := b.v.t
	t.Helper()
	switch {
	case l.Opened != 1 || l.Closed != 1 || l.Over != 1:
		t.Errorf("lease %s: opened, closed and over %d, %d and %d times", id, l.Opened, l.Closed, l.Over)
	case l.Redeemed > l.Deposit || l.Redeemed+l.LetGo+l.Returned != l.Deposit || l.Final != l.Net || l.Paid+l.Levied != l.Final:
		t.Errorf("lease %s: %+v", id, l)
	case l.Redeemed > c.Promised:
		t.Errorf("lease %s: %d are redeemed of %d that were promised", id, l.Redeemed, c.Promised)
	case l.Redeemed+fee < c.Promised: // what is left is worth more than its fee
		p := b.v.called(c.Node)
		t.Errorf("lease %s of %s: %d are redeemed of %d that were promised; its book had %d when it was killed\n%+v\n%s", id, p.Name, l.Redeemed, c.Promised, b.kept[id], l, p.Log(60))
	}
}

// called is the PC of a node.
func (v *village) called(node string) *citizen {
	v.t.Helper()
	i := slices.IndexFunc(v.folk, func(c *citizen) bool { return ledger.NodeText(c.node()) == node })
	if i < 0 {
		v.t.Fatalf("nobody has node %s", node)
	}
	return v.folk[i]
}

// verify compares the sums with balances and earnings, and has the blocks and every day checked by the commands for that.
func (b *ledgers) verify(keeper *citizen, sellers []*citizen, book *receipts.Book, a audited) {
	v, t := b.v, b.v.t
	t.Helper()
	_, window := keeper.through()
	balance, err := window.Balance(t.Context(), v.payers[0].Address())
	if want := 1000*money.Scale - a.redeemed - a.letGo - book.Fees[v.payers[0].Address()]; err != nil || uint64(balance.Balance) != want {
		t.Errorf("alice's account holds %d, want %d, %v", balance.Balance, want, err)
	}
	var earned uint64
	for _, c := range sellers {
		var e ledger.Earnings
		if err := json.Unmarshal([]byte(c.Must(t, "share", "earnings", "--days", "366", "-o", "json")), &e); err != nil {
			t.Fatal(err)
		}
		for _, r := range e.Redemptions {
			n, err := strconv.ParseUint(r.Amount, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			earned += n
		}
	}
	if earned != a.redeemed {
		t.Errorf("the providers say that they redeemed %d, the blocks %d", earned, a.redeemed)
	}
	payments, last := 0, ledger.Day{}
	pc.Eventually(t, "the days of all payments are closed", func() bool {
		payments = 0
		if last, err = window.LastDay(t.Context()); err != nil {
			return false
		}
		for n := range last.Day + 1 {
			var s ledger.Settlement
			got := keeper.Hpips(t, "chain", "settle-verify", "--day", strconv.FormatUint(n, 10), "-o", "json")
			if got.Code == 0 && json.Unmarshal([]byte(got.Stdout), &s) == nil && s.OK {
				payments += s.Payments
				continue
			}
			if _, err := window.Day(t.Context(), n); !ledger.IsNotFound(err) {
				t.Fatalf("day %d: %s%s", n, got.Stdout, got.Stderr)
			}
		}
		return payments == a.parts
	}, func() string {
		return fmt.Sprintf("%d payments up to day %d, and there were %d redemptions", payments, last.Day, a.parts)
	})
	var seen ledger.Verified
	if err := json.Unmarshal([]byte(keeper.Must(t, "chain", "verify", "-o", "json")), &seen); err != nil || !seen.OK || seen.Supply != money.Total {
		t.Errorf("chain verify: %+v, %v", seen, err)
	}
}

func (a *audited) add(l receipts.Lease) {
	a.leases++
	if len(l.Redemptions) > 0 {
		a.used++
	}
	a.parts += len(l.Redemptions)
	a.deposit, a.redeemed, a.fees, a.letGo, a.paid, a.levied, a.returned = a.deposit+l.Deposit, a.redeemed+l.Redeemed, a.fees+l.Fees, a.letGo+l.LetGo, a.paid+l.Paid, a.levied+l.Levied, a.returned+l.Returned
}

// keyOf is a payer's lease as the chain calls it, in hex.
func keyOf(t *testing.T, payer, id string) string {
	t.Helper()
	c, err := cid.Decode(id)
	if err != nil {
		t.Fatal(err)
	}
	h, err := multihash.Decode(c.Hash())
	if err != nil {
		t.Fatal(err)
	}
	key := voucher.LeaseID(payer, [32]byte(h.Digest))
	return hex.EncodeToString(key[:])
}
