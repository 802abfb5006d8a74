package meter_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/hpips/hpips/spec/meter"
	"github.com/hpips/hpips/spec/meter/metertest"
)

// assemble makes a module of its text.
func assemble(t testing.TB, text string) []byte {
	t.Helper()
	in, out := filepath.Join(t.TempDir(), "a.wat"), filepath.Join(t.TempDir(), "a.wasm")
	if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := exec.Command("wat2wasm", "--enable-threads", "--enable-multi-memory", "--enable-relaxed-simd", "--no-check", in, "-o", out).CombinedOutput(); err != nil {
		t.Fatalf("wat2wasm (Debian: wabt): %v\n%s", err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func rewrite(t testing.TB, text string) []byte {
	t.Helper()
	out, err := meter.Rewrite(assemble(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sum is what one call of f gave, with what it was charged.
type sum struct {
	out        []uint64
	end        string
	work, room int64
	memory     uint32 // first word
}

// calls calls f of a metered module on both engines, and wants the same of both.
func calls(t testing.TB, module []byte, limit int64, args ...uint64) sum {
	t.Helper()
	ctx := context.Background()
	var all []sum
	for _, name := range []string{"compiler", "interpreter"} {
		rt := runtimes(ctx)[name]
		defer rt.Close(ctx)
		m, err := rt.InstantiateWithConfig(ctx, module, wazero.NewModuleConfig().WithName("").WithStartFunctions())
		if err != nil {
			t.Fatal(err)
		}
		left := supply(m, limit)
		out, err := m.ExportedFunction("f").Call(ctx, args...)
		s := sum{out: out, end: line(err), work: limit - int64(left.Get()), room: spareRoom(m)}
		if mem := m.Memory(); mem != nil {
			s.memory, _ = mem.ReadUint32Le(0)
		}
		all = append(all, s)
	}
	if !slices.Equal(all[0].out, all[1].out) || fmt.Sprint(all[0]) != fmt.Sprint(all[1]) {
		t.Fatalf("compiler %+v, interpreter %+v", all[0], all[1])
	}
	return all[0]
}

// TestCosts holds the table of the README.
func TestCosts(t *testing.T) {
	long := strings.Repeat("(drop (i32.const 1))", 10)
	for name, row := range map[string]struct {
		body string
		want int64
	}{
		"nothing":                      {"", 0},
		"blocks are free":              {"(block (nop) (block))", 0},
		"a constant and its drop":      {"(drop (i32.const 1))", 2},
		"a sum":                        {"(drop (i32.add (i32.const 1) (i32.const 2)))", 4},
		"a division":                   {"(drop (i32.div_u (i32.const 1) (i32.const 2)))", 11},
		"a root":                       {"(drop (f64.sqrt (f64.const 2)))", 6},
		"the taken arm alone":          {"(if (i32.const 1) (then " + long + ") (else " + long + long + "))", 2 + 20},
		"what a branch passes by":      {"(block (br_if 0 (i32.const 1)) " + long + ")", 2},
		"short arms are charged ahead": {"(if (i32.const 1) (then (drop (i32.const 1))) (else (drop (i64.const 1)) (drop (i64.const 1))))", 2 + 2 + 4},
		"and so is a short way":        {"(block (br_if 0 (i32.const 1)) (drop (i32.const 1)))", 4},
		"up to 16 in all":              {"(if (i32.const 1) (then " + strings.Repeat("(drop (i32.const 1))", 5) + ") (else " + strings.Repeat("(drop (i64.const 1))", 5) + "))", 2 + 20},
		"code after a branch":          {"(block (br 0) (drop (i32.const 1)))", 1},
		"a call":                       {"(call $g)", 6},
		"a call through a table":       {"(call_indirect (type $v) (i32.const 0))", 11},
		"a page":                       {"(drop (memory.grow (i32.const 1)))", 3 + 4096},
		"no page":                      {"(drop (memory.grow (i32.const 0)))", 3},
		"a page that is refused":       {"(drop (memory.grow (i32.const 100)))", 3},
		"64 KiB that are filled":       {"(memory.fill (i32.const 0) (i32.const 1) (i32.const 65536))", 3 + 8 + 4096},
		"15 bytes that are copied":     {"(memory.copy (i32.const 0) (i32.const 1) (i32.const 15))", 3 + 8},
		"ten elements":                 {"(drop (table.grow 0 (ref.null func) (i32.const 10)))", 3 + 8 + 10},
		"a loop of three rounds":       {"(local i32) (local.set 0 (i32.const 3)) (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))", 2 + 3*6},
		"a loop that is left":          {"(block (loop (br 1)))", 2},
		"vectors cost one":             {"(drop (i32x4.add (v128.const i32x4 0 0 0 0) (v128.const i32x4 0 0 0 0)))", 4},
		"canonical bits cost nothing":  {"(f64.store (i32.const 8) (f64.div (f64.const 0) (f64.const 0)))", 3 + 4 + 1},
	} {
		module := rewrite(t, `(module (type $v (func)) (memory 1 3) (table 1 20 funcref) (elem (i32.const 0) $g) (func $g (drop (i32.const 1))) (func (export "f") `+row.body+`))`)
		if got := calls(t, module, 1<<40); got.work != row.want || got.end != "" || got.room != meter.Depth {
			t.Errorf("%s: %d %q, want %d", name, got.work, got.end, row.want)
		}
	}
}

// TestLimit stops a program that counts in its memory, at many limits: it ends where it ends on every engine, and soon after the limit.
func TestLimit(t *testing.T) {
	module := rewrite(t, `(module (memory 1) (func (export "f") (loop (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))) (br 0))))`)
	for _, limit := range []int64{1, 7, 8, 9, 1000, 123_456} {
		got := calls(t, module, limit)
		if got.end != "wasm error: unreachable" || got.work <= limit || got.work > limit+8 || int64(got.memory) != limit/8 {
			t.Errorf("limit %d: %+v", limit, got)
		}
	}
}

// TestLimitCannotBeEvaded tries what has no loop: calls of calls, recursion, large fills.
func TestLimitCannotBeEvaded(t *testing.T) {
	tree := `(func $f0 (i32.store (i32.const 0) (i32.const 1)))`
	for i := 1; i < 60; i++ {
		tree += fmt.Sprintf("(func $f%d (call $f%d) (call $f%d))", i, i-1, i-1)
	}
	for name, text := range map[string]string{
		"a tree of 2^59 calls": tree + `(func (export "f") (call $f59))`,
		"two that call each other": `(func $a (call $b) (call $b)) (func $b (if (i32.load (i32.const 8)) (then (call $a)))) (func (export "f") (i32.store (i32.const 8) (i32.const 1))
			(loop (call $a) (br 0)))`,
		"fills":  `(func (export "f") (loop (memory.fill (i32.const 0) (i32.const 0) (i32.const 65536)) (br 0)))`,
		"blocks": `(func (export "f") (loop $l (block $b (br_table $b $l (i32.const 1)))))`,
	} {
		start := time.Now()
		got := calls(t, rewrite(t, "(module (memory 1) "+text+")"), 1_000_000)
		if got.end != "wasm error: unreachable" || (got.work <= 1_000_000 && got.room >= 0) || got.work > 1_010_000 {
			t.Errorf("%s: %+v", name, got)
		}
		if d := time.Since(start); d > 30*time.Second {
			t.Errorf("%s: %v", name, d)
		}
	}
}

// TestDepth recurses until it may not: after the same number of calls on every engine, before the engine's own stack ends, however large the
// frames are; and not at all for calls that come back.
func TestDepth(t *testing.T) {
	many := func(n int) (locals, uses string) {
		for i := range n {
			locals += fmt.Sprintf("(local $l%d i64)", i)
			uses += fmt.Sprintf("(local.set $l%d (i64.load (i32.const %d)))", i, 8*(i+1))
		}
		uses += "(call $r)"
		for i := range n {
			uses += fmt.Sprintf("(i64.store (i32.const %d) (local.get $l%d))", 8*(i+1), i)
		}
		return locals, uses
	}
	vectors := ""
	for i := range 400 {
		vectors += fmt.Sprintf("(v128.load (i32.const %d))", 16*i+16)
	}
	vectors += "(call $r)" + strings.Repeat("(v128.xor)", 399) + "(drop)"
	few, fewUses := many(10)
	lots, lotsUses := many(2000)
	for name, row := range map[string]struct {
		text string
		want uint32
	}{
		"a small frame":              {`(func $r (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))) (call $r))`, 74898},
		"ten locals":                 {`(func $r ` + few + countOne + fewUses + `)`, 0},
		"two thousand locals":        {`(func $r ` + lots + countOne + lotsUses + `)`, 0},
		"vectors kept over the call": {`(func $r ` + countOne + vectors + `)`, 0},
		"through a table":            {`(func $r ` + countOne + `(call_indirect (i32.const 0)))`, 0},
	} {
		got := calls(t, rewrite(t, `(module (memory 1) (table 1 funcref) (elem (i32.const 0) $r) `+row.text+` (func (export "f") (call $r)))`), 1<<40)
		if got.end != "wasm error: unreachable" || got.room >= 0 || got.memory < 100 || (row.want > 0 && got.memory != row.want) {
			t.Errorf("%s: %+v", name, got)
		}
		t.Logf("%s: ends in call %d", name, got.memory)
	}
	back := rewrite(t, `(module (memory 1) (func $fib (param i32) (result i32) (if (i32.lt_u (local.get 0) (i32.const 2)) (then (return (local.get 0))))
		(i32.add (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2)))))
		(func $two (result i32 i64) (if (call $fib (i32.const 1)) (then (return (i32.const 3) (i64.const 4)))) (call $two))
		(func (export "f") (result i32) (drop (call $two)) (drop) (call $fib (i32.const 15))))`)
	if got := calls(t, back, 1<<40); got.end != "" || got.room != meter.Depth || got.out[0] != 610 {
		t.Errorf("calls that come back: %+v", got)
	}
}

const countOne = `(i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))`

// TestNaN looks at the bits that a program can see.
func TestNaN(t *testing.T) {
	const zero, odd = "(f64.sub (local.get 0) (local.get 0))", "(i64.const 0x7ff4000000000001)"
	for name, row := range map[string]struct {
		body string
		want uint64
	}{
		"what arithmetic makes is canonical": {"(i64.reinterpret_f64 (f64.div " + zero + zero + "))", 0x7ff8000000000000},
		"also by way of a local":             {"(local.set 1 (f64.div " + zero + zero + ")) (i64.reinterpret_f64 (local.get 1))", 0x7ff8000000000000},
		"and of a root":                      {"(i64.reinterpret_f64 (f64.sqrt (f64.neg (local.get 0))))", 0x7ff8000000000000},
		"what is made of bits keeps them":    {"(i64.reinterpret_f64 (f64.reinterpret_i64 " + odd + "))", 0x7ff4000000000001},
		"also in memory and a local": {"(i64.store (i32.const 8) " + odd + ") (local.set 1 (f64.load (i32.const 8))) (f64.store (i32.const 16) (local.get 1)) (i64.load (i32.const 16))",
			0x7ff4000000000001},
		"a local that holds both keeps the one": {"(local.set 1 (f64.div " + zero + zero + ")) (f64.store (i32.const 8) (local.get 1)) (local.set 1 (f64.reinterpret_i64 " + odd + ")) (i64.reinterpret_f64 (local.get 1))",
			0x7ff4000000000001},
		"and makes the other canonical":           {"(local.set 1 (f64.reinterpret_i64 " + odd + ")) (local.set 1 (f64.div " + zero + zero + ")) (i64.reinterpret_f64 (local.get 1))", 0x7ff8000000000000},
		"a sign is taken off bits":                {"(i64.reinterpret_f64 (f64.neg (f64.reinterpret_i64 " + odd + ")))", 0xfff4000000000001},
		"a sign that arithmetic made is positive": {"(i64.reinterpret_f64 (f64.copysign (local.get 0) (f64.div " + zero + zero + ")))", 0x4008000000000000},
		"a select of both":                        {"(i64.reinterpret_f64 (select (f64.div " + zero + zero + ") (f64.reinterpret_i64 " + odd + ") (i32.const 1)))", 0x7ff8000000000000},
		"a narrower one":                          {"(i64.extend_i32_u (i32.reinterpret_f32 (f32.demote_f64 (f64.reinterpret_i64 " + odd + "))))", 0x7fc00000},
		"a wider one":                             {"(i64.reinterpret_f64 (f64.promote_f32 (f32.reinterpret_i32 (i32.const 0x7fa00001))))", 0x7ff8000000000000},
		"given to a function":                     {"(call $bits (f64.div " + zero + zero + "))", 0x7ff8000000000000},
		"left by a block":                         {"(i64.reinterpret_f64 (block (result f64) (f64.div " + zero + zero + ")))", 0x7ff8000000000000},
		"kept in a global":                        {"(global.set 0 (f64.div " + zero + zero + ")) (i64.reinterpret_f64 (global.get 0))", 0x7ff8000000000000},
		"in a vector":                             {"(local.set 2 (f64x2.div (f64x2.splat " + zero + ") (f64x2.splat " + zero + "))) (i64x2.extract_lane 1 (local.get 2))", 0x7ff8000000000000},
		"in a lane":                               {"(i64.reinterpret_f64 (f64x2.extract_lane 0 (f64x2.div (f64x2.splat " + zero + ") (f64x2.splat " + zero + "))))", 0x7ff8000000000000},
		"read in another shape":                   {"(i64x2.extract_lane 0 (f64x2.abs (f32x4.div (f32x4.splat (f32.const 0)) (f32x4.splat (f32.const 0)))))", 0x7fc000007fc00000},
		"a vector's bits stay":                    {"(i64x2.extract_lane 0 (f64x2.pmin (i64x2.splat " + odd + ") (i64x2.splat " + odd + ")))", 0x7ff4000000000001},
	} {
		module := rewrite(t, `(module (memory 1) (global (mut f64) (f64.const 0)) (func $bits (param f64) (result i64) (i64.reinterpret_f64 (local.get 0)))
			(func (export "f") (param f64) (result i64) (local f64) (local v128) `+row.body+`))`)
		if got := calls(t, module, 1<<40, math.Float64bits(3)); len(got.out) != 1 || got.out[0] != row.want {
			t.Errorf("%s: %x %s, want %x", name, got.out, got.end, row.want)
		}
	}
}

// TestRefused gives modules that are not taken, each with its reason.
func TestRefused(t *testing.T) {
	wide := "(func $w (param" + strings.Repeat(" i64", 1001) + "))"
	chain := `(memory 1) (data (i32.const 0) "` + strings.Repeat("x", 20_000) + `") (func $c0)`
	for i := 1; i < 80; i++ {
		chain += fmt.Sprintf("(func $c%d (local%s) (call $c%d))", i, strings.Repeat(" v128", 16000), i-1)
	}
	for name, row := range map[string]struct{ text, says string }{
		"the name of its count":   {`(global $g (mut i64) (i64.const 0)) (export "hpips:left" (global $g))`, "kept for its host"},
		"any name with a prefix":  {`(func (export "hpips:other"))`, "kept for its host"},
		"its count by number":     {`(global $g (mut i64) (i64.const 0)) (func (global.set 1 (i64.const 9)))`, "global 1 of 1"},
		"an imported memory":      {`(import "a" "b" (memory 1))`, "which is no function"},
		"an imported global":      {`(import "a" "b" (global i32))`, "which is no function"},
		"shared memory":           {`(memory 1 2 shared)`, "limits of kind 3"},
		"two memories":            {`(memory 1) (memory 1)`, "more than 1"},
		"atomics":                 {`(memory 1) (func (drop (i32.atomic.load (i32.const 0))))`, "not deterministic"},
		"relaxed vectors":         {`(func (drop (f32x4.relaxed_min (v128.const i32x4 0 0 0 0) (v128.const i32x4 0 0 0 0))))`, "relaxed SIMD"},
		"a table too large":       {`(table 2000000 funcref)`, "more than 1048576"},
		"too many types":          {strings.Repeat(`(type (func))`, 1<<14+1), "16385 types, more than 16384"},
		"too many tables":         {strings.Repeat(`(table 1 funcref)`, 17), "17 tables, more than 16"},
		"too many parameters":     {wide, "more than 1000"},
		"calls that need a stack": {chain, "slots without recursion"},
		"too many locals":         {"(func (local" + strings.Repeat(" i32", 40000) + "))", "more than 32768 locals"},
		"a value too few":         {`(func (result i32))`, "an operand is missing"},
		"a value too many":        {`(func (i32.const 1))`, "left over"},
		"another type":            {`(func (result i32) (i64.const 1))`, "type 0x7e"},
	} {
		_, err := meter.Rewrite(assemble(t, "(module "+row.text+")"))
		if err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, b := range map[string][]byte{"nothing": nil, "a header and no more": []byte("\x00asm\x01\x00\x00"), "another version": []byte("\x00asm\x02\x00\x00\x00"),
		"a section that is longer than the rest": []byte("\x00asm\x01\x00\x00\x00\x01\xff\xff\xff\x0f"), "a million types in no bytes": []byte("\x00asm\x01\x00\x00\x00\x01\x03\xc0\x84\x3d"),
		"larger than allowed": make([]byte, meter.MaxModule+1)} {
		if _, err := meter.Rewrite(b); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// TestHostileSize takes modules whose bytes say more than they are, and wants an end within seconds, whatever it is.
func TestHostileSize(t *testing.T) {
	section := func(id byte, body []byte) []byte {
		return append(binary.AppendUvarint([]byte{id}, uint64(len(body))), body...)
	}
	module := func(typ, body []byte) []byte {
		b := []byte("\x00asm\x01\x00\x00\x00")
		b = append(b, section(1, typ)...)
		b = append(b, section(3, []byte{1, 0})...)
		code := append(binary.AppendUvarint([]byte{1}, uint64(len(body))), body...)
		return append(b, section(10, code)...)
	}
	wide := append(append([]byte{1, 0x60}, binary.AppendUvarint(nil, 1000)...), bytes.Repeat([]byte{0x7f}, 1000)...)
	wide = append(append(wide, binary.AppendUvarint(nil, 1000)...), bytes.Repeat([]byte{0x7f}, 1000)...)
	const n = 1 << 20
	gets := []byte{0}
	for i := range 1000 {
		gets = binary.AppendUvarint(append(gets, 0x20), uint64(i))
	}
	plain := []byte{1, 0x60, 0, 0}
	floats := append([]byte{1, 1, 0x7c}, bytes.Repeat([]byte{0x20, 0, 0x20, 0, 0xa0, 0x22, 0, 0x21, 0}, n)...)
	var locals []byte // each local is set from the next, the last from bits: what is known comes slowly
	locals = append(append(locals, 1), binary.AppendUvarint(nil, 30000)...)
	locals = append(locals, 0x7c)
	for i := range 29999 {
		locals = binary.AppendUvarint(append(locals, 0x20), uint64(i+1))
		locals = binary.AppendUvarint(append(locals, 0x21), uint64(i))
	}
	locals = append(locals, 0x42, 0, 0xbf, 0x21)
	locals = append(binary.AppendUvarint(locals, 29999), 0x0b)
	for name, b := range map[string][]byte{
		"calls of a thousand parameters": module(wide, append(append(slices.Clone(gets), bytes.Repeat([]byte{0x10, 0}, n)...), 0x0b)),
		"blocks of a thousand":           module(wide, append(append(slices.Clone(gets), bytes.Repeat([]byte{0x02, 0, 0x0b}, n)...), 0x0b)),
		"blocks in one another":          module(plain, append(append(append([]byte{0}, bytes.Repeat([]byte{0x02, 0x40}, n)...), bytes.Repeat([]byte{0x0b}, n)...), 0x0b)),
		"loops in one another":           module(plain, append(append(append([]byte{0}, bytes.Repeat([]byte{0x03, 0x40}, 60000)...), bytes.Repeat([]byte{0x0b}, 60000)...), 0x0b)),
		"floats":                         module(plain, append(floats, 0x0b)),
		"a chain of locals":              module(plain, locals),
		"constants":                      module(plain, append(append(append([]byte{0}, bytes.Repeat([]byte{0x41, 0}, n)...), bytes.Repeat([]byte{0x1a}, n)...), 0x0b)),
	} {
		var said []string
		for form, rewrite := range []func([]byte) ([]byte, error){meter.Rewrite, meter.RewriteWatched} {
			start := time.Now()
			out, err := rewrite(b)
			took := time.Since(start)
			t.Logf("%s, form %d: %d bytes to %d in %v, %v", name, form, len(b), len(out), took, err)
			if took > 20*time.Second {
				t.Errorf("%s: %v", name, took)
			}
			said = append(said, fmt.Sprint(err))
		}
		if said[0] != said[1] {
			t.Errorf("%s: %s, watched %s", name, said[0], said[1])
		}
	}
}

// TestWholeAlike runs programs without floats as they are and metered: what they print is the same.
func TestWholeAlike(t *testing.T) {
	ctx := context.Background()
	rt := runtimes(ctx)["compiler"]
	defer rt.Close(ctx)
	for seed := range *modules {
		module := metertest.Program(seed, metertest.Whole)
		metered, err := meter.Rewrite(module)
		if err != nil {
			t.Fatal(seed, err)
		}
		a, b := run(ctx, rt, module, 0), run(ctx, rt, metered, limit)
		if a.out != b.out || a.end != b.end {
			t.Errorf("seed %d: %s, metered %s", seed, a.brief(), b.brief())
		}
	}
}

// FuzzRewrite gives any bytes: no panic, and what is taken is valid for wazero, before and after.
func FuzzRewrite(f *testing.F) {
	for seed := range uint64(12) {
		f.Add(metertest.Program(seed, metertest.Kind(seed%3)))
	}
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(api.CoreFeaturesV2))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		metered, err := meter.Rewrite(b)
		if err != nil {
			if meter.Check(b) == nil && !strings.Contains(err.Error(), "kept for") && !strings.Contains(err.Error(), "slots") {
				t.Fatalf("valid, and %v", err)
			}
			return
		}
		watched, err := meter.RewriteWatched(b)
		if err != nil {
			t.Fatal("only not watched:", err)
		}
		for _, m := range [][]byte{b, metered, watched} {
			code, err := rt.CompileModule(ctx, m)
			if err != nil {
				t.Fatal(err)
			}
			code.Close(ctx)
		}
		if again, err := meter.Rewrite(b); err != nil || !bytes.Equal(again, metered) {
			t.Fatal("the same bytes were rewritten otherwise", err)
		}
	})
}

// FuzzAlike draws programs: both engines give the same, also at a limit.
func FuzzAlike(f *testing.F) {
	f.Add(uint64(1), uint16(0))
	ctx := context.Background()
	engines := runtimes(ctx)
	f.Fuzz(func(t *testing.T, seed uint64, limit uint16) {
		metered, err1 := meter.Rewrite(metertest.Program(seed, metertest.Mixed))
		watched, err2 := meter.RewriteWatched(metertest.Program(seed, metertest.Mixed))
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		most := int64(limit)
		if most == 0 {
			most = 1 << 30
		}
		a, b := run(ctx, engines["compiler"], metered, most), run(ctx, engines["interpreter"], metered, most)
		if a != b {
			t.Fatalf("%s\n%s", a.brief(), b.brief())
		}
		points := []int64{most / 64, most / 8, most / 7}
		for _, engine := range engines {
			c, states := runWatched(ctx, engine, watched, most, points)
			if c != a {
				t.Fatalf("watched %s\n%s", c.brief(), a.brief())
			}
			for i, point := range points {
				if d := run(ctx, engine, metered, point); d.sum != states[i] {
					t.Fatalf("the state at %d is %x, stopped there %x", point, states[i], d.sum)
				}
			}
		}
	})
}
