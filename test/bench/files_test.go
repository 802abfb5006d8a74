//go:build linux

package bench

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hpips/hpips/store"
)

// What Grace's node must keep up with when she puts files: one core that does nothing but hash the same bytes, and a Kubo daemon that adds them.
//
//  1. One file: its bytes hashed by one core; copied to the disk and synced by one core that does nothing else; added to a store and pinned; put into a node by the command line; added to Kubo.
//  2. One folder of many small files: the same without the hash.
//
// Ours is on the disk when it is timed, Kubo's need not be. All take turns, each with a store of its own.
func TestFilesBesideKubo(t *testing.T) {
	size, count := either(32, 1024), either(500, 10_000)
	file, folder := random(t, size), smallFiles(t, count)
	bin, ipfs := program(t), kuboProgram(t)
	of := map[string][]float64{} // seconds of a round, by who and what
	for round := range either(1, 5) {
		hash := hashTime(t, file)
		before := ownTime(t)
		whole := storeTime(t, file)
		took := map[string]float64{
			"hash":        hash,
			"disk":        diskTime(t, file),
			"store file":  whole,
			"store cores": (ownTime(t) - before).Seconds(),
			"put file":    putTime(t, bin, file),
			"kubo file":   kuboTime(t, ipfs, file),
			"store small": storeTime(t, folder),
			"put small":   putTime(t, bin, folder),
			"kubo small":  kuboTime(t, ipfs, folder),
		}
		t.Logf("round %d, seconds: %v; load %s", round+1, took, load(t))
		for what, s := range took {
			of[what] = append(of[what], s)
		}
	}
	rate := func(what string, n int) float64 { return float64(n) / median(of[what]) }
	figure(t, "hash", rate("hash", size), "MiB/s, one core")
	figure(t, "disk", rate("disk", size), "MiB/s, a copy that is synced")
	figure(t, "add", rate("store file", size), "MiB/s, in the store's own process")
	figure(t, "add-processor", median(of["store cores"]), "s of processor time, opening and closing included")
	figure(t, "put", rate("put file", size), "MiB/s, by the command line")
	figure(t, "add-kubo", rate("kubo file", size), "MiB/s, by the command line")
	figure(t, "small-add", rate("store small", count), "files/s of 4 KiB, in the store's own process")
	figure(t, "small-put", rate("put small", count), "files/s, by the command line")
	figure(t, "small-add-kubo", rate("kubo small", count), "files/s, by the command line")
	figure(t, "add-to-disk", median(of["disk"])/median(of["store file"]), "times")
	for _, line := range []struct {
		name            string
		of, by          string
		required, smoke float64
	}{
		{"add-to-hash", "hash", "store file", 0.9, 0.02},
		{"put-to-kubo", "kubo file", "put file", 1, 0.1},
		{"small-to-kubo", "kubo small", "put small", 3, 0.1},
	} {
		ratio := median(of[line.of]) / median(of[line.by])
		figure(t, line.name, ratio, "times")
		atLeast(t, line.name, ratio, line.required, line.smoke)
	}
}

// smallFiles makes a folder of n files of 4 KiB that nothing can make smaller; it goes with the test.
func smallFiles(t *testing.T, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "small")
	must(t, os.Mkdir(dir, 0o755))
	source := rand.NewChaCha8([32]byte{2})
	piece := make([]byte, 4<<10)
	for i := range n {
		_, _ = source.Read(piece) // never fails
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%05d", i)), piece, 0o644))
	}
	return dir
}

// hashTime is how many seconds one core takes to hash the chunks of a file, the reading not counted.
func hashTime(t *testing.T, file string) float64 {
	t.Helper()
	f, err := os.Open(file)
	must(t, err)
	defer f.Close()
	var took time.Duration
	chunk := make([]byte, 1<<20)
	for {
		n, err := io.ReadFull(f, chunk)
		if n == 0 {
			return took.Seconds()
		}
		if err != nil && err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
		began := time.Now()
		_ = sha256.Sum256(chunk[:n])
		took += time.Since(began)
	}
}

// diskTime is how many seconds a copy of a file takes until it is on the disk.
func diskTime(t *testing.T, file string) (took float64) {
	t.Helper()
	from, err := os.Open(file)
	must(t, err)
	defer from.Close()
	fresh(t, func(dir string) {
		to, err := os.Create(filepath.Join(dir, "copy"))
		must(t, err)
		settle(t)
		began := time.Now()
		_, err = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 1<<20))
		must(t, err)
		must(t, to.Sync())
		took = time.Since(began).Seconds()
		must(t, to.Close())
	})
	return took
}

// ownTime is the processor time of this process so far.
func ownTime(t *testing.T) time.Duration {
	t.Helper()
	s, ok := readStat("/proc/self/stat")
	if !ok {
		t.Fatal("no /proc/self/stat")
	}
	return s.cpu
}

// storeTime is how many seconds a new store takes to add a path and pin it.
func storeTime(t *testing.T, path string) (took float64) {
	t.Helper()
	fresh(t, func(dir string) {
		s, err := store.Open(slog.New(slog.DiscardHandler), dir, nil, store.Default())
		must(t, err)
		settle(t)
		began := time.Now()
		e, err := s.AddPath(context.Background(), path, nil)
		must(t, err)
		must(t, s.Pin(context.Background(), e.CID, "path"))
		took = time.Since(began).Seconds()
		must(t, s.Close())
	})
	return took
}

// fresh gives a folder and takes it away at once: five rounds of all sides would fill a small disk.
func fresh(t *testing.T, do func(dir string)) {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "fresh")
	must(t, err)
	do(dir)
	must(t, os.RemoveAll(dir))
}

// putTime is how many seconds the command line takes to put a path into a new node.
func putTime(t *testing.T, bin, path string) (took float64) {
	t.Helper()
	t.Run("put", func(t *testing.T) {
		grace := up(t, bin, "--no-provider")
		settle(t)
		began := time.Now()
		grace.hpips("put", "-q", path)
		took = time.Since(began).Seconds()
	})
	return took
}

// kuboTime is putTime of a Kubo daemon, with the flags that make our chunks.
func kuboTime(t *testing.T, ipfs, path string) (took float64) {
	t.Helper()
	t.Run("kubo", func(t *testing.T) {
		k := newKubo(t, ipfs)
		settle(t)
		began := time.Now()
		k.run("add", "-Q", "-r", "--cid-version=1", "--raw-leaves", "--chunker=size-1048576", "--max-file-links=1024", path)
		took = time.Since(began).Seconds()
	})
	return took
}
