package egress

import (
	"net"
	"net/netip"
)

// closed are networks that are nobody's on the internet, or somebody's own (IANA's special-purpose address registries, RFC 6890), beyond what netip knows.
var closed = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fec0::/10",
)

func prefixes(list ...string) (all []netip.Prefix) {
	for _, text := range list {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// Public says whether an address is one of the internet: neither this machine's nor of a local or a special network.
func Public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.Zone() != "" {
		return false
	}
	return !within(closed, a)
}

func within(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// own are the networks of this machine's interfaces, and its gateways, which may lie outside of them: at home, where IPv6 has no private addresses, the owner's other devices are in
// one of them.
func own() []netip.Prefix {
	all := []netip.Prefix{}
	list, err := net.InterfaceAddrs()
	if err != nil {
		return all // what is private is known without it
	}
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			all = append(all, p.Masked())
		}
	}
	for _, a := range gateways() {
		all = append(all, netip.PrefixFrom(a, a.BitLen()))
	}
	return all
}
