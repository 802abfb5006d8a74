package gateway

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/store"
)

// PriceMeta is the entry in a pin's meta by which a publisher gives a content its price: base units of HPIPS for a GiB of blocks, in decimal digits.
const PriceMeta = "hpips.price"

// mostRate bounds a price, so that no sum of what one lease is served overflows.
const mostRate = 1 << 50

// Prices says what the blocks of this node cost whoever asks its gateway: those of contents that are held at a price. A nil Prices has none. A block of
// several contents costs the least of their prices.
type Prices struct {
	mu       sync.RWMutex
	blocks   map[string][]priced // by multihash
	contents map[string]*goods   // by request
}

// priced is one price of a block.
type priced struct {
	request string
	rate    uint64
}

// goods is a content that has a price.
type goods struct {
	root   cid.Cid
	bytes  uint64 // of all its blocks; 0: not known yet
	hashes []string
}

// NewPrices returns prices of nothing.
func NewPrices() *Prices {
	return &Prices{blocks: map[string][]priced{}, contents: map[string]*goods{}}
}

// Of is what a GiB of a block costs, in base units of HPIPS; 0: it is free.
func (p *Prices) Of(c cid.Cid) uint64 {
	if p == nil {
		return 0
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	var least uint64
	for _, b := range p.blocks[string(c.Hash())] {
		if least == 0 || b.rate < least {
			least = b.rate
		}
	}
	return least
}

// bytes is how large all blocks under the root of a content are; 0: it is none with a price, or not here as a whole.
func (p *Prices) bytes(root cid.Cid) (most uint64) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, b := range p.blocks[string(root.Hash())] {
		if g := p.contents[b.request]; g.root.Equals(root) {
			most = max(most, g.bytes)
		}
	}
	return most
}

// announce gives a root its price before the rest of the content is here.
func (p *Prices) announce(request string, root cid.Cid, rate uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begin(request, root, rate)
}

// begin needs p.mu.
func (p *Prices) begin(request string, root cid.Cid, rate uint64) {
	p.forget(request)
	p.contents[request] = &goods{root: root}
	p.put(request, root, rate)
}

// set gives a content its price, which is here as a whole. After an error what is here of it has the price.
func (p *Prices) set(ctx context.Context, blocks *store.Store, request string, root cid.Cid, rate uint64) error {
	var bytes uint64
	var all []cid.Cid
	err := blocks.Each(ctx, root, func(c cid.Cid, size int) {
		all = append(all, c)
		bytes += uint64(size)
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begin(request, root, rate)
	if err == nil {
		p.contents[request].bytes = bytes
	}
	for _, c := range all {
		if !c.Equals(root) {
			p.put(request, c, rate)
		}
	}
	return err
}

// put needs p.mu.
func (p *Prices) put(request string, c cid.Cid, rate uint64) {
	key := string(c.Hash())
	p.blocks[key] = append(p.blocks[key], priced{request, rate})
	p.contents[request].hashes = append(p.contents[request].hashes, key)
}

// drop makes a content free.
func (p *Prices) drop(request string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(request)
}

// forget needs p.mu.
func (p *Prices) forget(request string) {
	g := p.contents[request]
	if g == nil {
		return
	}
	delete(p.contents, request)
	for _, key := range g.hashes {
		left := p.blocks[key][:0:0]
		for _, b := range p.blocks[key] {
			if b.request != request {
				left = append(left, b)
			}
		}
		if p.blocks[key] = left; len(left) == 0 {
			delete(p.blocks, key)
		}
	}
}

// rateOf reads the price in a pin's meta; 0: it has none.
func rateOf(meta map[string]string) (uint64, error) {
	text, ok := meta[PriceMeta]
	if !ok {
		return 0, nil
	}
	rate, err := strconv.ParseUint(text, 10, 64)
	if err != nil || rate == 0 || rate > mostRate || strconv.FormatUint(rate, 10) != text {
		return 0, fmt.Errorf("%s %q is no price: it is uhpips for a GiB, 1 to %d", PriceMeta, text, uint64(mostRate))
	}
	return rate, nil
}
