package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// The log is two files at most of this many bytes each.
const (
	logName  = "hpips.log"
	logBytes = 16 << 20
)

func parseLevel(s string) (slog.Level, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(s)); err != nil || strings.ContainsAny(s, "+-") {
		return 0, fmt.Errorf("log level %q is not known", s)
	}
	return l, nil
}

// openLog returns a log that goes to the home's file, as JSON, and to stderr in the given format.
func openLog(dir, level, format string, stderr io.Writer) (*slog.Logger, *rotated, error) {
	l, err := parseLevel(level)
	if err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o700); err != nil {
		return nil, nil, fmt.Errorf("log: %w", err)
	}
	f, err := openRotated(filepath.Join(dir, "logs", logName), logBytes)
	if err != nil {
		return nil, nil, err
	}
	opts := &slog.HandlerOptions{Level: l}
	var screen slog.Handler = slog.NewTextHandler(stderr, opts)
	if format == "json" {
		screen = slog.NewJSONHandler(stderr, opts)
	}
	return slog.New(both{slog.NewJSONHandler(f, opts), screen}), f, nil
}

// both sends every record to two handlers.
type both [2]slog.Handler

func (b both) Enabled(ctx context.Context, l slog.Level) bool { return b[0].Enabled(ctx, l) }

func (b both) Handle(ctx context.Context, r slog.Record) error {
	return errors.Join(b[0].Handle(ctx, r.Clone()), b[1].Handle(ctx, r))
}

func (b both) WithAttrs(as []slog.Attr) slog.Handler {
	return both{b[0].WithAttrs(as), b[1].WithAttrs(as)}
}
func (b both) WithGroup(name string) slog.Handler {
	return both{b[0].WithGroup(name), b[1].WithGroup(name)}
}

// rotated is a file that becomes NAME.1 when it is full, in the place of the one before.
type rotated struct {
	name  string
	limit int64

	mu   sync.Mutex
	file *os.File
	size int64
}

func openRotated(name string, limit int64) (*rotated, error) {
	r := &rotated{name: name, limit: limit}
	return r, r.open()
}

func (r *rotated) open() error {
	f, err := os.OpenFile(r.name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	fi, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("log: %w", err), f.Close())
	}
	r.file, r.size = f, fi.Size()
	return nil
}

// Write appends one record.
func (r *rotated) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return 0, fs.ErrClosed
	}
	if r.size > 0 && r.size+int64(len(p)) > r.limit {
		if err := errors.Join(r.file.Close(), os.Rename(r.name, r.name+".1"), r.open()); err != nil {
			return 0, err
		}
	}
	n, err := r.file.Write(p)
	r.size += int64(n)
	return n, err
}

// Close ends the file.
func (r *rotated) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}

// LogEnd returns the last lines of a home's log, also when no node runs there; fs.ErrNotExist where none ever ran.
func LogEnd(home string, lines int) ([]byte, error) {
	name := filepath.Join(home, "logs", logName)
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if older, err := os.ReadFile(name + ".1"); err == nil && bytes.Count(text, []byte("\n")) < lines {
		text = append(older, text...)
	}
	at := len(text)
	for range lines + 1 {
		i := bytes.LastIndexByte(text[:at], '\n')
		if i < 0 {
			return text, nil
		}
		at = i
	}
	return text[at+1:], nil
}
