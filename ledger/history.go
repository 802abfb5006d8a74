package ledger

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cometbft/cometbft/crypto/tmhash"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	ctypes "github.com/cometbft/cometbft/rpc/core/types"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/sortition"
)

// Entry is one transaction in an account's history.
type Entry struct {
	Hash   string       `json:"tx"`
	Height int64        `json:"height"`
	Time   time.Time    `json:"time"`
	Kinds  []string     `json:"messages"`
	In     money.Amount `json:"in"`
	Out    money.Amount `json:"out"` // without the fee
	Fee    money.Amount `json:"fee"` // if this account paid it
	With   []string     `json:"with"`
	OK     bool         `json:"ok"`
	Error  string       `json:"error,omitempty"`
	Memo   string       `json:"memo,omitempty"`

	index uint32
}

// History lists what an account paid, sent and received, the newest first, at most limit of it.
func (l *Ledger) History(ctx context.Context, address string, limit int) ([]Entry, error) {
	if err := CheckAddress(address); err != nil {
		return nil, err
	}
	found := map[string]*ctypes.ResultTx{}
	for _, what := range []string{"tx.fee_payer", "transfer.sender", "transfer.recipient"} {
		for page, size, got := 1, min(max(limit, 1), 100), 0; got < limit; page++ {
			r, err := l.rpc.TxSearch(ctx, what+"='"+address+"'", false, &page, &size, "desc")
			if err != nil {
				return nil, l.unreachable(ctx, err)
			}
			for _, tx := range r.Txs {
				found[tx.Hash.String()] = tx
			}
			if got += len(r.Txs); len(r.Txs) < size || got >= r.TotalCount {
				break
			}
		}
	}
	all := make([]Entry, 0, len(found))
	for _, tx := range found {
		all = append(all, l.entry(address, tx))
	}
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Or(cmp.Compare(b.Height, a.Height), cmp.Compare(b.index, a.index)) })
	all = all[:min(limit, len(all))]
	times := map[int64]time.Time{}
	for i := range all {
		h := all[i].Height
		if _, ok := times[h]; !ok {
			if b, err := l.rpc.Header(ctx, &h); err == nil && b.Header != nil {
				times[h] = b.Header.Time.UTC()
			}
		}
		all[i].Time = times[h]
	}
	return all, nil
}

func (l *Ledger) entry(address string, tx *ctypes.ResultTx) Entry {
	e := Entry{Hash: tx.Hash.String(), Height: tx.Height, index: tx.Index, OK: tx.TxResult.Code == 0, With: []string{}, Kinds: []string{}}
	if !e.OK {
		e.Error = refused(tx.TxResult.Codespace, tx.TxResult.Code, tx.TxResult.Log).Error()
	}
	if t, err := l.words.tx.TxDecoder()(tx.Tx); err == nil {
		for _, m := range t.GetMsgs() {
			e.Kinds = append(e.Kinds, sdk.MsgTypeURL(m))
		}
		if m, ok := t.(sdk.TxWithMemo); ok {
			e.Memo = m.GetMemo()
		}
	}
	for _, ev := range events(tx.TxResult.Events) {
		a := ev.Attributes
		switch {
		case ev.Type == "tx" && a["fee_payer"] == address:
			e.Fee = inCoins(a["fee"])
		case ev.Type != "transfer" || a["msg_index"] == "":
		case a["recipient"] == address && a["sender"] == address:
		case a["recipient"] == address:
			e.In, e.With = e.In+inCoins(a["amount"]), append(e.With, a["sender"])
		case a["sender"] == address:
			e.Out, e.With = e.Out+inCoins(a["amount"]), append(e.With, a["recipient"])
		}
	}
	slices.Sort(e.With)
	e.With = slices.Compact(e.With)
	return e
}

// inCoins reads the HPIPS in a list of coins as events write it.
func inCoins(text string) money.Amount {
	all, err := sdk.ParseCoinsNormalized(text)
	if err != nil {
		return 0
	}
	return amount(all.AmountOf(money.Denom))
}

// Transaction is all about one transaction.
type Transaction struct {
	Hash      string            `json:"tx"`
	Height    int64             `json:"height"`
	Index     uint32            `json:"index"`
	Time      time.Time         `json:"time"`
	OK        bool              `json:"ok"`
	Codespace string            `json:"codespace,omitempty"`
	Code      uint32            `json:"code"`
	Error     string            `json:"error,omitempty"`
	Fee       money.Amount      `json:"fee"`
	GasWanted int64             `json:"gasWanted"`
	GasUsed   int64             `json:"gasUsed"`
	Memo      string            `json:"memo,omitempty"`
	Messages  []json.RawMessage `json:"messages"`
	Events    []Event           `json:"events"`
}

// Tx asks for a transaction by its hash.
func (l *Ledger) Tx(ctx context.Context, hash string) (Transaction, error) {
	raw, err := hex.DecodeString(strings.TrimPrefix(strings.ToLower(strings.TrimSpace(hash)), "0x"))
	if err != nil || len(raw) != tmhash.Size {
		return Transaction{}, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%.80q is no hash of a transaction", hash), Hint: "it has 64 hexadecimal digits; wallet send prints it"}
	}
	r, err := l.rpc.Tx(ctx, raw, false)
	if err != nil {
		if strings.Contains(err.Error(), "not found") {
			return Transaction{}, &job.Failure{Code: job.CodeNotFound, Message: fmt.Sprintf("no block that the node holds has transaction %X", raw),
				Hint: "if it was sent just now, ask again in a moment"}
		}
		return Transaction{}, l.unreachable(ctx, err)
	}
	t := Transaction{Hash: r.Hash.String(), Height: r.Height, Index: r.Index, OK: r.TxResult.Code == 0, Codespace: r.TxResult.Codespace, Code: r.TxResult.Code,
		GasWanted: r.TxResult.GasWanted, GasUsed: r.TxResult.GasUsed, Messages: []json.RawMessage{}, Events: events(r.TxResult.Events)}
	if !t.OK {
		t.Error = refused(t.Codespace, t.Code, r.TxResult.Log).Error()
	}
	if h, err := l.rpc.Header(ctx, &r.Height); err == nil && h.Header != nil {
		t.Time = h.Header.Time.UTC()
	}
	if tx, err := l.words.tx.TxDecoder()(r.Tx); err == nil {
		t.describe(l.words, tx)
	}
	return t, nil
}

func (t *Transaction) describe(e encoding, tx sdk.Tx) {
	if m, ok := tx.(sdk.TxWithMemo); ok {
		t.Memo = m.GetMemo()
	}
	if f, ok := tx.(sdk.FeeTx); ok {
		t.Fee = amount(f.GetFee().AmountOf(money.Denom))
	}
	for _, m := range tx.GetMsgs() {
		if text, err := e.words(m); err == nil {
			t.Messages = append(t.Messages, text)
		}
	}
}

// Block is one block.
type Block struct {
	Height       int64         `json:"height"`
	Hash         string        `json:"hash"`
	Time         time.Time     `json:"time"`
	ChainID      string        `json:"chainId"`
	Proposer     string        `json:"proposer"` // consensus address, hexadecimal
	Signatures   int           `json:"signatures"`
	Previous     string        `json:"previous"`
	AppHash      string        `json:"appHash"` // after the block before
	Seeded       bool          `json:"seeded"`
	Evidence     int           `json:"evidence"`
	Transactions []BlockedItem `json:"transactions"`
}

// BlockedItem is a transaction in a block.
type BlockedItem struct {
	Hash  string   `json:"tx"`
	OK    bool     `json:"ok"`
	Kinds []string `json:"messages"`
	Error string   `json:"error,omitempty"`
}

// Block asks for a block; height 0 is the last.
func (l *Ledger) Block(ctx context.Context, height int64) (Block, error) {
	at := &height
	if height == 0 {
		at = nil
	}
	r, err := l.rpc.Block(ctx, at)
	if err != nil {
		return Block{}, l.missing(ctx, height, err)
	}
	results, err := l.rpc.BlockResults(ctx, &r.Block.Height)
	if err != nil {
		return Block{}, l.missing(ctx, height, err)
	}
	h := r.Block.Header
	b := Block{Height: h.Height, Hash: r.BlockID.Hash.String(), Time: h.Time.UTC(), ChainID: h.ChainID, Proposer: h.ProposerAddress.String(),
		Previous: h.LastBlockID.Hash.String(), AppHash: h.AppHash.String(), Evidence: len(r.Block.Evidence.Evidence), Transactions: []BlockedItem{}}
	for _, s := range r.Block.LastCommit.Signatures {
		if len(s.Signature) > 0 {
			b.Signatures++
		}
	}
	for i, tx := range r.Block.Txs {
		if i == 0 {
			if _, b.Seeded, _ = sortition.ParseSeedTx(tx); b.Seeded {
				continue
			}
		}
		item := BlockedItem{Hash: fmt.Sprintf("%X", tmhash.Sum(tx)), OK: true, Kinds: []string{}}
		if i < len(results.TxsResults) && results.TxsResults[i].Code != 0 {
			t := results.TxsResults[i]
			item.OK, item.Error = false, refused(t.Codespace, t.Code, t.Log).Error()
		}
		if t, err := l.words.tx.TxDecoder()(tx); err == nil {
			for _, m := range t.GetMsgs() {
				item.Kinds = append(item.Kinds, sdk.MsgTypeURL(m))
			}
		}
		b.Transactions = append(b.Transactions, item)
	}
	return b, nil
}

// missing says that a block is not there in the node's words.
func (l *Ledger) missing(ctx context.Context, height int64, err error) error {
	if text := err.Error(); strings.Contains(text, "height") {
		return noBlock(height)
	}
	return l.unreachable(ctx, err)
}

// timeOf is when a block was made; known is false where the node does not keep it any more.
func (l *Ledger) timeOf(ctx context.Context, height int64) (at time.Time, known bool, err error) {
	h, err := l.rpc.Header(ctx, &height)
	switch {
	case err == nil && h.Header != nil:
		return h.Header.Time.UTC(), true, nil
	case err == nil || IsNotFound(l.missing(ctx, height, err)):
		return at, false, nil
	}
	return at, false, l.unreachable(ctx, err)
}

func noBlock(height int64) error {
	return &job.Failure{Code: job.CodeNotFound, Message: fmt.Sprintf("the node has no block %d", height), Hint: "hpips chain status says which blocks there are; a node with --archive keeps all"}
}

// Genesis asks for the file that the chain began with, as package chain reads it.
func (l *Ledger) Genesis(ctx context.Context) ([]byte, error) {
	r, err := l.rpc.Genesis(ctx)
	if err != nil {
		return nil, l.unreachable(ctx, err)
	}
	return cmtjson.MarshalIndent(r.Genesis, "", "  ")
}
