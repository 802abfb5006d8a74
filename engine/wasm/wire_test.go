package wasm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/capture"
)

func mustCoder(t testing.TB) *coder {
	t.Helper()
	c, err := newCoder()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFrames(t *testing.T) {
	c := mustCoder(t)
	sent := order{
		Setup: &setup{Mode: modeRun, Module: "/m", Env: []string{"A=1"}, Mounts: []engine.Mount{{Guest: "/in", Host: "/h"}}, Seed: [32]byte{1}},
		Tasks: []taskOrder{{ID: 7, Args: []string{"x"}, Outputs: []string{"/out"}, Open: true, Points: []uint64{0, 9}}}, Feeds: []feedOrder{{ID: 7, Size: 3, EOF: true}}, Drop: []uint64{1},
	}
	b, err := c.frame(sent)
	if err != nil {
		t.Fatal(err)
	}
	var got order
	if err := c.read(bytes.NewReader(b), maxOrder, &got); err != nil || !reflect.DeepEqual(got, sent) {
		t.Errorf("read %+v, %v", got, err)
	}
	for name, bad := range map[string][]byte{
		"cut head":      b[:2],
		"cut body":      b[:len(b)-1],
		"too long":      binary.BigEndian.AppendUint32(nil, maxOrder+1),
		"unknown field": {0, 0, 0, 4, 0xa1, 0x18, 0x63, 0x01},
		"doubled key":   {0, 0, 0, 5, 0xa2, 0x04, 0x80, 0x04, 0x80},
		"more after":    {0, 0, 0, 2, 0xa0, 0xa0},
	} {
		var o order
		if err := c.read(bytes.NewReader(bad), maxOrder, &o); err == nil || err == io.EOF {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := c.read(bytes.NewReader(nil), maxOrder, &got); err != io.EOF {
		t.Errorf("a closed pipe: %v", err)
	}
}

func fuzzFrames(f *testing.F, limit int, seeds []any, make func() any, check func(any) error) {
	c := mustCoder(f)
	for _, s := range seeds {
		b, err := c.frame(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		v := make()
		if c.read(bytes.NewReader(b), limit, v) != nil || check(v) != nil {
			return
		}
		again, err := c.frame(v)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		w := make()
		if err := c.read(bytes.NewReader(again), limit, w); err != nil || !reflect.DeepEqual(v, w) {
			t.Fatalf("%+v was read back as %+v, %v", v, w, err)
		}
	})
}

// FuzzReport gives the node what a child that was taken over might send.
func FuzzReport(f *testing.F) {
	fuzzFrames(f, maxReport, []any{
		report{Ready: &ready{Checks: []Check{{Name: "a", OK: true, Detail: "b"}}, Module: moduleInfo{MinMemory: 1}}},
		report{Fault: &fault{Program: true, Message: "m", Hint: "h"}},
		report{Events: []event{
			{Outcome: &outcome{ID: 1, End: engine.Exited, Stdout: stream{Inline: []byte("x"), Size: 1}}},
			{Outcome: &outcome{ID: 2, End: engine.Trapped, States: make([]byte, 64)}},
			{Chunk: &chunk{ID: 1, FD: 2, Offset: 3, Data: []byte("y")}},
		}},
	}, func() any { return &report{} }, func(v any) error { return v.(*report).check() })
}

// FuzzOrder gives the child what a torn pipe might hold.
func FuzzOrder(f *testing.F) {
	fuzzFrames(f, maxOrder, []any{
		order{Setup: &setup{Mode: modeRun, Limits: engine.DefaultLimits()}},
		order{Tasks: []taskOrder{{ID: 1, Mounts: []engine.Mount{{Guest: "/a", Host: "/b"}}, Points: []uint64{7}}}, Feeds: []feedOrder{{ID: 1}}, Drop: []uint64{2}},
	}, func() any { return &order{} }, func(any) error { return nil })
}

// FuzzModule reads the memory section of anything.
func FuzzModule(f *testing.F) {
	for _, wat := range []string{tinyWat, "testdata/greedy.wat", "testdata/table.wat"} {
		b, err := os.ReadFile(assemble(f, wat))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := minMemory(b); err == nil && (n < 0 || n > 4<<30 || n%pageSize != 0) {
			t.Fatalf("minimum memory %d", n)
		}
	})
}

func TestMinMemory(t *testing.T) {
	for wat, want := range map[string]int64{tinyWat: pageSize, "testdata/greedy.wat": 512 << 20, "testdata/table.wat": pageSize} {
		b, err := os.ReadFile(assemble(t, wat))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := minMemory(b); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", wat, got, err, want)
		}
	}
}

// lies are what a child that carol took over answers to a task.
var lies = map[string]func(c *coder, id uint64) []byte{
	"another task": func(c *coder, id uint64) []byte { return told(c, outcome{ID: id + 1, End: engine.Exited}) },
	"twice": func(c *coder, id uint64) []byte {
		o := outcome{ID: id, End: engine.Exited}
		return append(told(c, o), told(c, o)...)
	},
	"unknown end": func(c *coder, id uint64) []byte { return told(c, outcome{ID: id, End: "won"}) },
	"a long message": func(c *coder, id uint64) []byte {
		return told(c, outcome{ID: id, End: engine.Trapped, Message: strings.Repeat("x", maxText+1)})
	},
	"too much output": func(c *coder, id uint64) []byte {
		return told(c, outcome{ID: id, End: engine.Exited, Stdout: stream{Inline: make([]byte, 2*capture.Inline), Size: 2 * capture.Inline}})
	},
	"a file that is not there": func(c *coder, id uint64) []byte {
		return told(c, outcome{ID: id, End: engine.Exited, Stdout: stream{Spilled: true, Size: 9}})
	},
	"a state that nobody asked for": func(c *coder, id uint64) []byte {
		return told(c, outcome{ID: id, End: engine.Exited, States: make([]byte, 32)})
	},
	"an end that is no more": func(c *coder, id uint64) []byte { return told(c, outcome{ID: id, End: "at-point"}) },
	"no states":              func(c *coder, id uint64) []byte { return told(c, outcome{ID: id, End: engine.Exited}) },
	"too few states": func(c *coder, id uint64) []byte {
		return told(c, outcome{ID: id, End: engine.Exited, States: make([]byte, 64)})
	},
	"half a state": func(c *coder, id uint64) []byte {
		return told(c, outcome{ID: id, End: engine.Exited, States: make([]byte, 80)})
	},
	"endless states": func(c *coder, id uint64) []byte {
		return told(c, outcome{ID: id, End: engine.Exited, States: make([]byte, 32*(engine.MaxPoints+1))})
	},
	"two states at one end": func(c *coder, id uint64) []byte {
		return told(c, outcome{ID: id, End: engine.Exited, Work: 5, States: bytes.Join([][]byte{make([]byte, 64), bytes.Repeat([]byte{1}, 32)}, nil)})
	},
	"states of the killed": func(c *coder, id uint64) []byte {
		return told(c, outcome{ID: id, End: engine.Cancelled, States: make([]byte, 96)})
	},
	"noise":               func(*coder, uint64) []byte { return bytes.Repeat([]byte{0, 0, 0, 9, 'n'}, 100) },
	"an endless frame":    func(*coder, uint64) []byte { return []byte{0xff, 0xff, 0xff, 0xff, 1, 2, 3} },
	"nothing, and leaves": func(*coder, uint64) []byte { return nil },
}

func told(c *coder, o outcome) []byte {
	b, err := c.frame(report{Events: []event{{Outcome: &o}}})
	if err != nil {
		panic(err) // the words of this test cannot be written
	}
	return b
}

// liar is such a child.
func liar(what string) int {
	c, err := newCoder()
	if err != nil {
		return 1
	}
	for {
		var o order
		if err := c.read(os.Stdin, maxOrder, &o); err != nil {
			return 1
		}
		var answer []byte
		if o.Setup != nil {
			if answer, err = c.frame(report{Ready: &ready{}}); err != nil {
				return 1
			}
		}
		if len(o.Tasks) > 0 {
			answer = lies[what](c, o.Tasks[0].ID)
		}
		if _, err := os.Stdout.Write(answer); err != nil || len(answer) == 0 {
			return 1
		}
	}
}

// TestLiars has carol's program take over the child and lie. The node believes nothing, gives every task an outcome, and lives.
func TestLiars(t *testing.T) {
	for what := range lies {
		t.Run(what, func(t *testing.T) {
			e := newEngine(t)
			p := program(t, assemble(t, tinyWat))
			p.Watched = true
			honest, err := e.Open(t.Context(), p) // so that the compiled code is there
			if err != nil {
				t.Fatal(err)
			}
			honest.Close()
			e.cfg.Command = []string{e.cfg.Command[0], "wasm-liar", what}
			s, err := e.Open(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			first := indexed(1, "a")
			asks := strings.Contains(what, "states")
			if asks {
				first.Points = []uint64{0, 5, 6}
			}
			l := runAll(t, s, first, indexed(2, "b"), indexed(3, "c"))
			for id, o := range l.byID {
				if o.End != engine.Broken && what != "twice" && (!asks || id == 1) {
					t.Errorf("task %d: %s %q", id, o.End, o.Message)
				}
			}
			t.Logf("%s: %s", l.byID[1].End, l.byID[1].Message)
		})
	}
}

// TestMute starts a child that never gets ready, and gives up when told to.
func TestMute(t *testing.T) {
	e := newEngine(t)
	e.cfg.Command = []string{"cat"}
	e.cfg.Cache = t.TempDir()
	_, err := e.Open(t.Context(), program(t, assemble(t, tinyWat)))
	if err == nil || !strings.Contains(err.Error(), "child: did not get ready") {
		t.Errorf("a child that echoes: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Open(ctx, program(t, assemble(t, tinyWat))); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	if got := fmt.Sprint(e.Probe(t.Context())); !strings.Contains(got, "probe: ") {
		t.Errorf("probe: %s", got)
	}
}
