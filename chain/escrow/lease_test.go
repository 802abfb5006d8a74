package escrow

import (
	"testing"
	"time"

	"cosmossdk.io/math"

	"github.com/hpips/hpips/proto/gen/escrowv1"
)

// Alice rents bob's PC. He has no account and no tokens; a day later he has nine tenths of what she promised, less the fee, and she has the rest.
func TestAlicePaysBob(t *testing.T) {
	s := founded(t)
	s.must(s.open(alice, s.deposit(1, 10*hpips), s.deposit(2, 5*hpips)))
	if s.has(alice, Denom) != 985*hpips || s.holds(Name, Denom) != 15*hpips {
		t.Fatalf("alice has %d, escrow %d", s.has(alice, Denom), s.holds(Name, Denom))
	}
	s.sound()
	s.must(s.redeem(bob, promise(t, 1, 4*hpips), promise(t, 2, 1*hpips)))
	s.sound()
	if s.holds("fee_collector", Denom) != 400 || s.has(bob, Denom) != 0 {
		t.Errorf("fees %d, bob has %d already", s.holds("fee_collector", Denom), s.has(bob, Denom))
	}
	s.block(time.Second)
	if len(s.finals) != 0 {
		t.Error("final after one block")
	}
	s.block(time.Second)
	const net = 5*hpips - 400
	if s.has(bob, Denom) != net*9/10 || s.holds(levy, Denom) != net/10 || len(s.finals) != 2 {
		t.Errorf("bob has %d, levy %d, %d finals", s.has(bob, Denom), s.holds(levy, Denom), len(s.finals))
	}
	s.must(s.redeem(bob, promise(t, 1, 6*hpips))) // the later voucher contains the earlier
	s.must(s.close(alice, 1, 2))
	s.sound()
	s.blocks(8640, 30*time.Second)
	if _, known := s.lease(1); known {
		t.Error("lease 1 is still there")
	}
	if s.has(alice, Denom) != 993*hpips || s.holds(Name, Denom) != 0 {
		t.Errorf("alice has %d, escrow %d", s.has(alice, Denom), s.holds(Name, Denom))
	}
	if got, err := s.keeper.Totals(s.ctx, Denom); err != nil || got.Deposited.Int64() != 15*hpips || got.Final.Int64() != 7*hpips-600 ||
		got.Fees.Int64() != 600 || got.Returned.Int64() != 8*hpips {
		t.Errorf("totals %+v, %v", got, err)
	}
	s.sound()
}

func TestDepositsThatAreNotTaken(t *testing.T) {
	s := founded(t)
	s.must(s.open(alice, s.deposit(1, hpips)))
	s.left[string(dave.id())] = true
	for name, row := range map[string]struct {
		spoil func(*escrowv1.Deposit)
		want  error
	}{
		"no terms":             {func(d *escrowv1.Deposit) { d.Terms = nil }, ErrMalformed},
		"long terms":           {func(d *escrowv1.Deposit) { d.Terms = append(d.Terms, 0) }, ErrMalformed},
		"opened before":        {func(d *escrowv1.Deposit) { *d = s.deposit(1, hpips) }, ErrUsed},
		"no node":              {func(d *escrowv1.Deposit) { d.Node = nil }, ErrMalformed},
		"nobody's node":        {func(d *escrowv1.Deposit) { d.Node = carol.id() }, ErrNode},
		"a node that left":     {func(d *escrowv1.Deposit) { d.Node = dave.id() }, ErrNode},
		"no key":               {func(d *escrowv1.Deposit) { d.VoucherKey = nil }, ErrKey},
		"no point":             {func(d *escrowv1.Deposit) { d.VoucherKey = make([]byte, 33) }, ErrKey},
		"x beyond the field":   {func(d *escrowv1.Deposit) { d.VoucherKey = append([]byte{2}, filled(32, 0xff)...) }, ErrKey},
		"an uncompressed key":  {func(d *escrowv1.Deposit) { d.VoucherKey = filled(65, 4) }, ErrKey},
		"not admitted":         {func(d *escrowv1.Deposit) { d.Denom = tin }, ErrDenom},
		"no denomination":      {func(d *escrowv1.Deposit) { d.Denom = "" }, ErrDenom},
		"not a denomination":   {func(d *escrowv1.Deposit) { d.Denom = "a b\x00" }, ErrDenom},
		"no amount":            {func(d *escrowv1.Deposit) { d.Amount = math.Int{} }, ErrAmount},
		"zero":                 {func(d *escrowv1.Deposit) { d.Amount = math.ZeroInt() }, ErrAmount},
		"negative":             {func(d *escrowv1.Deposit) { d.Amount = math.NewInt(-hpips) }, ErrAmount},
		"dust":                 {func(d *escrowv1.Deposit) { d.Amount = math.NewInt(9_999) }, ErrAmount},
		"more than 64 bits":    {func(d *escrowv1.Deposit) { d.Amount = math.NewIntFromUint64(1 << 63).MulRaw(2) }, ErrAmount},
		"zero silver":          {func(d *escrowv1.Deposit) { d.Denom, d.Amount = silver, math.ZeroInt() }, ErrAmount},
		"more than alice has":  {func(d *escrowv1.Deposit) { d.Amount = math.NewInt(999*hpips + 1) }, ErrFunds},
		"all of 64 bits":       {func(d *escrowv1.Deposit) { d.Amount = math.NewIntFromUint64(1<<64 - 1) }, ErrFunds},
		"expired":              {func(d *escrowv1.Deposit) { d.Until = s.now() }, ErrUntil},
		"before time began":    {func(d *escrowv1.Deposit) { d.Until = -1 << 63 }, ErrUntil},
		"a day over the month": {func(d *escrowv1.Deposit) { d.Until = s.now() + 30*day + 1 }, ErrUntil},
	} {
		d := s.deposit(2, hpips)
		row.spoil(&d)
		s.refuses(name, s.open(alice, s.deposit(3, hpips), d), row.want)
		if _, known := s.lease(3); known {
			t.Fatalf("%s: half of a message was done", name)
		}
	}
	s.refuses("none", s.open(alice), ErrBatch)
	s.refuses("one twice", s.open(alice, s.deposit(2, hpips), s.deposit(2, hpips)), ErrUsed)
	many := make([]escrowv1.Deposit, 201)
	for i := range many {
		many[i] = s.deposit(uint64(10+i), hpips)
	}
	s.refuses("201", s.open(alice, many...), ErrBatch)
	s.must(s.open(alice, many[:200]...))
	_, err := s.msgs.Open(s.ctx, &escrowv1.MsgOpen{Payer: "alice", Deposits: many[:1]})
	s.refuses("no address", err, ErrAddress)
	fund, err := bech32.BytesToString(s.keeper.account)
	s.must(err)
	_, err = s.msgs.Open(s.ctx, &escrowv1.MsgOpen{Payer: fund, Deposits: many[:1]})
	s.refuses("a module's account", err, ErrAddress)
	s.sound()
}

func filled(n int, b byte) []byte {
	all := make([]byte, n)
	for i := range all {
		all[i] = b
	}
	return all
}

// Carol sees what alice is about to open, and opens it first: that is a lease of her own.
func TestNobodyTakesALeaseBeforeItsPayer(t *testing.T) {
	s := founded(t)
	s.must(s.open(carol, s.deposit(1, hpips)))
	s.must(s.open(alice, s.deposit(1, 2*hpips)))
	hers, ok := s.lease(1)
	if !ok || hers.Payer != alice.address() || hers.Deposit.Int64() != 2*hpips {
		t.Errorf("alice has %+v", hers)
	}
	if other, ok := s.lease(1<<32 | 1); !ok || other.Payer != carol.address() || other.Deposit.Int64() != hpips {
		t.Errorf("carol has %+v", other)
	}
	s.sound()
}

func TestTopUps(t *testing.T) {
	s := founded(t)
	d := s.deposit(1, hpips)
	s.must(s.open(alice, d, s.deposit(2, hpips)))
	more := func(n, until int64) escrowv1.Addition {
		return escrowv1.Addition{Lease: id(1), Denom: Denom, Amount: math.NewInt(n), Until: until}
	}
	s.must(s.topUp(alice, more(5, 0), more(0, d.Until+10), more(7, d.Until)))
	l, _ := s.lease(1)
	if l.Deposit.Int64() != hpips+12 || l.Until != d.Until+10 {
		t.Errorf("deposit %s until %d", l.Deposit, l.Until)
	}
	s.sound()
	other := more(5, 0)
	other.Denom = silver
	none, unknown, short := more(0, 0), more(5, 0), more(5, 0)
	none.Amount = math.Int{}
	unknown.Lease, short.Lease = filled(32, 9), short.Lease[:31]
	for name, row := range map[string]struct {
		who  people
		add  escrowv1.Addition
		want error
	}{
		"somebody else":      {carol, more(5, 0), ErrParty},
		"nothing":            {alice, more(0, d.Until), ErrAmount},
		"no amount":          {alice, none, ErrAmount},
		"negative":           {alice, more(-5, d.Until+20), ErrAmount},
		"beyond 64 bits":     {alice, escrowv1.Addition{Lease: id(1), Denom: Denom, Amount: math.NewIntFromUint64(1<<64 - 1)}, ErrAmount},
		"another asset":      {alice, other, ErrDenom},
		"too late an end":    {alice, more(0, s.now()+31*day), ErrUntil},
		"more than she has":  {alice, more(998*hpips, 0), ErrFunds},
		"an unknown lease":   {alice, unknown, ErrUnknown},
		"not a lease at all": {alice, short, ErrMalformed},
	} {
		s.refuses(name, s.topUp(row.who, row.add), row.want)
	}
	s.refuses("none", s.topUp(alice), ErrBatch)
	s.ctx = s.ctx.WithBlockTime(time.Unix(d.Until+10, 0)) // its end is here; no block has noticed yet
	s.refuses("expired", s.topUp(alice, more(5, s.now()+100)), ErrPhase)
	s.must(s.close(bob, 2))
	two := more(5, 0)
	two.Lease = id(2)
	s.refuses("closing", s.topUp(alice, two), ErrPhase)
	s.sound()
}

func TestOnlyTheTwoSidesClose(t *testing.T) {
	s := founded(t)
	s.must(s.open(alice, s.deposit(1, hpips), s.deposit(2, hpips)))
	s.refuses("carol", s.close(carol, 1), ErrParty)
	s.refuses("unknown", s.close(alice, 1, 3), ErrUnknown)
	if l, _ := s.lease(1); l.Phase != escrowv1.PHASE_OPEN {
		t.Error("half of a message was done")
	}
	s.refuses("none", s.close(alice), ErrBatch)
	s.must(s.close(bob, 1))
	was, _ := s.lease(1)
	s.block(time.Hour)
	s.must(s.close(alice, 1, 2)) // bob was first with one of them
	if now, _ := s.lease(1); now.ClosingTime != was.ClosingTime || now.ClosingIndex != was.ClosingIndex {
		t.Error("closing again began another grace")
	}
	s.sound()
}

// Whoever opened a lease cannot open it again: its old vouchers would be good once more.
func TestAnIDIsGoodOnce(t *testing.T) {
	s := founded(t)
	s.must(s.open(alice, s.deposit(1, hpips)))
	s.must(s.redeem(bob, promise(t, 1, hpips/2)))
	s.must(s.close(alice, 1))
	s.blocks(8640, 30*time.Second)
	if _, known := s.lease(1); known {
		t.Fatal("the lease is still there")
	}
	s.refuses("a voucher of a lease that is gone", s.redeem(bob, promise(t, 1, hpips)), ErrUnknown)
	end := s.now() + 30*day // three days of grace are longer than the day of its term
	for s.now() < end-1 {
		s.refuses("again", s.open(alice, s.deposit(1, hpips)), ErrUsed)
		s.block(min(5*24*time.Hour, time.Duration(end-1-s.now())*time.Second))
	}
	s.restart()
	s.refuses("at last", s.open(alice, s.deposit(1, hpips)), ErrUsed)
	s.block(time.Second)
	if n, err := size(s.ctx, s.keeper.graves); err != nil || n != 0 {
		t.Errorf("%d graves, %v", n, err)
	}
	s.sound()
}
