package chain_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"

	"github.com/hpips/hpips/chain/chaintest"
	"github.com/hpips/hpips/chain/committee"
	"github.com/hpips/hpips/chain/reward"
)

// Seats are drawn and the supply is fixed: no module that stakes, slashes, mints or distributes has a state, a store or a message here.
func TestNobodyStakesOrMints(t *testing.T) {
	d := newDesk(t)
	var state map[string]json.RawMessage
	if err := json.Unmarshal(d.doc.AppState, &state); err != nil {
		t.Fatal(err)
	}
	var stores []string
	for key := range d.app.CommitMultiStore().(interface {
		StoreKeysByName() map[string]storetypes.StoreKey
	}).StoreKeysByName() {
		stores = append(stores, key)
	}
	if !slices.Contains(stores, committee.Name) || state[committee.Name] == nil {
		t.Fatalf("stores %v", stores)
	}
	for name, message := range map[string]string{
		"staking": "MsgDelegate", "slashing": "MsgUnjail", "evidence": "MsgSubmitEvidence", "genutil": "", "mint": "MsgUpdateParams", "distribution": "MsgWithdrawDelegatorReward",
	} {
		if state[name] != nil || slices.Contains(stores, name) {
			t.Errorf("%s has a state", name)
		}
		if url := "/cosmos." + name + ".v1beta1." + message; message != "" && d.app.MsgServiceRouter().HandlerByTypeURL(url) != nil {
			t.Errorf("%s is a message of this chain", url)
		}
	}
	if d.app.MsgServiceRouter().HandlerByTypeURL("/cosmos.bank.v1beta1.MsgSend") == nil {
		t.Error("nobody can send: nothing was tried")
	}
}

// An epoch or a day that cannot be turned is no matter of an event that gets lost: the block fails, and the next one is none.
func TestAnErrorWithSeatsOrDaysStopsTheChain(t *testing.T) {
	for what, at := range map[string]struct {
		store string
		key   byte
	}{
		"nothing": {}, "the rules of seats": {committee.Name, 1}, "the seed": {committee.Name, 2}, "the epoch": {committee.Name, 3}, "the holders' stream": {reward.Name, 2}, "today": {reward.Name, 4},
	} {
		doc, err := genesis(t, "alice").Build()
		if err != nil {
			t.Fatal(err)
		}
		c, err := chaintest.NewChronicle(doc, chaintest.New("alice"))
		if err != nil {
			t.Fatal(err)
		}
		spoil := func(stores func(string) storetypes.KVStore) {
			if s := at.store; s != "" {
				stores(s).Set([]byte{at.key}, []byte{0xff})
			}
		}
		if err := c.Write(nil, spoil); err != nil {
			t.Fatal(err)
		}
		switch err = c.Write(nil, nil); { // a block without a seed turns nothing
		case err == nil && c.Height() == 2:
			err = c.Write(nil, nil)
		}
		if stopped := err != nil && strings.Contains(err.Error(), "block ") && c.Height() < 3; stopped == (what == "nothing") {
			t.Errorf("%s is spoiled: block %d, %v", what, c.Height(), err)
		}
	}
}
