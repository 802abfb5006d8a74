package ledger

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtbytes "github.com/cometbft/cometbft/libs/bytes"
	rpcclient "github.com/cometbft/cometbft/rpc/client"
	ctypes "github.com/cometbft/cometbft/rpc/core/types"
	cmtypes "github.com/cometbft/cometbft/types"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	"github.com/cosmos/gogoproto/proto"
)

// village is a chain node in miniature: sequences, a mempool, blocks; and a link that breaks when it is told to.
type village struct {
	behind           int64 // blocks that the application has still to do
	dearer           int   // gas beyond 50,000 that an order takes
	rpcclient.Client       // what is not there is not asked

	words encoding

	mu       sync.Mutex
	blocks   [][][]byte // transactions by height
	oldest   int64
	mempool  [][]byte
	seen     map[[32]byte]bool
	number   map[string]uint64
	settled  map[string]uint64 // sequences in blocks
	pending  map[string]uint64 // and with the mempool
	paid     map[string]int    // payments by memo
	cut      func() (before, after bool)
	asked    int
	refuse   *Refused // what the next transaction is told
	standing bool     // no blocks are made
}

func newVillage(t *testing.T) *village {
	t.Helper()
	words, err := newEncoding()
	if err != nil {
		t.Fatal(err)
	}
	return &village{words: words, oldest: 1, blocks: [][][]byte{nil}, seen: map[[32]byte]bool{}, number: map[string]uint64{}, settled: map[string]uint64{},
		pending: map[string]uint64{}, paid: map[string]int{}}
}

// live makes a block every half second until ctx ends.
func (v *village) live(ctx context.Context) {
	tick := time.NewTicker(time.Second / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			v.block()
		}
	}
}

func (v *village) block() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.standing {
		return
	}
	var txs [][]byte
	for _, tx := range v.mempool {
		from, seq, memo := v.read(tx)
		if seq != v.settled[from] {
			continue
		}
		v.settled[from]++
		v.paid[memo]++
		txs = append(txs, tx)
	}
	v.mempool = nil
	v.blocks = append(v.blocks, txs)
	v.pending = map[string]uint64{}
	for a, n := range v.settled {
		v.pending[a] = n
	}
}

// crash loses what was not in a block, as a node does that restarts.
func (v *village) crash() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mempool, v.seen = nil, map[[32]byte]bool{}
	v.pending = map[string]uint64{}
	for a, n := range v.settled {
		v.pending[a] = n
	}
}

func (v *village) read(tx []byte) (from string, seq uint64, memo string) {
	t, err := v.words.tx.TxDecoder()(tx)
	if err != nil {
		panic(err)
	}
	b, err := v.words.tx.WrapTxBuilder(t)
	if err != nil {
		panic(err)
	}
	sigs, err := b.GetTx().GetSignaturesV2()
	if err != nil {
		panic(err)
	}
	return addressText(sigs[0].PubKey.Address()), sigs[0].Sequence, b.GetTx().GetMemo()
}

var errCut = &url.Error{Op: "Post", URL: "http://village", Err: errors.New("connection reset")}

// broken tells whether the link breaks at this question, before or after the node heard it.
func (v *village) broken() (before, after bool) {
	v.asked++
	if v.cut == nil {
		return false, false
	}
	return v.cut()
}

func (v *village) Status(context.Context) (*ctypes.ResultStatus, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if before, after := v.broken(); before || after {
		return nil, errCut
	}
	st := &ctypes.ResultStatus{}
	st.NodeInfo.Network = "village-1"
	st.SyncInfo.LatestBlockHeight, st.SyncInfo.EarliestBlockHeight = int64(len(v.blocks)), v.oldest
	return st, nil
}

func (v *village) ABCIInfo(context.Context) (*ctypes.ResultABCIInfo, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if before, after := v.broken(); before || after {
		return nil, errCut
	}
	return &ctypes.ResultABCIInfo{Response: abci.ResponseInfo{LastBlockHeight: int64(len(v.blocks)) - v.behind}}, nil
}

func (v *village) Subscribe(context.Context, string, string, ...int) (<-chan ctypes.ResultEvent, error) {
	return nil, errors.New("nobody calls out the news here")
}

func (v *village) Block(_ context.Context, height *int64) (*ctypes.ResultBlock, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if before, after := v.broken(); before || after {
		return nil, errCut
	}
	if *height < v.oldest || *height > int64(len(v.blocks)) {
		return nil, fmt.Errorf("height %d is not available", *height)
	}
	b := &cmtypes.Block{Header: cmtypes.Header{Height: *height, ChainID: "village-1"}, LastCommit: &cmtypes.Commit{}}
	for _, tx := range v.blocks[*height-1] {
		b.Txs = append(b.Txs, tx)
	}
	return &ctypes.ResultBlock{Block: b}, nil
}

func (v *village) BlockResults(_ context.Context, height *int64) (*ctypes.ResultBlockResults, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if before, after := v.broken(); before || after {
		return nil, errCut
	}
	r := &ctypes.ResultBlockResults{Height: *height}
	for _, tx := range v.blocks[*height-1] {
		one := &abci.ExecTxResult{GasUsed: 50_000}
		if _, _, memo := v.read(tx); strings.HasPrefix(memo, "fails") {
			one = &abci.ExecTxResult{Code: codeFunds, Codespace: root, Log: "spendable balance 1000001uhpips is smaller than 5000000uhpips: insufficient funds"}
		}
		r.TxsResults = append(r.TxsResults, one)
	}
	return r, nil
}

func (v *village) BroadcastTxSync(_ context.Context, tx cmtypes.Tx) (*ctypes.ResultBroadcastTx, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	before, after := v.broken()
	if before {
		return nil, errCut
	}
	r, err := v.take(tx)
	if after {
		return nil, errCut
	}
	return r, err
}

func (v *village) take(tx []byte) (*ctypes.ResultBroadcastTx, error) {
	if no := v.refuse; no != nil {
		v.refuse = nil
		return &ctypes.ResultBroadcastTx{Code: no.Code, Codespace: no.Codespace, Log: no.Log}, nil
	}
	hash := sha256.Sum256(tx)
	if v.seen[hash] {
		return nil, errors.New("tx already exists in cache")
	}
	from, seq, _ := v.read(tx)
	if want := v.pending[from]; seq != want {
		return &ctypes.ResultBroadcastTx{Code: codeSequence, Codespace: root,
			Log: fmt.Sprintf("account sequence mismatch, expected %d, got %d: incorrect account sequence", want, seq)}, nil
	}
	v.pending[from]++
	v.seen[hash] = true
	v.mempool = append(v.mempool, tx)
	return &ctypes.ResultBroadcastTx{}, nil
}

func (v *village) ABCIQuery(ctx context.Context, path string, data cmtbytes.HexBytes) (*ctypes.ResultABCIQuery, error) {
	return v.ABCIQueryWithOptions(ctx, path, data, rpcclient.ABCIQueryOptions{})
}

func (v *village) ABCIQueryWithOptions(_ context.Context, path string, data cmtbytes.HexBytes, _ rpcclient.ABCIQueryOptions) (*ctypes.ResultABCIQuery, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if before, after := v.broken(); before || after {
		return nil, errCut
	}
	answer := func(m proto.Message) (*ctypes.ResultABCIQuery, error) {
		b, err := proto.Marshal(m)
		return &ctypes.ResultABCIQuery{Response: abci.ResponseQuery{Value: b}}, err
	}
	switch path {
	case "/app/simulate":
		from, seq, _ := v.read(data)
		if want := v.pending[from]; seq != want {
			return &ctypes.ResultABCIQuery{Response: abci.ResponseQuery{Code: codeSequence, Codespace: root,
				Log: fmt.Sprintf("failed to simulate tx: account sequence mismatch, expected %d, got %d: incorrect account sequence", want, seq)}}, nil
		}
		return &ctypes.ResultABCIQuery{Response: abci.ResponseQuery{Value: fmt.Appendf(nil, `{"gas_info":{"gas_wanted":"0","gas_used":"%d"},"result":null}`, 50_000+v.dearer)}}, nil
	case "/cosmos.auth.v1beta1.Query/Account":
		var q authtypes.QueryAccountRequest
		if err := proto.Unmarshal(data, &q); err != nil {
			return nil, err
		}
		packed, err := codectypes.NewAnyWithValue(&authtypes.BaseAccount{Address: q.Address, AccountNumber: v.number[q.Address], Sequence: v.settled[q.Address]})
		if err != nil {
			return nil, err
		}
		return answer(&authtypes.QueryAccountResponse{Account: packed})
	case "/cosmos.bank.v1beta1.Query/Balance":
		coin := sdk.NewInt64Coin("uhpips", 1_000_001)
		return answer(&banktypes.QueryBalanceResponse{Balance: &coin})
	}
	return &ctypes.ResultABCIQuery{Response: abci.ResponseQuery{Code: codeRequest, Codespace: root, Log: "unknown query path: unknown request"}}, nil
}
