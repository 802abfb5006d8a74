package sortition

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"net/netip"
	"testing"

	"github.com/hpips/hpips/spec/spectest"
)

// TestVectors holds what this package computes against testdata, so that another implementation can check itself. The secret keys are
// SHA-256 of a name: "alice", "bob", "alice's votes", "alice's vrf".
func TestVectors(t *testing.T) {
	spectest.Vectors(t, map[string]func(*testing.T) any{
		"seeds": seedVectors, "draws": drawVectors, "turns": turnVectors, "observing": observingVectors, "words": wordVectors,
	})
}

func seedVectors(t *testing.T) any {
	type row struct {
		Chain       string
		Height      int64
		Public      Key
		Before      Seed
		Alpha       spectest.Octets
		Transaction spectest.Octets
		Beta        Beta
		After       Seed
	}
	var rows []row
	secret, public := person("alice")
	seed := Genesis("hpips-1")
	for _, height := range []int64{1, 2, 1 << 40} {
		alpha := SeedAlpha("hpips-1", height, seed)
		proof, err := Prove(secret, alpha)
		if err != nil {
			t.Fatal(err)
		}
		beta, err := Verify(public, alpha, proof)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row{"hpips-1", height, public, seed, alpha, SeedTx(proof), beta, seed.Extend(beta)})
		seed = seed.Extend(beta)
	}
	return rows
}

func drawVectors(t *testing.T) any {
	type draw struct {
		Chain  string
		Epoch  uint64
		Seed   Seed
		Public Key
		Alpha  spectest.Octets
		Proof  Proof
		Output Output
	}
	type rank struct {
		Output    Output
		K         uint64
		Rank      Rank
		Threshold Threshold
		Below     bool
	}
	type first struct {
		Tickets   uint64
		Free      uint32
		Threshold Threshold
	}
	type move struct {
		Threshold    Threshold
		Claims, Free uint32
		Next         Threshold
	}
	var all struct {
		Draws  []draw
		Ranks  []rank
		First  []first
		Moves  []move
		Budget map[uint32]uint32
	}
	seed := Genesis("hpips-1")
	for i, name := range []string{"alice", "bob"} {
		secret, public := person(name)
		alpha := DrawAlpha("hpips-1", uint64(i), seed)
		proof, err := Prove(secret, alpha)
		if err != nil {
			t.Fatal(err)
		}
		beta, err := Verify(public, alpha, proof)
		if err != nil {
			t.Fatal(err)
		}
		all.Draws = append(all.Draws, draw{"hpips-1", uint64(i), seed, public, alpha, proof, beta.Output()})
		threshold := Threshold{0: 0x80}
		for _, k := range []uint64{1, 2, 10, 1<<64 - 1} {
			r := beta.Output().Rank(k)
			all.Ranks = append(all.Ranks, rank{beta.Output(), k, r, threshold, r.Below(threshold)})
		}
	}
	for _, row := range []first{{Tickets: 0, Free: 1}, {Tickets: 6, Free: 1}, {Tickets: 1000, Free: 33}, {Tickets: 1 << 40, Free: 100}} {
		row.Threshold = FirstThreshold(row.Tickets, row.Free)
		all.First = append(all.First, row)
	}
	for _, row := range []move{{Claims: 33, Free: 33}, {Claims: 50, Free: 33}, {Claims: 51, Free: 33}, {Claims: 1000, Free: 33}, {Claims: 0, Free: 33}, {Claims: 1, Free: 0}} {
		row.Threshold = FirstThreshold(1000, 33)
		row.Next = Retarget(row.Threshold, row.Claims, row.Free)
		all.Moves = append(all.Moves, row)
	}
	all.Budget = map[uint32]uint32{}
	for _, n := range []uint32{0, 1, 2, 3, 4, 6, 101, 301} {
		all.Budget[n] = Budget(n)
	}
	return all
}

func turnVectors(*testing.T) any {
	type turn struct {
		Sitting                   []Member
		Claims                    []Candidate
		Budget                    uint32
		Rules                     Rules
		Leave, Enter, Substitutes []string
	}
	node := func(i int) Key { _, k := person(fmt.Sprint("node ", i)); return k }
	rules := Rules{Seats: 7, PerOwner: 1, PerNetwork: 1, Draw: true}
	var sitting []Member
	for i := range 7 {
		sitting = append(sitting, Member{node(i), fmt.Sprint("owner ", i), fmt.Sprintf("10.0.%d.0/24", i), uint64(i / 2), int64(i), i == 0, i == 5})
	}
	var claims []Candidate
	for i := 3; i < 12; i++ {
		o := hashed(node(i))([]byte("turns"))
		claims = append(claims, Candidate{node(i), fmt.Sprint("owner ", i%9), fmt.Sprintf("10.0.%d.0/24", i), o.Rank(1)})
	}
	var rows []turn
	for _, r := range []Rules{rules, with(rules, func(r *Rules) { r.Seats = 9 }), with(rules, func(r *Rules) { r.Seats = 6 }), with(rules, func(r *Rules) { r.Draw = false }), {Seats: 7, Draw: true}} {
		row := turn{Sitting: sitting, Claims: claims, Budget: Budget(7), Rules: r}
		leave, enter, substitutes := Turn(sitting, claims, row.Budget, r)
		for _, k := range leave {
			row.Leave = append(row.Leave, k.String())
		}
		for _, c := range enter {
			row.Enter = append(row.Enter, c.Node.String())
		}
		for _, c := range substitutes {
			row.Substitutes = append(row.Substitutes, c.Node.String())
		}
		rows = append(rows, row)
	}
	return rows
}

func observingVectors(t *testing.T) any {
	type slot struct {
		Slot  uint64
		Index uint32
		Point spectest.Octets
	}
	var all struct {
		Seed     Seed
		Node     Key
		Point    spectest.Octets
		Looks    []slot
		Picked   []uint64
		Networks map[string]string
		Found    []Observer
		Drawn    map[string][]int // places in Found
	}
	all.Seed = Genesis("hpips-1")
	_, all.Node = person("alice")
	point := Point(all.Node, all.Seed)
	all.Point = point[:]
	for i := range uint32(3) {
		p := ObserverPoint(all.Seed, all.Node, 480_000, i)
		all.Looks = append(all.Looks, slot{480_000, i, p[:]})
	}
	var slots []uint64
	for i := range uint64(168) {
		slots = append(slots, 480_000+i)
	}
	all.Picked = Picks(all.Seed, all.Node, slots, 10)
	all.Networks = map[string]string{}
	for _, ip := range []string{"203.0.113.77", "2001:db8:1::2", "::ffff:203.0.113.77", "64:ff9b::cb00:714d", "10.1.2.3", "100.64.0.1", "fd00::1", "::1", "224.0.0.1"} {
		all.Networks[ip] = Network(netip.MustParseAddr(ip))
	}
	for _, row := range [][2]string{{"bob", "203.0.113.0/24"}, {"carol", "198.51.100.0/24"}, {"bob", "203.0.113.0/24"}, {"dave", "203.0.113.0/24"}, {"erin", Local}, {"frank", Local},
		{"grace", "2001:db8::/32"}} {
		_, key := person(row[0])
		all.Found = append(all.Found, Observer{key, row[1]})
	}
	all.Drawn = map[string][]int{}
	for name, limited := range map[string]bool{"limited": true, "free": false} {
		var drawn []Observer
		for i, o := range all.Found {
			if o.Joins(drawn, limited) {
				drawn, all.Drawn[name] = append(drawn, o), append(all.Drawn[name], i)
			}
		}
	}
	return all
}

func wordVectors(t *testing.T) any {
	type word struct {
		Bytes, Signed spectest.Octets
		Signatures    map[string]string
	}
	alice, _ := person("alice")
	votes, _ := person("alice's votes")
	vrf, _ := person("alice's vrf")
	must := func(b []byte, err error) spectest.Octets {
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	r, a, g, c := registration(), application(t), resignation(), receipt(t)
	proof, err := r.Prove(vrf)
	if err != nil {
		t.Fatal(err)
	}
	list, err := restart(r.Node).Sign(alice)
	if err != nil {
		t.Fatal(err)
	}
	sig := func(sign func(ed25519.PrivateKey) ([]byte, error), by ed25519.PrivateKey) string {
		return hex.EncodeToString(must(sign(by)))
	}
	return map[string]word{
		"registration": {must(r.Bytes()), must(r.Signed()), map[string]string{"node": sig(r.Sign, alice), "consensus": sig(r.Sign, votes), "vrf": proof.String()}},
		"receipt":      {must(c.Bytes()), must(c.Signed()), map[string]string{"observer": hex.EncodeToString(c.Signature)}},
		"application":  {must(a.Bytes()), must(a.Signed()), map[string]string{"node": sig(a.Sign, alice)}},
		"resignation":  {must(g.Bytes()), must(g.Signed()), map[string]string{"node": sig(g.Sign, alice)}},
		"restart list": {must(list.Bytes()), must(list.Signed()), map[string]string{"node": hex.EncodeToString(list.Signatures[0].Signature)}},
	}
}
