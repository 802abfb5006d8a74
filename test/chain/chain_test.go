// Package chain tests the commands of the chain as people type them, against a real chain node with one seat.
// It promises a script for each command of wallet, chain and gov, and a row for each bad input that a person can type.
// It leaves faults of several nodes to test/chaos and the rules of the chain to its own packages.
package chain

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/test/e2e/pc"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "12"); err != nil { // they wait for their chains more than they reckon
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// desk is a development network of one node with a chain of one seat.
func desk(t *testing.T) (program string, p *pc.PC) {
	t.Helper()
	program, err := pc.Program(filepath.Join("..", ".."), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p = pc.New(t, program, "alice", "--dev", "--nodes", "1")
	p.Up(t)
	return program, p
}

// window opens the chain of a home as soon as it has a block.
func window(t *testing.T, home string) *ledger.Ledger {
	t.Helper()
	late := time.After(pc.Patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if text, err := os.ReadFile(filepath.Join(home, "chain.addr")); err == nil {
			l, err := ledger.Open(strings.TrimSpace(string(text)), ledger.Default())
			if err != nil {
				t.Fatal(err)
			}
			if st, err := l.Status(t.Context()); err == nil && st.Height > 0 && st.Supply == money.Total {
				t.Cleanup(func() { _ = l.Close() })
				return l
			}
			_ = l.Close()
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("no chain at %s", home)
		}
	}
}

func TestOneDesk(t *testing.T) {
	t.Parallel()
	program, alice := desk(t)
	l := window(t, alice.Home)
	t.Run("as typed", func(t *testing.T) { scripts(t, program, alice.Home) })
	t.Run("a hundred payments at once", func(t *testing.T) { hundred(t, l, alice.Home) })
	t.Run("followers miss nothing", func(t *testing.T) { follow(t, l) })
	t.Run("all of it is verified", func(t *testing.T) {
		v, err := l.Verify(t.Context(), 0, 0, nil)
		if err != nil || !v.OK || v.From != 1 || v.Seeds == 0 || v.Supply != money.Total {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

func scripts(t *testing.T, program, home string) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error {
			e.Setenv("HPIPS_HOME", home)
			bin := filepath.Join(e.WorkDir, ".bin")
			if err := os.Mkdir(bin, 0o755); err != nil {
				return err
			}
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			return os.Symlink(program, filepath.Join(bin, "hpips"))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "answer": answer, "keep": keep, "await": await},
	})
}

// exits N COMMAND ARG… runs a command that must end with exit code N.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	if got, want := run(ts, args[1:]), args[0]; strconv.Itoa(got) != want {
		ts.Fatalf("exit code %d, want %s", got, want)
	}
}

func run(ts *testscript.TestScript, command []string) int {
	err := ts.Exec(command[0], command[1:]...)
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return failed.ExitCode()
	}
	ts.Check(err)
	return 0
}

// object reads the last line of standard output, which must be one JSON object with nothing on standard error.
func object(ts *testscript.TestScript) map[string]any {
	if text := ts.ReadFile("stderr"); text != "" {
		ts.Fatalf("standard error is not empty: %s", text)
	}
	lines := strings.Split(strings.TrimSuffix(ts.ReadFile("stdout"), "\n"), "\n")
	var o map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &o); err != nil {
		ts.Fatalf("the last line is not one object: %v: %q", err, lines[len(lines)-1])
	}
	return o
}

func find(v any, path []string) (any, bool) {
	for _, name := range path {
		switch at := v.(type) {
		case map[string]any:
			v = at[name]
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
	return v, v != nil
}

// answer PATH=VALUE… checks values of a JSON answer; VALUE * is any but null. With ! the path must lead to nothing.
func answer(ts *testscript.TestScript, neg bool, args []string) {
	o := object(ts)
	for _, arg := range args {
		path, want, _ := strings.Cut(arg, "=")
		got, ok := find(o, strings.Split(path, "."))
		if neg == ok || ok && want != "*" && fmt.Sprint(got) != want {
			ts.Fatalf("%s is %v, want %s in %v", path, got, want, o)
		}
	}
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

// await PATH=VALUE COMMAND ARG… repeats a command with -o json until its answer has the value.
func await(ts *testscript.TestScript, _ bool, args []string) {
	path, want, _ := strings.Cut(args[0], "=")
	late := time.After(pc.Patience)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		if code := run(ts, append(args[1:len(args):len(args)], "-o", "json")); code == 0 {
			if got, ok := find(object(ts), strings.Split(path, ".")); ok && fmt.Sprint(got) == want {
				return
			}
		}
		select {
		case <-tick.C:
		case <-late:
			ts.Fatalf("%s never became %s: %s", path, want, ts.ReadFile("stdout"))
		}
	}
}

// dev is the account of whoever develops.
func dev(t *testing.T, home string) *ledger.Holder {
	t.Helper()
	ring, err := ledger.OpenKeys(filepath.Join(home, "keys"), ledger.StoreTest, nil)
	if err != nil {
		t.Fatal(err)
	}
	holder, err := ring.Signer("dev")
	if err != nil {
		t.Fatal(err)
	}
	return holder
}

func hundred(t *testing.T, l *ledger.Ledger, home string) {
	from := dev(t, home)
	secret := make([]byte, 32)
	secret[3] = 9
	bob, err := ledger.KeySigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 100 {
		m, err := ledger.Pay(from.Address(), bob.Address(), money.Amount(i+1))
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			if _, err := l.Send(t.Context(), from, m); err != nil {
				t.Errorf("payment %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if b, err := l.Balance(t.Context(), bob.Address()); err != nil || b.Balance != 5050 {
		t.Errorf("bob holds %s, %v", b.Balance, err)
	}
	entries, err := l.History(t.Context(), bob.Address(), 1000)
	if err != nil || len(entries) != 100 {
		t.Errorf("bob's history has %d entries, %v", len(entries), err)
	}
}

func follow(t *testing.T, l *ledger.Ledger) {
	st, err := l.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	next := int64(1)
	err = l.Follow(ctx, next, func(n ledger.News) error {
		if n.Height != next {
			t.Errorf("block %d came, %d was next", n.Height, next)
		}
		if next++; n.Height == st.Height {
			stop()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
