package deals

import (
	"errors"
	"testing"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/chain/deal"
	"github.com/hpips/hpips/chain/storage"
	"github.com/hpips/hpips/proto/gen/dealv1"
	"github.com/hpips/hpips/proto/gen/storagev1"
	"github.com/hpips/hpips/spec/proof"
)

func TestDealsThatCannotBe(t *testing.T) {
	s := town7(t, 7)
	s.purse[node("zoe").Sender()] = 100
	change := func(f func(*dealv1.MsgPin)) *dealv1.MsgPin {
		m := pinned("zoe", 2, 4, 1)
		f(m)
		return m
	}
	for what, row := range map[string]struct {
		m    *dealv1.MsgPin
		want error
	}{
		"no parts":           {change(func(m *dealv1.MsgPin) { m.Parts, m.Need = 0, 0 }), deal.ErrMalformed},
		"none may be lost":   {change(func(m *dealv1.MsgPin) { m.Need = 4 }), deal.ErrMalformed},
		"too many parts":     {change(func(m *dealv1.MsgPin) { m.Parts = 256 }), deal.ErrMalformed},
		"too few pieces":     {change(func(m *dealv1.MsgPin) { m.Pieces = m.Pieces[1:] }), deal.ErrMalformed},
		"copies that differ": {change(func(m *dealv1.MsgPin) { m.Need = 1 }), deal.ErrMalformed},
		"a short root":       {change(func(m *dealv1.MsgPin) { m.Pieces[1].Root = m.Pieces[1].Root[1:] }), deal.ErrMalformed},
		"a piece of nothing": {change(func(m *dealv1.MsgPin) { m.Pieces[1].Length = 0 }), deal.ErrMalformed},
		"a piece too large":  {change(func(m *dealv1.MsgPin) { m.Pieces[1].Length = proof.MaxSize + 1 }), deal.ErrMalformed},
		"no address":         {change(func(m *dealv1.MsgPin) { m.Object = m.Object[1:] }), deal.ErrMalformed},
		"no manifest":        {change(func(m *dealv1.MsgPin) { m.Manifest = nil }), deal.ErrMalformed},
		"no payer":           {change(func(m *dealv1.MsgPin) { m.Payer = "zoe" }), deal.ErrMalformed},
		"no node":            {change(func(m *dealv1.MsgPin) { m.Origin = nil }), deal.ErrMalformed},
		"a price of all":     {change(func(m *dealv1.MsgPin) { m.Price = 1 << 62 }), deal.ErrMalformed},
		"for no day":         {change(func(m *dealv1.MsgPin) { m.Days = 0 }), deal.ErrDays},
		"for ever":           {change(func(m *dealv1.MsgPin) { m.Days = 1 << 63 }), deal.ErrDays},
		"more than there is": {change(func(m *dealv1.MsgPin) { m.Days, m.Price = 3660, 1e10; m.Pieces[0].Length = proof.MaxSize }), deal.ErrDeposit},
	} {
		err := s.cached(func(ctx sdk.Context) error {
			_, err := s.deals.Msgs().Pin(ctx, row.m)
			return err
		})
		if !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", what, err, row.want)
		}
	}
	if err := s.cached(func(ctx sdk.Context) error {
		_, err := s.deals.Msgs().Pin(ctx, pinned("zoe", 2, 4, 9))
		return err
	}); err == nil {
		t.Error("zoe deposits what she has not")
	}
	d := s.pins("zoe", 1, 1, 1)
	for what, row := range map[string]struct {
		m    *storagev1.MsgKeep
		want error
	}{
		"no deal":             {s.keeps("alice", false, proof.Part{Deal: d + 1}), deal.ErrDeal},
		"no part":             {s.keeps("alice", false, proof.Part{Deal: d, Number: 1}), deal.ErrDeal},
		"nothing":             {s.keeps("alice", false), storage.ErrTwice},
		"who is not there":    {s.keeps("zoe", false, proof.Part{Deal: d}), storage.ErrNode},
		"another's word":      {func() *storagev1.MsgKeep { m := s.keeps("alice", true); m.Leaves = false; return m }(), storage.ErrSignature},
		"in another epoch":    {func() *storagev1.MsgKeep { m := s.keeps("alice", true); m.Epoch++; return m }(), storage.ErrEpoch},
		"in another's name":   {func() *storagev1.MsgKeep { m := s.keeps("alice", true); m.Sender = node("bob").Sender(); return m }(), storage.ErrSender},
		"of a node that ends": {func() *storagev1.MsgKeep { m := s.keeps("alice", true); m.Node = m.Node[1:]; return m }(), storage.ErrMalformed},
	} {
		if err := s.cached(func(ctx sdk.Context) error {
			_, err := s.rows.Msgs().Keep(ctx, row.m)
			return err
		}); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", what, err, row.want)
		}
		if err := s.rows.CheckFree(s.ctx.WithExecMode(sdk.ExecModeCheck), row.m); !errors.Is(err, row.want) {
			t.Errorf("%s, on its way in: %v, want %v", what, err, row.want)
		}
	}
	if _, err := s.deals.Msgs().UpdateParams(s.ctx, &dealv1.MsgUpdateParams{Authority: "alice", Params: deal.Public()}); !errors.Is(err, deal.ErrAuthority) {
		t.Errorf("alice alone: %v", err)
	}
	if _, err := s.deals.Msgs().UpdateParams(s.ctx, &dealv1.MsgUpdateParams{Authority: "the vote"}); !errors.Is(err, deal.ErrParams) {
		t.Errorf("no days: %v", err)
	}
}
