package lease

import (
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
)

func work() Work {
	return Work{Module: "bafy", Args: []string{"-x"}, Count: 9, Resources: job.Resources{CPU: 1, Memory: 1 << 20, Disk: 1 << 21},
		Limits: job.Limits{Time: job.Duration(time.Hour), Output: 1 << 22}, Seed: [32]byte{3}}
}

// Alice and bob reckon the same digest, whatever of the lease does not touch the result; anything that does changes it.
func TestAStatementBindsWhatDecides(t *testing.T) {
	task := job.Task{Index: 4, Path: "/in/x", Input: &job.Content{Inline: []byte("hi"), Size: 2}}
	state := func(w Work, k job.Task) [32]byte {
		t.Helper()
		s, err := w.Statement(k)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ReadStatement(canon.MustEncode(s))
		if err != nil || back.Digest() != s.Digest() {
			t.Fatalf("read back: %v", err)
		}
		each, err := w.Digests()
		if err != nil || each(k) != s.Digest() {
			t.Fatalf("one by one it is another: %v", err)
		}
		return s.Digest()
	}
	want := state(work(), task)
	for name, change := range map[string]func(*Work){
		"a longer time": func(w *Work) { w.Limits.Time *= 2 }, "a price": func(w *Work) { w.Limits.Price = "1 HPIPS" },
		"streaming": func(w *Work) { w.Stream = true }, "cores": func(w *Work) { w.Resources.CPU = 2 },
	} {
		w := work()
		if change(&w); state(w, task) != want {
			t.Errorf("%s changes the statement", name)
		}
	}
	for name, change := range map[string]func(*Work, *job.Task){
		"program": func(w *Work, _ *job.Task) { w.Module = "bafx" }, "argument": func(w *Work, _ *job.Task) { w.Args[0] = "-y" },
		"memory": func(w *Work, _ *job.Task) { w.Resources.Memory++ }, "output": func(w *Work, _ *job.Task) { w.Limits.Output++ }, "work": func(w *Work, _ *job.Task) { w.Limits.Work++ },
		"seed": func(w *Work, _ *job.Task) { w.Seed[0]++ }, "index": func(_ *Work, k *job.Task) { k.Index++ },
		"input": func(_ *Work, k *job.Task) { k.Input = &job.Content{Inline: []byte("ho"), Size: 2} },
	} {
		w, k := work(), task
		if change(&w, &k); state(w, k) == want {
			t.Errorf("another %s has the same statement", name)
		}
	}
}

func TestNobodyRunsALiveInputAgain(t *testing.T) {
	w := work()
	w.Live = true
	_, err1 := w.Statement(job.Task{})
	_, err2 := w.Digests()
	if !errors.Is(err1, ErrLive) || !errors.Is(err2, ErrLive) {
		t.Errorf("%v, %v", err1, err2)
	}
	if _, err := ReadStatement(canon.MustEncode(Statement{Work: w})); err == nil {
		t.Error("a live one is read")
	}
}

func FuzzReadStatement(f *testing.F) {
	s, err := work().Statement(job.Task{Index: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(canon.MustEncode(s))
	f.Add([]byte{0xa0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := ReadStatement(b); err == nil && string(canon.MustEncode(s)) != string(b) {
			t.Fatal("another form is read")
		}
	})
}

// A task of nothing but an index is written by hand, and as canon writes it.
func TestTheShortWayIsThatOfCanon(t *testing.T) {
	each, err := work().Digests()
	if err != nil {
		t.Fatal(err)
	}
	s, err := work().Statement(job.Task{})
	if err != nil {
		t.Fatal(err)
	}
	shared := sha256.Sum256(canon.MustEncode(s.Work))
	rapid.Check(t, func(t *rapid.T) {
		k := job.Task{Index: rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 70_000)).Draw(t, "index"), Path: rapid.SampledFrom([]string{"", "/in/x"}).Draw(t, "path")}
		if rapid.Bool().Draw(t, "env") {
			k.Env = map[string]string{}
		}
		if rapid.Bool().Draw(t, "var") {
			k.Env = map[string]string{"A": "1"}
		}
		long := sha256.Sum256(append(append([]byte(statementPrefix), shared[:]...), canon.MustEncode(k)...))
		if each(k) != long {
			t.Fatalf("%+v", k)
		}
	})
}
