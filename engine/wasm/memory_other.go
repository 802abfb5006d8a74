//go:build !linux

package wasm

// newArena allocates as programs grow, for lack of a reservation that gives zero pages back.
func newArena(limit int64) (*arena, error) {
	return &arena{limit: uint64(max(limit-limit%pageSize, pageSize))}, nil
}

func (a *arena) extend(size uint64) {
	if size <= uint64(len(a.region)) {
		return
	}
	region := make([]byte, min(a.limit, max(size, 2*uint64(len(a.region)))))
	copy(region, a.region[:a.used])
	a.region = region
}

func (a *arena) zero(n uint64) { clear(a.region[:n]) }
