package examples

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
)

// program compiles a built example, or skips where `make build` has left it out.
func program(t *testing.T, name string) (wazero.Runtime, wazero.CompiledModule) {
	t.Helper()
	file := filepath.Join(name, name+".wasm")
	code, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("%s is not built: make build writes it where its compiler is at hand", file)
	}
	if err != nil {
		t.Fatal(err)
	}
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter()) // to compile takes longer than these runs
	t.Cleanup(func() { _ = r.Close(t.Context()) })
	wasi_snapshot_preview1.MustInstantiate(t.Context(), r)
	compiled, err := r.CompileModule(t.Context(), code)
	if err != nil {
		t.Fatal(err)
	}
	return r, compiled
}

// guest runs a program as a sandbox does: files under /in, and nothing else of this machine.
func guest(t *testing.T, r wazero.Runtime, m wazero.CompiledModule, dir, stdin string, env map[string]string, args ...string) (out, complaint string, code uint32) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cfg := wazero.NewModuleConfig().WithName("").WithArgs(append([]string{"program"}, args...)...).
		WithStdin(strings.NewReader(stdin)).WithStdout(&stdout).WithStderr(&stderr).
		WithFSConfig(wazero.NewFSConfig().WithReadOnlyDirMount(dir, "/in"))
	for k, v := range env {
		cfg = cfg.WithEnv(k, v)
	}
	_, err := r.InstantiateModule(t.Context(), m, cfg)
	if exit := (*sys.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return stdout.String(), stderr.String(), code
}

// The same greeting in four languages: alice cannot tell which one she runs.
func TestTheSistersOfHelloSayTheSame(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("dear bob, ", 20_000)
	if err := os.WriteFile(filepath.Join(dir, "letter"), []byte(long), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"hello", "hello-c", "hello-rust", "hello-as"} {
		t.Run(name, func(t *testing.T) {
			r, m := program(t, name)
			for _, row := range []struct {
				args, in, out string
				code          uint32
			}{
				{"", "", "hello, world\n", 0},
				{"alice and bob", "", "hello, alice and bob\n", 0},
				{"copy", long, long, 0},
				{"copy", "", "", 0},
				{"cat /in/letter", "", long, 0},
				{"cat /in/none", "", "", 1},
				{"exit 0", "", "", 0},
				{"exit 3", "", "", 3},
				{"exit three", "", "", 2},
				{"exit 128", "", "", 2},
			} {
				out, complaint, code := guest(t, r, m, dir, row.in, nil, strings.Fields(row.args)...)
				if out != row.out || code != row.code {
					t.Errorf("%q: %.60q, code %d; want %.60q, code %d", row.args, out, code, row.out, row.code)
				}
				if silent := row.code == 0 || row.code == 3; (complaint == "") != silent {
					t.Errorf("%q: standard error says %q", row.args, complaint)
				}
			}
		})
	}
}

func TestProgramsAreTasksAndReduces(t *testing.T) {
	tree := t.TempDir()
	for name, text := range map[string]string{"a.go": "package a // b\nvar x = 0x1f", "b.go": "package a\nfunc f() { x = y }"} {
		if err := os.WriteFile(filepath.Join(tree, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		name  string
		args  []string
		parts []map[string]string
		want  string // beginning of the result
	}{
		{"concordance", nil, []map[string]string{{"HPIPS_INPUT": "/in/a.go"}, {"HPIPS_INPUT": "/in/b.go"}}, "a\t2\t2\nf\t1\t1\nx\t2\t2\ny\t1\t1\n"},
		{"concordance", nil, []map[string]string{{"HPIPS_INPUT": "/in"}}, "a\t2\t2\nf\t1\t1\nx\t2\t2\ny\t1\t1\n"},
		{"primes", []string{"1000"}, []map[string]string{{}, {}, {}}, "168\n"},
		{"render", []string{"16", "8", "2", "2", "1"}, []map[string]string{{}, {}}, "\x89PNG\r\n"},
		{"tiny", nil, []map[string]string{{}}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, m := program(t, row.name)
			parts := t.TempDir()
			for i, env := range row.parts {
				env["HPIPS_INDEX"], env["HPIPS_COUNT"] = string(rune('0'+i)), string(rune('0'+len(row.parts)))
				out, complaint, code := guest(t, r, m, tree, "", env, row.args...)
				if code != 0 || out == "" {
					t.Fatalf("task %d: %q, code %d: %s", i, out, code, complaint)
				}
				if err := os.WriteFile(filepath.Join(parts, env["HPIPS_INDEX"]), []byte(out), 0o600); err != nil {
					t.Fatal(err)
				}
				if row.want == "" && out != env["HPIPS_INDEX"] {
					t.Errorf("task %d prints %q", i, out)
				}
			}
			if row.want == "" {
				return
			}
			for _, way := range []struct {
				env  map[string]string
				args []string
			}{
				{map[string]string{"HPIPS_INDEX": "1000000", "HPIPS_COUNT": "3", "HPIPS_INPUT": "/in"}, row.args}, // as a requester runs it
				{nil, row.args},           // by hand
				{nil, []string{"reduce"}}, // by name
			} {
				out, complaint, code := guest(t, r, m, parts, "", way.env, way.args...)
				if code != 0 || !strings.HasPrefix(out, row.want) || len(row.want) > 8 && out != row.want {
					t.Errorf("reduce %v: %.80q, code %d: %s", way, out, code, complaint)
				}
			}
		})
	}
}
