package chain_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"cosmossdk.io/math"
	abci "github.com/cometbft/cometbft/abci/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"
	txtypes "github.com/cosmos/cosmos-sdk/types/tx"
	"github.com/cosmos/cosmos-sdk/types/tx/signing"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	"github.com/cosmos/cosmos-sdk/x/authz"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/chaintest"
	"github.com/hpips/hpips/chain/committee"
	committeev1 "github.com/hpips/hpips/proto/gen/committeev1"
	registryv1 "github.com/hpips/hpips/proto/gen/registryv1"
	supplyv1 "github.com/hpips/hpips/proto/gen/supplyv1"
	"github.com/hpips/hpips/spec/sortition"
)

// refused checks that a transaction failed with a code that somebody registered, and not by a panic.
func refused(t *testing.T, what, space string, code uint32, text string) {
	t.Helper()
	switch {
	case code == 0:
		t.Errorf("%s: taken", what)
	case space == "" || space == "undefined" || code == 1:
		t.Errorf("%s: code %s/%d is nobody's: %s", what, space, code, text)
	case space == sdkerrors.RootCodespace && code == sdkerrors.ErrPanic.ABCICode(), strings.Contains(text, "runtime error"):
		t.Errorf("%s: panic: %s", what, text)
	}
}

func TestBadTransactionsAreRefused(t *testing.T) {
	d := newDesk(t)
	d.block()
	bob, carol := chaintest.New("bob"), chaintest.New("carol")
	send := chaintest.Send(d.alice, bob, 5)
	good := d.signed(chaintest.Envelope{}, send)
	if r := d.block(good)[0]; r.Code != 0 {
		t.Fatal(r.Log)
	}
	next := chaintest.Envelope{Sequence: 1}
	with := func(change func(*chaintest.Envelope)) chaintest.Envelope { e := next; change(&e); return e }
	of := func(amount math.Int, denom string) sdk.Msg {
		return &banktypes.MsgSend{FromAddress: d.alice.Address(), ToAddress: bob.Address(), Amount: sdk.Coins{{Denom: denom, Amount: amount}}}
	}
	huge := math.NewIntFromUint64(1 << 63).MulRaw(1 << 62).MulRaw(1 << 62)
	for _, row := range []struct {
		what string
		tx   []byte
	}{
		{"nothing", nil},
		{"noise", []byte("carol was here")},
		{"half a transaction", good[:len(good)/2]},
		{"a byte more", append(append([]byte{}, good...), 0)},
		{"a spoiled signature", spoiled(d.signed(next, send))},
		{"the same again", good},
		{"a sequence to come", d.signed(with(func(e *chaintest.Envelope) { e.Sequence = 7 }), send)},
		{"another chain's", d.signed(with(func(e *chaintest.Envelope) { e.ChainID = "hpips-other-1" }), send)},
		{"carol signs for alice", foreign(t, d, carol, send)},
		{"more than there is", d.signed(next, of(math.NewInt(1<<62), chain.Base))},
		{"more than a number holds", d.signed(next, of(huge, chain.Base))},
		{"less than nothing", d.signed(next, of(math.NewInt(-5), chain.Base))},
		{"other money", d.signed(next, of(math.NewInt(5), "ucarol"))},
		{"to an account of the five", d.signed(next, chaintest.SendTo(d.alice, authtypes.NewModuleAddress("fund"), 5))},
		{"a fee in other money", d.signed(with(func(e *chaintest.Envelope) { e.Fee = sdk.NewCoins(sdk.NewInt64Coin("ucarol", 5)) }), send)},
		{"a fee beyond all", d.signed(with(func(e *chaintest.Envelope) { e.Fee = sdk.Coins{{Denom: chain.Base, Amount: huge}} }), send)},
		{"a fee below nothing", d.signed(with(func(e *chaintest.Envelope) { e.Fee = sdk.Coins{{Denom: chain.Base, Amount: math.NewInt(-1)}} }), send)},
		{"too little gas", d.signed(with(func(e *chaintest.Envelope) { e.Gas = 1000 }), send)},
		{"a block's gas and more", d.signed(with(func(e *chaintest.Envelope) { e.Gas = chain.MaxGas + 1 }), send)},
		{"a long story", d.signed(with(func(e *chaintest.Envelope) { e.Memo = strings.Repeat("x", 300) }), send)},
		{"too large", d.signed(with(func(e *chaintest.Envelope) { e.Memo = strings.Repeat("x", chain.MaxTx) }), send)},
		{"no messages", d.signed(next)},
		{"nobody's signature", unsigned(t, d, func(*txtypes.Tx) {}, send)},
		{"no fee field", unsigned(t, d, func(tx *txtypes.Tx) { tx.AuthInfo.Fee = nil }, send)},
		{"a signer who says nothing", unsigned(t, d, func(tx *txtypes.Tx) {
			tx.AuthInfo.SignerInfos, tx.Signatures = []*txtypes.SignerInfo{{}}, [][]byte{{1}}
		}, send)},
		{"a multisignature of nobody", unsigned(t, d, func(tx *txtypes.Tx) {
			multi := &txtypes.ModeInfo{Sum: &txtypes.ModeInfo_Multi_{Multi: &txtypes.ModeInfo_Multi{}}}
			tx.AuthInfo.SignerInfos, tx.Signatures = []*txtypes.SignerInfo{{ModeInfo: multi}}, [][]byte{{1}}
		}, send)},
		{"a release that nobody voted for", d.signed(next, &supplyv1.MsgRelease{Authority: d.alice.Address(), From: "community", To: bob.Address(), Amount: math.NewInt(5)})},
		{"parameters by alice alone", d.signed(next, &committeev1.MsgUpdateParams{Authority: d.alice.Address()})},
		{"a burning of nobody's", d.signed(next, &supplyv1.MsgBurn{Amount: math.NewInt(5)})},
		{"a transfer of another network's account", d.signed(next, &banktypes.MsgSend{FromAddress: "cosmos1r5v5srda7xfth3hn2s26txvrcrntldjumt8mhl", ToAddress: bob.Address(), Amount: chaintest.Coins(5)})},
		{"an empty burning", d.signed(next, &supplyv1.MsgBurn{Holder: d.alice.Address()})},
		{"a free message with a fee", unsigned(t, d, func(tx *txtypes.Tx) { tx.AuthInfo.Fee.GasLimit = 5 }, d.stepDown(1))},
		{"a free message with a memo", unsigned(t, d, func(tx *txtypes.Tx) { tx.Body.Memo = "hello" }, d.stepDown(1))},
		{"two free messages", unsigned(t, d, func(*txtypes.Tx) {}, d.stepDown(1), d.stepDown(1))},
		{"a free message among others", d.signed(next, send, d.stepDown(1))},
		{"a free message in another's name", d.signed(next, wrapped(d, d.stepDown(1)))},
		{"a free message of another epoch", unsigned(t, d, func(*txtypes.Tx) {}, d.stepDown(9))},
		{"a claim of nobody", unsigned(t, d, func(*txtypes.Tx) {}, &committeev1.MsgClaim{Sender: chaintest.Sender(bob)})},
		{"a ticket of nobody", unsigned(t, d, func(*txtypes.Tx) {}, &committeev1.MsgTicket{Sender: chaintest.Sender(bob), Receipts: [][]byte{nil, {1}}})},
		{"a registration of nothing", d.signed(next, &registryv1.MsgRegister{Carrier: d.alice.Address()})},
	} {
		if res, err := d.app.CheckTx(&abci.RequestCheckTx{Tx: row.tx, Type: abci.CheckTxType_New}); err != nil {
			t.Errorf("%s: %v", row.what, err)
		} else if res.Code != 0 { // what only its run finds wrong passes here
			refused(t, row.what, res.Codespace, res.Code, res.Log)
		}
		txs := append(d.prepare(good), row.tx) // whatever a proposer puts in
		res, err := d.finalizeAnew(txs)
		if err != nil {
			t.Fatalf("%s: %v", row.what, err)
		}
		r := res.TxResults[len(txs)-1]
		refused(t, row.what, r.Codespace, r.Code, r.Log)
	}
}

// finalizeAnew runs a block that is not committed.
func (d *desk) finalizeAnew(txs [][]byte) (*abci.ResponseFinalizeBlock, error) {
	d.accepts(txs) // which begins the state of the block anew
	return d.finalize(txs)
}

func spoiled(tx []byte) []byte {
	tx[len(tx)-5] ^= 1
	return tx
}

func foreign(t *testing.T, d *desk, p chaintest.Person, message sdk.Msg) []byte {
	t.Helper()
	tx, err := chaintest.Sign(d.app.Codec(), p, chaintest.Envelope{ChainID: testChain, Account: aliceAccount, Sequence: 1}, message)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func unsigned(t *testing.T, d *desk, change func(*txtypes.Tx), messages ...sdk.Msg) []byte {
	t.Helper()
	b := d.app.Codec().Tx.NewTxBuilder()
	if err := b.SetMsgs(messages...); err != nil {
		t.Fatal(err)
	}
	tx := b.GetTx().(interface{ GetProtoTx() *txtypes.Tx }).GetProtoTx()
	change(tx)
	body, err1 := tx.Body.Marshal()
	auth, err2 := tx.AuthInfo.Marshal()
	raw := txtypes.TxRaw{BodyBytes: body, AuthInfoBytes: auth, Signatures: tx.Signatures}
	bytes, err3 := raw.Marshal()
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	return bytes
}

func wrapped(d *desk, message sdk.Msg) sdk.Msg {
	m := authz.NewMsgExec(d.alice.Account(), []sdk.Msg{message})
	return &m
}

func TestProposalsAreJudged(t *testing.T) {
	d := newDesk(t)
	d.block()
	send := d.signed(chaintest.Envelope{}, chaintest.Send(d.alice, chaintest.New("bob"), 5))
	right := d.prepare(send)
	proof := func(p chaintest.Person, height int64, seed []byte) []byte {
		pi, err := sortition.Prove(p.VRF, sortition.SeedAlpha(testChain, height, sortition.Seed(seed)))
		if err != nil {
			t.Fatal(err)
		}
		return sortition.SeedTx(pi)
	}
	now := d.committee().Beacon.Seed
	forged := append([]byte{}, right[0]...)
	forged[40] ^= 1
	free := unsigned(t, d, func(*txtypes.Tx) {}, &committeev1.MsgTicket{Sender: chaintest.Sender(d.alice), Receipts: [][]byte{make([]byte, 100_000)}})
	for _, row := range []struct {
		what  string
		txs   [][]byte
		soft  bool // only a vote is refused: the block would be valid
		taken bool
	}{
		{what: "what alice proposes", txs: right, taken: true},
		{what: "the seed alone, not asked for", txs: right[:1]},
		{what: "no seed", txs: [][]byte{send}},
		{what: "the seed behind", txs: [][]byte{send, right[0]}},
		{what: "two seeds", txs: [][]byte{right[0], right[0], send}},
		{what: "a forged proof", txs: [][]byte{forged, send}},
		{what: "half a seed", txs: [][]byte{right[0][:30], send}},
		{what: "a seed of a later version", txs: [][]byte{append([]byte("\x00hps\x02"), right[0][5:]...), send}},
		{what: "carol's seed", txs: [][]byte{proof(chaintest.New("carol"), d.height+1, now), send}},
		{what: "a seed for another height", txs: [][]byte{proof(d.alice, d.height+2, now), send}},
		{what: "a seed from another seed", txs: [][]byte{proof(d.alice, d.height+1, make([]byte, 32)), send}},
		{what: "a transaction too large", txs: [][]byte{right[0], make([]byte, chain.MaxTx+1)}, soft: true},
		{what: "too many free messages", txs: [][]byte{right[0], free, free, free, free, free, free}, soft: true},
		{what: "a few free messages", txs: [][]byte{right[0], free, free}, taken: true},
		{what: "nothing, which is right after a seed", txs: nil, taken: true},
	} {
		if d.accepts(row.txs) != row.taken {
			t.Errorf("%s: accepted %v", row.what, !row.taken)
		}
		if row.taken || row.soft {
			continue // to apply it would change the state for the rows below
		}
		if _, err := d.finalizeAnew(row.txs); err == nil {
			t.Errorf("%s: applied", row.what)
		}
	}
}

// Carol proposes, and fills her block with more than a block may do. The rest of it is not run.
func TestTheWorkOfABlockIsBounded(t *testing.T) {
	d := newDesk(t)
	d.block()
	tx, err := chain.FreeTx(d.app.Codec(), d.stepDown(99))
	if err != nil {
		t.Fatal(err)
	}
	run, left := 0, 0
	for _, r := range d.block(slices.Repeat([][]byte{tx}, 1500)...) {
		switch {
		case r.Codespace == committee.Name:
			run++
		case r.Codespace == sdkerrors.RootCodespace && r.Code == sdkerrors.ErrOutOfGas.ABCICode():
			left++
		}
	}
	if run == 0 || left == 0 || run+left != 1500 {
		t.Errorf("%d are run, %d are not", run, left)
	}
}

func TestHeartbeatsAreNotHurried(t *testing.T) {
	d := newDesk(t)
	d.block()
	d.block()
	beat := d.prepare()
	if d.calm = 900 * time.Millisecond; len(beat) != 1 || d.accepts(beat) {
		t.Error("an empty block was accepted less than half a heartbeat after the last")
	}
	if d.calm = 1100 * time.Millisecond; !d.accepts(beat) {
		t.Error("an empty block was refused later than half a heartbeat after the last")
	}
}

// A device shows a message by its name in the old JSON. Each message of ours has one, which tells its module, and nobody else's.
func TestLedgersCanSignOurMessages(t *testing.T) {
	d := newDesk(t)
	d.block()
	bob := chaintest.New("bob")
	register, err := bob.Register(testChain, 1, d.alice)
	if err != nil {
		t.Fatal(err)
	}
	who := d.alice.Address()
	modules := map[string]int{}
	for _, url := range d.app.Codec().Registry.ListImplementations(sdk.MsgInterfaceProtoName) {
		short, ours := strings.CutPrefix(url, "/hpips.")
		if !ours {
			continue
		}
		m, err := d.app.Codec().Registry.Resolve(url)
		if err != nil {
			t.Fatal(err)
		}
		module, name, _ := strings.Cut(short, ".v1.")
		modules[module]++
		e := chaintest.Envelope{ChainID: testChain, Account: aliceAccount, Mode: signing.SignMode_SIGN_MODE_LEGACY_AMINO_JSON}
		text, err := chaintest.SignBytes(d.app.Codec(), d.alice, e, m)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if !strings.Contains(string(text), `"type":"hpips/`+module+`/`+name+`"`) {
			t.Errorf("%s is signed as %s", url, text)
		}
	}
	for _, module := range []string{"archive", "audit", "bond", "committee", "deal", "escrow", "exchange", "registry", "reward", "storage", "supply"} {
		if modules[module] == 0 {
			t.Errorf("no message of %s is known", module)
		}
	}
	e := chaintest.Envelope{Mode: signing.SignMode_SIGN_MODE_LEGACY_AMINO_JSON}
	if r := d.block(d.signed(e, &supplyv1.MsgBurn{Holder: who, Amount: math.NewInt(1)}))[0]; r.Code != 0 {
		t.Error(r.Log)
	}
	e.Sequence = 1
	if r := d.block(d.signed(e, register))[0]; r.Code != 0 && r.Codespace != registryv1Space {
		t.Error(r.Log)
	}
}

const registryv1Space = "registry"
