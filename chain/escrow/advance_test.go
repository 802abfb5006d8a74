package escrow

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"cosmossdk.io/math"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/escrowv1"
)

// rules sets parameters as a vote would.
func (s *town) rules(change func(*escrowv1.Params)) {
	s.t.Helper()
	p, err := s.keeper.Params(s.ctx)
	s.must(err)
	change(&p)
	_, err = s.msgs.UpdateParams(s.ctx, &escrowv1.MsgUpdateParams{Authority: authority, Params: p})
	s.must(err)
}

// rented opens n leases with bob and n with dave, at even and odd numbers.
func (s *town) rented(n int) {
	s.t.Helper()
	for i := range uint64(n) {
		his, hers := s.deposit(2*i, hpips), s.deposit(2*i+1, hpips)
		hers.Node = dave.id()
		s.must(s.open(alice, his, hers))
	}
}

// final tells which redemptions became final, in order.
func (s *town) final() string {
	var all []string
	for _, f := range s.finals {
		who := "bob"
		if string(f.Node) == string(dave.id()) {
			who = "dave"
		}
		all = append(all, who+" "+f.Amount.String())
	}
	return strings.Join(all, ", ")
}

func (s *town) finalIs(what, want string) {
	s.t.Helper()
	if got := s.final(); got != want {
		s.t.Errorf("%s: final are %q, want %q", what, got, want)
	}
	s.sound()
}

// An audit of bob's first redemption holds up all his later ones, and nothing of dave's.
func TestPayBecomesFinalInTheOrderRedeemed(t *testing.T) {
	s := founded(t)
	s.rented(3)
	s.must(s.redeem(bob, promise(t, 0, 1200), promise(t, 2, 2200)))
	s.must(s.redeem(dave, promise(t, 1, 3200)))
	s.must(s.redeem(bob, promise(t, 0, 5400)))
	s.audits[1] = true
	s.block(time.Second)
	s.must(s.redeem(dave, promise(t, 3, 6200)))
	s.finalIs("a block later", "")
	s.block(time.Second)
	s.finalIs("two blocks later", "dave 3000")
	s.block(time.Second)
	s.finalIs("three blocks later", "dave 3000, dave 6000")
	s.must(s.redeem(dave, promise(t, 5, 7200)))
	s.audits[1], s.audits[4] = false, true
	s.block(time.Second)
	s.finalIs("the audit is closed, another one open", "dave 3000, dave 6000, bob 1000, bob 2000")
	s.restart()
	s.block(time.Second)
	s.finalIs("the other one still is", "dave 3000, dave 6000, bob 1000, bob 2000, dave 7000")
	s.audits[4] = false
	s.block(time.Second)
	s.finalIs("all are closed", "dave 3000, dave 6000, bob 1000, bob 2000, dave 7000, bob 4000")
}

// The grace of a lease may end long before its audits do: the rest returns, the pay stays.
func TestPayOutlivesItsLease(t *testing.T) {
	s := founded(t)
	s.rules(func(p *escrowv1.Params) { *p = Development() })
	s.rented(1)
	s.must(s.redeem(bob, promise(t, 0, 400_200)))
	s.audits[1] = true
	s.must(s.close(bob, 0))
	s.blocks(6, 10*time.Second)
	if l, known := s.lease(0); !known || l.Phase != escrowv1.PHASE_CLOSED || s.has(alice, Denom) != 999*hpips-400_200 {
		t.Fatalf("closed: %v, alice has %d", l, s.has(alice, Denom))
	}
	s.must(s.close(alice, 0)) // which changes nothing
	s.sound()
	res, err := queries{s.keeper}.Account(s.ctx, &escrowv1.QueryAccountRequest{Address: bob.address()})
	if err != nil || res.Pending.String() != "400000uhpips" {
		t.Errorf("bob waits for %v, %v", res, err)
	}
	if serves, err := s.keeper.Serves(s.ctx, bob.id()); !serves || err != nil || len(s.touched) != 0 {
		t.Errorf("bob's node has pay to come and nothing to answer for: %v, %v, %d", serves, err, len(s.touched))
	}
	s.audits[1] = false
	s.block(time.Second)
	if serves, err := s.keeper.Serves(s.ctx, bob.id()); serves || err != nil || len(s.touched) != 1 || s.touched[0] != string(bob.id()) {
		t.Errorf("bob's node still serves: %v, %v; the bond was told of %d leases", serves, err, len(s.touched))
	}
	s.finalIs("at last", "bob 400000")
	if _, known := s.lease(0); known {
		t.Error("the lease is still there")
	}
}

// A hundred who wait do not hold up the one behind them: the cursor goes round.
func TestWhoWaitsHoldsUpNobody(t *testing.T) {
	s := founded(t)
	s.rented(2)
	s.rules(func(p *escrowv1.Params) { p.Batch = 1 })
	s.must(s.redeem(bob, promise(t, 0, 1200)))
	s.must(s.redeem(dave, promise(t, 1, 2200)))
	s.must(s.redeem(dave, promise(t, 3, 3200)))
	s.audits[1] = true
	s.blocks(2, time.Second)
	s.finalIs("bob's is looked at", "")
	s.block(time.Second)
	s.finalIs("dave's first", "dave 2000")
	s.restart()
	s.block(time.Second)
	s.finalIs("dave's second", "dave 2000, dave 3000")
	s.audits[1] = false
	s.blocks(2, time.Second)
	s.finalIs("round to bob", "dave 2000, dave 3000, bob 1000")
	if at, known, err := found(s.keeper.cursor.Get(s.ctx)); err != nil || known && at != 2 {
		t.Errorf("cursor %d, %v", at, err)
	}
	s.block(time.Second)
	if _, known, err := found(s.keeper.cursor.Get(s.ctx)); err != nil || known {
		t.Errorf("an idle chain has a cursor, %v", err)
	}
}

// After a breach nothing is paid until an upgrade; everything else goes on, and nothing is lost.
func TestPayoutsRest(t *testing.T) {
	s := founded(t)
	s.rented(1)
	s.must(s.redeem(bob, promise(t, 0, 1200)))
	s.must(s.redeem(dave, promise(t, 1, 2200)))
	s.resting = true
	s.blocks(5, time.Second)
	s.finalIs("resting", "")
	s.must(s.redeem(bob, promise(t, 0, 4400)))
	s.resting = false
	s.block(time.Second)
	s.finalIs("repaired", "bob 1000, dave 2000")
	s.block(time.Second)
	s.finalIs("and on", "bob 1000, dave 2000, bob 3000")
}

// A payment that its payee's account refuses waits, and tells why; it never stops a block.
func TestARefusedPaymentWaits(t *testing.T) {
	s := founded(t)
	s.rented(1)
	s.must(s.redeem(bob, promise(t, 0, 1200)))
	s.must(s.redeem(dave, promise(t, 1, 2200)))
	s.refused[bob.address()] = true
	s.ctx = s.ctx.WithEventManager(sdk.NewEventManager())
	s.blocks(3, time.Second)
	s.finalIs("bob's waits", "dave 2000")
	told := 0
	for _, e := range s.ctx.EventManager().Events() {
		if e.Type == "hpips_pay_refused" {
			told++
		}
	}
	if told != 2 {
		t.Errorf("told %d times", told)
	}
	s.refused[bob.address()] = false
	s.block(time.Second)
	s.finalIs("bob's comes", "dave 2000, bob 1000")
}

// A payer who cannot be paid gets another grace, and then what is his.
func TestARefusedReturnIsTriedAgain(t *testing.T) {
	s := founded(t)
	s.rules(func(p *escrowv1.Params) { *p = Development() })
	refuse := true
	s.bank.AppendSendRestriction(func(_ context.Context, from, to sdk.AccAddress, _ sdk.Coins) (sdk.AccAddress, error) {
		if refuse && from.Equals(s.keeper.account) && to.Equals(alice.at()) {
			return nil, errors.New("not now")
		}
		return to, nil
	})
	s.rented(1)
	const carols = 1<<32 | 9
	s.must(s.open(carol, s.deposit(carols, hpips)))
	s.must(s.close(bob, 0, carols))
	s.blocks(6, 10*time.Second)
	if l, _ := s.lease(0); l.Phase != escrowv1.PHASE_CLOSING || l.ClosingIndex != s.index {
		t.Errorf("alice's: %v", l)
	}
	if _, known := s.lease(carols); known || s.has(carol, Denom) != 1000*hpips {
		t.Error("carol has to wait for alice's")
	}
	s.sound()
	refuse = false
	s.blocks(6, 10*time.Second)
	if _, known := s.lease(0); known || s.has(alice, Denom) != 999*hpips {
		t.Errorf("alice has %d", s.has(alice, Denom))
	}
	s.sound()
}

// Five of each fall due at once; a block does two, and a restart in between changes nothing.
func TestABlockDoesABatch(t *testing.T) {
	s := founded(t)
	s.rules(func(p *escrowv1.Params) { *p = Development(); p.Batch = 2 })
	count := func(phase escrowv1.Phase) (n int) {
		s.must(s.keeper.leases.Walk(s.ctx, nil, func(_ []byte, l escrowv1.Lease) (bool, error) {
			if l.Phase == phase {
				n++
			}
			return false, nil
		}))
		return n
	}
	for i := range uint64(5) {
		s.must(s.open(alice, s.deposit(i, hpips)))
		s.must(s.redeem(bob, promise(t, i, 1200)))
	}
	graves := func() int {
		n, err := size(s.ctx, s.keeper.graves)
		s.must(err)
		return n
	}
	s.block(time.Second)
	for _, want := range []int{2, 4, 5} {
		s.block(time.Second)
		if len(s.finals) != want {
			t.Errorf("%d final, want %d", len(s.finals), want)
		}
		s.restart()
		s.sound()
	}
	s.block(24 * time.Hour)
	for _, want := range []int{3, 1, 0} {
		if n := count(escrowv1.PHASE_OPEN); n != want {
			t.Errorf("%d open, want %d", n, want)
		}
		s.block(0)
		s.restart()
		s.sound()
	}
	for s.index < 100+1+3+1+6 {
		s.block(0)
	}
	s.ctx = s.ctx.WithBlockTime(s.ctx.BlockTime().Add(time.Hour))
	s.index += 6
	for _, want := range []int{3, 1, 0} {
		s.block(0)
		s.restart()
		if n := count(escrowv1.PHASE_CLOSING); n != want || graves() != 5-want {
			t.Errorf("%d closing, want %d; %d graves", n, want, graves())
		}
		s.sound()
	}
	s.ctx = s.ctx.WithBlockTime(s.ctx.BlockTime().Add(100 * time.Hour))
	for _, want := range []int{3, 1, 0} {
		s.block(0)
		if n := graves(); n != want {
			t.Errorf("%d graves, want %d", n, want)
		}
		s.sound()
	}
}

// What lies here and what the sums say is compared; a unit too many or too few is found.
func TestAUnitThatIsLackingIsFound(t *testing.T) {
	s := founded(t)
	s.must(s.open(alice, s.deposit(1, hpips)))
	one := coins(Denom, math.OneInt())
	s.must(s.bank.SendCoinsFromModuleToModule(s.ctx, Name, levy, one))
	why, err := s.keeper.Unsound(s.ctx)
	if err != nil || why == "" || s.keeper.Recount(s.ctx) == nil {
		t.Errorf("lacking: %q, %v", why, err)
	}
	s.must(s.bank.SendCoinsFromModuleToModule(s.ctx, levy, Name, one))
	s.sound()
	s.must(s.bank.SendCoinsFromAccountToModule(s.ctx, carol.at(), Name, one))
	if why, err = s.keeper.Unsound(s.ctx); err != nil || why == "" {
		t.Errorf("too many: %q, %v", why, err)
	}
}

// Nothing falls due on an idle chain, and nothing is written.
func TestAnIdleBlockWritesNothing(t *testing.T) {
	s := founded(t)
	s.rented(2)
	before := s.export()
	s.blocks(3, time.Second)
	if string(s.export()) != string(before) {
		t.Error("the state changed")
	}
}

func TestVotes(t *testing.T) {
	s := founded(t)
	for name, p := range map[string]func(*escrowv1.Params){
		"no grace":                            func(p *escrowv1.Params) { p.GraceSeconds = 0 },
		"endless grace":                       func(p *escrowv1.Params) { p.GraceSeconds = 1 << 63 },
		"no blocks":                           func(p *escrowv1.Params) { p.GraceBlocks = 0 },
		"endless blocks":                      func(p *escrowv1.Params) { p.GraceBlocks = 1 << 63 },
		"no term":                             func(p *escrowv1.Params) { p.LongestSeconds = 0 },
		"endless terms":                       func(p *escrowv1.Params) { p.LongestSeconds = 1 << 63 },
		"no batch":                            func(p *escrowv1.Params) { p.Batch = 0 },
		"a large batch":                       func(p *escrowv1.Params) { p.Batch = 1001 },
		"no deposit":                          func(p *escrowv1.Params) { p.LeastDeposit = 0 },
		"a deposit for few":                   func(p *escrowv1.Params) { p.LeastDeposit = 1 << 62 },
		"a fee that takes more than there is": func(p *escrowv1.Params) { p.RedeemFee = 10_001 },
	} {
		m := &escrowv1.MsgUpdateParams{Authority: authority, Params: Public()}
		p(&m.Params)
		_, err := s.msgs.UpdateParams(s.ctx, m)
		s.refuses(name, err, ErrParams)
		if _, err := Genesis(m.Params); !errors.Is(err, ErrParams) {
			t.Errorf("genesis with %s: %v", name, err)
		}
	}
	_, err := s.msgs.UpdateParams(s.ctx, &escrowv1.MsgUpdateParams{Authority: alice.address(), Params: Public()})
	s.refuses("alice alone", err, ErrAuthority)
	for _, p := range []escrowv1.Params{Development(), Public()} {
		s.rules(func(now *escrowv1.Params) { *now = p })
		if got, err := (queries{s.keeper}).Params(s.ctx, nil); err != nil || got.Params != p {
			t.Errorf("%v, %v", got, err)
		}
	}
	s.must(s.keeper.params.Remove(s.ctx)) // an upgrade forgot them
	if p, err := s.keeper.Params(s.ctx); err != nil || p != Public() {
		t.Errorf("%v, %v", p, err)
	}
}
