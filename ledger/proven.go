package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cometbft/cometbft/crypto/merkle"
	cmtbytes "github.com/cometbft/cometbft/libs/bytes"
	rpcclient "github.com/cometbft/cometbft/rpc/client"
	"github.com/cosmos/cosmos-sdk/store/v2/rootmulti"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	"github.com/cosmos/gogoproto/proto"

	"github.com/hpips/hpips/spec/job"
)

// Where the state keeps what is proven. The numbers are consensus: those of chain/committee, chain/registry, chain/supply and the SDK's bank.
const (
	bankStore, supplyStore, registryStore, committeeStore = "bank", "supply", "registry", "committee"

	bankSupply       = 0 // by denom
	supplyTotals     = 1
	registryNodes    = 2 // by node
	registryVoters   = 4 // node by consensus address
	committeeParams  = 1
	committeeBeacon  = 2
	committeeEpoch   = 3
	committeeSeats   = 4 // by node
	committeeMissed  = 7 // by node
	committeeClaims  = 8 // by node
	committeeSubs    = 9 // by number
	committeeHolders = 13
	committeeRing    = 14
	committeeNets    = 16
	committeeTickets = 19
)

// stateRoot is a state: the block that left it, and its hash, which the next header has.
type stateRoot struct {
	height int64
	hash   []byte
}

// provable is the first block whose state a node gives with proofs.
const provable = 2

// proofs reads states key by key and believes no value without its proof (ICS-23) against the state's hash.
type proofs struct {
	*Ledger
	runtime *merkle.ProofRuntime
	count   int64
}

func (l *Ledger) proofs() *proofs {
	return &proofs{Ledger: l, runtime: rootmulti.DefaultProofRuntime()}
}

// item is a key and what stands there.
type item struct{ key, value []byte }

// at gives what stands at a key, nil if nothing does, and then the first item behind it, if there is one. An answer that its proof does not
// bear out is a *Wrong.
func (p *proofs) at(ctx context.Context, r stateRoot, store string, key []byte) (value []byte, next *item, err error) {
	got, err := p.rpc.ABCIQueryWithOptions(ctx, "/store/"+store+"/key", cmtbytes.HexBytes(key), rpcclient.ABCIQueryOptions{Height: r.height, Prove: true})
	if err != nil {
		return nil, nil, p.unreachable(ctx, err)
	}
	a := got.Response
	if a.Code != 0 {
		return nil, nil, p.dropped(r.height, &Refused{a.Codespace, a.Code, a.Log})
	}
	lies := func(err error) error {
		return &Wrong{r.height, fmt.Sprintf("what the node says of the state after it, %s %X, does not fit the header of block %d: %v", store, key, r.height+1, err)}
	}
	if a.ProofOps == nil || len(a.ProofOps.Ops) != 2 {
		return nil, nil, lies(errors.New("no proof"))
	}
	p.count++
	path := merkle.KeyPath{}.AppendKey([]byte(store), merkle.KeyEncodingURL).AppendKey(key, merkle.KeyEncodingHex).String()
	if len(a.Value) > 0 {
		if err := p.runtime.VerifyValue(a.ProofOps, r.hash, path, a.Value); err != nil {
			return nil, nil, lies(err)
		}
		return a.Value, nil, nil
	}
	if err := p.runtime.VerifyAbsence(a.ProofOps, r.hash, path); err != nil {
		return nil, nil, lies(err)
	}
	op, err := storetypes.CommitmentOpDecoder(a.ProofOps.Ops[0])
	if err != nil {
		return nil, nil, lies(err)
	}
	commitment, ok := op.(storetypes.CommitmentOp)
	if !ok {
		return nil, nil, lies(errors.New("a proof of another kind"))
	}
	if right := commitment.Proof.GetNonexist().GetRight(); right != nil { // the proof of absence covers both neighbours
		next = &item{right.Key, right.Value}
	}
	return nil, next, nil
}

// dropped tells that the node let go of a state meanwhile.
func (p *proofs) dropped(height int64, no *Refused) error {
	if !strings.Contains(no.Log, "exist") && !strings.Contains(no.Log, "pruned") {
		return no
	}
	return &job.Failure{Code: job.CodeUnavailable, Message: fmt.Sprintf("the node has dropped the state after block %d while it was asked", height), Hint: "run it again; a node with --archive keeps all states"}
}

// message reads a message; false: nothing stands there.
func (p *proofs) message(ctx context.Context, r stateRoot, store string, key []byte, m proto.Message) (bool, error) {
	value, _, err := p.at(ctx, r, store, key)
	if err != nil || value == nil {
		return false, err
	}
	return true, unpack(r, store, value, m)
}

func unpack(r stateRoot, store string, value []byte, m proto.Message) error {
	if err := proto.Unmarshal(value, m); err != nil {
		return &Wrong{r.height, fmt.Sprintf("the state after it has in %s what cannot be read: %v", store, err)}
	}
	return nil
}

// most is how many items of one kind are read: more seats, claims or substitutes there never are.
const most = 100_000

// all gives each item whose key begins with a prefix. No item can be left out: of each is proven which one follows it.
func (p *proofs) all(ctx context.Context, r stateRoot, store string, prefix byte) (list []item, err error) {
	for from := []byte{prefix}; len(list) < most; {
		value, next, err := p.at(ctx, r, store, from)
		switch {
		case err != nil:
			return nil, err
		case value != nil:
			return nil, &Wrong{r.height, fmt.Sprintf("the state after it has in %s an item of no known kind", store)}
		case next == nil || !bytes.HasPrefix(next.key, []byte{prefix}):
			return list, nil
		}
		list = append(list, *next)
		from = append(bytes.Clone(next.key), 0)
	}
	return nil, &Wrong{r.height, fmt.Sprintf("the state after it has more than %d items of one kind in %s", most, store)}
}

func keyed(prefix byte, key ...byte) []byte { return append([]byte{prefix}, key...) }
