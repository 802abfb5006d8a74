package wasm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/hpips/hpips/spec/meter"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
)

// engineVersion is part of the name of every cache entry; a test holds it equal to go.mod.
const engineVersion = "wazero-v1.12.0"

// features are what a program may use: WebAssembly 2.0, with SIMD. Threads and relaxed SIMD are not deterministic.
const features = api.CoreFeaturesV2

// meteredFile is the metered form of a program's module, beside the compiled code.
const meteredFile = "metered.wasm"

// open makes a runtime over a cache folder, and compiles a module, which is quick when the cache has it. Of a watched program r hears.
func open(ctx context.Context, module []byte, set *setup, r *runner) (wazero.Runtime, wazero.CompiledModule, error) {
	dir, err := wazero.NewCompilationCacheWithDir(set.Cache)
	if err != nil {
		return nil, nil, fmt.Errorf("compiled code: %w", err)
	}
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCoreFeatures(features).WithCompilationCache(dir).
		WithDebugInfoEnabled(false))
	ctx = experimental.WithCompilationWorkers(ctx, runtime.GOMAXPROCS(0))
	if set.Watched {
		ctx = experimental.WithFunctionListenerFactory(ctx, lookout{r})
	}
	code, err := rt.CompileModule(ctx, module)
	return rt, code, err
}

// load makes a runtime in which r can run the metered module of a cache folder many times.
func load(ctx context.Context, set *setup, r *runner) (wazero.Runtime, wazero.CompiledModule, error) {
	module, err := os.ReadFile(filepath.Join(set.Cache, meteredFile))
	if err != nil {
		return nil, nil, fmt.Errorf("metered module: %w", err)
	}
	rt, code, err := open(ctx, module, set, r)
	if err != nil {
		return nil, nil, fmt.Errorf("compiled code: %w", err)
	}
	host := rt.NewHostModuleBuilder(wasi_snapshot_preview1.ModuleName)
	wasi_snapshot_preview1.NewFunctionExporter().ExportFunctions(host)
	host.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(exit), []api.ValueType{api.ValueTypeI32}, nil).Export("proc_exit")
	if _, err := host.Instantiate(ctx); err != nil {
		return nil, nil, fmt.Errorf("wasi: %w", err)
	}
	return rt, code, nil
}

// exit is WASI's proc_exit. wazero's own takes the program's memory away at once; here it stays to be looked at until the runner closes the instance.
func exit(_ context.Context, _ api.Module, params []uint64) {
	panic(sys.NewExitError(uint32(params[0])))
}

// compile checks the module, meters it, and writes its code into the cache folder. A *fault with Program set says what is wrong with it. The
// engine checks what the metering has checked and written once more, with a reader of its own.
func compile(set *setup) (moduleInfo, *fault) {
	binary, err := os.ReadFile(set.Module)
	if err != nil {
		return moduleInfo{}, &fault{Message: fmt.Sprintf("module: %v", err)}
	}
	if !strings.HasPrefix(string(binary), wasmMagic) {
		return moduleInfo{}, bad("it is not WASM: it does not begin with \\0asm and version 1", "give a module built for wasm32-wasi, such as by GOOS=wasip1 GOARCH=wasm go build")
	}
	rewrite := meter.Rewrite
	if set.Watched {
		rewrite = meter.RewriteWatched
	}
	metered, err := rewrite(binary)
	if err != nil {
		return moduleInfo{}, invalid(err)
	}
	if err := os.WriteFile(filepath.Join(set.Cache, meteredFile), metered, 0o600); err != nil {
		return moduleInfo{}, &fault{Message: fmt.Sprintf("metered module: %v", err)}
	}
	_, code, err := open(context.Background(), metered, set, nil)
	if err != nil {
		return moduleInfo{}, invalid(err)
	}
	if f := imports(code); f != nil {
		return moduleInfo{}, f
	}
	if start, ok := code.ExportedFunctions()["_start"]; !ok || len(start.ParamTypes())+len(start.ResultTypes()) > 0 {
		return moduleInfo{}, bad("it exports no _start function", "build a command, not a library: GOOS=wasip1 go build of a main package, or clang --target=wasm32-wasi with a main function")
	}
	least, err := minMemory(binary)
	if err != nil {
		return moduleInfo{}, bad(err.Error(), "")
	}
	return moduleInfo{MinMemory: least}, nil
}

func invalid(err error) *fault {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return bad("it is not a valid module: "+line, "threads, 64-bit memory and garbage-collected types are not supported; build for wasm32-wasi (preview 1)")
}

func bad(message, hint string) *fault {
	return &fault{Program: true, Message: clip(message), Hint: hint}
}

// wasi are the functions that the host has.
func wasi() (map[string]api.FunctionDefinition, error) {
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer rt.Close(ctx)
	host, err := wasi_snapshot_preview1.NewBuilder(rt).Compile(ctx)
	if err != nil {
		return nil, err
	}
	return host.ExportedFunctions(), nil
}

// imports refuses a module that wants more from its host than WASI preview 1.
func imports(code wazero.CompiledModule) *fault {
	const hint = "only wasi_snapshot_preview1 is there; build for wasm32-wasi (preview 1), without JavaScript glue"
	known, err := wasi()
	if err != nil {
		return &fault{Message: err.Error()}
	}
	for _, f := range code.ImportedFunctions() {
		module, name, _ := f.Import()
		have := known[name]
		if module != wasi_snapshot_preview1.ModuleName || have == nil {
			return bad(fmt.Sprintf("it imports %s.%s, which no HPIPS node has", module, name), hint)
		}
		if !slices.Equal(f.ParamTypes(), have.ParamTypes()) || !slices.Equal(f.ResultTypes(), have.ResultTypes()) {
			return bad(fmt.Sprintf("it imports %s.%s with other parameters than WASI gives it", module, name), hint)
		}
	}
	for _, m := range code.ImportedMemories() {
		module, name, _ := m.Import()
		return bad(fmt.Sprintf("it imports the memory %s.%s", module, name), hint)
	}
	return nil
}

// errFault ends a child whose setup failed after it has said why.
var errFault = errors.New("setup failed")
