package full

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/chaintest"
)

// An upgrade is due at alice's third block. Her node ends there and says what it needs, in this life and the next; with the new program it goes on from there.
func TestADueUpgradeEndsTheNode(t *testing.T) {
	t.Parallel()
	alice := chaintest.New("alice")
	doc := genesis(t, quick(1, 20), alice)
	plan, err := (&upgradetypes.Plan{Name: "better", Height: 3}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var state map[string]json.RawMessage
	if err := json.Unmarshal(doc.AppState, &state); err != nil {
		t.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString
	state[upgradetypes.ModuleName] = json.RawMessage(`{"kept":[{"key":"` + text([]byte{upgradetypes.PlanByte}) + `","value":"` + text(plan) + `"}]}`)
	if doc.AppState, err = json.Marshal(state); err != nil {
		t.Fatal(err)
	}
	c := home(t, alice, doc)
	for life := range 2 {
		n, err := New(c)
		if err == nil { // in the next life the engine tries the block that it has before it serves
			ended := make(chan error, 1)
			go func() { ended <- n.Serve(t.Context()) }()
			select {
			case err = <-ended:
			case <-time.After(time.Minute):
				t.Fatalf("life %d: the node goes on at block %d", life, height(n))
			}
		}
		if err == nil || !strings.Contains(err.Error(), `UPGRADE "better" NEEDED at height: 3`) {
			t.Fatalf("life %d ends: %v", life, err)
		}
	}
	c.Upgrades = []chain.Upgrade{{Name: "better"}}
	for range 2 {
		n, stop := serve(t, c)
		last := max(height(n), 3)
		until(t, "blocks of the new program", func() bool { return height(n) > last+2 })
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
}
