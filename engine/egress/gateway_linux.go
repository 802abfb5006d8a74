package egress

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// gateways are the addresses of the routers that this machine's ways lead over: the owner's, or the next of whom the owner buys the line. What cannot be read is not known.
func gateways() []netip.Addr {
	v4, _ := os.ReadFile("/proc/net/route")
	v6, _ := os.ReadFile("/proc/net/ipv6_route")
	return append(routers4(v4), routers6(v6)...)
}

// routers4 reads the kernel's table of routes (proc(5), /proc/net/route): the third word of a line is the gateway, as the number that it is in memory.
func routers4(table []byte) (all []netip.Addr) {
	for line := range bytes.Lines(table) {
		word := strings.Fields(string(line))
		if len(word) < 3 {
			continue
		}
		if n, err := strconv.ParseUint(word[2], 16, 32); err == nil && n != 0 { // a heading is no number
			all = append(all, netip.AddrFrom4([4]byte(binary.NativeEndian.AppendUint32(nil, uint32(n)))))
		}
	}
	return all
}

// routers6 reads that of version 6: the fifth word of a line is the next hop.
func routers6(table []byte) (all []netip.Addr) {
	for line := range bytes.Lines(table) {
		word := strings.Fields(string(line))
		if len(word) < 5 || len(word[4]) != 32 {
			continue
		}
		if b, err := hex.DecodeString(word[4]); err == nil {
			if a := netip.AddrFrom16([16]byte(b)); !a.IsUnspecified() {
				all = append(all, a)
			}
		}
	}
	return all
}
