package egress

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

// The kernel's tables name the routers of this machine; a route without one, and the heading, name none.
func TestGateways(t *testing.T) {
	number := binary.NativeEndian.Uint32([]byte{198, 51, 100, 1})
	v4 := routers4(fmt.Appendf(nil, "Iface\tDestination\tGateway \tFlags\neth0\t00000000\t%08X\t0003\neth0\t0000A8C0\t00000000\t0001\n", number))
	if want := []netip.Addr{netip.MustParseAddr("198.51.100.1")}; !slices.Equal(v4, want) {
		t.Errorf("version 4: %v, want %v", v4, want)
	}
	v6 := routers6([]byte("00000000000000000000000000000000 00 00000000000000000000000000000000 00 20010db8000000000000000000000001 00000400 00000000 00000000 00000003 eth0\n" +
		"fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth0\n"))
	if want := []netip.Addr{netip.MustParseAddr("2001:db8::1")}; !slices.Equal(v6, want) {
		t.Errorf("version 6: %v, want %v", v6, want)
	}
}
