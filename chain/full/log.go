package full

import (
	"context"
	"log/slog"

	sdklog "cosmossdk.io/log/v2"
	cmtlog "github.com/cometbft/cometbft/libs/log"
)

// Levels at which the engine and the SDK speak to us. What they call information is a line or more for each block: that is for who
// looks for a fault. Their debug lines are below even that.
const (
	levelInfo  = slog.LevelDebug
	levelDebug = slog.LevelDebug - 4
)

// sdkLog lets the SDK write to slog.
type sdkLog struct{ to *slog.Logger }

// engineLog lets the engine write to slog.
type engineLog struct{ sdkLog }

func (l sdkLog) write(ctx context.Context, level slog.Level, msg string, args []any) {
	if l.to.Enabled(ctx, level) {
		l.to.Log(ctx, level, msg, args...)
	}
}

func (l sdkLog) Debug(msg string, args ...any) {
	l.write(context.Background(), levelDebug, msg, args)
}
func (l sdkLog) Info(msg string, args ...any) { l.write(context.Background(), levelInfo, msg, args) }
func (l sdkLog) Warn(msg string, args ...any) { l.write(context.Background(), levelInfo, msg, args) }
func (l sdkLog) Error(msg string, args ...any) {
	l.write(context.Background(), slog.LevelWarn, msg, args)
}

func (l sdkLog) DebugContext(ctx context.Context, msg string, args ...any) {
	l.write(ctx, levelDebug, msg, args)
}

func (l sdkLog) InfoContext(ctx context.Context, msg string, args ...any) {
	l.write(ctx, levelInfo, msg, args)
}

func (l sdkLog) WarnContext(ctx context.Context, msg string, args ...any) {
	l.write(ctx, levelInfo, msg, args)
}

func (l sdkLog) ErrorContext(ctx context.Context, msg string, args ...any) {
	l.write(ctx, slog.LevelWarn, msg, args)
}

func (l sdkLog) With(args ...any) sdklog.Logger { return sdkLog{l.to.With(args...)} }
func (l sdkLog) Impl() any                      { return l.to }

// With keeps the engine's name for the room, and quietens those rooms whose errors are other people's: peers that go away.
func (l engineLog) With(args ...any) cmtlog.Logger {
	for i := 0; i+1 < len(args); i += 2 {
		if args[i] == "module" && (args[i+1] == "p2p" || args[i+1] == "pex" || args[i+1] == "rpc-server") {
			return peerLog{engineLog{sdkLog{l.to.With(args...)}}}
		}
	}
	return engineLog{sdkLog{l.to.With(args...)}}
}

// peerLog is engineLog where an error is no news.
type peerLog struct{ engineLog }

func (l peerLog) Error(msg string, args ...any) { l.Info(msg, args...) }

func (l peerLog) With(args ...any) cmtlog.Logger {
	return peerLog{engineLog{sdkLog{l.to.With(args...)}}}
}
