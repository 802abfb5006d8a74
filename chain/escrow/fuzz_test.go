package escrow

import (
	"bytes"
	"encoding/json"
	"testing"

	"cosmossdk.io/core/genesis"
	errorsmod "cosmossdk.io/errors"
	"cosmossdk.io/math"
	"github.com/cosmos/gogoproto/proto"

	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"

	"github.com/hpips/hpips/proto/gen/escrowv1"
)

// coded wants a registered code with a refusal.
func coded(t *testing.T, err error) {
	t.Helper()
	if space, code, _ := errorsmod.ABCIInfo(err, false); err != nil && (code == 1 || space != Name && space != sdkerrors.RootCodespace) {
		t.Fatalf("no registered code: %s %d %v", space, code, err)
	}
}

// Whatever somebody sends for a redemption, it is taken only if bob brings forward alice's own word.
func FuzzRedeem(f *testing.F) {
	s := founded(f)
	s.must(s.open(alice, s.deposit(1, hpips)))
	c := promise(f, 1, hpips/2)
	m := redemption(bob, c)
	f.Add(m.Sender, m.Node, c.Voucher, c.Signature, false, []byte{}, m.Signature)
	f.Add(m.Sender, m.Node, c.Voucher, c.Signature, true, []byte{}, redemption(bob, last(c)).Signature)
	f.Add(m.Sender, m.Node, []byte{}, []byte{}, true, id(1), redemption(bob, unused(1)).Signature)
	f.Add("", []byte{}, []byte{}, []byte{}, false, []byte{}, []byte{})
	f.Add(m.Sender, m.Node, bytes.Repeat([]byte{0xff}, 600), make([]byte, 64), false, []byte{}, make([]byte, 64))
	f.Fuzz(func(t *testing.T, sender string, node, word, signature []byte, last bool, lease, signed []byte) {
		s.t = t
		m := &escrowv1.MsgRedeem{Sender: sender, Node: node, Signature: signed, Claims: []escrowv1.Claim{{Voucher: word, Signature: signature, Last: last, Lease: lease}}}
		for _, mode := range []sdk.ExecMode{sdk.ExecModeCheck, sdk.ExecModeFinalize} {
			ctx, _ := s.ctx.WithExecMode(mode).CacheContext()
			err := s.keeper.CheckRedeem(ctx, m)
			coded(t, err)
			if mode == sdk.ExecModeFinalize {
				_, err = s.msgs.Redeem(ctx, m)
				coded(t, err)
			}
			pays := bytes.Equal(word, c.Voucher) && bytes.Equal(signature, c.Signature) && len(lease) == 0
			unused := last && bytes.Equal(lease, id(1)) && len(word) == 0 && len(signature) == 0
			if err == nil && (!pays && !unused || !bytes.Equal(node, bob.id())) {
				t.Fatalf("taken: %x of %x", word, lease)
			}
		}
	})
}

// Any bytes that are a message at all are refused with a code, or done without breaking a sum.
func FuzzMessages(f *testing.F) {
	s := founded(f)
	s.must(s.open(alice, s.deposit(1, hpips)))
	id := id(1)
	for i, m := range []proto.Message{
		&escrowv1.MsgOpen{Payer: alice.address(), Deposits: []escrowv1.Deposit{s.deposit(2, hpips)}},
		&escrowv1.MsgTopUp{Payer: alice.address(), Additions: []escrowv1.Addition{{Lease: id, Denom: Denom, Amount: math.OneInt(), Until: s.now() + 2*day}}},
		&escrowv1.MsgClose{Party: bob.address(), Leases: [][]byte{id}},
		redemption(bob, promise(f, 1, hpips/2)),
		&escrowv1.BudgetAuthorization{Daily: coins(Denom, math.OneInt()), DaySeconds: 60},
		&escrowv1.MsgUpdateParams{Authority: authority, Params: Development()},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), b)
	}
	for _, m := range []*escrowv1.MsgRedeem{redemption(bob, last(promise(f, 1, hpips/2))), redemption(bob, unused(1))} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(3), b)
	}
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		s.t = t
		ctx, _ := s.ctx.CacheContext()
		err := error(nil)
		take := func(m proto.Message, do func() error) {
			if proto.Unmarshal(b, m) == nil {
				err = do()
			}
		}
		var open escrowv1.MsgOpen
		var top escrowv1.MsgTopUp
		var shut escrowv1.MsgClose
		var redeem escrowv1.MsgRedeem
		var budget BudgetAuthorization
		var params escrowv1.MsgUpdateParams
		switch kind % 6 {
		case 0:
			take(&open, func() error { _, err := s.msgs.Open(ctx, &open); return err })
		case 1:
			take(&top, func() error { _, err := s.msgs.TopUp(ctx, &top); return err })
		case 2:
			take(&shut, func() error { _, err := s.msgs.Close(ctx, &shut); return err })
		case 3:
			take(&redeem, func() error { _, err := s.msgs.Redeem(ctx, &redeem); return err })
		case 4:
			take(&budget, func() error {
				if err := budget.ValidateBasic(); err != nil {
					return err
				}
				_, err := budget.Accept(ctx, &escrowv1.MsgOpen{Deposits: []escrowv1.Deposit{{Denom: Denom, Amount: math.OneInt()}}})
				return err
			})
		case 5:
			take(&params, func() error { _, err := s.msgs.UpdateParams(ctx, &params); return err })
		}
		coded(t, err)
		if err == nil && kind%6 != 4 {
			if err := s.keeper.Recount(ctx); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A genesis that somebody wrote is refused, or found wrong, or stands up to a block.
func FuzzGenesis(f *testing.F) {
	s := founded(f)
	f.Add([]byte(s.export()))
	s.must(s.open(alice, s.deposit(1, hpips), s.deposit(2, hpips)))
	s.must(s.redeem(bob, promise(f, 1, hpips/2)))
	s.must(s.close(bob, 2))
	s.must(s.redeem(bob, last(promise(f, 1, hpips))))
	f.Add([]byte(s.export()))
	empty := founded(f)
	f.Fuzz(func(t *testing.T, state []byte) {
		empty.t = t
		var tables map[string]json.RawMessage
		if json.Unmarshal(state, &tables) != nil || len(tables) != 15 {
			return
		}
		source, err := genesis.SourceFromRawJSON(state)
		if err != nil {
			return
		}
		ctx, _ := empty.ctx.CacheContext()
		if empty.keeper.schema.InitGenesis(ctx, source) != nil || empty.keeper.Recount(ctx) != nil {
			return
		}
		if err := empty.keeper.Advance(ctx.WithBlockHeight(ctx.BlockHeight() + 2)); err != nil {
			t.Fatal(err)
		}
	})
}
