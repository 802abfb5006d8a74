package wasm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hpips/hpips/engine"
	"go.uber.org/goleak"
)

// TestMain lets the test binary be its own child, as the hpips binary is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "wasm-child":
			os.Exit(Child())
		case "wasm-liar":
			os.Exit(liar(os.Args[2]))
		case "wasm-breakout":
			os.Exit(breakout())
		case "wasm-node":
			os.Exit(loneNode(os.Args[2:]))
		}
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.RemoveAll(shared.dir)
	os.Exit(code)
}

// shared holds what all tests build once: assembled programs and compiled code.
var shared struct {
	once sync.Once
	dir  string
	mu   sync.Mutex
	err  error
}

// workshop is the folder for what tests build once.
func workshop(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() { shared.dir, shared.err = os.MkdirTemp("", "hpips-wasm-test-") })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.dir
}

// assemble builds a .wat file.
func assemble(t testing.TB, wat string) string {
	t.Helper()
	out := filepath.Join(workshop(t), strings.TrimSuffix(filepath.Base(wat), ".wat")+".wasm")
	return build(t, out, func() *exec.Cmd {
		if _, err := exec.LookPath("wat2wasm"); err != nil {
			t.Fatal("wat2wasm is not installed; run: apt-get install -y wabt")
		}
		return exec.Command("wat2wasm", wat, "-o", out)
	})
}

// guest builds the Go program in testdata/guest.
func guest(t testing.TB) string {
	t.Helper()
	out := filepath.Join(workshop(t), "guest.wasm")
	return build(t, out, func() *exec.Cmd {
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "./testdata/guest")
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
		return cmd
	})
}

func build(t testing.TB, out string, cmd func() *exec.Cmd) string {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if _, err := os.Stat(out); err == nil {
		return out
	}
	if b, err := cmd().CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", out, err, b)
	}
	return out
}

func newEngine(t testing.TB) *Engine {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(slog.New(slog.NewTextHandler(t.Output(), nil)), Config{Command: []string{self, "wasm-child"}, Cache: filepath.Join(workshop(t), "cache")})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// program describes a module with small limits and a folder of its own.
func program(t testing.TB, module string) engine.Program {
	t.Helper()
	b, err := os.ReadFile(module)
	if err != nil {
		t.Fatal(err)
	}
	return engine.Program{
		Lease: t.Name(), Module: module, Key: keyOf(b), Dir: t.TempDir(),
		Limits: engine.Limits{Memory: 256 << 20, Output: 1 << 20, Disk: 4 << 20},
	}
}

func keyOf(module []byte) string {
	sum := sha256.Sum256(module)
	return hex.EncodeToString(sum[:])
}

func openSandbox(t testing.TB, p engine.Program) engine.Sandbox {
	t.Helper()
	s, err := newEngine(t).Open(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// ledger is a sink that keeps all it hears.
type ledger struct {
	order   []uint64
	byID    map[uint64]engine.Outcome
	streams map[string][]byte
	onDone  func(engine.Outcome)
	twice   error
}

func newLedger() *ledger {
	return &ledger{byID: map[uint64]engine.Outcome{}, streams: map[string][]byte{}}
}

// Done implements engine.Sink.
func (l *ledger) Done(outcomes []engine.Outcome) {
	for _, o := range outcomes {
		if _, ok := l.byID[o.ID]; ok {
			l.twice = errors.Join(l.twice, fmt.Errorf("task %d has two outcomes", o.ID))
		}
		l.byID[o.ID] = o
		l.order = append(l.order, o.ID)
		if l.onDone != nil {
			l.onDone(o)
		}
	}
}

// Output implements engine.Sink.
func (l *ledger) Output(id uint64, fd int, offset int64, data []byte) {
	key := fmt.Sprintf("%d/%d", id, fd)
	if int64(len(l.streams[key])) != offset {
		l.twice = errors.Join(l.twice, fmt.Errorf("stream %s: offset %d after %d bytes", key, offset, len(l.streams[key])))
	}
	l.streams[key] = append(l.streams[key], data...)
}

// runAll runs tasks and wants exactly one outcome for each.
func runAll(t testing.TB, s engine.Sandbox, tasks ...engine.Task) *ledger {
	t.Helper()
	l := newLedger()
	runWith(t, s, l, tasks...)
	return l
}

func runWith(t testing.TB, s engine.Sandbox, l *ledger, tasks ...engine.Task) {
	t.Helper()
	if err := s.Run(context.Background(), tasks, l); err != nil {
		t.Fatal(err)
	}
	if l.twice != nil {
		t.Fatal(l.twice)
	}
	if len(l.byID) != len(tasks) {
		t.Fatalf("%d outcomes for %d tasks", len(l.byID), len(tasks))
	}
}

// one runs a single task.
func one(t testing.TB, p engine.Program, task engine.Task) engine.Outcome {
	t.Helper()
	if task.ID == 0 {
		task.ID = 1
	}
	return runAll(t, openSandbox(t, p), task).byID[task.ID]
}

// loneNode is what TestChildDiesWithNode kills: it runs an endless task and prints its child's number.
func loneNode(args []string) int {
	self, err := os.Executable()
	if err != nil {
		return 1
	}
	e, err := New(slog.New(slog.NewTextHandler(io.Discard, nil)), Config{Command: []string{self, "wasm-child"}, Cache: args[1]})
	if err != nil {
		return 1
	}
	b, err := os.ReadFile(args[0])
	if err != nil {
		return 1
	}
	s, err := e.Open(context.Background(), engine.Program{Lease: "l", Module: args[0], Key: keyOf(b), Dir: args[2]})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(s.(*sandbox).current().cmd.Process.Pid)
	s.Run(context.Background(), []engine.Task{indexed(1, "loop")}, newLedger())
	return 0
}
