package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/node"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childCommand { // the test's own executable is what a node starts as its sandbox
		os.Exit(Main())
	}
	testscript.Main(m, map[string]func(){"hpips": func() { os.Exit(Main()) }})
}

// programs are the WASM programs of the scripts, built once.
func programs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, source := range map[string]string{"hello": "../examples/hello", "primes": "../examples/primes", "trouble": "testdata/trouble", "judge": "testdata/judge"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, name+".wasm"), ".")
		cmd.Dir = filepath.FromSlash(source)
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
	}
	return dir
}

// TestAsTyped runs the command line as people type it: testdata/script.
func TestAsTyped(t *testing.T) {
	built := sync.OnceValue(func() string { return programs(t) })
	testscript.Run(t, testscript.Params{
		Dir:      filepath.Join("testdata", "script"),
		Deadline: time.Now().Add(3 * time.Minute), // a node that hangs ends the script, not the patience of all tests
		Setup: func(e *testscript.Env) error {
			e.Setenv("HPIPS_HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("PROGRAMS", built())
			e.Setenv(node.PresenceVariable, "headless") // whoever runs the tests may be at the PC
			prog := filepath.Join(e.WorkDir, "prog")
			if err := os.MkdirAll(prog, 0o755); err != nil {
				return err
			}
			for _, name := range []string{"hello.wasm", "judge.wasm"} {
				if err := os.Symlink(filepath.Join(built(), name), filepath.Join(prog, name)); err != nil {
					return err
				}
			}
			return os.WriteFile(filepath.Join(e.WorkDir, "module.wasm"), []byte("\x00asm\x01\x00\x00\x00"), 0o644)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "answer": answer, "ready": awaitReady, "listening": awaitListening, "keep": keepWord, "occupy": occupy,
			"longer": longer, "working": awaitWorking, "latest": latest, "dev": devNode,
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
	if want, _ := strconv.Atoi(args[0]); got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// answer PATH=VALUE… checks the contract of -o json: the last line of standard output is one object, standard error is empty, and the values
// stand where the paths lead; VALUE * is any but null. With ! the path must lead to nothing.
func answer(ts *testscript.TestScript, neg bool, args []string) {
	if text := ts.ReadFile("stderr"); text != "" {
		ts.Fatalf("standard error is not empty: %s", text)
	}
	lines := strings.Split(strings.TrimSuffix(ts.ReadFile("stdout"), "\n"), "\n")
	var object map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &object); err != nil {
		ts.Fatalf("the last line is not one JSON object: %v: %q", err, lines[len(lines)-1])
	}
	for _, arg := range args {
		path, want, _ := strings.Cut(arg, "=")
		got, ok := find(object, strings.Split(path, "."))
		switch {
		case neg && ok:
			ts.Fatalf("%s is there: %v", path, got)
		case !neg && !ok:
			ts.Fatalf("%s is not there: %v", path, object)
		case !neg && want != "*" && fmt.Sprint(got) != want:
			ts.Fatalf("%s is %v, want %s", path, got, want)
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

// ready HOME [PEERS] waits until the node of a home can take a job.
func awaitReady(ts *testscript.TestScript, _ bool, args []string) {
	peers := 0
	if len(args) > 1 {
		peers, _ = strconv.Atoi(args[1])
	}
	await(ts, args[0], func(st client.Status) bool { return st.Ready && st.Peers >= peers })
}

// listening HOME waits until the node of a home answers.
func awaitListening(ts *testscript.TestScript, _ bool, args []string) {
	await(ts, args[0], func(client.Status) bool { return true })
}

func await(ts *testscript.TestScript, home string, enough func(client.Status) bool) {
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if api, err := client.Open(ts.MkAbs(home)); err == nil {
			st, err := api.Status(context.Background())
			api.Close()
			if err == nil && enough(st) {
				ts.Setenv("JOIN", st.Addresses[0])
				return
			}
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("the node of %s is not ready after 30 s", home)
		}
	}
}

// keep NAME sets a variable to the last standard output.
func keepWord(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// occupy NAME listens on a port of 127.0.0.1 until the end of the script and sets NAME to it.
func occupy(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	_, port, err := net.SplitHostPort(l.Addr().String())
	ts.Check(err)
	ts.Setenv(args[0], port)
}

// longer FILE N checks the size of a file or stream in bytes.
func longer(ts *testscript.TestScript, _ bool, args []string) {
	if got := len(ts.ReadFile(args[0])); fmt.Sprint(got) != args[1] {
		ts.Fatalf("%s has %d bytes, want %s", args[0], got, args[1])
	}
}

// working HOME waits until the node of a home runs a task.
func awaitWorking(ts *testscript.TestScript, _ bool, args []string) {
	await(ts, args[0], func(st client.Status) bool { return st.Running > 0 })
}

// latest NAME sets a variable to the newest job of the last "job ls -o json".
func latest(ts *testscript.TestScript, _ bool, args []string) {
	var told struct{ Jobs []struct{ Job string } }
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &told); err != nil || len(told.Jobs) == 0 {
		ts.Fatalf("no jobs: %v", err)
	}
	ts.Setenv(args[0], told.Jobs[0].Job)
}

// dev NAME N sets a variable to the N-th node, from 0, of the development network that the last "status -o json" told of.
func devNode(ts *testscript.TestScript, _ bool, args []string) {
	var st client.Status
	n, _ := strconv.Atoi(args[1])
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &st); err != nil || n >= len(st.Dev) {
		ts.Fatalf("no such node: %v", err)
	}
	ts.Setenv(args[0], st.Dev[n])
}
