package sandbox

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"

	"github.com/hpips/hpips/engine"
)

// Once runs one task with small limits in a folder of its own, for engines that look at what they are worth. p's folder and limits are set here.
func Once(ctx context.Context, log *slog.Logger, maker Maker, p engine.Program) (o engine.Outcome, err error) {
	if p.Dir, err = os.MkdirTemp("", "hpips-try-"); err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(p.Dir)) }()
	p.Limits = engine.Limits{Time: Patience, Memory: 64 << 20, Output: 64 << 10, Disk: 1 << 20}
	s := New(log, maker, p)
	defer func() { err = errors.Join(err, s.Close()) }()
	return o, s.Run(ctx, []engine.Task{{ID: 1}}, last{&o})
}

// last is a sink that keeps the last outcome.
type last struct{ o *engine.Outcome }

// Done keeps it.
func (l last) Done(outcomes []engine.Outcome) { *l.o = outcomes[len(outcomes)-1] }

// Output is for tasks that stream.
func (last) Output(uint64, int, int64, []byte) {}

// Reason is what people are told of a trial that failed: the first of some texts that is not empty.
func Reason(texts ...string) string {
	for _, t := range texts {
		if t = strings.TrimSpace(t); t != "" {
			return t
		}
	}
	return "it did not say why"
}
