// Package deals tries chain/deal and chain/storage together: whatever holders and payers do, the money that deals have is what they say.
package deals

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"cosmossdk.io/math"
	"pgregory.net/rapid"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/chain/chaintest/keeptest"
	"github.com/hpips/hpips/chain/deal"
	"github.com/hpips/hpips/chain/storage"
	"github.com/hpips/hpips/proto/gen/dealv1"
	"github.com/hpips/hpips/proto/gen/storagev1"
	"github.com/hpips/hpips/spec/placement"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/spec/sortition"
)

// bank moves uhpips of the town; a node's pay is its owner's, whole.
type bank struct{ *town }

func (b bank) GetBalance(_ context.Context, who sdk.AccAddress, denom string) sdk.Coin {
	text, err := keeptest.Bech32.BytesToString(who)
	b.must(err)
	return sdk.NewInt64Coin(denom, b.purse[text])
}

func (b bank) SendCoinsFromAccountToModule(_ context.Context, from sdk.AccAddress, _ string, amount sdk.Coins) error {
	return b.move(from, module(), amount[0].Amount.Int64())
}

func (b bank) SendCoinsFromModuleToAccount(_ context.Context, _ string, to sdk.AccAddress, amount sdk.Coins) error {
	return b.move(module(), to, amount[0].Amount.Int64())
}

func (b bank) Split(_ context.Context, _ string, node sortition.Key, amount math.Int) error {
	if b.rests {
		return deal.ErrRests
	}
	return b.move(module(), node[:20], amount.Int64())
}

func (b bank) move(from, to sdk.AccAddress, amount int64) error {
	who, err1 := keeptest.Bech32.BytesToString(from)
	whom, err2 := keeptest.Bech32.BytesToString(to)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if b.purse[who] < amount {
		return fmt.Errorf("%s has %d and is to pay %d", who, b.purse[who], amount)
	}
	b.purse[who] -= amount
	b.purse[whom] += amount
	return nil
}

func module() sdk.AccAddress { return deal.Account() }

// contracts are chain's, for these two keepers.
type contracts struct{ deal.Keeper }

func (c contracts) Take(ctx context.Context, p proof.Part, node sortition.Key, nodes []placement.Node, rules placement.Rules) (proof.Piece, uint64, *sortition.Key, error) {
	terms, left, err := c.Keeper.Take(ctx, p, node, nodes, rules)
	return terms.Piece, terms.Rate, left, err
}

func (c contracts) Over(ctx context.Context, today uint64) (gone []storage.Kept, done bool, err error) {
	list, done, err := c.Keeper.Over(ctx, today)
	for _, k := range list {
		gone = append(gone, storage.Kept(k))
	}
	return gone, done, err
}

const price = 7 // uhpips for a MiB and a day

// pins makes a deal of so many parts, each of one MiB that began, and the next block.
func (s *town) pins(n node, need, parts uint32, days uint64) uint64 {
	s.t.Helper()
	m := pinned(n, need, parts, days)
	var number uint64
	s.must(s.cached(func(ctx sdk.Context) error {
		r, err := s.deals.Msgs().Pin(ctx, m)
		if err == nil {
			number = r.Deal
		}
		return err
	}))
	for i := range uint64(parts) {
		of := 1000 + i
		if need == 1 {
			of = 1000
		}
		s.files[proof.Part{Deal: number, Number: i}] = of
	}
	s.blocks(1)
	return number
}

func pinned(n node, need, parts uint32, days uint64) *dealv1.MsgPin {
	address := append([]byte{1, 0x70, 0x12, 0x20}, make([]byte, 32)...)
	origin := n.Key()
	m := &dealv1.MsgPin{Payer: n.Sender(), Object: address, Manifest: address, Need: need, Parts: parts, Price: price, Days: days, Origin: origin[:]}
	for i := range uint64(parts) {
		var b proof.Builder
		if _, err := b.Write(keeptest.File(1000 + i)); err != nil {
			panic(err)
		}
		p := b.Piece()
		if m.Pieces = append(m.Pieces, dealv1.Piece{Root: p.Root[:], Length: p.Size}); need == 1 {
			break
		}
	}
	return m
}

// keeps is a node's word about parts, or, without any, that it leaves, or stays and offers what it does.
func (s *town) keeps(n node, leaves bool, parts ...proof.Part) *storagev1.MsgKeep {
	k := proof.Keep{Epoch: s.Current, Leaves: leaves, Parts: parts}
	if !leaves && len(parts) == 0 {
		k.Offer = s.holder(n).Offer
	}
	return s.word(n, k)
}

func (s *town) word(n node, k proof.Keep) *storagev1.MsgKeep {
	key := n.Key()
	signature, err := k.Sign(keeptest.ChainID, n.Secret())
	s.must(err)
	m := &storagev1.MsgKeep{Sender: n.Sender(), Node: key[:], Epoch: k.Epoch, Leaves: k.Leaves, Offer: k.Offer, Signature: signature}
	for _, p := range k.Parts {
		m.Parts = append(m.Parts, storagev1.Part{Deal: p.Deal, Number: p.Number})
	}
	return m
}

func (s *town) take(n node, leaves bool, parts ...proof.Part) error {
	m := s.keeps(n, leaves, parts...)
	return s.cached(func(ctx sdk.Context) error {
		_, err := s.rows.Msgs().Keep(ctx, m)
		return err
	})
}

// offer says how many MiB a node offers.
func (s *town) offer(n node, mib uint64) error {
	m := s.word(n, proof.Keep{Epoch: s.Current, Offer: mib})
	return s.cached(func(ctx sdk.Context) error {
		_, err := s.rows.Msgs().Keep(ctx, m)
		return err
	})
}

// offered is the part that a node may take now.
func (s *town) offered(n node) (list []proof.Part) { return s.offeredAfter(n, 0) }

func (s *town) offeredAfter(n node, after uint64) (list []proof.Part) {
	key := n.Key()
	r, err := s.rows.Queries().Offers(s.ctx, &storagev1.QueryOffersRequest{Node: key[:], After: after})
	s.must(err)
	for _, p := range r.Offers {
		list = append(list, proof.Part{Deal: p.Deal, Number: p.Number})
	}
	return list
}

// taken lets everybody take what is offered.
func (s *town) taken(but ...node) {
	s.t.Helper()
	for _, n := range s.Nodes {
		if slices.Contains(but, n) {
			continue
		}
		if s.holder(n).Away {
			s.must(s.hold(n))
		}
		if parts := s.offered(n); len(parts) > 0 {
			s.must(s.take(n, false, parts...))
		}
	}
}

// proves lets everybody answer who is asked.
func (s *town) proves(but ...node) {
	s.t.Helper()
	for _, n := range s.Nodes {
		if s.owes(n) && !slices.Contains(but, n) {
			s.must(s.prove(n))
		}
	}
}

// keepers are who keeps the parts of a deal.
func (s *town) keepers(number uint64) (names []node) {
	r, err := s.deals.Queries().Deal(s.ctx, &dealv1.QueryDealRequest{Number: number})
	s.must(err)
	for _, p := range r.Parts {
		name := node("")
		for _, n := range s.Nodes {
			if key := n.Key(); string(key[:]) == string(p.Node) {
				name = n
			}
		}
		names = append(names, name)
	}
	return names
}

func (s *town) earned(n node) int64 {
	key := n.Key()
	text, err := keeptest.Bech32.BytesToString(key[:20])
	s.must(err)
	return s.purse[text]
}

// solvent compares the money that there is with what deals and rows say.
func (s *town) solvent() {
	s.t.Helper()
	why, err := s.deals.Unsound(s.ctx)
	s.must(err)
	if why != "" {
		s.t.Fatal(why)
	}
	want := uint64(0)
	s.must(s.deals.Each(s.ctx, func(d dealv1.Deal) error {
		if d.Spent > d.Deposit {
			s.t.Fatalf("deal %d spent %d of %d", d.Number, d.Spent, d.Deposit)
		}
		want += d.Deposit - d.Spent
		return nil
	}))
	earned, due, err := s.rows.Recount(s.ctx)
	s.must(err)
	want += due - earned
	text, err := keeptest.Bech32.BytesToString(module())
	s.must(err)
	if have := s.purse[text]; have != int64(want) {
		s.t.Fatalf("deals have %d uhpips, and need %d", have, want)
	}
}

func TestADealIsKeptAndPaidByTheDay(t *testing.T) {
	s := town7(t, 7)
	s.purse[node("zoe").Sender()] = 1000
	d := s.pins("zoe", 2, 4, 3)
	if left := s.purse[node("zoe").Sender()]; left != 1000-4*price*3 {
		t.Errorf("zoe has %d left", left)
	}
	first := s.Nodes[slices.IndexFunc(s.Nodes, func(n node) bool { return len(s.offered(n)) > 0 })]
	part := s.offered(first)[0]
	other := (part.Number + 1) % 4
	if err := s.take(first, false, proof.Part{Deal: d, Number: other}); !errors.Is(err, deal.ErrPlace) {
		t.Errorf("a part that is another's today: %v", err)
	}
	s.taken()
	keepers := s.keepers(d)
	if slices.Contains(keepers, "") {
		t.Fatalf("kept by %v", keepers)
	}
	for _, n := range s.Nodes {
		if len(s.offered(n)) > 0 {
			t.Errorf("%s is offered %v", n, s.offered(n))
		}
	}
	if err := s.take(keepers[0], false, proof.Part{Deal: d, Number: 0}); !errors.Is(err, deal.ErrTaken) {
		t.Errorf("twice: %v", err)
	}
	s.proves() // nobody is asked for what came today
	s.solvent()
	for day := range int64(3) {
		s.tomorrow()
		if day != 1 {
			s.proves()
		} else {
			s.proves(keepers[3]) // one misses a day
		}
		s.solvent()
		if got := s.earned(keepers[0]); got != price*(day+1) {
			t.Errorf("after %d days %d earned", day+1, got)
		}
	}
	if got := s.earned(keepers[3]); got != 2*price {
		t.Errorf("who missed a day earned %d", got)
	}
	if s.Kept[keepers[0].Key()] != 0 {
		t.Error("the fund pays for a deal")
	}
	s.tomorrow() // it is over
	if back := s.purse[node("zoe").Sender()]; back != 1000-11*price {
		t.Errorf("zoe has %d", back)
	}
	if _, err := s.deals.Deal(s.ctx, d); !errors.Is(err, deal.ErrDeal) {
		t.Errorf("it goes on: %v", err)
	}
	for _, n := range keepers {
		if h := s.holder(n); h.Pieces != 0 || h.Rate != 0 {
			t.Errorf("%s keeps %+v", n, h)
		}
	}
	s.solvent()
}

func TestALostPartIsAnothers(t *testing.T) {
	s := town7(t, 7)
	s.purse[node("zoe").Sender()] = 1_000_000
	d := s.pins("zoe", 2, 4, 20)
	s.taken()
	lost := s.keepers(d)[1]
	for range 3 {
		s.tomorrow()
		s.proves(lost)
	}
	if got := s.keepers(d)[1]; got != lost {
		t.Fatalf("after two missed days %q keeps it", got)
	}
	s.tomorrow() // three are missed
	r, err := s.deals.Queries().Deal(s.ctx, &dealv1.QueryDealRequest{Number: d})
	s.must(err)
	if p := r.Parts[1]; len(p.Node) > 0 || p.Why != "its holder missed 3 days" {
		t.Errorf("%+v", p)
	}
	s.taken(lost)
	if got := s.keepers(d); slices.Contains(got, "") || slices.Contains(got, lost) {
		t.Errorf("kept by %v", got)
	}
	s.proves()
	s.tomorrow()
	s.proves()
	s.solvent()
	if got := s.earned(s.keepers(d)[1]); got != price {
		t.Errorf("its new holder earned %d", got)
	}
	if s.earned(lost) != 0 {
		t.Errorf("who proved nothing earned %d", s.earned(lost))
	}
}

func TestWhoLeavesHandsOver(t *testing.T) {
	s := town7(t, 7)
	s.purse[node("zoe").Sender()] = 1_000_000
	d := s.pins("zoe", 1, 3, 100)
	s.taken()
	leaver := s.keepers(d)[0]
	s.tomorrow()
	s.must(s.take(leaver, true))
	if err := s.take(leaver, true); !errors.Is(err, storage.ErrTwice) {
		t.Errorf("twice: %v", err)
	}
	s.proves()
	s.taken(s.Nodes...) // nobody takes it today
	s.tomorrow()
	s.proves()
	if got := s.earned(leaver); got != 2*price {
		t.Errorf("who leaves and still keeps it earned %d", got)
	}
	s.taken()
	heir := s.keepers(d)[0]
	if heir == leaver || heir == "" {
		t.Fatalf("kept by %v", s.keepers(d))
	}
	s.tomorrow()
	if h := s.holder(leaver); !h.Away || h.Pieces != 0 {
		t.Errorf("%+v", h)
	}
	s.proves()
	if got := s.earned(heir); got != price {
		t.Errorf("its heir earned %d", got)
	}
	s.solvent()

	stays := s.keepers(d)[1]
	s.must(s.take(stays, true))
	if err := s.take(stays, false); !errors.Is(err, storage.ErrTwice) {
		t.Errorf("it leaves and stays on one day: %v", err)
	}
	s.tomorrow()
	s.proves()
	s.must(s.take(stays, false))
	for _, n := range s.Nodes {
		if len(s.offered(n)) > 0 {
			t.Errorf("%s is offered what %s keeps, who stays: %v", n, stays, s.offered(n))
		}
	}
	s.must(s.take(stays, true))
	for range 16 { // and nobody wants it
		s.tomorrow()
		s.proves()
	}
	if h := s.holder(stays); !h.Away {
		t.Errorf("who left long ago: %+v", h)
	}
	s.solvent()
}

// Two who pass a part to and fro are not paid twice for it: who gave it away has it in its row to the end of the day, and may not take it again before.
func TestAPartDoesNotComeBackOnTheSameDay(t *testing.T) {
	s := town7(t, 7)
	s.purse[node("zoe").Sender()] = 1_000_000
	d := s.pins("zoe", 1, 1, 100)
	s.taken()
	part, alice := proof.Part{Deal: d}, s.keepers(d)[0]
	bob := s.Nodes[slices.IndexFunc(s.Nodes, func(n node) bool { return n != alice })]
	s.must(s.take(alice, true))
	s.tomorrow()
	s.proves()
	s.must(s.take(bob, false, part))
	s.must(s.take(bob, true))
	s.must(s.take(alice, false))
	if err := s.take(alice, false, part); !errors.Is(err, storage.ErrTwice) {
		t.Fatalf("alice takes back what is in her row: %v", err)
	}
	s.solvent()
	s.tomorrow()
	s.proves()
	s.must(s.take(alice, false, part))
	s.solvent()
	for range 3 {
		s.tomorrow()
		s.proves()
		s.solvent()
	}
	if got := s.earned(alice) + s.earned(bob); got != 5*price { // of six days since the one on which it was made, alice took it back on one, and bob was not asked on his first
		t.Errorf("%d earned", got)
	}
}

func TestPayWaitsWhilePayoutsRest(t *testing.T) {
	s := town7(t, 7)
	s.purse[node("zoe").Sender()] = 1000
	d := s.pins("zoe", 1, 1, 10)
	s.taken()
	n := s.keepers(d)[0]
	s.rests = true
	for range 2 {
		s.tomorrow()
		s.proves()
	}
	if h := s.holder(n); h.Due != 2*price || h.Missed != 0 || s.earned(n) != 0 {
		t.Errorf("%+v, earned %d", h, s.earned(n))
	}
	s.solvent()
	s.rests = false
	s.tomorrow()
	if h := s.holder(n); h.Due != 0 || s.earned(n) != 2*price {
		t.Errorf("%+v, earned %d", h, s.earned(n))
	}
	s.solvent()
}

func TestADealIsLongerOrShorter(t *testing.T) {
	s := town7(t, 7)
	s.purse[node("zoe").Sender()] = 1000
	d := s.pins("zoe", 1, 1, 2)
	s.taken()
	msgs := s.deals.Msgs()
	if _, err := msgs.Extend(s.ctx, &dealv1.MsgExtend{Payer: node("bob").Sender(), Deal: d, Days: 1}); !errors.Is(err, deal.ErrPayer) {
		t.Errorf("another's: %v", err)
	}
	r, err := msgs.Extend(s.ctx, &dealv1.MsgExtend{Payer: node("zoe").Sender(), Deal: d, Days: 3})
	if s.must(err); r.Last != s.Today+5 || r.Deposit != 5*price {
		t.Errorf("%+v on day %d", r, s.Today)
	}
	for range 3 {
		s.tomorrow()
		s.proves()
	}
	_, err = msgs.Unpin(s.ctx, &dealv1.MsgUnpin{Payer: node("zoe").Sender(), Deal: d})
	s.must(err)
	if _, err := msgs.Unpin(s.ctx, &dealv1.MsgUnpin{Payer: node("zoe").Sender(), Deal: d}); !errors.Is(err, deal.ErrOver) {
		t.Errorf("twice: %v", err)
	}
	s.tomorrow()
	if got := s.purse[node("zoe").Sender()]; got != 1000-3*price {
		t.Errorf("zoe has %d", got)
	}
	s.solvent()
}

// Whatever comes and goes, whoever misses, lies, leaves or is paid late: the money that deals have is what they say, and at the end all of it is with who earned it, or back.
func TestDealsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := town7(t, 2)
		s.Auditors = s.Nodes[2:]
		s.purse[node("zoe").Sender()] = 1_000_000
		var numbers []uint64
		last := uint64(0)
		for range rapid.IntRange(10, 60).Draw(t, "steps") {
			n := rapid.SampledFrom(s.Nodes).Draw(t, "who")
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				parts := rapid.Uint32Range(2, 5).Draw(t, "parts")
				numbers = append(numbers, s.pins("zoe", rapid.Uint32Range(1, parts-1).Draw(t, "need"), parts, rapid.Uint64Range(1, 6).Draw(t, "days")))
			case 1, 2:
				if parts := s.offered(n); len(parts) > 0 {
					_ = s.take(n, false, parts...)
				}
			case 3:
				last++
				s.record(last)
				_ = s.hold(n, last)
			case 4:
				if s.owes(n) {
					_ = s.prove(n)
				}
			case 5:
				_ = s.take(n, rapid.Bool().Draw(t, "leaves"))
			case 6:
				switch rapid.IntRange(0, 3).Draw(t, "how") {
				case 0:
					s.Retired[n] = !s.Retired[n]
				case 1:
					s.rests = !s.rests
				case 2:
					_ = s.hold(n)
				case 3:
					if s.owes(n) {
						wrong := s.answers(n, true)
						_ = s.cached(func(ctx sdk.Context) error {
							_, err := s.rows.Msgs().Accuse(ctx, &storagev1.MsgAccuse{Sender: n.Sender(), Answer: wrong})
							return err
						})
					}
				}
			case 7:
				if len(numbers) > 0 {
					_, _ = s.deals.Msgs().Unpin(s.ctx, &dealv1.MsgUnpin{Payer: node("zoe").Sender(), Deal: rapid.SampledFrom(numbers).Draw(t, "deal")})
				}
			case 8, 9:
				s.tomorrow()
			}
			s.solvent()
		}
		s.rests = false
		for range 8 {
			s.tomorrow()
		}
		s.solvent()
		text, err := keeptest.Bech32.BytesToString(module())
		s.must(err)
		if left := s.purse[text]; left != 0 {
			t.Fatalf("%d are left when all deals are over", left)
		}
	})
}

func town7(t rapid.TB, copies uint32) *town {
	return townOf(t, copies, "alice", "bob", "carol", "dave", "erin", "frank", "grace")
}

// townOf is a town whose nodes are there, and offer 1000 MiB each.
func townOf(t rapid.TB, copies uint32, nodes ...node) *town {
	s := founded(t, copies, nodes...)
	s.tomorrow()
	for _, n := range s.Nodes {
		s.must(s.hold(n))
		s.must(s.offer(n, 1000))
	}
	return s
}
