package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	abci "github.com/cometbft/cometbft/abci/types"

	"github.com/hpips/hpips/proto/gen/auditv1"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/voucher"
)

// judged is a fair on whose day 0 bob's first redemption waits for a jury and is paid on day 1, with the one behind it, and on whose day 1 dave's goes back to alice. A juror is paid by a
// transaction in block 15, another one by a verdict in block 16.
func judged(t *testing.T) (*fair, *Ledger) {
	t.Helper()
	f, l := newFair(t, "bob", "dave", "erin")
	f.balances[fairAddress("alice")], f.rooted = 3_000_000, true
	waits := map[uint64]bool{}
	f.juries = func(p fairPay) bool { return waits[p.sequence] }
	f.lost = func(p fairPay) bool { return p.lease.node == nodeHex("dave") }
	f.next(f.opens("one", "alice", "bob", money.Denom), f.opens("other", "alice", "dave", money.Denom), f.opens("jury", "alice", "erin", money.Denom))
	f.next(f.redeems("alice", "bob", 100_000, "one"))
	waits[f.row[0].sequence] = true
	f.next(f.redeems("alice", "bob", 20_000, "one"))
	f.until(11) // day 1
	f.next(f.redeems("alice", "dave", 7_000, "other"))
	waits[f.row[len(f.row)-1].sequence] = true
	f.until(13)
	clear(waits)
	f.until(14)
	f.next(func() { f.hires(true, 4_000) })
	f.next(func() { f.hires(false, 3_000) })
	f.until(22)
	return f, l
}

// hires pays erin as a juror, told by a transaction or by what falls due.
func (f *fair) hires(said bool, amount uint64) {
	var jury *fairLease
	for _, l := range f.leases {
		if l.node == nodeHex("erin") {
			jury = l
		}
	}
	b := &f.blocks[len(f.blocks)-1]
	before := b.events
	b.events = nil
	f.final(fairPay{lease: jury, amount: amount})
	told := b.events[:len(b.events)-1] // it is no redemption's
	told = append(told, fairEvent("hpips_juror_paid", "lease", hex.EncodeToString(jury.id[:]), "node", jury.node, "payer", jury.payer, "payee", jury.payee, "amount", coin(amount, money.Denom)))
	if b.events = before; said {
		f.send(&auditv1.MsgAttest{Sender: fairAddress("bob")}, told...)
		return
	}
	b.events = append(slices.Clone(told), before...)
}

// What juries held up is paid later, what a convicted node redeemed goes back, jurors are paid: each day is settled, and says what it took from the chain's word.
func TestADayWithJuriesIsSettled(t *testing.T) {
	f, l := judged(t)
	for day, payments := range []int{0, 4} {
		got, err := settle(t, l, uint64(day))
		if err != nil || !got.OK || got.Payments != payments {
			t.Errorf("day %d: %+v, %v", day, got, err)
		}
		if said := slices.Contains(got.NotReckoned, juriesKnow); said != (day == 1) {
			t.Errorf("day %d: juries had a say: %t", day, said)
		}
	}
	f.kept = 22 // the chain has forgotten who was looked at
	if got, err := settle(t, l, 1); err != nil || !got.OK {
		t.Errorf("with little state: %+v, %v", got, err)
	}
}

func TestAForgedJuryIsNamed(t *testing.T) {
	for what, c := range map[string]struct {
		forge  func(*fair)
		differ string
	}{
		"what went back is less": {func(f *fair) { spoil(f, 14, "hpips_forfeited", 0, "amount", "6799uhpips") }, "6799uhpips went back"},
		"it went elsewhere":      {func(f *fair) { spoil(f, 14, "hpips_forfeited", 0, "payer", fairAddress("mallory")) }, "went back to"},
		"a juror's levy":         {func(f *fair) { spoil(f, 16, "hpips_paid", 0, "levied", "1uhpips") }, "is shared out as"},
		"a juror's coins":        {func(f *fair) { spoil(f, 16, "transfer", 1, "recipient", fairAddress("mallory")) }, "a juror of lease"},
		"another juror":          {func(f *fair) { spoil(f, 16, "hpips_juror_paid", 0, "node", nodeHex("bob")) }, "a juror of lease"},
		"in a transaction": {func(f *fair) {
			for _, tx := range f.txs {
				for i, e := range tx.TxResult.Events {
					if e.Type == "hpips_juror_paid" {
						tx.TxResult.Events[i].Attributes = slices.Clone(e.Attributes)
						tx.TxResult.Events[i].Attributes[4] = abci.EventAttribute{Key: "amount", Value: "4001uhpips"}
					}
				}
			}
		}, "a juror of lease"},
	} {
		f, l := judged(t)
		c.forge(f)
		if got, err := settle(t, l, 1); err != nil || got.OK || !strings.Contains(got.Differs, c.differ) {
			t.Errorf("%s: %+v, %v; want %q", what, got, err, c.differ)
		}
	}
}

// A lease that is buried still tells what its jurors cost, whoever paid them: a transaction or a verdict.
func TestABuriedLeaseTellsItsJurors(t *testing.T) {
	_, l := judged(t)
	for name, want := range map[string]uint64{"jury": 7_000, "one": 0} {
		terms := sha256.Sum256([]byte(name))
		if got, err := l.JuryPay(t.Context(), voucher.LeaseID(fairAddress("alice"), terms)); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", name, got, err, want)
		}
	}
}
