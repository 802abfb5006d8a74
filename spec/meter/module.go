package meter

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Limits on a module. What is past them no ordinary compiler makes.
const (
	MaxModule   = 64 << 20 // bytes before
	MaxMetered  = 4 * MaxModule
	maxTypes    = 1 << 14 // an engine that is told of calls may do something for each, at the start
	maxArity    = 1000    // parameters of one type, and results
	maxFuncs    = 1 << 20
	maxTables   = 16
	maxElements = 1 << 20 // of one table, at the start and ever
	maxPages    = 1 << 16
	maxGlobals  = 1 << 20
	maxExports  = 1 << 20
	maxLocals   = 1 << 15 // of one function, parameters among them
	maxNesting  = 1 << 16 // blocks within blocks
	maxSegments = 1 << 20
)

// header are the first bytes of every module (core spec 5.5.16).
const header = "\x00asm\x01\x00\x00\x00"

// Sections of the binary format (5.5.2).
const (
	secCustom = iota
	secType
	secImport
	secFunction
	secTable
	secMemory
	secGlobal
	secExport
	secStart
	secElement
	secCode
	secData
	secDataCount
)

// order is in which order sections stand; the count of data comes before the code.
var order = [...]int{secType: 1, secImport: 2, secFunction: 3, secTable: 4, secMemory: 5, secGlobal: 6, secExport: 7, secStart: 8, secElement: 9,
	secDataCount: 10, secCode: 11, secData: 12}

type signature struct{ in, out []valueType }

type global struct {
	of      valueType
	mutable bool
}

type tableType struct {
	of        valueType
	low, high uint32
}

type export struct {
	name  string
	kind  byte
	index uint32
}

// module is what was read of one, checked but for the code.
type module struct {
	sections [13][]byte // the bytes of each that is there
	present  [13]bool

	types     []signature
	same      []int32 // the first type that is equal
	imported  int     // functions
	funcs     []uint32
	tables    []tableType
	memory    bool
	globals   []global
	exports   []export
	start     int // a function, or -1
	nesting   int // blocks that may be in one another
	elems     []valueType
	datas     int // -1 without a count
	bodies    [][]byte
	named     []bool // functions that ref.func may name
	reachable []bool // functions that a table may hold
}

// parse reads and checks everything but the bodies of functions.
func parse(b []byte, w *work) (*module, error) {
	if !bytes.HasPrefix(b, []byte(header)) {
		return nil, fmt.Errorf("it does not begin with \\0asm and version 1")
	}
	m := &module{start: -1, datas: -1, nesting: maxNesting}
	r := &reader{b: b, p: len(header), work: w}
	last := 0
	for !r.done() {
		id := int(r.byte())
		body := r.bytes(r.unsigned())
		s := &reader{b: body, work: w}
		switch {
		case r.err != nil:
			return nil, r.err
		case id == secCustom:
			if s.name(); s.err != nil {
				return nil, fmt.Errorf("custom section: %w", s.err)
			}
			continue
		case id >= len(m.sections):
			return nil, fmt.Errorf("section %d: unknown or not supported", id)
		case order[id] <= last:
			return nil, fmt.Errorf("section %d: out of order", id)
		}
		last = order[id]
		m.sections[id], m.present[id] = body, true
		m.section(id, s)
		if s.err == nil && !s.done() {
			s.failf("more bytes than it needs")
		}
		if s.err != nil {
			return nil, fmt.Errorf("section %d: %w", id, s.err)
		}
	}
	return m, m.whole()
}

func (m *module) section(id int, r *reader) {
	switch id {
	case secType:
		m.readTypes(r)
	case secImport:
		m.readImports(r)
	case secFunction:
		for range r.count(maxFuncs, "functions") {
			m.funcs = append(m.funcs, m.typeIndex(r))
		}
	case secTable:
		for range r.count(maxTables, "tables") {
			m.tables = append(m.tables, readTable(r))
		}
	case secMemory:
		for range r.count(1, "memories") {
			if low, high, _ := r.limits(maxPages); low > high || high > maxPages {
				r.failf("a memory of %d to %d pages", low, high)
			}
			m.memory = true
		}
	case secGlobal:
		for range r.count(maxGlobals, "globals") {
			g := global{of: m.valueType(r), mutable: m.flag(r)}
			m.constant(r, g.of)
			m.globals = append(m.globals, g)
		}
	case secExport:
		m.readExports(r)
	case secStart:
		m.start = int(m.funcIndex(r))
		if t := m.typeOf(m.start); r.err == nil && len(t.in)+len(t.out) > 0 {
			r.failf("the function that starts has parameters or results")
		}
	case secElement:
		for range r.count(maxSegments, "element segments") {
			m.readElement(r)
		}
	case secDataCount:
		m.datas = int(r.unsigned())
	case secCode:
		if n := r.count(maxFuncs, "bodies"); n != len(m.funcs)-m.imported {
			r.failf("%d bodies for %d functions", n, len(m.funcs)-m.imported)
		}
		for len(m.bodies) < len(m.funcs)-m.imported && r.err == nil {
			m.bodies = append(m.bodies, r.bytes(r.unsigned()))
		}
	case secData:
		m.readDatas(r)
	}
}

// whole checks what needs all sections.
func (m *module) whole() error {
	if !m.present[secCode] && len(m.funcs) > m.imported {
		return fmt.Errorf("%d functions have no bodies", len(m.funcs)-m.imported)
	}
	if !m.present[secData] && m.datas > 0 {
		return fmt.Errorf("%d data segments are announced and none is there", m.datas)
	}
	return nil
}

func (m *module) flag(r *reader) bool {
	c := r.byte()
	if c > 1 {
		r.failf("a flag of %d", c)
	}
	return c == 1
}

func (m *module) valueType(r *reader) valueType {
	t := valueType(r.byte())
	if !t.valid() && r.err == nil {
		r.failf("type 0x%02x is unknown or not supported", byte(t))
	}
	return t
}

func (m *module) reference(r *reader) valueType {
	t := valueType(r.byte())
	if !t.reference() && r.err == nil {
		r.failf("type 0x%02x is no reference", byte(t))
	}
	return t
}

func (m *module) readTypes(r *reader) {
	list := func(what string) []valueType {
		n := r.count(maxArity, what)
		out := make([]valueType, n)
		for i := range out {
			out[i] = m.valueType(r)
		}
		return out
	}
	for range r.count(maxTypes, "types") {
		if r.byte() != functionForm && r.err == nil {
			r.failf("a type that is no function")
		}
		m.types = append(m.types, signature{in: list("parameters"), out: list("results")})
		if r.err != nil {
			return
		}
	}
	first := make(map[string]int32, len(m.types))
	for i, t := range m.types {
		k := string(t.key())
		if _, ok := first[k]; !ok {
			first[k] = int32(i)
		}
		m.same = append(m.same, first[k])
	}
}

// key writes a signature as the type section does.
func (s signature) key() []byte {
	b := []byte{functionForm}
	for _, list := range [2][]valueType{s.in, s.out} {
		b = appendUnsigned(b, uint64(len(list)))
		for _, t := range list {
			b = append(b, byte(t))
		}
	}
	return b
}

func (m *module) readImports(r *reader) {
	for range r.count(maxFuncs, "imports") {
		from, name := r.name(), r.name()
		if kind := r.byte(); kind != 0 && r.err == nil {
			r.failf("it imports %s.%s, which is no function", clip(from), clip(name))
		}
		m.funcs = append(m.funcs, m.typeIndex(r))
		m.imported++
	}
}

func clip(s string) string { return s[:min(len(s), 64)] }

func (m *module) typeIndex(r *reader) uint32 {
	i := r.unsigned()
	if uint64(i) >= uint64(len(m.types)) {
		r.failf("type %d of %d", i, len(m.types))
		return 0
	}
	return i
}

func (m *module) funcIndex(r *reader) uint32 {
	i := r.unsigned()
	if uint64(i) >= uint64(len(m.funcs)) {
		r.failf("function %d of %d", i, len(m.funcs))
		return 0
	}
	return i
}

// typeOf gives the signature of a function; an empty one where there is none.
func (m *module) typeOf(f int) signature {
	if f < 0 || f >= len(m.funcs) {
		return signature{}
	}
	return m.types[m.funcs[f]]
}

func readTable(r *reader) tableType {
	t := tableType{of: valueType(r.byte())}
	if !t.of.reference() && r.err == nil {
		r.failf("a table of 0x%02x", byte(t.of))
	}
	t.low, t.high, _ = r.limits(maxElements)
	switch {
	case t.low > maxElements:
		r.failf("a table of %d elements, more than %d", t.low, maxElements)
	case t.low > t.high:
		r.failf("a table of %d to %d elements", t.low, t.high)
	}
	t.high = min(t.high, maxElements)
	return t
}

func (m *module) readExports(r *reader) {
	names := map[string]bool{}
	for range r.count(maxExports, "exports") {
		e := export{name: r.name(), kind: r.byte(), index: r.unsigned()}
		var have int
		switch e.kind {
		case 0:
			have = len(m.funcs)
			m.name(int(e.index))
		case 1:
			have = len(m.tables)
		case 2:
			if m.memory {
				have = 1
			}
		case 3:
			have = len(m.globals)
		}
		switch {
		case r.err != nil:
			return
		case uint64(e.index) >= uint64(have):
			r.failf("it exports what is not there: %s", clip(e.name))
			return
		case names[e.name]:
			r.failf("it exports two things as %s", clip(e.name))
			return
		}
		names[e.name] = true
		m.exports = append(m.exports, e)
	}
}

// name notes that ref.func may name a function, and hold that a table may hold it.
func (m *module) name(f int) {
	if m.named == nil {
		m.named, m.reachable = make([]bool, len(m.funcs)), make([]bool, len(m.funcs))
	}
	if f < len(m.named) {
		m.named[f] = true
	}
}

func (m *module) hold(f int) {
	m.name(f)
	if f < len(m.reachable) {
		m.reachable[f] = true
	}
}

// constant checks a constant expression (core spec 3.3.10) of a type. Without imported globals, globals are no part of one.
func (m *module) constant(r *reader, want valueType) {
	var got valueType
	switch op := r.byte(); op {
	case opI32Const:
		r.signed(32)
		got = i32
	case opI64Const:
		r.signed(64)
		got = i64
	case opF32Const:
		r.bytes(4)
		got = f32
	case opF64Const:
		r.bytes(8)
		got = f64
	case opVector:
		if r.unsigned() != opV128Const {
			r.failf("an expression that is not constant")
		}
		r.bytes(16)
		got = v128
	case opRefNull:
		got = m.reference(r)
	case opRefFunc:
		m.hold(int(m.funcIndex(r)))
		got = funcref
	default:
		r.failf("an expression that is not constant")
	}
	if r.byte() != opEnd {
		r.failf("an expression that is not constant")
	}
	if got != want {
		r.failf("a constant of another type")
	}
}

// readElement reads a segment in one of its eight shapes (5.5.12).
func (m *module) readElement(r *reader) {
	flags := r.unsigned()
	if flags > 7 {
		r.failf("an element segment of kind %d", flags)
		return
	}
	active, explicit, expressions := flags&1 == 0, flags&2 != 0, flags&4 != 0
	of, at := funcref, uint32(0)
	if active {
		if explicit {
			at = r.unsigned()
		}
		m.constant(r, i32)
	}
	if !active || explicit {
		if expressions {
			of = m.reference(r)
		} else if r.byte() != 0 {
			r.failf("an element segment of a kind that is unknown")
		}
	}
	if active && (uint64(at) >= uint64(len(m.tables)) || m.tables[at].of != of) {
		r.failf("an element segment for a table that is not there")
	}
	for range r.count(len(r.b), "elements") {
		if expressions {
			m.constant(r, of)
		} else {
			m.hold(int(m.funcIndex(r)))
		}
	}
	m.elems = append(m.elems, of)
}

func (m *module) readDatas(r *reader) {
	n := r.count(maxSegments, "data segments")
	if m.datas >= 0 && m.datas != n {
		r.failf("%d data segments, announced were %d", n, m.datas)
	}
	for range n {
		flags := r.unsigned()
		if flags > 2 {
			r.failf("a data segment of kind %d", flags)
			return
		}
		at := uint32(0)
		if flags == 2 {
			at = r.unsigned()
		}
		if flags != 1 {
			if at > 0 || !m.memory {
				r.failf("a data segment for a memory that is not there")
			}
			m.constant(r, i32)
		}
		r.bytes(r.unsigned())
	}
}

// taken tells whether a module uses a name that is kept for what is added.
func (m *module) taken() (string, bool) {
	i := slices.IndexFunc(m.exports, func(e export) bool { return strings.HasPrefix(e.name, prefix) })
	if i < 0 {
		return "", false
	}
	return m.exports[i].name, true
}
