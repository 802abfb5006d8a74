package thief

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"cosmossdk.io/log/v2"
	"cosmossdk.io/math"
	abci "github.com/cometbft/cometbft/abci/types"
	dbm "github.com/cosmos/cosmos-db"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	"github.com/cosmos/cosmos-sdk/x/authz"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	govv1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1"
	"github.com/cosmos/gogoproto/proto"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/chaintest"
	"github.com/hpips/hpips/chain/escrow"
	"github.com/hpips/hpips/ledger"
	escrowv1 "github.com/hpips/hpips/proto/gen/escrowv1"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/voucher"
)

const (
	chainID = "hpips-test-1"
	budget  = 5 * money.Scale
	day     = time.Minute // of a development network
)

// town is a chain with alice's seat. Carol has 1,000 HPIPS and a node, whose spending key Mallory has stolen; bob's node works for whoever pays.
type town struct {
	t                   *testing.T
	app                 *chain.App
	alice, bob          chaintest.Person
	carol, key, mallory chaintest.Person
	height              int64
	now                 time.Time
	terms               byte
	took                []taking
}

// taking is what a block took from carol.
type taking struct {
	at     time.Time
	amount int64 // uhpips
}

// founded is the town in which carol has allowed her node its budget: in the genesis, or by her wallet.
func founded(t *testing.T, byWallet bool) *town {
	t.Helper()
	s := &town{t: t, alice: chaintest.New("alice"), bob: chaintest.New("bob"), carol: chaintest.New("carol"), key: chaintest.New("carol's node"), mallory: chaintest.New("mallory")}
	g, err := chaintest.Genesis(chainID, s.alice)
	s.must(err)
	works, err := s.bob.Registration(chainID, 0)
	s.must(err)
	g.Nodes = append(g.Nodes, works)
	for _, who := range []chaintest.Person{s.carol, s.key} { // the key's own is never needed: its account has to be there
		g.Grants = append(g.Grants, chain.Grant{Address: who.Address(), Amount: 1_000_000_000, From: "community", Label: who.Name})
	}
	if !byWallet {
		g.Allowances = []chain.Allowance{{Owner: s.carol.Address(), Spender: s.key.Address(), Daily: budget}}
	}
	doc, err := g.Build()
	s.must(err)
	s.app, err = chain.New(chain.Options{ChainID: chainID, DB: dbm.NewMemDB(), Log: log.NewNopLogger(), VRF: s.alice.VRF, Calm: func() time.Duration { return time.Hour }})
	s.must(err)
	params := doc.ConsensusParams.ToProto()
	_, err = s.app.InitChain(&abci.RequestInitChain{ChainId: chainID, Time: doc.GenesisTime, ConsensusParams: &params, AppStateBytes: doc.AppState, InitialHeight: 1})
	s.must(err)
	s.now = doc.GenesisTime
	s.block(time.Second)
	if byWallet {
		s.allow(false)
	}
	return s
}

// allow is carol's word, by her wallet.
func (s *town) allow(again bool) {
	s.t.Helper()
	messages, err := ledger.Allow(s.carol.Address(), s.key.Address(), budget, 0, day, again)
	s.must(err)
	if r := s.block(time.Second, s.signed(s.carol, chaintest.Envelope{}, messages...)); r.Code != 0 {
		s.t.Fatal(r.Log)
	}
	s.took = nil
}

func (s *town) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// block makes a block of one transaction at most, some time after the one before, and notes what it took from carol.
func (s *town) block(later time.Duration, txs ...[]byte) *abci.ExecTxResult {
	s.t.Helper()
	had := int64(0)
	if s.height > 0 {
		had = s.balance(s.carol)
	}
	s.height, s.now = s.height+1, s.now.Add(later)
	by := s.alice.ConsensusAddress()
	made, err := s.app.PrepareProposal(&abci.RequestPrepareProposal{Height: s.height, Time: s.now, Txs: txs, MaxTxBytes: 1 << 20, ProposerAddress: by})
	s.must(err)
	good, err := s.app.ProcessProposal(&abci.RequestProcessProposal{Height: s.height, Time: s.now, Txs: made.Txs, ProposerAddress: by})
	s.must(err)
	if good.Status != abci.ResponseProcessProposal_ACCEPT {
		s.t.Fatalf("block %d is refused", s.height)
	}
	done, err := s.app.FinalizeBlock(&abci.RequestFinalizeBlock{Height: s.height, Time: s.now, Txs: made.Txs, ProposerAddress: by})
	s.must(err)
	_, err = s.app.Commit()
	s.must(err)
	if s.height > 1 {
		s.took = append(s.took, taking{s.now, had - s.balance(s.carol)})
	}
	if len(txs) == 0 {
		return nil
	}
	return done.TxResults[len(done.TxResults)-1]
}

func (s *town) ask(path string, question, answer proto.Message) {
	s.t.Helper()
	text, err := proto.Marshal(question)
	s.must(err)
	r, err := s.app.Query(s.t.Context(), &abci.RequestQuery{Path: path, Data: text})
	s.must(err)
	if r.Code != 0 {
		s.t.Fatalf("%s: %s", path, r.Log)
	}
	s.must(proto.Unmarshal(r.Value, answer))
}

func (s *town) balance(who chaintest.Person) int64 {
	s.t.Helper()
	var r banktypes.QueryBalanceResponse
	s.ask("/cosmos.bank.v1beta1.Query/Balance", &banktypes.QueryBalanceRequest{Address: who.Address(), Denom: chain.Base}, &r)
	return r.Balance.Amount.Int64()
}

// signed is a transaction with the account's next sequence.
func (s *town) signed(by chaintest.Person, e chaintest.Envelope, messages ...sdk.Msg) []byte {
	s.t.Helper()
	var r authtypes.QueryAccountResponse
	s.ask("/cosmos.auth.v1beta1.Query/Account", &authtypes.QueryAccountRequest{Address: by.Address()}, &r)
	var account authtypes.BaseAccount
	s.must(account.Unmarshal(r.Account.Value))
	e.ChainID, e.Account, e.Sequence = chainID, account.AccountNumber, account.Sequence
	tx, err := chaintest.Sign(s.app.Codec(), by, e, messages...)
	s.must(err)
	return tx
}

// steal is a block with what Mallory does by the stolen key in carol's name, and at her cost.
func (s *town) steal(later time.Duration, fee int64, messages ...sdk.Msg) *abci.ExecTxResult {
	s.t.Helper()
	packed := make([]*codectypes.Any, len(messages))
	for i, m := range messages {
		var err error
		packed[i], err = codectypes.NewAnyWithValue(m)
		s.must(err)
	}
	return s.block(later, s.paidByCarol(fee, &authz.MsgExec{Grantee: s.key.Address(), Msgs: packed}))
}

// paidByCarol is a transaction of the key whose fee carol pays.
func (s *town) paidByCarol(fee int64, m sdk.Msg) []byte {
	s.t.Helper()
	e := chaintest.Envelope{Granter: s.carol.Account()}
	if fee > 0 {
		e.Fee = chaintest.Coins(fee)
	}
	return s.signed(s.key, e, m)
}

func (s *town) open(amounts ...int64) sdk.Msg {
	m := &escrowv1.MsgOpen{Payer: s.carol.Address()}
	for _, n := range amounts {
		s.terms++
		id, terms := s.bob.ID(), [32]byte{s.terms, byte(s.height), byte(s.height >> 8)}
		m.Deposits = append(m.Deposits, escrowv1.Deposit{Terms: terms[:], Node: id[:], VoucherKey: s.key.Owner.PubKey().Bytes(), Denom: chain.Base,
			Amount: math.NewInt(n), Until: s.now.Add(10 * time.Hour).Unix()})
	}
	return m
}

// lease is the ID of a lease that was opened.
func (s *town) lease(m sdk.Msg, i int) []byte {
	id := voucher.LeaseID(s.carol.Address(), [32]byte(m.(*escrowv1.MsgOpen).Deposits[i].Terms))
	return id[:]
}

func (s *town) add(lease []byte, n int64) sdk.Msg {
	return &escrowv1.MsgTopUp{Payer: s.carol.Address(), Additions: []escrowv1.Addition{{Lease: lease, Amount: math.NewInt(n), Denom: chain.Base}}}
}

// worst is the most that was taken within a day, from any instant on.
func (s *town) worst() (most int64) {
	for i, first := range s.took {
		sum := int64(0)
		for _, one := range s.took[i:] {
			if one.at.Before(first.at.Add(day)) {
				sum += one.amount
			}
		}
		most = max(most, sum)
	}
	return most
}

// takes wants a block to take so much from carol.
func (s *town) takes(what string, want int64, r *abci.ExecTxResult) {
	s.t.Helper()
	if got := s.took[len(s.took)-1].amount; got != want {
		s.t.Errorf("%s takes %d from carol, want %d: code %d, %s", what, got, want, r.Code, r.Log)
	}
}

func everyWay(t *testing.T, story func(t *testing.T, s *town)) {
	for name, byWallet := range map[string]bool{"genesis": false, "wallet": true} {
		t.Run(name, func(t *testing.T) { story(t, founded(t, byWallet)) })
	}
}

// Mallory takes what she can within a day, waits for its end, and takes it again at once. From no instant on did carol lose more than the budget within a day.
func TestAThiefTakesNoMoreThanTheBudget(t *testing.T) {
	everyWay(t, func(t *testing.T, s *town) {
		first := s.open(2_000_000)
		s.takes("two fifths in a new lease, a tenth in its fee", 2_500_000, s.steal(time.Second, 500_000, first))
		s.takes("as much in the lease that runs", 2_000_000, s.steal(time.Second, 0, s.add(s.lease(first, 0), 2_000_000)))
		s.takes("one more fee", 0, s.steal(time.Second, 1, &escrowv1.MsgClose{Party: s.carol.Address(), Leases: [][]byte{s.lease(first, 0)}}))
		s.takes("one more lease", 0, s.steal(time.Second, 0, s.open(1000)))
		s.takes("one more addition", 0, s.steal(time.Second, 0, s.add(s.lease(first, 0), 1)))

		began := s.took[0].at
		s.takes("before the day is over", 0, s.steal(began.Add(day-time.Millisecond).Sub(s.now), 0, s.open(1000)))
		second := s.open(2_000_000)
		s.takes("the next day's new lease", 2_000_000, s.steal(began.Add(day).Sub(s.now), 0, second))
		s.takes("the addition is not a day old", 0, s.steal(time.Millisecond, 0, s.add(s.lease(first, 0), 1)))
		s.takes("the next day's addition", 2_000_000, s.steal(2*time.Second, 0, s.add(s.lease(second, 0), 2_000_000)))
		s.takes("the next day's fees", 500_000, s.steal(time.Second, 500_000, s.open(1000)))
		s.takes("one fee more", 0, s.steal(time.Second, 1, s.open(1000)))
		if most := s.worst(); most > int64(budget) || most < int64(budget)*9/10 {
			t.Errorf("%d within a day, the budget is %d", most, budget)
		}
	})
}

// Fees of two days that touch are within the day that is about their border: there the whole budget goes, and no unit more.
func TestFeesAboutTheEndOfADay(t *testing.T) {
	everyWay(t, func(t *testing.T, s *town) {
		nothing := &escrowv1.MsgClose{Party: s.carol.Address(), Leases: [][]byte{make([]byte, 32)}} // fails, and costs its fee
		s.block(3 * day)                                                                            // a key that rests lets no fees gather
		s.takes("a fee that begins a day", 1, s.steal(time.Second, 1, nothing))
		s.takes("the last second of it", 499_999, s.steal(day-time.Second, 499_999, nothing))
		s.takes("the first of the next", 500_000, s.steal(time.Second, 500_000, nothing))
		s.takes("and a unit", 0, s.steal(time.Millisecond, 1, nothing))
		if most := s.worst(); most != 999_999 {
			t.Errorf("%d within a day, a fifth of the budget is for fees", most)
		}
	})
}

// Whatever Mallory tries, and whenever: a thousand blocks with amounts about every limit.
func TestAThiefWhoTriesEverything(t *testing.T) {
	everyWay(t, func(t *testing.T, s *town) {
		seed := uint64(time.Now().UnixNano())
		r := rand.New(rand.NewPCG(seed, 0))
		waits := []time.Duration{time.Millisecond, time.Second, 2400 * time.Millisecond, day / 4, day - time.Millisecond, day, day + time.Millisecond}
		amounts := []int64{1, 1000, 500_000, 1_000_000, 1_999_999, 2_000_000, 2_000_001, 5_000_000}
		fees := []int64{0, 1, 100, 250_000, 499_999, 500_000, 500_001, 1_000_000, 5_000_000}
		var leases [][]byte
		tries := 400
		for range tries {
			amount, fee := amounts[r.IntN(len(amounts))], fees[r.IntN(len(fees))]
			wait := waits[min(r.IntN(len(waits)), r.IntN(len(waits)))]
			if m := s.open(amount); len(leases) == 0 || r.IntN(2) == 0 {
				if s.steal(wait, fee, m).Code == 0 {
					leases = append(leases, s.lease(m, 0))
				}
				continue
			}
			s.steal(wait, fee, s.add(leases[r.IntN(len(leases))], amount))
		}
		most := s.worst()
		t.Logf("seed %d: the worst day of %d tries took %d of %d", seed, tries, most, budget)
		if most > int64(budget) {
			t.Errorf("seed %d: %d within a day, the budget is %d", seed, most, budget)
		}
		if most < int64(budget)*6/10 {
			t.Errorf("seed %d: %d within a day: she tried too little", seed, most)
		}
	})
}

// What else the key may not do, whoever pays. Carol herself may vote and propose: it is the right that is missing.
func TestAThiefCanDoNothingElse(t *testing.T) {
	everyWay(t, func(t *testing.T, s *town) {
		self := s.mallory.Account()
		send := chaintest.SendTo(s.carol, self, 1)
		if r := s.block(time.Second, s.signed(s.alice, chaintest.Envelope{}, propose(t, s.alice))); r.Code != 0 {
			t.Fatal(r.Log)
		}
		vote := govv1.NewMsgVote(s.carol.Account(), 1, govv1.OptionYes, "")
		inCarolsName := func(m sdk.Msg) func() []byte { return func() []byte { return s.paidByCarol(0, exec(t, s, m)) } }
		const right = "authorization not found"
		for what, row := range map[string]struct {
			says string
			tx   func() []byte
		}{
			"send carol's":                {right, inCarolsName(send)},
			"have carol pay for her own":  {"message not allowed", func() []byte { return s.paidByCarol(1, chaintest.SendTo(s.key, self, 1)) }},
			"a right for another key":     {right, inCarolsName(&authz.MsgGrant{Granter: s.carol.Address(), Grantee: s.mallory.Address(), Grant: authz.Grant{Authorization: anything(t)}})},
			"send within what is allowed": {right, inCarolsName(exec(t, s, send))},
			"a budget that begins anew":   {right, inCarolsName(&authz.MsgRevoke{Granter: s.carol.Address(), Grantee: s.key.Address(), MsgTypeUrl: "/hpips.escrow.v1.MsgOpen"})},
			"a vote":                      {right, inCarolsName(vote)},
			"a vote in parts":             {right, inCarolsName(govv1.NewMsgVoteWeighted(s.carol.Account(), 1, govv1.NewNonSplitVoteOption(govv1.OptionYes), ""))},
			"a proposal":                  {right, inCarolsName(propose(t, s.carol))},
			"a deposit for one":           {right, inCarolsName(govv1.NewMsgDeposit(s.carol.Account(), 1, chaintest.Coins(1)))},
			"a fee in an asset not listed": {"this chain knows uhpips only", func() []byte {
				return s.signed(s.key, chaintest.Envelope{Granter: s.carol.Account(), Fee: sdk.NewCoins(sdk.NewInt64Coin("ucredit", 1))}, exec(t, s, s.open(1000)))
			}},
		} {
			if r := s.block(time.Second, row.tx()); r.Code == 0 || !strings.Contains(r.Log, row.says) {
				t.Errorf("%s: code %d, %s; want %q", what, r.Code, r.Log, row.says)
			}
			s.takes(what, 0, &abci.ExecTxResult{})
		}
		for what, m := range map[string]sdk.Msg{"vote": vote, "propose": propose(t, s.carol)} {
			if r := s.block(time.Second, s.signed(s.carol, chaintest.Envelope{}, m)); r.Code != 0 {
				t.Errorf("carol may not %s herself: %s", what, r.Log)
			}
		}
	})
}

// What a lease of an earlier day still holds can be promised besides. It was within the budget of its day, and not a unit more can be promised than was deposited.
func TestAThiefPromisesNoMoreThanIsDeposited(t *testing.T) {
	everyWay(t, func(t *testing.T, s *town) {
		old := s.open(2_000_000)
		s.takes("a new lease", 2_000_000, s.steal(time.Second, 0, old))
		s.block(3 * day)
		s.takes("another, days later", 2_000_000, s.steal(time.Second, 0, s.open(2_000_000)))
		for _, row := range []struct {
			amount uint64
			says   string
		}{{2_000_001, escrow.ErrDeposit.Error()}, {2_000_000, ""}, {2_000_000, escrow.ErrOld.Error()}} {
			r := s.block(time.Second, s.redeem([32]byte(s.lease(old, 0)), row.amount))
			if (r.Code == 0) != (row.says == "") || !strings.Contains(r.Log, row.says) {
				t.Errorf("a promise of %d: code %d, %s; want %q", row.amount, r.Code, r.Log, row.says)
			}
			s.takes("a promise", 0, r)
		}
		if most := s.worst(); most > int64(budget) {
			t.Errorf("%d within a day, the budget is %d", most, budget)
		}
	})
}

// Bob let go of yesterday's leases: of one with his last voucher, of one that nothing was done for without. What carol did not use is hers again before Mallory
// comes, and she can promise nothing of them: only what runs, and what of yesterday its provider kept.
func TestAThiefPromisesNothingOfWhatWasLetGo(t *testing.T) {
	everyWay(t, func(t *testing.T, s *town) {
		const served, unused, kept = 0, 1, 2
		yesterday := s.open(700_000, 700_000, 600_000)
		s.takes("yesterday's leases", 2_000_000, s.steal(time.Second, 0, yesterday)) // by carol's node, which has its key still
		id := func(i int) voucher.ID { return voucher.ID(s.lease(yesterday, i)) }
		s.good("bob's pay", s.block(time.Second, s.redeem(id(kept), 100_000)))
		s.good("bob's last word", s.block(time.Second, s.claims(s.claim(id(served), 100_000, true), voucher.Claim{Last: true, Lease: s.lease(yesterday, unused)})))
		s.takes("what was not used", -699_800, &abci.ExecTxResult{}) // of the one at once, of the other when bob's pay is final
		s.good("closing all three", s.steal(time.Second, 0, &escrowv1.MsgClose{Party: s.carol.Address(), Leases: [][]byte{s.lease(yesterday, served), s.lease(yesterday, unused), s.lease(yesterday, kept)}}))
		s.block(day / 4)
		s.block(day / 4)
		got := int64(0)
		for _, one := range s.took[len(s.took)-4:] {
			got -= one.amount
		}
		if want := int64(700_000 - 200 + 600_000); got != want {
			t.Errorf("carol has %d of yesterday's deposits back, want %d", got, want)
		}

		s.block(day / 2)
		running := s.open(1000)
		s.takes("what runs", 1000, s.steal(time.Second, 0, running))
		for _, row := range []struct {
			what string
			tx   []byte
			says string
		}{
			{"of the one that its node kept", s.redeem(id(kept), 600_000), ""},
			{"of the one that was served", s.redeem(id(served), 700_000), escrow.ErrUnknown.Error()},
			{"of the one that was not", s.redeem(id(unused), 700_000), escrow.ErrUnknown.Error()},
			{"of what runs, beside that", s.claims(s.claim(voucher.ID(s.lease(running, 0)), 1000, false), s.claim(id(served), 700_000, false)), escrow.ErrUnknown.Error()},
			{"of more than what runs has", s.redeem(voucher.ID(s.lease(running, 0)), 1001), escrow.ErrDeposit.Error()},
			{"of what runs", s.redeem(voucher.ID(s.lease(running, 0)), 1000), ""},
		} {
			r := s.block(time.Second, row.tx)
			if (r.Code == 0) != (row.says == "") || !strings.Contains(r.Log, row.says) {
				t.Errorf("a promise %s: code %d, %s; want %q", row.what, r.Code, r.Log, row.says)
			}
			s.takes("a promise "+row.what, 0, r)
		}
	})
}

// good wants a transaction to succeed.
func (s *town) good(what string, r *abci.ExecTxResult) {
	s.t.Helper()
	if r.Code != 0 {
		s.t.Fatalf("%s: %s", what, r.Log)
	}
}

// redeem is what bob hands in for a voucher that Mallory signed with the stolen key.
func (s *town) redeem(lease voucher.ID, amount uint64) []byte {
	s.t.Helper()
	return s.claims(s.claim(lease, amount, false))
}

// claim is a voucher that the key signed.
func (s *town) claim(lease voucher.ID, amount uint64, last bool) voucher.Claim {
	s.t.Helper()
	v := voucher.Voucher{Chain: chainID, Lease: lease, Amount: amount, Usage: voucher.Usage{Tasks: 1}}
	text, err := v.Bytes()
	s.must(err)
	signed, err := v.Sign(s.key.Owner.Key)
	s.must(err)
	return voucher.Claim{Voucher: text, Signature: signed.Signature, Last: last}
}

// claims is bob's transaction.
func (s *town) claims(all ...voucher.Claim) []byte {
	s.t.Helper()
	id := s.bob.ID()
	tx, err := chain.FreeTx(s.app.Codec(), ledger.Redeem(id[:], all, voucher.SignRedeem(chainID, all, s.bob.Node)))
	s.must(err)
	return tx
}

func propose(t *testing.T, by chaintest.Person) sdk.Msg {
	t.Helper()
	m, err := govv1.NewMsgSubmitProposal(nil, chaintest.Coins(5_000_000), by.Address(), "why", "a question", "a question", false)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func exec(t *testing.T, s *town, m sdk.Msg) sdk.Msg {
	t.Helper()
	packed, err := codectypes.NewAnyWithValue(m)
	s.must(err)
	return &authz.MsgExec{Grantee: s.key.Address(), Msgs: []*codectypes.Any{packed}}
}

func anything(t *testing.T) *codectypes.Any {
	t.Helper()
	right, err := codectypes.NewAnyWithValue(authz.NewGenericAuthorization("/cosmos.bank.v1beta1.MsgSend"))
	if err != nil {
		t.Fatal(err)
	}
	return right
}

// What a paid job costs in fees, at the least price of gas that nodes ask: a day's fees of a budget of 5 HPIPS last for hundreds, those of the least budget for two.
func TestFeesOfHonestJobs(t *testing.T) {
	const price = 1000 // gas for a unit
	s := founded(t, true)
	fee := func(r *abci.ExecTxResult) int64 { return (r.GasUsed*7/5)/price + 1 }
	job := func(leases int) (sum int64) {
		amounts := make([]int64, leases)
		for i := range amounts {
			amounts[i] = 1000
		}
		m := s.open(amounts...)
		opened := s.steal(time.Second, 0, m)
		var ids [][]byte
		for i := range amounts {
			ids = append(ids, s.lease(m, i))
		}
		closed := s.steal(time.Second, 0, &escrowv1.MsgClose{Party: s.carol.Address(), Leases: ids})
		if opened.Code != 0 || closed.Code != 0 {
			t.Fatalf("%s, %s", opened.Log, closed.Log)
		}
		t.Logf("%d leases: %d gas to open, %d to close", leases, opened.GasUsed, closed.GasUsed)
		return fee(opened) + fee(closed)
	}
	if four, have := job(4), int64(money.Divide(budget).FeesInPeriod()); 200*four > have {
		t.Errorf("a job of four leases costs %d in fees, a day's are %d", four, have)
	}
	for range 30 { // a right that has counted many parts of a day costs more
		s.steal(day/24, 0, s.open(1000))
	}
	if one, have := job(1), int64(money.Divide(money.LeastBudget(10_000, 1000)).FeesInPeriod()); 2*one > have {
		t.Errorf("a job of one lease costs %d in fees, a day's of the least budget are %d", one, have)
	}
}

// Budgets of which no lease could be opened are refused by name, those that open one are not.
func TestTheLeastBudget(t *testing.T) {
	alice, key := chaintest.New("alice"), chaintest.New("key")
	for _, row := range []struct {
		daily uint64
		good  bool
	}{{2499, false}, {2500, true}} {
		g, err := chaintest.Genesis(chainID, alice)
		if err != nil {
			t.Fatal(err)
		}
		g.Allowances = []chain.Allowance{{Owner: alice.Address(), Spender: key.Address(), Daily: row.daily}}
		if _, err := g.Build(); (err == nil) != row.good || err != nil && !strings.Contains(err.Error(), "the least is 2500") {
			t.Errorf("genesis with %d a day: %v", row.daily, err)
		}
		_, err = ledger.Allow(alice.Address(), key.Address(), money.Amount(row.daily), 2500, day, false)
		if (err == nil) != row.good || err != nil && !strings.Contains(fmt.Sprintf("%+v", err), "0.002499 HPIPS a day are too few") {
			t.Errorf("%d a day: %v", row.daily, err)
		}
	}
}
