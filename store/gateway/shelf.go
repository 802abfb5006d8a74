package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/ipfs/boxo/exchange"
	boxo "github.com/ipfs/boxo/gateway"
	blockfmt "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/maypok86/otter/v2"

	"github.com/hpips/hpips/store"
)

// errDenied is the answer for what the owner does not serve.
var errDenied = boxo.NewErrorStatusCode(errors.New("the owner of this node does not serve this content"), http.StatusGone)

// perBlock is the memory of a cached block beside its bytes.
const perBlock = 256

// shelf is the blocks that the gateway serves, as a blockstore.Blockstore: those of the store, in front of them a number of bytes in memory. What
// is put into it, which are blocks fetched for others, stays in memory alone, and only while its turn lasts.
type shelf struct {
	store  *store.Store
	cache  *otter.Cache[string, []byte] // by multihash; nil: there is none
	denied map[string]bool              // by multihash
	prices *Prices
}

func newShelf(blocks *store.Store, prices *Prices, cfg Config) *shelf {
	s := &shelf{store: blocks, denied: map[string]bool{}, prices: prices}
	for _, c := range cfg.Deny {
		s.denied[string(c.Hash())] = true
	}
	if cfg.Cache > 0 {
		s.cache = otter.Must(&otter.Options[string, []byte]{
			MaximumWeight: uint64(cfg.Cache), Executor: inPlace,
			Weigher: func(_ string, data []byte) uint32 { return uint32(len(data)) + perBlock },
		})
	}
	return s
}

// Get gives a block whose bytes match its address: from memory, else from the store, which checks them.
func (s *shelf) Get(ctx context.Context, c cid.Cid) (blockfmt.Block, error) {
	key := string(c.Hash())
	if s.denied[key] {
		return nil, errDenied
	}
	if s.priced(ctx, c) {
		return nil, errPriced
	}
	if s.cache == nil {
		return s.store.Block(ctx, c)
	}
	// Many clients that ask for one block at the same moment read it once.
	data, err := s.cache.Get(ctx, key, otter.LoaderFunc[string, []byte](func(ctx context.Context, _ string) ([]byte, error) {
		block, err := s.store.Block(context.WithoutCancel(ctx), c)
		if err != nil {
			return nil, err
		}
		return block.RawData(), nil
	}))
	if err != nil {
		return nil, absent(c, err)
	}
	return blockfmt.NewBlockWithCid(data, c)
}

// priced tells of a block that is not for this request.
func (s *shelf) priced(ctx context.Context, c cid.Cid) bool {
	return s.prices.Of(c) > 0 && !paidFor(ctx, c)
}

// withheld is denied or priced: peers are not asked for it either.
func (s *shelf) withheld(ctx context.Context, c cid.Cid) bool {
	return s.denied[string(c.Hash())] || s.priced(ctx, c)
}

// absent gives an error of a load that was shared the words for this CID.
func absent(c cid.Cid, err error) error {
	if ipld.IsNotFound(err) {
		return ipld.ErrNotFound{Cid: c}
	}
	return err
}

// Has tells whether the block is here.
func (s *shelf) Has(ctx context.Context, c cid.Cid) (bool, error) {
	_, err := s.GetSize(ctx, c)
	if ipld.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// GetSize gives the bytes of a block.
func (s *shelf) GetSize(ctx context.Context, c cid.Cid) (int, error) {
	key := string(c.Hash())
	if s.denied[key] {
		return 0, errDenied
	}
	if s.cache != nil {
		if data, ok := s.cache.GetIfPresent(key); ok {
			return len(data), nil
		}
	}
	return s.store.BlockSize(ctx, c)
}

// Put keeps a block that was fetched for somebody, while there is room; its hash was checked.
func (s *shelf) Put(_ context.Context, block blockfmt.Block) error {
	if s.cache != nil {
		s.cache.Set(string(block.Cid().Hash()), block.RawData())
	}
	return nil
}

// PutMany puts each.
func (s *shelf) PutMany(ctx context.Context, many []blockfmt.Block) error {
	for _, block := range many {
		if err := s.Put(ctx, block); err != nil {
			return err
		}
	}
	return nil
}

var errReadOnly = errors.New("gateway: what it serves is not changed or listed through it")

// DeleteBlock is refused.
func (s *shelf) DeleteBlock(context.Context, cid.Cid) error { return errReadOnly }

// AllKeysChan is refused: who does not know an address does not learn it here.
func (s *shelf) AllKeysChan(context.Context) (<-chan cid.Cid, error) { return nil, errReadOnly }

// afar is the exchange with peers that gives each block so much time, and is not asked for what the shelf withholds: a blockservice asks for several where the shelf
// refuses them, whatever the reason.
type afar struct {
	exchange.SessionExchange
	quiet time.Duration
	shelf *shelf
}

// GetBlock asks for one block.
func (a afar) GetBlock(ctx context.Context, c cid.Cid) (blockfmt.Block, error) {
	return oneOf(ctx, a.SessionExchange, c, a.quiet)
}

// GetBlocks asks for several.
func (a afar) GetBlocks(ctx context.Context, all []cid.Cid) (<-chan blockfmt.Block, error) {
	return session{a.SessionExchange, a.quiet, a.shelf}.GetBlocks(ctx, all)
}

// NewSession gives each block of a session so much time.
func (a afar) NewSession(ctx context.Context) exchange.Fetcher {
	return session{a.SessionExchange.NewSession(ctx), a.quiet, a.shelf}
}

type session struct {
	exchange.Fetcher
	quiet time.Duration
	shelf *shelf
}

// GetBlock asks for one block.
func (s session) GetBlock(ctx context.Context, c cid.Cid) (blockfmt.Block, error) {
	return oneOf(ctx, s.Fetcher, c, s.quiet)
}

// GetBlocks asks for several; what is not there in the time of one since the last one came is not given.
func (s session) GetBlocks(ctx context.Context, all []cid.Cid) (<-chan blockfmt.Block, error) {
	ctx, cancel := context.WithCancel(ctx)
	all = slices.DeleteFunc(slices.Clone(all), func(c cid.Cid) bool { return s.shelf.withheld(ctx, c) })
	from, err := s.Fetcher.GetBlocks(ctx, all)
	if err != nil {
		cancel()
		return nil, err
	}
	to := make(chan blockfmt.Block)
	go func() {
		defer close(to)
		defer cancel()
		late := time.NewTimer(s.quiet)
		defer late.Stop()
		for {
			select {
			case block, ok := <-from:
				if !ok {
					return
				}
				late.Reset(s.quiet)
				select {
				case to <- block:
				case <-ctx.Done():
					return
				}
			case <-late.C:
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return to, nil
}

// oneOf asks for one block for so long; nobody who had it in that time is 504.
func oneOf(ctx context.Context, from exchange.Fetcher, c cid.Cid, quiet time.Duration) (blockfmt.Block, error) {
	ctx, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	block, err := from.GetBlock(ctx, c)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil, boxo.NewErrorStatusCode(fmt.Errorf("no connected node sent block %s within %v", c, quiet), http.StatusGatewayTimeout)
	}
	return block, err
}
