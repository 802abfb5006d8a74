package chain_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"cosmossdk.io/math"
	abci "github.com/cometbft/cometbft/abci/types"
	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"
	txtypes "github.com/cosmos/cosmos-sdk/types/tx"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/chaintest"
	"github.com/hpips/hpips/chain/supply"
	committeev1 "github.com/hpips/hpips/proto/gen/committeev1"
)

// FuzzCheckTx gives the chain any bytes as a transaction. It may refuse them by a code only; a panic that the SDK catches counts as one.
func FuzzCheckTx(f *testing.F) {
	d := newDesk(f)
	d.block()
	f.Add(d.signed(chaintest.Envelope{}, chaintest.Send(d.alice, chaintest.New("bob"), 5)))
	t := &testing.T{}
	f.Add(unsigned(t, d, func(*txtypes.Tx) {}, d.stepDown(1)))
	f.Add(unsigned(t, d, func(*txtypes.Tx) {}, &committeev1.MsgTicket{Sender: chaintest.Sender(d.alice), Receipts: [][]byte{{1}}}))
	f.Add(unsigned(t, d, func(tx *txtypes.Tx) {
		tx.AuthInfo.SignerInfos, tx.Signatures = []*txtypes.SignerInfo{{ModeInfo: &txtypes.ModeInfo{}}}, [][]byte{{1}}
	}, chaintest.Send(d.alice, d.alice, 1)))
	f.Fuzz(func(t *testing.T, tx []byte) {
		res, err := d.app.CheckTx(&abci.RequestCheckTx{Tx: tx, Type: abci.CheckTxType_New})
		if err != nil {
			t.Fatal(err)
		}
		if res.Codespace == sdkerrors.RootCodespace && res.Code == sdkerrors.ErrPanic.ABCICode() || res.Code == 1 {
			t.Fatalf("%s/%d: %s", res.Codespace, res.Code, res.Log)
		}
	})
}

// FuzzProcessProposal gives the chain any bytes as the first two transactions of a proposal. None but what alice would propose is right.
func FuzzProcessProposal(f *testing.F) {
	d := newDesk(f)
	d.block()
	right := d.prepare(d.signed(chaintest.Envelope{}, chaintest.Send(d.alice, chaintest.New("bob"), 5)))
	f.Add(right[0], right[1])
	f.Add(right[1], right[0])
	f.Add([]byte("\x00hps\x01"), []byte{})
	f.Add([]byte{0x0a, 0x06, 0x0a, 0x04, 0x0a, 0x02, '/', 'h'}, []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		d := *d
		d.t = t
		if d.accepts([][]byte{first, second}) && string(first) != string(right[0]) {
			t.Fatal("a block without alice's seed was accepted")
		}
	})
}

// FuzzGenesis spoils the state of one module in a genesis, or, beyond the modules, the whole file. It is refused, or is read again as what it was taken for.
func FuzzGenesis(f *testing.F) {
	g := genesis(&testing.T{}, "alice", "bob")
	g.Allowances = []chain.Allowance{{Owner: chaintest.New("alice").Address(), Spender: chaintest.New("bob").Address(), Daily: 5_000_000}}
	doc, err := g.Build()
	if err != nil {
		f.Fatal(err)
	}
	var state map[string]json.RawMessage
	if err := json.Unmarshal(doc.AppState, &state); err != nil {
		f.Fatal(err)
	}
	names := slices.Sorted(maps.Keys(state))
	for i, name := range names {
		f.Add(uint8(i), []byte(state[name]))
	}
	text, err := chain.GenesisBytes(doc)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(len(names)), text)
	f.Add(uint8(len(names)), []byte(`{"chain_id":"x","validators":[{"power":"1"}]}`)) // the engine's check asks the key that is not there
	huge := strings.Replace(string(state[supply.Name]), `"1000000000"`, `"`+math.NewIntFromUint64(1<<63).Mul(math.NewIntFromUint64(1<<63)).MulRaw(1<<62).String()+`"`, 1)
	f.Add(uint8(slices.Index(names, supply.Name)), []byte(huge))
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		if i := int(which) % (len(names) + 1); i < len(names) {
			if !json.Valid(b) {
				return
			}
			spoiled := *doc
			changed := maps.Clone(state)
			changed[names[i]] = b
			if spoiled.AppState, err = json.Marshal(changed); err != nil {
				t.Fatal(err)
			}
			if b, err = chain.GenesisBytes(&spoiled); err != nil {
				t.Fatal(err)
			}
		}
		read, err := chain.ReadGenesis(b)
		if err != nil {
			return
		}
		written, err := chain.GenesisBytes(read)
		if err != nil {
			t.Fatal(err)
		}
		again, err := chain.ReadGenesis(written)
		if err != nil {
			t.Fatalf("it is not read again: %v", err)
		}
		if text, err := chain.GenesisBytes(again); err != nil || string(text) != string(written) {
			t.Fatalf("it is written otherwise: %v", err)
		}
	})
}

// FuzzSeat gives the founder of a chain any text as the file of another one's seat. It is refused, or the chain begins with two seats as anybody who checks its genesis says.
func FuzzSeat(f *testing.F) {
	both := genesis(&testing.T{}, "alice", "bob")
	right, err := json.Marshal(both.Seats[1])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(right)
	f.Add([]byte(strings.Replace(string(right), `"guardian"`, `"network":"192.0.2.0/24","guardian"`, 1)))
	f.Add([]byte(strings.Replace(string(right), `{`, `{"guardian":true,`, 1)))
	f.Add([]byte(`{"registration":"AA==","vrfProof":null}`))
	f.Add([]byte(`{}`))
	twin, err := json.Marshal(both.Seats[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(twin)
	f.Fuzz(func(t *testing.T, text []byte) {
		var n chain.GenesisNode
		if json.Unmarshal(text, &n) != nil {
			return
		}
		g := both
		g.Seats = []chain.GenesisNode{both.Seats[0], n}
		doc, err := g.Build()
		if err != nil {
			return
		}
		if s, err := chain.CheckGenesis(doc); err != nil || s.Seats != 2 {
			t.Fatalf("%s: a chain of %d seats, %v", text, s.Seats, err)
		}
	})
}
