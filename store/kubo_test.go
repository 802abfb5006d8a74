package store

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/store/storetest"
)

// connected opens a store whose host is connected to the daemon.
func connected(tb testing.TB, k *storetest.Daemon) *Store {
	tb.Helper()
	h := newHost(tb)
	s := openStore(tb, tb.TempDir(), h)
	must(tb, h.Connect(tb.Context(), k.Info()))
	return s
}

func TestKuboSameCID(t *testing.T) {
	k, s, dir := storetest.NewDaemon(t, filepath.Join("testdata", "kubo")), alone(t), t.TempDir()
	for name, size := range map[string]int{"empty": 0, "one": 1, "almost": 1<<20 - 1, "chunk": 1 << 20, "over": 1<<20 + 1, "three": 3 << 20} {
		must(t, os.WriteFile(filepath.Join(dir, name), random(size, uint64(size)), 0o644))
	}
	deep := filepath.Join(dir, "sparse")
	must(t, os.WriteFile(deep, nil, 0o644))
	must(t, os.Truncate(deep, 1025<<20)) // one chunk more than a node has links
	three := filepath.Join(dir, "trio")
	plant(t, three, map[string]string{"a": "1", "b": "2", "c": "3"})
	nested := filepath.Join(dir, "nested")
	plant(t, nested, map[string]string{"x/y/z": "1", "x/.hidden": "2", "link": "->x/y", "big": string(random(2<<20, 5))})
	must(t, os.Mkdir(filepath.Join(nested, "none"), 0o755))
	manyFiles(t, filepath.Join(dir, "sharded"), 10_000, 10)
	manyFiles(t, filepath.Join(dir, "plain"), 4_000, 10)

	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		got, err := s.AddPath(t.Context(), path, nil)
		must(t, err)
		if want := k.Add(path); got.CID.String() != want {
			t.Errorf("%s: %s, Kubo says %s", entry.Name(), got.CID, want)
		}
	}
}

// Blocks go both ways between our store and a running Kubo.
func TestKuboExchange(t *testing.T) {
	ctx, k, dir := t.Context(), storetest.NewDaemon(t, filepath.Join("testdata", "kubo")), t.TempDir()
	k.Start()
	s := connected(t, k)
	big := random(8<<20+5, 1)
	plant(t, dir, map[string]string{"big": string(big), "a/b/c": "deep", "a/link": "->b/c"})
	manyFiles(t, filepath.Join(dir, "many"), 6_000, 10)

	ours, err := s.AddPath(ctx, dir, nil)
	must(t, err)
	if got := k.Run("cat", ours.CID.String()+"/big"); got != strings.TrimSpace(string(big)) {
		t.Errorf("Kubo read %d bytes of ours", len(got))
	}
	out := filepath.Join(t.TempDir(), "out")
	k.Run("pin", "add", ours.CID.String()) // many wants at a time; get alone asks for one file after the other
	k.Run("get", "-o", out, ours.CID.String())
	same(t, snapshot(t, out), snapshot(t, dir))

	must(t, os.WriteFile(filepath.Join(dir, "later"), random(3<<20, 2), 0o644))
	theirs, err := cid.Decode(k.Add(dir))
	must(t, err)
	fresh := connected(t, k)
	_, err = fresh.Fetch(ctx, theirs, nil)
	must(t, err)
	must(t, fresh.Export(ctx, theirs, out+"2", 0, nil))
	same(t, snapshot(t, out+"2"), snapshot(t, dir))
}

// BenchmarkKubo gives the figures of two Kubo daemons beside those of BenchmarkOurs, for
// one file of 1 GiB: put is add, get fetches from the other node and writes the file.
func BenchmarkKubo(b *testing.B) {
	file := gibibyte(b)
	for b.Loop() {
		first, second := storetest.NewDaemon(b, filepath.Join("testdata", "kubo")), storetest.NewDaemon(b, filepath.Join("testdata", "kubo"))
		first.Start()
		second.Start()
		first.Run("swarm", "connect", second.Info().Addrs[0].String()+"/p2p/"+second.Info().ID.String())
		start := time.Now()
		c := first.Add(file)
		put := time.Since(start)
		start = time.Now()
		second.Run("get", "-o", filepath.Join(b.TempDir(), "out"), c)
		b.ReportMetric(1024/put.Seconds(), "put-MiB/s")
		b.ReportMetric(1024/time.Since(start).Seconds(), "get-MiB/s")
	}
}

// BenchmarkOurs is BenchmarkKubo with two of our stores. They share one process and so its
// two cores, as Kubo's three processes share the machine's.
func BenchmarkOurs(b *testing.B) {
	file := gibibyte(b)
	for b.Loop() {
		alice, bob := pair(b)
		start := time.Now()
		e, err := alice.AddPath(b.Context(), file, nil)
		must(b, err)
		added := time.Since(start)
		must(b, alice.Pin(b.Context(), e.CID, "gibibyte")) // Kubo's add syncs nothing
		put := time.Since(start)
		start = time.Now()
		_, err = bob.Fetch(b.Context(), e.CID, nil)
		must(b, err)
		fetched := time.Since(start)
		must(b, bob.Export(b.Context(), e.CID, filepath.Join(b.TempDir(), "out"), 0, nil))
		b.ReportMetric(1024/added.Seconds(), "add-MiB/s")
		b.ReportMetric(1024/put.Seconds(), "put-durable-MiB/s")
		b.ReportMetric(1024/fetched.Seconds(), "fetch-MiB/s")
		b.ReportMetric(1024/time.Since(start).Seconds(), "get-MiB/s")
	}
}

func gibibyte(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "gibibyte")
	must(b, os.WriteFile(path, random(1<<30, 1), 0o644))
	return path
}

func BenchmarkSmallFiles(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "small")
	manyFiles(b, dir, 10_000, 4<<10)
	for b.Loop() {
		s, err := Open(slog.New(slog.DiscardHandler), b.TempDir(), nil, Default())
		must(b, err)
		start := time.Now()
		e, err := s.AddPath(b.Context(), dir, nil)
		must(b, err)
		must(b, s.Pin(b.Context(), e.CID, "small"))
		b.ReportMetric(time.Since(start).Seconds(), "s/10k-add+pin")
		start = time.Now()
		must(b, s.Export(b.Context(), e.CID, filepath.Join(b.TempDir(), "out"), 0, nil))
		b.ReportMetric(time.Since(start).Seconds(), "s/10k-export")
		must(b, s.Close())
	}
}

func BenchmarkFetchSmallFiles(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "small")
	manyFiles(b, dir, 10_000, 4<<10)
	for b.Loop() {
		alice, bob := pair(b)
		e, err := alice.AddPath(b.Context(), dir, nil)
		must(b, err)
		start := time.Now()
		_, err = bob.Fetch(b.Context(), e.CID, nil)
		must(b, err)
		b.ReportMetric(time.Since(start).Seconds(), "s/10k")
	}
}

func BenchmarkDir(b *testing.B) {
	s := alone(b)
	leaf, err := s.AddBytes(b.Context(), []byte("x"))
	must(b, err)
	links := make([]Link, 100_000)
	for i := range links {
		links[i] = Link{Name: fmt.Sprintf("part%06d", i), CID: leaf.CID, Size: 1}
	}
	for b.Loop() {
		e, err := s.Dir(b.Context(), links)
		must(b, err)
		start := time.Now()
		files, err := s.Tree(b.Context(), e.CID)
		must(b, err)
		if len(files) != len(links) {
			b.Fatalf("%d files", len(files))
		}
		b.ReportMetric(time.Since(start).Seconds(), "s/tree")
	}
}
