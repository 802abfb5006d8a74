package full

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cometbft/cometbft/libs/log"
	rpcserver "github.com/cometbft/cometbft/rpc/jsonrpc/server"
)

// openRPC serves the engine's RPC as the engine would, but behind the fence: its own server lets any page in a browser open a websocket.
func (e *endpoints) openRPC(from *engine, address string, origins []string, log log.Logger) error {
	env, err := from.node.ConfigureRPC()
	if err != nil {
		return fmt.Errorf("RPC: %w", err)
	}
	routes, have := env.GetRoutes(), from.node.Config().RPC
	c := rpcserver.DefaultConfig()
	c.MaxRequestBatchSize, c.MaxBodyBytes, c.MaxHeaderBytes = have.MaxRequestBatchSize, have.MaxBodyBytes, have.MaxHeaderBytes
	c.MaxOpenConnections = have.MaxOpenConnections
	c.WriteTimeout = max(c.WriteTimeout, have.TimeoutBroadcastTxCommit+time.Second)
	log = log.With("module", "rpc-server")
	sockets := rpcserver.NewWebsocketManager(routes, rpcserver.ReadLimit(c.MaxBodyBytes), rpcserver.WriteChanCapacity(have.WebSocketWriteBufferSize),
		rpcserver.OnDisconnect(func(who string) {
			_ = from.node.EventBus().UnsubscribeAll(context.Background(), who) // most never subscribed
		}))
	sockets.SetLogger(log)
	mux := http.NewServeMux()
	mux.HandleFunc("/websocket", sockets.WebsocketHandler)
	rpcserver.RegisterRPCFuncs(mux, routes, log)
	if e.rpc, err = rpcserver.Listen("tcp://"+address, c.MaxOpenConnections); err != nil {
		return fmt.Errorf("RPC: %w", err)
	}
	e.rpcServe = func() error { return rpcserver.Serve(e.rpc, fenced(e.rpc, origins, mux), log, c) }
	return nil
}

// fenced keeps pages in this PC's browsers away from an endpoint that listens for this PC alone: they would learn which node its owner
// runs and whom it talks to. Refused are requests to any name but the loopback's, which a rebound name would have, and requests that
// another origin's page sends where a browser would show it the answer: websockets. An endpoint that its owner opened to a network is not
// fenced in. Pages of the origins that the owner named may ask, wherever it listens: browsers are told so (CORS).
func fenced(l net.Listener, origins []string, next http.Handler) http.Handler {
	at, err := netip.ParseAddrPort(l.Addr().String())
	open := err != nil || !at.Addr().IsLoopback()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		named := slices.Contains(origins, r.Header.Get("Origin"))
		if named {
			h := w.Header()
			h.Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
			h.Set("Vary", "Origin")
			if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
				h.Set("Access-Control-Allow-Methods", "GET, POST")
				h.Set("Access-Control-Allow-Headers", "Content-Type, X-Cosmos-Block-Height")
				w.WriteHeader(http.StatusNoContent)
				return
			}
		}
		if open {
			next.ServeHTTP(w, r)
			return
		}
		if !loopback(r.Host) || r.Header.Get("Upgrade") != "" && !named && !ownOrigin(r) {
			http.Error(w, "this endpoint is for programs of this computer alone", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// loopback tells whether a Host header names this computer alone.
func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}

// ownOrigin tells whether a request comes from no page, or from one that this very endpoint gave.
func ownOrigin(r *http.Request) bool {
	for _, origin := range r.Header.Values("Origin") {
		u, err := url.Parse(origin)
		if err != nil || u.Host != r.Host {
			return false
		}
	}
	return true
}
