package ledger

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	sdkmath "cosmossdk.io/math"
	abci "github.com/cometbft/cometbft/abci/types"
	cmtbytes "github.com/cometbft/cometbft/libs/bytes"
	rpcclient "github.com/cometbft/cometbft/rpc/client"
	ctypes "github.com/cometbft/cometbft/rpc/core/types"
	cmtypes "github.com/cometbft/cometbft/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkquery "github.com/cosmos/cosmos-sdk/types/query"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	govv1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1"
	"github.com/cosmos/gogoproto/proto"

	"github.com/hpips/hpips/proto/gen/auditv1"
	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/proto/gen/rewardv1"
	"github.com/hpips/hpips/proto/gen/supplyv1"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/sortition"
)

// What follows is how a fair answers as a node does.

func (f *fair) gone(height int64) error {
	if height < f.oldest || height > f.height() {
		return fmt.Errorf("height %d is not available", height)
	}
	return nil
}

func (f *fair) Status(context.Context) (*ctypes.ResultStatus, error) {
	st := &ctypes.ResultStatus{}
	st.NodeInfo.Network, st.SyncInfo.LatestBlockHeight, st.SyncInfo.EarliestBlockHeight = fairChain, f.height(), f.oldest
	return st, nil
}

func (f *fair) Header(_ context.Context, h *int64) (*ctypes.ResultHeader, error) {
	return &ctypes.ResultHeader{Header: &cmtypes.Header{Height: *h, Time: f.time(*h)}}, f.gone(*h)
}

func (f *fair) Block(_ context.Context, h *int64) (*ctypes.ResultBlock, error) {
	if err := f.gone(*h); err != nil {
		return nil, err
	}
	b := &cmtypes.Block{Header: cmtypes.Header{Height: *h, Time: f.time(*h)}}
	if f.blocks[*h-1].seeded {
		b.Txs = append(b.Txs, sortition.SeedTx(sortition.Proof{}))
	}
	for _, tx := range f.txs {
		if tx.Height == *h {
			b.Txs = append(b.Txs, tx.Tx)
		}
	}
	return &ctypes.ResultBlock{Block: b}, nil
}

func (f *fair) BlockResults(_ context.Context, h *int64) (*ctypes.ResultBlockResults, error) {
	if err := f.gone(*h); err != nil {
		return nil, err
	}
	r := &ctypes.ResultBlockResults{Height: *h, FinalizeBlockEvents: f.blocks[*h-1].events}
	if f.blocks[*h-1].seeded {
		r.TxsResults = append(r.TxsResults, &abci.ExecTxResult{})
	}
	for _, tx := range f.txs {
		if tx.Height == *h {
			r.TxsResults = append(r.TxsResults, &tx.TxResult)
		}
	}
	return r, nil
}

func (f *fair) Genesis(context.Context) (*ctypes.ResultGenesis, error) {
	balances := []banktypes.Balance{{Address: module("fund"), Coins: sdk.NewCoins(sdk.NewInt64Coin(money.Denom, 50_000_000_000_000))}}
	for who, n := range f.granted {
		balances = append(balances, banktypes.Balance{Address: who, Coins: sdk.NewCoins(sdk.NewInt64Coin(money.Denom, n))})
	}
	f.began["bank"] = map[string]any{"balances": balances}
	state, err := json.Marshal(f.began)
	return &ctypes.ResultGenesis{Genesis: &cmtypes.GenesisDoc{AppState: state}}, err
}

// TxSearch finds by one event's one attribute.
func (f *fair) TxSearch(_ context.Context, what string, _ bool, page, size *int, _ string) (*ctypes.ResultTxSearch, error) {
	name, value, _ := strings.Cut(what, "=")
	kind, key, _ := strings.Cut(name, ".")
	var found []*ctypes.ResultTx
	for _, tx := range f.txs {
		if slices.ContainsFunc(events(tx.TxResult.Events), func(e Event) bool { return e.Type == kind && e.Attributes[key] == strings.Trim(value, "'") }) {
			found = append(found, tx)
		}
	}
	from, to := min((*page-1)**size, len(found)), min(*page**size, len(found))
	return &ctypes.ResultTxSearch{Txs: found[from:to], TotalCount: len(found)}, nil
}

// BlockSearch finds by one attribute of one event that fell due.
func (f *fair) BlockSearch(ctx context.Context, what string, page, size *int, _ string) (*ctypes.ResultBlockSearch, error) {
	name, value, _ := strings.Cut(what, "=")
	kind, key, _ := strings.Cut(name, ".")
	var found []*ctypes.ResultBlock
	for i, b := range f.blocks {
		if slices.ContainsFunc(events(b.events), func(e Event) bool { return e.Type == kind && e.Attributes[key] == strings.Trim(value, "'") }) {
			h := int64(i + 1)
			if one, err := f.Block(ctx, &h); err == nil { // what is gone is not found
				found = append(found, one)
			}
		}
	}
	from, to := min((*page-1)**size, len(found)), min(*page**size, len(found))
	return &ctypes.ResultBlockSearch{Blocks: found[from:to], TotalCount: len(found)}, nil
}

func (f *fair) ABCIQueryWithOptions(_ context.Context, path string, data cmtbytes.HexBytes, o rpcclient.ABCIQueryOptions) (*ctypes.ResultABCIQuery, error) {
	if o.Height > 0 && o.Height < f.kept {
		return &ctypes.ResultABCIQuery{Response: abci.ResponseQuery{Code: codeRequest, Codespace: root, Log: "failed to load state: version does not exist"}}, nil
	}
	var m proto.Message
	switch path {
	case "/hpips.committee.v1.Query/Params":
		m = &committeev1.QueryParamsResponse{Params: committeev1.Params{DaySeconds: fairDay}}
	case "/hpips.audit.v1.Query/Audits":
		all := &auditv1.QueryAuditsResponse{}
		if f.rooted && o.Height > 0 {
			for _, p := range f.rows[o.Height-1] {
				all.Audits = append(all.Audits, auditv1.Audit{Height: p.height})
			}
		}
		m = all
	case "/hpips.committee.v1.Query/Committee":
		m = &committeev1.QueryCommitteeResponse{Beacon: committeev1.Beacon{GenesisTime: fairBegan, Day: uint64(len(f.days) - 1)}, Seats: f.seats}
	case "/hpips.reward.v1.Query/Day":
		var q rewardv1.QueryDayRequest
		if err := proto.Unmarshal(data, &q); err != nil {
			return nil, err
		}
		if q.LastClosed {
			if len(f.days) == 1 {
				return &ctypes.ResultABCIQuery{Response: abci.ResponseQuery{Code: 9, Codespace: "reward", Log: "no day is closed yet"}}, nil
			}
			q.Day = uint64(len(f.days) - 2)
		}
		b := f.days[q.Day]
		r := &rewardv1.QueryDayResponse{Day: b.day}
		for _, denom := range slices.Sorted(maps.Keys(b.assets)) {
			r.Assets = append(r.Assets, rewardv1.Asset{Denom: denom, Sum: b.assets[denom]})
		}
		m = r
	case "/hpips.reward.v1.Query/Providers":
		var q rewardv1.QueryProvidersRequest
		if err := proto.Unmarshal(data, &q); err != nil {
			return nil, err
		}
		m = f.days[q.Day].providers(f.owners)
	case "/hpips.escrow.v1.Query/Lease": // all are buried
		return &ctypes.ResultABCIQuery{Response: abci.ResponseQuery{Code: codeRequest, Codespace: root, Log: "lease is not known: unknown request"}}, nil
	case "/cosmos.gov.v1.Query/Proposals":
		m = &govv1.QueryProposalsResponse{Proposals: f.votes}
	default:
		return f.holdings(path, data, o.Height)
	}
	b, err := proto.Marshal(m)
	return &ctypes.ResultABCIQuery{Response: abci.ResponseQuery{Value: b}}, err
}

// providers names the owners of now, as the chain does.
func (b *fairBooks) providers(owners map[string]string) *rewardv1.QueryProvidersResponse {
	r := &rewardv1.QueryProvidersResponse{}
	for _, node := range slices.Sorted(maps.Keys(b.earned)) {
		key, _ := hex.DecodeString(node)
		p := rewardv1.Provider{Node: key, Owner: owners[node], Earner: b.earned[node]}
		for _, denom := range slices.Sorted(maps.Keys(b.works[node])) {
			p.Assets = append(p.Assets, rewardv1.Asset{Denom: denom, Sum: b.works[node][denom]})
		}
		r.Providers = append(r.Providers, p)
	}
	return r
}

// holdings answers what accounts have, three to a page.
func (f *fair) holdings(path string, data []byte, height int64) (*ctypes.ResultABCIQuery, error) {
	const few = 3
	rows := func(of map[string]int64, p *sdkquery.PageRequest) ([]string, *sdkquery.PageResponse) {
		all := slices.Sorted(maps.Keys(of))
		if p != nil && len(p.Key) > 0 {
			at, _ := slices.BinarySearch(all, string(p.Key))
			all = all[at:]
		}
		if len(all) <= few {
			return all, &sdkquery.PageResponse{}
		}
		return all[:few], &sdkquery.PageResponse{NextKey: []byte(all[few])}
	}
	var m proto.Message
	switch path {
	case "/hpips.supply.v1.Query/Supply":
		z := sdkmath.ZeroInt()
		m = &supplyv1.QuerySupplyResponse{Total: z, Circulating: z, Reserved: z, Totals: supplyv1.Totals{Burned: z, Released: z}, Modules: f.modules}
	case "/hpips.supply.v1.Query/Reserved":
		var q supplyv1.QueryReservedRequest
		if err := proto.Unmarshal(data, &q); err != nil {
			return nil, err
		}
		r := &supplyv1.QueryReservedResponse{}
		var list []string
		list, r.Pagination = rows(f.reserved, q.Pagination)
		for _, who := range list {
			r.Reserved = append(r.Reserved, supplyv1.Reserved{Address: who, Amount: sdkmath.NewInt(f.reserved[who])})
		}
		m = r
	case "/cosmos.bank.v1beta1.Query/DenomOwners":
		var q banktypes.QueryDenomOwnersRequest
		if err := proto.Unmarshal(data, &q); err != nil {
			return nil, err
		}
		r := &banktypes.QueryDenomOwnersResponse{}
		var list []string
		balances := f.balances
		if height > 0 {
			balances = f.past[height-1]
		}
		list, r.Pagination = rows(balances, q.Pagination)
		for _, who := range list {
			r.DenomOwners = append(r.DenomOwners, &banktypes.DenomOwner{Address: who, Balance: sdk.NewInt64Coin(q.Denom, balances[who])})
		}
		m = r
	default:
		return &ctypes.ResultABCIQuery{Response: abci.ResponseQuery{Code: codeRequest, Codespace: root, Log: "unknown query path: unknown request"}}, nil
	}
	b, err := proto.Marshal(m)
	return &ctypes.ResultABCIQuery{Response: abci.ResponseQuery{Value: b}}, err
}
