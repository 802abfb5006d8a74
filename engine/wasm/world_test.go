package wasm

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hpips/hpips/engine"
)

// TestSameWorld runs a program that prints all that might differ: clock, random bytes, map order, host name, folders. alice and bob keep the
// same input in other folders, made in another order and at another time; every attempt must print the same bytes.
func TestSameWorld(t *testing.T) {
	names := []string{"one", "two", "three", "four"}
	input := func(order []int) string {
		dir := t.TempDir()
		for _, i := range order {
			path := filepath.Join(dir, names[i])
			if err := os.WriteFile(path, []byte(names[i]), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, time.Now(), time.Unix(int64(1e9*(i+order[0])), 0)); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	world := func(dir string, seed byte, tasks ...engine.Task) map[uint64]string {
		p := program(t, guest(t))
		p.Args, p.Mounts, p.Seed, p.Dir = []string{"world"}, []engine.Mount{{Guest: "/in", Host: dir}}, [32]byte{seed}, t.TempDir()
		out := map[uint64]string{}
		for id, o := range runAll(t, openSandbox(t, p), tasks...).byID {
			if o.End != engine.Exited || o.Exit != 0 {
				t.Fatalf("task %d: %s %d %s", id, o.End, o.Exit, o.Stderr.Inline)
			}
			out[id] = string(o.Stdout.Inline)
		}
		return out
	}
	task := func(id uint64, index string) engine.Task {
		return engine.Task{ID: id, Args: []string{}, Env: []string{"HPIPS_INDEX=" + index}}
	}
	alice := world(input([]int{0, 1, 2, 3}), 7, task(1, "5"), task(2, "6"), task(3, "5"))
	bob := world(input([]int{3, 1, 0, 2}), 7, task(9, "5"), task(4, "6"))
	if alice[1] != bob[9] || alice[2] != bob[4] || alice[1] != alice[3] {
		t.Errorf("the same task prints\n%s\nand\n%s", alice[1], bob[9])
	}
	if alice[1] == alice[2] {
		t.Error("two tasks read the same random bytes")
	}
	if other := world(input([]int{0, 1, 2, 3}), 8, task(1, "5")); other[1] == alice[1] {
		t.Error("two leases read the same random bytes")
	}
	t.Logf("%s", alice[1])
}
