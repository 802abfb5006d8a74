package committee

import (
	"testing"

	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
)

func TestFirst(t *testing.T) {
	all := people(8)
	w := found(t, storetypes.StoreTypeIAVL, Development(), 1, all...)
	for _, p := range all[1:] {
		w.ticketed(p, "n-"+p.name)
	}
	for range 10 {
		entered := w.turn(all)
		t.Log(w.height, len(entered), w.size(), w.epoch().Number, len(w.voters))
	}
}
