package replica

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/spec/erasure"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/store"
	"github.com/hpips/hpips/store/holder"
)

var discard = slog.New(slog.DiscardHandler)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(discard, dir, nil, store.Default())
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func alone(t testing.TB) *store.Store { return open(t, t.TempDir()) }

// random are n bytes that seed decides, the same everywhere.
func random(n int, seed uint64) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, seed))).Read(data)
	return data
}

func file(n int, seed uint64) func(testing.TB, *store.Store) cid.Cid {
	return func(t testing.TB, s *store.Store) cid.Cid {
		t.Helper()
		e, err := s.AddBytes(t.Context(), random(n, seed))
		must(t, err)
		return e.CID
	}
}

// folder adds files of these sizes.
func folder(sizes map[string]int) func(testing.TB, *store.Store) cid.Cid {
	return func(t testing.TB, s *store.Store) cid.Cid {
		t.Helper()
		dir := t.TempDir()
		for name, n := range sizes {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
			must(t, os.WriteFile(filepath.Join(dir, name), random(n, uint64(n)), 0o644))
		}
		e, err := s.AddPath(t.Context(), dir, nil)
		must(t, err)
		return e.CID
	}
}

// many are so many small files in one folder, with long names.
func many(n int) func(testing.TB, *store.Store) cid.Cid {
	return func(t testing.TB, s *store.Store) cid.Cid {
		t.Helper()
		links, err := s.AddFiles(t.Context(), func(yield func(string, []byte) bool) {
			for i := range n {
				if !yield(fmt.Sprintf("%s-%05d", strings.Repeat("name", 10), i), random(100+i%50, uint64(i))) {
					return
				}
			}
		})
		must(t, err)
		e, err := s.Dir(t.Context(), links)
		must(t, err)
		return e.CID
	}
}

// objects are of every form that a tree may have.
var objects = map[string]func(testing.TB, *store.Store) cid.Cid{
	"empty":          file(0, 1),
	"a byte":         file(1, 2),
	"below a leaf":   file(1<<20-1, 3),
	"a leaf":         file(1<<20, 4),
	"above a leaf":   file(1<<20+1, 5),
	"a few leaves":   file(7<<20+5, 6),
	"a folder":       folder(map[string]int{"a": 1, "b/c": 2 << 20, "b/empty": 0, "b/d/e": 3<<20 + 9, "b/again": 2 << 20, "f": 70_000}),
	"an empty one":   folder(nil),
	"only empty":     folder(map[string]int{"empty": 0, "also": 0}),
	"a large folder": many(3200), // in shards
	"zeros": func(t testing.TB, s *store.Store) cid.Cid {
		e, err := s.AddBytes(t.Context(), make([]byte, 5<<20+7))
		must(t, err)
		return e.CID
	},
}

// shelf has the blocks of each piece as their holders have them, in memory.
type shelf struct {
	pieces []map[cid.Cid][]byte
	gone   map[int]bool
	spoil  map[int]bool // holders that change what they send

	mu    sync.Mutex
	asked map[int]int // for how many blocks
}

var errGone = errors.New("switched off")

func newShelf(t testing.TB, s *store.Store, m Manifest) *shelf {
	t.Helper()
	h := &shelf{gone: map[int]bool{}, spoil: map[int]bool{}, asked: map[int]int{}}
	for i := range m.Scheme.Pieces {
		blocks := map[cid.Cid][]byte{}
		for _, p := range m.parts(i) {
			b, err := s.Block(t.Context(), p.CID)
			must(t, err)
			blocks[p.CID] = b.RawData()
		}
		h.pieces = append(h.pieces, blocks)
	}
	return h
}

func (h *shelf) source(_ context.Context, piece int, c cid.Cid) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked[piece]++
	if h.gone[piece] {
		return nil, errGone
	}
	b, ok := h.pieces[piece][c]
	if !ok {
		return nil, fmt.Errorf("holder %d has no %s", piece, c)
	}
	if h.spoil[piece] {
		b = append(bytes.Clone(b[:len(b)/2]), bytes.ToUpper(b[len(b)/2:])...)
		b = append(b, 0)
	}
	return b, nil
}

// lose switches off so many holders.
func (h *shelf) lose(dice *rand.Rand, n int) {
	h.gone, h.asked = map[int]bool{}, map[int]int{}
	for _, i := range dice.Perm(len(h.pieces))[:n] {
		h.gone[i] = true
	}
}

// first is the first stripe of which too little is left, with what is left and what is needed: −1 where all come back.
func (h *shelf) first(m Manifest) (stripe, have, need int) {
	for at := range m.stripes() {
		have, need := 0, len(m.row(at))
		for i := range m.Scheme.Pieces {
			if m.keeps(at, i) && !h.gone[i] {
				have++
			}
		}
		if have < need && m.width(at) > 0 { // what has no bytes is known
			return at, have, need
		}
	}
	return -1, 0, 0
}

// whole tells that all blocks under a root are here, with the bytes that their addresses say, and that they are pinned.
func whole(t testing.TB, s *store.Store, roots ...cid.Cid) {
	t.Helper()
	got, err := s.Check(t.Context(), nil)
	must(t, err)
	pins, err := s.Pins(t.Context())
	must(t, err)
	for _, c := range roots {
		if !slices.ContainsFunc(pins, func(p store.Pin) bool { return p.CID == c }) {
			t.Errorf("%s is not pinned", c)
		}
	}
	if got.Damaged > 0 || len(got.Short) > 0 {
		t.Errorf("%d damaged blocks, %d pins lack something", got.Damaged, len(got.Short))
	}
}

func bytesOf(t testing.TB, s *store.Store, c cid.Cid) []byte {
	t.Helper()
	r, err := s.Open(t.Context(), c)
	must(t, err)
	defer r.Close()
	b, err := io.ReadAll(r)
	must(t, err)
	return b
}

// Alice makes pieces of objects of every form. Each is a file of exactly its blocks, with the root and size that were recorded; the folder holds them through a collection; carol makes the same ones.
func TestPiecesAreWhatIsRecorded(t *testing.T) {
	for name, add := range objects {
		for _, scheme := range []erasure.Scheme{{Need: 1, Pieces: 3}, {Need: 3, Pieces: 7}, {Need: 20, Pieces: 60}} {
			if scheme == erasure.Large && name != "a few leaves" && name != "empty" || raceDetector && name == "a large folder" {
				continue
			}
			t.Run(name+"/"+scheme.String(), func(t *testing.T) {
				ctx, alice, carol := t.Context(), alone(t), alone(t)
				root := add(t, alice)
				made, err := Make(ctx, alice, root, scheme, "pieces")
				must(t, err)
				if _, err := alice.GC(ctx); err != nil { // the root itself has no pin, and the pieces keep its blocks
					t.Fatal(err)
				}
				whole(t, alice, made.Folder)
				if again := add(t, carol); again != root {
					t.Fatalf("another object: %s", again)
				}
				hers, err := Make(ctx, carol, root, scheme, "mine")
				must(t, err)
				if hers.Manifest.CID() != made.Manifest.CID() || hers.Folder != made.Folder || !slices.Equal(hers.Pieces, made.Pieces) || len(made.Pieces) != scheme.Pieces {
					t.Error("carol's pieces are others")
				}
				var stored uint64
				for i, p := range made.Pieces {
					var want []byte
					for _, part := range made.Manifest.parts(i) {
						b, err := alice.Block(ctx, part.CID)
						must(t, err)
						want = append(want, b.RawData()...)
					}
					if got := bytesOf(t, alice, p.CID); !bytes.Equal(got, want) {
						t.Fatalf("piece %d is %d other bytes", i, len(got))
					}
					var b proof.Builder
					_, err := b.Write(want)
					must(t, err)
					if b.Piece() != p.Piece || made.Manifest.Size(i) != p.Piece.Size {
						t.Errorf("piece %d is recorded as %+v", i, p.Piece)
					}
					stored += p.Piece.Size
				}
				if made.Manifest.Stored() != stored {
					t.Errorf("%d bytes are stored, %d are said", stored, made.Manifest.Stored())
				}
				if m, err := Load(ctx, alice, made.Manifest.CID()); err != nil || m.Root != root || m.Scheme != scheme || !bytes.Equal(m.Bytes(), made.Manifest.Bytes()) {
					t.Errorf("loaded as %v of %s: %v", m.Scheme, m.Root, err)
				}
			})
		}
	}
}

// Any holders may be gone while as many are there as are needed: the object is back with its own addresses. One more, and the error counts them.
func TestObjectsComeBackFromAnyPieces(t *testing.T) {
	dice := rand.New(rand.NewPCG(7, 8))
	for name, add := range objects {
		if raceDetector && name == "a large folder" {
			continue // blocks in a database that is ten times slower then
		}
		t.Run(name, func(t *testing.T) {
			ctx, alice := t.Context(), alone(t)
			root := add(t, alice)
			for _, scheme := range []erasure.Scheme{{Need: 1, Pieces: 1 + dice.IntN(4)}, {Need: 2 + dice.IntN(5), Pieces: 7 + dice.IntN(6)}} {
				made, err := Make(ctx, alice, root, scheme, "pieces")
				must(t, err)
				h := newShelf(t, alice, made.Manifest)
				for _, lost := range []int{0, scheme.Parity(), scheme.Parity() + 1, scheme.Pieces} {
					h.lose(dice, lost)
					bob := alone(t)
					err := Recover(ctx, bob, made.Manifest, "back", h.source)
					at, have, need := h.first(made.Manifest)
					if lost == scheme.Pieces && len(made.Manifest.nodes) > 0 {
						at, have, need = 0, 0, 1
					}
					if at < 0 {
						if err != nil {
							t.Fatalf("%v, %d lost: %v", scheme, lost, err)
						}
						whole(t, bob, root)
						if lost == 0 {
							for i, n := range h.asked {
								if i >= scheme.Need {
									t.Errorf("%v is healthy, and piece %d was asked %d times", scheme, i, n)
								}
							}
						}
						continue
					}
					var missing ErrMissing
					if !errors.As(err, &missing) || missing.Have != have || missing.Need != need || missing.Pieces != scheme.Pieces || !errors.Is(err, errGone) {
						t.Fatalf("%v, %d lost, %d of %d there: %+v: %v", scheme, lost, have, need, missing, err)
					}
					if !strings.Contains(err.Error(), fmt.Sprintf("%d of %d pieces are missing", len(missing.Missing), scheme.Pieces)) {
						t.Errorf("%v", err)
					}
					for _, i := range missing.Missing {
						if !h.gone[i] {
							t.Errorf("piece %d is there and said to be missing", i)
						}
					}
				}
			}
		})
	}
}

// 64 MiB at 60 holders, each with a store of its own. 30 % of them are switched off at once: the object is read back whole. With one more than can be gone the error says how many pieces are missing.
func TestThirtyPercentOfHoldersGoneAtOnce(t *testing.T) {
	if raceDetector {
		t.Skip("60 stores take minutes with it; the other tests run the same code with a few")
	}
	ctx, alice, dice := t.Context(), alone(t), rand.New(rand.NewPCG(1, 9))
	root := file(64<<20, 64)(t, alice)
	made, err := Make(ctx, alice, root, erasure.Default(64<<20, 500, 500), "for the holders")
	must(t, err)
	if made.Manifest.Scheme != erasure.Large {
		t.Fatalf("%v", made.Manifest.Scheme)
	}
	h := newShelf(t, alice, made.Manifest)
	stores, kept := make([]*store.Store, 60), make([]Kept, 60)
	for i := range stores {
		stores[i] = alone(t)
		_, err := stores[i].AddFiles(ctx, func(yield func(string, []byte) bool) {
			for _, b := range h.pieces[i] {
				if !yield("", b) {
					return
				}
			}
		})
		must(t, err)
		kept[i], err = Hold(ctx, stores[i], made.Manifest, i, "a deal", &made.Pieces[i].Piece)
		must(t, err)
		whole(t, stores[i], made.Pieces[i].CID)
	}
	gone := map[int]bool{}
	source := func(ctx context.Context, piece int, c cid.Cid) ([]byte, error) {
		if gone[piece] {
			return nil, errGone
		}
		b, err := stores[piece].Block(ctx, c)
		if err != nil {
			return nil, err
		}
		return b.RawData(), nil
	}
	order := dice.Perm(60)
	for _, i := range order[:18] {
		gone[i] = true
	}
	bob := alone(t)
	must(t, Recover(ctx, bob, made.Manifest, "back", source))
	whole(t, bob, root)
	if got := bytesOf(t, bob, root); !bytes.Equal(got, random(64<<20, 64)) {
		t.Errorf("%d other bytes came back", len(got))
	}
	for _, i := range order[18:41] {
		gone[i] = true
	}
	var missing ErrMissing
	if err := Recover(ctx, alone(t), made.Manifest, "back", source); !errors.As(err, &missing) || missing.Have != 19 || missing.Need != 20 || len(missing.Missing) != 41 ||
		!strings.Contains(err.Error(), "41 of 60 pieces are missing") || !strings.Contains(err.Error(), "1 more of their holders") {
		t.Errorf("41 of 60 are gone: %v", err)
	}
	delete(gone, order[40]) // 20 are there: a newcomer makes a lost piece of them
	dave := alone(t)
	again, err := Repair(ctx, dave, made.Manifest, []int{order[0], order[7]}, "a deal", source)
	must(t, err)
	for at, i := range []int{order[0], order[7]} {
		if again[at].Held != made.Pieces[i] || !bytes.Equal(again[at].Outline.Bytes(), kept[i].Outline.Bytes()) {
			t.Errorf("piece %d was made again as %+v", i, again[at].Held)
		}
		whole(t, dave, made.Pieces[i].CID)
	}
	answers(t, dave, again...)
	answers(t, stores[5], kept[5])
}

// answers holds that who keeps pieces passes a day's audit of them.
func answers(t *testing.T, s *store.Store, kept ...Kept) {
	t.Helper()
	var pieces []proof.Piece
	for _, k := range kept {
		pieces = append(pieces, k.Piece)
	}
	row, err := proof.NewPieces(pieces)
	must(t, err)
	secret := ed25519.NewKeyFromSeed(random(32, 1))
	for day := range uint64(20) {
		c := proof.Challenge{Seed: sha256.Sum256(random(8, day)), Holder: [32]byte(secret[32:]), Day: day}
		var wanted []holder.Wanted
		for _, at := range c.Places(row) {
			wanted = append(wanted, holder.Wanted{Held: kept[at.Piece].Held, Leaf: at.Leaf, Outline: &kept[at.Piece].Outline})
		}
		a, err := holder.Answer(t.Context(), s, "hpips-1", c, wanted, secret)
		must(t, err)
		must(t, a.Check("hpips-1", c, row))
	}
}

// mallory's holders send other bytes: they are found out by the address, each is asked once for it, and others are asked instead. When all are his but too few, that is said.
func TestGarbageIsFoundAndOthersAreAsked(t *testing.T) {
	ctx, alice := t.Context(), alone(t)
	root := file(31<<20+77, 3)(t, alice)
	made, err := Make(ctx, alice, root, erasure.Scheme{Need: 5, Pieces: 9}, "pieces")
	must(t, err)
	h := newShelf(t, alice, made.Manifest)
	for _, i := range []int{0, 2, 4, 8} {
		h.spoil[i] = true
	}
	bob := alone(t)
	must(t, Recover(ctx, bob, made.Manifest, "back", h.source))
	whole(t, bob, root)
	for i, n := range h.asked {
		if h.spoil[i] && n > 1 {
			t.Errorf("piece %d spoils what it sends, and was asked %d times", i, n)
		}
	}
	dave := alone(t)
	kept, err := Repair(ctx, dave, made.Manifest, []int{8}, "piece", h.source)
	must(t, err)
	if kept[0].Held != made.Pieces[8] {
		t.Errorf("piece 8 is %+v", kept[0].Held)
	}
	h.spoil[1] = true
	var missing ErrMissing
	if err := Recover(ctx, alone(t), made.Manifest, "back", h.source); !errors.As(err, &missing) || missing.Have != 4 || len(missing.Missing) != 5 || !errors.Is(err, errBytes) {
		t.Errorf("five of nine send other bytes: %v", err)
	}
}

// What is here is not asked for; of a lost piece only its own blocks are put.
func TestRepairPutsOnlyWhatIsLost(t *testing.T) {
	ctx, alice := t.Context(), alone(t)
	root := file(12<<20+77, 3)(t, alice)
	made, err := Make(ctx, alice, root, erasure.Scheme{Need: 3, Pieces: 6}, "pieces")
	must(t, err)
	m, h := made.Manifest, newShelf(t, alice, made.Manifest)
	for _, lost := range []int{1, 4} {
		bob := alone(t)
		h.lose(rand.New(rand.NewPCG(1, 1)), 0)
		_, err := Repair(ctx, bob, m, []int{lost}, "piece", h.source)
		must(t, err)
		n, err := bob.Stat(ctx)
		must(t, err)
		if want := int64(len(m.parts(lost)) + 1); n.Blocks != want { // and the node above them
			t.Errorf("%d blocks for piece %d, want %d", n.Blocks, lost, want)
		}
		if h.asked[lost] > 0 {
			t.Errorf("the lost piece %d was asked", lost)
		}
		h.asked = map[int]int{}
		if _, err := Repair(ctx, bob, m, []int{lost}, "piece", h.source); err != nil || len(h.asked) > 0 {
			t.Errorf("what was here was asked of %v: %v", h.asked, err)
		}
	}
	bob := alone(t)
	if _, err := Repair(ctx, bob, m, []int{6}, "piece", h.source); err == nil || !strings.Contains(err.Error(), "0 to 5") {
		t.Errorf("a piece that is none: %v", err)
	}
	if _, err := Repair(ctx, bob, m, []int{2, 2}, "piece", h.source); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a piece twice: %v", err)
	}
	var missing ErrMissing
	if _, err := Repair(ctx, bob, m, []int{0, 1, 2, 3}, "piece", h.source); !errors.As(err, &missing) || missing.Have != 2 || len(missing.Missing) != 4 {
		t.Errorf("four of six lost: %v", err)
	}
}

func unpinAll(ctx context.Context, s *store.Store) error {
	pins, err := s.Pins(ctx)
	for _, p := range pins {
		err = errors.Join(err, s.Unpin(ctx, p.CID))
	}
	return err
}

// What cannot be made into pieces is refused with a word about what can.
func TestMakeRefuses(t *testing.T) {
	ctx, s := t.Context(), alone(t)
	root := file(3<<20, 1)(t, s)
	leaf, err := store.LeafCID([]byte("nowhere"))
	must(t, err)
	links, err := s.Dir(ctx, []store.Link{{Name: "a", CID: leaf, Size: 7, Total: 7}})
	must(t, err)
	byteLeaf, err := s.AddBytes(ctx, []byte{1})
	must(t, err)
	var names []store.Link
	for i := range 5500 {
		names = append(names, store.Link{Name: fmt.Sprintf("%0200d", i), CID: byteLeaf.CID, Size: 1, Total: 1})
	}
	wordy, err := s.Dir(ctx, names)
	must(t, err)
	if _, err := Make(ctx, s, wordy.CID, erasure.Scheme{Need: 1, Pieces: 2}, "copies"); err != nil {
		t.Errorf("copies of a folder that is all names: %v", err)
	}
	must(t, unpinAll(ctx, s))
	for what, c := range map[string]struct {
		root   cid.Cid
		scheme erasure.Scheme
		want   error
		says   string
	}{
		"no scheme":     {root, erasure.Scheme{}, erasure.ErrScheme, "--copies"},
		"no parity":     {root, erasure.Scheme{Need: 6, Pieces: 6}, erasure.ErrScheme, "--rs"},
		"too many":      {root, erasure.Scheme{Need: 20, Pieces: 256}, erasure.ErrScheme, "255"},
		"another codec": {cid.NewCidV1(cid.DagCBOR, root.Hash()), erasure.Small, ErrProfile, "hpips put"},
		"all names":     {wordy.CID, erasure.Small, ErrProfile, "--copies"},
		"a leaf away":   {links.CID, erasure.Small, store.ErrNotFound, leaf.String()},
		"all away":      {leaf, erasure.Small, store.ErrNotFound, "fetch"},
	} {
		if made, err := Make(ctx, s, c.root, c.scheme, "x"); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || made.Pieces != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if pins, err := s.Pins(ctx); err != nil || len(pins) > 0 {
		t.Errorf("%d pins: %v", len(pins), err)
	}
	stopped, stop := context.WithCancel(ctx)
	stop()
	if _, err := Make(stopped, s, root, erasure.Small, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	h := func(ctx context.Context, _ int, _ cid.Cid) ([]byte, error) { return nil, ctx.Err() }
	made, err := Make(ctx, s, root, erasure.Small, "x")
	must(t, err)
	if err := Recover(stopped, alone(t), made.Manifest, "x", h); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	if err := Recover(ctx, alone(t), Manifest{}, "x", h); !errors.Is(err, ErrManifest) {
		t.Errorf("no manifest: %v", err)
	}
}
