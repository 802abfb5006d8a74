package meter

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
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
		t.Fatalf("no clang for wasm32; etc/setup.sh installs it (Debian: clang lld): %v\n%s", err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// BenchmarkKernels runs each kernel unmetered, metered and in the watched form in turn, on wazero's compiler, and reports how many times as much processor time
// the others take: the median of the rounds, and the geometric mean of all kernels. The figures of docs/performance.md.
func BenchmarkKernels(b *testing.B) {
	module := kernelModule(b)
	metered, err1 := Rewrite(module)
	watched, err2 := RewriteWatched(module)
	if err := errors.Join(err1, err2); err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler().WithCoreFeatures(api.CoreFeaturesV2))
	defer rt.Close(ctx)
	var forms [3]api.Module
	for i, m := range [][]byte{module, metered, watched} {
		var err error
		if forms[i], err = rt.InstantiateWithConfig(ctx, m, wazero.NewModuleConfig().WithName("")); err != nil {
			b.Fatal(err)
		}
	}
	runtime.LockOSThread()
	var product [3]float64
	for _, k := range kernels {
		var times, ratios [3][]float64
		for range max(b.N, 15) {
			var plain uint64
			for i, m := range forms {
				took, r := timed(b, m, k.name, k.size)
				if i == 0 {
					plain = r
				} else if r != plain {
					b.Fatalf("%s: %x and %x", k.name, plain, r)
				}
				times[i] = append(times[i], took)
				ratios[i] = append(ratios[i], took/times[0][len(times[0])-1])
			}
		}
		middle := func(all []float64) float64 { slices.Sort(all); return all[len(all)/2] }
		for i := range product {
			product[i] += math.Log(middle(ratios[i]))
		}
		left := forms[1].ExportedGlobal(Left).Get()
		b.Logf("%-10s %6.1f ms, metered %.2f x, watched %.2f x; %.2f ns for one that is counted", k.name, middle(times[0])*1e3, middle(ratios[1]), middle(ratios[2]), middle(times[0])*1e9/float64(Endless-left))
	}
	b.ReportMetric(math.Exp(product[1]/float64(len(kernels))), "x-unmetered")
	b.ReportMetric(math.Exp(product[2]/float64(len(kernels))), "watched-x-unmetered")
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(len(metered))/float64(len(module)), "x-size")
}

// BenchmarkState hashes the state of a program with 256 MiB of memory: all of it zeros, and all of it something.
func BenchmarkState(b *testing.B) {
	for name, fill := range map[string]byte{"zeros": 0, "full": 1} {
		b.Run(name, func(b *testing.B) {
			memory := bytes.Repeat([]byte{fill}, 256<<20)
			b.SetBytes(int64(len(memory)))
			for b.Loop() {
				State{Memory: memory}.Sum()
			}
		})
	}
}

// timed gives the processor time of one call in seconds.
func timed(b *testing.B, m api.Module, name string, size uint64) (float64, uint64) {
	b.Helper()
	prepare(m)
	start := clock(b)
	r, err := m.ExportedFunction(name).Call(context.Background(), size)
	if err != nil {
		b.Fatal(name, err)
	}
	return clock(b) - start, r[0]
}

// programs are built examples, each with one task of its job, smaller than in its README.
var programs = []struct {
	name string
	args []string
	env  [2]string // HPIPS_INDEX, HPIPS_COUNT
}{
	{"primes", []string{"4000000000"}, [2]string{"3", "64"}},
	{"render", []string{"320", "180", "6", "8", "5"}, [2]string{"20", "40"}},
	{"hello-c", []string{"alice"}, [2]string{"0", "1"}},
	{"hello-as", []string{"alice"}, [2]string{"0", "1"}},
}

// BenchmarkPrograms does with programs of Go, C and AssemblyScript what BenchmarkKernels does with kernels; Go's calls are recursion to whom
// does not know better, so that each of them is counted.
func BenchmarkPrograms(b *testing.B) {
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler().WithCoreFeatures(api.CoreFeaturesV2))
	defer rt.Close(ctx)
	wasi_snapshot_preview1.MustInstantiate(ctx, rt)
	runtime.LockOSThread()
	for _, p := range programs {
		module, err := os.ReadFile(filepath.Join("../../examples", p.name, p.name+".wasm"))
		if err != nil {
			b.Logf("%s is not built: make examples", p.name)
			continue
		}
		metered, err1 := Rewrite(module)
		watched, err2 := RewriteWatched(module)
		if err := errors.Join(err1, err2); err != nil {
			b.Fatal(err)
		}
		var codes [3]wazero.CompiledModule
		var compiled [3]float64
		for i, m := range [][]byte{module, metered, watched} {
			start := clock(b)
			if codes[i], err = rt.CompileModule(ctx, m); err != nil {
				b.Fatal(err)
			}
			compiled[i] = clock(b) - start
		}
		start := clock(b)
		if _, err := Rewrite(module); err != nil {
			b.Fatal(err)
		}
		rewriting := clock(b) - start
		var ratios, examined, times []float64
		for range max(b.N, 7) {
			var took [3]float64
			for i, code := range codes {
				took[i] = program(b, rt, code, append([]string{p.name}, p.args...), p.env)
			}
			ratios, examined, times = append(ratios, took[1]/took[0]), append(examined, took[2]/took[0]), append(times, took[0])
		}
		slices.Sort(ratios)
		slices.Sort(examined)
		slices.Sort(times)
		b.Logf("%-10s %7.1f ms, metered %.2f x, watched %.2f x; %d to %d and %d bytes, rewritten in %.0f ms, compiled in %.0f, %.0f and %.0f ms", p.name, times[len(times)/2]*1e3,
			ratios[len(ratios)/2], examined[len(examined)/2], len(module), len(metered), len(watched), rewriting*1e3, compiled[0]*1e3, compiled[1]*1e3, compiled[2]*1e3)
		b.ReportMetric(ratios[len(ratios)/2], p.name+"-x")
	}
	b.ReportMetric(0, "ns/op")
}

// program runs one to its end, and gives the processor time that it took.
func program(b *testing.B, rt wazero.Runtime, code wazero.CompiledModule, args []string, env [2]string) float64 {
	b.Helper()
	ctx := context.Background()
	m, err := rt.InstantiateModule(ctx, code, wazero.NewModuleConfig().WithName("").WithStartFunctions().WithArgs(args...).
		WithEnv("HPIPS_INDEX", env[0]).WithEnv("HPIPS_COUNT", env[1]))
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close(ctx)
	prepare(m)
	start := clock(b)
	_, err = m.ExportedFunction("_start").Call(ctx)
	var exit *sys.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 0) {
		b.Fatal(args, err)
	}
	return clock(b) - start
}

// prepare sets the counts of a module that is metered.
func prepare(m api.Module) {
	if g, ok := m.ExportedGlobal(Left).(api.MutableGlobal); ok {
		g.Set(Endless)
	}
	if g, ok := m.ExportedGlobal(Room).(api.MutableGlobal); ok {
		g.Set(Depth)
	}
}

// clock is the processor time of this thread in seconds.
func clock(b *testing.B) float64 {
	b.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		b.Fatal(err)
	}
	return float64(ts.Nano()) / 1e9
}
