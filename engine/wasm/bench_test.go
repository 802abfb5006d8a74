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
