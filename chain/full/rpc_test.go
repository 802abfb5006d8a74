package full

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/cosmos/cosmos-sdk/codec"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/chaintest"
	committeev1 "github.com/hpips/hpips/proto/gen/committeev1"
)

// Alice has a page of carol's open in her browser. It reaches neither the RPC nor REST of alice's node, whatever name carol gives to 127.0.0.1.
// Alice's own programs do, and the page of a wallet that she named.
func TestPagesDoNotReachEndpoints(t *testing.T) {
	alice := chaintest.New("alice")
	c := home(t, alice, genesis(t, nil, alice))
	c.RPC, c.REST, c.Origins = "127.0.0.1:0", "127.0.0.1:0", []string{"https://wallet.example"}
	n, _ := serve(t, c)
	until(t, "block", func() bool { return height(n) > 0 })
	rpc, _, rest := n.Addresses()
	for name, row := range map[string]struct {
		url, host, origin string
		socket            bool
		want              int
	}{
		"a program":             {"http://" + rpc + "/health", "", "", false, http.StatusOK},
		"a program, by name":    {"http://" + rpc + "/health", "localhost:26657", "", false, http.StatusOK},
		"a program's websocket": {"http://" + rpc + "/websocket", "", "", true, http.StatusSwitchingProtocols},
		"a page's websocket":    {"http://" + rpc + "/websocket", "", "https://carol.example", true, http.StatusForbidden},
		"a file's websocket":    {"http://" + rpc + "/websocket", "", "null", true, http.StatusForbidden},
		"the wallet's page":     {"http://" + rpc + "/health", "", "https://wallet.example", false, http.StatusOK},
		"the wallet's socket":   {"http://" + rpc + "/websocket", "", "https://wallet.example", true, http.StatusSwitchingProtocols},
		"the wallet asks REST":  {"http://" + rest + "/cosmos/base/tendermint/v1beta1/blocks/latest", "", "https://wallet.example", false, http.StatusOK},
		"the wallet, rebound":   {"http://" + rpc + "/health", "carol.example", "https://wallet.example", false, http.StatusForbidden},
		"a rebound name":        {"http://" + rpc + "/net_info", "carol.example", "", false, http.StatusForbidden},
		"a rebound websocket":   {"http://" + rpc + "/websocket", "carol.example", "http://carol.example", true, http.StatusForbidden},
		"a program asks REST":   {"http://" + rest + "/cosmos/base/tendermint/v1beta1/blocks/latest", "", "", false, http.StatusOK},
		"a rebound name, REST":  {"http://" + rest + "/cosmos/base/tendermint/v1beta1/blocks/latest", "carol.example:1317", "", false, http.StatusForbidden},
	} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, row.url, http.NoBody)
		req.RequestURI, req.Host = "", row.host
		if row.origin != "" {
			req.Header.Set("Origin", row.origin)
		}
		if row.socket {
			for k, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="} {
				req.Header.Set(k, v)
			}
		}
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = res.Body.Close()
		if res.StatusCode != row.want {
			t.Errorf("%s: %s, want %d", name, res.Status, row.want)
		}
		may := ""
		if row.origin == "https://wallet.example" {
			may = row.origin
		}
		if got := res.Header.Get("Access-Control-Allow-Origin"); got != may && !row.socket {
			t.Errorf("%s: pages of %q may read it, want %q", name, got, may)
		}
	}
}

// A browser asks before it sends what a plain form could not send.
func TestABrowserAsksFirst(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	asked := false
	h := fenced(l, []string{"https://wallet.example"}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked = true
		w.WriteHeader(http.StatusMethodNotAllowed)
	}))
	for origin, want := range map[string]int{"https://wallet.example": http.StatusNoContent, "https://carol.example": http.StatusMethodNotAllowed} {
		asked = false
		req := httptest.NewRequestWithContext(t.Context(), http.MethodOptions, "http://"+l.Addr().String()+"/", http.NoBody)
		req.Header.Set("Origin", origin)
		req.Header.Set("Access-Control-Request-Method", http.MethodPost)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code != want || asked != (want == http.StatusMethodNotAllowed) || (w.Header().Get("Access-Control-Allow-Headers") == "") != asked {
			t.Errorf("%s: %d %v", origin, w.Code, w.Header())
		}
	}
}

// asksByGRPC asks as a tool of others does: an SDK module, one of ours, and what is no question.
func asksByGRPC(t *testing.T, n *Node, address string, who chaintest.Person, has int64) {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	words := grpc.ForceCodec(codec.NewProtoCodec(n.App().Codec().Registry).GRPCCodec())
	var b banktypes.QueryBalanceResponse
	if err := conn.Invoke(t.Context(), "/cosmos.bank.v1beta1.Query/Balance", &banktypes.QueryBalanceRequest{Address: who.Address(), Denom: chain.Base}, &b, words); err != nil || b.Balance == nil || b.Balance.Amount.Int64() != has {
		t.Errorf("gRPC: %s holds %v, %v; want %d", who.Name, b.Balance, err, has)
	}
	var c committeev1.QueryCommitteeResponse
	if err := conn.Invoke(t.Context(), "/hpips.committee.v1.Query/Committee", &committeev1.QueryCommitteeRequest{}, &c, words); err != nil || len(c.Seats) != 1 {
		t.Errorf("gRPC: %d seats, %v", len(c.Seats), err)
	}
	for path, want := range map[string]codes.Code{"/hpips.committee.v1.Query/Ticket": codes.InvalidArgument, "/hpips.committee.v1.Query/Chairs": codes.Unimplemented} {
		if err := conn.Invoke(t.Context(), path, &committeev1.QueryTicketRequest{Node: []byte("nobody")}, &committeev1.QueryTicketResponse{}, words); status.Code(err) != want {
			t.Errorf("gRPC: %s of nobody: %v", path, err)
		}
	}
}
