package wasm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/enginetest"
)

// TestHostile lets mallory's programs do their worst.
func TestHostile(t *testing.T) {
	e, _ := ownEngine(t, func(c *Config) { c.CompileTime = time.Minute })
	cases := enginetest.WASM()
	if testing.Short() { // as with the race detector, which finds nothing more in more of them
		cases = enginetest.Fewer(cases, 4)
	}
	enginetest.Hostile(t, enginetest.Hold{
		Engine:   e,
		Program:  hostile,
		Running:  func(t *testing.T, _ string) []int { return enginetest.Children(t) },
		Resident: true,
		Limits:   engine.Limits{Time: time.Second, Memory: 64 << 20, Output: 1 << 20, Disk: 4 << 20},
	}, cases)
}

// hostile gives the program of a case.
func hostile(t *testing.T, c enginetest.Case) engine.Program {
	t.Helper()
	path := filepath.Join(workshop(t), "hostile.wasm")
	if body, own := instructions[c.Act]; own {
		wat := saved(t, strings.ReplaceAll(c.Act, " ", "-")+".wat", fmt.Sprintf(loud, body))
		path = strings.TrimSuffix(wat, "wat") + "wasm"
		if b, err := exec.Command("wat2wasm", wat, "-o", path).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
	} else if module, own := modules[c.Act]; own {
		path = saved(t, "module.wasm", string(module()))
	} else {
		build(t, path, func() *exec.Cmd {
			cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "./testdata/hostile")
			cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
			return cmd
		})
	}
	return program(t, path)
}

// loud is a program that says "begun", and does then what its functions say.
const loud = `(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (type $void (func)) (type $number (func (param i64) (result i64)))
  (data (i32.const 16) "\10\00\00\00\05\00\00\00begun\0a")
  (func $say (i32.store (i32.const 16) (i32.const 24)) (i32.store (i32.const 20) (i32.const 6)) (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32))))
  %s)`

// instructions are bodies of programs, by their case.
var instructions = map[string]string{
	"unreachable":               `(func (export "_start") (call $say) (unreachable))`,
	"divide by zero":            `(func (export "_start") (call $say) (drop (i64.rem_s (i64.const 1) (i64.const 0))))`,
	"out of bounds":             `(func (export "_start") (call $say) (i64.store offset=0xfffffff8 (i32.const -1) (i64.const 1)))`,
	"no function":               `(table 4 funcref) (func (export "_start") (call $say) (call_indirect (type $void) (i32.const 1)))`,
	"another function":          `(table 1 funcref) (elem (i32.const 0) $say) (func (export "_start") (call $say) (drop (call_indirect (type $number) (i64.const 1) (i32.const 0))))`,
	"recursion":                 `(func $f (param i64) (result i64) (i64.add (i64.const 1) (call $f (local.get 0)))) (func (export "_start") (call $say) (drop (call $f (i64.const 1))))`,
	"recursion of two":          `(func $f (param i64) (result i64) (i64.add (i64.const 1) (call $g (local.get 0)))) (func $g (param i64) (result i64) (i64.mul (i64.const 3) (call $f (local.get 0)))) (func (export "_start") (call $say) (drop (call $f (i64.const 1))))`,
	"recursion through a table": `(table 1 funcref) (elem (i32.const 0) $f) (func $f (param i64) (result i64) (i64.add (i64.const 1) (call_indirect (type $number) (local.get 0) (i32.const 0)))) (func (export "_start") (call $say) (drop (call $f (i64.const 1))))`,
	"tables without end":        `(table $t 1 funcref) (func (export "_start") (call $say) (loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 0x10000)) (i32.const -1)))) (unreachable))`,
	"pages without end":         `(func (export "_start") (call $say) (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (unreachable))`,
	"loop":                      `(func (export "_start") (call $say) (loop $for (br $for)))`,
	"fill memory without end":   `(func (export "_start") (call $say) (drop (memory.grow (i32.const 900))) (loop $for (memory.fill (i32.const 65536) (i32.const 7) (i32.const 50000000)) (br $for)))`,
	"copy memory without end":   `(func (export "_start") (call $say) (drop (memory.grow (i32.const 900))) (loop $for (memory.copy (i32.const 65536) (i32.const 65537) (i32.const 50000000)) (br $for)))`,
	"call without end":          `(func $f (param i64) (result i64) (local.get 0)) (func (export "_start") (call $say) (loop $for (drop (call $f (i64.const 1))) (br $for)))`,
	"before it starts":          `(func $first (call $say) (loop $for (br $for))) (start $first) (func (export "_start"))`,
}

// section writes one of a module: its number, its length, its content.
func section(id byte, content []byte) []byte {
	return append(binary.AppendUvarint([]byte{id}, uint64(len(content))), content...)
}

// vector writes n times the same, with the number before.
func vector(n int, one ...byte) []byte {
	return append(binary.AppendUvarint(nil, uint64(n)), bytes.Repeat(one, n)...)
}

// module is one with a start function of these locals and instructions, and what other sections there are before its code.
func module(locals, body []byte, more ...[]byte) []byte {
	function := append(append(bytes.Clone(locals), body...), 0x0b)
	code := append(binary.AppendUvarint([]byte{1}, uint64(len(function))), function...)
	parts := [][]byte{[]byte(wasmMagic), section(1, vector(1, 0x60, 0, 0)), section(3, vector(1, 0)), section(5, vector(1, 0, 1)), section(7, []byte("\x02\x06_start\x00\x00\x06memory\x02\x00")), section(10, code)}
	return append(bytes.Join(parts, nil), bytes.Join(more, nil)...)
}

// modules are whole programs, by their case.
var modules = map[string]func() []byte{
	"no module":     func() []byte { return []byte("dear bob, this is no program") },
	"half a module": func() []byte { m := module([]byte{0}, nil); return m[:len(m)-3] },
	"claims too much": func() []byte {
		return append([]byte(wasmMagic), section(1, []byte("\xff\xff\xff\xff\x0f\x60\x00\x00"))...)
	},
	"foreign imports": func() []byte {
		return append([]byte(wasmMagic), append(section(1, vector(1, 0x60, 0, 0)), section(2, []byte("\x01\x03env\x06system\x00\x00"))...)...)
	},
	"mistyped imports": func() []byte {
		return append([]byte(wasmMagic), append(section(1, vector(1, 0x60, 0, 0)), section(2, []byte("\x01\x16wasi_snapshot_preview1\x08fd_write\x00\x00"))...)...)
	},
	"too much memory at once": func() []byte {
		return bytes.Replace(module([]byte{0}, nil), section(5, vector(1, 0, 1)), section(5, []byte("\x01\x00\x80\x80\x04")), 1)
	},
	"one huge function": func() []byte { return module([]byte{0}, bytes.Repeat([]byte("\x42\x01\x42\x02\x7c\x1a"), 1<<16)) },
	"many functions": func() []byte {
		const n = 10_000
		body := []byte{2, 0, 0x0b}
		return bytes.Join([][]byte{[]byte(wasmMagic), section(1, vector(1, 0x60, 0, 0)), section(3, vector(n, 0)), section(5, vector(1, 0, 1)), section(7, []byte("\x02\x06_start\x00\x00\x06memory\x02\x00")), section(10, vector(n, body...))}, nil)
	},
	"many locals": func() []byte { return module(append(binary.AppendUvarint([]byte{1}, 49_000), 0x7e), nil) },
	"deep blocks": func() []byte {
		return module([]byte{0}, append(bytes.Repeat([]byte{0x02, 0x40}, 5_000), bytes.Repeat([]byte{0x0b}, 5_000)...))
	},
	"a wide table of branches": func() []byte {
		return module([]byte{0}, append(append([]byte{0x02, 0x40, 0x41, 0x00, 0x0e}, vector(5_000, 0)...), 0, 0x0b))
	},
	"many types": func() []byte {
		m := module([]byte{0}, nil)
		return bytes.Replace(m, section(1, vector(1, 0x60, 0, 0)), section(1, vector(200_000, 0x60, 0, 0)), 1)
	},
	"a large custom section": func() []byte {
		return module([]byte{0}, nil, section(0, append([]byte{1, 'x'}, make([]byte, 60<<20)...)))
	},
	"data out of bounds": func() []byte {
		return module([]byte{0}, nil, section(11, []byte("\x01\x00\x41\xff\xff\x03\x0b\x08outside!")))
	},
}
