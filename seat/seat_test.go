package seat

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/sortition"
)

// pass lets the clock run and waits until everybody is at rest.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestAliceGathersTestimonyTakesATicketAndClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown("alice", "bob")
		alice, bob := town.named("alice"), town.named("bob")
		bob.place.Ticket = &Ticket{Since: 1, Until: 1000, Good: true}
		bob.place.Claimed = true
		for _, p := range []*person{bob, alice} {
			p.open(t, t.TempDir())
			p.run(t)
			synctest.Wait()
		}
		if len(town.tickets) != 0 {
			t.Fatal("a ticket without testimony for the slot that is asked about")
		}
		if r := alice.seat.kept.of("town", town.slot()); len(r) != 1 || r[bob.self].bytes == nil {
			t.Fatalf("bob testifies: %v", r)
		}
		pass(slotTime)
		town.block()
		synctest.Wait()
		if len(town.tickets) != 1 || len(town.tickets[0].Receipts) != 1 {
			t.Fatalf("tickets: %+v", town.tickets)
		}
		a := town.tickets[0]
		if err := a.Word.Check(a.Signature); err != nil || a.Word.Receipts != sortition.Digest(a.Receipts) {
			t.Errorf("application: %v", err)
		}
		r, err := sound(a.Receipts[0])
		if err != nil || r.Network != "203.0.113.0/24" || r.Node != alice.self || r.Slot != town.slot()-1 {
			t.Errorf("receipt: %+v, %v", r, err)
		}
		town.block()
		synctest.Wait()
		if len(town.claims) != 0 {
			t.Fatal("a ticket younger than the draw claims")
		}
		town.mu.Lock()
		town.epoch.Number, town.epoch.Opened, town.epoch.Draw = 4, town.height+1, sortition.Genesis("another")
		town.mu.Unlock()
		for range 3 {
			town.block()
			synctest.Wait()
		}
		if len(town.claims) != 1 || town.claims[0].Node != alice.self || town.claims[0].Epoch != 4 {
			t.Fatalf("claims: %+v", town.claims)
		}
		_, err = sortition.Verify(sortition.Key(alice.vrf[32:]), sortition.DrawAlpha("town", 4, town.epoch.Draw), town.claims[0].Proof)
		if err != nil {
			t.Errorf("the claim's proof: %v", err)
		}
		if bob.asked != 2 {
			t.Errorf("bob was asked %d times in two slots", bob.asked)
		}
	})
}

func TestNobodyClaimsWhileCatchingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown("alice", "bob")
		alice := town.named("alice")
		alice.place.Ticket = &Ticket{Since: 1, Until: 1000, Good: true}
		town.behind = alice.self
		alice.open(t, t.TempDir())
		alice.run(t)
		for range 3 {
			town.block()
			pass(time.Second)
		}
		if len(town.claims)+len(town.tickets)+town.named("bob").asked != 0 {
			t.Fatal("alice acts before she has all blocks")
		}
		if _, err := alice.answer(t.Context(), id(t, town.named("bob")), ask4(t, "town", town.slot())); err == nil {
			t.Error("alice testifies before she has all blocks")
		}
		town.mu.Lock()
		town.behind = sortition.Key{}
		town.mu.Unlock()
		town.block()
		synctest.Wait()
		if len(town.claims) != 1 {
			t.Errorf("at the head she claims: %+v", town.claims)
		}
	})
}

func TestAFreeMessageThatIsLostIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown("alice")
		town.lost = true
		alice := town.named("alice")
		alice.place.Ticket = &Ticket{Since: 1, Until: 1000, Good: true}
		alice.open(t, t.TempDir())
		alice.run(t)
		synctest.Wait()
		for range 30 {
			town.block()
			synctest.Wait()
		}
		// Heights 10, 14, 18 and 22: the block after 22 is the last below 9 + 15.
		if len(town.claims) != 4 {
			t.Errorf("%d claims", len(town.claims))
		}
	})
}

func TestTheChainComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown("alice")
		town.broken = errors.New("nobody is home")
		alice := town.named("alice")
		alice.place.Ticket = &Ticket{Since: 1, Until: 1000, Good: true}
		alice.open(t, t.TempDir())
		alice.run(t)
		pass(time.Minute)
		town.mu.Lock()
		town.broken = nil
		town.mu.Unlock()
		pass(lookAgain) // without a block
		if len(town.claims) != 1 {
			t.Errorf("claims: %+v", town.claims)
		}
	})
}

func TestTheSilentAreAskedAgainButNotAtEveryLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown("alice", "bob")
		alice, bob := town.named("alice"), town.named("bob")
		bob.answer = func(context.Context, peer.ID, []byte) ([]byte, error) { return nil, errAway }
		alice.open(t, t.TempDir())
		alice.run(t)
		pass(slotTime - time.Second)
		if bob.asked < 3 || bob.asked > 10 {
			t.Errorf("bob was asked %d times in a slot", bob.asked)
		}
		bob.open(t, t.TempDir())
		bob.run(t)
		pass(time.Second)
		town.block()
		pass(slotTime / 2)
		if len(alice.seat.kept.of("town", town.slot())) != 1 {
			t.Error("bob is back, and alice does not notice")
		}
	})
}

func TestALiarsReceiptIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown("alice", "bob", "carol")
		alice, bob, carol := town.named("alice"), town.named("bob"), town.named("carol")
		bob.open(t, t.TempDir())
		bob.run(t)
		synctest.Wait()
		honest := bob.answer
		testify := func(spoil func(*sortition.Receipt), signer *person) []byte {
			r := sortition.Receipt{Chain: "town", Node: alice.self, Slot: town.slot(), Network: "203.0.113.0/24", Observer: bob.self}
			spoil(&r)
			signed, err := r.Sign(signer.key)
			if err != nil {
				t.Fatal(err)
			}
			signed.Observer = r.Observer // whoever's hand it is
			b, err := signed.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		same := func(*sortition.Receipt) {}
		for name, lie := range map[string][]byte{
			"nothing":           nil,
			"noise":             []byte("yes, I have seen her"),
			"another's hand":    testify(same, carol),
			"another slot":      testify(func(r *sortition.Receipt) { r.Slot++ }, bob),
			"another node":      testify(func(r *sortition.Receipt) { r.Node = carol.self }, bob),
			"another chain":     testify(func(r *sortition.Receipt) { r.Chain = "city" }, bob),
			"who was not asked": testify(func(r *sortition.Receipt) { r.Observer = carol.self }, carol),
		} {
			bob.answer = func(context.Context, peer.ID, []byte) ([]byte, error) { return lie, nil }
			dir := t.TempDir()
			alice.open(t, dir)
			alice.run(t)
			synctest.Wait()
			alice.stop()
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("%s: it is believed", name)
			}
		}
		bob.answer = honest
		dir := t.TempDir()
		alice.open(t, dir)
		alice.run(t)
		synctest.Wait()
		if left, _ := os.ReadDir(dir); len(left) != 1 {
			t.Error("the truth is not believed")
		}
	})
}

func id(t *testing.T, p *person) peer.ID {
	t.Helper()
	out, err := PeerOf(p.self)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func ask4(t *testing.T, chain string, slot uint64) []byte {
	t.Helper()
	b, err := canon.Encode(question{Chain: chain, Slot: slot})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAnObserverTestifiesOnlyForWhomItSees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown("alice", "bob", "carol")
		alice, bob, carol := town.named("alice"), town.named("bob"), town.named("carol")
		for _, p := range []*person{bob, carol} {
			p.open(t, t.TempDir())
			if _, err := p.answer(t.Context(), id(t, alice), ask4(t, "town", town.slot())); err == nil {
				t.Error("testimony of one who has not looked at the chain")
			}
			p.run(t)
		}
		synctest.Wait()
		for _, row := range []struct {
			name    string
			who     *person
			req     []byte
			at      string
			network string
		}{
			{"alice", bob, ask4(t, "town", town.slot()), "203.0.113.7", "203.0.113.0/24"},
			{"at home", bob, ask4(t, "town", town.slot()), "192.168.1.7", "local"},
			{"by the new protocol", bob, ask4(t, "town", town.slot()), "2001:db8:1::7", "2001:db8::/32"},
			{"by both", bob, ask4(t, "town", town.slot()), "2001:db8:1::7 203.0.113.7 127.0.0.1", "203.0.113.0/24"},
			{"through a relay", bob, ask4(t, "town", town.slot()), "", ""},
			{"not her observer", carol, ask4(t, "town", town.slot()), "203.0.113.7", ""},
			{"a slot that has passed", bob, ask4(t, "town", town.slot()-1), "203.0.113.7", ""},
			{"a slot to come", bob, ask4(t, "town", town.slot()+1), "203.0.113.7", ""},
			{"another chain", bob, ask4(t, "city", town.slot()), "203.0.113.7", ""},
			{"noise", bob, []byte("please"), "203.0.113.7", ""},
		} {
			alice.at = nil
			for _, a := range strings.Fields(row.at) {
				alice.at = append(alice.at, netip.MustParseAddr(a))
			}
			b, err := row.who.answer(t.Context(), id(t, alice), row.req)
			if row.network == "" {
				if err == nil {
					t.Errorf("%s: testimony", row.name)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", row.name, err)
				continue
			}
			if r, err := sound(b); err != nil || r.Network != row.network || r.Observer != row.who.self || r.Node != alice.self {
				t.Errorf("%s: %+v, %v", row.name, r, err)
			}
		}
		refused := 0
		for range 10 * gateDepth {
			if _, err := bob.answer(t.Context(), id(t, alice), ask4(t, "town", town.slot())); err != nil {
				refused++
			}
		}
		if refused < 8*gateDepth {
			t.Errorf("of %d hurried questions, %d are refused", 10*gateDepth, refused)
		}
	})
}

func TestARestartKeepsTestimony(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown("alice", "bob")
		alice, bob := town.named("alice"), town.named("bob")
		bob.open(t, t.TempDir())
		bob.run(t)
		synctest.Wait()
		dir := t.TempDir()
		alice.open(t, dir)
		alice.run(t)
		synctest.Wait()
		alice.stop()
		slot := town.slot()
		for name, text := range map[string]string{"77": "noise", "readme": "not a slot", "1000.new": "half written"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		bob.away = true
		pass(slotTime)
		alice.open(t, dir)
		alice.run(t)
		synctest.Wait()
		if len(town.tickets) != 1 {
			t.Errorf("with yesterday's testimony she takes out a ticket: %+v", town.tickets)
		}
		if left, _ := os.ReadDir(dir); len(left) != 1 {
			t.Errorf("what is no testimony is left: %v", left)
		}
		pass(time.Duration(town.rules.Window+2) * slotTime)
		if got := alice.seat.kept.of("town", slot); len(got) != 0 {
			t.Errorf("testimony of slot %d is kept in slot %d", slot, town.slot())
		}
		if _, err := os.Stat(filepath.Join(dir, "1000")); err == nil {
			t.Error("its file is kept")
		}
	})
}

func TestAliceGoesToSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		town := newTown("alice")
		alice := town.named("alice")
		alice.open(t, t.TempDir())
		if err := alice.seat.StepDown(t.Context()); err != nil || len(town.resigned) != 0 {
			t.Errorf("without a seat: %v, %v", town.resigned, err)
		}
		alice.place.Seated, alice.place.Ticket = true, &Ticket{Since: 1, Until: 1000, Good: true}
		if err := alice.seat.StepDown(t.Context()); err != nil || len(town.resigned) != 1 {
			t.Fatalf("%v, %v", town.resigned, err)
		}
		r := town.resigned[0]
		if err := r.Word.Check(r.Signature); err != nil || r.Word.Epoch != 3 || r.Word.Node != alice.self {
			t.Errorf("%+v, %v", r.Word, err)
		}
		alice.run(t)
		town.block()
		synctest.Wait()
		if len(town.claims) != 0 {
			t.Error("who goes to sleep claims")
		}
		town.mu.Lock()
		town.epoch.Number, town.epoch.Opened, town.epoch.Draw = 4, town.height+1, sortition.Genesis("another")
		town.mu.Unlock()
		town.block()
		synctest.Wait()
		town.block()
		synctest.Wait()
		if len(town.claims) != 1 {
			t.Error("who has slept claims again")
		}
	})
}
