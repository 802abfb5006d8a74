package ledger

import (
	"testing"
	"time"

	"github.com/hpips/hpips/proto/gen/escrowv1"
	"github.com/hpips/hpips/spec/voucher"
)

// An addition says all that the chain holds against the lease: its asset, too.
func TestAnAdditionIsWhole(t *testing.T) {
	id := voucher.ID{1, 2, 3}
	m, ok := TopUp("hpips1payer", []Addition{{Lease: id, Denom: "uhpips", Amount: 7, Until: time.Unix(9, 0)}}).(*escrowv1.MsgTopUp)
	if !ok || len(m.Additions) != 1 || m.Payer != "hpips1payer" {
		t.Fatalf("%+v", m)
	}
	if a := m.Additions[0]; voucher.ID(a.Lease) != id || a.Denom != "uhpips" || a.Amount.Uint64() != 7 || a.Until != 9 {
		t.Errorf("%+v", a)
	}
}
