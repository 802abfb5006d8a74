package container

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/enginetest"
	"github.com/hpips/hpips/engine/sandbox"
)

// bobsNode is how the test's own executable is started as a node that will be killed.
const bobsNode = "bobs-node"

// bob runs an image for ever: his arguments are its layout, its key, a folder and the token of its program.
func bob(args []string) int {
	ctx := context.Background()
	e, err := New(ctx, slog.New(slog.DiscardHandler), Config{})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	s, err := e.Open(ctx, engine.Program{Lease: bobsNode, Module: args[0], Key: args[1], Dir: args[2]})
	if err == nil {
		err = s.Run(ctx, []engine.Task{{ID: 1, Args: []string{"spin", args[3]}}}, enginetest.NewLedger())
	}
	fmt.Println(err)
	return 1
}

// TestANodeIsKilled has the owner kill bob's node while a container runs: it ends with the node, and the next start removes it.
func TestANodeIsKilled(t *testing.T) {
	e, word, p := ours(t), token(t), program(t, "hostile")
	node := exec.Command(os.Args[0], bobsNode, p.Module, p.Key, t.TempDir(), word)
	node.Stdout = t.Output()
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = node.Wait() }()
	running := func() (n int) {
		for _, pid := range enginetest.Tokened(t, word) {
			if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && string(line) == "/hpips/program\x00spin\x00"+word+"\x00" {
				n++
			}
		}
		return n
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for late := time.After(3 * sandbox.Patience); !ok(); {
			select {
			case <-late:
				_ = node.Process.Kill()
				t.Fatal(what)
			case <-tick.C:
			}
		}
	}
	until("the program never ran", func() bool { return running() == 1 })
	if err := node.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	until("the program outlives the node", func() bool { return running() == 0 })
	t.Logf("gone within %s", time.Since(began))
	_ = node.Wait()
	list := func() int {
		t.Helper()
		all, err := e.api.ContainerList(t.Context(), client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", label)})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, c := range all.Items {
			if left(c.Labels[label], e.self) {
				n++
			}
		}
		return n
	}
	if list() == 0 {
		t.Error("there is nothing to sweep, so this test sees nothing")
	}
	if err := e.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := list(); n > 0 {
		t.Errorf("%d containers are left", n)
	}
}

// TestTheGuard ends what it watches when nobody tells it more, and not what it was to forget.
func TestTheGuard(t *testing.T) {
	g, err := newGuard()
	if err != nil {
		t.Fatal(err)
	}
	sleeper := func() *exec.Cmd {
		cmd := exec.Command("sleep", "1h")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	watched, forgotten := sleeper(), sleeper()
	g.watch(watched.Process.Pid)
	g.watch(forgotten.Process.Pid)
	g.forget(forgotten.Process.Pid)
	if all := g.watched(); !slices.Equal(all, []int{watched.Process.Pid}) {
		t.Errorf("it watches %d, not %d alone", all, watched.Process.Pid)
	}
	if err := g.close(); err != nil {
		t.Error(err)
	}
	if err := watched.Wait(); err == nil || watched.ProcessState.Exited() {
		t.Errorf("what is watched ended by itself: %v", watched.ProcessState)
	}
	if err := forgotten.Process.Kill(); err != nil {
		t.Errorf("what is forgotten has ended: %v", err)
	}
	_ = forgotten.Wait()
}
