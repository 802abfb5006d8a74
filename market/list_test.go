package market

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/lease"
)

func TestAListKnowsWhomItMeans(t *testing.T) {
	bob := Party{Node: "12D3KooWBob", Account: "hpips1bob", Network: "lan", Whole: true}
	for name, row := range map[string]struct {
		list List
		of   Party
		want string
	}{
		"nobody is kept out":                     {List{}, bob, ""},
		"denied by node":                         {List{Deny: []string{"12D3KooWBob"}}, bob, onDenyList},
		"denied by account":                      {List{Deny: []string{"hpips1bob"}}, bob, onDenyList},
		"denied by network":                      {List{Deny: []string{"network:lan"}}, bob, onDenyList},
		"a label is no node":                     {List{Deny: []string{"lan"}}, bob, ""},
		"denied wins":                            {List{Allow: []string{"hpips1bob"}, Deny: []string{"network:lan"}}, bob, onDenyList},
		"allowed":                                {List{Allow: []string{"hpips1eve", "network:lan"}}, bob, ""},
		"another is allowed":                     {List{Allow: []string{"hpips1eve"}}, bob, offAllowList},
		"an account that may come to be known":   {List{Allow: []string{"hpips1bob"}}, Party{Node: "12D3KooWBob"}, ""},
		"an account that does not come":          {List{Allow: []string{"hpips1bob"}}, Party{Node: "12D3KooWBob", Whole: true}, offAllowList},
		"a node that is none, whatever comes":    {List{Allow: []string{"12D3KooWEve"}}, Party{Node: "12D3KooWBob"}, offAllowList},
		"an empty network is not that of anyone": {List{Deny: []string{"network:"}}, Party{Node: "12D3KooWBob", Whole: true}, ""},
	} {
		if got := row.list.Refuses(row.of); got != row.want {
			t.Errorf("%s: %q, want %q", name, got, row.want)
		}
	}
	if got := (List{Allow: []string{"12D3KooWEve"}}).For(true).Refuses(bob); got != "" {
		t.Errorf("one's own node: %q", got)
	}
}

// TestBobChoosesForWhomHeWorks has bob's list change between quote and lease.
func TestBobChoosesForWhomHeWorks(t *testing.T) {
	w, alice, bob, carol := newWire(), named(t, "alice"), named(t, "bob"), named(t, "carol")
	list := List{Deny: []string{carol.id.String()}}
	cfg := priced(5)
	cfg.Whom = func() List { return list }
	bidder, _ := w.sells(t, bob, cfg)
	ask := func(p person) Answer { return w.buys(p).Ask(t.Context(), orderOf(p, 2), Any, []peer.ID{bob.id})[0] }
	var no *Refusal
	if a := ask(carol); !errors.As(a.Err, &no) || no.Reason != "requester: on the deny list of this provider" {
		t.Fatalf("carol hears %v", a.Err)
	}
	offer := ask(alice)
	if offer.Err != nil {
		t.Fatal(offer.Err)
	}
	list = List{Deny: []string{payBy(alice).Payer}}
	if _, err := w.buys(alice).Open(t.Context(), bob.id, orderOf(alice, 2), offer.Quote, payBy(alice), time.Hour); err == nil || !strings.Contains(err.Error(), "on the deny list") {
		t.Fatalf("a lease of a payer who is denied: %v", err)
	}
	list = List{Allow: []string{payBy(alice).Payer}}
	if _, err := w.buys(alice).Open(t.Context(), bob.id, orderOf(alice, 2), offer.Quote, payBy(alice), time.Hour); err != nil {
		t.Fatalf("a lease of a payer who alone is allowed: %v", err)
	}
	if offer = ask(carol); offer.Err != nil { // who pays for her is not known yet
		t.Fatal(offer.Err)
	}
	if _, err := w.buys(carol).Open(t.Context(), bob.id, orderOf(carol, 2), offer.Quote, payBy(carol), time.Hour); err == nil || !strings.Contains(err.Error(), "not on the allow list") {
		t.Fatalf("a lease of another payer: %v", err)
	}
	list = List{Allow: []string{alice.id.String()}}
	raw, err := bidder.Quote(t.Context(), carol.id, canon.MustEncode(orderOf(carol, 1)))
	var q lease.Quote
	if err = errors.Join(err, canon.Decode(raw, lease.MaxOrder, &q)); err != nil || q.Slots != 0 || !strings.Contains(q.Refusal, "not on the allow list") {
		t.Fatal(fmt.Sprint(q, err))
	}
	if raw, err = bidder.Quote(t.Context(), bob.id, canon.MustEncode(orderOf(bob, 1))); err != nil {
		t.Fatal(err)
	}
	if err := canon.Decode(raw, lease.MaxOrder, &q); err != nil || q.Slots == 0 {
		t.Fatalf("bob is kept from himself: %+v", q)
	}
}
