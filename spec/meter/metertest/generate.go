// Package metertest keeps a generator of WebAssembly programs for tests of whatever runs them.
// It promises that a seed gives the same valid program everywhere, that the program ends by itself, and that what it prints depends on all
// it did: integers, floats with NaNs of all kinds, vectors, memory, tables, calls of every kind, branches, recursion, and now and then a trap.
// It leaves running them, and what has to be alike, to the tests.
package metertest

import "encoding/binary"

// Types of the binary format.
const (
	i32  = 0x7f
	i64  = 0x7e
	f32  = 0x7d
	f64  = 0x7c
	v128 = 0x7b
)

var all = []byte{i32, i64, f32, f64, v128}

// Kind is what a program is made of.
type Kind int

const (
	// Mixed is everything.
	Mixed Kind = iota
	// Whole is without floats: any engine gives the same bytes for it, metered or not.
	Whole
	// Deep calls itself until the stack ends.
	Deep
)

// Program gives the program of a seed: it exports _start and memory, imports fd_write of WASI preview 1, and prints to standard output.
func Program(seed uint64, kind Kind) []byte {
	g := &generator{state: seed, kind: kind}
	g.state = g.next() // or the next seed would draw the same numbers, one later
	return g.module()
}

type signature struct{ in, out []byte }

// generator draws with splitmix64 (Steele, Lea, Flood 2014).
type generator struct {
	state uint64
	kind  Kind

	types   []signature
	funcs   []int // types
	globals []byte

	// Of the function at hand.
	b      []byte
	locals []byte
	fixed  int // locals from here on are counters of loops
	in     int // loops around
	blocks int // labels that a branch without values may name
	room   int // instructions that may still be drawn
}

func (g *generator) next() uint64 {
	g.state += 0x9e3779b97f4a7c15
	z := g.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (g *generator) n(n int) int { return int(g.next() % uint64(n)) }

func (g *generator) one(list []byte) byte { return list[g.n(len(list))] }

func (g *generator) kinds() []byte {
	if g.kind == Whole {
		return all[:2]
	}
	return all
}

func (g *generator) list(most int) []byte {
	out := make([]byte, g.n(most+1))
	for i := range out {
		out[i] = g.one(g.kinds())
	}
	return out
}

func (g *generator) op(b ...byte) { g.b = append(g.b, b...) }

func (g *generator) unsigned(v uint64) { g.b = binary.AppendUvarint(g.b, v) }

func (g *generator) signed(v int64) {
	for {
		c := byte(v) & 0x7f
		v >>= 7
		if (v == 0 && c&0x40 == 0) || (v == -1 && c&0x40 != 0) {
			g.op(c)
			return
		}
		g.op(c | 0x80)
	}
}

// Imports, and the globals that a program has besides those drawn.
const (
	fdWrite  = 0
	imported = 1
	fuel     = 0 // the calls that it may still make
	slots    = 6 // elements of its table, the last of them empty
	window   = 512
)

func (g *generator) module() []byte {
	g.types = []signature{{[]byte{i32, i32, i32, i32}, []byte{i32}}, {}}
	for range 2 + g.n(4) {
		g.types = append(g.types, signature{g.list(4), g.list(2)})
	}
	g.globals = []byte{i32}
	for range 1 + g.n(5) {
		g.globals = append(g.globals, g.one(g.kinds()))
	}
	for range 2 + g.n(6) {
		g.funcs = append(g.funcs, 1+g.n(len(g.types)-1))
	}
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, body []byte) {
		out = append(out, id)
		out = binary.AppendUvarint(out, uint64(len(body)))
		out = append(out, body...)
	}
	section(1, g.typeSection())
	section(2, []byte("\x01\x16wasi_snapshot_preview1\x08fd_write\x00\x00"))
	b := binary.AppendUvarint(nil, uint64(len(g.funcs)+1))
	for _, t := range g.funcs {
		b = binary.AppendUvarint(b, uint64(t))
	}
	section(3, append(b, 1))
	section(4, []byte{1, 0x70, 1, slots, slots + 8})
	section(5, []byte{1, 1, 1, 4})
	section(6, g.globalSection())
	b = append([]byte("\x02\x06memory\x02\x00\x06_start\x00"), binary.AppendUvarint(nil, uint64(imported+len(g.funcs)))...)
	section(7, b)
	b = []byte{1, 0, 0x41, 0, 0x0b, slots - 1}
	for range slots - 1 {
		b = binary.AppendUvarint(b, uint64(imported+g.n(len(g.funcs))))
	}
	section(9, b)
	section(12, []byte{1})
	b = binary.AppendUvarint(nil, uint64(len(g.funcs)+1))
	for _, t := range g.funcs {
		body := g.function(g.types[t])
		b = binary.AppendUvarint(b, uint64(len(body)))
		b = append(b, body...)
	}
	body := g.start()
	b = binary.AppendUvarint(b, uint64(len(body)))
	section(10, append(b, body...))
	section(11, append([]byte{1, 1, 64}, g.raw(64)...))
	return out
}

func (g *generator) raw(n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(g.next())
	}
	return out
}

func (g *generator) typeSection() []byte {
	b := []byte{byte(len(g.types))}
	for _, t := range g.types {
		b = append(b, 0x60, byte(len(t.in)))
		b = append(append(b, t.in...), byte(len(t.out)))
		b = append(b, t.out...)
	}
	return b
}

func (g *generator) globalSection() []byte {
	g.b = []byte{byte(len(g.globals))}
	for i, t := range g.globals {
		g.op(t, 1)
		if i == fuel {
			g.op(0x41)
			if g.kind == Deep {
				g.signed(1 << 30)
			} else {
				g.signed(int64(20 + g.n(200)))
			}
		} else {
			g.constant(t)
		}
		g.op(0x0b)
	}
	return g.b
}

// start calls functions and prints what they gave and the first bytes of memory, after each.
func (g *generator) start() []byte {
	g.begin(nil, 0)
	for range 2 + g.n(4) {
		f := g.n(len(g.funcs))
		t := g.types[g.funcs[f]]
		for _, p := range t.in {
			g.constant(p)
		}
		g.op(0x10)
		g.unsigned(uint64(imported + f))
		for i := len(t.out) - 1; i >= 0; i-- {
			g.keep(t.out[i], i)
		}
		for i, global := range g.globals {
			g.op(0x23)
			g.unsigned(uint64(i))
			g.keep(global, 4+i)
		}
		// The pair of address and length is at 8, the printed bytes behind.
		g.op(0x41, 8, 0x41, 16, 0x36, 2, 0, 0x41, 12, 0x41)
		g.signed(window)
		g.op(0x36, 2, 0)
		g.op(0x41, 1, 0x41, 8, 0x41, 1, 0x41, 4, 0x10, fdWrite, 0x1a)
	}
	return g.end()
}

// keep stores the value on the stack at a place of its own.
func (g *generator) keep(t byte, at int) {
	l := g.scratch(t)
	g.op(0x21)
	g.unsigned(l)
	g.op(0x41)
	g.signed(int64(32 + 16*at))
	g.op(0x20)
	g.unsigned(l)
	g.store(t, 0)
}

// scratch is a local of a type; each function has one of each at the beginning of its own.
func (g *generator) scratch(t byte) uint64 {
	for i := len(g.locals) - 1; i >= 0; i-- {
		if g.locals[i] == t && i < g.fixed {
			return uint64(i)
		}
	}
	return 0
}

const counters = 4 // loops in one another

func (g *generator) begin(params []byte, room int) {
	g.b, g.room, g.in, g.blocks = nil, room, 0, 0
	g.locals = append(append([]byte{}, params...), all...)
	for range g.n(8) {
		g.locals = append(g.locals, g.one(g.kinds()))
	}
	g.fixed = len(g.locals)
	for range counters {
		g.locals = append(g.locals, i32)
	}
	own := g.locals[len(params):]
	g.unsigned(uint64(len(own)))
	for _, t := range own {
		g.op(1, t)
	}
}

func (g *generator) end() []byte {
	g.op(0x0b)
	return g.b
}

func (g *generator) function(t signature) []byte {
	g.begin(t.in, 40+g.n(160))
	// Without fuel it gives nothing but zeros.
	g.op(0x23, fuel, 0x41, 1, 0x6b, 0x24, fuel, 0x23, fuel, 0x41, 0, 0x48, 0x04, 0x40)
	for _, r := range t.out {
		g.zero(r)
	}
	g.op(0x0f, 0x0b)
	if g.kind == Deep {
		f := g.n(len(g.funcs))
		u := g.types[g.funcs[f]]
		for _, p := range u.in {
			g.value(p, 2)
		}
		g.op(0x10)
		g.unsigned(uint64(imported + f))
		for range u.out {
			g.op(0x1a)
		}
	}
	for range 2 + g.n(6) {
		g.statement(3)
	}
	for _, r := range t.out {
		g.value(r, 3)
	}
	if g.n(3) == 0 {
		g.op(0x0f)
	}
	return g.end()
}

func (g *generator) zero(t byte) {
	switch t {
	case i32:
		g.op(0x41, 0)
	case i64:
		g.op(0x42, 0)
	case f32:
		g.op(0x43, 0, 0, 0, 0)
	case f64:
		g.op(0x44, 0, 0, 0, 0, 0, 0, 0, 0)
	default:
		g.op(0xfd, 12)
		g.op(make([]byte, 16)...)
	}
}

// Bits that show what an engine does at the edges.
var (
	bits32 = []uint32{0, 1 << 31, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000, 0x7fa00000, 0xffc12345, 1, 0x3f800000, 0x4f000000, 0xcf000001}
	bits64 = []uint64{0, 1 << 63, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0xfff8000000000000, 0x7ff4000000000000,
		0xfff8123456789abc, 1, 0x3ff0000000000000, 0x43e0000000000000, 0xc3e0000000000001}
)

func (g *generator) constant(t byte) {
	easy := g.n(3) > 0
	switch t {
	case i32:
		g.op(0x41)
		if easy {
			g.signed(int64(g.n(64) - 16))
		} else {
			g.signed(int64(int32(g.next())))
		}
	case i64:
		g.op(0x42)
		if easy {
			g.signed(int64(g.n(64) - 16))
		} else {
			g.signed(int64(g.next()))
		}
	case f32:
		v := bits32[g.n(len(bits32))]
		if easy {
			v = uint32(g.next())&0x80ffffff | 0x3f000000
		}
		g.b = binary.LittleEndian.AppendUint32(append(g.b, 0x43), v)
	case f64:
		v := bits64[g.n(len(bits64))]
		if easy {
			v = g.next()&0x801fffffffffffff | 0x3fe0000000000000
		}
		g.b = binary.LittleEndian.AppendUint64(append(g.b, 0x44), v)
	default:
		g.op(0xfd, 12)
		if easy || g.kind == Whole {
			g.op(g.raw(16)...)
			return
		}
		for range 2 {
			g.b = binary.LittleEndian.AppendUint64(g.b, bits64[g.n(len(bits64))])
		}
	}
}

// address gives one that mostly lies in memory.
func (g *generator) address(depth int) {
	g.value(i32, depth-1)
	if g.n(40) == 0 {
		return
	}
	g.op(0x41)
	g.signed(window - 16)
	g.op(0x71)
}

func (g *generator) store(t byte, offset uint64) {
	switch t {
	case i32:
		g.op(0x36, 2)
	case i64:
		g.op(0x37, 3)
	case f32:
		g.op(0x38, 2)
	case f64:
		g.op(0x39, 3)
	default:
		g.op(0xfd, 11, 0)
	}
	g.unsigned(offset)
}
