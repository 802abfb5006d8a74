package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"

	"cosmossdk.io/log/v2"
	abci "github.com/cometbft/cometbft/abci/types"
	cmtbytes "github.com/cometbft/cometbft/libs/bytes"
	"github.com/cometbft/cometbft/proto/tendermint/crypto"
	rpcclient "github.com/cometbft/cometbft/rpc/client"
	ctypes "github.com/cometbft/cometbft/rpc/core/types"
	cmtypes "github.com/cometbft/cometbft/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/cosmos-sdk/store/v2/rootmulti"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/job"
)

// stranger is a node that answers what it likes.
type stranger struct {
	rpcclient.Client // what is not there is not asked
	answer           abci.ResponseQuery
	doc              *cmtypes.GenesisDoc
}

func (s *stranger) ABCIQueryWithOptions(context.Context, string, cmtbytes.HexBytes, rpcclient.ABCIQueryOptions) (*ctypes.ResultABCIQuery, error) {
	return &ctypes.ResultABCIQuery{Response: s.answer}, nil
}

func (s *stranger) Genesis(context.Context) (*ctypes.ResultGenesis, error) {
	return &ctypes.ResultGenesis{Genesis: s.doc}, nil
}

func facing(f *testing.F, s *stranger) *Ledger {
	f.Helper()
	l, err := New(s, Default())
	if err != nil {
		f.Fatal(err)
	}
	return l
}

// Three items stand in a state. Whatever a node answers about it with whatever proof, nothing but what stands there is believed: the value, or that there is none
// and which item comes next.
func FuzzProven(f *testing.F) {
	state := rootmulti.NewStore(dbm.NewMemDB(), log.NewNopLogger())
	keys := map[string]*storetypes.KVStoreKey{}
	for _, name := range []string{committeeStore, supplyStore} {
		keys[name] = storetypes.NewKVStoreKey(name)
		state.MountStoreWithDB(keys[name], storetypes.StoreTypeIAVL, nil)
	}
	if err := state.LoadLatestVersion(); err != nil {
		f.Fatal(err)
	}
	there := []item{{[]byte{1}, []byte("rules")}, {[]byte{4, 7}, []byte("a seat")}, {[]byte{4, 9}, []byte("another seat")}}
	for _, i := range there {
		state.GetKVStore(keys[committeeStore]).Set(i.key, i.value)
		state.GetKVStore(keys[supplyStore]).Set(i.key, append([]byte("not "), i.value...))
	}
	at := stateRoot{1, state.Commit().Hash}
	asked := [][]byte{{1}, {4}, {4, 7}, {4, 7, 0}, {4, 9, 0}, {0}}
	node := &stranger{}
	p := facing(f, node).proofs()
	ask := func(which uint8) ([]byte, []byte, *item, error) {
		key := asked[int(which)%len(asked)]
		value, next, err := p.at(context.Background(), at, committeeStore, key)
		return key, value, next, err
	}
	for which, key := range asked {
		for _, store := range []string{committeeStore, supplyStore} {
			got, err := state.Query(&storetypes.RequestQuery{Path: "/" + store + "/key", Data: key, Height: 1, Prove: true})
			if err != nil {
				f.Fatal(err)
			}
			ops := got.ProofOps.Ops
			node.answer = abci.ResponseQuery{Value: got.Value, ProofOps: got.ProofOps}
			if _, _, _, err := ask(uint8(which)); (err == nil) != (store == committeeStore) {
				f.Fatalf("%X of %s: %v", key, store, err)
			}
			f.Add(uint8(which), got.Value, ops[0].Type, ops[0].Key, ops[0].Data, ops[1].Type, ops[1].Key, ops[1].Data)
			f.Add(uint8(which+1), got.Value, ops[0].Type, asked[(which+1)%len(asked)], ops[0].Data, ops[1].Type, ops[1].Key, ops[1].Data)
			f.Add(uint8(which), []byte("a lie"), ops[1].Type, ops[0].Key, ops[1].Data, ops[0].Type, ops[1].Key, ops[0].Data)
		}
	}
	f.Add(uint8(0), []byte("rules"), "ics23:iavl", []byte{1}, []byte{}, "ics23:simple", []byte(committeeStore), []byte{0x0a, 0})
	f.Fuzz(func(t *testing.T, which uint8, value []byte, type0 string, key0, data0 []byte, type1 string, key1, data1 []byte) {
		node.answer = abci.ResponseQuery{Value: value, ProofOps: &crypto.ProofOps{Ops: []crypto.ProofOp{{Type: type0, Key: key0, Data: data0}, {Type: type1, Key: key1, Data: data1}}}}
		key, said, next, err := ask(which)
		if err != nil {
			return
		}
		var truth, after *item
		for _, i := range there {
			switch order := bytes.Compare(i.key, key); {
			case order == 0:
				truth = &i
			case order > 0 && after == nil:
				after = &i
			}
		}
		switch {
		case truth != nil:
			if !bytes.Equal(said, truth.value) || next != nil {
				t.Fatalf("%X is believed to be %q", key, said)
			}
		case said != nil, (next == nil) != (after == nil), next != nil && !bytes.Equal(next.key, after.key):
			t.Fatalf("at %X, where nothing is, %q is believed, and then %v", key, said, next)
		}
	})
}

// What a node says is the genesis is read or refused, and so is what draws begin with.
func FuzzBeginning(f *testing.F) {
	node := &stranger{}
	l := facing(f, node)
	seat, err := l.words.codec.MarshalJSON(&committeev1.Seat{Node: make([]byte, 32), ConsensusKey: make([]byte, 32), VrfKey: make([]byte, 32)})
	if err != nil {
		f.Fatal(err)
	}
	params, err := l.words.codec.MarshalJSON(&committeev1.Params{DaySeconds: 1, AbsenceWindow: 1, EpochBlocks: 1})
	if err != nil {
		f.Fatal(err)
	}
	for _, state := range []string{
		`{"committee":{"params":[{"value":` + string(params) + `}],"seats":[{"value":` + string(seat) + `}],"tickets":[{"value":"7"}]},"supply":{"totals":[{"value":{"burned":"5"}}]}}`,
		`{"committee":{"seats":[{"value":{"node":"AA=="}}],"tickets":[{"value":7},{"value":"-1"}],"epoch":[{"value":{"opened":"18446744073709551615"}}]}}`,
		`{"registry":{"nodes":[{"value":{"id":"AA=="}},{"value":null},{}]}}`, `{"supply":{"totals":[{"value":{"burned":"-1"}},{"value":{"burned":""}}]}}`, `{"supply":{"totals":[{"value":{"burned":null}}]}}`, `{"committee":[]}`, `{}`, `null`, ``, `[`,
	} {
		f.Add([]byte(state), int64(1))
	}
	f.Fuzz(func(t *testing.T, state []byte, first int64) {
		if !json.Valid(state) {
			return // the client has read the answer as JSON
		}
		node.doc = &cmtypes.GenesisDoc{ChainID: "town", InitialHeight: first, AppState: state}
		b, err := l.beginning(t.Context())
		if err != nil {
			return
		}
		if b.first < 1 || len(b.sum) != 64 || b.totals.Burned.IsNil() {
			t.Fatalf("%q begins with block %d, the sum %q, burned %v", state, b.first, b.sum, b.totals.Burned)
		}
		d, err := b.draws("town", nil)
		if err != nil {
			return
		}
		if d.params.DaySeconds == 0 || d.params.EpochBlocks == 0 || len(d.seats) > len(b.seats) || len(d.nodes) > len(b.nodes) {
			t.Fatalf("%q: draws with the rules %v, %d seats, %d nodes", state, d.params, len(d.seats), len(d.nodes))
		}
	})
}

// Whatever a file for a proposal holds, it is refused in words, or read as messages that are written and read again alike.
func FuzzProposalFile(f *testing.F) {
	l := facing(f, &stranger{})
	for _, text := range []string{
		`[{"@type":"/hpips.supply.v1.MsgRelease","from":"community","to":"hpips1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqg3hv2e","amount":"5"}]`,
		`[{"@type":"/hpips.committee.v1.MsgUpdateParams","params":{"seats":7,"day_seconds":"60"}}]`, `[{"@type":"/cosmos.bank.v1beta1.MsgSend","amount":[{"denom":"uhpips","amount":"-1"}]}]`,
		`[{"@type":"/cosmos.upgrade.v1beta1.MsgSoftwareUpgrade","plan":{"name":"next","height":"7"}}]`,
		`[{"@type":"/cosmos.authz.v1beta1.MsgExec","msgs":[{"@type":"/hpips.escrow.v1.MsgOpen","deposits":[{"amount":""}]}]}]`,
		`[{"@type":"/hpips.supply.v1.MsgRelease"},{}]`, `[{"@type":"nothing"}]`, `[{"@type":7}]`, `[null]`, `[]`, `{}`, `null`, `[`, ``,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := l.Messages(text)
		var said *job.Failure
		if err != nil {
			if !errors.As(err, &said) || said.Hint == "" {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		var list []json.RawMessage
		for _, m := range all {
			one, err := l.words.words(m)
			if err != nil {
				t.Fatalf("%q cannot be written: %v", text, err)
			}
			list = append(list, one)
		}
		file, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		again, err := l.Messages(file)
		if err != nil || len(all) == 0 || len(again) != len(all) {
			t.Fatalf("%q is written as %s, and read as %d messages: %v", text, file, len(again), err)
		}
		for i, m := range again {
			if a, b := l.words.codec.MustMarshal(m), l.words.codec.MustMarshal(all[i]); !bytes.Equal(a, b) {
				t.Fatalf("message %d of %q is %X, and then %X", i+1, text, b, a)
			}
		}
	})
}
