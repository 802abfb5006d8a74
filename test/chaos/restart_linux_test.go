package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/chain/full"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/test/e2e/pc"
)

// restartShown is the part of hpips chain restart -o json that the test looks at.
type restartShown struct {
	File                  string
	Height, First         int64
	Time                  time.Time
	Seats, Signed, Voters []string
	Needed                int
	Enough, Same          bool
	Wrong, Aside          string
	Error                 struct{ Message, Hint string }
}

// restart runs hpips chain restart on a PC.
func (c *citizen) restart(code int, args ...string) (shown restartShown) {
	c.t.Helper()
	a := c.Hpips(c.t, append([]string{"chain", "restart", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(a.Stdout), &shown); err != nil || a.Code != code {
		c.t.Fatalf("%s: chain restart %v: code %d, want %d, %v\n%s%s", c.Name, args, a.Code, code, err, a.Stdout, a.Stderr)
	}
	return shown
}

// refuses runs a command that must be refused for this reason.
func (c *citizen) refuses(why string, args ...string) {
	c.t.Helper()
	if got := c.restart(125, args...).Error; !strings.Contains(got.Message, why) || got.Hint == "" {
		c.t.Errorf("%s: chain restart %v: %+v, want %q", c.Name, args, got, why)
	}
}

// holdings is what must come through a restart: what a payer holds, who has tickets, what is proposed, when; and what the nodes' owner has, who may be paid meanwhile for what they did before.
func (v *village) holdings(through *citizen) (text string, owner ledger.Balance) {
	v.t.Helper()
	_, window := through.through()
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	var all []any
	for _, p := range append(v.payers, v.owner) {
		b, err := window.Balance(ctx, p.Address())
		if err != nil {
			v.t.Fatal(err)
		}
		all, owner = append(all, b), b
	}
	all = all[:len(all)-1]
	for _, c := range v.folk {
		k, err := window.Ticket(ctx, c.node())
		if err != nil {
			v.t.Fatal(err)
		}
		all = append(all, []any{c.Name, k.Held, k.Since, k.UntilDay, k.Owner})
	}
	proposals, err := window.Proposals(ctx)
	if err != nil {
		v.t.Fatal(err)
	}
	b, err := json.Marshal(append(all, proposals))
	if err != nil {
		v.t.Fatal(err)
	}
	return string(b), owner
}

// list writes a list for the others of the test to try.
func (v *village) list(l sortition.RestartList, signers ...*citizen) string {
	v.t.Helper()
	for _, c := range signers {
		var err error
		if l, err = l.Sign(c.keys.Node); err != nil {
			v.t.Fatal(err)
		}
	}
	text, err := l.Bytes()
	if err != nil {
		v.t.Fatal(err)
	}
	name := filepath.Join(v.t.TempDir(), "tried.list")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		v.t.Fatal(err)
	}
	return name
}

// Six sat, erin and frank gave up their seats, and carol's and dave's PCs are gone for ever: two of four cannot go on. Alice and bob do, by
// a list that most of those who sat lately have signed, and nobody loses anything.
func TestTwoOfFourSeatsNeverReturn(t *testing.T) {
	t.Parallel()
	v := newVillage(t, plan{names: []string{"alice", "bob", "carol", "dave", "erin", "frank"}, payers: 1, tune: func(p *committeev1.Params) {
		p.Seats, p.EpochBlocks, p.ClaimBlocks, p.TicketDays, p.DaySeconds = 6, 20, 2, 3_000, 8
	}})
	v.patiently()
	alice, bob, carol, dave, erin, frank := v.folk[0], v.folk[1], v.folk[2], v.folk[3], v.folk[4], v.folk[5]
	v.start()
	v.goesOn(2, v.folk...)
	v.proposes(alice)
	v.sits(alice, 2, 6)
	for _, c := range []*citizen{erin, frank} {
		if err := c.API(t).StepDown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	v.sits(alice, 2, 4)
	v.goesOn(2, alice, bob)
	carol.Kill(t)
	dave.Kill(t)
	v.stands(8*time.Second, alice, bob, erin, frank)
	before, had := v.holdings(alice)
	alice.refuses("the chain's files cannot be opened", "propose", "--seats", "x")
	for _, c := range []*citizen{alice, bob, erin, frank} {
		if code := c.Stop(t); code != 0 {
			t.Fatalf("%s ended with %d", c.Name, code)
		}
	}
	name := v.agreed(alice, bob, erin, frank, carol)
	for _, c := range []*citizen{alice, bob, erin, frank} {
		c.start()
	}
	last := v.first(name)
	v.until("the chain goes on", func() bool { return alice.height() >= last+2 && bob.height() >= last+2 && frank.height() >= last+2 })
	if after, has := v.holdings(alice); after != before || has.Balance < had.Balance {
		t.Errorf("before %s, the owner %v\nafter  %s, %v", before, had, after, has)
	}
	if _, err := v.pay(t.Context(), bob, v.payers[0], v.owner.Address()); err != nil {
		t.Fatal(err)
	}
	v.goesOn(3, alice, bob, erin, frank)
	v.agree(last, alice, bob, erin, frank)
	if got := alice.Must(t, "chain", "verify"); !strings.Contains(got, "OK") {
		t.Error(got)
	}
	grace := v.settle("grace")
	grace.start()
	v.until("grace follows", func() bool { return grace.height() > last })
	v.agree(last, alice, grace)
}

// first is the height at which a list goes on.
func (v *village) first(name string) int64 {
	v.t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		v.t.Fatal(err)
	}
	l, err := sortition.ParseRestartList(text)
	if err != nil {
		v.t.Fatal(err)
	}
	return l.First()
}

// agreed takes a list from a proposal to its acceptance, past all that must be refused, and gives its file.
func (v *village) agreed(alice, bob, erin, frank, carol *citizen) string {
	t := v.t
	t.Helper()
	called := func(c *citizen) string { return ledger.NodeText(c.node()) }
	name := filepath.Join(t.TempDir(), "restart.list")
	alice.refuses("nobody is named", "propose")
	alice.refuses("genesis is impossible", "propose", "--seats", called(alice)+","+ledger.NodeText(make([]byte, 32)))
	r := alice.restart(0, "propose", "--seats", called(alice)+","+called(bob), "-O", name)
	if len(r.Voters) != 6 || r.Needed != 4 || r.First != r.Height+sortition.RestartGap || len(r.Seats) != 2 || !r.Same {
		t.Fatalf("proposed %+v", r)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := sortition.ParseRestartList(text)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy.list")
	if err := os.WriteFile(copied, text, 0o600); err != nil {
		t.Fatal(err)
	}
	alice.restart(0, "sign", name)
	bob.restart(0, "sign", name)
	frank.restart(0, "sign", copied)
	alice.refuses("too few signatures: 3 of 6", "accept", "--yes", name, copied)
	if r = erin.restart(0, "sign", name, copied); !r.Enough || len(r.Signed) != 4 || !r.Same {
		t.Fatalf("signed %+v", r)
	}

	// Others try.
	other := plain
	other.Chain = "hpips-other-1"
	alice.refuses("another chain", "accept", "--yes", v.list(other, alice, bob, erin, frank))
	signed, err := sortition.ParseRestartList([]byte(read(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	seats := []sortition.Key{sortition.Key(alice.node()), sortition.Key(carol.node())}
	slices.SortFunc(seats, func(a, b sortition.Key) int { return bytes.Compare(a[:], b[:]) })
	tampered := signed
	tampered.Seats = seats
	alice.refuses("signature", "accept", "--yes", v.list(tampered))
	otherwise := plain
	otherwise.Seats = seats
	alice.refuses("own export is another", "accept", "--yes", v.list(otherwise, alice, bob, erin, frank))
	otherwise = plain
	otherwise.Height--
	alice.refuses("another state", "accept", "--yes", v.list(otherwise, alice, bob, erin, frank))
	second := filepath.Join(t.TempDir(), "second.list")
	alice.restart(0, "propose", "--seats", called(alice)+","+called(erin), "-O", second)
	alice.refuses("signed another list", "sign", second)
	quiet := slog.New(slog.DiscardHandler)
	if _, err := full.Accept(filepath.Join(alice.Home, "chain"), signed, time.Unix(signed.Time-1, 0), quiet); !errors.Is(err, full.ErrEarly) {
		t.Errorf("a second early: %v", err)
	}
	hasty := plain
	hasty.Time -= 3600 // however long after the chain's day it was proposed
	alice.refuses("too early", "accept", "--yes", v.list(hasty, alice, bob, erin, frank))

	pc.Eventually(t, "the day passes", func() bool { return time.Now().Unix() >= signed.Time }, func() string { return "" })
	if r = alice.restart(0, "show", name); !r.Enough || !r.Same || r.Wrong != "" {
		t.Fatalf("shown %+v", r)
	}
	v.cutShort(alice, name, signed.Height)
	for _, c := range []*citizen{alice, bob, erin, frank} {
		r := c.restart(0, "accept", "--yes", name)
		if _, err := os.Stat(filepath.Join(r.Aside, "data", "application.db")); err != nil {
			t.Errorf("%s keeps nothing of before: %v", c.Name, err)
		}
		c.restart(0, "accept", "--yes", name) // once more changes nothing
	}
	return name
}

// cutShort lets the acceptance end in the middle: something lies in the way after a part was moved. Afterwards it goes on where it ended.
func (v *village) cutShort(c *citizen, name string, height int64) {
	v.t.Helper()
	home := filepath.Join(c.Home, "chain")
	aside := filepath.Join(home, fmt.Sprintf("before-%d", height))
	if err := os.MkdirAll(filepath.Join(aside, "snapshots"), 0o700); err != nil {
		v.t.Fatal(err)
	}
	c.refuses("in the way", "accept", "--yes", name)
	if _, err := os.Stat(filepath.Join(home, "data")); !errors.Is(err, fs.ErrNotExist) {
		v.t.Errorf("nothing was moved: %v", err)
	}
	if err := os.Remove(filepath.Join(aside, "snapshots")); err != nil {
		v.t.Fatal(err)
	}
}

// patiently gives votes a week: the day of this village is shorter than the test.
func (v *village) patiently() {
	v.t.Helper()
	text := bytes.Replace(v.genesis, []byte(`"voting_period": "8s"`), []byte(`"voting_period": "604800s"`), 1)
	if bytes.Equal(text, v.genesis) {
		v.t.Fatal("the voting period is not where it was")
	}
	v.genesis = text
	for _, c := range v.folk {
		c.write("chain/genesis.json", string(text))
	}
}

// proposes puts a question to the vote.
func (v *village) proposes(through *citizen) {
	v.t.Helper()
	_, window := through.through()
	m, err := ledger.Propose(v.payers[0].Address(), "A question", "It is open for a week.", money.Scale)
	if err != nil {
		v.t.Fatal(err)
	}
	if _, err := window.Send(v.t.Context(), v.payers[0], m); err != nil {
		v.t.Fatal(err)
	}
}

// sits waits until so many sit in an epoch.
func (v *village) sits(through *citizen, epoch uint64, seats int) {
	v.t.Helper()
	v.until(fmt.Sprintf("%d seats in epoch %d", seats, epoch), func() bool {
		_, window, err := through.look()
		if err != nil {
			return false
		}
		k, err := window.Committee(v.t.Context())
		if err == nil && k.Epoch > epoch {
			v.t.Fatalf("epoch %d has gone by with %d seats", epoch, len(k.Seats))
		}
		return err == nil && k.Epoch == epoch && k.Opened > 0 && len(k.Seats) == seats
	})
}
