package chain_test

import (
	"testing"

	abci "github.com/cometbft/cometbft/abci/types"
	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"
	txtypes "github.com/cosmos/cosmos-sdk/types/tx"

	"github.com/hpips/hpips/chain/chaintest"
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
