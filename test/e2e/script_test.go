package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/test/e2e/pc"
)

// TestOneNetwork runs the scripts of testdata/shared side by side on one network of two nodes: they say what a user can do.
func TestOneNetwork(t *testing.T) {
	house := pc.New(t, built.hpips, "alice", "--dev", "--nodes", "2")
	house.Up(t)
	house.Ready(t, 1)
	t.Run("scripts", func(t *testing.T) { scripts(t, "shared", house.Home) })
	if code := house.Stop(t); code != 0 {
		t.Errorf("up ended with code %d\n%s", code, house.Log(20))
	}
	house.Alone(t)
}

// TestOwnNetworks runs the scripts of testdata/own, each of which starts what it needs.
func TestOwnNetworks(t *testing.T) { scripts(t, "own", "") }

func scripts(t *testing.T, dir, home string) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", dir),
		Setup: func(e *testscript.Env) error {
			e.Setenv("HPIPS_HOME", home)
			if home == "" {
				e.Setenv("HPIPS_HOME", filepath.Join(e.WorkDir, "home"))
			}
			e.Setenv("P", built.dir)
			bin := filepath.Join(e.WorkDir, ".bin")
			if err := os.Mkdir(bin, 0o755); err != nil {
				return err
			}
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			return os.Symlink(built.hpips, filepath.Join(bin, "hpips"))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "answer": answer, "keep": keep, "same": same, "fifo": fifo, "await": await, "integers": integers, "image": image, "unpunished": unpunished,
		},
	})
}

// exits N COMMAND ARG… runs a command that must end with exit code N.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		got = failed.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if want, err := strconv.Atoi(args[0]); err != nil || got != want {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// object reads the contract of -o json: one object on the last line of standard output, nothing on standard error.
func object(ts *testscript.TestScript) map[string]any {
	if text := ts.ReadFile("stderr"); text != "" {
		ts.Fatalf("standard error is not empty: %s", text)
	}
	text := ts.ReadFile("stdout")
	if !strings.HasSuffix(text, "}\n") {
		ts.Fatalf("standard output does not end with an object and a newline: %q", text)
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	var o map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &o); err != nil {
		ts.Fatalf("the last line is not one object: %v: %q", err, lines[len(lines)-1])
	}
	return o
}

// answer PATH=VALUE… checks values of a JSON answer; VALUE * is any but null. With ! the path must lead to nothing.
func answer(ts *testscript.TestScript, neg bool, args []string) {
	o := object(ts)
	for _, arg := range args {
		path, want, _ := strings.Cut(arg, "=")
		got, ok := find(o, strings.Split(path, "."))
		text := fmt.Sprint(got)
		if f, whole := got.(float64); whole && f == math.Trunc(f) {
			text = strconv.FormatFloat(f, 'f', -1, 64)
		}
		switch {
		case neg && ok:
			ts.Fatalf("%s is there: %v", path, got)
		case !neg && !ok:
			ts.Fatalf("%s is not there: %v", path, o)
		case !neg && want != "*" && text != want:
			ts.Fatalf("%s is %v, want %s in %v", path, text, want, o)
		}
	}
}

// integers PATH… checks that numbers of the last answer are written as integers.
func integers(ts *testscript.TestScript, _ bool, args []string) {
	object(ts)
	text := ts.ReadFile("stdout")
	for _, name := range args {
		m := regexp.MustCompile(`"`+name+`":([^,}\]]+)`).FindAllStringSubmatch(text, -1)
		if len(m) == 0 {
			ts.Fatalf("%s is not there: %s", name, text)
		}
		for _, found := range m {
			if _, err := strconv.ParseInt(found[1], 10, 64); err != nil {
				ts.Fatalf("%s is %s, want an integer", name, found[1])
			}
		}
	}
}

func find(v any, path []string) (any, bool) {
	for _, name := range path {
		switch at := v.(type) {
		case map[string]any:
			if v = at[name]; v == nil {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(at) {
				return nil, false
			}
			v = at[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// keep NAME [PATH] sets a variable to the last standard output, or to a value of its JSON answer.
func keep(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) == 1 {
		ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
		return
	}
	v, ok := find(object(ts), strings.Split(args[1], "."))
	if !ok {
		ts.Fatalf("%s is not there", args[1])
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}

// same A B compares two words.
func same(ts *testscript.TestScript, neg bool, args []string) {
	if (args[0] == args[1]) == neg {
		ts.Fatalf("%q and %q", args[0], args[1])
	}
}

// fifo NAME makes a named pipe, which nobody will ever write to.
func fifo(ts *testscript.TestScript, _ bool, args []string) { ts.Check(makeFIFO(ts.MkAbs(args[0]))) }

// await HOME [PEERS] waits until the node of a home can take a job and has so many peers.
func await(ts *testscript.TestScript, _ bool, args []string) {
	peers := 0
	if len(args) > 1 {
		peers, _ = strconv.Atoi(args[1])
	}
	late := time.After(pc.Patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if api, err := client.Open(ts.MkAbs(args[0])); err == nil {
			ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
			st, err := api.Status(ctx)
			stop()
			api.Close()
			if err == nil && st.Ready && st.Peers >= peers {
				return
			}
		}
		select {
		case <-tick.C:
		case <-late:
			ts.Fatalf("the node of %s is not ready with %d peers", args[0], peers)
		}
	}
}

// unpunished waits until one of the nodes that the last answer of market providers lists has a bond, which is held of its pay, and checks that no bond was slashed.
func unpunished(ts *testscript.TestScript, _ bool, _ []string) {
	offers, _ := object(ts)["offers"].([]any)
	if len(offers) == 0 {
		ts.Fatalf("the last answer lists no offers")
	}
	late := time.After(pc.Patience)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for bonds := 0; bonds == 0; {
		select {
		case <-tick.C:
		case <-late:
			ts.Fatalf("no node was paid, so none has a bond")
		}
		for _, offer := range offers {
			node, _ := find(offer, []string{"provider"})
			ts.Check(ts.Exec("hpips", "share", "status", fmt.Sprint(node), "-o", "json"))
			assets, _ := find(object(ts), []string{"bond", "assets"})
			all, _ := assets.([]any)
			for _, asset := range all {
				if bonds++; asset.(map[string]any)["slashed"] != false {
					ts.Fatalf("%v: %v", node, asset)
				}
			}
		}
	}
}
