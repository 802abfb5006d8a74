// Package ledger is the house's only window to the chain: it asks, sends transactions and follows blocks over CometBFT's RPC, in the house's own words.
// It promises that a transaction that was handed in lands at most once however often the link breaks, that concurrent sends of one account all
// find their place, and that whoever follows blocks from a height misses none. It leaves the rules to package chain and the running of a chain node to node.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cometbft/cometbft/libs/bytes"
	rpcclient "github.com/cometbft/cometbft/rpc/client"
	rpchttp "github.com/cometbft/cometbft/rpc/client/http"
	"github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/gogoproto/proto"
	"google.golang.org/grpc"

	"github.com/hpips/hpips/spec/job"
)

// Config says how patient a ledger is and what it pays.
type Config struct {
	GasPrice string        // price of a unit of gas, such as "0.001uhpips"; "": what the node asks for at least
	Patience time.Duration // how long Send waits for a block with its transaction; the outcome is open afterwards
	Poll     time.Duration // how often a node that pushes no news is asked for its height
}

// Default is what most callers want.
func Default() Config { return Config{Patience: 2 * time.Minute, Poll: 200 * time.Millisecond} }

// Ledger is a window to one chain through one node. Its methods may be called side by side.
type Ledger struct {
	rpc    rpcclient.Client
	words  encoding
	config Config
	place  string // where the node answers, for people

	mu       sync.Mutex
	chain    string // chain id, "" until it was asked for
	price    *price // what gas costs, nil until it was asked for
	accounts map[string]*account

	lookout lookout
	readers atomic.Int64 // subscriptions so far: each has its own name
}

// New opens a window over a client that is there, such as that of a chain node in this process. Close does not close the client.
func New(rpc rpcclient.Client, c Config) (*Ledger, error) {
	words, err := newEncoding()
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	d := Default()
	if c.Patience <= 0 {
		c.Patience = d.Patience
	}
	if c.Poll <= 0 {
		c.Poll = d.Poll
	}
	l := &Ledger{rpc: rpc, words: words, config: c, place: "this process", accounts: map[string]*account{}}
	l.lookout.ledger = l
	return l, nil
}

// Open opens a window over the RPC address of a chain node, such as http://127.0.0.1:26657. Nothing is sent until the first question.
func Open(address string, c Config) (*Ledger, error) {
	if !strings.HasPrefix(address, "http://") && !strings.HasPrefix(address, "https://") {
		return nil, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%q is no address of a chain node", address), Hint: "it looks like http://127.0.0.1:26657"}
	}
	rpc, err := rpchttp.New(address, "/websocket")
	if err != nil {
		return nil, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%q is no address of a chain node: %v", address, err), Hint: "it looks like http://127.0.0.1:26657"}
	}
	l, err := New(rpc, c)
	if err == nil {
		l.place = address
	}
	return l, err
}

// Close ends what the ledger does by itself and waits for it.
func (l *Ledger) Close() error {
	l.lookout.close()
	return nil
}

// Chain gives the chain's id.
func (l *Ledger) Chain(ctx context.Context) (string, error) {
	l.mu.Lock()
	id := l.chain
	l.mu.Unlock()
	if id != "" {
		return id, nil
	}
	st, err := l.rpc.Status(ctx)
	if err != nil {
		return "", l.unreachable(ctx, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.chain = st.NodeInfo.Network
	return l.chain, nil
}

// head gives the height of the last block.
func (l *Ledger) head(ctx context.Context) (int64, error) {
	st, err := l.rpc.Status(ctx)
	if err != nil {
		return 0, l.unreachable(ctx, err)
	}
	return st.SyncInfo.LatestBlockHeight, nil
}

// query carries questions to the chain's modules over ABCI, so that one port and one client are enough. It is what the generated
// query clients take for a gRPC connection.
type query struct {
	*Ledger
	height int64 // of the state that answers; 0: the last
}

// now answers from the last state.
func (l *Ledger) now() query { return query{Ledger: l} }

// Invoke asks one question.
func (q query) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	question, ok := args.(proto.Message)
	if !ok {
		return fmt.Errorf("%s: %T is no protobuf message", method, args)
	}
	data, err := proto.Marshal(question)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	got, err := q.rpc.ABCIQueryWithOptions(ctx, method, bytes.HexBytes(data), rpcclient.ABCIQueryOptions{Height: q.height})
	if err != nil {
		return q.unreachable(ctx, err)
	}
	if r := got.Response; r.Code != 0 {
		return refused(r.Codespace, r.Code, r.Log)
	}
	answer, ok := reply.(proto.Message)
	if !ok {
		return fmt.Errorf("%s: %T is no protobuf message", method, reply)
	}
	if err := proto.Unmarshal(got.Response.Value, answer); err != nil {
		return fmt.Errorf("%s: the node's answer: %w", method, err)
	}
	return types.UnpackInterfaces(answer, q.words.registry)
}

// NewStream is there for the interface: no query streams.
func (q query) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("the ledger asks no questions that stream")
}
