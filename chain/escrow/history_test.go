package escrow

import (
	"maps"
	"slices"
	"testing"
	"time"

	"cosmossdk.io/math"
	"pgregory.net/rapid"

	"github.com/hpips/hpips/proto/gen/escrowv1"
)

// history is what a bookkeeper beside the chain writes down, by rules of his own.
type history struct {
	*town
	leases map[uint64]*entry
	number uint64            // of the last lease that somebody tried to open
	owed   map[string][]owed // what waits to be final, by node, in the order in which it was redeemed
	used   map[string]int64  // redeemed of leases whose number came again when they were forgotten, by denomination
	done   map[string]int    // how often something was done, and not only tried
	looked bool              // somebody looked at results
}

type entry struct {
	node, denom       string
	deposit, redeemed int64
	until             int64
	letGo             bool
}

type owed struct {
	lease  uint64
	amount int64
	bare   bool // nothing: the lease is let go
}

// Whatever people do, in whatever order, with restarts in between: every unit is where the books say, nobody has less than nothing, pay becomes
// final in the order redeemed, and at the end all that was deposited was redeemed by a voucher or has returned.
func TestEveryUnitIsAccountedFor(t *testing.T) {
	done := map[string]int{}
	rapid.Check(t, func(r *rapid.T) {
		h := &history{town: founded(r), leases: map[uint64]*entry{}, owed: map[string][]owed{}, used: map[string]int64{}, done: done}
		h.rules(func(p *escrowv1.Params) { *p = Development(); p.Batch = 3 })
		h.begins()
		r.Repeat(map[string]func(*rapid.T){
			"":        func(*rapid.T) { h.check() },
			"open":    h.opens,
			"opens":   h.opens,
			"top up":  h.topsUp,
			"close":   h.closes,
			"redeem":  h.redeems,
			"and":     h.redeems,
			"block":   func(r *rapid.T) { h.block(time.Duration(rapid.IntRange(0, 40).Draw(r, "seconds")) * time.Second) },
			"halt":    func(r *rapid.T) { h.block(time.Duration(rapid.IntRange(0, 30).Draw(r, "hours")) * time.Hour) },
			"restart": func(*rapid.T) { h.restart() },
			"audit": func(r *rapid.T) {
				h.audits[rapid.Uint64Range(1, 12).Draw(r, "sequence")] = rapid.Bool().Draw(r, "open")
			},
			"jury":   func(r *rapid.T) { h.asked = seldom(r); h.looked = h.looked || h.asked },
			"breach": func(r *rapid.T) { h.resting = seldom(r) },
			"refuse": func(r *rapid.T) { h.refused[bob.address()] = seldom(r) },
		})
		h.end()
	})
	for _, what := range []string{"opened", "topped up", "closed", "redeemed", "final", "silver redeemed", "let go", "let go unused"} {
		if done[what] == 0 {
			t.Errorf("nothing was ever %s", what)
		}
	}
	t.Log(done)
}

// seldom is less than one in eight: numbers that are drawn tend to be small.
func seldom(r *rapid.T) bool { return rapid.IntRange(0, 7).Draw(r, "seldom") == 7 }

// any is the number of some lease, perhaps of none.
func (h *history) any(r *rapid.T) uint64 {
	n := rapid.Uint64Range(1, h.number+1).Draw(r, "lease")
	for i := range uint64(len(payers)) {
		if h.leases[i<<32|n] != nil {
			return i<<32 | n
		}
	}
	return n
}

// did counts what went well.
func (h *history) did(what string, err error) bool {
	if err == nil {
		h.done[what]++
	}
	return err == nil
}

// begins lets alice open one lease of each kind.
func (h *history) begins() {
	for _, who := range []people{bob, dave} {
		for _, denom := range []string{Denom, silver} {
			h.number++
			d := h.deposit(h.number, 100_000)
			d.Node, d.Denom = who.id(), denom
			h.must(h.town.open(alice, d))
			h.leases[h.number] = &entry{node: string(d.Node), denom: d.Denom, deposit: d.Amount.Int64(), until: d.Until}
		}
	}
}

func (h *history) opens(r *rapid.T) {
	payer := rapid.SampledFrom([]uint64{0, 1, 0, 1, 2}).Draw(r, "payer")
	who := payers[payer]
	var all []escrowv1.Deposit
	var numbers []uint64
	for range rapid.IntRange(1, 4).Draw(r, "deposits") {
		h.number++
		n := h.number
		if seldom(r) {
			n = h.any(r) // perhaps one that was opened before, or another's terms
		}
		n = payer<<32 | uint64(uint32(n))
		d := h.deposit(n, rapid.Int64Range(1000, 3*hpips).Draw(r, "amount"))
		d.Until = h.now() + rapid.Int64Range(1, day).Draw(r, "until")
		d.Denom = rapid.SampledFrom([]string{Denom, Denom, silver}).Draw(r, "denom")
		d.Node = rapid.SampledFrom([]people{bob, dave}).Draw(r, "node").id()
		if seldom(r) {
			rapid.SampledFrom([]func(){
				func() { d.Amount = math.NewInt(rapid.Int64Range(-1, 999).Draw(r, "dust")) }, func() { d.Denom = tin },
				func() { d.Node = carol.id() }, func() { d.Until = h.now() },
			}).Draw(r, "wrong")()
		}
		all, numbers = append(all, d), append(numbers, n)
	}
	if !h.did("opened", h.town.open(who, all...)) {
		return
	}
	for i, d := range all {
		if e := h.leases[numbers[i]]; e != nil {
			if h.now() < e.until+day {
				h.t.Fatalf("lease %d was opened again, %d seconds after its end", numbers[i], h.now()-e.until)
			}
			h.used[e.denom] += e.redeemed
		}
		h.leases[numbers[i]] = &entry{node: string(d.Node), denom: d.Denom, deposit: d.Amount.Int64(), until: d.Until}
	}
}

func (h *history) topsUp(r *rapid.T) {
	n, amount := h.any(r), rapid.Int64Range(-1, 2*hpips).Draw(r, "amount")
	id, denom := lease(n), Denom
	if e := h.leases[n]; e != nil {
		denom = e.denom
	}
	a := escrowv1.Addition{Lease: id[:], Denom: denom, Amount: math.NewInt(amount), Until: h.now() + rapid.Int64Range(0, day).Draw(r, "until")}
	if h.did("topped up", h.topUp(rapid.SampledFrom([]people{alice, carol}).Draw(r, "payer"), a)) {
		if h.leases[n].letGo {
			h.t.Fatalf("lease %d was topped up after its node let go of it", n)
		}
		h.leases[n].deposit += amount
		h.leases[n].until = max(h.leases[n].until, a.Until)
	}
}

func (h *history) closes(r *rapid.T) {
	h.did("closed", h.close(rapid.SampledFrom([]people{alice, bob, carol, dave}).Draw(r, "who"), h.any(r)))
}

// redeems brings forward vouchers of alice's, mostly good ones, for one node, which lets go of some leases with them or without.
func (h *history) redeems(r *rapid.T) {
	who := rapid.SampledFrom([]people{bob, dave}).Draw(r, "node")
	mine := slices.DeleteFunc(slices.Sorted(maps.Keys(h.leases)), func(n uint64) bool { return h.leases[n].node != string(who.id()) })
	if len(mine) == 0 || seldom(r) {
		mine = append(mine, h.any(r))
	}
	var claims []escrowv1.Claim
	var parts []owed
	lasts := map[uint64]bool{}
	for _, n := range rapid.SliceOfNDistinct(rapid.SampledFrom(mine), 1, min(len(mine), 4), rapid.ID).Draw(r, "claims") {
		amount := rapid.Int64Range(0, 6*hpips).Draw(r, "amount")
		if e := h.leases[n]; e != nil && e.redeemed < e.deposit && !seldom(r) {
			amount = rapid.Int64Range(e.redeemed+1, e.deposit).Draw(r, "good")
		}
		switch rapid.SampledFrom([]string{"pay", "pay", "pay", "last", "unused"}).Draw(r, "word") {
		case "unused":
			claims, parts = append(claims, unused(n)), append(parts, owed{n, 0, true})
			lasts[n] = true
			continue
		case "last":
			lasts[n] = true
		}
		c := promise(r, n, uint64(amount))
		c.Last = lasts[n]
		claims, parts = append(claims, c), append(parts, owed{n, amount, false})
	}
	if !h.did("redeemed", h.redeem(who, claims...)) {
		return
	}
	for i, p := range parts {
		e := h.leases[p.lease]
		if e != nil && e.letGo {
			h.t.Fatalf("redeemed %+v after its node let go of it", e)
		}
		if e != nil {
			e.letGo = lasts[p.lease]
		}
		if p.bare && e != nil {
			h.done["let go unused"]++
			continue
		}
		if lasts[p.lease] {
			h.done["let go"]++
		}
		if e == nil || p.amount <= e.redeemed || p.amount > e.deposit || e.node != string(who.id()) {
			h.t.Fatalf("redeemed %d of %+v", p.amount, e)
		}
		parts[i].amount, e.redeemed = p.amount-e.redeemed, p.amount
		if e.denom == silver {
			h.done["silver redeemed"]++
		}
	}
	parts = slices.DeleteFunc(h.lessFees(parts), func(o owed) bool { return o.bare })
	h.owed[string(who.id())] = append(h.owed[string(who.id())], parts...)
}

// lessFees takes 200 for each part: from each in HPIPS its own, which of a lease that is let go unused is what would return, and what is then lacking from the
// first that have more.
func (h *history) lessFees(parts []owed) []owed {
	lacking := int64(0)
	for i, p := range parts {
		if h.leases[p.lease].denom != Denom {
			lacking += 200
			continue
		}
		if e := h.leases[p.lease]; p.bare {
			part := min(200, e.deposit-e.redeemed)
			e.redeemed, lacking = e.redeemed+part, lacking+200-part
			continue
		}
		parts[i].amount = max(0, p.amount-200)
		lacking += 200 - (p.amount - parts[i].amount)
	}
	for i, p := range parts {
		if h.leases[p.lease].denom == Denom {
			parts[i].amount -= min(p.amount, lacking)
			lacking -= p.amount - parts[i].amount
		}
	}
	if lacking > 0 {
		h.t.Fatalf("%d of the fee was not there", lacking)
	}
	return parts
}

func (h *history) check() {
	h.sound()
	for _, f := range h.finals { // what the fee took whole is no payment
		row := h.owed[string(f.Node)]
		row = row[slices.IndexFunc(row, func(o owed) bool { return o.amount > 0 }):]
		if id := lease(row[0].lease); string(id[:]) != string(f.Lease) || f.Amount.Int64() != row[0].amount {
			h.t.Fatalf("final %s of %x, the next of this node is %+v", f.Amount, f.Lease, row[0])
		}
		h.owed[string(f.Node)] = row[1:]
		h.done["final"]++
	}
	h.finals = nil
	for n, e := range h.leases {
		if !e.letGo {
			continue
		}
		l, known := h.lease(n)
		if known && (!l.LetGo || l.Phase == escrowv1.PHASE_OPEN || l.Phase == escrowv1.PHASE_CLOSING && l.Pending == 0 && !h.looked) {
			h.t.Fatalf("lease %d was let go and has nothing to wait for: %+v", n, l)
		}
	}
	for _, denom := range []string{Denom, silver, tin} {
		sum, want := int64(0), int64(2*hpips)
		if denom == Denom {
			want = 2000 * hpips
		}
		for _, p := range []people{alice, bob, carol, dave} {
			sum += h.has(p, denom)
		}
		for _, name := range []string{Name, levy, "fee_collector"} {
			sum += h.holds(name, denom)
		}
		if sum != want {
			h.t.Fatalf("%d%s are there, want %d", sum, denom, want)
		}
	}
}

// end lets everything run out.
func (h *history) end() {
	h.resting, h.asked = false, false
	clear(h.audits)
	clear(h.refused)
	h.blocks(2, 2*24*time.Hour)
	for range 20 + 2*len(h.leases) {
		h.block(time.Minute)
		h.check()
	}
	for _, n := range slices.Sorted(maps.Keys(h.leases)) {
		if _, known := h.lease(n); known {
			h.t.Fatalf("lease %d is still there", n)
		}
		h.used[h.leases[n].denom] += h.leases[n].redeemed
	}
	for _, denom := range []string{Denom, silver} {
		got, err := h.keeper.Totals(h.ctx, denom)
		h.must(err)
		if sum := got.Final.Add(got.Fees); sum.Int64() != h.used[denom] || h.holds(Name, denom) != 0 || !got.Deposited.Sub(got.Returned).Equal(sum) {
			h.t.Fatalf("%+v, the books say %d%s were redeemed", got, h.used[denom], denom)
		}
		if denom == silver && !got.Fees.IsZero() {
			h.t.Fatalf("a fee in silver: %s", got.Fees)
		}
	}
}
