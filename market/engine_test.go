package market

import (
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/spec/job"
)

// Bob lacks what native programs need, and says so; carol, who is paid by strangers, has not agreed to theirs, and runs those of her own nodes.
func TestWhoRunsNativePrograms(t *testing.T) {
	w, alice, bob, carol := newWire(), named(t, "alice"), named(t, "bob"), named(t, "carol")
	_, shop := w.sells(t, bob, DefaultBidder())
	shop.free.Lacking = map[string]string{"native": "bubblewrap is not installed"}
	terms, mine := DefaultBidder(), false
	terms.Closed = func(engine string) string { return map[string]string{"native": "not agreed"}[engine] }
	terms.Ours = func(peer.ID) bool { return mine }
	_, open := w.sells(t, carol, terms)
	open.free.Engines = append(open.free.Engines, "native")
	ask := func(engine string, seller peer.ID) string {
		order := orderOf(alice, 1)
		order.Engine = engine
		if err := w.buys(alice).Ask(t.Context(), order, 0, []peer.ID{seller})[0].Err; err != nil {
			return err.Error()
		}
		return ""
	}
	if got := ask("native", bob.id); got != "engine native: bubblewrap is not installed" || !Lasting(got) {
		t.Errorf("bob says %q", got)
	}
	if got := ask("native", carol.id); got != "engine native: not agreed" || !Lasting(got) {
		t.Errorf("carol says %q", got)
	}
	if got := ask("wasm", carol.id); got != "" {
		t.Errorf("carol refuses WASM: %q", got)
	}
	mine = true
	if got := ask("native", carol.id); got != "" {
		t.Errorf("carol refuses her own: %q", got)
	}
	// What held when it was quoted may not hold any more when it is signed.
	order := orderOf(alice, 1)
	order.Engine = "native"
	quote := w.buys(alice).Ask(t.Context(), order, 0, []peer.ID{carol.id})[0]
	if quote.Err != nil {
		t.Fatal(quote.Err)
	}
	mine = false
	if _, err := w.buys(alice).Open(t.Context(), carol.id, order, quote.Quote, nil, time.Minute); err == nil || !strings.Contains(err.Error(), "engine native: not agreed") {
		t.Errorf("carol signs what she does not agree to: %v", err)
	}
	mine = true
	if _, err := w.buys(alice).Open(t.Context(), carol.id, order, quote.Quote, nil, time.Minute); err != nil {
		t.Errorf("carol signs nothing: %v", err)
	}
	if Lasting("paused by its owner") {
		t.Error("a pause does not last")
	}
}

// Carol lets tasks call one domain: who asks for more is told which place it is, and what is no place is no order.
func TestWhatTasksMayCall(t *testing.T) {
	w, alice, carol := newWire(), named(t, "alice"), named(t, "carol")
	terms := DefaultBidder()
	var err error
	if terms.Reach, err = job.ParseReaches([]string{"*.example.org"}); err != nil {
		t.Fatal(err)
	}
	w.sells(t, carol, terms)
	ask := func(reach ...string) string {
		order := orderOf(alice, 1)
		order.Reach = reach
		if err := w.buys(alice).Ask(t.Context(), order, 0, []peer.ID{carol.id})[0].Err; err != nil {
			return err.Error()
		}
		return ""
	}
	if got := ask(); got != "" {
		t.Errorf("nothing: %q", got)
	}
	if got := ask("data.example.org"); got != "" {
		t.Errorf("what she allows: %q", got)
	}
	if got := ask("data.example.org", "*"); got != "reach: its owner lets no task call *" || !Lasting(got) {
		t.Errorf("more: %q", got)
	}
	if got := ask("http://"); got == "" {
		t.Error("what is no place is taken")
	}
}
