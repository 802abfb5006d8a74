package node

import (
	"path/filepath"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/engine/process"
	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// Bob's PC is on a chain, and Alice's is a stranger's. Her WASM runs on his from the start; her native programs when he says so, without another start of his node, and not any more
// when he takes it back, nor after a restart.
func TestAStrangersNativeWorkIsRefusedUntilBobAgrees(t *testing.T) {
	desk := quiet(t)
	desk.Chain, desk.Slots, desk.Prices = true, 1, Prices{} // he gives work away, and still not that
	if err := Found(Founding{Ring: filepath.Join(desk.Home, "keys"), Homes: []string{desk.Home}, Seats: 1}); err != nil {
		t.Fatal(err)
	}
	h, err := New(t.Context(), desk)
	bob := start(t, h, err)
	if why := bob.first().lacking()[process.Name]; why != "" {
		t.Skip("native programs are not run here: " + why)
	}
	pc := quiet(t)
	pc.Provide, pc.Join = false, bob.Addresses()
	h2, err := New(t.Context(), pc)
	alice := start(t, h2, err)
	m := alice.first()
	comes(t, "alice is connected with bob", func() bool { return len(m.host.Peers()) > 0 })
	asks := func(engine string) string {
		t.Helper()
		order := lease.Order{Job: "job-1", Requester: m.host.ID().String(), Engine: engine, Slots: 1, Resources: job.Resources{CPU: 1, Memory: 64 << 20, Disk: 1 << 20}}
		if err := m.broker.Ask(t.Context(), order, market.Any, []peer.ID{bob.first().host.ID()})[0].Err; err != nil {
			return err.Error()
		}
		return ""
	}
	const no = "engine native: its owner has not agreed to native programs of strangers"
	if got := asks(job.EngineNative); got != no {
		t.Errorf("before he has agreed: %q", got)
	}
	if got := asks(job.EngineWASM); got != "" {
		t.Errorf("WASM: %q", got)
	}
	for _, row := range []struct {
		consent Consent
		says    string
	}{{Everybody, ""}, {Own, no}, {Nobody, "engine native: " + unwanted}, {Everybody, ""}} {
		if _, err := SetShare(desk.Home, "native", string(row.consent)); err != nil {
			t.Fatal(err)
		}
		if got := asks(job.EngineNative); got != row.says {
			t.Errorf("%s: %q, want %q", row.consent, got, row.says)
		}
		s, err := bob.api.Share(t.Context())
		if err != nil || len(s.Engines) != 2 || s.Engines[0].Consent != string(row.consent) || (s.Engines[0].Closed == "") == (row.consent == Own) {
			t.Errorf("%s: %+v, %v", row.consent, s.Engines, err)
		}
	}
	if _, err := SetShare(desk.Home, "native", string(Own)); err != nil {
		t.Fatal(err)
	}
	_ = bob.stop()
	again, err := Load(desk.Home) // as after a restart
	if err != nil || again.Consent(process.Name) != Own {
		t.Errorf("after a restart: %q, %v", again.Consent(process.Name), err)
	}
}
