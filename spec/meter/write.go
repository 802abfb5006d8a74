package meter

import (
	"fmt"
	"slices"
)

// writer makes the metered module. Indices of the program stay what they are: what is added stands after what is there.
type writer struct {
	*plan
	out        []byte
	left, room uint64         // indices of the globals
	watched    bool           // passed is called where nothing is left
	passed     uint64         // index of that function
	types      map[string]int // by key
	extra      []byte         // types that are added
	added      int
	code       []byte // the body at hand
}

// recursive tells whether there is a function whose calls are counted.
func (p *plan) recursive() bool { return slices.Contains(p.counted, true) }

func (p *plan) write(w *work, watched bool) ([]byte, error) {
	m := p.m
	o := &writer{plan: p, left: uint64(len(m.globals)), room: uint64(len(m.globals) + 1), types: map[string]int{}, watched: watched && len(m.bodies) > 0, passed: uint64(len(m.funcs))}
	for i, t := range m.types {
		if k := string(t.key()); m.same[i] == int32(i) {
			o.types[k] = i
		}
	}
	bodies, err := o.bodies(w)
	if err != nil {
		return nil, err
	}
	functions := m.sections[secFunction]
	if o.watched {
		functions = extended(functions, 1, appendUnsigned(nil, uint64(o.typeFor(signature{}))))
	}
	o.out = append(o.out, header...)
	o.section(secType, extended(m.sections[secType], o.added, o.extra))
	o.section(secImport, m.sections[secImport])
	o.section(secFunction, functions)
	o.section(secTable, m.tableSection())
	o.section(secMemory, m.sections[secMemory])
	zero := []byte{byte(i64), 1, opI64Const, 0, opEnd}
	globals := 1
	if p.recursive() {
		zero, globals = append(zero, zero...), 2
	}
	o.section(secGlobal, extended(m.sections[secGlobal], globals, zero))
	o.section(secExport, o.exportSection())
	for _, id := range []int{secElement, secDataCount} {
		o.section(id, m.sections[id])
	}
	o.section(secCode, bodies)
	o.section(secData, m.sections[secData])
	if len(o.out) > MaxMetered {
		return nil, fmt.Errorf("after metering %w: %d bytes, at most %d", errLarge, len(o.out), MaxMetered)
	}
	return o.out, nil
}

// section writes one that is not empty.
func (o *writer) section(id int, b []byte) {
	if len(b) == 0 {
		return
	}
	o.out = append(o.out, byte(id))
	o.out = appendUnsigned(o.out, uint64(len(b)))
	o.out = append(o.out, b...)
}

// extended adds items to a section that is a vector.
func extended(section []byte, n int, items []byte) []byte {
	r := &reader{b: section, work: &work{}}
	have := uint32(0)
	if len(section) > 0 {
		have = r.unsigned()
	}
	if have == 0 && n == 0 {
		return nil
	}
	b := appendUnsigned(nil, uint64(have)+uint64(n))
	b = append(b, section[r.p:]...)
	return append(b, items...)
}

// tableSection says of each table how large it may become.
func (m *module) tableSection() []byte {
	if len(m.tables) == 0 {
		return nil
	}
	b := appendUnsigned(nil, uint64(len(m.tables)))
	for _, t := range m.tables {
		b = append(b, byte(t.of), 1)
		b = appendUnsigned(b, uint64(t.low))
		b = appendUnsigned(b, uint64(t.high))
	}
	return b
}

func (o *writer) exportSection() []byte {
	var b []byte
	item := func(name string, kind byte, index uint64) {
		b = appendUnsigned(b, uint64(len(name)))
		b = append(append(b, name...), kind)
		b = appendUnsigned(b, index)
	}
	n := 1
	item(Left, 3, o.left)
	if o.recursive() {
		item(Room, 3, o.room)
		n++
	}
	if o.watched {
		item(Passed, 0, o.passed)
		n++
	}
	if o.m.start >= 0 {
		item(Start, 0, uint64(o.m.start))
		n++
	}
	return extended(o.m.sections[secExport], n, b)
}

func (o *writer) bodies(w *work) ([]byte, error) {
	if !o.m.present[secCode] {
		return nil, nil
	}
	n := len(o.m.bodies)
	if o.watched {
		n++
	}
	all := appendUnsigned(nil, uint64(n))
	b := &body{m: o.m}
	for f := range o.m.bodies {
		if err := b.read(f, w); err != nil {
			return nil, err
		}
		b.flow.settle()
		b.gather()
		o.body(f, b)
		all = append(appendUnsigned(all, uint64(len(o.code))), o.code...)
		if len(all) > MaxMetered {
			return nil, fmt.Errorf("after metering %w: more than %d bytes", errLarge, MaxMetered)
		}
	}
	if o.watched {
		o.pass()
		all = append(appendUnsigned(all, uint64(len(o.code))), o.code...)
	}
	return all, nil
}

// pass writes the function that is called where nothing is left. It ends the program unless the host, which is told when it is entered, has given more.
func (o *writer) pass() {
	o.code = append(o.code[:0], 0) // groups of locals
	o.op(opGlobalGet, o.left)
	if o.recursive() {
		o.op(opGlobalGet, o.room)
		o.code = append(o.code, opI64Or)
	}
	o.code = append(o.code, opI64Const, 0, opI64LtS, opIf, emptyBlock, opUnreachable, opEnd, opEnd)
}

// spare are the locals that are added to a function.
type spare struct{ at [5]uint64 }

const (
	spareSize = iota
	spareGrown
	spare32
	spare64
	spareVector
)

func spareOf(d dirt) int {
	switch d {
	case dirty32:
		return spare32
	case dirty64:
		return spare64
	}
	return spareVector
}

// body writes one function into o.code.
func (o *writer) body(f int, b *body) {
	o.code = o.code[:0]
	s := o.spares(b)
	o.enter(f, b)
	at := b.start
	for _, e := range b.edits[1:] {
		o.code = append(o.code, b.b[at:e.at]...)
		at = e.at
		switch e.kind {
		case editCharge:
			o.charge(e.cost, false)
		case editLoop:
			o.charge(e.cost, !o.watched)
			if o.watched {
				o.op(opGlobalGet, o.left)
				o.code = append(o.code, opI64Const, 0, opI64LtS)
				o.op(opBrIf, 1)
			}
		case editAgain:
			if o.watched {
				o.around(b.b[e.at:e.to])
			}
		case editDone:
			if o.watched {
				o.again(b.edits[e.to+1].cost)
			}
		case editLabel:
			if o.watched {
				o.code = appendUnsigned(o.code, uint64(e.node))
				at = e.to
			}
		case editCanon:
			o.canonical(b.flow.canonical(e.node), s)
		case editCut:
			at = e.to
		case editReturn:
			if o.counted[f] {
				blocks := uint64(e.node)
				if o.watched {
					blocks += aroundLoop * uint64(e.to)
				}
				o.op(opBr, blocks)
				at++
			}
		case editSize:
			o.op(opLocalTee, s.at[spareSize])
			o.sized(e.arg, opI64ShrU, s)
		case editGrow:
			o.op(opLocalTee, s.at[spareSize])
		case editGrown:
			o.op(opLocalTee, s.at[spareGrown])
			o.code = append(o.code, opI32Const, 0x7f, opI32Ne, opIf, emptyBlock)
			o.sized(e.arg, opI64Shl, s)
			o.code = append(o.code, opEnd)
			o.op(opLocalGet, s.at[spareGrown])
		}
	}
	o.code = append(o.code, b.b[at:]...)
	if o.counted[f] {
		o.add(o.room, opI64Add, int64(o.weights[f]))
		o.code = append(o.code, opEnd)
	}
}

// spares writes the locals of a function, with what has to be added.
func (o *writer) spares(b *body) (s spare) {
	var need [5]bool
	for _, e := range b.edits {
		switch e.kind {
		case editCanon:
			if d := b.flow.canonical(e.node); d != clean {
				need[spareOf(d)] = true
			}
		case editSize:
			need[spareSize] = true
		case editGrow:
			need[spareSize], need[spareGrown] = true, true
		}
	}
	var extra []byte
	n, next := 0, uint64(len(b.locals))
	for i, t := range [5]valueType{i32, i32, f32, f64, v128} {
		if need[i] {
			extra = append(extra, 1, byte(t))
			s.at[i] = next
			next++
			n++
		}
	}
	groups := b.b[:b.start]
	if n == 0 {
		o.code = append(o.code, groups...)
		return s
	}
	o.code = append(o.code, extended(groups, n, extra)...)
	return s
}

// enter charges for the first straight line, and for the call where calls are counted.
func (o *writer) enter(f int, b *body) {
	cost := b.edits[0].cost
	if !o.counted[f] {
		o.charge(cost, !o.leaf[f])
		return
	}
	o.add(o.room, opI64Sub, int64(o.weights[f]))
	o.add(o.left, opI64Sub, cost)
	o.op(opGlobalGet, o.left)
	o.op(opGlobalGet, o.room)
	o.code = append(o.code, opI64Or)
	o.stop()
	o.code = append(o.code, opBlock)
	switch t := o.m.typeOf(o.m.imported + f); len(t.out) {
	case 0:
		o.code = append(o.code, emptyBlock)
	case 1:
		o.code = append(o.code, byte(t.out[0]))
	default:
		o.code = appendSigned(o.code, int64(o.typeFor(signature{out: t.out})))
	}
}

// typeFor gives the index of a type, which is added if it is not there.
func (o *writer) typeFor(t signature) int {
	k := string(t.key())
	i, ok := o.types[k]
	if !ok {
		i = len(o.m.types) + o.added
		o.types[k] = i
		o.extra = append(o.extra, k...)
		o.added++
	}
	return i
}

func (o *writer) op(code byte, index uint64) { o.code = appendUnsigned(append(o.code, code), index) }

// add adds n to a global, or takes it away.
func (o *writer) add(global uint64, how byte, n int64) {
	o.op(opGlobalGet, global)
	o.code = appendSigned(append(o.code, opI64Const), n)
	o.code = append(o.code, how)
	o.op(opGlobalSet, global)
}

// charge takes what a straight line costs, and looks whether anything is left if it has to.
func (o *writer) charge(cost int64, look bool) {
	if cost == 0 {
		return
	}
	o.add(o.left, opI64Sub, cost)
	if look {
		o.op(opGlobalGet, o.left)
		o.stop()
	}
}

// stop ends the program if the number on the stack is below zero, or has the host told.
func (o *writer) stop() {
	o.code = append(o.code, opI64Const, 0, opI64LtS, opIf, emptyBlock)
	if o.watched {
		o.op(opCall, o.passed)
	} else {
		o.code = append(o.code, opUnreachable)
	}
	o.code = append(o.code, opEnd)
}

// aroundLoop is how many blocks stand around each loop of the watched form. A loop with a call in it would have an engine keep all that lives there in memory, round after
// round, though the call is hardly ever made. So it stands outside:
//
//	block                  of the loop's type
//	  loop                 of the loop's type
//	    block              of what the loop takes
//	      loop             the program's
//	        left -= cost
//	        left < 0; br_if 1
//	        ...
//	      end
//	      br 2
//	    end
//	    call passed
//	    left += cost       as it is charged once more now
//	    br 0
//	  end
//	end
const aroundLoop = 3

// around begins those blocks; head are the first bytes of the loop.
func (o *writer) around(head []byte) {
	o.code = append(append(o.code, opBlock), head[1:]...)
	o.code = append(o.code, head...)
	o.code = append(o.code, opBlock)
	r := &reader{b: head, p: 1, work: &work{}}
	if t := r.signed(33); t >= 0 && len(o.m.types[t].in) > 0 {
		in := o.m.types[t].in
		o.code = appendSigned(o.code, int64(o.typeFor(signature{in: in, out: in})))
	} else {
		o.code = append(o.code, emptyBlock)
	}
}

// again ends them.
func (o *writer) again(cost int64) {
	o.op(opBr, 2)
	o.code = append(o.code, opEnd)
	o.op(opCall, o.passed)
	o.add(o.left, opI64Add, cost)
	o.op(opBr, 0)
	o.code = append(o.code, opEnd, opEnd)
}

// sized charges for the size that was kept, shifted.
func (o *writer) sized(bits uint8, how byte, s spare) {
	o.op(opGlobalGet, o.left)
	o.op(opLocalGet, s.at[spareSize])
	o.code = append(o.code, opI64ExtendU)
	if bits > 0 {
		o.code = append(o.code, opI64Const, bits, how)
	}
	o.code = append(o.code, opI64Sub)
	o.op(opGlobalSet, o.left)
	o.op(opGlobalGet, o.left)
	o.stop()
}

// canonical makes the float on the stack canonical if it is a NaN: a NaN is what does not equal itself.
func (o *writer) canonical(d dirt, s spare) {
	if d == clean {
		return
	}
	t := s.at[spareOf(d)]
	o.op(opLocalTee, t)
	switch d {
	case dirty32:
		o.code = append(o.code, opF32Const, 0, 0, 0xc0, 0x7f)
	case dirty64:
		o.code = append(o.code, opF64Const, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f)
	case dirty32x4:
		o.code = append(o.code, opVector, opV128Const, 0, 0, 0xc0, 0x7f, 0, 0, 0xc0, 0x7f, 0, 0, 0xc0, 0x7f, 0, 0, 0xc0, 0x7f)
	case dirty64x2:
		o.code = append(o.code, opVector, opV128Const, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f)
	}
	o.op(opLocalGet, t)
	o.op(opLocalGet, t)
	switch d {
	case dirty32:
		o.code = append(o.code, opF32Ge, opSelect)
	case dirty64:
		o.code = append(o.code, opF64Ge, opSelect)
	case dirty32x4:
		o.code = append(o.code, opVector, opF32x4Eq, opVector, opBitselect)
	case dirty64x2:
		o.code = append(o.code, opVector, opF64x2Eq, opVector, opBitselect)
	}
}
