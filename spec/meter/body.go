package meter

import "fmt"

// value is one on the stack: its type, and where its bits come from.
type value struct {
	of   valueType
	node int32
}

// frame is a block that is not yet closed (core spec 3.4, appendix "Validation algorithm").
type frame struct {
	op      byte
	in, out []valueType
	height  int
	dead    bool // the rest of it is never reached
	aimed   bool // a branch ends it
	line    int  // the straight line in which it begins
	head    int  // of a loop: its editAgain
	loops   int  // among the blocks from the outermost to this one
}

// What the writer does to the bytes of a body.
const (
	editCharge = iota // take the cost of what follows, in straight line
	editLoop          // the same at the head of a loop: and end the program if nothing is left
	editCanon         // make the value canonical that was just made
	editCut           // leave out what is never reached, up to to
	editReturn        // branch out of the outermost block instead
	editSize          // charge for the size that is on the stack
	editGrow          // keep the size that is on the stack
	editGrown         // charge for the size that was kept, if it was granted

	// Of the watched form alone.
	editAgain // put blocks around the loop that begins, whose charge is the next edit
	editDone  // end those that begin at the editAgain number to
	editLabel // branch so many blocks out instead
)

// edit is one of these at a byte of the body.
type edit struct {
	at   int
	kind uint8
	arg  uint8 // of sizes: how many bits are cut off (or, grown, added)
	node int32 // editCanon: what; editReturn, editLabel: how many blocks are left
	to   int
	cost int64

	before int   // of charges: the straight line that comes before this one each time; -1 is none
	ahead  int64 // what it is charged of others
}

// body checks the functions of a module one after the other, and says what has to be done to each.
type body struct {
	m *module
	reader
	start  int // of the code, after the locals
	locals []valueType
	params int
	vals   []value
	ctls   []frame
	high   int // values on the stack at most

	flow     flow
	edits    []edit
	open     int // the charge that is being added to
	cutAt    int // where code that is never reached began
	cutDepth int // how many blocks were open there; 0 is none
	count    int // instructions that can be reached
	total    int64
	calls    []int32 // functions called
	through  []int32 // types called through a table
	loops    bool
	sizes    bool // a charge by size is there
}

// read checks function f (among those with bodies).
func (b *body) read(f int, w *work) error {
	code := b.m.bodies[f]
	t := b.m.typeOf(b.m.imported + f)
	b.reader = reader{b: code, work: w}
	b.vals, b.ctls, b.edits = b.vals[:0], b.ctls[:0], b.edits[:0]
	b.calls, b.through = b.calls[:0], b.through[:0]
	b.cutDepth, b.count, b.total, b.high, b.loops, b.sizes = 0, 0, 0, 0, false, false
	b.flow.begin()
	b.readLocals(t)
	b.start = b.p
	b.flow.locals(b.locals, b.params)
	b.push(frame{op: opBlock, out: t.out})
	b.segment(editCharge, -1)
	for len(b.ctls) > 0 && b.err == nil {
		b.instruction()
	}
	if b.err == nil && !b.done() {
		b.failf("code after its end")
	}
	if b.err != nil {
		return fmt.Errorf("function %d, byte %d: %w", b.m.imported+f, b.p, b.err)
	}
	return nil
}

func (b *body) readLocals(t signature) {
	b.locals = append(b.locals[:0], t.in...)
	b.params = len(t.in)
	for range b.reader.count(len(b.b), "groups of locals") {
		n := b.unsigned()
		of := b.m.valueType(&b.reader)
		if uint64(n)+uint64(len(b.locals)) > maxLocals {
			b.failf("more than %d locals", maxLocals)
			return
		}
		b.spend(int(n))
		for range n {
			b.locals = append(b.locals, of)
		}
	}
}

// reached tells whether the instruction at hand can be.
func (b *body) reached() bool { return b.cutDepth == 0 }

func (b *body) edit(e edit) {
	if b.reached() {
		b.edits = append(b.edits, e)
	}
}

// segment begins code in straight line after the byte just read. Each time it is run, the line before was run first.
func (b *body) segment(kind uint8, before int) {
	if b.reached() {
		b.open = len(b.edits)
		b.edits = append(b.edits, edit{at: b.p, kind: kind, before: before})
	}
}

// gather charges short lines with the one before, as far as that may be charged ahead: a short arm of an if costs less so than its own charge.
func (b *body) gather() {
	for i := len(b.edits) - 1; i > 0; i-- {
		e := &b.edits[i]
		if e.kind != editCharge || e.before < 0 || e.cost == 0 {
			continue
		}
		to := &b.edits[e.before]
		if to.ahead+e.cost <= maxAhead {
			to.ahead += e.cost
			to.cost += e.cost
			e.cost = 0
		}
	}
}

func (b *body) charge(n int64) {
	if b.reached() {
		b.edits[b.open].cost += n
		b.total += n
		b.count++
	}
}

// The stack.

func (b *body) give(t valueType, node int32) {
	b.vals = append(b.vals, value{t, node})
	b.high = max(b.high, len(b.vals))
}

func (b *body) giveAll(list []valueType) {
	b.spend(len(list))
	for _, t := range list {
		b.give(t, -1)
	}
}

func (b *body) any() value {
	top := &b.ctls[len(b.ctls)-1]
	if len(b.vals) == top.height {
		if !top.dead {
			b.failf("an operand is missing")
		}
		return value{unknown, -1}
	}
	v := b.vals[len(b.vals)-1]
	b.vals = b.vals[:len(b.vals)-1]
	return v
}

func (b *body) take(t valueType) value {
	v := b.any()
	if v.of != t && v.of != unknown && t != unknown && b.err == nil {
		b.failf("an operand of type 0x%02x where 0x%02x belongs", byte(v.of), byte(t))
	}
	return v
}

// look takes an operand whose bits show.
func (b *body) look(t valueType) { b.flow.look(b.take(t).node, clean) }

func (b *body) lookAll(list []valueType) {
	b.spend(len(list))
	for i := len(list) - 1; i >= 0; i-- {
		b.look(list[i])
	}
}

func (b *body) push(f frame) {
	if len(b.ctls) > b.m.nesting {
		b.failf("more than %d blocks in one another", b.m.nesting)
		return
	}
	f.height = len(b.vals)
	f.line = b.open
	if len(b.ctls) > 0 {
		f.loops = b.ctls[len(b.ctls)-1].loops
	}
	if f.op == opLoop {
		f.loops++
	}
	b.ctls = append(b.ctls, f)
	b.giveAll(f.in)
}

func (b *body) pop() frame {
	f := b.ctls[len(b.ctls)-1]
	b.lookAll(f.out)
	if len(b.vals) != f.height {
		b.failf("values are left over")
		b.vals = b.vals[:min(f.height, len(b.vals))]
	}
	b.ctls = b.ctls[:len(b.ctls)-1]
	return f
}

// die says that what follows, up to the end of the block, is never reached.
func (b *body) die() {
	top := &b.ctls[len(b.ctls)-1]
	b.vals = b.vals[:top.height]
	top.dead = true
	if b.reached() {
		b.cutAt, b.cutDepth = b.p, len(b.ctls)
	}
}

// revive ends such code before the byte at, if it is that of the block at hand.
func (b *body) revive(at int) (was bool) {
	if b.cutDepth != len(b.ctls) {
		return false
	}
	b.cutDepth = 0
	if at > b.cutAt {
		b.edit(edit{at: b.cutAt, kind: editCut, to: at})
	}
	return true
}

// label gives the types that a branch carries.
func (b *body) label(depth uint32) []valueType {
	if uint64(depth) >= uint64(len(b.ctls)) {
		b.failf("a branch out of %d blocks of %d", depth, len(b.ctls))
		return nil
	}
	f := &b.ctls[len(b.ctls)-1-int(depth)]
	if b.reached() {
		f.aimed = true
	}
	if f.op == opLoop {
		return f.in
	}
	return f.out
}

// target reads the label of a branch.
func (b *body) target() (depth uint32) {
	at := b.p
	depth = b.unsigned()
	if top := len(b.ctls) - 1; uint64(depth) <= uint64(top) {
		if n := b.ctls[top].loops - b.ctls[top-int(depth)].loops; n > 0 {
			b.edit(edit{at: at, kind: editLabel, to: b.p, node: int32(depth) + aroundLoop*int32(n)})
		}
	}
	return depth
}

// blockType reads one (5.4.1).
func (b *body) blockType() signature {
	v := b.signed(33)
	switch t := valueType(v & 0x7f); {
	case v == -64:
		return signature{}
	case v < 0 && v > -64 && t.valid():
		return signature{out: single(t)}
	case v >= 0 && v < int64(len(b.m.types)):
		return b.m.types[v]
	}
	b.failf("a block of type %d", v)
	return signature{}
}

// singles are the lists of one type, so that a block needs no memory.
var singles = [...]valueType{funcref, externref, v128, f64, f32, i64, i32}

func single(t valueType) []valueType {
	for i := range singles {
		if singles[i] == t {
			return singles[i : i+1 : i+1]
		}
	}
	return nil
}
