package full

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/hpips/hpips/chain/chaintest"
)

// Alice has a page of carol's open in her browser. It reaches neither the RPC nor REST of alice's node, whatever name carol gives to 127.0.0.1.
// Alice's own programs do.
func TestPagesDoNotReachEndpoints(t *testing.T) {
	alice := chaintest.New("alice")
	c := home(t, alice, genesis(t, nil, alice))
	c.RPC, c.REST = "127.0.0.1:0", "127.0.0.1:0"
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
	}
}
