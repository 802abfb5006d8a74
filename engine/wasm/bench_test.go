package wasm

import (
	"context"
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
