package machine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"sync"
	"time"
)

// Benchmark is what was measured of a PC.
type Benchmark struct {
	Class   string  `json:"class"`   // of hardware
	Speed   string  `json:"speed"`   // S0, S1, …: each is twice as fast as the one before
	One     Rates   `json:"one"`     // of one processor, while the others rest
	All     Rates   `json:"all"`     // of all together
	Memory  float64 `json:"memory"`  // bytes a second copied, by one processor
	Written float64 `json:"written"` // bytes a second to the disk, synced
	Read    float64 `json:"read"`    // bytes a second back; mostly from memory where the file fits
}

// Rates are of processors.
type Rates struct {
	Hash   float64 `json:"hash"`   // bytes a second through SHA-256
	Matrix float64 `json:"matrix"` // floating point operations a second in products of matrices
}

// base is what S0 begins at: all processors together, in operations a second.
const base = 1e8

// speed is the class of speed: how often the rate of matrices doubles from base.
func speed(all Rates) string {
	return fmt.Sprintf("S%d", max(0, int(math.Log2(max(all.Matrix, base)/base))))
}

// Measure takes about the given time; dir is a folder on the disk of interest. Each of six parts has a sixth of the time.
func Measure(ctx context.Context, dir string, d time.Duration) (b Benchmark, err error) {
	part, cpus := d/6, runtime.NumCPU()
	b.Class = Class()
	b.One.Hash = together(ctx, 1, part, hashing)
	b.One.Matrix = together(ctx, 1, part, multiplying)
	b.All.Hash = together(ctx, cpus, part, hashing)
	b.All.Matrix = together(ctx, cpus, part, multiplying)
	b.Memory = together(ctx, 1, part, copying)
	b.Written, b.Read, err = onDisk(ctx, dir, part)
	b.Speed = speed(b.All)
	return b, errors.Join(err, ctx.Err())
}

// together runs a piece of work on n processors at once for a time, and returns how much of it was done in a second.
func together(ctx context.Context, n int, d time.Duration, prepare func() (work func(), size float64)) float64 {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	rates := make([]float64, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			work, size := prepare()
			began, done := time.Now(), 0
			for ctx.Err() == nil {
				work()
				done++
			}
			rates[i] = float64(done) * size / time.Since(began).Seconds()
		})
	}
	all.Wait()
	sum := 0.0
	for _, r := range rates {
		sum += r
	}
	return sum
}

// hashing is SHA-256 over 1 MiB.
func hashing() (func(), float64) {
	text := make([]byte, 1<<20)
	return func() {
		sum := sha256.Sum256(text)
		text[0] = sum[0]
	}, float64(len(text))
}

// side is that of the matrices, which fit into a processor's own memory.
const side = 128

// multiplying is a product of two square matrices: a multiplication and an addition for each of side³.
func multiplying() (func(), float64) {
	var a, b, c [side][side]float64
	for i := range side {
		for j := range side {
			a[i][j], b[i][j] = float64(i+j)/side, float64(i-j)/side
		}
	}
	return func() {
		for i := range side {
			row := &c[i]
			*row = [side]float64{}
			for k := range side {
				f, other := a[i][k], &b[k]
				for j := range side {
					row[j] += f * other[j]
				}
			}
		}
		b[0][0] = c[0][0] / (1 + math.Abs(c[0][0])) // the next product needs this one
	}, 2 * side * side * side
}

// copying is 64 MiB from one place to another, more than a processor's own memory.
func copying() (func(), float64) {
	from, to := make([]byte, 64<<20), make([]byte, 64<<20)
	return func() { from[0] = to[copy(to, from)-1] + 1 }, float64(len(from))
}

// most is how much is written at most, in bytes.
const most = 1 << 30

// onDisk writes a file for half of the time, syncs it, reads it back, and removes it.
func onDisk(ctx context.Context, dir string, d time.Duration) (written, read float64, err error) {
	f, err := os.CreateTemp(dir, "benchmark-*")
	if err != nil {
		return 0, 0, fmt.Errorf("benchmark: disk: %w (name a home that can be written with --home)", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, 1<<20)
	began := time.Now()
	var n int64
	for n < most && time.Since(began) < d/2 && ctx.Err() == nil {
		block[0]++
		k, err := f.Write(block)
		n += int64(k)
		if err != nil {
			return 0, 0, fmt.Errorf("benchmark: disk: %w", err)
		}
	}
	if err := f.Sync(); err != nil {
		return 0, 0, fmt.Errorf("benchmark: disk: %w", err)
	}
	written = float64(n) / time.Since(began).Seconds()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, 0, fmt.Errorf("benchmark: disk: %w", err)
	}
	began = time.Now()
	for n = 0; ctx.Err() == nil; {
		k, err := f.Read(block)
		n += int64(k)
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, 0, fmt.Errorf("benchmark: disk: %w", err)
		}
	}
	return written, float64(n) / time.Since(began).Seconds(), nil
}
