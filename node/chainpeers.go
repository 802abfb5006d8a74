package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/canon"
)

// chainProtocol is a call between nodes about the chain that they follow: which it is, its genesis, and bringing a newcomer in.
const chainProtocol protocol.ID = "/hpips/chain/1"

const (
	maxGenesis   = 4 << 20
	maxChainAsk  = 4 << 10
	maxChainText = maxGenesis + 1<<10
	maxListed    = 1000
	chainCall    = 20 * time.Second // for an answer
	meetAgain    = 30 * time.Second // between two rounds of asking peers where their chain nodes are
	meetSoon     = time.Second      // while no node of the chain is connected
)

// The questions.
const (
	askWhere   = "where"
	askGenesis = "genesis"
	askCarry   = "carry"
	askRPC     = "rpc"
	askArchive = "archive"
)

// chainAsk is a request.
type chainAsk struct {
	What  string            `cbor:"what"`
	Carry *client.Enrolment `cbor:"carry,omitempty"`
	RPC   []byte            `cbor:"rpc,omitempty"`  // a JSON-RPC question, see lightly
	From  uint64            `cbor:"from,omitempty"` // number of the first segment to be listed
}

// chainAnswer is an answer; which parts it has follows from the question.
type chainAnswer struct {
	Chain   string `cbor:"chain,omitempty"`   // chain ID
	Genesis []byte `cbor:"genesis,omitempty"` // its SHA-256
	Address string `cbor:"address,omitempty"` // ID@host:port of the chain node; an unspecified host is the one that the caller sees
	Text    []byte `cbor:"text,omitempty"`    // the genesis, or what the RPC says
	Tx      string `cbor:"tx,omitempty"`      // the transaction that carried

	Snapshot int64    `cbor:"snapshot,omitempty"` // height of the newest snapshot
	Segments []listed `cbor:"segments,omitempty"` // of the archive, maxListed at most
}

func parseChainAsk(b []byte) (chainAsk, error) {
	var q chainAsk
	err := canon.Decode(b, maxChainAsk, &q)
	return q, err
}

func parseChainAnswer(b []byte) (chainAnswer, error) {
	var a chainAnswer
	if err := canon.Decode(b, maxChainText, &a); err != nil {
		return a, err
	}
	if len(a.Genesis) != 0 && len(a.Genesis) != sha256.Size || len(a.Text) > maxGenesis || len(a.Chain) > 64 || len(a.Address) > 256 || len(a.Tx) > 64 || a.Snapshot < 0 || len(a.Segments) > maxListed {
		return a, errors.New("answer about a chain: a field is too long")
	}
	return a, nil
}

// caller is the part of a host that asks.
type caller interface {
	Call(ctx context.Context, to peer.ID, proto protocol.ID, req []byte) ([]byte, error)
}

func askChain(ctx context.Context, host caller, to peer.ID, q chainAsk) (chainAnswer, error) {
	request, err := canon.Encode(q)
	if err != nil {
		return chainAnswer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, chainCall)
	defer cancel()
	b, err := host.Call(ctx, to, chainProtocol, request)
	if err != nil {
		return chainAnswer{}, err
	}
	return parseChainAnswer(b)
}

// fetchGenesis takes the genesis from one peer; pin, a SHA-256 in hex, says which it must be.
func fetchGenesis(ctx context.Context, host caller, from peer.ID, pin string) ([]byte, error) {
	where, err := askChain(ctx, host, from, chainAsk{What: askWhere})
	if err != nil {
		return nil, err
	}
	if len(where.Genesis) == 0 {
		return nil, errNoChain
	}
	if got := hex.EncodeToString(where.Genesis); pin != "" && got != pin {
		return nil, fmt.Errorf("that node follows a chain with genesis %s, asked for is %s", got, pin)
	}
	a, err := askChain(ctx, host, from, chainAsk{What: askGenesis})
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(a.Text); string(sum[:]) != string(where.Genesis) {
		return nil, errors.New("the genesis that came is not the one that was announced")
	}
	return a.Text, nil
}

var errNoChain = errors.New("that node follows no chain")

// reach completes the address of a chain node that does not know its own host by what is seen of its node.
func reach(address string, seen []netip.Addr) (string, bool) {
	id, hostPort, ok := strings.Cut(address, "@")
	if !ok || !chainPeer.MatchString(address) {
		return "", false
	}
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return "", false
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil, !ip.IsUnspecified() && !ip.IsLoopback():
		return address, true
	case len(seen) == 0:
		return "", false
	case ip.IsLoopback() && !seen[0].IsLoopback():
		return "", false // it listens for its own machine alone
	}
	return id + "@" + net.JoinHostPort(seen[0].String(), port), true
}

// meeting finds the chain nodes of the peers of a host, and has them dialled.
type meeting struct {
	log     *slog.Logger
	host    caller
	peers   func() []peer.ID // that speak chainProtocol
	seen    func(peer.ID) []netip.Addr
	genesis [sha256.Size]byte
	lonely  func() bool // no chain node is connected
	dial    func(addresses ...string)
	known   map[peer.ID]string
}

// Serve asks until ctx ends: often while no node of the chain is connected, though others may be there; then now and then.
func (m *meeting) Serve(ctx context.Context) error {
	m.known = map[peer.ID]string{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		wait := meetAgain
		if len(m.peers()) == 0 || m.lonely() {
			wait = meetSoon
			clear(m.known) // a dial that failed is tried again
		}
		m.round(ctx)
		timer.Reset(wait)
	}
}

func (m *meeting) round(ctx context.Context) {
	for _, p := range m.peers() {
		a, err := askChain(ctx, m.host, p, chainAsk{What: askWhere})
		if err != nil || string(a.Genesis) != string(m.genesis[:]) {
			continue // of another chain, or of none
		}
		address, ok := reach(a.Address, m.seen(p))
		if !ok || m.known[p] == address {
			continue
		}
		m.known[p] = address
		m.log.Debug("A node of the chain is met", "peer", p, "address", address)
		m.dial(address)
	}
}
