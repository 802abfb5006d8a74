package trust

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"strconv"
	"testing"

	"github.com/hpips/hpips/spec/spectest"
)

// TestVectors holds what this package computes against testdata, so that another implementation can check itself.
func TestVectors(t *testing.T) {
	spectest.Vectors(t, map[string]func(*testing.T) any{"rates": rateVectors, "draws": drawVectors, "leaves": leafVectors, "jurors": jurorVectors, "commitments": commitmentVectors})
}

func rateVectors(*testing.T) any {
	type vector struct {
		Price  uint64 `json:"price,string"`
		Bond   uint64 `json:"bond,string"`
		Rate   uint64 `json:"rate"`
		Jurors int    `json:"jurors"`
		Fine   uint64 `json:"fine,string"`
		Aside  uint64 `json:"aside,string"`
	}
	var all []vector
	for _, price := range []uint64{0, 1, 1000, 30_000_000, 1<<64 - 1} {
		for _, bond := range []uint64{0, 1, 999, 10_000_000, 1_000_000_000, 1<<64 - 1} {
			rate, jurors := Default().Rate(price, bond)
			all = append(all, vector{price, bond, rate, jurors, Default().Fine(price, bond), SetAside(price)})
		}
	}
	return all
}

func drawVectors(*testing.T) any {
	type vector struct {
		Seed    spectest.Octets `json:"seed"`
		Root    spectest.Octets `json:"root"`
		Span    Span            `json:"span"`
		Rate    uint64          `json:"rate"`
		ByPlace bool            `json:"byPlace"`
		Drawn   []uint64        `json:"drawn"`
	}
	var all []vector
	for _, name := range []string{"alice", "bob"} {
		seed, root := sha256.Sum256([]byte("seed "+name)), sha256.Sum256([]byte("root "+name))
		for _, span := range []Span{{0, 40, 0, 4000}, {7, 40, 9000, 1_000_000}, {7, 40, 9, 3}} {
			for _, rate := range []uint64{0, 37_500, 250_000, Whole} {
				d := NewDraw(seed, root, span, rate)
				v := vector{Seed: seed[:], Root: root[:], Span: span, Rate: rate, Drawn: []uint64{}}
				for i := range d.Len() {
					at, byPlace := d.At(i)
					v.ByPlace, v.Drawn = byPlace, append(v.Drawn, at)
				}
				all = append(all, v)
			}
		}
	}
	return all
}

func leafVectors(*testing.T) any {
	type vector struct {
		Terms     spectest.Octets `json:"terms"`
		Place     uint64          `json:"place"`
		Statement spectest.Octets `json:"statement"`
		Result    spectest.Octets `json:"result"`
		Work      uint64          `json:"work"`
		Before    uint64          `json:"before"`
		Salt      spectest.Octets `json:"salt"`
		Seal      spectest.Octets `json:"seal"`
		Answer    spectest.Octets `json:"answer"`
	}
	var all []vector
	for i, name := range []string{"alice", "bob"} {
		part := func(what string) [32]byte { return sha256.Sum256([]byte(what + " " + name)) }
		terms, l := part("terms"), Leaf{part("statement"), part("result"), 123_456_789, 5_000_000_000 * uint64(i)}
		salt := Salt(terms, uint64(i))
		seal, answer := l.Seal(salt), l.Answer()
		all = append(all, vector{terms[:], uint64(i), l.Statement[:], l.Result[:], l.Work, l.Before, salt[:], seal[:], answer[:]})
	}
	return all
}

func jurorVectors(*testing.T) any {
	type vector struct {
		Chain     string          `json:"chain"`
		Node      spectest.Octets `json:"node"`
		Sequence  uint64          `json:"sequence"`
		Place     uint64          `json:"place"`
		Round     uint64          `json:"round"`
		Seed      spectest.Octets `json:"seed"`
		Alpha     spectest.Octets `json:"alpha"`
		Key       spectest.Octets `json:"key"`
		Voice     spectest.Octets `json:"commitment"`
		Signature spectest.Octets `json:"signature"`
		Tickets   uint64          `json:"tickets"`
		Called    uint64          `json:"called"`
		Threshold spectest.Octets `json:"threshold"`
		Points    []string        `json:"points"`
		Point     uint64          `json:"pointOfAMillion"`
	}
	secret := sha256.Sum256([]byte("bob"))
	key := ed25519.NewKeyFromSeed(secret[:])
	bob := [32]byte(key.Public().(ed25519.PublicKey))
	var all []vector
	for round := range uint64(3) {
		m := Matter{"hpips-1", sha256.Sum256([]byte("a node")), 77, round, round, sha256.Sum256([]byte("a seed"))}
		word := Commitment(Sum([]Say{{Digest{1}, Digest{2}}}), bob, [32]byte{byte(round)})
		beta := bytes.Repeat([]byte{byte(round)}, 64)
		var points []string
		for _, p := range Points(beta, Digest{byte(round)}) {
			points = append(points, strconv.FormatUint(p, 10))
		}
		called := Called([]int{Fellows, Second, Third}[round])
		low := Threshold(1000, called)
		all = append(all, vector{m.Chain, m.Node[:], m.Sequence, m.Place, m.Round, m.Seed[:], m.Alpha(), bob[:], word[:], m.SignVoice(word, 5, key), 1000, called, low[:],
			points, Pick(Points(beta, Digest{byte(round)}), 1_000_000)})
	}
	return all
}

func commitmentVectors(*testing.T) any {
	type vector struct {
		Result     spectest.Octets `json:"result"`
		State      spectest.Octets `json:"state"`
		Node       spectest.Octets `json:"node"`
		Salt       spectest.Octets `json:"salt"`
		Commitment spectest.Octets `json:"commitment"`
	}
	var all []vector
	for _, name := range []string{"alice", "bob"} {
		part := func(what string) [32]byte { return sha256.Sum256([]byte(what + " " + name)) }
		result, state, node, salt := part("result"), part("state"), part("node"), part("salt")
		sum := Commitment(Voice{result, state}, node, salt)
		all = append(all, vector{result[:], state[:], node[:], salt[:], sum[:]})
	}
	return all
}
