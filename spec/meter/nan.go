package meter

import "encoding/binary"

// dirt says which bits a float on the stack may have.
//
// Arithmetic may make a NaN of any bits, another on each processor. Making each one canonical at once would cost every addition a comparison;
// but nobody sees the bits before they are stored, looked at as an integer, given to another function or passed to another block. So a
// value is dirty from where arithmetic made it, it may stay so in further arithmetic and in a local, and becomes canonical only if something
// looks. What is loaded, given or made from an integer is clean and keeps its bits, as the specification says of it (core spec 4.3.3).
type dirt byte

const (
	clean     dirt = iota // bits that the specification gives; they must stay
	neutral               // no NaN at all, or a canonical one
	dirty32               // an f32 that arithmetic made
	dirty64               // an f64
	dirty32x4             // a v128 of f32s
	dirty64x2             // a v128 of f64s
)

// What a node is made of.
const (
	nodeDirty   = iota // by arithmetic; its kind is want
	nodeNeutral        // a number
	nodeLocal          // read from the local a
	nodeUnary          // what a is, of the kind gives, if a is of the kind want
	nodeBoth           // either of a and b, of the kind want
)

// node is a float on the stack of one function; -1 is one that is clean.
type node struct {
	op    uint8
	want  dirt
	gives dirt
	raw   dirt // what it is if nothing makes it canonical
	canon bool // it is made canonical
	a, b  int32
}

// Something that happens to a float.
type event struct {
	node  int32
	local int32 // it is put there; -1: it is looked at
	want  dirt  // looked at as that only: a dirty one of this kind may stay so
}

// flow decides, for one function, which floats are made canonical. It keeps what it was given, and its answers, until begin.
type flow struct {
	nodes    []node
	events   []event
	deferred []bool // locals that only ever hold what arithmetic made, or numbers
	kinds    []dirt // of those
	changed  bool
}

// rounds is how often flow looks at all events before it gives up and makes everything canonical at once. Few functions need four.
const rounds = 12

func (f *flow) begin() { f.nodes, f.events = f.nodes[:0], f.events[:0] }

// locals says which locals there are. Parameters are clean.
func (f *flow) locals(list []valueType, params int) {
	f.deferred, f.kinds = f.deferred[:0], f.kinds[:0]
	for i, t := range list {
		f.deferred = append(f.deferred, i >= params && t.float())
		f.kinds = append(f.kinds, neutral)
	}
}

func (f *flow) add(n node) int32 {
	f.nodes = append(f.nodes, n)
	return int32(len(f.nodes) - 1)
}

func (f *flow) look(n int32, want dirt) {
	if n >= 0 {
		f.events = append(f.events, event{node: n, local: -1, want: want})
	}
}

func (f *flow) put(n int32, local int) {
	f.events = append(f.events, event{node: n, local: int32(local)})
}

// state is what a node is, for whoever uses it.
func (f *flow) state(n int32) dirt {
	if n < 0 || f.nodes[n].canon {
		return clean
	}
	return f.nodes[n].raw
}

// settle decides. Locals only turn from deferred to clean and nodes only from dirty to canonical, so that it comes to an end.
func (f *flow) settle() {
	for range rounds {
		if !f.round() {
			return
		}
	}
	for i := range f.deferred {
		f.deferred[i] = false
	}
	for i := range f.nodes {
		n := &f.nodes[i]
		if n.op == nodeDirty {
			n.canon = true
		}
		n.raw = f.eval(n)
	}
}

// round looks at all nodes in the order in which they were made, then at all events, and tells whether anything changed.
func (f *flow) round() bool {
	f.changed = false
	for i := range f.nodes {
		n := &f.nodes[i]
		was := n.raw
		n.raw = f.eval(n)
		f.changed = f.changed || n.raw != was
	}
	for _, e := range f.events {
		s := f.state(e.node)
		switch {
		case e.local < 0:
			f.read(e.node, e.want)
		case !f.deferred[e.local]:
			f.read(e.node, clean)
		case s == clean, s >= dirty32 && f.kinds[e.local] != neutral && f.kinds[e.local] != s:
			f.deferred[e.local], f.changed = false, true
		case s >= dirty32 && f.kinds[e.local] == neutral:
			f.kinds[e.local], f.changed = s, true
		}
	}
	return f.changed
}

func (f *flow) eval(n *node) dirt {
	switch n.op {
	case nodeDirty:
		return n.want
	case nodeNeutral:
		return neutral
	case nodeLocal:
		if f.deferred[n.a] {
			return f.kinds[n.a]
		}
		return clean
	case nodeUnary:
		switch a := f.read(n.a, n.want); {
		case a == n.want:
			return n.gives
		default:
			return a
		}
	}
	a, b := f.read(n.a, n.want), f.read(n.b, n.want)
	switch {
	case a == clean || b == clean:
		f.read(n.a, clean)
		f.read(n.b, clean)
		return clean
	case a == n.want || b == n.want:
		return n.want
	}
	return neutral
}

// read gives what a node is for one who takes a dirty one of a single kind, or none; another one is made canonical.
func (f *flow) read(n int32, want dirt) dirt {
	s := f.state(n)
	if s >= dirty32 && s != want {
		f.nodes[n].canon, f.changed = true, true
		return clean
	}
	return s
}

// canonical tells of what kind a node is made canonical; clean if it is left as it is.
func (f *flow) canonical(n int32) dirt {
	if x := f.nodes[n]; x.canon && x.raw >= dirty32 {
		return x.raw
	}
	return clean
}

// The canonical NaN: positive, and only the highest bit of its fraction set (core spec 4.3.3).
const (
	nan32 = 0x7fc00000
	nan64 = 0x7ff8000000000000
)

// number32 and number64 tell whether bits are no NaN, or the canonical one.
func number32(b []byte) bool {
	v := binary.LittleEndian.Uint32(b)
	return v == nan32 || v&^(1<<31) <= 0x7f800000 // which is infinity
}

func number64(b []byte) bool {
	v := binary.LittleEndian.Uint64(b)
	return v == nan64 || v&^(1<<63) <= 0x7ff0000000000000
}

// numbers tells whether a v128 holds numbers, however it is read.
func numbers(b []byte) bool {
	return number32(b) && number32(b[4:]) && number32(b[8:]) && number32(b[12:]) && number64(b) && number64(b[8:])
}
