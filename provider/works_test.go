package provider

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/execution"
	"github.com/hpips/hpips/spec/job"
)

// works is an engine whose modules hold the name of a Go function. It notes every start of a task.
type works struct {
	t testing.TB

	mu     sync.Mutex
	starts []string // "lease index"
	open   map[*room]bool
	opens  int
	most   int               // sandboxes open at once
	using  map[string]string // device → lease of the task that has it
}

func newWorks(t testing.TB) *works {
	return &works{t: t, open: map[*room]bool{}, using: map[string]string{}}
}

func (w *works) Name() string { return "fake" }

func (w *works) Open(_ context.Context, p engine.Program) (engine.Sandbox, error) {
	module, err := os.ReadFile(p.Module)
	if err != nil {
		return nil, err
	}
	if key, err := execution.Key(p.Module); err != nil || key != p.Key {
		return nil, fmt.Errorf("key %s of a module with %s, %w", p.Key, key, err)
	}
	run := programs()[string(module)]
	if string(module) == "machine at fault" {
		return nil, errors.New("no child process can be started")
	}
	if run == nil {
		return nil, &engine.ProgramError{Module: "x.wasm", Message: "it does not export _start", Hint: "build it as a command"}
	}
	if entries, err := os.ReadDir(p.Dir); err != nil || len(entries) > 0 {
		w.t.Errorf("the sandbox's folder is not there or not empty: %v %v", entries, err)
	}
	r := &room{w: w, p: p, run: run, cancelled: map[uint64]bool{}, stdin: map[uint64]feed{}, change: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[r] = true
	w.opens++
	w.most = max(w.most, len(w.open))
	return r, nil
}

func (w *works) started() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.starts)
}

func (w *works) rooms() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.open)
}

type feed struct {
	size int64
	eof  bool
}

// room is one sandbox: it runs one task at a time, and tells outcomes as they come.
type room struct {
	w   *works
	p   engine.Program
	run func(*guest) (exit int)

	mu        sync.Mutex
	cancelled map[uint64]bool
	stdin     map[uint64]feed
	paused    bool
	closed    bool
	change    chan struct{}
}

func (r *room) do(fn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fn()
	close(r.change)
	r.change = make(chan struct{})
}

// await waits until ok, for as long as the task may go on; it stands still while the room is paused.
func (r *room) await(ctx context.Context, id uint64, until <-chan time.Time, ok func() bool) bool {
	for {
		r.mu.Lock()
		stop, done, change, paused := r.cancelled[id] || r.closed, ok(), r.change, r.paused
		r.mu.Unlock()
		switch {
		case stop || ctx.Err() != nil:
			return false
		case done && !paused:
			return true
		}
		select {
		case <-change:
		case <-ctx.Done():
		case <-until:
			if !paused {
				return true
			}
			until = nil
			ok = func() bool { return true }
		}
	}
}

func (r *room) Run(ctx context.Context, tasks []engine.Task, sink engine.Sink) error {
	for _, task := range tasks {
		if !r.await(ctx, task.ID, nil, func() bool { return true }) {
			sink.Done([]engine.Outcome{{ID: task.ID, End: engine.Cancelled, Exit: -1}})
			continue
		}
		sink.Done([]engine.Outcome{r.one(ctx, task, sink)})
	}
	return nil
}

func (r *room) one(ctx context.Context, task engine.Task, sink engine.Sink) engine.Outcome {
	g := &guest{r: r, ctx: ctx, task: task, sink: sink, env: map[string]string{}}
	for _, kv := range append(slices.Clone(r.p.Env), task.Env...) {
		name, value, _ := strings.Cut(kv, "=")
		g.env[name] = value
	}
	r.w.mu.Lock()
	r.w.starts = append(r.w.starts, r.p.Lease+" "+g.env["HPIPS_INDEX"])
	for _, d := range task.Devices {
		if other, taken := r.w.using[d.ID]; taken {
			r.w.t.Errorf("device %s is of a task of %s, and of one of %s", d.ID, other, r.p.Lease)
		}
		r.w.using[d.ID] = r.p.Lease
	}
	r.w.mu.Unlock()
	defer func() {
		r.w.mu.Lock()
		defer r.w.mu.Unlock()
		for _, d := range task.Devices {
			delete(r.w.using, d.ID)
		}
	}()
	files := []string{task.Stdin}
	for _, m := range task.Mounts {
		files = append(files, m.Host)
	}
	for _, f := range files {
		if f != "" && filepath.Dir(f) != r.p.Inputs {
			r.w.t.Errorf("%s is not below %s: each batch would cost a fresh child", f, r.p.Inputs)
		}
	}
	began := time.Now()
	o := engine.Outcome{ID: task.ID, Outputs: map[string]string{}}
	for i, guestDir := range task.Outputs {
		o.Outputs[guestDir] = filepath.Join(r.p.Dir, fmt.Sprint("out-", task.ID, "-", i))
		if err := os.MkdirAll(o.Outputs[guestDir], 0o700); err != nil {
			return engine.Outcome{ID: task.ID, End: engine.Broken, Message: err.Error()}
		}
	}
	g.outputs = o.Outputs
	o.Exit = r.run(g)
	o.End, o.Usage.Wall = engine.Exited, time.Since(began)
	o.Usage.CPU = o.Usage.Wall
	o.Usage.Work = o.Usage.Wall.Microseconds()
	if g.end != "" {
		o.End, o.Exit, o.Message = g.end, -1, g.message
	}
	o.Stdout = engine.Blob{Inline: g.out.Bytes(), Size: int64(g.out.Len())}
	o.Stderr = engine.Blob{Inline: []byte(g.err), Size: int64(len(g.err))}
	if g.out.Len() > job.InlineLimit {
		o.Stdout = engine.Blob{Path: filepath.Join(r.p.Dir, fmt.Sprint("stdout-", task.ID)), Size: int64(g.out.Len())}
		if err := os.WriteFile(o.Stdout.Path, g.out.Bytes(), 0o600); err != nil {
			return engine.Outcome{ID: task.ID, End: engine.Broken, Message: err.Error()}
		}
	}
	return o
}

func (r *room) Feed(id uint64, size int64, eof bool) { r.do(func() { r.stdin[id] = feed{size, eof} }) }
func (r *room) Cancel(id uint64)                     { r.do(func() { r.cancelled[id] = true }) }
func (r *room) Pause() error                         { r.do(func() { r.paused = true }); return nil }
func (r *room) Resume() error                        { r.do(func() { r.paused = false }); return nil }

func (r *room) Release(id uint64) {
	for _, pattern := range []string{fmt.Sprint("out-", id, "-*"), fmt.Sprint("stdout-", id)} {
		found, _ := filepath.Glob(filepath.Join(r.p.Dir, pattern))
		for _, path := range found {
			os.RemoveAll(path)
		}
	}
}

func (r *room) Close() error {
	r.do(func() { r.closed = true })
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	delete(r.w.open, r)
	return nil
}

// guest is what a program sees.
type guest struct {
	r       *room
	ctx     context.Context
	task    engine.Task
	sink    engine.Sink
	env     map[string]string
	outputs map[string]string
	out     bytes.Buffer
	err     string
	end     engine.End
	message string
}

func (g *guest) print(s string) {
	if g.task.Stream {
		g.sink.Output(g.task.ID, 1, int64(g.out.Len()), []byte(s))
	}
	g.out.WriteString(s)
}

// sleep waits; it reports false if the task was ended meanwhile.
func (g *guest) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	if !g.r.await(g.ctx, g.task.ID, timer.C, func() bool { return false }) {
		g.end = engine.Cancelled
		return false
	}
	return true
}

// host finds what is mounted at a guest path.
func (g *guest) host(path string) string {
	for _, m := range append(slices.Clone(g.r.p.Mounts), g.task.Mounts...) {
		if rest, ok := strings.CutPrefix(path, m.Guest); ok {
			return m.Host + rest
		}
	}
	return "/nothing/is/mounted/here"
}

func (g *guest) cat(host string) int {
	b, err := os.ReadFile(host)
	if err != nil {
		g.err = err.Error()
		return 1
	}
	g.print(string(b))
	return 0
}

// programs are what modules may name.
func programs() map[string]func(*guest) int {
	return map[string]func(*guest) int{
		"index": func(g *guest) int { g.print(g.env["HPIPS_INDEX"]); return 0 },
		"env": func(g *guest) int {
			g.print(fmt.Sprint(g.r.p.Args, " ", g.env["HPIPS_INDEX"], "/", g.env["HPIPS_COUNT"], " ", g.env["HPIPS_INPUT"], " ", g.env["COLOUR"], " ", g.env["SIZE"]))
			return 0
		},
		"cat":      func(g *guest) int { return g.cat(g.host(g.env["HPIPS_INPUT"])) },
		"shared":   func(g *guest) int { return g.cat(g.host("/data/words")) },
		"folder":   func(g *guest) int { return g.cat(g.host(g.env["HPIPS_INPUT"] + "/b.txt")) },
		"exit3":    func(g *guest) int { g.err = "no luck"; return 3 },
		"trap":     func(g *guest) int { g.end, g.message = engine.Trapped, "unreachable"; return 0 },
		"broken":   func(g *guest) int { g.end, g.message = engine.Broken, "the sandbox died"; return 0 },
		"large":    func(g *guest) int { g.print(strings.Repeat("x", 100<<10)); return 0 },
		"page":     func(g *guest) int { g.print(strings.Repeat("x", 60<<10)); return 0 },
		"stubborn": func(*guest) int { <-time.After(time.Second); return 0 }, // heeds nothing meanwhile
		"forever":  func(g *guest) int { g.sleep(1000 * time.Hour); return 0 },
		"10ms":     func(g *guest) int { g.sleep(10 * time.Millisecond); g.print(g.env["HPIPS_INDEX"]); return 0 },
		"forever when old": func(g *guest) int { // its first thousand tasks are quick
			if len(g.env["HPIPS_INDEX"]) < 4 {
				g.sleep(10 * time.Millisecond)
			} else {
				g.sleep(1000 * time.Hour)
			}
			return 0
		},
		"devices": func(g *guest) int { // which it has, after a second
			g.sleep(time.Second)
			for _, d := range g.task.Devices {
				g.print(d.ID + " ")
			}
			return 0
		},
		"second": func(g *guest) int { g.sleep(time.Second); g.print(g.env["HPIPS_INDEX"]); return 0 },
		"uneven": func(g *guest) int { // the first hundred are quick, the others are slow
			if len(g.env["HPIPS_INDEX"]) < 3 {
				g.sleep(time.Millisecond)
			} else {
				g.sleep(time.Second)
			}
			return 0
		},
		"odd waits": func(g *guest) int {
			if g.env["HPIPS_INDEX"] == "7" {
				g.sleep(1000 * time.Hour)
			} else {
				g.sleep(10 * time.Millisecond)
			}
			g.print(g.env["HPIPS_INDEX"])
			return 0
		},
		"files": func(g *guest) int {
			for guestDir, host := range g.outputs {
				if err := os.WriteFile(filepath.Join(host, "made"), []byte("in "+guestDir), 0o600); err != nil {
					g.err = err.Error()
					return 1
				}
			}
			return 0
		},
		"stdin": func(g *guest) int {
			if !g.task.StdinOpen {
				return g.cat(g.task.Stdin)
			}
			var last int64
			for {
				var f feed
				if !g.r.await(g.ctx, g.task.ID, nil, func() bool { f = g.r.stdin[g.task.ID]; return f.size > last || f.eof }) {
					g.end = engine.Cancelled
					return 0
				}
				file, err := os.Open(g.task.Stdin)
				if err != nil {
					g.err = err.Error()
					return 1
				}
				b, err := io.ReadAll(io.NewSectionReader(file, last, f.size-last))
				file.Close()
				if err != nil || int64(len(b)) != f.size-last {
					g.err = fmt.Sprint("short standard input: ", len(b), err)
					return 1
				}
				g.print(string(b))
				if last = f.size; f.eof {
					return 0
				}
			}
		},
		"stream": func(g *guest) int {
			for i := range 3 {
				g.print(fmt.Sprint("line ", i, "\n"))
				g.sleep(time.Second)
			}
			return 0
		},
	}
}

// still counts sandboxes that stand still.
func (w *works) still() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for r := range w.open {
		r.mu.Lock()
		if r.paused {
			n++
		}
		r.mu.Unlock()
	}
	return n
}
