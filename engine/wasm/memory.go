package wasm

import "github.com/tetratelabs/wazero/experimental"

// arena lends one linear memory after another to the instances of one program, never two at a time: a tiny task then costs neither
// mmap nor munmap, which serialise in the kernel. What it lends is always zero. It refuses to grow past its limit, and remembers that.
type arena struct {
	region  []byte // the whole reservation, or what a system without one has allocated
	limit   uint64
	used    uint64 // bytes lent now
	peak    uint64
	refused bool
}

// Allocate implements experimental.MemoryAllocator. An instance that failed half-made has not given its memory back.
func (a *arena) Allocate(_, _ uint64) experimental.LinearMemory {
	a.Free()
	a.used, a.peak, a.refused = 0, 0, false
	return a
}

// Reallocate implements experimental.LinearMemory; nil means that the program asked for more than it may have.
func (a *arena) Reallocate(size uint64) []byte {
	if size > a.limit {
		a.refused = true
		return nil
	}
	a.extend(size)
	a.used = size
	a.peak = max(a.peak, size)
	return a.region[:size:size]
}

// lent is the memory that is lent now.
func (a *arena) lent() []byte { return a.region[:a.used:a.used] }

// Free takes the memory back and zeroes it.
func (a *arena) Free() {
	a.zero(a.used)
	a.used = 0
}
