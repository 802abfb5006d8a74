package archive

// Gauge tells when a segment is whole to who asks again and again while its blocks come: each is read once. The zero value is ready.
type Gauge struct {
	from, to int64 // blocks that were counted: from the first one to the one before to
	bytes    int64
}

// Whole tells whether the segment that begins with a block has come to its end, as Make would find. Errors are those of blocks; what was counted stays.
func (g *Gauge) Whole(blocks Blocks, from int64, l Limits) (bool, error) {
	if err := l.check(); err != nil {
		return false, err
	}
	if g.from != from {
		*g = Gauge{from: from, to: from}
	}
	for ; !l.full(g.bytes, int(g.to-g.from)); g.to++ {
		if g.to > blocks.Height() {
			return false, nil
		}
		b, err := blocks.Block(g.to)
		if err != nil {
			return false, err
		}
		g.bytes += int64(len(b))
	}
	return true, nil
}
