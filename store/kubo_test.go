package store

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/hpips/hpips/store/storetest"
)

// kubo is one Kubo node with a repository of its own, on loopback, asking nobody.
type kubo struct {
	tb      testing.TB
	program string
	repo    string
	daemon  *exec.Cmd
}

func newKubo(tb testing.TB) *kubo {
	tb.Helper()
	k := &kubo{tb: tb, program: storetest.Kubo(tb, filepath.Join("testdata", "kubo")), repo: tb.TempDir()}
	k.run("init", "--profile=test")
	k.run("bootstrap", "rm", "--all")
	for key, value := range map[string]string{
		"AutoConf.Enabled": "false", "AutoTLS.Enabled": "false", "Provide.Enabled": "false", "Discovery.MDNS.Enabled": "false",
		"Routing.Type": `"none"`, "Routing.DelegatedRouters": "[]", "Ipns.DelegatedPublishers": "[]", "DNS.Resolvers": "{}",
		"Addresses.Swarm": `["/ip4/127.0.0.1/tcp/0"]`, "Addresses.API": `"/ip4/127.0.0.1/tcp/0"`, "Addresses.Gateway": `""`,
		// A peer that was slow to answer once is asked again: there is no other, and no routing.
		"Internal.Bitswap.BroadcastControl.Enable": "false",
	} {
		k.run("config", "--json", key, value)
	}
	return k
}

func (k *kubo) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, k.program, args...)
	cmd.Env = append(os.Environ(), "IPFS_PATH="+k.repo, "IPFS_TELEMETRY=off")
	return cmd
}

// kuboTime is how long a command of Kubo's may take.
const kuboTime = 4 * time.Minute

func (k *kubo) run(args ...string) string {
	k.tb.Helper()
	var errs bytes.Buffer
	ctx, stop := context.WithTimeout(k.tb.Context(), kuboTime)
	defer stop()
	cmd := k.command(ctx, args...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		k.tb.Fatalf("ipfs %s: %v\n%s%s", strings.Join(args, " "), err, out, &errs)
	}
	return strings.TrimSpace(string(out))
}

// start runs the daemon until the test ends and returns when it is ready.
func (k *kubo) start() {
	k.tb.Helper()
	k.daemon = k.command(context.Background(), "daemon")
	out, err := k.daemon.StdoutPipe()
	must(k.tb, err)
	k.daemon.Stderr = k.daemon.Stdout
	must(k.tb, k.daemon.Start())
	k.tb.Cleanup(func() {
		_ = k.daemon.Process.Signal(os.Interrupt)
		_ = k.daemon.Wait()
	})
	var seen strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		fmt.Fprintln(&seen, lines.Text())
		if strings.Contains(lines.Text(), "Daemon is ready") {
			go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the process
			return
		}
	}
	k.tb.Fatalf("the daemon ended before it was ready:\n%s", &seen)
}

// add imports with the flags that make up our profile in this version of Kubo.
func (k *kubo) add(path string) string {
	return k.run("add", "-Q", "-r", "-H", "--pin=false", "--cid-version=1", "--raw-leaves", "--chunker=size-1048576", "--max-file-links=1024", path)
}

// info is where the daemon listens.
func (k *kubo) info() peer.AddrInfo {
	k.tb.Helper()
	for _, line := range strings.Fields(k.run("id", "-f", "<addrs>")) {
		addr, err := multiaddr.NewMultiaddr(line)
		must(k.tb, err)
		info, err := peer.AddrInfoFromP2pAddr(addr)
		must(k.tb, err)
		return *info
	}
	k.tb.Fatal("Kubo listens nowhere")
	return peer.AddrInfo{}
}

// connected opens a store whose host is connected to the daemon.
func (k *kubo) connected() *Store {
	k.tb.Helper()
	h := newHost(k.tb)
	s := openStore(k.tb, k.tb.TempDir(), h)
	must(k.tb, h.Connect(k.tb.Context(), k.info()))
	return s
}

func TestKuboSameCID(t *testing.T) {
	k, s, dir := newKubo(t), alone(t), t.TempDir()
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
		if want := k.add(path); got.CID.String() != want {
			t.Errorf("%s: %s, Kubo says %s", entry.Name(), got.CID, want)
		}
	}
}

// Blocks go both ways between our store and a running Kubo.
func TestKuboExchange(t *testing.T) {
	ctx, k, dir := t.Context(), newKubo(t), t.TempDir()
	k.start()
	s := k.connected()
	big := random(8<<20+5, 1)
	plant(t, dir, map[string]string{"big": string(big), "a/b/c": "deep", "a/link": "->b/c"})
	manyFiles(t, filepath.Join(dir, "many"), 6_000, 10)

	ours, err := s.AddPath(ctx, dir, nil)
	must(t, err)
	if got := k.run("cat", ours.CID.String()+"/big"); got != strings.TrimSpace(string(big)) {
		t.Errorf("Kubo read %d bytes of ours", len(got))
	}
	out := filepath.Join(t.TempDir(), "out")
	k.run("pin", "add", ours.CID.String()) // many wants at a time; get alone asks for one file after the other
	k.run("get", "-o", out, ours.CID.String())
	same(t, snapshot(t, out), snapshot(t, dir))

	must(t, os.WriteFile(filepath.Join(dir, "later"), random(3<<20, 2), 0o644))
	theirs, err := cid.Decode(k.add(dir))
	must(t, err)
	fresh := k.connected()
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
		first, second := newKubo(b), newKubo(b)
		first.start()
		second.start()
		first.run("swarm", "connect", second.info().Addrs[0].String()+"/p2p/"+second.info().ID.String())
		start := time.Now()
		c := first.add(file)
		put := time.Since(start)
		start = time.Now()
		second.run("get", "-o", filepath.Join(b.TempDir(), "out"), c)
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
