package node

import (
	"context"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/erasure"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/store/replica"
)

// Draft makes the parts of an object for a deal, and says what the deal is to record. Nothing is paid yet.
func (c *content) Draft(ctx context.Context, address string, how client.Pinning) (client.Draft, error) {
	life, err := c.chain()
	if err != nil {
		return client.Draft{}, err
	}
	wait := newWait(ctx, idleTime(how.Idle))
	defer wait.stop()
	root, err := c.m.store.Resolve(wait.ctx, address)
	if err != nil {
		return client.Draft{}, c.gone(wait, address, err)
	}
	if _, err := c.m.store.Fetch(wait.ctx, root, nil); err != nil {
		return client.Draft{}, c.gone(wait, address, err)
	}
	wait.end() // the rest is this disk's
	size, err := c.m.store.Size(ctx, root)
	if err != nil {
		return client.Draft{}, failure(err)
	}
	offers, err := life.ledger.Offers(ctx, nil, 0)
	if err != nil {
		return client.Draft{}, err
	}
	scheme := erasure.Scheme{Need: how.Need, Pieces: how.Parts}
	if how.Parts == 0 {
		scheme = erasure.Default(size, offers.Eligible, offers.Nodes)
	}
	if scheme.Pieces > offers.Eligible || scheme.Pieces == 0 {
		return client.Draft{}, &job.Failure{Code: job.CodeUnavailable, Message: fmt.Sprintf("%v need as many holders, and %d could be found", scheme, offers.Eligible),
			Hint: fmt.Sprintf("nodes hold when they are registered, for days (hpips chain archive); ask for fewer: --copies %d", max(1, offers.Eligible))}
	}
	made, err := replica.Make(ctx, c.m.store, root, scheme, madePrefix+root.String())
	if err != nil {
		return client.Draft{}, failure(err)
	}
	d := client.Draft{CID: root.String(), Size: int64(size), Manifest: made.Manifest.CID().String(), Need: scheme.Need, Parts: scheme.Pieces, Scheme: scheme.String()}
	if how.Price == nil {
		if d.Price, err = life.ledger.StoredPrice(ctx); err != nil {
			return d, err
		}
	} else {
		d.Price = *how.Price
	}
	node := public(c.m.chain.keys.Node)
	d.Node = node[:]
	for _, p := range made.Pieces {
		d.Pieces = append(d.Pieces, client.Piece{Root: p.Piece.Root[:], Size: p.Piece.Size})
	}
	return d, nil
}

// chain is the running chain node.
func (c *content) chain() (*chainLife, error) {
	if c.m.chain != nil {
		if life := c.m.chain.running(); life != nil {
			return life, nil
		}
	}
	return nil, &job.Failure{Code: job.CodeUnavailable, Message: "this node follows no chain, on which deals are made", Hint: "hpips chain join GENESIS, or hpips up --dev on a network of your own"}
}

// back brings an object back from the parts that others keep, where a deal is about it; forget lets go of it again, unless it was pinned before. forget is nil where there is no deal.
func (c *content) back(ctx context.Context, root cid.Cid) (forget func(), err error) {
	life, err := c.chain()
	if err != nil {
		return nil, nil //nolint:nilerr // no chain, no deals
	}
	deals, err := life.ledger.DealsAbout(ctx, root)
	if err != nil || len(deals) == 0 {
		return nil, err
	}
	name, pinned := "back", false
	pins, err := c.m.store.Pins(ctx)
	if err != nil {
		return nil, failure(err)
	}
	for _, p := range pins {
		if p.CID == root {
			name, pinned = p.Name, true
		}
	}
	for _, d := range deals {
		if err = c.recover(ctx, life, d, name); err != nil {
			continue
		}
		return func() {
			if !pinned {
				_ = c.m.store.Unpin(ctx, root) // what is left of it is garbage, no more
			}
		}, nil
	}
	return nil, &job.Failure{Code: job.CodeUnavailable, Message: fmt.Sprintf("%s does not come back from its parts: %v", root, err), Hint: "hpips files stat " + root.String() + " shows who keeps them"}
}

func (c *content) recover(ctx context.Context, life *chainLife, d ledger.Deal, name string) error {
	_, parts, err := life.ledger.Deal(ctx, d.Number)
	if err != nil {
		return err
	}
	of, all := c.m.keeper.sources(d, parts)
	m, err := c.m.keeper.manifest(ctx, d, all)
	if err != nil {
		return err
	}
	return replica.Recover(ctx, c.m.store, m, name, replica.Peers(c.m.store, of))
}
