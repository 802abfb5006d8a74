package auditor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/meter"
	"github.com/hpips/hpips/spec/trust"
	"github.com/hpips/hpips/store"
)

// shelf is a content store in memory, of files alone.
type shelf struct {
	mu    sync.Mutex
	files map[cid.Cid][]byte
	full  bool
}

func (s *shelf) put(b []byte) string {
	h, err := multihash.Sum(b, multihash.SHA2_256, -1)
	if err != nil {
		panic(err) // SHA-256 is always there
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := cid.NewCidV1(cid.Raw, h)
	s.files[c] = bytes.Clone(b)
	return c.String()
}

func (s *shelf) Resolve(_ context.Context, ref string) (cid.Cid, error) { return cid.Decode(ref) }

func (s *shelf) Fetch(ctx context.Context, c cid.Cid, progress func(store.Progress), _ ...peer.ID) (int64, error) {
	s.mu.Lock()
	b, ok := s.files[c]
	s.mu.Unlock()
	if !ok {
		<-ctx.Done() // nobody has it, but somebody might come who does
		return 0, ctx.Err()
	}
	progress(store.Progress{Bytes: int64(len(b))})
	return int64(len(b)), nil
}

func (s *shelf) Export(_ context.Context, c cid.Cid, host string, limit int64, progress func(store.Progress)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if int64(len(s.files[c])) > limit {
		return store.ErrTooLarge
	}
	progress(store.Progress{Bytes: int64(len(s.files[c]))})
	return os.WriteFile(host, s.files[c], 0o600)
}

func (s *shelf) AddPath(_ context.Context, path string, _ func(store.Progress)) (store.Entry, error) {
	if s.full {
		return store.Entry{}, store.ErrFull
	}
	b, err := os.ReadFile(path)
	return store.Entry{CID: cid.MustParse(s.put(b)), Size: uint64(len(b))}, err
}

// machine is an engine whose sandboxes play what a test wrote.
type machine struct {
	t    *testing.T
	open error
	fail error // of Run
	play func(task engine.Task, p engine.Program) engine.Outcome

	wait func(ctx context.Context) // before it plays; nil: not at all

	mu     sync.Mutex
	opened []engine.Program
	closed int
	still  int // sandboxes that were stopped
}

func (m *machine) Name() string { return "wasm" }

func (m *machine) Open(_ context.Context, p engine.Program) (engine.Sandbox, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open != nil {
		return nil, m.open
	}
	b, err := os.ReadFile(p.Module)
	if err != nil {
		return nil, err
	}
	if want := fmt.Sprintf("%x", sha256.Sum256(b)); p.Key != want {
		return nil, fmt.Errorf("key %s of a module with %s", p.Key, want)
	}
	m.opened = append(m.opened, p)
	return &box{m: m, p: p}, nil
}

type box struct {
	m *machine
	p engine.Program
}

func (b *box) Run(ctx context.Context, tasks []engine.Task, sink engine.Sink) error {
	if b.m.fail != nil {
		return b.m.fail
	}
	for _, task := range tasks {
		o := engine.Outcome{End: engine.Cancelled, Exit: -1}
		if b.m.wait != nil {
			b.m.wait(ctx)
		}
		if ctx.Err() == nil {
			o = b.m.play(task, b.p)
		}
		o.ID = task.ID
		sink.Done([]engine.Outcome{o})
	}
	return nil
}

func (b *box) Feed(uint64, int64, bool) {}
func (b *box) Cancel(uint64)            {}
func (b *box) Release(uint64)           {}
func (b *box) Pause() error             { return b.stop(1) }
func (b *box) Resume() error            { return b.stop(-1) }

func (b *box) stop(n int) error {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	b.m.still += n
	return nil
}

func (b *box) Close() error {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	b.m.closed++
	return nil
}

// honest plays a program of a thousand instructions that prints its index.
func honest(task engine.Task, _ engine.Program) engine.Outcome {
	o := engine.Outcome{End: engine.Exited, Stdout: engine.Blob{Inline: []byte(task.Env[0])}, Usage: engine.Usage{Work: 1000}}
	for _, p := range task.Points {
		o.States = append(o.States, sha256.Sum256(fmt.Append(nil, p)))
	}
	return o
}

// carol is somebody with an examiner.
type carol struct {
	*Examiner
	t       *testing.T
	shelf   *shelf
	machine *machine
}

func sits(t *testing.T, change ...func(*Config)) *carol {
	t.Helper()
	c := &carol{t: t, shelf: &shelf{files: map[cid.Cid][]byte{}}, machine: &machine{t: t, play: honest}}
	cfg := Default(filepath.Join(t.TempDir(), "auditor"))
	for _, fn := range change {
		fn(&cfg)
	}
	var err error
	if c.Examiner, err = New(slog.New(slog.DiscardHandler), c.shelf, c.machine, cfg); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *carol) statement() lease.Statement {
	return lease.Statement{Work: lease.Work{Module: c.shelf.put([]byte("a program")), Count: 4, Resources: job.Resources{Memory: 1 << 20, Disk: 1 << 20}},
		Task: job.Task{Index: 3}}
}

// leaves nothing: sandboxes are closed and folders are gone.
func (c *carol) leavesNothing() {
	c.t.Helper()
	left, err := os.ReadDir(c.cfg.Dir)
	if err != nil || len(left) > 0 || c.machine.closed != len(c.machine.opened) {
		c.t.Errorf("%v are left, %d of %d sandboxes closed, %v", left, c.machine.closed, len(c.machine.opened), err)
	}
}

// Carol runs a task once, has its states taken down wherever they may count, and sees from the work which do.
func TestPointsFollowFromTheWork(t *testing.T) {
	c := sits(t)
	var asked [][]uint64
	c.machine.play = func(task engine.Task, p engine.Program) engine.Outcome {
		asked = append(asked, task.Points)
		if p.Watched != (len(task.Points) > 0) {
			t.Errorf("watched %t, points %d", p.Watched, task.Points)
		}
		return honest(task, p)
	}
	f, err := c.Examine(t.Context(), c.statement(), []Rule{{0, 17, 999, 1000, 1 << 40}, At(5000), At(17), {1000}, {0, 17}})
	if err != nil {
		t.Fatal(err)
	}
	want := job.Result{Index: 3, End: job.Exited, Stdout: job.Content{Inline: []byte("HPIPS_INDEX=3"), Size: 13}}
	if f.Result.Digest() != want.Digest() || f.Answer != (trust.Leaf{Result: want.Digest(), Work: 1000}).Answer() {
		t.Errorf("found %+v", f.Result)
	}
	if len(asked) != 1 || !slices.Equal(asked[0], []uint64{0, 17, 999, 1000, 5000, 1 << 40}) {
		t.Errorf("asked for %v", asked)
	}
	for i, point := range []uint64{999, 5000, 17, 1000, 17} {
		if f.States[i] != sha256.Sum256(fmt.Append(nil, point)) {
			t.Errorf("rule %d does not pick %d", i, point)
		}
	}
	beta, s := bytes.Repeat([]byte{5}, 64), c.statement()
	if f, err = c.Examine(t.Context(), s, []Rule{By(beta, s)}); err != nil || f.States[0] != sha256.Sum256(fmt.Append(nil, trust.Point(beta, s.Digest(), 1000))) {
		t.Errorf("a juror's rule is not that of spec/trust: %v", err)
	}
	if f, err = c.Examine(t.Context(), s, nil); err != nil || f.States != nil {
		t.Errorf("without a rule: states %x, %v", f.States, err)
	}
	c.leavesNothing()
}

// What the statement leaves open is carol's: her clock, her folders. What it says is passed on.
func TestAProgramGetsWhatTheStatementSays(t *testing.T) {
	c := sits(t, func(cfg *Config) { cfg.Time = 7 * time.Second })
	s := c.statement()
	s.Work.Args, s.Work.Stdin, s.Work.Outputs, s.Work.Seed = []string{"-v"}, c.shelf.put([]byte("typed")), []string{"/out"}, [32]byte{9}
	s.Work.Inputs = []job.Input{{From: c.shelf.put([]byte("shared")), To: "/in/all"}}
	s.Task.Path, s.Task.Input = "/in/part", &job.Content{CID: c.shelf.put([]byte("own")), Size: 3}
	read := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	runs := 0
	c.machine.play = func(task engine.Task, p engine.Program) engine.Outcome {
		runs++
		if p.Limits.Time != 7*time.Second || p.Limits.Memory != 1<<20 || p.Args[0] != "-v" || p.Seed[0] != 9 || read(p.Mounts[0].Host) != "shared" || p.Mounts[0].Guest != "/in/all" {
			t.Errorf("program %+v", p)
		}
		if read(task.Stdin) != "typed" || read(task.Mounts[0].Host) != "own" || task.Mounts[0].Guest != "/in/part" || strings.Join(task.Env, " ") != "HPIPS_INDEX=3 HPIPS_INPUT=/in/part" ||
			task.Outputs[0] != "/out" || task.Stream {
			t.Errorf("task %+v", task)
		}
		return honest(task, p)
	}
	if _, err := c.Examine(t.Context(), s, []Rule{At(1)}); err != nil || runs != 1 {
		t.Errorf("%d runs, %v", runs, err)
	}
	s.Task.Input = &job.Content{Inline: []byte("own"), Size: 3}
	if _, err := c.Examine(t.Context(), s, []Rule{At(1)}); err != nil || runs != 2 {
		t.Errorf("with an input that came along: %d runs, %v", runs, err)
	}
	c.leavesNothing()
}

// An input past the task's disk is an answer without a run: the provider could not begin it either.
func TestTooLargeAnInputIsAnAnswer(t *testing.T) {
	c := sits(t)
	s := c.statement()
	s.Task.Path, s.Task.Input = "/in/part", &job.Content{CID: c.shelf.put(make([]byte, 2<<20)), Size: 2 << 20}
	f, err := c.Examine(t.Context(), s, []Rule{By(make([]byte, 64), s), At(9)})
	if err != nil || f.Result.End != job.DiskFull || f.Answer != trust.Answer((job.Result{End: job.DiskFull}).Digest(), 0) || f.States[0] != (meter.State{}).Sum() || f.States[1] != f.States[0] {
		t.Errorf("%+v, %v", f, err)
	}
	if len(c.machine.opened) > 0 {
		t.Error("it was begun")
	}
	c.leavesNothing()
}

// What is carol's machine's fault, or nobody could be paid for, is no answer.
func TestWhatIsNoAnswer(t *testing.T) {
	always := func(o engine.Outcome) func(c *carol, s *lease.Statement) {
		return func(c *carol, _ *lease.Statement) {
			c.machine.play = func(engine.Task, engine.Program) engine.Outcome { return o }
		}
	}
	for name, row := range map[string]struct {
		says string
		do   func(c *carol, s *lease.Statement)
	}{
		"a live input":            {"came live", func(_ *carol, s *lease.Statement) { s.Work.Live = true }},
		"a path that is none":     {"not a clean absolute path", func(_ *carol, s *lease.Statement) { s.Work.Outputs = []string{"../x"} }},
		"a variable that is none": {"not a name for an environment variable", func(_ *carol, s *lease.Statement) { s.Task.Env = map[string]string{"A=B": ""} }},
		"a negative limit":        {"a limit is negative", func(_ *carol, s *lease.Statement) { s.Work.Resources.Disk = -1 }},
		"too much memory":         {"memory: it wants 8 GiB, this node gives 4 GiB", func(_ *carol, s *lease.Statement) { s.Work.Resources.Memory = 8 << 30 }},
		"too much disk":           {"disk: it wants 64 GiB", func(_ *carol, s *lease.Statement) { s.Work.Resources.Disk = 64 << 30 }},
		"an address that is none": {"program here", func(_ *carol, s *lease.Statement) { s.Work.Module = "here" }},
		"too large a program":     {"too large", func(c *carol, s *lease.Statement) { s.Work.Module = c.shelf.put(make([]byte, 70<<20)) }},
		"a program that is none": {"does not export _start", func(c *carol, _ *lease.Statement) {
			c.machine.open = &engine.ProgramError{Message: "it does not export _start"}
		}},
		"no sandbox":               {"no child process", func(c *carol, _ *lease.Statement) { c.machine.fail = errors.New("no child process can be started") }},
		"carol's clock":            {"time limit", always(engine.Outcome{End: engine.TimedOut, Exit: -1, Message: "time passed"})},
		"a sandbox that broke":     {"broken: it died", always(engine.Outcome{End: engine.Broken, Exit: -1, Message: "it died"})},
		"an engine without states": {"0 states at 1 points", always(engine.Outcome{End: engine.Exited, Usage: engine.Usage{Work: 1000}})},
		"more than is paid for": {"which is what is paid for", func(c *carol, _ *lease.Statement) {
			c.cfg.Work = 999
			c.machine.play = func(_ engine.Task, p engine.Program) engine.Outcome {
				return engine.Outcome{End: engine.WorkFull, Exit: -1, States: make([][32]byte, 1), Usage: engine.Usage{Work: p.Limits.Work + 1}}
			}
		}},
		"a full store": {"no space left", func(c *carol, _ *lease.Statement) {
			c.shelf.full = true
			c.machine.play = func(task engine.Task, p engine.Program) engine.Outcome {
				o := honest(task, p)
				o.Stdout = engine.Blob{Path: p.Module, Size: 9}
				return o
			}
		}},
		"inputs past carol's disk": {"more than the disk", func(c *carol, s *lease.Statement) {
			c.cfg.Disk = 64 << 20
			s.Work.Resources.Disk = 40 << 20
			for i := range 3 {
				s.Work.Inputs = append(s.Work.Inputs, job.Input{From: c.shelf.put(bytes.Repeat([]byte{byte(i)}, 30<<20)), To: fmt.Sprint("/in/", i)})
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := sits(t)
			s := c.statement()
			row.do(c, &s)
			f, err := c.Examine(t.Context(), s, []Rule{At(500)})
			if !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), row.says) {
				t.Errorf("%+v, %v", f, err)
			}
			c.leavesNothing()
		})
	}
}

// Too many points for one execution are refused before anything is brought.
func TestTooManyPoints(t *testing.T) {
	c := sits(t)
	var rules []Rule
	for i := range uint64(engine.MaxPoints + 1) {
		rules = append(rules, At(i))
	}
	if _, err := c.Examine(t.Context(), c.statement(), rules); !errors.Is(err, ErrNoAnswer) || len(c.machine.opened) > 0 {
		t.Errorf("%v, %d opened", err, len(c.machine.opened))
	}
	if f, err := c.Examine(t.Context(), c.statement(), rules[1:]); err != nil || len(f.States) != engine.MaxPoints {
		t.Errorf("%d states, %v", len(f.States), err)
	}
	c.leavesNothing()
}

// Content that nobody sends is given up after a while; who is told to stop stops at once, and says so.
func TestGivingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := sits(t)
		s := c.statement()
		s.Work.Stdin = "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
		began := time.Now()
		if _, err := c.Examine(t.Context(), s, []Rule{At(0)}); !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), "nobody sent any of it in time") || time.Since(began) != c.cfg.Stall {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		short, end := context.WithTimeout(t.Context(), time.Second)
		defer end()
		if _, err := c.Examine(short, s, []Rule{At(0)}); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrNoAnswer) {
			t.Errorf("told to stop: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		c.machine.play = func(engine.Task, engine.Program) engine.Outcome {
			cancel()
			return engine.Outcome{End: engine.Cancelled, Exit: -1}
		}
		if _, err := c.Examine(ctx, c.statement(), []Rule{At(0)}); !errors.Is(err, context.Canceled) || errors.Is(err, ErrNoAnswer) {
			t.Errorf("stopped in the middle: %v", err)
		}
		c.leavesNothing()
	})
}

func TestConfigsThatCannotWork(t *testing.T) {
	for name, change := range map[string]func(*Config){"no folder": func(c *Config) { c.Dir = "" }, "no time": func(c *Config) { c.Time = 0 }, "no memory": func(c *Config) { c.Memory = 0 }} {
		cfg := Default(t.TempDir())
		change(&cfg)
		if _, err := New(slog.New(slog.DiscardHandler), nil, nil, cfg); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
