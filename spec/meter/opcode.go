package meter

import "strings"

// valueType is a type of the binary format (core spec 5.3.1 to 5.3.4); unknown is what stands on the stack of code that is never reached.
type valueType byte

const (
	unknown   valueType = 0
	i32       valueType = 0x7f
	i64       valueType = 0x7e
	f32       valueType = 0x7d
	f64       valueType = 0x7c
	v128      valueType = 0x7b
	funcref   valueType = 0x70
	externref valueType = 0x6f
)

func (t valueType) valid() bool {
	return t >= v128 && t <= i32 || t.reference()
}

func (t valueType) reference() bool { return t == funcref || t == externref }

// float tells whether bits of a NaN can be in it.
func (t valueType) float() bool { return t == f32 || t == f64 || t == v128 }

// Opcodes that are named in the code (core spec 5.4).
const (
	opUnreachable  = 0x00
	opNop          = 0x01
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opDrop         = 0x1a
	opSelect       = 0x1b
	opSelectTyped  = 0x1c
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opTableGet     = 0x25
	opTableSet     = 0x26
	opMemorySize   = 0x3f
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opI32Ne        = 0x47
	opI64LtS       = 0x53
	opF32Ge        = 0x60
	opF64Ge        = 0x66
	opI64Add       = 0x7c
	opI64Sub       = 0x7d
	opI64Or        = 0x84
	opI64Shl       = 0x86
	opI64ShrU      = 0x88
	opI64ExtendU   = 0xad
	opRefNull      = 0xd0
	opRefIsNull    = 0xd1
	opRefFunc      = 0xd2
	opBulk         = 0xfc // a prefix
	opVector       = 0xfd // a prefix

	// After the prefix opBulk.
	opMemoryInit = 8
	opDataDrop   = 9
	opMemoryCopy = 10
	opMemoryFill = 11
	opTableInit  = 12
	opElemDrop   = 13
	opTableCopy  = 14
	opTableGrow  = 15
	opTableSize  = 16
	opTableFill  = 17

	// After the prefix opVector.
	opV128Const  = 12
	opShuffle    = 13
	opF32x4Eq    = 65
	opF64x2Eq    = 71
	opBitselect  = 82
	vectorOps    = 256 // what comes after is relaxed SIMD
	emptyBlock   = 0x40
	functionForm = 0x60
)

// sense says what an instruction makes of the bits of a NaN.
type sense byte

const (
	looks   sense = iota // its operands' bits can be told from what it does; its result's bits are given by them
	reckons              // arithmetic: reads operands as numbers, may make a NaN of any bits
	reads                // reads operands as numbers, makes no NaN or none whose bits are open
	signs                // changes the sign alone
	copies               // copysign: changes the sign alone, by looking at another's
	picks                // gives one of its two operands as it is
	moves                // gives its operand in another shape
	makes                // makes a number from what is no float: never a NaN
)

// operation is an instruction without anything special: operands, result, cost, and what it does to NaNs.
type operation struct {
	in    []valueType
	out   valueType
	known bool
	cost  uint8
	sense sense
	want  dirt // as what floats are read
	gives dirt // what arithmetic makes
	align int8 // log2 of the natural alignment of what it moves from or to memory, -1 if it touches none
	lanes byte // the immediate is a lane below this
}

// plain are the instructions of one byte, vector those after opVector, bulk those after opBulk that convert.
type table [256]operation

func (t *table) set(from, to int, in string, out valueType, change ...func(*operation)) {
	for i := from; i <= to; i++ {
		o := operation{in: types(in), out: out, known: true, cost: 1, align: -1}
		for _, f := range change {
			f(&o)
		}
		t[i] = o
	}
}

func types(s string) []valueType {
	const letters, of = "iIfFv", "\x7f\x7e\x7d\x7c\x7b"
	list := make([]valueType, len(s))
	for i := range s {
		list[i] = valueType(of[strings.IndexByte(letters, s[i])])
	}
	return list
}

func costs(n uint8) func(*operation)  { return func(o *operation) { o.cost = n } }
func aligned(n int8) func(*operation) { return func(o *operation) { o.align = n } }
func lanes(n byte) func(*operation)   { return func(o *operation) { o.lanes = n } }
func does(s sense) func(*operation)   { return func(o *operation) { o.sense = s } }
func reading(d dirt) func(*operation) { return func(o *operation) { o.sense, o.want = reads, d } }
func signing(d dirt) func(*operation) {
	return func(o *operation) { o.sense, o.want, o.gives = signs, d, d }
}
func copying(d dirt) func(*operation) {
	return func(o *operation) { o.sense, o.want, o.gives = copies, d, d }
}
func picking(d dirt) func(*operation) {
	return func(o *operation) { o.sense, o.want, o.gives = picks, d, d }
}
func moving(a, b dirt) func(*operation) {
	return func(o *operation) { o.sense, o.want, o.gives = moves, a, b }
}
func reckoning(a, b dirt) func(*operation) {
	return func(o *operation) { o.sense, o.want, o.gives = reckons, a, b }
}

const (
	slowInt   = 8 // cost of an integer division
	slowFloat = 4 // cost of a division or a root of floats
)

var plain = plainTable()

func plainTable() (t table) {
	// Memory (5.4.7).
	for i, row := range []struct {
		in    string
		out   valueType
		align int8
	}{
		{"i", i32, 2}, {"i", i64, 3}, {"i", f32, 2}, {"i", f64, 3}, {"i", i32, 0}, {"i", i32, 0}, {"i", i32, 1}, {"i", i32, 1},
		{"i", i64, 0}, {"i", i64, 0}, {"i", i64, 1}, {"i", i64, 1}, {"i", i64, 2}, {"i", i64, 2},
		{"ii", 0, 2}, {"iI", 0, 3}, {"if", 0, 2}, {"iF", 0, 3}, {"ii", 0, 0}, {"ii", 0, 1}, {"iI", 0, 0}, {"iI", 0, 1}, {"iI", 0, 2},
	} {
		t.set(0x28+i, 0x28+i, row.in, row.out, aligned(row.align))
	}
	// Integers (5.4.8).
	t.set(0x45, 0x45, "i", i32)
	t.set(0x46, 0x4f, "ii", i32)
	t.set(0x50, 0x50, "I", i32)
	t.set(0x51, 0x5a, "II", i32)
	t.set(0x67, 0x69, "i", i32)
	t.set(0x6a, 0x78, "ii", i32)
	t.set(0x6d, 0x70, "ii", i32, costs(slowInt))
	t.set(0x79, 0x7b, "I", i64)
	t.set(0x7c, 0x8a, "II", i64)
	t.set(0x7f, 0x82, "II", i64, costs(slowInt))
	// Floats: comparisons, then abs neg ceil floor trunc nearest sqrt add sub mul div min max copysign.
	t.set(0x5b, 0x60, "ff", i32, reading(dirty32))
	t.set(0x61, 0x66, "FF", i32, reading(dirty64))
	t.floats(0x8b, "f", f32, dirty32)
	t.floats(0x99, "F", f64, dirty64)
	// Conversions.
	t.set(0xa7, 0xa7, "I", i32)
	t.set(0xa8, 0xa9, "f", i32, reading(dirty32))
	t.set(0xaa, 0xab, "F", i32, reading(dirty64))
	t.set(0xac, 0xad, "i", i64)
	t.set(0xae, 0xaf, "f", i64, reading(dirty32))
	t.set(0xb0, 0xb1, "F", i64, reading(dirty64))
	t.set(0xb2, 0xb3, "i", f32, does(makes))
	t.set(0xb4, 0xb5, "I", f32, does(makes))
	t.set(0xb6, 0xb6, "F", f32, reckoning(dirty64, dirty32))
	t.set(0xb7, 0xb8, "i", f64, does(makes))
	t.set(0xb9, 0xba, "I", f64, does(makes))
	t.set(0xbb, 0xbb, "f", f64, reckoning(dirty32, dirty64))
	t.set(0xbc, 0xbc, "f", i32)
	t.set(0xbd, 0xbd, "F", i64)
	t.set(0xbe, 0xbe, "i", f32)
	t.set(0xbf, 0xbf, "I", f64)
	t.set(0xc0, 0xc1, "i", i32)
	t.set(0xc2, 0xc4, "I", i64)
	return t
}

func (t *table) floats(at int, in string, out valueType, d dirt) {
	t.set(at, at+1, in, out, signing(d))
	t.set(at+2, at+5, in, out, reckoning(d, d))
	t.set(at+6, at+6, in, out, reckoning(d, d), costs(slowFloat))
	t.set(at+7, at+12, in+in, out, reckoning(d, d))
	t.set(at+10, at+10, in+in, out, reckoning(d, d), costs(slowFloat))
	t.set(at+13, at+13, in+in, out, copying(d))
}

// bulk are the conversions that saturate (0 to 7); what follows them has immediates of its own.
var bulk = bulkTable()

func bulkTable() (t table) {
	t.set(0, 1, "f", i32, reading(dirty32))
	t.set(2, 3, "F", i32, reading(dirty64))
	t.set(4, 5, "f", i64, reading(dirty32))
	t.set(6, 7, "F", i64, reading(dirty64))
	return t
}

var vector = vectorTable()

func vectorTable() (t table) {
	t.set(0, 0, "i", v128, aligned(4))
	t.set(1, 6, "i", v128, aligned(3))
	for i := range 4 {
		a, n := int8(i), byte(16>>i)
		t.set(7+i, 7+i, "i", v128, aligned(a))
		t.set(84+i, 84+i, "iv", v128, aligned(a), lanes(n))
		t.set(88+i, 88+i, "iv", 0, aligned(a), lanes(n))
	}
	t.set(11, 11, "iv", 0, aligned(4))
	t.set(14, 14, "vv", v128)
	t.set(15, 17, "i", v128)
	t.set(18, 18, "I", v128)
	t.set(19, 19, "f", v128, moving(dirty32, dirty32x4))
	t.set(20, 20, "F", v128, moving(dirty64, dirty64x2))
	t.set(21, 22, "v", i32, lanes(16))
	t.set(23, 23, "vi", v128, lanes(16))
	t.set(24, 25, "v", i32, lanes(8))
	t.set(26, 26, "vi", v128, lanes(8))
	t.set(27, 27, "v", i32, lanes(4))
	t.set(28, 28, "vi", v128, lanes(4))
	t.set(29, 29, "v", i64, lanes(2))
	t.set(30, 30, "vI", v128, lanes(2))
	t.set(31, 31, "v", f32, lanes(4), moving(dirty32x4, dirty32))
	t.set(32, 32, "vf", v128, lanes(4))
	t.set(33, 33, "v", f64, lanes(2), moving(dirty64x2, dirty64))
	t.set(34, 34, "vF", v128, lanes(2))
	t.set(35, 64, "vv", v128)
	t.set(65, 70, "vv", v128, reading(dirty32x4))
	t.set(71, 76, "vv", v128, reading(dirty64x2))
	t.set(77, 77, "v", v128)
	t.set(78, 81, "vv", v128)
	t.set(82, 82, "vvv", v128)
	t.set(83, 83, "v", i32)
	t.set(92, 92, "i", v128, aligned(2))
	t.set(93, 93, "i", v128, aligned(3))
	t.set(94, 94, "v", v128, reckoning(dirty64x2, dirty32x4))
	t.set(95, 95, "v", v128, reckoning(dirty32x4, dirty64x2))
	// Integers of four sizes: abs, neg, (popcnt or q15mulr), all_true, bitmask, narrow, extend, shifts, sums, products, min, max.
	t.set(96, 98, "v", v128)
	t.set(101, 102, "vv", v128)
	t.set(110, 115, "vv", v128)
	t.set(118, 121, "vv", v128)
	t.set(123, 123, "vv", v128)
	t.set(124, 127, "v", v128)
	t.set(130, 130, "vv", v128)
	t.set(133, 134, "vv", v128)
	t.set(142, 147, "vv", v128)
	t.set(149, 153, "vv", v128)
	t.set(155, 159, "vv", v128)
	t.set(174, 174, "vv", v128)
	t.set(177, 177, "vv", v128)
	t.set(181, 186, "vv", v128)
	t.set(188, 191, "vv", v128)
	t.set(206, 206, "vv", v128)
	t.set(209, 209, "vv", v128)
	t.set(213, 223, "vv", v128)
	for at := 96; at <= 192; at += 32 {
		t.set(at, at+1, "v", v128)
		t.set(at+3, at+4, "v", i32)
		t.set(at+11, at+13, "vi", v128)
		if at > 96 {
			t.set(at+7, at+10, "v", v128)
		}
	}
	// Floats.
	t.set(103, 106, "v", v128, reckoning(dirty32x4, dirty32x4))
	for _, i := range []int{116, 117, 122, 148} {
		t.set(i, i, "v", v128, reckoning(dirty64x2, dirty64x2))
	}
	for i, d := range []dirt{dirty32x4, dirty64x2} {
		at := 224 + 12*i
		t.set(at, at+1, "v", v128, signing(d))
		t.set(at+3, at+3, "v", v128, reckoning(d, d), costs(slowFloat))
		t.set(at+4, at+9, "vv", v128, reckoning(d, d))
		t.set(at+7, at+7, "vv", v128, reckoning(d, d), costs(slowFloat))
		t.set(at+10, at+11, "vv", v128, picking(d))
	}
	t.set(248, 249, "v", v128, reading(dirty32x4))
	t.set(250, 251, "v", v128, does(makes))
	t.set(252, 253, "v", v128, reading(dirty64x2))
	t.set(254, 255, "v", v128, does(makes))
	return t
}
