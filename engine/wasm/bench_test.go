package wasm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/hpips/hpips/engine"
)

const tinyWat = "../../examples/tiny/tiny.wat"

// BenchmarkTiny runs tiny tasks through Run in one child: the figure of docs/performance.md.
func BenchmarkTiny(b *testing.B) {
	s := openSandbox(b, program(b, assemble(b, tinyWat)))
	const batch = 1000
	tasks := make([]engine.Task, batch)
	b.ResetTimer()
	n := uint64(0)
	for done := 0; done < b.N; done += batch {
		for i := range tasks {
			n++
			tasks[i] = engine.Task{ID: n, Env: []string{"HPIPS_INDEX=" + strconv.FormatUint(n, 10), "HPIPS_COUNT=1000000"}}
		}
		c := &counter{}
		if err := s.Run(context.Background(), tasks, c); err != nil {
			b.Fatal(err)
		}
		if c.good != batch {
			b.Fatalf("%d good outcomes of %d", c.good, batch)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "tasks/s")
}

// counter is a sink that checks what it gets.
type counter struct{ good int }

func (c *counter) Done(outcomes []engine.Outcome) {
	for _, o := range outcomes {
		if o.End == engine.Exited && o.Exit == 0 && string(o.Stdout.Inline) == strconv.FormatUint(o.ID, 10) {
			c.good++
		}
	}
}

func (c *counter) Output(uint64, int, int64, []byte) {}

// BenchmarkSingle runs one tiny task per Run: what a batch of one costs, there and back.
func BenchmarkSingle(b *testing.B) {
	s := openSandbox(b, program(b, assemble(b, tinyWat)))
	n := uint64(0)
	for b.Loop() {
		n++
		c := &counter{}
		if err := s.Run(context.Background(), []engine.Task{{ID: n, Env: []string{"HPIPS_INDEX=" + strconv.FormatUint(n, 10)}}}, c); err != nil || c.good != 1 {
			b.Fatal(err)
		}
	}
}

// BenchmarkGo runs a program built by Go, whose start is most of its work.
func BenchmarkGo(b *testing.B) {
	p := program(b, guest(b))
	p.Args = []string{"index"}
	s := openSandbox(b, p)
	b.ResetTimer()
	tasks := make([]engine.Task, b.N)
	for i := range tasks {
		tasks[i] = engine.Task{ID: uint64(i + 1), Env: []string{"HPIPS_INDEX=" + strconv.Itoa(i+1)}}
	}
	c := &counter{}
	if err := s.Run(context.Background(), tasks, c); err != nil || c.good != b.N {
		b.Fatal(c.good, err)
	}
}

// BenchmarkFiles runs a program that reads a mounted file and writes one.
func BenchmarkFiles(b *testing.B) {
	s := openSandbox(b, program(b, guest(b)))
	b.ResetTimer()
	tasks := make([]engine.Task, b.N)
	for i := range tasks {
		tasks[i] = engine.Task{ID: uint64(i + 1), Args: []string{"write", "/out/x", strconv.Itoa(i + 1)}, Outputs: []string{"/out"}}
	}
	c := &counter{}
	if err := s.Run(context.Background(), tasks, c); err != nil || c.good != b.N {
		b.Fatal(c.good, err)
	}
}

// BenchmarkStart opens a sandbox of a compiled program and closes it again.
func BenchmarkStart(b *testing.B) {
	for name, module := range map[string]string{"tiny": assemble(b, tinyWat), "go": guest(b)} {
		b.Run(name, func(b *testing.B) {
			e, p := newEngine(b), program(b, module)
			for b.Loop() {
				s, err := e.Open(context.Background(), p)
				if err != nil {
					b.Fatal(err)
				}
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// stirred is a program that writes into all of its memory, round after round.
const stirred = `(module (memory (export "memory") %d)
  (func (export "_start") (local $at i32) (local $x i64) (local $rounds i32)
    (local.set $rounds (i32.const %d))
    (loop $round
      (local.set $at (i32.const 0))
      (loop $word
        (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 6364136223846793005)) (i64.const 1442695040888963407)))
        (i64.store (local.get $at) (i64.xor (local.get $x) (i64.load (local.get $at))))
        (br_if $word (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const %d))))
      (br_if $round (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))))`

// BenchmarkExamination runs programs of a small and of a large memory plainly and as a juror does, with a state at a point in each power of 16, and reports how many times as
// much processor time that takes: the figure of docs/performance.md. Before, it was 1.5 on average.
func BenchmarkExamination(b *testing.B) {
	points := []uint64{0}
	for low := uint64(1); len(points) < 17; low *= 16 {
		points = append(points, 8*low)
	}
	for _, row := range []struct {
		name          string
		pages, rounds int
	}{{"1 MiB", 16, 2400}, {"100 MiB", 1600, 24}, {"100 MiB, ten times as long", 1600, 240}} {
		b.Run(row.name, func(b *testing.B) {
			wat := filepath.Join(b.TempDir(), fmt.Sprintf("stirred-%d-%d.wat", row.pages, row.rounds))
			if err := os.WriteFile(wat, fmt.Appendf(nil, stirred, row.pages, row.rounds, row.pages*pageSize), 0o600); err != nil {
				b.Fatal(err)
			}
			module := assemble(b, wat)
			plain, examined := openSandbox(b, program(b, module)), openSandbox(b, watched(b, module))
			var ratios, times []float64
			for n := range uint64(max(b.N, 5)) {
				a := runAll(b, plain, engine.Task{ID: n}).byID[n]
				c := runAll(b, examined, engine.Task{ID: n, Points: points}).byID[n]
				if a.End != engine.Exited || c.End != engine.Exited || a.Usage.Work != c.Usage.Work || len(c.States) != len(points) {
					b.Fatalf("%+v and %+v", a, c)
				}
				ratios, times = append(ratios, c.Usage.CPU.Seconds()/a.Usage.CPU.Seconds()), append(times, a.Usage.CPU.Seconds())
				if n == 0 {
					b.Logf("%d instructions, %.2f s; examined %.2f s", a.Usage.Work, a.Usage.CPU.Seconds(), c.Usage.CPU.Seconds())
				}
			}
			slices.Sort(ratios)
			slices.Sort(times)
			b.ReportMetric(ratios[len(ratios)/2], "x-plain")
			b.ReportMetric(times[len(times)/2], "s-plain")
			b.ReportMetric(0, "ns/op")
		})
	}
}
