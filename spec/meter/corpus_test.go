package meter_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/hpips/hpips/spec/meter"
)

// The official tests of WebAssembly 2.0 come with wazero's sources: some 4,600 modules, valid and not, and 52,000 calls of what they export.
func corpus(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "internal", "integration_test", "spectest", "v2", "testdata")
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("the sources of wazero are here without their tests: %v", err)
	}
	return dir
}

// TestCorpusValid holds our reading of the specification to wazero's: each module is valid for both or for none, and what is written for a
// valid one is valid for both. Only modules that import what is no function are for wazero alone.
func TestCorpusValid(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(corpus(t), "*.wasm"))
	if err != nil || len(files) < 4000 {
		t.Fatal(len(files), err)
	}
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(api.CoreFeaturesV2))
	defer rt.Close(ctx)
	valid := func(b []byte) error {
		code, err := rt.CompileModule(ctx, b)
		if err == nil {
			err = code.Close(ctx)
		}
		return err
	}
	n, both, apart := 0, 0, 0
	for _, f := range files {
		module, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		n++
		theirs := valid(module)
		metered, ours := meter.Rewrite(module)
		if (ours == nil) != (theirs == nil) {
			if ours != nil && strings.Contains(ours.Error(), "which is no function") {
				apart++
				continue
			}
			t.Errorf("%s: here %v, wazero says %v", filepath.Base(f), ours, theirs)
			continue
		}
		if ours != nil {
			continue
		}
		both++
		watched, err := meter.RewriteWatched(module)
		if err := errors.Join(valid(metered), err, valid(watched)); err != nil {
			t.Errorf("%s, metered: %v", filepath.Base(f), err)
		}
		if _, err := meter.Rewrite(metered); err == nil || !strings.Contains(err.Error(), "kept for its host") {
			t.Errorf("%s is metered twice: %v", filepath.Base(f), err)
		}
	}
	t.Logf("%d modules, %d valid; %d more import what is no function", n, both, apart)
}

// script is what the official tests do with modules.
type script struct {
	Commands []struct {
		Type, Filename, Name, As string
		Line                     int
		Action                   struct {
			Type, Module, Field string
			Args                []datum
		}
	}
}

type datum struct {
	Type  string
	Lane  string `json:"lane_type"`
	Value json.RawMessage
}

// words gives a parameter as wazero takes it: bits, two words for a vector.
func (d datum) words() ([]uint64, bool) {
	var one string
	if json.Unmarshal(d.Value, &one) == nil {
		v, err := strconv.ParseUint(one, 10, 64)
		return []uint64{v}, err == nil
	}
	var lanes []string
	if json.Unmarshal(d.Value, &lanes) != nil || len(lanes) == 0 {
		return nil, false
	}
	out := make([]uint64, 2)
	bits := 128 / len(lanes)
	for i, l := range lanes {
		v, err := strconv.ParseUint(l, 10, 64)
		if err != nil {
			return nil, false
		}
		out[i*bits/64] |= v << (i * bits % 64)
	}
	return out, true
}

// TestCorpusAlike makes the calls of the official tests to modules as they are, metered and watched, on both engines: results differ in the bits of NaNs
// that arithmetic made, and in nothing else, and those are canonical.
func TestCorpusAlike(t *testing.T) {
	scripts, err := filepath.Glob(filepath.Join(corpus(t), "*.json"))
	if err != nil || len(scripts) < 80 {
		t.Fatal(len(scripts), err)
	}
	calls, nans := 0, 0
	for _, path := range scripts {
		c, n := follow(t, path)
		calls, nans = calls+c, nans+n
	}
	if calls < 20_000 {
		t.Errorf("only %d calls", calls)
	}
	t.Logf("%d calls alike, %d of them but for the bits of NaNs", calls, nans)
}

// forms is one module as it is, metered, metered on the interpreter, and watched on both by a host that gives little at a time.
type forms [5]api.Module

// miser is a host that gives a little more whenever nothing is left. It is one for all modules: wazero takes equal ones for one.
type miser map[api.Module]int64

func (m miser) NewFunctionListener(f api.FunctionDefinition) experimental.FunctionListener {
	if slices.Contains(f.ExportNames(), meter.Passed) {
		return m
	}
	return nil
}

func (m miser) Before(_ context.Context, mod api.Module, _ api.FunctionDefinition, _ []uint64, _ experimental.StackIterator) {
	left := mod.ExportedGlobal(meter.Left).(api.MutableGlobal)
	if have := int64(left.Get()); have < 0 {
		give := 5 + m[mod]/64 - have
		m[mod] += give
		left.Set(uint64(have + give))
	}
}

func (m miser) After(context.Context, api.Module, api.FunctionDefinition, []uint64) {}

func (m miser) Abort(context.Context, api.Module, api.FunctionDefinition, error) {}

func follow(t *testing.T, path string) (calls, nans int) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var s script
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	engines := runtimes(ctx)
	for _, rt := range engines {
		defer rt.Close(ctx)
		b := rt.NewHostModuleBuilder("spectest")
		for name, in := range map[string][]api.ValueType{"print": {}, "print_i32": {api.ValueTypeI32}, "print_i64": {api.ValueTypeI64}, "print_f32": {api.ValueTypeF32},
			"print_f64": {api.ValueTypeF64}, "print_i32_f32": {api.ValueTypeI32, api.ValueTypeF32}, "print_f64_f64": {api.ValueTypeF64, api.ValueTypeF64}} {
			b.NewFunctionBuilder().WithGoFunction(api.GoFunc(func(context.Context, []uint64) {}), in, nil).Export(name)
		}
		if _, err := b.Instantiate(ctx); err != nil {
			t.Fatal(err)
		}
	}
	var at *forms
	hosts := miser{}
	for _, c := range s.Commands {
		switch {
		case c.Type == "module":
			at = all(ctx, engines, hosts, filepath.Join(filepath.Dir(path), c.Filename))
		case at == nil || c.Action.Type != "invoke" || c.Action.Module != "" || c.Type == "assert_exhaustion":
		default:
			alike, nan := at.call(ctx, hosts, c.Action.Field, c.Action.Args)
			if alike != "" {
				t.Errorf("%s line %d: %s", filepath.Base(path), c.Line, alike)
				return calls, nans
			}
			calls++
			if nan {
				nans++
			}
		}
	}
	return calls, nans
}

func all(ctx context.Context, engines map[string]wazero.Runtime, hosts miser, path string) *forms {
	module, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	metered, err1 := meter.Rewrite(module)
	watched, err2 := meter.RewriteWatched(module)
	if err1 != nil || err2 != nil {
		return nil
	}
	var out forms
	for i, of := range []struct {
		engine string
		module []byte
	}{{"compiler", module}, {"compiler", metered}, {"interpreter", metered}, {"compiler", watched}, {"interpreter", watched}} {
		ctx, given := ctx, int64(1<<40)
		if i > 2 {
			ctx, given = experimental.WithFunctionListenerFactory(ctx, hosts), 0
		}
		m, err := engines[of.engine].InstantiateWithConfig(ctx, of.module, wazero.NewModuleConfig().WithName("").WithStartFunctions())
		if err != nil {
			return nil
		}
		out[i] = m
		if i == 0 {
			continue
		}
		supply(m, given)
		hosts[m] = given
		if f := m.ExportedFunction(meter.Start); f != nil {
			if _, err := f.Call(ctx); err != nil {
				return nil
			}
		}
	}
	return &out
}

// call calls a function of all, and says what differs; nan tells that it was the bits of a NaN.
func (m *forms) call(ctx context.Context, hosts miser, name string, args []datum) (differs string, nan bool) {
	var in []uint64
	for _, a := range args {
		words, ok := a.words()
		if !ok {
			return "", false
		}
		in = append(in, words...)
	}
	var outs [5][]uint64
	var ends [5]string
	for i := range m {
		f := m[i].ExportedFunction(name)
		if f == nil {
			return "", false
		}
		out, err := f.Call(ctx, in...)
		outs[i], ends[i] = tidy(out, f.Definition().ResultTypes()), line(err)
	}
	count := func(i int) int64 { return hosts[m[i]] - int64(m[i].ExportedGlobal(meter.Left).Get()) }
	for i := 2; i < len(m); i++ {
		switch {
		case ends[0] != ends[1] || ends[1] != ends[i]:
			return fmt.Sprintf("%s ends with %q", name, ends), false
		case !slices.Equal(outs[1], outs[i]):
			return fmt.Sprintf("%s gives %x, in form %d %x", name, outs[1], i, outs[i]), false
		case count(1) != count(i):
			return fmt.Sprintf("%s is charged %d, in form %d %d", name, count(1), i, count(i)), false
		}
	}
	if slices.Equal(outs[0], outs[1]) {
		return "", false
	}
	for i := range outs[0] {
		if !numberOr(outs[0][i], outs[1][i]) {
			return fmt.Sprintf("%s gives %x, metered %x", name, outs[0], outs[1]), false
		}
	}
	return "", true
}

// tidy clears what is no part of a result: the upper half of a word that holds 32 bits, and where a reference points.
func tidy(words []uint64, types []api.ValueType) []uint64 {
	const vector, funcref = 0x7b, 0x70
	at := 0
	for _, t := range types {
		if at >= len(words) {
			break
		}
		switch t {
		case api.ValueTypeI32, api.ValueTypeF32:
			words[at] = uint64(uint32(words[at]))
		case funcref:
			words[at] = min(words[at], 1)
		case vector:
			at++
		}
		at++
	}
	return words
}

// numberOr tells whether two words are equal but for NaNs, of 64 bits or of two times 32, of which the second is canonical.
func numberOr(a, b uint64) bool {
	const nan64, nan32 = 0x7ff8000000000000, 0x7fc00000
	if a == b || a&^(1<<63) > 0x7ff0000000000000 && b == nan64 {
		return true
	}
	for shift := 0; shift < 64; shift += 32 {
		x, y := uint32(a>>shift), uint32(b>>shift)
		if x != y && (x&^(1<<31) <= 0x7f800000 || y != nan32) {
			return false
		}
	}
	return true
}
