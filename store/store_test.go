package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	blockfmt "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/multiformats/go-multihash"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv("STORE_TEST_UNREADABLE") != "" {
		os.Exit(addUnreadable(os.Getenv("STORE_TEST_UNREADABLE")))
	}
	goleak.VerifyTestMain(m)
}

// alone opens an offline store in a fresh folder, closed when the test ends.
func alone(t testing.TB) *Store { return openStore(t, t.TempDir(), nil) }

func openStore(t testing.TB, dir string, h host.Host) *Store {
	t.Helper()
	s, err := Open(slog.New(slog.DiscardHandler), dir, h, Default())
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// newHost listens on loopback with the stream settings that p2p.Host uses.
func newHost(t testing.TB) host.Host {
	t.Helper()
	y := *yamux.DefaultTransport
	y.InitialStreamWindowSize = 2 << 20
	limits, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(rcmgr.InfiniteLimits))
	must(t, err)
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Muxer(yamux.ID, &y), libp2p.ResourceManager(limits), libp2p.DisableRelay())
	must(t, err)
	t.Cleanup(func() { must(t, h.Close()) })
	return h
}

// pair opens the stores of alice and bob, connected.
func pair(t testing.TB) (alice, bob *Store) {
	t.Helper()
	a, b := newHost(t), newHost(t)
	alice, bob = openStore(t, t.TempDir(), a), openStore(t, t.TempDir(), b)
	must(t, a.Connect(t.Context(), peer.AddrInfo{ID: b.ID(), Addrs: b.Addrs()}))
	return alice, bob
}

func random(n int, seed uint64) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}).Read(data)
	return data
}

// plant makes files below dir; a value that starts with "->" is a symbolic link.
func plant(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if target, ok := strings.CutPrefix(text, "->"); ok {
			must(t, os.Symlink(target, path))
			continue
		}
		must(t, os.WriteFile(path, []byte(text), 0o644))
	}
}

func manyFiles(t testing.TB, dir string, n, size int) {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o755))
	for i := range n {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%05d", i)), random(size, uint64(i)), 0o644))
	}
}

func TestAddAndOpen(t *testing.T) {
	s := alone(t)
	for _, size := range []int{0, 1, 32 << 10, 32<<10 + 1, 1<<20 - 1, 1 << 20, 1<<20 + 1, 5<<20 + 77} {
		data := random(size, uint64(size))
		e, err := s.AddBytes(t.Context(), data)
		must(t, err)
		if e.Size != uint64(size) || e.Kind != Regular {
			t.Errorf("%d bytes: entry %+v", size, e)
		}
		r, err := s.Open(t.Context(), e.CID)
		must(t, err)
		got, err := io.ReadAll(r)
		must(t, err)
		if !bytes.Equal(got, data) || r.Size() != uint64(size) {
			t.Errorf("%d bytes came back as %d, size %d", size, len(got), r.Size())
		}
		if size > 10 {
			_, err = r.Seek(int64(size-10), io.SeekStart)
			must(t, err)
			tail, err := io.ReadAll(r)
			must(t, err)
			if !bytes.Equal(tail, data[size-10:]) {
				t.Errorf("%d bytes: wrong bytes after a seek", size)
			}
		}
		must(t, r.Close())
	}
}

// The directory code decides by itself when to shard; boxo's own builder is the judge.
func TestDirEqualsBoxo(t *testing.T) {
	s := alone(t)
	leaf, err := s.AddBytes(t.Context(), []byte("x"))
	must(t, err)
	// One link of these names takes 55 bytes of the block, so 4,767 links cross 256 KiB.
	for _, n := range []int{0, 1, 3, 4_700, 4_765, 4_766, 4_767, 4_768, 5_500, 10_000} {
		var links []Link
		want, err := uio.NewDirectory(merkledag.NewDAGService(s.service), uio.WithCidBuilder(uio.UnixFS_v1_2025.CidBuilder()))
		must(t, err)
		node, err := s.dag.Get(t.Context(), leaf.CID)
		must(t, err)
		for i := range n {
			name := fmt.Sprintf("f%05d", i)
			links = append(links, Link{Name: name, CID: leaf.CID, Size: 1})
			must(t, want.AddChild(t.Context(), name, node))
		}
		judge, err := want.GetNode()
		must(t, err)
		got, err := s.Dir(t.Context(), links)
		must(t, err)
		if got.CID != judge.Cid() {
			t.Errorf("%d entries: %s, boxo says %s", n, got.CID, judge.Cid())
		}
		total, err := judge.Size()
		must(t, err)
		if got.Total != total || got.Size != uint64(n) {
			t.Errorf("%d entries: total %d (want %d), size %d", n, got.Total, total, got.Size)
		}
		list, err := s.List(t.Context(), got.CID.String())
		must(t, err)
		if len(list) != n || n > 0 && (list[n-1].Name != links[n-1].Name || list[0].Size != 1 || list[0].Kind != Regular) {
			t.Errorf("%d entries: %d listed", n, len(list))
		}
	}
}

func TestDirRefuses(t *testing.T) {
	s := alone(t)
	leaf, err := s.AddBytes(t.Context(), []byte("x"))
	must(t, err)
	for name, links := range map[string][]Link{
		"a name twice": {{Name: "a", CID: leaf.CID, Size: 1}, {Name: "a", CID: leaf.CID, Size: 1}},
		"a way out":    {{Name: "..", CID: leaf.CID, Size: 1}},
		"a slash":      {{Name: "a/b", CID: leaf.CID, Size: 1}},
		"no name":      {{CID: leaf.CID, Size: 1}},
		"no address":   {{Name: "a"}},
	} {
		if e, err := s.Dir(t.Context(), links); err == nil {
			t.Errorf("%s: made %s", name, e.CID)
		}
	}
}

func TestTreeListResolve(t *testing.T) {
	ctx, s, dir := t.Context(), alone(t), t.TempDir()
	plant(t, dir, map[string]string{
		"b": "bb", "a/deep/x": "x", "a.txt": strings.Repeat("t", 2<<20), "a/link": "->deep/x", "a/.hidden": "h",
	})
	must(t, os.Mkdir(filepath.Join(dir, "empty"), 0o755))
	var last Progress
	e, err := s.AddPath(ctx, dir, func(p Progress) { last = p })
	must(t, err)
	if last.Files != 5 || last.Bytes != 2<<20+4 || last.TotalBytes != 2<<20+4 || e.Name != filepath.Base(dir) || e.Size != 2<<20+4+6 {
		t.Errorf("progress %+v, entry %+v", last, e)
	}
	files, err := s.Tree(ctx, e.CID)
	must(t, err)
	var got []string
	for _, f := range files {
		got = append(got, fmt.Sprintf("%s:%d", f.Path, f.Size))
	}
	if want := []string{"a.txt:2097152", "a/.hidden:1", "a/deep/x:1", "b:2"}; !slices.Equal(got, want) {
		t.Errorf("tree %v, want %v", got, want)
	}
	list, err := s.List(ctx, "ipfs://"+e.CID.String()+"/a")
	must(t, err)
	got = nil
	for _, e := range list {
		got = append(got, fmt.Sprintf("%s:%s:%d", e.Name, e.Kind, e.Size))
	}
	if want := []string{".hidden:file:1", "deep:directory:0", "link:symlink:6"}; !slices.Equal(got, want) {
		t.Errorf("list %v, want %v", got, want)
	}
	for _, form := range []string{"%s/b", "ipfs://%s/b", "/ipfs/%s/b", "%s/b/", "ipfs://%s/%%62"} {
		c, err := s.Resolve(ctx, fmt.Sprintf(form, e.CID))
		must(t, err)
		if c != files[3].CID {
			t.Errorf("%s: %s", form, c)
		}
	}
	one, err := s.Tree(ctx, files[0].CID)
	must(t, err)
	if len(one) != 1 || one[0].Path != "" || one[0].Size != 2<<20 {
		t.Errorf("tree of a file: %+v", one)
	}
	if _, err := s.Resolve(ctx, e.CID.String()+"/a/nothing"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), `"nothing"`) {
		t.Errorf("a name that is not there: %v", err)
	}
	if _, err := s.Resolve(ctx, e.CID.String()+"/b/c"); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("a path through a file: %v", err)
	}
	if _, err := s.Open(ctx, e.CID); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("open of a directory: %v", err)
	}
}

func TestAddPathRefuses(t *testing.T) {
	ctx, s, dir := t.Context(), alone(t), t.TempDir()
	plant(t, dir, map[string]string{"fine": "1"})
	if runtime.GOOS != "windows" {
		socket, err := net.Listen("unix", filepath.Join(dir, "a.sock"))
		must(t, err)
		defer socket.Close()
		_, err = s.AddPath(ctx, dir, nil)
		if err == nil || !strings.Contains(err.Error(), "a.sock is a socket") {
			t.Errorf("a socket: %v", err)
		}
	}
	if _, err := s.AddPath(ctx, filepath.Join(dir, "none"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a path that is not there: %v", err)
	}
	if _, err := os.Stat("/dev/null"); err == nil {
		if _, err := s.AddPath(ctx, "/dev/null", nil); err == nil || !strings.Contains(err.Error(), "is a device") {
			t.Errorf("a device: %v", err)
		}
	}
	pins, err := s.Pins(ctx)
	must(t, err)
	if len(pins) > 0 {
		t.Errorf("a failed add left pins: %v", pins)
	}
}

// openToAll is a folder for what another user of this machine is to reach: TMPDIR, unless its path is closed to others, as one's own is on some systems.
func openToAll(t *testing.T) string {
	t.Helper()
	for _, base := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		open := true
		for at := base; open; at = filepath.Dir(at) {
			info, err := os.Stat(at)
			open = err == nil && info.Mode().Perm()&1 != 0
			if at == filepath.Dir(at) {
				break
			}
		}
		if open || os.Geteuid() != 0 { // who is not root stays who he is
			return base
		}
	}
	t.Skip("no folder for temporary files is open to all users here: the test needs one, such as /tmp with mode 1777")
	return ""
}

// A file that alice may not read is named. Run as root the story is told by a process
// under another user, since root may read everything.
func TestAddPathUnreadable(t *testing.T) {
	base := openToAll(t)
	dir, err := os.MkdirTemp(base, "store-unreadable-")
	must(t, err)
	defer os.RemoveAll(dir)
	must(t, os.Chmod(dir, 0o755))
	plant(t, dir, map[string]string{"secret": "1", "open": "2"})
	must(t, os.Chmod(filepath.Join(dir, "secret"), 0))
	if os.Geteuid() != 0 {
		if code := addUnreadable(dir); code != 0 {
			t.Errorf("ended with %d", code)
		}
		return
	}
	program := filepath.Join(dir, "program")
	self, err := os.Executable()
	must(t, err)
	data, err := os.ReadFile(self)
	must(t, err)
	must(t, os.WriteFile(program, data, 0o755))
	home, err := os.MkdirTemp(base, "store-of-nobody-")
	must(t, err)
	defer os.RemoveAll(home)
	must(t, os.Chmod(home, 0o777)) //nolint:gosec // the other user's temporary files
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "STORE_TEST_UNREADABLE="+dir, "TMPDIR="+home)
	cmd.SysProcAttr = nobody()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// addUnreadable adds a folder that holds the unreadable file "secret" and gives 0 when the
// error is right.
func addUnreadable(dir string) int {
	home, err := os.MkdirTemp("", "store-home-")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(home)
	s, err := Open(slog.New(slog.DiscardHandler), home, nil, Default())
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer s.Close()
	_, err = s.AddPath(context.Background(), dir, nil)
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "check the owner") {
		fmt.Println("got:", err)
		return 1
	}
	return 0
}

func TestPinsAndGC(t *testing.T) {
	ctx, s := t.Context(), alone(t)
	kept, err := s.AddBytes(ctx, random(3<<20, 1))
	must(t, err)
	dropped, err := s.AddBytes(ctx, random(3<<20, 2))
	must(t, err)
	small, err := s.AddBytes(ctx, []byte("small"))
	must(t, err)
	must(t, s.Pin(ctx, kept.CID, "kept"))
	must(t, s.Pin(ctx, small.CID, "small"))
	must(t, s.Pin(ctx, kept.CID, "renamed"))
	before, err := s.Stat(ctx)
	must(t, err)
	got, err := s.GC(ctx)
	must(t, err)
	if got.Blocks != 4 || got.Bytes != int64(dropped.Total) {
		t.Errorf("collected %+v, want 4 blocks of %d bytes", got, dropped.Total)
	}
	after, err := s.Stat(ctx)
	must(t, err)
	if after.Blocks != 5 || after.Pins != 2 || before.Bytes-after.Bytes != got.Bytes {
		t.Errorf("stat %+v then %+v", before, after)
	}
	if has, _ := s.Has(ctx, dropped.CID); has {
		t.Error("unpinned content outlived GC")
	}
	pins, err := s.Pins(ctx)
	must(t, err)
	if len(pins) != 2 || !slices.ContainsFunc(pins, func(p Pin) bool { return p.CID == kept.CID && p.Name == "renamed" }) {
		t.Errorf("pins %+v", pins)
	}
	must(t, s.Unpin(ctx, kept.CID))
	if err := s.Unpin(ctx, kept.CID); !errors.Is(err, ErrNotFound) {
		t.Errorf("unpinned twice: %v", err)
	}
	if err := s.Pin(ctx, dropped.CID, "gone"); !errors.Is(err, ErrNotFound) {
		t.Errorf("pinned what is not there: %v", err)
	}
}

// What is discarded goes with all below it, but for what a pin or another root leads to; what was never here is nothing.
func TestDiscard(t *testing.T) {
	ctx, s := t.Context(), alone(t)
	dir := func(names ...string) Entry {
		t.Helper()
		at := t.TempDir()
		for n, name := range names {
			must(t, os.WriteFile(filepath.Join(at, name), random(2<<20, uint64(len(name)*10+n)), 0o600))
		}
		e, err := s.AddPath(ctx, at, nil)
		must(t, err)
		return e
	}
	same := func(at, name string) { must(t, os.WriteFile(filepath.Join(at, name), random(2<<20, 99), 0o600)) }
	shared := t.TempDir()
	same(shared, "layer")
	must(t, os.WriteFile(filepath.Join(shared, "own"), random(2<<20, 98), 0o600))
	old, err := s.AddPath(ctx, shared, nil)
	must(t, err)
	other := t.TempDir()
	same(other, "layer")
	young, err := s.AddPath(ctx, other, nil)
	must(t, err)
	layer, err := s.AddBytes(ctx, random(2<<20, 99))
	must(t, err)
	own, err := s.AddBytes(ctx, random(2<<20, 98))
	must(t, err)
	pinned, loose := dir("pinned"), dir("a", "loose")
	must(t, s.Pin(ctx, pinned.CID, "pinned"))
	got, err := s.Discard(ctx, []cid.Cid{old.CID, pinned.CID}, []cid.Cid{young.CID})
	must(t, err)
	for name, row := range map[string]struct {
		c    cid.Cid
		want bool
	}{"the old one": {old.CID, false}, "what it alone had": {own.CID, false}, "what the young one has, too": {layer.CID, true}, "the young one": {young.CID, true},
		"what is pinned": {pinned.CID, true}, "what nobody spoke of": {loose.CID, true}} {
		if has, err := s.Has(ctx, row.c); err != nil || has != row.want {
			t.Errorf("%s is here: %v, %v", name, has, err)
		}
	}
	if got.Blocks < 2 || got.Bytes < 2<<20 || got.Bytes > 3<<20 {
		t.Errorf("discarded %+v", got)
	}
	if got, err := s.Discard(ctx, []cid.Cid{old.CID}, nil); err != nil || got != (Collected{}) {
		t.Errorf("once more: %+v, %v", got, err)
	}
	name, err := (cid.V1Builder{Codec: cid.DagProtobuf, MhType: multihash.SHA2_256}).Sum([]byte("no node"))
	must(t, err)
	junk, err := blockfmt.NewBlockWithCid([]byte("no node"), name)
	must(t, err)
	must(t, s.blocks.Put(ctx, junk))
	if got, err := s.Discard(ctx, []cid.Cid{junk.Cid(), loose.CID}, []cid.Cid{junk.Cid()}); err != nil || got.Blocks < 1 {
		t.Errorf("beside what is no node: %+v, %v", got, err)
	}
	if got, err := s.Discard(ctx, []cid.Cid{junk.Cid()}, nil); err != nil || got.Blocks != 1 {
		t.Errorf("what is no node: %+v, %v", got, err)
	}
}

// While alice holds a reserve GC waits, and her content is there when she pins it.
func TestGCWaitsForReserve(t *testing.T) {
	s := alone(t)
	ctx := t.Context()
	release, err := s.Reserve(ctx)
	must(t, err)
	e, err := s.AddBytes(ctx, random(2<<20, 1))
	must(t, err)
	soon, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.GC(soon); !errors.Is(err, context.Canceled) {
		t.Fatalf("GC went on under a reserve: %v", err)
	}
	done := make(chan Collected)
	go func() {
		c, err := s.GC(ctx)
		if err != nil {
			t.Error(err)
		}
		done <- c
	}()
	must(t, s.Pin(ctx, e.CID, "mine"))
	release()
	release() // a second call does nothing
	if c := <-done; c.Blocks != 0 {
		t.Errorf("collected %+v", c)
	}
	if has, _ := s.Has(ctx, e.CID); !has {
		t.Error("pinned content is gone")
	}
}

func TestOneProcessPerFolder(t *testing.T) {
	s := alone(t)
	_, err := Open(slog.New(slog.DiscardHandler), s.dir, nil, Default())
	if err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("opened twice: %v", err)
	}
	bad := Default()
	bad.Workers = 0
	if _, err := Open(slog.New(slog.DiscardHandler), t.TempDir(), nil, bad); err == nil {
		t.Error("a store without workers opened")
	}
}

// A full disk ends an add with a message that names path and remedy, and nothing broken is
// served afterwards.
func TestFullDisk(t *testing.T) {
	dir := smallDisk(t, 8<<20)
	s := openStore(t, dir, nil)
	kept, err := s.AddBytes(t.Context(), random(1<<20, 1))
	must(t, err)
	must(t, s.Pin(t.Context(), kept.CID, "kept"))
	_, err = s.AddBytes(t.Context(), random(32<<20, 2))
	if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "free some space") {
		t.Errorf("a full disk: %v", err)
	}
	keys, err := s.blocks.AllKeysChan(t.Context())
	if err == nil {
		for c := range keys {
			if b, err := s.blocks.Get(t.Context(), c); err != nil || !matches(b.Cid().Hash(), b.RawData()) {
				t.Errorf("block %s is broken: %v", c, err)
			}
		}
	}
	_, err = s.GC(t.Context())
	must(t, err)
	_, err = s.AddBytes(t.Context(), random(1<<20, 3))
	must(t, err)
	if r, err := s.Open(t.Context(), kept.CID); err != nil {
		t.Error(err)
	} else {
		must(t, r.Close())
	}
}

// On a disk that is full to the last byte, half an import cannot even be committed; GC takes it away all the same.
func TestGCOnABrimfulDisk(t *testing.T) {
	dir := smallDisk(t, 16<<20)
	s := openStore(t, dir, nil)
	kept, err := s.AddBytes(t.Context(), random(1<<20, 1))
	must(t, err)
	must(t, s.Pin(t.Context(), kept.CID, "kept"))
	if _, err = s.AddBytes(t.Context(), random(32<<20, 2)); !errors.Is(err, ErrFull) {
		t.Fatalf("a full disk: %v", err)
	}
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	must(t, err)
	for err == nil {
		_, err = ballast.Write(make([]byte, 512))
	}
	must(t, ballast.Close())
	for range 2 {
		if _, err = s.GC(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if st, err := s.Stat(t.Context()); err != nil || st.Blocks != 1 || st.Bytes != 1<<20 {
		t.Errorf("%+v is left, %v", st, err)
	}
	if size := packBytes(t, dir); size < 1<<20 || size > 1<<20+512 {
		t.Errorf("packs of %d bytes are left", size)
	}
	again, err := s.AddBytes(t.Context(), random(2<<20, 3))
	must(t, err)
	must(t, s.Pin(t.Context(), again.CID, "again"))
}

// packBytes is how large the packs of a store are together.
func packBytes(t *testing.T, dir string) (sum int64) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, packFolder))
	must(t, err)
	for _, e := range entries {
		info, err := e.Info()
		must(t, err)
		sum += info.Size()
	}
	return sum
}

// forged puts a directory node with any links, for trees that carol forges.
func forged(t testing.TB, s *Store, links ...*ipld.Link) cid.Cid {
	t.Helper()
	n := unixfs.EmptyDirNode()
	must(t, n.SetCidBuilder(uio.UnixFS_v1_2025.CidBuilder()))
	for _, l := range links {
		must(t, n.AddRawLink(l.Name, l))
	}
	must(t, s.blocks.Put(t.Context(), n))
	return n.Cid()
}
