package replica

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/erasure"
	"github.com/hpips/hpips/spec/spectest"
	"github.com/hpips/hpips/store"
)

func made(t testing.TB, scheme erasure.Scheme, add func(testing.TB, *store.Store) cid.Cid) (*store.Store, Made) {
	t.Helper()
	s := alone(t)
	m, err := Make(t.Context(), s, add(t, s), scheme, "pieces")
	must(t, err)
	return s, m
}

// mallory writes manifests that are canonical and say what cannot be.
func TestOtherManifestsAreRefused(t *testing.T) {
	_, m := made(t, erasure.Scheme{Need: 2, Pieces: 4}, file(3<<20+1, 1))
	_, c := made(t, erasure.Scheme{Need: 1, Pieces: 4}, file(9, 1))
	for what, change := range map[string]func(w *written){
		"another version":    func(w *written) { w.Version = "hpips/pieces/v2" },
		"another profile":    func(w *written) { w.Profile = "legacy-cid-v0" },
		"no root":            func(w *written) { w.Root = nil },
		"another root":       func(w *written) { w.Root[10] ^= 1 },
		"another codec":      func(w *written) { w.Root[1] = 0x71 },
		"a leaf as root":     func(w *written) { w.Root[1] = 0x55 },
		"no such scheme":     func(w *written) { w.Need = 4 },
		"a huge scheme":      func(w *written) { w.Pieces = 1 << 63 },
		"another scheme":     func(w *written) { w.Pieces = 5 },
		"a node is lost":     func(w *written) { w.Nodes, w.NodeSizes = []byte{}, []uint32{} },
		"a leaf is lost":     func(w *written) { w.LeafSizes = w.LeafSizes[1:] },
		"a leaf twice":       func(w *written) { copy(w.Leaves[32:], w.Leaves[:32]) },
		"a large leaf":       func(w *written) { w.LeafSizes[0]++ },
		"half a digest":      func(w *written) { w.Leaves = w.Leaves[:len(w.Leaves)-16] },
		"parity is lost":     func(w *written) { w.Parity = w.Parity[32:] },
		"no parity":          func(w *written) { w.Parity = nil },
		"null for no nodes":  func(w *written) { w.Nodes, w.NodeSizes = nil, nil },
		"lists as they were": func(*written) {},
	} {
		for _, from := range []Manifest{m.Manifest, c.Manifest} {
			if !from.Scheme.Coded() && (what == "another scheme" || what == "a large leaf") { // five copies, and a leaf of 10 bytes, can be
				continue
			}
			var w written
			must(t, canon.Decode(from.Bytes(), MaxManifest, &w))
			before := canon.MustEncode(w)
			func() {
				defer func() {
					if recover() != nil && from.Scheme.Coded() {
						t.Errorf("%s: there is nothing to change", what)
					}
				}()
				change(&w)
			}()
			b := canon.MustEncode(w)
			_, err := Parse(b)
			if bytes.Equal(b, before) && err != nil || !bytes.Equal(b, before) && !errors.Is(err, ErrManifest) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	b := m.Manifest.Bytes()
	for i := range b {
		for _, bad := range [][]byte{b[:i], append(bytes.Clone(b[:i]), append([]byte{b[i] ^ 0x20}, b[i+1:]...)...)} {
			if p, err := Parse(bad); err == nil && (p.CID() == m.Manifest.CID() || !bytes.Equal(p.Bytes(), bad)) {
				t.Fatalf("changed at %d: it is read as another", i)
			} else if err != nil && !errors.Is(err, ErrManifest) {
				t.Fatalf("changed at %d: %v", i, err)
			}
		}
	}
	if _, err := Parse(append(bytes.Clone(b), 0)); !errors.Is(err, ErrManifest) {
		t.Errorf("longer: %v", err)
	}
	if _, err := Parse(make([]byte, MaxManifest+1)); !errors.Is(err, canon.ErrTooLarge) && !errors.Is(err, ErrManifest) {
		t.Errorf("too long: %v", err)
	}
}

// change gives the manifest that mallory makes of another one.
func change(t *testing.T, m Manifest, how func(w *written)) Manifest {
	t.Helper()
	var w written
	must(t, canon.Decode(m.Bytes(), MaxManifest, &w))
	how(&w)
	changed, err := Parse(canon.MustEncode(w))
	must(t, err)
	return changed
}

// Manifests that can be, and are not true: to the object, which every holder and reader finds when its nodes are there, or to the code, which who reads with it finds.
func TestManifestsThatLieAreFound(t *testing.T) {
	ctx := t.Context()
	s, m := made(t, erasure.Scheme{Need: 2, Pieces: 4}, file(5<<20+1, 1))
	h := newShelf(t, s, m.Manifest)
	for what, how := range map[string]func(w *written){
		"leaves in another order": func(w *written) {
			first := bytes.Clone(w.Leaves[:32])
			copy(w.Leaves, w.Leaves[32:64])
			copy(w.Leaves[32:], first)
		},
		"leaves left out":          func(w *written) { w.Leaves, w.LeafSizes, w.Parity = w.Leaves[:64], w.LeafSizes[:2], w.Parity[:64] },
		"a leaf that is none":      func(w *written) { w.Leaves[5] ^= 1 },
		"a node that is not there": func(w *written) { w.Nodes, w.NodeSizes = append(w.Nodes, w.Leaves[:32]...), append(w.NodeSizes, 1<<20) },
	} {
		lie := change(t, m.Manifest, how)
		if err := Recover(ctx, alone(t), lie, "x", h.source); !errors.Is(err, ErrManifest) {
			t.Errorf("%s: read: %v", what, err)
		}
		if _, err := Repair(ctx, alone(t), lie, []int{3}, "x", h.source); !errors.Is(err, ErrManifest) {
			t.Errorf("%s: repaired: %v", what, err)
		}
		if what != "a leaf that is none" { // which nobody can bring
			_, err := s.AddBytes(ctx, lie.Bytes())
			must(t, err)
			if _, err := Hold(ctx, s, lie, 1, "x", nil); !errors.Is(err, ErrManifest) {
				t.Errorf("%s: held: %v", what, err)
			}
		}
	}
	other := random(1<<20, 77) // mallory's parity of the first stripe
	lie := change(t, m.Manifest, func(w *written) {
		d := sha256.Sum256(other)
		copy(w.Parity, d[:])
	})
	h.pieces[2][sum(other).cid()] = other
	must(t, Recover(ctx, alone(t), lie, "x", h.source)) // healthy: nobody looks at parity
	h.gone = map[int]bool{0: true, 3: true}
	if err := Recover(ctx, alone(t), lie, "x", h.source); !errors.Is(err, ErrManifest) {
		t.Errorf("parity that is none: %v", err)
	}
	if pins, err := s.Pins(ctx); err != nil || len(pins) != 1 {
		t.Errorf("%d pins: %v", len(pins), err)
	}
}

// A manifest of several leaves is a file like any other, and each piece ends with its node and leaves.
func TestALargeManifest(t *testing.T) {
	ctx, s := t.Context(), alone(t)
	m := Manifest{Root: cid.NewCidV1(cid.DagProtobuf, sum([]byte("root")).cid().Hash()), Scheme: erasure.Scheme{Need: 3, Pieces: 6}, nodes: []block{sum([]byte("root"))}}
	for i := range 20_000 {
		m.leaves = append(m.leaves, sum(fmt.Append(nil, i)))
	}
	for range m.stripes() {
		m.parity = append(m.parity, random(3*sha256.Size, uint64(len(m.parity)))...)
	}
	must(t, m.seal())
	if n := len(m.Bytes()); n <= MaxBlock || len(m.tail) != 3 {
		t.Fatalf("%d bytes, %d blocks", n, len(m.tail))
	}
	must(t, m.put(ctx, s))
	var tail []byte
	for _, p := range m.parts(5)[1+m.stripes():] {
		b, err := s.Block(ctx, p.CID)
		must(t, err)
		tail = append(tail, b.RawData()...)
	}
	if !bytes.HasSuffix(tail, m.Bytes()) {
		t.Error("a piece does not end with the manifest")
	}
	loaded, err := Load(ctx, s, m.CID())
	must(t, err)
	if !bytes.Equal(loaded.Bytes(), m.Bytes()) || !slices.Equal(loaded.parts(5), m.parts(5)) {
		t.Error("another one is loaded")
	}
}

// Files that are addressed in another way than the profile does, though their bytes are a manifest's, are not loaded.
func TestLoadRefuses(t *testing.T) {
	ctx := t.Context()
	s, m := made(t, erasure.Scheme{Need: 2, Pieces: 4}, file(9, 1))
	e, err := s.AddBytes(ctx, []byte("no manifest"))
	must(t, err)
	links, err := s.Join(ctx, func(yield func(string, []store.Link) bool) {
		yield("", append(slices.Clone(m.Manifest.tail), sum(nil).link()))
	})
	must(t, err)
	_, err = s.AddBytes(ctx, nil)
	must(t, err)
	for _, c := range []cid.Cid{e.CID, links[0].CID} {
		if _, err := Load(ctx, s, c); !errors.Is(err, ErrManifest) {
			t.Errorf("%s: %v", c, err)
		}
	}
}

// TestVectors holds what is made against testdata, so that another implementation can check itself, and so that this one, and the library under it, stay as they are.
func TestVectors(t *testing.T) {
	spectest.Vectors(t, map[string]func(*testing.T) any{"pieces": pieceVectors})
}

func pieceVectors(t *testing.T) any {
	type piece struct {
		CID  string          `json:"cid"`
		Root spectest.Octets `json:"auditRoot"`
		Size uint64          `json:"size"`
	}
	type vector struct {
		Size     int             `json:"size"`
		Need     int             `json:"need"`
		Pieces   int             `json:"pieces"`
		Root     string          `json:"root"`
		Manifest string          `json:"manifest"`
		Bytes    spectest.Octets `json:"manifestBytes,omitempty"` // of a small one
		Parity   spectest.Octets `json:"parity,omitempty"`        // blocks of the first stripe, one after the other, of a small one
		Folder   string          `json:"folder"`
		List     []piece         `json:"list"`
	}
	var all []vector
	for _, row := range []struct {
		size   int
		scheme erasure.Scheme
	}{
		{0, erasure.Scheme{Need: 1, Pieces: 2}}, {5, erasure.Scheme{Need: 1, Pieces: 2}}, {33, erasure.Scheme{Need: 3, Pieces: 6}}, {1<<20 + 1, erasure.Scheme{Need: 2, Pieces: 4}}, {7<<20 + 9, erasure.Scheme{Need: 3, Pieces: 6}},
		{25 << 20, erasure.Small}, {41<<20 + 1, erasure.Large},
	} {
		s := alone(t)
		e, err := s.AddBytes(t.Context(), counted(row.size))
		must(t, err)
		m, err := Make(t.Context(), s, e.CID, row.scheme, "pieces")
		must(t, err)
		v := vector{Size: row.size, Need: row.scheme.Need, Pieces: row.scheme.Pieces, Root: e.CID.String(), Manifest: m.Manifest.CID().String(), Folder: m.Folder.String()}
		if row.size < 100 {
			v.Bytes = m.Manifest.Bytes()
			for i := row.scheme.Need; i < row.scheme.Pieces; i++ {
				b, _ := m.Manifest.shard(0, i)
				data, err := read(t.Context(), s, b.cid())
				must(t, err)
				v.Parity = append(v.Parity, data...)
			}
		}
		for _, p := range m.Pieces {
			v.List = append(v.List, piece{p.CID.String(), p.Piece.Root[:], p.Piece.Size})
		}
		all = append(all, v)
	}
	return all
}

// counted are SHA-256(0) ‖ SHA-256(1) ‖ …, cut to size, each number in 8 bytes, the highest first.
func counted(size int) []byte {
	b := make([]byte, 0, size+sha256.Size)
	for i := uint64(0); len(b) < size; i++ {
		d := sha256.Sum256([]byte{byte(i >> 56), byte(i >> 48), byte(i >> 40), byte(i >> 32), byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})
		b = append(b, d[:]...)
	}
	return b[:size]
}

func FuzzParse(f *testing.F) {
	for _, scheme := range []erasure.Scheme{{Need: 1, Pieces: 2}, {Need: 2, Pieces: 4}} {
		for _, size := range []int{0, 9, 3<<20 + 1} {
			_, m := made(f, scheme, file(size, 1))
			f.Add(m.Manifest.Bytes())
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrManifest) && !errors.Is(err, ErrLarge) {
				t.Fatalf("%v", err)
			}
			return
		}
		if !bytes.Equal(m.Bytes(), b) || m.Scheme.Check() != nil {
			t.Fatalf("%x is read as %x", b, m.Bytes())
		}
		for i := range m.Scheme.Pieces {
			if m.Size(i) < uint64(len(b)) {
				t.Fatalf("piece %d has %d bytes", i, m.Size(i))
			}
		}
	})
}

// FuzzWalk gives the walk nodes whose addresses are true.
func FuzzWalk(f *testing.F) {
	s, m := made(f, erasure.Scheme{Need: 2, Pieces: 4}, folder(map[string]int{"a": 2 << 20, "b": 9}))
	for _, b := range m.Manifest.nodes {
		data, err := read(f.Context(), s, b.cid())
		must(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := cid.NewCidV1(cid.DagProtobuf, sum(data).cid().Hash())
		var nodes, leaves int
		w := walker{
			read: func(at cid.Cid) ([]byte, error) {
				if at != c {
					return nil, store.ErrNotFound
				}
				return data, nil
			},
			node: func(cid.Cid, int) error { nodes++; return nil },
			leaf: func(cid.Cid) error { leaves++; return nil },
		}
		err := w.walk(t.Context(), c)
		if n, broken := merkledag.DecodeProtobuf(data); broken == nil && err == nil && leaves > len(n.Links()) || nodes > 1 {
			t.Fatalf("%x has %d leaves and %d nodes", data, leaves, nodes)
		}
	})
}
