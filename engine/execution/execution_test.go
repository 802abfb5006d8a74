package execution

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/store"
)

// Alice's words are the same to every engine: variables in the order of their names, those of HPIPS in their places, limits that she left out filled in.
func TestWordsBecomeTasks(t *testing.T) {
	w := lease.Work{Args: []string{"-v"}, Env: map[string]string{"B": "2", "A": "1"}, Count: 9, Outputs: []string{"/out"}, Seed: [32]byte{4}, Stream: true,
		Resources: job.Resources{Memory: 1 << 20}, Limits: job.Limits{Time: job.Duration(time.Minute), Work: 99}}
	p := Program(w)
	d := engine.DefaultLimits()
	want := engine.Program{Args: []string{"-v"}, Env: []string{"A=1", "B=2", "HPIPS_COUNT=9"}, Seed: [32]byte{4},
		Limits: engine.Limits{Time: time.Minute, Memory: 1 << 20, Output: d.Output, Disk: d.Disk, Work: 99}}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("program %+v, want %+v", p, want)
	}
	k := job.Task{Index: 7, Path: "/in/part", Env: map[string]string{"D": "4", "C": "3"}, Input: &job.Content{CID: "bafy"}}
	task := engine.Task{Env: []string{"HPIPS_INDEX=7", "HPIPS_INPUT=/in/part", "C=3", "D=4"}, Stdin: "/host/stdin", Outputs: []string{"/out"}, Stream: true,
		Mounts: []engine.Mount{{Guest: "/in/part", Host: "/host/own"}}}
	if got := Task(w, k, "/host/stdin", "/host/own"); !reflect.DeepEqual(got, task) {
		t.Errorf("task %+v, want %+v", got, task)
	}
	if got := Task(lease.Work{}, job.Task{}, "", ""); len(got.Mounts) != 0 || !reflect.DeepEqual(got.Env, []string{"HPIPS_INDEX=0"}) {
		t.Errorf("the plainest task %+v", got)
	}
}

func TestWordsThatNoSandboxCanShow(t *testing.T) {
	for name, w := range map[string]lease.Work{
		"a variable without a name": {Env: map[string]string{"": "x"}}, "a name with an equals sign": {Env: map[string]string{"A=": "x"}}, "a zero byte": {Env: map[string]string{"A": "\x00"}},
		"a zero byte in an argument": {Args: []string{"a\x00"}}, "an input at a relative path": {Inputs: []job.Input{{To: "in"}}}, "an input at the root": {Inputs: []job.Input{{To: "/"}}},
		"an output that climbs": {Outputs: []string{"/out/../x"}},
	} {
		if Check(w) == nil {
			t.Errorf("%s is taken", name)
		}
	}
	for name, k := range map[string]job.Task{
		"a variable": {Env: map[string]string{"=": ""}}, "a path": {Path: "in/"}, "an input without a path": {Input: &job.Content{CID: "bafy"}},
		"too large an input inline": {Path: "/in/x", Input: &job.Content{Inline: make([]byte, job.InlineLimit+1)}},
	} {
		if CheckTask(k) == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if err := errors.Join(Check(lease.Work{Env: map[string]string{"A": "="}, Outputs: []string{"/out"}}), CheckTask(job.Task{Path: "/in/x"})); err != nil {
		t.Error(err)
	}
}

// What travels of an outcome: small outputs inline, large ones by address, and an exit code only where the program ended by itself.
func TestOutcomesBecomeResults(t *testing.T) {
	long := filepath.Join(t.TempDir(), "stderr")
	if err := os.WriteFile(long, make([]byte, 2*job.InlineLimit), 0o600); err != nil {
		t.Fatal(err)
	}
	kept := []string{}
	keep := func(path string) (job.Content, error) {
		kept = append(kept, path)
		return job.Content{CID: "cid of " + path, Size: 5}, nil
	}
	o := engine.Outcome{End: engine.Exited, Exit: 3, Message: "m", Stdout: engine.Blob{Inline: []byte("out"), Size: 3}, Stderr: engine.Blob{Path: long},
		Usage: engine.Usage{CPU: 1, Wall: 2, Memory: 3, Work: 4}}
	r, err := Result(8, &o, keep)
	want := job.Result{Index: 8, End: job.Exited, Exit: 3, Message: "m", Stdout: job.Content{Inline: []byte("out"), Size: 3}, Stderr: make([]byte, job.InlineLimit),
		Usage: job.Usage{CPU: 1, Wall: 2, Memory: 3, Work: 4}}
	if err != nil || len(kept) > 0 || !reflect.DeepEqual(r, want) {
		t.Errorf("%+v, kept %v, %v", r, kept, err)
	}
	o.Stdout, o.Outputs = engine.Blob{Path: "a", Size: 5}, map[string]string{"/out": "b"}
	if r, err = Result(8, &o, keep); err != nil || r.Stdout.CID != "cid of a" || r.Outputs["/out"].CID != "cid of b" {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err = Result(8, &o, func(string) (job.Content, error) { return job.Content{}, store.ErrFull }); !errors.Is(err, store.ErrFull) || r.Usage.Work != 4 || r.End != "" {
		t.Errorf("%+v, %v", r, err)
	}
	for is, want := range map[engine.End]job.End{engine.Trapped: job.Trapped, engine.TimedOut: job.TimedOut, engine.OutputFull: job.OutputFull, engine.MemoryFull: job.MemoryFull,
		engine.DiskFull: job.DiskFull, engine.Cancelled: job.Stopped, engine.Broken: job.Broken} {
		if r, err := Result(1, &engine.Outcome{End: is, Exit: -1}, keep); err != nil || r.End != want || r.Exit != 0 {
			t.Errorf("%s: %+v, %v", is, r, err)
		}
	}
}

// river is a store whose content comes in pieces, a second apart.
type river struct {
	pieces []int64
	stops  bool // before the end
}

func (r river) Resolve(context.Context, string) (cid.Cid, error) { return cid.Undef, nil }

func (r river) Fetch(ctx context.Context, _ cid.Cid, progress func(store.Progress), _ ...peer.ID) (int64, error) {
	var n int64
	for _, piece := range r.pieces {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return n, ctx.Err()
		}
		n += piece
		progress(store.Progress{Bytes: n})
	}
	if r.stops {
		<-ctx.Done()
	}
	return n, ctx.Err()
}

func (r river) Export(ctx context.Context, _ cid.Cid, _ string, limit int64, progress func(store.Progress)) error {
	var n int64
	for _, piece := range r.pieces {
		n += piece
	}
	if n > limit {
		return store.ErrTooLarge
	}
	progress(store.Progress{Bytes: n})
	return ctx.Err()
}

// Content is brought as long as some of it comes; what is too large is given up when that shows, and whoever counts the bytes may end it.
func TestBringing(t *testing.T) {
	errEnough := errors.New("enough")
	for name, row := range map[string]struct {
		from  river
		limit int64
		moved func(int64) error
		want  error
		takes time.Duration
	}{
		"slow and steady":       {from: river{pieces: []int64{1, 2, 3, 4}}, limit: 10, takes: 4 * time.Second},
		"dried up":              {from: river{pieces: []int64{1, 2}, stops: true}, limit: 10, want: ErrStalled, takes: 5 * time.Second},
		"a little too large":    {from: river{pieces: []int64{1, 10}}, limit: 10, want: store.ErrTooLarge, takes: 2 * time.Second},
		"far too large":         {from: river{pieces: []int64{5 << 20, 1, 1, 1, 1}}, limit: 1 << 20, want: store.ErrTooLarge, takes: time.Second},
		"enough for who counts": {from: river{pieces: []int64{1, 2, 3}}, limit: 10, moved: func(n int64) error { return map[int64]error{3: errEnough}[n] }, want: errEnough, takes: 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, last := time.Now(), int64(-1)
				moved := func(n int64) error { last = n; return nil }
				if row.moved != nil {
					moved = row.moved
				}
				err := Bring(t.Context(), row.from, "ref", "host", row.limit, 3*time.Second, moved)
				if !errors.Is(err, row.want) || (err == nil) != (row.want == nil) || time.Since(began) != row.takes {
					t.Errorf("after %v: %v", time.Since(began), err)
				}
				if err == nil && last != 10 {
					t.Errorf("%d bytes moved", last)
				}
			})
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Bring(ctx, river{pieces: []int64{1}, stops: true}, "", "", 9, time.Minute, func(int64) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("told to stop: %v", err)
	}
}

func TestKeysAreThoseOfEngines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "module")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if key, err := Key(path); err != nil || !strings.HasPrefix(key, "e3b0c44298fc1c149afbf4c8996fb924") {
		t.Errorf("%s, %v", key, err)
	}
	if _, err := Key(path + "x"); err == nil {
		t.Error("a file that is not there has a key")
	}
}
