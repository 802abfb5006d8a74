// Package meter keeps the rewriting of WebAssembly modules by which every machine counts a program's work alike, ends its recursion at the
// same call, and sees the same bits in a NaN. It promises that the same bytes in give the same bytes out, that they are valid if what went in
// was, that the program cannot reach what was added, and an error, never a panic or a time beyond proportion, for any bytes whatever.
// It leaves running modules, and what a count is worth, to others.
package meter

import (
	"errors"
	"fmt"
)

// Version is that of the rewriting. It changes with every byte that Rewrite would write otherwise, and with the costs.
const Version = 2

// What is added to a module's exports. The program cannot name them, and one that exports a name with this prefix is refused.
const (
	prefix = "hpips:"
	// Left is a mutable global of type i64: the instructions that the program may still be charged. The host sets it before the program
	// starts. Below zero it has passed its limit, whatever else it did then.
	Left = prefix + "left"
	// Room is a mutable global of type i64: the slots that calls may still take. The host sets it to Depth. Below zero calls were nested
	// too deep. It is not there if no function can come to call itself.
	Room = prefix + "room"
	// Start is the function that the module wanted to run by itself when it is instantiated. The host calls it first, if it is there.
	Start = prefix + "start"
	// Passed is a function that the watched form calls where nothing is left; a host that is told when it is entered may set Left to more, and the program goes
	// on. It is not in the plain form, and in none of a module without functions of its own.
	Passed = prefix + "passed"
)

// Depth is how many slots calls may take; a slot is about eight bytes of the stack of compiled code.
const Depth = 2 << 20

// Endless is what Left is set to where there is no limit: a thousand years.
const Endless = 1 << 62

// What instructions cost besides the rows of the table: those that call, and those that are charged by size too.
const (
	costCall     = 4
	costIndirect = 8
	costBulk     = 8
	byteShift    = 4  // one for 16 bytes that are copied or filled
	growShift    = 12 // 4096 for a page of memory that is granted, which is one for 16 bytes
	maxAhead     = 16 // what a straight line may be charged of shorter ones that come after it
	smallLeaf    = 64 // a function without loops and calls that costs no more does not look whether anything is left
)

// errLarge is for modules past MaxModule or MaxMetered.
var errLarge = errors.New("it is too large")

// Rewrite gives the metered form of a module, which must be valid WebAssembly 2.0 and import functions only. An error says what is wrong with it.
func Rewrite(module []byte) ([]byte, error) { return rewrite(module, false) }

// RewriteWatched gives the form for a host that takes down states on the way. It counts alike, and has the same memory and globals at each place where it is looked
// whether anything is left, but is somewhat slower. It takes what Rewrite takes.
func RewriteWatched(module []byte) ([]byte, error) { return rewrite(module, true) }

func rewrite(module []byte, watched bool) ([]byte, error) {
	if len(module) > MaxModule {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", errLarge, len(module), MaxModule)
	}
	w := allowance(module)
	m, err := parse(module, w)
	if err != nil {
		return nil, err
	}
	if name, bad := m.taken(); bad {
		return nil, fmt.Errorf("it exports %s; names that begin with %s are kept for its host", clip(name), prefix)
	}
	p, err := survey(m, w)
	if err != nil {
		return nil, err
	}
	out, err := p.write(allowance(module), watched)
	if err != nil {
		return nil, err
	}
	if err := check(out, (1+aroundLoop)*maxNesting+1); err != nil {
		return nil, fmt.Errorf("after metering: %w", err)
	}
	return out, nil
}

// Check tells whether a module is valid, and what is wrong with it.
func Check(module []byte) error { return check(module, maxNesting) }

func check(module []byte, nesting int) error {
	w := allowance(module)
	m, err := parse(module, w)
	if err != nil {
		return err
	}
	m.nesting = nesting
	b := &body{m: m}
	for f := range m.bodies {
		if err := b.read(f, w); err != nil {
			return err
		}
	}
	return nil
}

func allowance(module []byte) *work { return &work{workFloor + workPerByte*int64(len(module))} }
