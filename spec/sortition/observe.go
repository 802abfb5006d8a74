package sortition

import (
	"bytes"
	"crypto/sha256"
	"net/netip"
	"slices"
)

// Point is a ticket's place on the ring of observers. The seed is the one after the block in which the ticket was taken out, so that no
// node can choose its place.
func Point(node Key, seed Seed) [32]byte {
	return sha256.Sum256(append(append([]byte(pointUse), seed[:]...), node[:]...))
}

// ObserverPoint is the i-th place on the ring from which an observer of node in slot is looked for: the first ticket at or after it, going
// round, that may testify for the node. The seed is the slot's.
func ObserverPoint(seed Seed, node Key, slot uint64, i uint32) [32]byte {
	b := append(append([]byte(observerUse), seed[:]...), node[:]...)
	return sha256.Sum256(number(number(b, slot), uint64(i)))
}

// Observer is a ticket that was found at an observer's point and may testify: its node, and the network that it is in during the slot.
type Observer struct {
	Node    Key
	Network string
}

// Joins tells whether a ticket that was found at the next point is one more observer beside those drawn before it. No node observes twice and,
// where networks are limited, no network does: whoever has many tickets behind one line has one voice, and one receipt, of a slot. What was found
// in vain is not made up for, so few networks give few observers: see Needed.
func (o Observer) Joins(drawn []Observer, limited bool) bool {
	return !slices.ContainsFunc(drawn, func(d Observer) bool { return d.Node == o.Node || limited && d.Network == o.Network })
}

// Picks draws n of the slots for which a node must prove that it was online; all of them where there are fewer. The result is sorted
// and holds no slot twice.
func Picks(seed Seed, node Key, slots []uint64, n uint32) []uint64 {
	type lot struct {
		slot  uint64
		drawn [32]byte
	}
	prefix := append(append([]byte(pickUse), seed[:]...), node[:]...)
	var lots []lot
	for _, slot := range slices.Compact(slices.Sorted(slices.Values(slots))) {
		lots = append(lots, lot{slot, sha256.Sum256(number(slices.Clone(prefix), slot))})
	}
	slices.SortFunc(lots, func(a, b lot) int { return bytes.Compare(a.drawn[:], b.drawn[:]) })
	var picks []uint64
	for _, l := range lots[:min(len(lots), int(n))] {
		picks = append(picks, l.slot)
	}
	slices.Sort(picks)
	return picks
}

// Needed is how many signatures a slot needs where only available of the wanted observers exist: the same share of them, rounded up.
func Needed(observers, signatures, available uint32) uint32 {
	return share(observers, signatures, available)
}

// NeededSlots is how many slots must be proven where only available of the wanted ones exist: the same share of them, rounded up.
func NeededSlots(picked, needed, available uint32) uint32 { return share(picked, needed, available) }

// share is min(needed, ⌈needed × available / of⌉); needed where of is 0.
func share(of, needed, available uint32) uint32 {
	if available >= of {
		return needed
	}
	return uint32((uint64(needed)*uint64(available) + uint64(of) - 1) / uint64(of)) // less than needed + 1
}

// Local is the network of addresses that mean something only where they are seen.
const Local = "local"

var (
	carrierGrade = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598: shared by a provider's customers
	mapped       = netip.MustParsePrefix("64:ff9b::/96")  // RFC 6052: an IPv4 address in its last four bytes
)

// Network names the network that an address lies in: the /24 of an IPv4 address, the /32 of an IPv6 address, or "local" for loopback,
// link-local, private and shared ranges. It is empty for what is no address of one machine.
func Network(ip netip.Addr) string {
	ip = ip.Unmap().WithZone("")
	if mapped.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	switch {
	case !ip.IsValid(), ip.IsUnspecified(), ip.IsMulticast():
		return ""
	case ip.IsLoopback(), ip.IsPrivate(), ip.IsLinkLocalUnicast(), carrierGrade.Contains(ip):
		return Local
	}
	size := 24
	if ip.Is6() {
		size = 32
	}
	p := netip.PrefixFrom(ip, size).Masked()
	if p.Addr().IsUnspecified() || mapped.Contains(p.Addr()) { // the rest of the blocks from which one range is taken above
		return ""
	}
	return p.String()
}

// network tells whether s is what Network gives for some address.
func network(s string) bool {
	p, err := netip.ParsePrefix(s)
	return s == Local || err == nil && Network(p.Addr()) == s
}
