package storage

import (
	"errors"
	"slices"
	"testing"

	"cosmossdk.io/collections"
	"pgregory.net/rapid"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/proto/gen/storagev1"
	"github.com/hpips/hpips/spec/proof"
)

func town7(t rapid.TB, copies uint32) *town {
	s := founded(t, copies, "alice", "bob", "carol", "dave", "erin", "frank", "grace")
	s.tomorrow()
	for _, n := range s.Nodes {
		s.must(s.hold(n))
	}
	return s
}

func TestTheBestPlacedHold(t *testing.T) {
	s := town7(t, 3)
	s.record(5)
	line := s.line(5)
	if err := s.hold(line[3], 5); !errors.Is(err, ErrPlace) {
		t.Errorf("the fourth of three: %v", err)
	}
	s.must(s.hold(line[0], 5))
	s.must(s.hold(line[2], 5))
	if err := s.hold(line[0], 5); !errors.Is(err, ErrTwice) {
		t.Errorf("twice: %v", err)
	}
	s.tomorrow() // the second did not say so: the next one fills its place, and no other
	if err := s.hold(line[4], 5); err != nil {
		t.Fatal(err)
	}
	if err := s.hold(line[5], 5); !errors.Is(err, ErrPlace) {
		t.Errorf("a fourth copy, worse placed: %v", err)
	}
	s.must(s.hold(line[3], 5)) // better placed than the fifth, which lets it go at the end of the day
	if h := s.holder(line[4]); !h.Thinned || h.Pieces != 1 {
		t.Errorf("the fifth: %+v", h)
	}
	s.must(s.hold(line[1], 5))
	if got := s.holding(5); len(got) != 3 || slices.Contains(got, line[3]) || slices.Contains(got, line[4]) {
		t.Errorf("%v hold, of %v", got, line)
	}
	s.tomorrow()
	if h := s.holder(line[4]); h.Thinned || h.Pieces != 0 || h.Since != 0 || h.Leaves != 0 {
		t.Errorf("the fifth, a day later: %+v", h)
	}
}

func TestAHolderIsAskedForWhatItHadBeforeTheDay(t *testing.T) {
	s := town7(t, 7)
	s.record(3)
	s.must(s.hold("alice", 3))
	if _, _, _, err := s.keeper.task(s.ctx, node("alice").Key()); !errors.Is(err, ErrDay) {
		t.Errorf("asked on the day on which it came: %v", err)
	}
	s.Today++
	s.blocks(1)
	if _, _, _, err := s.keeper.task(s.ctx, node("alice").Key()); !errors.Is(err, ErrDay) {
		t.Errorf("asked without a seed: %v", err)
	}
	s.Current++
	s.record(9)
	s.must(s.hold("alice", 9)) // after the day began, and before its seed
	s.blocks(3)
	if _, leaves, segments := s.asked("alice"); len(leaves) != proof.Asked || slices.ContainsFunc(segments, func(n uint64) bool { return n != 3 }) {
		t.Errorf("asked for %v of %v", leaves, segments)
	}
	s.must(s.prove("alice"))
	if err := s.prove("alice"); !errors.Is(err, ErrDay) {
		t.Errorf("twice: %v", err)
	}
	if got := s.Kept[node("alice").Key()]; got != 1 {
		t.Errorf("%d MiB counted", got)
	}
	s.tomorrow()
	if _, _, segments := s.asked("alice"); !slices.Contains(segments, 3) || !slices.Contains(segments, 9) {
		t.Errorf("asked for %v", segments)
	}
}

func TestWhoMissesMakesRoom(t *testing.T) {
	s := town7(t, 3)
	s.record(5)
	line := s.line(5)
	for _, n := range line[:3] {
		s.must(s.hold(n, 5))
	}
	for day := range 3 {
		s.tomorrow()
		s.must(s.prove(line[0]))
		s.must(s.prove(line[1]))
		if h := s.holder(line[2]); h.Missed != uint32(day) || h.Away {
			t.Fatalf("after %d days: %+v", day, h)
		}
		if err := s.hold(line[3], 5); !errors.Is(err, ErrPlace) {
			t.Fatalf("the next one, after %d days: %v", day, err)
		}
	}
	s.tomorrow()
	if h := s.holder(line[2]); !h.Away || h.Pieces != 0 {
		t.Errorf("missed three days: %+v", h)
	}
	if h := s.holder(line[0]); h.Missed != 0 || h.Away || h.Proven != s.Today-1 {
		t.Errorf("missed none: %+v", h)
	}
	s.must(s.hold(line[3], 5))
	s.must(s.hold(line[2])) // is there again, and better placed than the fourth
	s.must(s.hold(line[2], 5))
	if got := s.holding(5); len(got) != 3 || !slices.Contains(got, line[2]) {
		t.Errorf("%v hold, of %v", got, line)
	}
	s.Retired[line[1]] = true
	s.tomorrow()
	if h := s.holder(line[1]); !h.Away || slices.Contains(s.holding(5), line[1]) {
		t.Errorf("retired: %+v", h)
	}
	if s.Kept[line[2].Key()] != 0 {
		t.Errorf("who proved nothing is paid for %d MiB", s.Kept[line[2].Key()])
	}
}

func TestWhoIsThereAndKeepsNothingIsAway(t *testing.T) {
	s := town7(t, 7)
	for range Public().Misses + 1 {
		s.tomorrow()
	}
	if h := s.holder("bob"); !h.Away {
		t.Errorf("%+v", h)
	}
}

func TestAuditorsVouch(t *testing.T) {
	s := town7(t, 7)
	s.Auditors = []node{"bob", "carol", "dave", "erin", "frank"}
	s.record(4)
	s.must(s.hold("alice", 4))
	s.tomorrow()
	good := s.vouched("alice", "bob", "carol", "dave")
	twice := s.vouched("alice", "bob", "carol", "carol")
	forged := s.vouched("alice", "bob", "carol", "dave")
	forged.Witnesses[1].Signature = forged.Witnesses[0].Signature
	old := s.vouched("alice", "bob", "carol", "dave")
	old.Day--
	other := s.vouched("alice", "bob", "carol", "dave")
	other.Sender = node("bob").Sender()
	for what, row := range map[string]struct {
		m    *storagev1.MsgVouch
		want error
	}{
		"two of three": {s.vouched("alice", "bob", "carol"), ErrWitness}, "one of them twice": {twice, ErrWitness}, "who was not drawn": {s.vouched("alice", "bob", "carol", "grace"), ErrWitness},
		"a forged signature": {forged, ErrSignature}, "another day": {old, ErrDay}, "another's name": {other, ErrSender}, "nobody": {s.vouched("alice"), ErrMalformed},
	} {
		if err := s.vouch(row.m); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", what, err, row.want)
		}
	}
	s.must(s.vouch(good))
	if err := s.vouch(good); !errors.Is(err, ErrDay) {
		t.Errorf("twice: %v", err)
	}
	s.Auditors = nil
	s.tomorrow()
	if err := s.vouch(s.vouched("alice", "bob", "carol", "dave")); !errors.Is(err, ErrWitness) {
		t.Errorf("where there are no auditors: %v", err)
	}
	s.must(s.prove("alice"))
}

func TestADoubtAsksForTheAnswerItself(t *testing.T) {
	s := town7(t, 7)
	s.Auditors = []node{"bob", "carol", "dave"}
	s.record(4)
	s.must(s.hold("alice", 4))
	if _, err := s.keeper.doubt(s.ctx, node("zoe").Key()); !errors.Is(err, ErrNode) {
		t.Errorf("nobody: %v", err)
	}
	s.tomorrow()
	day, err := s.keeper.doubt(s.ctx, node("alice").Key())
	if err != nil || day != s.Today+1 {
		t.Errorf("day %d, %v", day, err)
	}
	if _, err := s.keeper.doubt(s.ctx, node("alice").Key()); !errors.Is(err, ErrTwice) {
		t.Errorf("twice: %v", err)
	}
	s.tomorrow()
	if _, err := s.keeper.doubt(s.ctx, node("alice").Key()); err != nil { // another doubt does not take the first one back
		t.Error(err)
	}
	if err := s.vouch(s.vouched("alice", "bob", "carol", "dave")); !errors.Is(err, ErrDoubted) {
		t.Errorf("auditors instead of the answer: %v", err)
	}
	s.must(s.prove("alice"))
}

func TestAWrongAnswerCostsTheBond(t *testing.T) {
	s := town7(t, 7)
	s.record(40)
	s.must(s.hold("alice", 40))
	s.must(s.hold("bob", 40))
	s.tomorrow()
	wrong, right := s.answers("alice", true), s.answers("bob", false)
	if err := s.cached(func(ctx sdk.Context) error {
		return s.keeper.prove(ctx, &storagev1.MsgProve{Sender: node("alice").Sender(), Answer: wrong})
	}); !errors.Is(err, ErrWrong) {
		t.Errorf("a wrong answer proves: %v", err)
	}
	accuse := func(n node, answer []byte) error {
		return s.cached(func(ctx sdk.Context) error {
			return s.keeper.accuse(ctx, &storagev1.MsgAccuse{Sender: n.Sender(), Answer: answer})
		})
	}
	a, err := proof.ParseAnswer(wrong)
	s.must(err)
	a.Signature = slices.Clone(a.Signature)
	a.Signature[0] ^= 1
	unsigned, err := a.Bytes()
	s.must(err)
	for what, row := range map[string]struct {
		n      node
		answer []byte
		want   error
	}{
		"a right one": {"bob", right, ErrRight}, "one that nobody signed": {"alice", unsigned, ErrSignature}, "in another's name": {"bob", wrong, ErrSender}, "no answer": {"alice", wrong[1:], ErrMalformed},
	} {
		if err := accuse(row.n, row.answer); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", what, err, row.want)
		}
	}
	s.must(accuse("alice", wrong))
	if err := accuse("alice", wrong); !errors.Is(err, ErrDay) {
		t.Errorf("twice: %v", err)
	}
	if h := s.holder("alice"); !h.Away || h.Pieces != 0 || s.Fined[node("alice").Key()] != Public().Penalty || len(s.Fined) != 1 || !slices.Equal(s.holding(40), []node{"bob"}) {
		t.Errorf("%+v, fined %v", h, s.Fined)
	}
}

func TestRefusedWords(t *testing.T) {
	s := town7(t, 7)
	s.record(1)
	s.record(2)
	change := func(f func(*storagev1.MsgHold)) *storagev1.MsgHold {
		m := s.says("alice", 1)
		f(m)
		return m
	}
	for what, row := range map[string]struct {
		m    *storagev1.MsgHold
		want error
	}{
		"what was never recorded": {s.says("alice", 3), ErrSegment},
		"who is not registered":   {s.says("mallory", 1), ErrNode},
		"another epoch":           {change(func(m *storagev1.MsgHold) { m.Epoch++ }), ErrEpoch},
		"another's signature":     {change(func(m *storagev1.MsgHold) { m.Signature = s.says("bob", 1).Signature }), ErrSignature},
		"other segments":          {change(func(m *storagev1.MsgHold) { m.Segments = []uint64{2} }), ErrSignature},
		"another's name":          {change(func(m *storagev1.MsgHold) { m.Sender = node("bob").Sender() }), ErrSender},
		"a short key":             {change(func(m *storagev1.MsgHold) { m.Node = m.Node[1:] }), ErrMalformed},
		"a short signature":       {change(func(m *storagev1.MsgHold) { m.Signature = m.Signature[1:] }), ErrMalformed},
		"segments that fall":      {change(func(m *storagev1.MsgHold) { m.Segments = []uint64{2, 1} }), ErrMalformed},
		"segment 0":               {change(func(m *storagev1.MsgHold) { m.Segments = []uint64{0} }), ErrMalformed},
		"too many":                {change(func(m *storagev1.MsgHold) { m.Segments = make([]uint64, proof.MaxHold+1) }), ErrMalformed},
		"that it is there, again": {s.says("alice"), ErrTwice},
	} {
		if err := s.cached(func(ctx sdk.Context) error { return s.keeper.hold(ctx, row.m) }); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", what, err, row.want)
		}
		if err := s.keeper.CheckFree(s.ctx.WithExecMode(sdk.ExecModeCheck), row.m); !errors.Is(err, row.want) {
			t.Errorf("%s, on its way in: %v, want %v", what, err, row.want)
		}
	}
	if got := s.holding(1); len(got) != 0 {
		t.Errorf("refused, and kept: %v", got)
	}
	if err := s.keeper.CheckFree(s.ctx, &storagev1.MsgDoubt{}); !errors.Is(err, ErrMalformed) {
		t.Errorf("a doubt is not free: %v", err)
	}
	if _, err := (msgs{s.keeper}).UpdateParams(s.ctx, &storagev1.MsgUpdateParams{Authority: "alice", Params: Public()}); !errors.Is(err, ErrAuthority) {
		t.Errorf("alice alone: %v", err)
	}
	if _, err := (msgs{s.keeper}).UpdateParams(s.ctx, &storagev1.MsgUpdateParams{Authority: "the vote"}); !errors.Is(err, ErrParams) {
		t.Errorf("no copies: %v", err)
	}
}

// What waits for a block leaves when it is not good any more.
func TestAWordIsGoodOnce(t *testing.T) {
	s := town7(t, 7)
	s.record(1)
	again := s.ctx.WithExecMode(sdk.ExecModeReCheck)
	m, there := s.says("alice", 1), s.says("bob")
	if err := s.keeper.CheckFree(again, m); err != nil {
		t.Error(err)
	}
	s.must(s.hold("alice", 1))
	for what, err := range map[string]error{"a segment": s.keeper.CheckFree(again, m), "that it is there": s.keeper.CheckFree(again, there)} {
		if !errors.Is(err, ErrTwice) {
			t.Errorf("%s, said before: %v", what, err)
		}
	}
	s.tomorrow()
	if err := s.keeper.CheckFree(again, s.says("bob", 1)); err != nil {
		t.Error(err)
	}
	if err := s.keeper.CheckFree(again, m); !errors.Is(err, ErrEpoch) {
		t.Errorf("of an epoch that is over: %v", err)
	}
	text := s.answers("alice", false)
	prove := &storagev1.MsgProve{Sender: node("alice").Sender(), Answer: text}
	if err := s.keeper.CheckFree(again, prove); err != nil {
		t.Error(err)
	}
	if err := s.keeper.CheckFree(again, prove); !errors.Is(err, ErrDay) {
		t.Errorf("proven twice: %v", err)
	}
}

// Whatever comes and goes, and whoever misses: rows have no gap and are asked as the pieces in them one after the other, copies are those of rows, and no segment has more holders than it is to have.
func TestRowsAreWhatWasSaid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := town7(t, 3)
		s.Auditors = s.Nodes[2:]
		last := uint64(0)
		for range rapid.IntRange(10, 60).Draw(t, "steps") {
			n := rapid.SampledFrom(s.Nodes).Draw(t, "who")
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0:
				last++
				s.record(last)
			case 1, 2, 3:
				if last > 0 {
					_ = s.hold(n, rapid.Uint64Range(1, last).Draw(t, "segment"))
				}
			case 4:
				if _, _, _, err := s.keeper.task(s.ctx, n.Key()); err == nil {
					_ = s.prove(n)
				}
			case 5:
				s.Retired[n] = !s.Retired[n]
			case 6:
				s.sound(last)
				s.tomorrow()
			}
		}
		s.sound(last)
	})
}

// sound compares the state with itself.
func (s *town) sound(last uint64) {
	s.t.Helper()
	for _, n := range s.Nodes {
		h := s.holder(n)
		key := n.Key()
		var pieces []proof.Piece
		err := s.keeper.rows.Walk(s.ctx, collections.NewPrefixedPairRange[[]byte, uint64](key[:]), func(at collections.Pair[[]byte, uint64], p storagev1.Held) (bool, error) {
			if at.K2() != uint64(len(pieces)) {
				s.t.Fatalf("%s: place %d after %d pieces", n, at.K2(), len(pieces))
			}
			if p.Day < s.Today { // what came today is not asked for
				pieces = append(pieces, pieceOf(p))
			} else if length(h, s.Today) == h.Leaves {
				s.t.Fatalf("%s is asked today for what came today: %+v", n, h)
			} else {
				pieces = append(pieces, proof.Piece{})
			}
			if has, err := s.keeper.copies.Get(s.ctx, collections.Join(p.Segment, key[:])); !p.Gone && (err != nil || has != at.K2()) {
				s.t.Fatalf("%s: segment %d at %d: copy %d, %v", n, p.Segment, at.K2(), has, err)
			}
			return false, nil
		})
		s.must(err)
		if uint64(len(pieces)) != h.Pieces {
			s.t.Fatalf("%s: %d pieces, told %d", n, len(pieces), h.Pieces)
		}
		row, err := proof.NewPieces(pieces)
		s.must(err)
		if h.Pieces > 0 && h.Since <= s.Today && row.Leaves() != length(h, s.Today) {
			s.t.Fatalf("%s: %d leaves are asked for, it had %d: %+v", n, length(h, s.Today), row.Leaves(), h)
		}
		if _, _, c, err := s.keeper.task(s.ctx, key); err == nil {
			_, leaves, _ := s.asked(n)
			for i, at := range c.Places(row) {
				if leaves[i] != (proof.Leaf{Of: pieces[at.Piece], Place: at.Leaf}) {
					s.t.Fatalf("%s is asked for %v, want %v of %v", n, leaves[i], at, pieces)
				}
			}
		}
	}
	for number := uint64(1); number <= last; number++ {
		holding := s.holding(number)
		active := slices.DeleteFunc(slices.Clone(holding), func(n node) bool { return s.Retired[n] })
		if len(active) > 3 {
			s.t.Fatalf("segment %d: %v hold it", number, holding)
		}
	}
}
