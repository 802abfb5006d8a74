package metertest

// operation is one instruction with the types that it takes; what it gives is the key under which it is listed.
type operation struct {
	in   []byte
	code []byte
}

func each(in []byte, from, to byte, not ...byte) (list []operation) {
	for c := int(from); c <= int(to); c++ {
		if !has(not, byte(c)) {
			list = append(list, operation{in, []byte{byte(c)}})
		}
	}
	return list
}

// vectors are instructions after the prefix of SIMD; n lanes at most, 0 for none.
func vectors(in []byte, lanes byte, codes ...byte) (list []operation) {
	for _, c := range codes {
		code := []byte{0xfd, c}
		if c >= 0x80 {
			code = append(code, 1)
		}
		if lanes > 0 {
			code = append(code, lanes-1)
		}
		list = append(list, operation{in, code})
	}
	return list
}

func span(from, to byte, not ...byte) (list []byte) {
	for c := int(from); c <= int(to); c++ {
		if !has(not, byte(c)) {
			list = append(list, byte(c))
		}
	}
	return list
}

func has(list []byte, b byte) bool {
	for _, c := range list {
		if c == b {
			return true
		}
	}
	return false
}

func join(lists ...[]operation) (all []operation) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

var (
	i  = []byte{i32}
	ii = []byte{i32, i32}
	l  = []byte{i64}
	ll = []byte{i64, i64}
	f  = []byte{f32}
	ff = []byte{f32, f32}
	d  = []byte{f64}
	dd = []byte{f64, f64}
	v  = []byte{v128}
	vv = []byte{v128, v128}
	vi = []byte{v128, i32}
)

func saturate(in []byte, a, b byte) []operation {
	return []operation{{in, []byte{0xfc, a}}, {in, []byte{0xfc, b}}}
}

// whole are operations without floats, by what they give; floating those with them.
var whole = map[byte][]operation{
	i32: join(each(i, 0x45, 0x45), each(ii, 0x46, 0x4f), each(l, 0x50, 0x50), each(ll, 0x51, 0x5a), each(i, 0x67, 0x69), each(ii, 0x6a, 0x78),
		each(l, 0xa7, 0xa7), each(i, 0xc0, 0xc1)),
	i64: join(each(l, 0x79, 0x7b), each(ll, 0x7c, 0x8a), each(i, 0xac, 0xad), each(l, 0xc2, 0xc4)),
}

var floating = map[byte][]operation{
	i32: join(each(ff, 0x5b, 0x60), each(dd, 0x61, 0x66), each(f, 0xa8, 0xa9), each(d, 0xaa, 0xab), each(f, 0xbc, 0xbc), saturate(f, 0, 1),
		saturate(d, 2, 3), vectors(v, 16, 21, 22), vectors(v, 8, 24, 25), vectors(v, 4, 27), vectors(v, 0, 83, 99, 100, 131, 132, 163, 164, 195, 196)),
	i64: join(each(f, 0xae, 0xaf), each(d, 0xb0, 0xb1), each(d, 0xbd, 0xbd), saturate(f, 4, 5), saturate(d, 6, 7), vectors(v, 2, 29)),
	f32: join(each(f, 0x8b, 0x91), each(ff, 0x92, 0x98), each(ff, 0x92, 0x98), each(i, 0xb2, 0xb3), each(l, 0xb4, 0xb5), each(d, 0xb6, 0xb6),
		each(i, 0xbe, 0xbe), vectors(v, 4, 31)),
	f64: join(each(d, 0x99, 0x9f), each(dd, 0xa0, 0xa6), each(dd, 0xa0, 0xa6), each(i, 0xb7, 0xb8), each(l, 0xb9, 0xba), each(f, 0xbb, 0xbb),
		each(l, 0xbf, 0xbf), vectors(v, 2, 33)),
	v128: join(vectors(i, 0, 15, 16, 17), vectors(l, 0, 18), vectors(f, 0, 19), vectors(d, 0, 20), vectors(vv, 0, span(35, 76)...),
		vectors(v, 0, 77, 94, 95, 96, 97, 98), vectors(vv, 0, span(78, 81)...), vectors([]byte{v128, v128, v128}, 0, 82), vectors(vv, 0, 14, 101, 102),
		vectors(v, 0, span(103, 106)...), vectors(vi, 0, 107, 108, 109, 139, 140, 141, 171, 172, 173, 203, 204, 205), vectors(vv, 0, span(110, 115)...),
		vectors(v, 0, 116, 117, 122, 148), vectors(vv, 0, span(118, 121)...), vectors(v, 0, span(124, 127)...), vectors(vv, 0, 123, 130, 133, 134),
		vectors(vv, 0, span(142, 159, 148, 154)...), vectors(v, 0, 128, 129, 135, 136, 137, 138, 160, 161, 167, 168, 169, 170, 192, 193, 199, 200, 201, 202),
		vectors(vv, 0, 174, 177, 181, 182, 183, 184, 185, 186, 188, 189, 190, 191, 206, 209, 213, 214, 215, 216, 217, 218, 219, 220, 221, 222, 223),
		vectors(v, 0, 224, 225, 227, 236, 237, 239), vectors(vv, 0, span(228, 235)...), vectors(vv, 0, span(240, 247)...),
		vectors(vv, 0, span(228, 235)...), vectors(vv, 0, span(240, 247)...), vectors(v, 0, span(248, 255)...),
		vectors(vi, 16, 23), vectors(vi, 8, 26), vectors(vi, 4, 28), vectors([]byte{v128, i64}, 2, 30), vectors([]byte{v128, f32}, 4, 32),
		vectors([]byte{v128, f64}, 2, 34)),
}

// value draws code that gives a value.
func (g *generator) value(t byte, depth int) {
	g.room--
	if depth <= 0 || g.room <= 0 {
		if g.n(2) == 0 {
			g.variable(t)
		} else {
			g.constant(t)
		}
		return
	}
	switch g.n(16) {
	case 0:
		g.constant(t)
	case 1, 2, 3:
		g.variable(t)
	case 4:
		g.load(t, depth)
	case 5:
		g.choice(t, depth)
	case 6:
		g.carried(t, depth)
	case 7:
		g.result(t, depth)
	case 8:
		if t == i32 {
			g.op(0x3f, 0)
			return
		}
		g.tee(t, depth)
	default:
		g.reckon(t, depth)
	}
}

func (g *generator) reckon(t byte, depth int) {
	list := whole[t]
	if extra := floating[t]; g.kind != Whole && (len(list) == 0 || g.n(2) == 0) {
		list = extra
	}
	o := list[g.n(len(list))]
	for _, p := range o.in {
		g.value(p, depth-1)
	}
	if c := o.code[0]; (c >= 0x6d && c <= 0x70 || c >= 0x7f && c <= 0x82) && g.n(20) > 0 {
		g.op(map[byte]byte{i32: 0x41, i64: 0x42}[t], 1, map[byte]byte{i32: 0x72, i64: 0x84}[t]) // mostly not by zero
	}
	if c := o.code[0]; c >= 0xa8 && c <= 0xab || c >= 0xae && c <= 0xb1 {
		if g.n(10) > 0 { // mostly without the trap of what is too large
			g.op(0xfc, map[byte]byte{0xa8: 0, 0xa9: 1, 0xaa: 2, 0xab: 3, 0xae: 4, 0xaf: 5, 0xb0: 6, 0xb1: 7}[c])
			return
		}
	}
	g.op(o.code...)
}

func (g *generator) variable(t byte) {
	if g.n(5) == 0 {
		for n := len(g.globals) - 1; n > 0; n-- {
			if g.globals[n] == t {
				g.op(0x23, byte(n))
				return
			}
		}
	}
	g.op(0x20)
	g.unsigned(g.local(t))
}

// local gives one of a type, not always the same.
func (g *generator) local(t byte) uint64 {
	at := g.n(g.fixed)
	for k := range g.fixed {
		if j := (at + k) % g.fixed; g.locals[j] == t {
			return uint64(j)
		}
	}
	return 0
}

func (g *generator) load(t byte, depth int) {
	g.address(depth)
	switch t {
	case i32:
		g.op([][]byte{{0x28, 2}, {0x2c, 0}, {0x2d, 0}, {0x2e, 1}, {0x2f, 0}}[g.n(5)]...)
	case i64:
		g.op([][]byte{{0x29, 3}, {0x30, 0}, {0x31, 0}, {0x32, 1}, {0x33, 0}, {0x34, 2}, {0x35, 0}}[g.n(7)]...)
	case f32:
		g.op(0x2a, 2)
	case f64:
		g.op(0x2b, 0)
	default:
		g.op(0xfd, g.one([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 92, 93}), 0)
	}
	g.unsigned(uint64(16 + g.n(8)))
}

// choice is a select or an if that gives a value.
func (g *generator) choice(t byte, depth int) {
	if g.n(2) == 0 {
		g.value(t, depth-1)
		g.value(t, depth-1)
		g.value(i32, depth-1)
		if g.n(2) == 0 {
			g.op(0x1b)
		} else {
			g.op(0x1c, 1, t)
		}
		return
	}
	g.value(i32, depth-1)
	g.op(0x04, t)
	g.blocks++
	g.value(t, depth-1)
	g.op(0x05)
	g.value(t, depth-1)
	g.blocks--
	g.op(0x0b)
}

// carried is a block that a branch may leave with its value.
func (g *generator) carried(t byte, depth int) {
	was := g.blocks
	g.op(0x02, t)
	g.blocks = 0 // statements inside must not branch to it
	g.value(t, depth-1)
	if g.n(4) > 0 {
		g.value(i32, depth-1)
		g.op(0x0d, 0)
	} else {
		g.op(0x0c, 0)
		g.op(0x1a) // never reached, and so never missing
		g.value(t, 1)
	}
	g.blocks = was
	g.op(0x0b)
}

// result is what a function gives that gives one of this type.
func (g *generator) result(t byte, depth int) {
	at := g.n(len(g.funcs))
	for k := range g.funcs {
		fn := (at + k) % len(g.funcs)
		s := g.types[g.funcs[fn]]
		if len(s.out) != 1 || s.out[0] != t {
			continue
		}
		for _, p := range s.in {
			g.value(p, depth-1)
		}
		if g.n(3) == 0 {
			g.op(0x41, byte(g.n(slots+1)), 0x11)
			g.unsigned(uint64(g.funcs[fn]))
			g.op(0)
			return
		}
		g.op(0x10)
		g.unsigned(uint64(imported + fn))
		return
	}
	g.reckon(t, depth)
}

func (g *generator) tee(t byte, depth int) {
	g.value(t, depth-1)
	g.op(0x22)
	g.unsigned(g.local(t))
}

// statement draws code that leaves nothing on the stack.
func (g *generator) statement(depth int) {
	if g.room--; g.room <= 0 {
		return
	}
	t := g.one(g.kinds())
	switch g.n(14) {
	case 0, 1, 2:
		g.value(t, depth)
		g.op(0x21)
		g.unsigned(g.local(t))
	case 3, 4:
		g.address(depth)
		g.value(t, depth)
		g.store(t, uint64(16+g.n(8)))
	case 5:
		for n := len(g.globals) - 1; n > 0; n-- {
			if g.globals[n] == t {
				g.value(t, depth)
				g.op(0x24, byte(n))
				return
			}
		}
	case 6:
		g.value(i32, depth)
		g.op(0x04, 0x40)
		g.inside(depth)
		if g.n(2) == 0 {
			g.op(0x05)
			g.inside(depth)
		}
		g.op(0x0b)
	case 7, 8:
		g.repeat(depth)
	case 9:
		g.op(0x02, 0x40)
		g.inside(depth)
		g.op(0x0b)
	case 10:
		g.jump(depth)
	case 11:
		g.sizes(depth)
	case 12:
		if g.n(60) == 0 {
			g.op(0x00)
		}
	default:
		g.value(t, depth)
		g.op(0x1a)
	}
}

func (g *generator) inside(depth int) {
	g.blocks++
	for range g.n(4) {
		g.statement(depth - 1)
	}
	g.blocks--
}

// repeat is a loop that counts down in a local of its own.
func (g *generator) repeat(depth int) {
	if g.in == counters {
		return
	}
	c := byte(g.fixed + g.in)
	g.in++
	was := g.blocks
	g.op(0x41, byte(1+g.n(12)), 0x21, c, 0x03, 0x40)
	g.blocks = -1 // a branch to its head without counting would never end
	g.inside(depth)
	g.op(0x20, c, 0x41, 1, 0x6b, 0x22, c, 0x41, 0, 0x4a, 0x0d, 0, 0x0b)
	g.blocks = was
	g.in--
}

func (g *generator) jump(depth int) {
	if g.blocks <= 0 {
		return
	}
	g.value(i32, depth)
	if g.n(2) == 0 {
		g.op(0x0d, byte(g.n(g.blocks)))
		return
	}
	n := g.n(4)
	g.op(0x0e, byte(n))
	for range n + 1 {
		g.op(byte(g.n(g.blocks)))
	}
}

// sizes are instructions that take a size.
func (g *generator) sizes(depth int) {
	small := func(most int64) {
		g.value(i32, depth)
		g.op(0x41)
		g.signed(most)
		g.op(0x71)
	}
	switch g.n(8) {
	case 0:
		small(1)
		g.op(0x40, 0, 0x1a)
	case 1:
		small(255)
		small(255)
		small(255)
		g.op(0xfc, 10, 0, 0)
	case 2:
		small(255)
		g.value(i32, depth)
		small(255)
		g.op(0xfc, 11, 0)
	case 3:
		small(255)
		small(31)
		small(31)
		g.op(0xfc, 8, 0, 0)
	case 4:
		g.op(0xd0, 0x70)
		small(3)
		g.op(0xfc, 15, 0, 0x1a)
	case 5:
		small(3)
		small(3)
		small(3)
		g.op(0xfc, 14, 0, 0)
	case 6:
		small(3)
		small(3)
		g.op(0x25, 0)
		small(1)
		g.op(0xfc, 17, 0)
	case 7:
		g.op(0xfc, 16, 0, 0x1a)
	}
}
