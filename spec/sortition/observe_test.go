package sortition

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestPicks(t *testing.T) {
	_, alice := person("alice")
	rapid.Check(t, func(t *rapid.T) {
		slots := rapid.SliceOf(rapid.Uint64Range(0, 200)).Draw(t, "slots")
		n := rapid.Uint32Range(0, 40).Draw(t, "n")
		seed := Seed(bytes32(t, "seed"))
		picks := Picks(seed, alice, slots, n)
		distinct := slices.Compact(slices.Sorted(slices.Values(slots)))
		if len(picks) != min(len(distinct), int(n)) || !slices.IsSorted(picks) || len(slices.Compact(slices.Clone(picks))) != len(picks) {
			t.Fatalf("%d of %v: %v", n, slots, picks)
		}
		for _, p := range picks {
			if !slices.Contains(slots, p) {
				t.Fatalf("%d is no slot of %v", p, slots)
			}
		}
		if again := Picks(seed, alice, rapid.Permutation(slots).Draw(t, "order"), n); !slices.Equal(again, picks) {
			t.Fatalf("in another order: %v, %v", again, picks)
		}
	})
}

func TestPicksAreFair(t *testing.T) {
	_, alice := person("alice")
	slots := make([]uint64, 168)
	for i := range slots {
		slots[i] = 480_000 + uint64(i)
	}
	counts := make([]int, len(slots))
	seed := Genesis("picks")
	for range 2000 {
		for _, p := range Picks(seed, alice, slots, 10) {
			counts[p-slots[0]]++
		}
		seed = seed.Extend(Beta{})
	}
	if p := uniform(counts); p < 1e-4 {
		t.Errorf("p = %g: %v", p, counts)
	}
}

func TestPointsDiffer(t *testing.T) {
	_, alice := person("alice")
	_, bob := person("bob")
	a, b := Genesis("a"), Genesis("b")
	points := [][32]byte{
		Point(alice, a), Point(alice, b), Point(bob, a),
		ObserverPoint(a, alice, 1, 0), ObserverPoint(a, alice, 1, 1), ObserverPoint(a, alice, 2, 0), ObserverPoint(b, alice, 1, 0), ObserverPoint(a, bob, 1, 0),
		ObserverPoint(a, alice, 0, 1),
	}
	for i, p := range points {
		if slices.Index(points, p) != i {
			t.Errorf("point %d comes twice", i)
		}
	}
}

// Whatever is found at the points, each node observes once, and each network where they are limited; nobody who could join is left out.
func TestObserversJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limited := rapid.Bool().Draw(t, "limited")
		found := rapid.SliceOf(rapid.Custom(func(t *rapid.T) Observer {
			return Observer{Key{rapid.Byte().Draw(t, "node") % 8}, rapid.SampledFrom([]string{"a", "b", Local}).Draw(t, "network")}
		})).Draw(t, "found")
		var drawn []Observer
		for _, o := range found {
			if o.Joins(drawn, limited) {
				drawn = append(drawn, o)
			}
		}
		nodes, networks := map[Key]int{}, map[string]int{}
		for _, o := range drawn {
			nodes[o.Node]++
			networks[o.Network]++
			if nodes[o.Node] > 1 || limited && networks[o.Network] > 1 {
				t.Fatalf("of %v, %v", found, drawn)
			}
		}
		for _, o := range found {
			if nodes[o.Node] == 0 && (!limited || networks[o.Network] == 0) {
				t.Fatalf("of %v, %v: %v is left out", found, drawn, o)
			}
		}
	})
}

func TestNeeded(t *testing.T) {
	for _, row := range []struct{ of, needed, available, want uint32 }{
		{8, 5, 8, 5}, {8, 5, 9, 5}, {8, 5, 7, 5}, {8, 5, 6, 4}, {8, 5, 4, 3}, {8, 5, 1, 1}, {8, 5, 0, 0}, {1, 1, 1, 1}, {0, 5, 3, 5}, {0, 0, 0, 0},
		{1<<32 - 1, 1<<32 - 1, 1<<32 - 2, 1<<32 - 2},
	} {
		if got := Needed(row.of, row.needed, row.available); got != row.want {
			t.Errorf("%+v: %d", row, got)
		}
	}
	for _, row := range []struct{ of, needed, available, want uint32 }{{10, 8, 10, 8}, {10, 8, 3, 3}, {10, 8, 5, 4}, {1, 1, 0, 0}} {
		if got := NeededSlots(row.of, row.needed, row.available); got != row.want {
			t.Errorf("slots %+v: %d", row, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		of, available := rapid.Uint32().Draw(t, "of"), rapid.Uint32().Draw(t, "available")
		needed := rapid.Uint32Range(0, of).Draw(t, "needed")
		if got := Needed(of, needed, available); got > needed || got > available && of > 0 {
			t.Fatalf("%d needed of %d available", got, available)
		}
	})
}

func TestNetwork(t *testing.T) {
	for ip, want := range map[string]string{
		"203.0.113.77": "203.0.113.0/24", "::ffff:203.0.113.77": "203.0.113.0/24", "64:ff9b::203.0.113.77": "203.0.113.0/24",
		"64:ff9b::203.0.113.77%eth0": "203.0.113.0/24",
		"2001:db8:1:2::3":            "2001:db8::/32", "2a02:1234:ffff::1": "2a02:1234::/32", "172.32.0.1": "172.32.0.0/24",
		"127.0.0.1": Local, "::1": Local, "10.1.2.3": Local, "192.168.1.1": Local, "172.16.0.1": Local, "169.254.1.1": Local, "100.64.0.1": Local,
		"100.127.255.255": Local, "100.128.0.1": "100.128.0.0/24", "fe80::1%eth0": Local, "fd00::1": Local, "::ffff:127.0.0.1": Local, "64:ff9b::10.0.0.1": Local,
		"0.0.0.0": "", "::": "", "224.0.0.1": "", "ff02::1": "",
	} {
		if got := Network(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s is in %q, want %q", ip, got, want)
		}
	}
	if got := Network(netip.Addr{}); got != "" {
		t.Errorf("no address is in %q", got)
	}
	for _, bad := range []string{"", "Local", "203.0.113.77/24", "203.0.113.0/25", "203.0.113.0", "10.0.0.0/24", "2001:db8::/48", "2001:DB8::/32", "::ffff:203.0.113.0/120", "203.0.113.0/024"} {
		if network(bad) {
			t.Errorf("%q is taken as a network", bad)
		}
	}
}

func FuzzNetwork(f *testing.F) {
	f.Add([]byte{203, 0, 113, 77})
	f.Add(netip.MustParseAddr("64:ff9b::1").AsSlice())
	f.Fuzz(func(t *testing.T, b []byte) {
		ip, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		if s := Network(ip); s != "" && !network(s) {
			t.Fatalf("%s is in %q, which is no network", ip, s)
		}
	})
}
