package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// A newcomer that trusts a block checks the snapshot that it takes by headers. The engine asks for these over HTTP; no node shows its RPC to other
// machines, so the questions travel as askRPC, and the newcomer has a small server of its own on loopback in front of them.

const maxRPCAsk = 2 << 10

// lightly are the questions that checking headers takes. Nothing else of a node's RPC is open to others.
var lightly = []string{"status", "commit", "validators", "consensus_params"}

// lightAsk checks that a question is one of them.
func lightAsk(text []byte) error {
	var q struct {
		Method string `json:"method"`
	}
	if len(text) > maxRPCAsk {
		return fmt.Errorf("a question of %d bytes: at most %d", len(text), maxRPCAsk)
	}
	if err := json.Unmarshal(text, &q); err != nil {
		return fmt.Errorf("a question that cannot be read: %w", err)
	}
	if !slices.Contains(lightly, q.Method) {
		return fmt.Errorf("%.40q is not asked from outside", q.Method)
	}
	return nil
}

// askOwnRPC puts a question of another node to this node's own RPC.
func askOwnRPC(ctx context.Context, address string, text []byte) ([]byte, error) {
	if err := lightAsk(text); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, chainCall)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, errors.New("the chain node does not answer")
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxGenesis+1))
	if err == nil && len(answer) > maxGenesis {
		err = errors.New("the answer is too long")
	}
	return answer, err
}

// witness is a server on loopback that puts its questions to one peer.
type witness struct {
	server *http.Server
	at     string // http://host:port
	over   chan struct{}
}

func openWitness(host caller, from peer.ID) (*witness, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("headers of %s: %w", from, err)
	}
	w := &witness{at: "http://" + l.Addr().String(), over: make(chan struct{})}
	w.server = &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		text, err := io.ReadAll(http.MaxBytesReader(out, in.Body, maxRPCAsk))
		var a chainAnswer
		if err == nil {
			a, err = askChain(in.Context(), host, from, chainAsk{What: askRPC, RPC: text})
		}
		if err != nil {
			http.Error(out, err.Error(), http.StatusBadGateway)
			return
		}
		out.Header().Set("Content-Type", "application/json")
		_, _ = out.Write(a.Text) // the asker has gone otherwise
	})}
	go func() { defer close(w.over); _ = w.server.Serve(l) }()
	return w, nil
}

func (w *witness) close() {
	_ = w.server.Close()
	<-w.over
}

// snapshot is the height of the newest snapshot in a folder; 0: there is none.
func snapshot(dir string) (newest int64) {
	list, _ := os.ReadDir(dir) // no folder, no snapshot
	for _, e := range list {
		if h, err := strconv.ParseInt(e.Name(), 10, 64); err == nil && e.IsDir() {
			newest = max(newest, h)
		}
	}
	return newest
}

// fresh tells whether the chain node has no block yet.
func (c *chaining) fresh() bool {
	_, err := os.Stat(c.path("data", "blockstore.db"))
	return errors.Is(err, fs.ErrNotExist)
}

// seekTime is how long a newcomer looks for nodes with a snapshot before it takes the whole history.
const seekTime = 10 * time.Second

func (c *chaining) seekWitnesses(ctx context.Context) []*witness {
	ctx, cancel := context.WithTimeout(ctx, seekTime)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if all := c.witnesses(ctx); len(all) > 0 {
			return all
		}
		select {
		case <-ctx.Done():
			c.log.Info("No node with a snapshot answers: this node takes the whole history of the chain")
			return nil
		case <-tick.C:
		}
	}
}

// witnesses opens a server for each of up to two nodes that have a snapshot of the chain.
func (c *chaining) witnesses(ctx context.Context) (all []*witness) {
	for _, p := range append(c.joined(), c.others()...) {
		a, err := askChain(ctx, c.host, p, chainAsk{What: askWhere})
		if err != nil || a.Snapshot == 0 || !bytes.Equal(a.Genesis, c.genesis.sum[:]) {
			continue
		}
		w, err := openWitness(c.host, p)
		if err != nil {
			c.log.Debug("A peer cannot be asked for headers", "err", err)
			continue
		}
		if all = append(all, w); len(all) == 2 {
			break
		}
	}
	return all
}
