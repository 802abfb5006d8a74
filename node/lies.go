//go:build lies

package node

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"

	"github.com/hpips/hpips/engine"
)

// lying is an engine that does not tell what came of a program, if the home has a file `lies`. This is built for tests only.
//
//   - "garbage": random bytes.
//   - "constant": the same for every task.
//   - "dear": the truth about tasks of less than ten million instructions, and garbage about others.
func lying(home string, e engine.Engine) engine.Engine {
	text, err := os.ReadFile(filepath.Join(home, "lies"))
	if err != nil {
		return e
	}
	return liar{e, strings.TrimSpace(string(text))}
}

type liar struct {
	engine.Engine
	kind string
}

func (l liar) Open(ctx context.Context, p engine.Program) (engine.Sandbox, error) {
	s, err := l.Engine.Open(ctx, p)
	return box{s, l.kind}, err
}

type box struct {
	engine.Sandbox
	kind string
}

func (b box) Run(ctx context.Context, tasks []engine.Task, sink engine.Sink) error {
	return b.Sandbox.Run(ctx, tasks, mouth{sink, b.kind})
}

type mouth struct {
	engine.Sink
	kind string
}

const dear = 10_000_000 // instructions

func (m mouth) Done(outcomes []engine.Outcome) {
	for i := range outcomes {
		o := &outcomes[i]
		if o.End != engine.Exited || o.Stdout.Path != "" || m.kind == "dear" && o.Usage.Work < dear {
			continue
		}
		o.Stdout.Inline = []byte("42\n")
		if m.kind != "constant" {
			o.Stdout.Inline = []byte(rand.Text())
		}
		o.Stdout.Size = int64(len(o.Stdout.Inline))
	}
	m.Sink.Done(outcomes)
}
