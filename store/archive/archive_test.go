package archive

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ipfs/go-cid"
	"pgregory.net/rapid"

	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/store"
	"github.com/hpips/hpips/store/storetest"
)

// data are size bytes that nobody would guess, the same for the same name.
func data(name string, size int) []byte {
	var b []byte
	for i := uint64(0); len(b) < size; i++ {
		h := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(name), i))
		b = append(b, h[:]...)
	}
	return b[:size]
}

// chain is one that alice keeps: blocks from height 1.
type chain [][]byte

func (c chain) Height() int64 { return int64(len(c)) }

func (c chain) Block(height int64) ([]byte, error) { return c[height-1], nil }

// sized is a chain of blocks of these sizes.
func sized(sizes ...int) chain {
	var c chain
	for i, n := range sizes {
		c = append(c, data(name(int64(i+1)), n))
	}
	return c
}

// some has blocks of one leaf and of several, with and without a rest.
var some = []int{1, 700, 1 << 20, 1<<20 + 1, 90, 3<<20 - 5, 2 << 20}

func car(t testing.TB, blocks Blocks, from int64, l Limits) ([]byte, Segment) {
	t.Helper()
	var b bytes.Buffer
	s, err := Make(t.Context(), blocks, from, l, &b)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), s
}

func alone(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(slog.New(slog.DiscardHandler), t.TempDir(), nil, store.Default())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// alice and bob make a segment of the same blocks, one in her store and one for a file: it is the same, and the store, the audit and the reader call it as it is recorded.
func TestASegmentIsItsBlocks(t *testing.T) {
	blocks, limits := sized(some...), Limits{1 << 30 >> 1, len(some)}
	b, bobs := car(t, blocks, 1, limits)
	s := alone(t)
	alices, outline, err := Keep(t.Context(), s, slices.Clone(blocks), 1, limits)
	if err != nil || alices != bobs || outline.Piece() != bobs.Piece {
		t.Fatalf("%+v, %+v: %v", alices, bobs, err)
	}
	if alices.From != 1 || alices.To != int64(len(some)) || alices.Piece.Size != uint64(len(b)) {
		t.Errorf("%+v of %d bytes", alices, len(b))
	}
	r, err := s.Open(t.Context(), alices.CID)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if kept, err := io.ReadAll(r); err != nil || !bytes.Equal(kept, b) {
		t.Fatalf("the store has %d other bytes: %v", len(kept), err)
	}
	var o proof.Builder
	o.Write(b)
	if o.Piece() != bobs.Piece {
		t.Error("another piece")
	}
	var got chain
	again, err := Read(iotest.OneByteReader(bytes.NewReader(b[:0:0])), nil)
	if !errors.Is(err, ErrNotOurs) || again != (Segment{}) {
		t.Errorf("nothing is a segment: %v", err)
	}
	again, err = Read(bytes.NewReader(b), func(height int64, block []byte) error {
		if height != int64(len(got)+1) {
			t.Errorf("block %d comes after %d", height, len(got))
		}
		got = append(got, block)
		return nil
	})
	if err != nil || again != bobs || !slices.EqualFunc(got, blocks, bytes.Equal) {
		t.Errorf("read back as %+v: %v", again, err)
	}
	if files, err := s.List(t.Context(), alices.CID.String()); err != nil || len(files) != 1 || files[0].Size != alices.Piece.Size {
		t.Errorf("listed as %+v: %v", files, err)
	}
}

func TestASegmentEndsWhereTheLimitsSay(t *testing.T) {
	blocks := sized(100, 100, 100, 250, 10, 10, 10, 10)
	for _, row := range []struct {
		what string
		from int64
		l    Limits
		to   int64 // 0: it is still open
	}{
		{"by blocks", 1, Limits{1 << 20, 3}, 3},
		{"by bytes", 1, Limits{300, 100}, 3},
		{"by the byte after", 1, Limits{301, 100}, 4},
		{"a large block alone", 4, Limits{200, 100}, 4},
		{"one block", 5, Limits{1 << 20, 1}, 5},
		{"to the very end", 5, Limits{40, 100}, 8},
		{"not enough bytes", 5, Limits{41, 100}, 0},
		{"not enough blocks", 5, Limits{1000, 5}, 0},
		{"not begun", 9, Limits{1, 1}, 0},
	} {
		var to bytes.Buffer
		s, err := Make(t.Context(), blocks, row.from, row.l, &to)
		switch {
		case row.to == 0 && (!errors.Is(err, ErrOpen) || to.Len() > 0):
			t.Errorf("%s: %v, %d bytes", row.what, err, to.Len())
		case row.to != 0 && (err != nil || s.From != row.from || s.To != row.to):
			t.Errorf("%s: %d to %d, want %d: %v", row.what, s.From, s.To, row.to, err)
		}
	}
	for what, l := range map[string]Limits{"no bytes": {0, 1}, "no blocks": {1, 0}, "too many bytes": {MaxBytes + 1, 1}, "too many blocks": {1, MaxBlocks + 1}} {
		if _, err := Make(t.Context(), blocks, 1, l, io.Discard); err == nil || errors.Is(err, ErrOpen) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for epoch, want := range map[uint64]Limits{0: {64 << 20, 1}, 20: {64 << 20, 20}, 720: {64 << 20, 720}, 1 << 40: {64 << 20, MaxBlocks}} {
		if got := Default(epoch); got != want || got.check() != nil {
			t.Errorf("epochs of %d: %+v", epoch, got)
		}
	}
}

// However a chain is cut, its segments have each block once, and whoever comes later cuts it alike.
func TestSegmentsFollowOneAnother(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		blocks := sized(rapid.SliceOfN(rapid.IntRange(1, 3000), 1, 40).Draw(t, "blocks")...)
		l := Limits{rapid.Int64Range(1, 10_000).Draw(t, "bytes"), rapid.IntRange(1, 12).Draw(t, "most")}
		young := blocks[:rapid.IntRange(0, len(blocks)).Draw(t, "young")]
		from := int64(1)
		for {
			var b bytes.Buffer
			s, err := Make(context.Background(), blocks, from, l, &b)
			early, errEarly := Make(context.Background(), young, from, l, io.Discard)
			if errors.Is(err, ErrOpen) {
				break
			}
			if err != nil || s.From != from || s.To < from {
				t.Fatalf("%+v: %v", s, err)
			}
			if open := s.To > young.Height(); open != errors.Is(errEarly, ErrOpen) || !open && early != s {
				t.Fatalf("another cut at %d: %v", young.Height(), errEarly)
			}
			again, err := Read(&b, func(height int64, block []byte) error {
				if height != from || !bytes.Equal(block, blocks[height-1]) {
					t.Fatalf("block %d in the place of %d", height, from)
				}
				from++
				return nil
			})
			if err != nil || again != s {
				t.Fatalf("%+v: %v", again, err)
			}
		}
		if left := blocks[from-1:]; l.full(int64(len(bytes.Join(left, nil))), len(left)) {
			t.Fatalf("%d blocks are left", len(left))
		}
	})
}

// counted tells how often each block was read.
type counted struct {
	chain
	reads map[int64]int
}

func (c counted) Block(height int64) ([]byte, error) {
	c.reads[height]++
	return c.chain.Block(height)
}

// While blocks come, a gauge says that a segment is whole exactly where it can be made, and has read each block once.
func TestAGaugeIsFullWhenASegmentIsWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		blocks := sized(rapid.SliceOfN(rapid.IntRange(1, 3000), 1, 30).Draw(t, "blocks")...)
		l := Limits{rapid.Int64Range(1, 10_000).Draw(t, "bytes"), rapid.IntRange(1, 12).Draw(t, "most")}
		var g Gauge
		reads, from := map[int64]int{}, int64(1)
		for head := range len(blocks) + 1 {
			whole, err := g.Whole(counted{blocks[:head], reads}, from, l)
			s, made := Make(context.Background(), blocks[:head], from, l, io.Discard)
			if err != nil || whole != (made == nil) {
				t.Fatalf("at %d: whole %v, %v; made: %v", head, whole, err, made)
			}
			if whole {
				from = s.To + 1
			}
		}
		for height, n := range reads {
			if n != 1 {
				t.Fatalf("block %d was read %d times", height, n)
			}
		}
	})
}

// mallory changes, cuts and lengthens alice's file: what is given is alice's, and the end is an error.
func TestAChangedSegmentIsRefused(t *testing.T) {
	blocks := sized(1, 300, 1<<20+7, 50)
	b, _ := car(t, blocks, 1, Limits{1 << 28, 4})
	refuse := func(what string, bad []byte) {
		t.Helper()
		got, err := Read(bytes.NewReader(bad), func(height int64, block []byte) error {
			if !bytes.Equal(block, blocks[height-1]) {
				t.Errorf("%s: another block %d was given", what, height)
			}
			return nil
		})
		if !errors.Is(err, ErrNotOurs) || got != (Segment{}) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := 0; i < len(b); i += 1 + min(i/50, 4001) {
		bad := bytes.Clone(b)
		bad[i] ^= 1 << (i % 8)
		refuse("changed at "+name(int64(i)), bad)
		refuse("cut at "+name(int64(i)), b[:i])
	}
	refuse("cut at the end", b[:len(b)-1])
	refuse("longer", append(bytes.Clone(b), 0))
	refuse("twice", append(bytes.Clone(b), b...))
	long := append([]byte{b[0] | 0x80, 0}, b[1:]...) // the first length in two bytes
	refuse("a long length", long)
}

// Folders that are true to their address, and are none of ours.
func TestOtherFoldersAreRefused(t *testing.T) {
	leaf := func(b []byte) store.Link {
		f, err := newFile(b)
		if err != nil {
			t.Fatal(err)
		}
		return f.link(1)
	}
	with := func(l store.Link, change func(*store.Link)) store.Link {
		change(&l)
		return l
	}
	good, big := leaf([]byte("block")), leaf(data("big", leafSize+1))
	blake := cid.NewCidV1(cid.Raw, append([]byte{0xb2, 0x20}, good.CID.Hash()[2:]...)) // not a hash that is ours; not read
	for what, links := range map[string][]store.Link{
		"no block":           nil,
		"height 0":           {with(good, func(l *store.Link) { l.Name = name(0) })},
		"a short name":       {with(good, func(l *store.Link) { l.Name = "1" })},
		"a word":             {with(good, func(l *store.Link) { l.Name = "genesis" })},
		"a gap":              {good, with(good, func(l *store.Link) { l.Name = name(3) })},
		"another codec":      {with(good, func(l *store.Link) { l.CID = cid.NewCidV1(cid.DagCBOR, l.CID.Hash()) })},
		"another size":       {with(good, func(l *store.Link) { l.Total++ })},
		"a block of its end": {with(big, func(l *store.Link) { l.Total-- })},
		"another hash":       {with(good, func(l *store.Link) { l.CID = blake })},
	} {
		folder, err := store.FolderNode(links)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		w := writer{&b}
		err = errors.Join(w.head(folder.Cid()), w.block(folder.Cid(), folder.RawData()), w.block(good.CID, []byte("block")))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Read(&b, func(int64, []byte) error { return nil }); !errors.Is(err, ErrNotOurs) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// restless gives another block each time; missing has lost one; huge has one that cannot be.
type (
	restless struct{ n *byte }
	missing  struct{ chain }
)

func (restless) Height() int64 { return 10 }

func (r restless) Block(int64) ([]byte, error) { *r.n++; return []byte{*r.n}, nil }

var errDisk = errors.New("the disk is gone")

func (m missing) Block(height int64) ([]byte, error) {
	if height == 2 {
		return nil, errDisk
	}
	return m.chain.Block(height)
}

func TestWhatKeepsASegmentFromBeingMade(t *testing.T) {
	l := Limits{1 << 20, 3}
	if _, err := Make(t.Context(), restless{new(byte)}, 1, l, io.Discard); !errors.Is(err, ErrUnsteady) {
		t.Errorf("blocks that change: %v", err)
	}
	if _, err := Make(t.Context(), missing{sized(1, 1, 1)}, 1, l, io.Discard); !errors.Is(err, errDisk) || !strings.Contains(err.Error(), "block 2") {
		t.Errorf("a block that is lost: %v", err)
	}
	if _, err := Make(t.Context(), sized(1, 0, 1), 1, l, io.Discard); err == nil || !strings.Contains(err.Error(), "block 2") {
		t.Errorf("an empty block: %v", err)
	}
	if _, err := Make(t.Context(), sized(1, 1, 1), 0, l, io.Discard); err == nil {
		t.Error("block 0")
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Make(ctx, sized(1, 1, 1), 1, l, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	s := alone(t)
	if _, _, err := Keep(t.Context(), s, missing{sized(1, 1, 1)}, 1, l); !errors.Is(err, errDisk) {
		t.Errorf("a block that is lost, on the way to the store: %v", err)
	}
	if _, _, err := Keep(t.Context(), s, sized(1, 1), 1, l); !errors.Is(err, ErrOpen) {
		t.Errorf("a segment that is open, on the way to the store: %v", err)
	}
	if _, _, err := Keep(t.Context(), full{}, sized(1, 1, 1<<20), 1, l); !errors.Is(err, errDisk) {
		t.Errorf("a store that is full: %v", err)
	}
	b, _ := car(t, sized(1, 1, 1), 1, l)
	if _, err := Read(bytes.NewReader(b), func(int64, []byte) error { return errDisk }); !errors.Is(err, errDisk) {
		t.Errorf("who takes blocks ends it: %v", err)
	}
	if _, err := Read(io.MultiReader(bytes.NewReader(b[:100]), iotest.ErrReader(errDisk)), func(int64, []byte) error { return nil }); !errors.Is(err, errDisk) || errors.Is(err, ErrNotOurs) {
		t.Errorf("a reader that fails: %v", err)
	}
}

// full takes a few bytes.
type full struct{}

func (full) Add(_ context.Context, r io.Reader) (store.Entry, error) {
	_, err := r.Read(make([]byte, 10))
	return store.Entry{}, errors.Join(err, errDisk)
}

// Kubo imports the file with its own command, pins what it names, and shows each block by its height.
func TestKuboImportsASegment(t *testing.T) {
	program := storetest.Kubo(t, filepath.Join("..", "testdata", "kubo"))
	repo, blocks := t.TempDir(), sized(some...)
	b, s := car(t, blocks, 1, Limits{1 << 28, len(some)})
	file := filepath.Join(t.TempDir(), "segment.car")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), "IPFS_PATH="+repo, "IPFS_TELEMETRY=off")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("ipfs %v: %v", args, err)
		}
		return string(out)
	}
	run("init", "--profile=test")
	if out := run("dag", "import", file); !strings.Contains(out, s.Root.String()) {
		t.Errorf("it imported %q", out)
	}
	for i, b := range blocks {
		if got := run("cat", s.Root.String()+"/"+name(int64(i+1))); got != string(b) {
			t.Errorf("block %d has %d other bytes", i+1, len(got))
		}
	}
	if got := strings.TrimSpace(run("add", "-Q", "--cid-version=1", "--raw-leaves", "--chunker=size-1048576", "--max-file-links=1024", file)); got != s.CID.String() {
		t.Errorf("as a file it is %s, recorded %s", got, s.CID)
	}
	if exported := run("dag", "export", s.Root.String()); exported != string(b) {
		t.Errorf("Kubo writes the same DAG as %d other bytes", len(exported))
	}
}

var rewrite = flag.Bool("rewrite", false, "write the test vectors anew")

type vector struct {
	Sizes []int  `json:"sizes"`
	Bytes int64  `json:"bytes"`
	Most  int    `json:"blocks"`
	From  int64  `json:"from"`
	To    int64  `json:"to"`
	CID   string `json:"cid"`
	Root  string `json:"root"`
	Audit string `json:"auditRoot"`
	Size  uint64 `json:"size"`
	CAR   []byte `json:"car,omitempty"` // of a small one, in base64
}

// TestVectors holds what is made against testdata, so that another implementation can check itself, and so that this one stays as it is.
func TestVectors(t *testing.T) {
	var all []vector
	for _, v := range []vector{
		{Sizes: []int{5, 9}, Bytes: 1 << 20, Most: 2, From: 1}, {Sizes: some, Bytes: 3 << 20, Most: 100, From: 1}, {Sizes: some, Bytes: 3 << 20, Most: 100, From: 5},
		{Sizes: slices.Repeat([]int{700}, 720), Bytes: 64 << 20, Most: 720, From: 1},
	} {
		b, s := car(t, sized(v.Sizes...), v.From, Limits{v.Bytes, v.Most})
		v.To, v.CID, v.Root, v.Size = s.To, s.CID.String(), s.Root.String(), s.Piece.Size
		v.Audit = hex.EncodeToString(s.Piece.Root[:])
		if len(b) < 1000 {
			v.CAR = b
		}
		all = append(all, v)
	}
	got, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "segments.json")
	got = append(got, '\n')
	if *rewrite {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want = bytes.ReplaceAll(want, []byte("\r"), nil); !bytes.Equal(got, want) {
		t.Errorf("%s says otherwise:\n%s", path, got)
	}
}

func FuzzRead(f *testing.F) {
	b, _ := car(f, sized(5, 9), 1, Limits{1 << 20, 2})
	f.Add(b)
	f.Add(head(like(cid.DagProtobuf)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var blocks chain
		s, err := Read(bytes.NewReader(b), func(_ int64, block []byte) error {
			blocks = append(blocks, block)
			return nil
		})
		if err != nil {
			return
		}
		var again bytes.Buffer
		made, err := Make(t.Context(), later{blocks, s.From - 1}, s.From, Limits{MaxBytes, len(blocks)}, &again)
		if err != nil || made != s || !bytes.Equal(again.Bytes(), b) {
			t.Fatalf("%x is read, and made as %x: %v", b, again.Bytes(), err)
		}
	})
}

// FuzzNodes gives the reader folders and files whose addresses are true, which no change of a whole file is.
func FuzzNodes(f *testing.F) {
	big, err := newFile(data("big", leafSize+1))
	if err != nil {
		f.Fatal(err)
	}
	folder, err := store.FolderNode([]store.Link{big.link(7)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(folder.RawData(), big.node)
	f.Fuzz(func(t *testing.T, folder, node []byte) {
		address := func(b []byte) cid.Cid {
			c, err := like(cid.DagProtobuf).Prefix().Sum(b)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		if from, links, err := parseFolder(address(folder), folder); err == nil {
			again, err := store.FolderNode(links)
			if err != nil || !bytes.Equal(again.RawData(), folder) || links[0].Name != name(from) {
				t.Fatalf("%x is read from %d on, and written as %x: %v", folder, from, again.RawData(), err)
			}
		}
		var b bytes.Buffer
		if err := (writer{&b}).block(address(node), node); err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(node, big.node) {
			return
		}
		r := &reader{bufio.NewReader(&b)}
		if _, err := r.file(store.Link{CID: address(node)}); !errors.Is(err, ErrNotOurs) { // its leaves are not there
			t.Fatalf("%x: %v", node, err)
		}
	})
}

// later is a chain without its first blocks.
type later struct {
	chain
	before int64
}

func (l later) Height() int64                      { return l.before + l.chain.Height() }
func (l later) Block(height int64) ([]byte, error) { return l.chain.Block(height - l.before) }

func BenchmarkMake(b *testing.B) {
	blocks := sized(slices.Repeat([]int{90_000}, 720)...)
	b.SetBytes(720 * 90_000)
	for b.Loop() {
		if _, err := Make(b.Context(), blocks, 1, Default(720), io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	bytesOf, _ := car(b, sized(slices.Repeat([]int{90_000}, 720)...), 1, Default(720))
	b.SetBytes(int64(len(bytesOf)))
	for b.Loop() {
		if _, err := Read(bytes.NewReader(bytesOf), func(int64, []byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
