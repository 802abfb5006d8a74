package node

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	rpctypes "github.com/cometbft/cometbft/rpc/jsonrpc/types"
)

// What the fence lets through, the engine's server reads as one of the questions that are open to others, or as none: first it tries a list of questions, then one.
func FuzzLightAsk(f *testing.F) {
	for _, text := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"commit","params":{"height":"7"}}`, `{"id":1,"method":"commit","method":"dial_peers"}`, `{"id":1,"Method":"dial_peers","method":"commit"}`,
		`{"id":1,"method":"commit","METHOD":"dial_peers"}`, `[{"id":1,"method":"dial_peers"}]`, `null`, `{}`, `{"id":1,"method":"commit"} {"id":1,"method":"dial_peers"}`,
		`{"id":"x","method":"st\u0061tus"}`, `{"id":1,"method":null}`, `{"id":1,"method":"commit\u0000"}`, "",
	} {
		f.Add([]byte(text))
	}
	f.Add([]byte(`{"method":"commit","x":"` + strings.Repeat("y", maxRPCAsk) + `"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if lightAsk(text) != nil {
			return
		}
		var all []rpctypes.RPCRequest
		if json.Unmarshal(text, &all) == nil {
			t.Fatalf("a list of %d questions passes: %q", len(all), text)
		}
		var one rpctypes.RPCRequest
		if err := json.Unmarshal(text, &one); err == nil && one.Method != "" && !slices.Contains(lightly, one.Method) || len(text) > maxRPCAsk {
			t.Fatalf("%q passes: %s", text, one.Method)
		}
	})
}
