package wasm

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// smallMemory is up to where clearing is cheaper than giving pages back and faulting them in again.
const smallMemory = 256 << 10

// newArena reserves limit bytes of addresses; pages come when they are touched.
func newArena(limit int64) (*arena, error) {
	n := max(limit-limit%pageSize, pageSize)
	region, err := unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("memory reserve %d bytes: %w", n, err)
	}
	_ = unix.Madvise(region, unix.MADV_HUGEPAGE) // a program of some size starts in two thirds of the time; a refusal costs only that
	return &arena{region: region, limit: uint64(n)}, nil
}

func (a *arena) extend(uint64) {}

func (a *arena) zero(n uint64) {
	if n > smallMemory {
		if unix.Madvise(a.region[:n], unix.MADV_DONTNEED) == nil {
			return
		}
	}
	clear(a.region[:n])
}
