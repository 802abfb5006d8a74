package deals

import (
	"maps"
	"slices"
	"strings"
	"testing"

	errorsmod "cosmossdk.io/errors"
	"github.com/cosmos/gogoproto/proto"

	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"

	"github.com/hpips/hpips/chain/deal"
	"github.com/hpips/hpips/chain/storage"
	"github.com/hpips/hpips/proto/gen/dealv1"
	"github.com/hpips/hpips/proto/gen/storagev1"
	"github.com/hpips/hpips/spec/proof"
)

// everything is one message of each kind, such as somebody in the town could send now.
func (s *town) everything(number uint64) []proto.Message {
	alice, last := s.Nodes[0], proof.Part{Deal: number, Number: 3}
	key := alice.Key()
	taker := s.Nodes[slices.IndexFunc(s.Nodes, func(n node) bool { return slices.Contains(s.offered(n), last) })]
	witness := storagev1.Witness{Auditor: key[:], Signature: make([]byte, 64)}
	return []proto.Message{
		pinned("zoe", 2, 4, 9), &dealv1.MsgExtend{Payer: node("zoe").Sender(), Deal: number, Days: 2}, &dealv1.MsgUnpin{Payer: node("zoe").Sender(), Deal: number},
		&dealv1.MsgUpdateParams{Authority: "the vote", Params: deal.Public()},
		s.says(s.Nodes[1], 1), s.keeps(taker, false, last),
		&storagev1.MsgVouch{Sender: alice.Sender(), Node: key[:], Day: s.Today, Witnesses: []storagev1.Witness{witness}},
		&storagev1.MsgProve{Sender: alice.Sender(), Answer: s.answers(alice, false)}, &storagev1.MsgAccuse{Sender: alice.Sender(), Answer: s.answers(alice, true)},
		&storagev1.MsgDoubt{Sender: node("zoe").Sender(), Node: key[:]}, &storagev1.MsgUpdateParams{Authority: "the vote", Params: storage.Public()},
	}
}

// handle does with a message what a block does: the free ones have passed the ante handler's check before.
func (s *town) handle(ctx sdk.Context, m proto.Message) (err error) {
	switch m := m.(type) {
	case *dealv1.MsgPin:
		_, err = s.deals.Msgs().Pin(ctx, m)
	case *dealv1.MsgExtend:
		_, err = s.deals.Msgs().Extend(ctx, m)
	case *dealv1.MsgUnpin:
		_, err = s.deals.Msgs().Unpin(ctx, m)
	case *dealv1.MsgUpdateParams:
		_, err = s.deals.Msgs().UpdateParams(ctx, m)
	case *storagev1.MsgDoubt:
		_, err = s.rows.Msgs().Doubt(ctx, m)
	case *storagev1.MsgUpdateParams:
		_, err = s.rows.Msgs().UpdateParams(ctx, m)
	default:
		return s.free(ctx, m)
	}
	return err
}

// free checks a free message as the mempool does, twice, and as a block does, and then takes it.
func (s *town) free(ctx sdk.Context, m proto.Message) (err error) {
	for _, mode := range []sdk.ExecMode{sdk.ExecModeCheck, sdk.ExecModeReCheck} {
		once, _ := ctx.CacheContext()
		before := *s
		s.apart()
		err := s.rows.CheckFree(once.WithExecMode(mode), m)
		if *s = before; err != nil {
			return err
		}
	}
	if err := s.rows.CheckFree(ctx.WithExecMode(sdk.ExecModeFinalize), m); err != nil {
		return err
	}
	switch m := m.(type) {
	case *storagev1.MsgHold:
		_, err = s.rows.Msgs().Hold(ctx, m)
	case *storagev1.MsgKeep:
		_, err = s.rows.Msgs().Keep(ctx, m)
	case *storagev1.MsgVouch:
		_, err = s.rows.Msgs().Vouch(ctx, m)
	case *storagev1.MsgProve:
		_, err = s.rows.Msgs().Prove(ctx, m)
	case *storagev1.MsgAccuse:
		_, err = s.rows.Msgs().Accuse(ctx, m)
	}
	return err
}

// apart gives the town money of its own, for what is undone later.
func (s *town) apart() {
	s.purse, s.Kept, s.Fined = maps.Clone(s.purse), maps.Clone(s.Kept), maps.Clone(s.Fined)
}

// busy is a town on whose chain a deal is kept, a segment is held, and all are asked; it has a part that nobody keeps yet.
func busy(t testing.TB) (*town, uint64) {
	s := town7(t, 7)
	s.Auditors = s.Nodes[2:]
	s.purse[node("zoe").Sender()] = 1_000_000
	number := s.pins("zoe", 2, 4, 20)
	s.taken(s.keepsLast(number)...)
	s.record(1)
	s.blocks(1)
	s.must(s.hold(s.Nodes[0], 1))
	s.tomorrow()
	for _, n := range s.Nodes {
		if s.holder(n).Away {
			s.must(s.hold(n))
		}
	}
	return s, number
}

// keepsLast are all whom no part but the last is offered.
func (s *town) keepsLast(number uint64) (list []node) {
	for _, n := range s.Nodes {
		for _, p := range s.offered(n) {
			if p == (proof.Part{Deal: number, Number: 3}) {
				list = append(list, n)
			}
		}
	}
	return list
}

// Any bytes that are a message at all are refused with a code, or done without breaking a sum, also in the blocks and the day after.
func FuzzMessages(f *testing.F) {
	s, number := busy(f)
	for i, m := range s.everything(number) {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), b)
	}
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		all := []proto.Message{
			&dealv1.MsgPin{}, &dealv1.MsgExtend{}, &dealv1.MsgUnpin{}, &dealv1.MsgUpdateParams{}, &storagev1.MsgHold{}, &storagev1.MsgKeep{}, &storagev1.MsgVouch{},
			&storagev1.MsgProve{}, &storagev1.MsgAccuse{}, &storagev1.MsgDoubt{}, &storagev1.MsgUpdateParams{},
		}
		m := all[int(kind)%len(all)]
		if proto.Unmarshal(b, m) != nil {
			return
		}
		before := *s
		s.apart()
		defer func() { *s = before }()
		s.t = t
		s.ctx, _ = s.ctx.CacheContext()
		if err := s.handle(s.ctx, m); err != nil {
			coded(t, err)
			return
		}
		s.solvent()
		s.tomorrow()
		s.solvent()
	})
}

// coded wants a registered code with a refusal; the town's bank has none for who is too poor.
func coded(t *testing.T, err error) {
	t.Helper()
	space, code, _ := errorsmod.ABCIInfo(err, false)
	known := space == storage.Name || space == deal.Name || space == sdkerrors.RootCodespace
	if (code == 1 || !known) && !strings.Contains(err.Error(), "and is to pay") {
		t.Fatalf("no registered code: %s %d %v", space, code, err)
	}
}

// Of the messages that the fuzzing begins with most are taken: it begins inside.
func TestFuzzingBeginsInside(t *testing.T) {
	s, number := busy(t)
	refused := map[int]string{6: "the auditors' signatures are of zeros"}
	for i, m := range s.everything(number) {
		before := *s
		s.apart()
		ctx, _ := s.ctx.CacheContext()
		err := s.handle(ctx, m)
		if why, no := refused[i]; (err != nil) != no {
			t.Errorf("%T: %v; %s", m, err, why)
		}
		*s = before
	}
}
