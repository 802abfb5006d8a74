package governance

import (
	"errors"
	"testing"
	"time"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	cmttypes "github.com/cometbft/cometbft/types"

	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	consensustypes "github.com/cosmos/cosmos-sdk/x/consensus/types"
	v1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1"
)

// A vote on the engine's parameters may neither hand the chain to carol nor end it.
func TestTheEnginesParametersStayLivable(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*consensustypes.MsgUpdateParams)
		want   error
	}{
		"larger blocks":      {func(m *consensustypes.MsgUpdateParams) { m.Block.MaxBytes = 4 << 20 }, nil},
		"no vote extensions": {func(m *consensustypes.MsgUpdateParams) { m.Abci = &cmtproto.ABCIParams{} }, nil},
		"carol rules": {func(m *consensustypes.MsgUpdateParams) {
			m.Auth = &cmtproto.AuthorityParams{Authority: at("carol").String()}
		}, ErrEngine},
		"vote extensions":        {func(m *consensustypes.MsgUpdateParams) { m.Abci = &cmtproto.ABCIParams{VoteExtensionsEnableHeight: 99} }, ErrEngine},
		"keys that no seat has":  {func(m *consensustypes.MsgUpdateParams) { m.Validator.PubKeyTypes = []string{"secp256k1"} }, ErrEngine},
		"no room for a commit":   {func(m *consensustypes.MsgUpdateParams) { m.Block.MaxBytes = 1000 }, ErrEngine},
		"blocks without end":     {func(m *consensustypes.MsgUpdateParams) { m.Block.MaxBytes = -1 }, ErrEngine},
		"no gas for anybody":     {func(m *consensustypes.MsgUpdateParams) { m.Block.MaxGas = 0 }, ErrEngine},
		"gas without end":        {func(m *consensustypes.MsgUpdateParams) { m.Block.MaxGas = -1 }, ErrEngine},
		"no room for evidence":   {func(m *consensustypes.MsgUpdateParams) { m.Evidence.MaxBytes = 0 }, ErrEngine},
		"forgotten after a day":  {func(m *consensustypes.MsgUpdateParams) { m.Evidence.MaxAgeDuration = 24 * time.Hour }, ErrEngine},
		"half of the parameters": {func(m *consensustypes.MsgUpdateParams) { m.Evidence = nil }, ErrEngine},
	} {
		now := cmttypes.DefaultConsensusParams().ToProto()
		now.Block.MaxBytes, now.Block.MaxGas, now.Evidence.MaxBytes, now.Evidence.MaxAgeDuration = 2<<20, 60_000_000, 100_000, 14*24*time.Hour
		m := &consensustypes.MsgUpdateParams{Authority: authority, Block: now.Block, Evidence: now.Evidence, Validator: now.Validator}
		row.change(m)
		p, err := v1.NewProposal([]sdk.Msg{m}, 1, time.Time{}, time.Time{}, "", "", "", at("alice"), false)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkMessages(p); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", name, err, row.want)
		}
	}
}

// Alice voted on two proposals: what is counted anew for each of her sends, she pays for. Bob, who did not vote, pays nothing.
func TestCountingAnewIsPaidFor(t *testing.T) {
	s := founded(t, map[string]int64{"alice": 100, "bob": 100, "proposer": 2}, map[string]int{"alice": 1})
	for range 2 {
		s.says(s.open("proposer"), yes, "alice")
	}
	gas := func(from string) uint64 {
		ctx := s.ctx.WithGasMeter(storetypes.NewGasMeter(10_000_000))
		if _, err := s.keeper.BeforeSend(ctx, at(from), at("carol"), hp(1)); err != nil {
			t.Fatal(err)
		}
		return ctx.GasMeter().GasConsumed()
	}
	if alice, bob := gas("alice"), gas("bob"); alice < 2*settleGas || bob >= settleGas {
		t.Errorf("alice pays %d gas, bob %d", alice, bob)
	}
}
