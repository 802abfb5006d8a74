package escrow

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"cosmossdk.io/math"
	"pgregory.net/rapid"

	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/tx/signing"
	authsigning "github.com/cosmos/cosmos-sdk/x/auth/signing"
	authtx "github.com/cosmos/cosmos-sdk/x/auth/tx"
	"github.com/cosmos/cosmos-sdk/x/authz"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"

	"github.com/hpips/hpips/proto/gen/escrowv1"
)

// allow lets alice's daemon, which is carol here, spend up to 10 HPIPS and 100 silver a day.
func (s *town) allow() {
	s.t.Helper()
	daily := sdk.NewCoins(sdk.NewInt64Coin(Denom, 10*hpips), sdk.NewInt64Coin(silver, 100))
	for _, a := range Budget(daily, daily, 24*time.Hour) {
		m := &authz.MsgGrant{Granter: alice.address(), Grantee: carol.address()}
		s.must(m.SetAuthorization(a))
		_, err := s.authz.Grant(s.ctx, m)
		s.must(err)
	}
}

// errand is what the daemon does in alice's name.
func (s *town) errand(m sdk.Msg) error {
	return s.try(func(ctx sdk.Context) error {
		_, err := s.authz.DispatchActions(ctx, carol.at(), []sdk.Msg{m})
		return err
	})
}

func opening(d ...escrowv1.Deposit) sdk.Msg {
	return &escrowv1.MsgOpen{Payer: alice.address(), Deposits: d}
}

func TestASpendingKeyKeepsToItsBudget(t *testing.T) {
	s := founded(t)
	s.refuses("before it was allowed", s.errand(opening(s.deposit(1, hpips))), authz.ErrNoAuthorizationFound)
	s.allow()
	s.must(s.errand(opening(s.deposit(1, 4*hpips), s.deposit(2, 3*hpips))))
	s.refuses("over it", s.errand(opening(s.deposit(3, 3*hpips+1))), ErrBudget)
	metal := s.deposit(3, 100)
	metal.Denom = silver
	s.must(s.errand(opening(metal, s.deposit(4, 3*hpips))))
	metal.Terms, metal.Amount = s.deposit(5, 1).Terms, math.OneInt()
	s.refuses("a silver more", s.errand(opening(metal)), ErrBudget)
	s.refuses("tin", s.errand(opening(escrowv1.Deposit{Terms: metal.Terms, Denom: tin, Amount: math.OneInt()})), ErrBudget)
	if s.has(alice, Denom) != 990*hpips {
		t.Errorf("alice has %d", s.has(alice, Denom))
	}
	add := func(n int64, denom string) sdk.Msg {
		return &escrowv1.MsgTopUp{Payer: alice.address(), Additions: []escrowv1.Addition{{Lease: id(1), Amount: math.NewInt(n), Denom: denom}}}
	}
	s.must(s.errand(add(10*hpips, Denom)))
	s.refuses("top-ups count, too", s.errand(add(1, Denom)), ErrBudget)
	s.refuses("HPIPS for silver", s.errand(add(1, silver)), ErrDenom)
	s.refuses("less than nothing", s.errand(add(-5*hpips, Denom)), ErrAmount)
	s.must(s.errand(&escrowv1.MsgClose{Party: alice.address(), Leases: [][]byte{id(1)}}))

	s.ctx = s.ctx.WithBlockTime(s.ctx.BlockTime().Add(24*time.Hour - time.Second))
	s.refuses("the same day", s.errand(opening(s.deposit(6, hpips))), ErrBudget)
	s.ctx = s.ctx.WithBlockTime(s.ctx.BlockTime().Add(time.Second))
	s.must(s.errand(opening(s.deposit(6, 10*hpips))))
	s.refuses("the next day", s.errand(opening(s.deposit(7, 10_000))), ErrBudget)

	s.refuses("send", s.errand(&banktypes.MsgSend{FromAddress: alice.address(), ToAddress: carol.address(), Amount: coins(Denom, math.OneInt())}),
		authz.ErrNoAuthorizationFound)
	s.sound()
}

// Mallory deposits what she can, whenever she likes. Whichever day one looks at, from any instant on, she took no more than the budget of one; and what is a day
// and an hour old does not keep her from the whole.
func TestNoDayTakesMoreThanItsBudget(t *testing.T) {
	const day, budget = 60 * time.Second, 1000
	s := founded(t)
	rapid.Check(t, func(t *rapid.T) {
		type taking struct {
			at     time.Time
			amount int64
		}
		var took []taking
		b := Budget(coins(Denom, math.NewInt(budget)), nil, day)[0]
		now := s.ctx.BlockTime()
		for range rapid.IntRange(1, 200).Draw(t, "messages") {
			now = now.Add(time.Duration(rapid.SampledFrom([]int64{0, 1, 7, 500, 2_400, 2_500, 59_999, 60_000, 62_500}).Draw(t, "wait")) * time.Millisecond)
			amount := rapid.SampledFrom([]int64{0, 1, 99, 500, budget, budget + 1}).Draw(t, "amount")
			sum, late := amount, amount
			for _, x := range took {
				if now.Before(x.at.Add(day)) {
					sum += x.amount
				}
				if now.Before(x.at.Add(day + day/parts)) {
					late += x.amount
				}
			}
			res, err := b.Accept(s.ctx.WithBlockTime(now), opening(escrowv1.Deposit{Denom: Denom, Amount: math.NewInt(amount)}))
			switch {
			case err == nil && sum > budget:
				t.Fatalf("%d within a day, %d are allowed", sum, budget)
			case err != nil && (late <= budget || !errors.Is(err, ErrBudget)):
				t.Fatalf("%d within a day and an hour, %d are allowed: %v", late, budget, err)
			case err != nil:
				continue
			}
			took = append(took, taking{now, amount})
			b = res.Updated.(*BudgetAuthorization)
			if err := b.ValidateBasic(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestAmountsThatNoBudgetCounts(t *testing.T) {
	s := founded(t)
	open, top, shut := Budget(coins(Denom, math.NewInt(10)), nil, time.Hour)[0], Budget(nil, nil, time.Hour)[1], Budget(nil, nil, time.Hour)[2]
	for name, row := range map[string]struct {
		a    *BudgetAuthorization
		m    sdk.Msg
		want error
	}{
		"no amount":           {open, opening(escrowv1.Deposit{Denom: Denom}), ErrAmount},
		"negative":            {open, opening(escrowv1.Deposit{Denom: Denom, Amount: math.NewInt(-1)}), ErrAmount},
		"beyond 64 bits":      {open, opening(escrowv1.Deposit{Denom: Denom, Amount: math.NewIntFromUint64(1 << 63).MulRaw(4)}), ErrAmount},
		"not a denomination":  {open, opening(escrowv1.Deposit{Denom: "\x00", Amount: math.OneInt()}), ErrDenom},
		"another message":     {open, &escrowv1.MsgTopUp{}, ErrBudget},
		"a top-up of no use":  {top, opening(), ErrBudget},
		"closing with a vote": {shut, &escrowv1.MsgUpdateParams{}, ErrBudget},
		"redeeming":           {open, &escrowv1.MsgRedeem{}, ErrBudget},
	} {
		res, err := row.a.Accept(s.ctx, row.m)
		s.refuses(name, err, row.want)
		if res.Accept || res.Updated != nil || len(row.a.Spent) > 0 {
			t.Errorf("%s: %+v", name, res)
		}
	}
}

func TestBudgetsThatNobodyCanGive(t *testing.T) {
	for name, change := range map[string]func(*BudgetAuthorization){
		"for sending":     func(b *BudgetAuthorization) { b.Msg = sdk.MsgTypeURL(&banktypes.MsgSend{}) },
		"for redeeming":   func(b *BudgetAuthorization) { b.Msg = sdk.MsgTypeURL(&escrowv1.MsgRedeem{}) },
		"no day":          func(b *BudgetAuthorization) { b.DaySeconds = 0 },
		"an endless day":  func(b *BudgetAuthorization) { b.DaySeconds = 1 << 63 },
		"less than zero":  func(b *BudgetAuthorization) { b.Daily = sdk.Coins{{Denom: Denom, Amount: math.NewInt(-1)}} },
		"no amount":       func(b *BudgetAuthorization) { b.Daily = sdk.Coins{{Denom: Denom}} },
		"one asset twice": func(b *BudgetAuthorization) { b.Daily = append(b.Daily, b.Daily...) },
		"spent below zero": func(b *BudgetAuthorization) {
			b.Spent = []escrowv1.Spending{{Sum: sdk.Coins{{Denom: Denom, Amount: math.NewInt(-1)}}}}
		},
		"spent without end": func(b *BudgetAuthorization) { b.Spent = make([]escrowv1.Spending, 26) },
		"beyond 64 bits":    func(b *BudgetAuthorization) { b.Daily = coins(Denom, math.NewIntFromUint64(1<<63).MulRaw(4)) },
	} {
		b := Budget(coins(Denom, math.OneInt()), coins(Denom, math.OneInt()), time.Hour)[0]
		change(b)
		var err error
		func() {
			defer func() {
				if r := recover(); r != nil {
					t.Errorf("%s: %v", name, r)
				}
			}()
			err = b.ValidateBasic()
		}()
		if !errors.Is(err, ErrBudget) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, b := range Budget(coins(Denom, math.OneInt()), coins(Denom, math.OneInt()), time.Hour) {
		if err := b.ValidateBasic(); err != nil {
			t.Errorf("%s: %v", b.Msg, err)
		}
	}
	if b := (&BudgetAuthorization{}); b.MsgTypeURL() != "/hpips.escrow.v1.MsgOpen" {
		t.Errorf("without a message it is for %s", b.MsgTypeURL())
	}
}

// The allowance is the chain's word wherever it is written: in a transaction, in what a wallet signs, in a genesis.
func TestABudgetTravels(t *testing.T) {
	s := founded(t)
	s.allow()
	s.must(s.errand(opening(s.deposit(1, 4*hpips))))
	out := s.authz.ExportGenesis(s.ctx)
	text, err := cdc.MarshalJSON(out)
	s.must(err)
	if want := `{"@type":"/hpips.escrow.v1.BudgetAuthorization","daily":[{"denom":"silver","amount":"100"},{"denom":"uhpips","amount":"10000000"}],` +
		`"day_seconds":"86400","msg":"/hpips.escrow.v1.MsgOpen","spent":[{"sum":[{"denom":"uhpips","amount":"4000000"}],"last":"2027-01-15T08:00:00Z"}]}`; !bytes.Contains(text, []byte(want)) {
		t.Errorf("genesis: %s", text)
	}
	var in authz.GenesisState
	s.must(cdc.UnmarshalJSON(text, &in))
	again := founded(t)
	again.authz.InitGenesis(again.ctx, &in)
	again.refuses("what was spent before", again.errand(opening(again.deposit(1, 6*hpips+1))), ErrBudget)
	again.must(again.errand(opening(again.deposit(1, 6*hpips))))

	m := &authz.MsgGrant{Granter: alice.address(), Grantee: carol.address()}
	s.must(m.SetAuthorization(Budget(coins(Denom, math.OneInt()), coins(Denom, math.OneInt()), time.Hour)[1]))
	config := authtx.NewTxConfig(cdc, authtx.DefaultSignModes)
	builder := config.NewTxBuilder()
	s.must(builder.SetMsgs(m))
	b, err := config.TxEncoder()(builder.GetTx())
	s.must(err)
	read, err := config.TxDecoder()(b)
	s.must(err)
	back, err := read.GetMsgs()[0].(*authz.MsgGrant).GetAuthorization()
	if err != nil || back.MsgTypeURL() != "/hpips.escrow.v1.MsgTopUp" {
		t.Errorf("%v, %v", back, err)
	}
	signed, err := authsigning.GetSignBytesAdapter(s.ctx, config.SignModeHandler(), signing.SignMode_SIGN_MODE_LEGACY_AMINO_JSON,
		authsigning.SignerData{Address: alice.address(), ChainID: chainID}, builder.GetTx())
	if err != nil || !bytes.Contains(signed, []byte(`"type":"hpips/escrow/BudgetAuthorization"`)) {
		t.Errorf("a wallet signs %s, %v", signed, err)
	}
	raw, err := codectypes.NewAnyWithValue(&escrowv1.BudgetAuthorization{DaySeconds: 60})
	s.must(err)
	raw, err = codectypes.NewAnyWithValue(raw) // read from bytes, whoever packed it
	s.must(err)
	var inner codectypes.Any
	s.must(inner.Unmarshal(raw.Value))
	var a authz.Authorization
	if err := cdc.UnpackAny(&inner, &a); err != nil || a.MsgTypeURL() != "/hpips.escrow.v1.MsgOpen" {
		t.Errorf("%v, %v", a, err)
	}
}
