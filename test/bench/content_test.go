//go:build linux

package bench

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hpips/hpips/api/client"
)

// Grace puts a file into her node and heidi gets it into a folder; two Kubo daemons do the same, in turn with ours.
func TestContentBesideKubo(t *testing.T) {
	put, get := besideKubo(t, either(32, 1024), either(1, 3), "")
	atLeast(t, "put-to-kubo", put, 1, 0.1)
	atLeast(t, "get-to-kubo", get, 1, 0.1)
	_, get = besideKubo(t, either(8, 256), either(1, 7), "-256")
	atLeast(t, "get-256-to-kubo", get, 1.2, 0.1)
}

// besideKubo moves a file of so many MiB in rounds, and gives the ratios of the medians; its figures' names get an ending.
func besideKubo(t *testing.T, size, rounds int, ending string) (putRatio, getRatio float64) {
	t.Helper()
	file := random(t, size)
	bin, ipfs := program(t), kuboProgram(t)
	var put, get, kuboPut, kuboGet []float64
	for round := range rounds {
		a, b := oursMoves(t, bin, file, size)
		c, d := kuboMoves(t, ipfs, file, size)
		t.Logf("round %d of %d MiB: put %.0f, Kubo %.0f; get %.0f, Kubo %.0f MiB/s; load %s", round+1, size, a, c, b, d, load(t))
		put, get, kuboPut, kuboGet = append(put, a), append(get, b), append(kuboPut, c), append(kuboGet, d)
	}
	putRatio, getRatio = median(put)/median(kuboPut), median(get)/median(kuboGet)
	figure(t, "put"+ending, median(put), "MiB/s")
	figure(t, "put"+ending+"-kubo", median(kuboPut), "MiB/s")
	figure(t, "get"+ending, median(get), "MiB/s")
	figure(t, "get"+ending+"-kubo", median(kuboGet), "MiB/s")
	figure(t, "put"+ending+"-to-kubo", putRatio, "times")
	figure(t, "get"+ending+"-to-kubo", getRatio, "times")
	return putRatio, getRatio
}

// random writes a file of so many MiB that nothing can make smaller; it goes with the test.
func random(t *testing.T, size int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	f, err := os.Create(path)
	must(t, err)
	source := rand.NewChaCha8([32]byte{1})
	piece := make([]byte, 1<<20)
	for range size {
		_, _ = source.Read(piece) // never fails
		_, err := f.Write(piece)
		must(t, err)
	}
	must(t, f.Close())
	settle(t)
	return path
}

// settle empties the machine's write cache, so that one side does not pay for what the other left.
func settle(t *testing.T) {
	t.Helper()
	command(t, "sync")
}

// oursMoves puts a file of size MiB into one node and gets it from another, in MiB/s.
func oursMoves(t *testing.T, bin, file string, size int) (put, get float64) {
	t.Helper()
	t.Run("ours", func(t *testing.T) {
		grace := up(t, bin, "--no-provider")
		heidi := up(t, bin, "--no-provider", "--join", grace.address())
		heidi.await(func(st client.Status) bool { return st.Peers > 0 })
		settle(t)
		began := time.Now()
		c := grace.hpips("put", "-q", file)
		put = float64(size) / time.Since(began).Seconds()
		settle(t)
		to := filepath.Join(t.TempDir(), "copy")
		began = time.Now()
		heidi.hpips("get", "-q", c, "-O", to)
		get = float64(size) / time.Since(began).Seconds()
		same(t, file, to)
	})
	return put, get
}

// same compares two files.
func same(t *testing.T, a, b string) {
	t.Helper()
	command(t, "cmp", a, b)
}
