package ledger

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/proto/gen/registryv1"
	"github.com/hpips/hpips/spec/sortition"
)

// What draws reads of states: tickets, how many there are, and what the registry knew before the first block.

// candidates are those of the claims whose tickets are good, by the state that the block found; or, where a lot of the block gave one, left.
func (d *draws) candidates(ctx context.Context, claims map[sortition.Key]sortition.Rank, found, left stateRoot) ([]sortition.Candidate, map[sortition.Key]*committeev1.Ticket, error) {
	var all []sortition.Candidate
	tickets := map[sortition.Key]*committeev1.Ticket{}
	for _, node := range slices.SortedFunc(maps.Keys(claims), func(a, b sortition.Key) int { return cmp.Or(claims[a].Compare(claims[b]), bytes.Compare(a[:], b[:])) }) {
		t, err := d.goodTicket(ctx, node, found)
		if err == nil && t == nil && (d.params.NewTicketsPermille > 0 || d.params.NewTicketsMin > 0) {
			if t, err = d.goodTicket(ctx, node, left); t != nil && t.SinceHeight != left.height {
				t = nil
			}
		}
		if err != nil {
			return nil, nil, err
		}
		if t == nil {
			continue
		}
		tickets[node] = t
		all = append(all, sortition.Candidate{Node: node, Owner: t.Owner, Network: t.Network, Rank: claims[node]})
	}
	return all, tickets, nil
}

// goodTicket is a node's ticket in a state, nil if it has none that is good.
func (d *draws) goodTicket(ctx context.Context, node sortition.Key, at stateRoot) (*committeev1.Ticket, error) {
	point, _, err := d.proofs.at(ctx, at, committeeStore, keyed(committeeHolders, node[:]...))
	if err != nil || point == nil {
		return nil, err
	}
	var t committeev1.Ticket
	known, err := d.proofs.message(ctx, at, committeeStore, keyed(committeeRing, point...), &t)
	if err != nil || !known {
		return nil, err
	}
	n, err := d.enrolled(ctx, node)
	if err != nil {
		return nil, err
	}
	if len(t.VrfKey) != len(sortition.Key{}) || len(t.ConsensusKey) != len(sortition.Key{}) || !bytes.Equal(t.Node, node[:]) {
		return nil, wrong(at.height, "the state after it has a ticket of %s with impossible keys", NodeText(node[:]))
	}
	if !n.known || !n.active || n.since != t.KeysHeight || t.UntilDay < d.beacon.Day {
		return nil, nil
	}
	if !bytes.Equal(n.vrf[:], t.VrfKey) || !bytes.Equal(n.consensus[:], t.ConsensusKey) {
		return nil, wrong(at.height, "the ticket of %s has other keys than its registration", NodeText(node[:]))
	}
	return &t, nil
}

// enrolled is what the registry knows of a node: as followed from blocks, and before the first of them by the state there.
func (d *draws) enrolled(ctx context.Context, node sortition.Key) (enrolled, error) {
	n, looked := d.nodes[node]
	if looked || d.base == nil {
		return n, nil
	}
	var r registryv1.Node
	known, err := d.proofs.message(ctx, *d.base, registryStore, keyed(registryNodes, node[:]...), &r)
	if err != nil {
		return n, err
	}
	if known {
		if n, err = enrol(r); err != nil {
			return n, wrong(d.base.height, "the registry's node %s: %v", node, err)
		}
	}
	d.nodes[node] = n
	return n, nil
}

func enrol(r registryv1.Node) (n enrolled, err error) {
	n = enrolled{known: true, active: r.Standing == registryv1.STANDING_ACTIVE, since: r.KeysHeight}
	if n.consensus, err = sortition.KeyOf(r.ConsensusKey); err == nil {
		n.vrf, err = sortition.KeyOf(r.VrfKey)
	}
	return n, err
}

// culprit finds the node that has or had the consensus key with an address.
func (d *draws) culprit(ctx context.Context, at stateRoot, address []byte) (node sortition.Key, known bool, err error) {
	for _, s := range d.sitting() {
		if bytes.Equal(consensusAddress(s.ConsensusKey), address) {
			return sortition.Key(s.Node), true, nil
		}
	}
	if at.height < d.oldest {
		return node, false, nil
	}
	id, _, err := d.proofs.at(ctx, at, registryStore, keyed(registryVoters, address...))
	if err != nil || id == nil {
		return node, false, err
	}
	node, err = sortition.KeyOf(id)
	return node, err == nil, err
}

// tickets counts the good tickets at the beginning of a day: those of the state that the block found, less those of who signed two blocks.
func (d *draws) tickets(ctx context.Context, f followed) (uint64, error) {
	if f.before.height < d.oldest {
		return d.given, nil
	}
	n, err := d.number(ctx, f.before, keyed(committeeTickets))
	if err != nil {
		return 0, err
	}
	gone := map[sortition.Key]bool{}
	for _, one := range f.guilty {
		node, known, err := d.culprit(ctx, f.before, one.Validator.Address)
		if err != nil {
			return 0, err
		}
		if !known || gone[node] {
			continue
		}
		gone[node] = true
		point, _, err := d.proofs.at(ctx, f.before, committeeStore, keyed(committeeHolders, node[:]...))
		if err != nil {
			return 0, err
		}
		if point != nil {
			n -= min(n, 1)
		}
	}
	return n, nil
}

// number reads a count, 0 where none stands.
func (d *draws) number(ctx context.Context, at stateRoot, key []byte) (uint64, error) {
	value, _, err := d.proofs.at(ctx, at, committeeStore, key)
	if err != nil || value == nil {
		return 0, err
	}
	if len(value) != 8 {
		return 0, wrong(at.height, "the state after it has a count of %d bytes", len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}
