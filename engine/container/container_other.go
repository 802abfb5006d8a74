//go:build !linux

package container

import (
	"context"
	"io"
	"log/slog"
	"runtime"

	"github.com/hpips/hpips/engine"
)

// Engine does not exist here.
type Engine struct{ engine.Engine }

// New errs with *Missing.
func New(_ context.Context, _ *slog.Logger, cfg Config) (*Engine, error) {
	return nil, Installed(cfg)
}

// Installed says what is missing.
func Installed(Config) *Missing {
	return &Missing{What: "images need Linux, and this is " + runtime.GOOS, Remedy: "run them on a PC with Linux"}
}

// Save errs with *Missing.
func Save(context.Context, string, io.Writer) error { return Installed(Config{}) }

// Probe has nothing to try.
func (e *Engine) Probe(context.Context) ([]Check, error) { return nil, nil }

// Close has nothing to end.
func (e *Engine) Close() error { return nil }
