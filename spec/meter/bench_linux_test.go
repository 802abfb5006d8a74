package meter

import (
	"context"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"golang.org/x/sys/unix"
)

// kernels are what testdata/kernels.c exports, with sizes that take some 10 ms.
var kernels = []struct {
	name string
	size uint64
}{
	{"sha256", 12000}, {"sieve", 6}, {"collatz", 50000}, {"nbody", 40000}, {"mandel", 150}, {"matmul", 4}, {"matf32", 4}, {"saxpy", 3000},
	{"series", 200000}, {"icall", 4000000}, {"fib", 29}, {"quicksort", 3}, {"interpret", 500000},
}

func kernelModule(t testing.TB) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "kernels.wasm")
	cmd := exec.Command("clang", "--target=wasm32", "-O2", "-nostdlib", "-fno-builtin", "-Wl,--no-entry", "-o", out, "testdata/kernels.c")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("no clang for wasm32 (Debian: clang lld): %v\n%s", err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// BenchmarkKernels runs each kernel metered and unmetered in turn, on wazero's compiler, and reports how many times as much processor time
// the metered one takes: the median of the rounds, and the geometric mean of all kernels. The figure of docs/performance.md.
func BenchmarkKernels(b *testing.B) {
	module := kernelModule(b)
	metered, err := Rewrite(module)
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler().WithCoreFeatures(api.CoreFeaturesV2))
	defer rt.Close(ctx)
	plainly, err := rt.InstantiateWithConfig(ctx, module, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		b.Fatal(err)
	}
	counted, err := rt.InstantiateWithConfig(ctx, metered, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		b.Fatal(err)
	}
	runtime.LockOSThread()
	product, n := 0.0, 0
	for _, k := range kernels {
		var ratios, times []float64
		for range max(b.N, 15) {
			t1, r1 := timed(b, plainly, k.name, k.size)
			t2, r2 := timed(b, counted, k.name, k.size)
			if r1 != r2 {
				b.Fatalf("%s: %x and %x", k.name, r1, r2)
			}
			ratios, times = append(ratios, t2/t1), append(times, t1)
		}
		slices.Sort(ratios)
		slices.Sort(times)
		r := ratios[len(ratios)/2]
		product += math.Log(r)
		n++
		left := counted.ExportedGlobal(Left).Get()
		b.Logf("%-10s %6.1f ms, metered %.2f x; %.2f ns for one that is counted", k.name, times[len(times)/2]*1e3, r, times[len(times)/2]*1e9/float64(Endless-left))
	}
	b.ReportMetric(math.Exp(product/float64(n)), "x-unmetered")
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(len(metered))/float64(len(module)), "x-size")
}

// timed gives the processor time of one call in seconds.
func timed(b *testing.B, m api.Module, name string, size uint64) (float64, uint64) {
	b.Helper()
	if g, ok := m.ExportedGlobal(Left).(api.MutableGlobal); ok {
		g.Set(Endless)
		m.ExportedGlobal(Room).(api.MutableGlobal).Set(Depth)
	}
	clock := func() float64 {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
			b.Fatal(err)
		}
		return float64(ts.Nano()) / 1e9
	}
	start := clock()
	r, err := m.ExportedFunction(name).Call(context.Background(), size)
	if err != nil {
		b.Fatal(name, err)
	}
	return clock() - start, r[0]
}
