package node

import (
	"net/netip"
	"testing"
)

// By which address others see this machine is read of a multiaddress, if that has one of its own: a relay's is the relay's.
func TestAddressesByWhichANodeIsSeen(t *testing.T) {
	const id = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
	for text, want := range map[string]string{
		"/ip4/203.0.113.7/tcp/4001/p2p/" + id:                            "203.0.113.7",
		"/ip6/2001:db8::7/udp/4001/quic-v1/p2p/" + id:                    "2001:db8::7",
		"/ip6/::ffff:203.0.113.7/tcp/4001":                               "203.0.113.7",
		"/ip4/203.0.113.7/tcp/4001/p2p/" + id + "/p2p-circuit/p2p/" + id: "",
		"/dns4/example.org/tcp/4001":                                     "",
		"nowhere":                                                        "",
	} {
		got, ok := addressIn(text)
		if ok != (want != "") || ok && got != netip.MustParseAddr(want) {
			t.Errorf("%s: %s, %v, want %q", text, got, ok, want)
		}
	}
}
