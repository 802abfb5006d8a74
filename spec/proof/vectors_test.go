package proof

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/hpips/hpips/spec/spectest"
)

// TestVectors holds what this package computes against testdata, so that another implementation can check itself.
func TestVectors(t *testing.T) {
	spectest.Vectors(t, map[string]func(*testing.T) any{"pieces": pieceVectors, "proofs": proofVectors, "challenges": challengeVectors, "answers": answerVectors, "entries": entryVectors, "words": wordVectors})
}

func pieceVectors(t *testing.T) any {
	type vector struct {
		Name   string          `json:"name"`
		Size   uint64          `json:"size"`
		Leaves uint64          `json:"leaves"`
		Root   spectest.Octets `json:"root"`
		ID     spectest.Octets `json:"id"`
		Spans  int             `json:"spans"`
		First  spectest.Octets `json:"firstSpan"`
	}
	var all []vector
	for _, size := range sizes {
		o := outline(t, data("alice", size))
		p, id := o.Piece(), o.Piece().ID()
		v := vector{"alice", p.Size, p.Leaves(), p.Root[:], id[:], len(o.spans), nil}
		if len(o.spans) > 0 {
			v.First = o.spans[0][:]
		}
		all = append(all, v)
	}
	return all
}

func proofVectors(t *testing.T) any {
	type vector struct {
		Name  string          `json:"name"`
		Size  uint64          `json:"size"`
		Root  spectest.Octets `json:"root"`
		Place uint64          `json:"place"`
		Proof spectest.Octets `json:"proof"`
	}
	var all []vector
	for _, row := range []struct {
		size  int
		place uint64
	}{{1, 0}, {2*LeafSize + 1, 2}, {5 * LeafSize, 4}, {5 * LeafSize, 1}, {3*SpanSize + 3*LeafSize + 3, 2*SpanLeaves + 77}, {3*SpanSize + 3*LeafSize + 3, 3*SpanLeaves + 3}} {
		b := data("bob", row.size)
		o := outline(t, b)
		p, err := o.Prove(bytes.NewReader(b), row.place)
		if err != nil {
			t.Fatal(err)
		}
		written, err := p.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		root := o.Piece().Root
		all = append(all, vector{"bob", o.size, root[:], row.place, written})
	}
	return all
}

func challengeVectors(*testing.T) any {
	type vector struct {
		Seed   spectest.Octets `json:"seed"`
		Holder spectest.Octets `json:"holder"`
		Day    uint64          `json:"day"`
		Leaves uint64          `json:"leaves,string"`
		Points []uint64        `json:"points"`
	}
	var all []vector
	for _, n := range []uint64{0, 1, 4, 5, 6, 103, 1 << 20, 1<<40 + 1, MaxHeld} {
		for _, day := range []uint64{0, 400} {
			c := challenge("seed", "bob", day)
			all = append(all, vector{c.Seed[:], c.Holder[:], day, n, c.Points(n)})
		}
	}
	return all
}

func answerVectors(t *testing.T) any {
	type vector struct {
		Chain  string          `json:"chain"`
		Seed   spectest.Octets `json:"seed"`
		Holder spectest.Octets `json:"holder"`
		Day    uint64          `json:"day"`
		Places []Place         `json:"places"`
		Answer spectest.Octets `json:"answer"`
	}
	_, c, pieces, a := bob(t, 7)
	b, err := a.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return []vector{{a.Chain, c.Seed[:], c.Holder[:], c.Day, c.Places(pieces), b}}
}

func entryVectors(t *testing.T) any {
	type vector struct {
		Chain     string          `json:"chain"`
		Node      spectest.Octets `json:"node"`
		Epoch     uint64          `json:"epoch"`
		Number    uint64          `json:"number"`
		From      int64           `json:"from"`
		To        int64           `json:"to"`
		Address   spectest.Octets `json:"address"`
		Root      spectest.Octets `json:"root"`
		Size      uint64          `json:"size"`
		Signed    spectest.Octets `json:"signed"`
		Signature spectest.Octets `json:"signature"`
	}
	var all []vector
	for _, e := range entries() {
		secret := secretOf("bob")
		node := [32]byte(secret[32:])
		signed, err1 := e.signed("hpips-1", 9, node)
		signature, err2 := e.Sign("hpips-1", 9, secret)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		all = append(all, vector{"hpips-1", node[:], 9, e.Number, e.From, e.To, e.Address, e.Piece.Root[:], e.Piece.Size, signed, signature})
	}
	return all
}

func wordVectors(t *testing.T) any {
	type held struct {
		Chain     string          `json:"chain"`
		Epoch     uint64          `json:"epoch"`
		Segments  []uint64        `json:"segments"`
		Signature spectest.Octets `json:"signature"`
	}
	type kept struct {
		Chain     string          `json:"chain"`
		Epoch     uint64          `json:"epoch"`
		Leaves    bool            `json:"leaves"`
		Offer     uint64          `json:"offer"` // MiB
		Parts     [][2]uint64     `json:"parts"` // deal, number
		Signature spectest.Octets `json:"signature"`
	}
	type witnessed struct {
		Chain     string          `json:"chain"`
		Holder    spectest.Octets `json:"holder"`
		Day       uint64          `json:"day"`
		Seed      spectest.Octets `json:"seed"`
		Signature spectest.Octets `json:"signature"`
	}
	var all struct {
		Hold    []held      `json:"hold"`
		Keep    []kept      `json:"keep"`
		Witness []witnessed `json:"witness"`
	}
	for _, segments := range [][]uint64{{}, {1}, {3, 7, 1 << 40}} {
		signature, err := Hold{7, segments}.Sign("hpips-1", secretOf("bob"))
		if err != nil {
			t.Fatal(err)
		}
		all.Hold = append(all.Hold, held{"hpips-1", 7, segments, signature})
	}
	for _, k := range []Keep{{Epoch: 7, Leaves: true}, {Epoch: 7, Parts: []Part{{1, 0}}}, {8, true, 0, []Part{{3, 2}, {3, 59}, {1 << 40, 0}}}, {Epoch: 9, Offer: 20 << 10}} {
		signature, err := k.Sign("hpips-1", secretOf("bob"))
		if err != nil {
			t.Fatal(err)
		}
		parts := [][2]uint64{}
		for _, p := range k.Parts {
			parts = append(parts, [2]uint64{p.Deal, p.Number})
		}
		all.Keep = append(all.Keep, kept{"hpips-1", k.Epoch, k.Leaves, k.Offer, parts, signature})
	}
	c := Challenge{sha256.Sum256([]byte("seed")), sha256.Sum256([]byte("alice")), 12}
	signature, err := c.Witness("hpips-1", secretOf("bob"))
	if err != nil {
		t.Fatal(err)
	}
	all.Witness = append(all.Witness, witnessed{"hpips-1", c.Holder[:], c.Day, c.Seed[:], signature})
	return all
}
