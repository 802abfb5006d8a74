package meter

// instruction checks the next one (core spec 3.3 and 5.4) and notes what is to be done about it.
func (b *body) instruction() {
	at := b.p
	op := b.byte()
	if b.err != nil {
		return
	}
	b.spend(1)
	switch op {
	case opNop:
	case opUnreachable:
		b.charge(1)
		b.die()
	case opBlock, opLoop, opIf:
		b.enter(op, at)
	case opElse, opEnd:
		b.leave(op, at)
	case opBr, opBrIf, opBrTable, opReturn:
		b.branch(op, at)
	case opCall:
		f := b.m.funcIndex(&b.reader)
		b.charge(costCall)
		if b.reached() && int(f) >= b.m.imported {
			b.calls = append(b.calls, int32(int(f)-b.m.imported))
		}
		b.invoke(b.m.typeOf(int(f)))
	case opCallIndirect:
		b.callIndirect()
	case opDrop:
		b.charge(1)
		b.any()
	case opSelect, opSelectTyped:
		b.selects(op)
	case opLocalGet, opLocalSet, opLocalTee:
		b.local(op)
	case opGlobalGet, opGlobalSet:
		b.global(op)
	case opTableGet, opTableSet, opRefNull, opRefIsNull, opRefFunc:
		b.references(op)
	case opMemorySize, opMemoryGrow:
		b.memorySize(op, at)
	case opI32Const, opI64Const, opF32Const, opF64Const:
		b.constant(op)
	case opBulk:
		b.bulk(at)
	case opVector:
		b.vector()
	default:
		b.simple(&plain[op])
	}
}

func (b *body) enter(op byte, at int) {
	t := b.blockType()
	if op == opIf {
		b.charge(1)
		b.take(i32)
	}
	b.lookAll(t.in)
	b.push(frame{op: op, in: t.in, out: t.out})
	switch op {
	case opLoop:
		b.ctls[len(b.ctls)-1].head = len(b.edits)
		b.edit(edit{at: at, kind: editAgain, to: b.p})
		b.segment(editLoop, -1)
		b.charge(1)
		b.loops = b.loops || b.reached()
	case opIf:
		b.segment(editCharge, b.open)
	}
}

func (b *body) leave(op byte, at int) {
	revived := b.revive(at)
	f := b.pop()
	if b.err != nil {
		return
	}
	if op == opElse {
		if f.op != opIf {
			b.failf("an else without an if")
			return
		}
		b.open = f.line
		b.push(frame{op: opElse, in: f.in, out: f.out, aimed: f.aimed})
		b.segment(editCharge, f.line)
		return
	}
	if f.op == opIf && !equal(f.in, f.out) {
		b.failf("an if without an else gives other types than it takes")
		return
	}
	if len(b.ctls) == 0 {
		return
	}
	b.giveAll(f.out)
	if f.op == opLoop {
		b.edit(edit{at: b.p, kind: editDone, to: f.head})
	}
	if revived || f.op == opIf || f.op == opElse || (f.aimed && f.op == opBlock) {
		b.segment(editCharge, f.line)
	}
}

func equal(a, b []valueType) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func (b *body) branch(op byte, at int) {
	b.charge(1)
	switch op {
	case opBr:
		b.lookAll(b.label(b.target()))
		b.die()
	case opReturn:
		b.edit(edit{at: at, kind: editReturn, node: int32(len(b.ctls) - 1), to: b.ctls[len(b.ctls)-1].loops})
		b.lookAll(b.ctls[0].out)
		b.die()
	case opBrIf:
		depth := b.target()
		b.take(i32)
		list := b.label(depth)
		b.lookAll(list)
		b.giveAll(list)
		b.segment(editCharge, b.open)
	case opBrTable:
		b.branchTable()
	}
}

func (b *body) branchTable() {
	n := b.reader.count(len(b.b), "branches")
	b.take(i32)
	var first []valueType
	for i := range n + 1 {
		list := b.label(b.target())
		if b.err != nil {
			return
		}
		if i == 0 {
			first = list
		}
		if len(list) != len(first) {
			b.failf("a table of branches that carry different numbers of values")
			return
		}
		// What is on the stack must fit each of them.
		b.spend(len(list))
		base := len(b.vals)
		for j := len(list) - 1; j >= 0; j-- {
			b.take(list[j])
		}
		taken := base - len(b.vals)
		b.vals = b.vals[:len(b.vals)+taken]
	}
	b.lookAll(first)
	b.die()
}

func (b *body) invoke(t signature) {
	b.lookAll(t.in)
	b.giveAll(t.out)
}

func (b *body) callIndirect() {
	t := b.m.typeIndex(&b.reader)
	table := b.table()
	if b.err != nil {
		return
	}
	if table.of != funcref {
		b.failf("a call through a table that holds no functions")
		return
	}
	b.charge(costIndirect)
	if b.reached() {
		b.through = append(b.through, b.m.same[t])
	}
	b.take(i32)
	b.invoke(b.m.types[t])
}

// table reads the index of one.
func (b *body) table() tableType {
	i := b.unsigned()
	if uint64(i) >= uint64(len(b.m.tables)) {
		b.failf("table %d of %d", i, len(b.m.tables))
		return tableType{}
	}
	return b.m.tables[i]
}

func (b *body) selects(op byte) {
	b.charge(1)
	if op == opSelectTyped {
		if n := b.unsigned(); n != 1 {
			b.failf("a select of %d types", n)
			return
		}
		t := b.m.valueType(&b.reader)
		b.take(i32)
		y, x := b.take(t), b.take(t)
		b.pick(t, x, y)
		return
	}
	b.take(i32)
	y, x := b.any(), b.any()
	t := x.of
	switch {
	case x.of.reference() || y.of.reference():
		b.failf("a select of references without their type")
	case x.of != y.of && x.of != unknown && y.of != unknown:
		b.failf("a select between two types")
	case t == unknown:
		t = y.of
	}
	b.pick(t, x, y)
}

// pick gives one of two values as it is.
func (b *body) pick(t valueType, x, y value) {
	kind := dirty32
	switch t {
	case f32:
	case f64:
		kind = dirty64
	case v128:
		kind = b.shape(x.node, y.node)
	default:
		b.give(t, -1)
		return
	}
	b.picks(t, kind, x.node, y.node)
}

// shape tells as what a v128 is dirty that comes from one of these: arithmetic says it, a local does not know yet.
func (b *body) shape(list ...int32) dirt {
	for _, n := range list {
		if n < 0 {
			continue
		}
		switch x := b.flow.nodes[n]; x.op {
		case nodeDirty, nodeBoth:
			return x.want
		case nodeUnary:
			return x.gives
		}
	}
	return dirty32x4
}

func (b *body) picks(t valueType, kind dirt, x, y int32) {
	if !b.reached() || x < 0 && y < 0 {
		b.give(t, -1)
		return
	}
	b.mark(t, node{op: nodeBoth, want: kind, a: x, b: y})
}

// mark gives a value whose bits have to be watched.
func (b *body) mark(t valueType, n node) {
	if !b.reached() {
		b.give(t, -1)
		return
	}
	i := b.flow.add(n)
	if n.op != nodeNeutral {
		b.edit(edit{at: b.p, kind: editCanon, node: i})
	}
	b.give(t, i)
}

func (b *body) local(op byte) {
	i := b.unsigned()
	if uint64(i) >= uint64(len(b.locals)) {
		b.failf("local %d of %d", i, len(b.locals))
		return
	}
	b.charge(1)
	t := b.locals[i]
	if op == opLocalGet {
		if t.float() && int(i) >= b.params {
			b.mark(t, node{op: nodeLocal, a: int32(i)})
		} else {
			b.give(t, -1)
		}
		return
	}
	v := b.take(t)
	if t.float() && b.reached() {
		b.flow.put(v.node, int(i))
	}
	if op == opLocalTee {
		b.give(t, v.node)
	}
}

func (b *body) global(op byte) {
	i := b.unsigned()
	if uint64(i) >= uint64(len(b.m.globals)) {
		b.failf("global %d of %d", i, len(b.m.globals))
		return
	}
	b.charge(1)
	switch g := b.m.globals[i]; {
	case op == opGlobalGet:
		b.give(g.of, -1)
	case !g.mutable:
		b.failf("it sets a constant")
	default:
		b.look(g.of)
	}
}

func (b *body) references(op byte) {
	b.charge(1)
	switch op {
	case opTableGet:
		t := b.table()
		b.take(i32)
		b.give(t.of, -1)
	case opTableSet:
		t := b.table()
		b.take(t.of)
		b.take(i32)
	case opRefNull:
		b.give(b.m.reference(&b.reader), -1)
	case opRefIsNull:
		if v := b.any(); !v.of.reference() && v.of != unknown {
			b.failf("no reference")
		}
		b.give(i32, -1)
	case opRefFunc:
		f := b.m.funcIndex(&b.reader)
		if b.m.named == nil || !b.m.named[f] {
			b.failf("a reference to function %d, which nothing outside the code names", f)
			return
		}
		b.m.hold(int(f))
		b.give(funcref, -1)
	}
}

func (b *body) needMemory() {
	if !b.m.memory {
		b.failf("there is no memory")
	}
}

func (b *body) memorySize(op byte, at int) {
	if b.byte() != 0 {
		b.failf("a second memory")
	}
	b.needMemory()
	b.charge(1)
	if op == opMemorySize {
		b.give(i32, -1)
		return
	}
	b.take(i32)
	b.grows(at, growShift)
	b.give(i32, -1)
}

// grows charges for a size, after what asked for it was granted it.
func (b *body) grows(at int, shift uint8) {
	b.sizes = b.sizes || b.reached()
	b.edit(edit{at: at, kind: editGrow})
	b.edit(edit{at: b.p, kind: editGrown, arg: shift})
}

// size charges for a size before anything is done.
func (b *body) size(at int, shift uint8) {
	b.sizes = b.sizes || b.reached()
	b.edit(edit{at: at, kind: editSize, arg: shift})
}

func (b *body) constant(op byte) {
	b.charge(1)
	switch op {
	case opI32Const:
		b.signed(32)
		b.give(i32, -1)
	case opI64Const:
		b.signed(64)
		b.give(i64, -1)
	case opF32Const:
		raw := b.reader.bytes(4)
		b.number(f32, b.err == nil && number32(raw))
	case opF64Const:
		raw := b.reader.bytes(8)
		b.number(f64, b.err == nil && number64(raw))
	}
}

func (b *body) number(t valueType, is bool) {
	if is {
		b.mark(t, node{op: nodeNeutral})
	} else {
		b.give(t, -1)
	}
}

// simple checks an instruction that is told by its row.
func (b *body) simple(o *operation) {
	if !o.known {
		b.failf("an instruction that is unknown, not supported or not deterministic")
		return
	}
	if o.align >= 0 {
		b.needMemory()
		if a := b.unsigned(); a > uint32(o.align) {
			b.failf("an alignment of 2^%d bytes", a)
		}
		b.unsigned()
	}
	if o.lanes > 0 {
		if lane := b.byte(); lane >= o.lanes {
			b.failf("lane %d of %d", lane, o.lanes)
		}
	}
	b.charge(int64(o.cost))
	var v [3]value
	for i := len(o.in) - 1; i >= 0; i-- {
		v[i] = b.take(o.in[i])
	}
	if b.err != nil {
		return
	}
	b.follow(o, v[:len(o.in)])
}

// follow says what becomes of floats, and gives the result.
func (b *body) follow(o *operation, v []value) {
	switch o.sense {
	case signs, moves:
		if v[0].node < 0 {
			b.give(o.out, -1)
		} else {
			b.mark(o.out, node{op: nodeUnary, want: o.want, gives: o.gives, a: v[0].node})
		}
		return
	case copies:
		b.flow.look(v[1].node, clean)
		if v[0].node < 0 {
			b.give(o.out, -1)
		} else {
			b.mark(o.out, node{op: nodeUnary, want: o.want, gives: o.gives, a: v[0].node})
		}
		return
	case picks:
		b.picks(o.out, o.want, v[0].node, v[1].node)
		return
	case makes:
		b.mark(o.out, node{op: nodeNeutral})
		return
	}
	want := clean
	if o.sense != looks {
		want = o.want
	}
	for i := range v {
		b.flow.look(v[i].node, want)
	}
	switch {
	case o.sense == reckons:
		b.mark(o.out, node{op: nodeDirty, want: o.gives})
	case o.out != unknown:
		b.give(o.out, -1)
	}
}

func (b *body) vector() {
	switch n := b.unsigned(); {
	case n == opV128Const:
		b.charge(1)
		raw := b.reader.bytes(16)
		b.number(v128, b.err == nil && numbers(raw))
	case n == opShuffle:
		for _, lane := range b.reader.bytes(16) {
			if lane >= 32 {
				b.failf("lane %d of 32", lane)
			}
		}
		b.charge(1)
		b.look(v128)
		b.look(v128)
		b.give(v128, -1)
	case n < vectorOps:
		b.simple(&vector[n])
	default:
		b.failf("relaxed SIMD, which is not deterministic")
	}
}

func (b *body) bulk(at int) {
	n := b.unsigned()
	if n < 8 {
		b.simple(&bulk[n])
		return
	}
	b.charge(costBulk)
	index := func(have int, what string) int {
		i := b.unsigned()
		if uint64(i) >= uint64(max(have, 0)) {
			b.failf("%s %d of %d", what, i, have)
			return -1
		}
		return int(i)
	}
	zero := func() {
		b.needMemory()
		if b.byte() != 0 {
			b.failf("a second memory")
		}
	}
	three := func() {
		b.take(i32)
		b.take(i32)
		b.take(i32)
	}
	switch n {
	case opMemoryInit:
		index(b.m.datas, "data segment")
		zero()
		b.size(at, byteShift)
		three()
	case opDataDrop:
		index(b.m.datas, "data segment")
	case opMemoryCopy:
		zero()
		zero()
		b.size(at, byteShift)
		three()
	case opMemoryFill:
		zero()
		b.size(at, byteShift)
		three()
	case opTableInit:
		i := index(len(b.m.elems), "element segment")
		if t := b.table(); b.err == nil && t.of != b.m.elems[i] {
			b.failf("a segment of other elements than the table's")
		}
		b.size(at, 0)
		three()
	case opElemDrop:
		index(len(b.m.elems), "element segment")
	case opTableCopy:
		if x, y := b.table(), b.table(); x.of != y.of {
			b.failf("a copy between tables of two types")
		}
		b.size(at, 0)
		three()
	case opTableGrow:
		t := b.table()
		b.take(i32)
		b.take(t.of)
		b.grows(at, 0)
		b.give(i32, -1)
	case opTableSize:
		b.table()
		b.give(i32, -1)
	case opTableFill:
		t := b.table()
		b.size(at, 0)
		b.take(i32)
		b.take(t.of)
		b.take(i32)
	default:
		b.failf("an instruction that is unknown, not supported or not deterministic")
	}
}
