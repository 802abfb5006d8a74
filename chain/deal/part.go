package deal

import (
	"context"
	"errors"
	"slices"

	"cosmossdk.io/collections"
	"cosmossdk.io/math"

	"github.com/hpips/hpips/proto/gen/dealv1"
	"github.com/hpips/hpips/spec/erasure"
	"github.com/hpips/hpips/spec/placement"
	"github.com/hpips/hpips/spec/proof"
	"github.com/hpips/hpips/spec/sortition"
)

// Terms are what a row needs to know of a part.
type Terms struct {
	Piece proof.Piece
	Rate  uint64 // uhpips for a proven day
}

// Take gives a part to a node, or says why not. nodes are all that are there, but for those that leave; by rules those of one owner, or of one network, count once:
//
//  1. The deal goes on, and has its point.
//  2. The part is open: nobody keeps it, or who does leaves; then left is who that is, and gives it up. Or it is the node's own, which it kept until it was away, and which is nobody's since.
//  3. The node has room for the largest part, keeps none of the deal, and nobody who does has its owner or its network.
//  4. On the day on which a part became open it is the node's whose turn it is: of those who may, the first in the deal's order takes the first open part, and so on. From the next day on it is anybody's who may, and so it is
//     at once where lost parts are to be made anew and few are left (spec/erasure).
func (k Keeper) Take(ctx context.Context, p proof.Part, node sortition.Key, nodes []placement.Node, rules placement.Rules) (terms Terms, left *sortition.Key, err error) {
	d, err := k.Deal(ctx, p.Deal)
	if err != nil {
		return terms, nil, err
	}
	v, err := k.view(ctx, d, nodes, rules)
	if err != nil {
		return terms, nil, err
	}
	if err := v.may(p.Number, node, k.Days.Day(ctx)); err != nil {
		return terms, nil, err
	}
	before := v.parts[p.Number]
	if len(before.Node) > 0 {
		key := sortition.Key(before.Node)
		left = &key
	} else {
		d.Kept++
	}
	each, _ := rates(d)
	d.Held++
	key := collections.Join(p.Deal, p.Number)
	tell(ctx, "hpips_part", "deal", text(p.Deal), "part", text(p.Number), "node", node.String())
	return Terms{pieceOf(d, p.Number), each[p.Number]}, left, errors.Join(
		k.deals.Set(ctx, p.Deal, d), k.open.Remove(ctx, key), k.parts.Set(ctx, key, dealv1.Part{Node: node[:], Since: k.Days.Day(ctx)}))
}

// Still tells whether a node could take a part: it is open, or was the node's own, and the deal goes on. It costs the same however many nodes there are.
func (k Keeper) Still(ctx context.Context, p proof.Part, node sortition.Key) error {
	d, err := k.Deal(ctx, p.Deal)
	if err != nil {
		return err
	}
	if d.Over {
		return ErrOver.Wrapf("deal %d", p.Deal)
	}
	kept, err := k.part(ctx, p)
	if err != nil {
		return err
	}
	open, err := k.open.Has(ctx, collections.Join(p.Deal, p.Number))
	if err == nil && !open && !own(kept, node) {
		err = shut(p.Deal, p.Number, kept)
	}
	return err
}

// own tells whether a part that is nobody's was this node's: it may take it up again.
func own(p dealv1.Part, node sortition.Key) bool {
	return len(p.Node) == 0 && string(p.Last) == string(node[:])
}

// shut is why a part is not open.
func shut(deal, number uint64, p dealv1.Part) error {
	if len(p.Node) > 0 {
		return ErrTaken.Wrapf("part %d of deal %d", number, deal)
	}
	return ErrWaits.Wrapf("part %d of deal %d", number, deal)
}

// Open tells whether somebody may take anything, of deals after a number.
func (k Keeper) Open(ctx context.Context, after uint64) (some bool, err error) {
	err = k.open.Walk(ctx, afterDeal(after), func(part) (bool, error) {
		some = true
		return true, nil
	})
	return some, err
}

func afterDeal(number uint64) *collections.Range[part] {
	return new(collections.Range[part]).StartExclusive(collections.Join(number, ^uint64(0)))
}

// Offers lists parts that a node may take now, one of a deal at most, of deals after a number.
func (k Keeper) Offers(ctx context.Context, node sortition.Key, nodes []placement.Node, rules placement.Rules, after uint64, most int) (list []proof.Part, err error) {
	var deals []uint64
	if err := k.open.Walk(ctx, afterDeal(after), func(key part) (bool, error) {
		if len(deals) == 0 || deals[len(deals)-1] != key.K1() {
			deals = append(deals, key.K1())
		}
		return len(deals) > 16*most, nil
	}); err != nil {
		return nil, err
	}
	for _, number := range deals {
		d, err := k.Deal(ctx, number)
		if err != nil {
			return nil, err
		}
		if len(d.Point) == 0 { // the next seed places it
			continue
		}
		v, err := k.view(ctx, d, nodes, rules)
		if err != nil {
			return nil, err
		}
		for n := range uint64(d.Parts) {
			if v.may(n, node, k.Days.Day(ctx)) == nil {
				list = append(list, proof.Part{Deal: number, Number: n})
				break
			}
		}
		if len(list) == most {
			break
		}
	}
	return list, nil
}

// view is a deal as those see it who could keep its parts.
type view struct {
	deal  dealv1.Deal
	parts []dealv1.Part
	free  []uint64         // numbers of parts that somebody may take
	line  []placement.Node // who may take one, in the deal's order
	all   map[[32]byte]bool
}

func (k Keeper) view(ctx context.Context, d dealv1.Deal, nodes []placement.Node, rules placement.Rules) (view, error) {
	v := view{deal: d}
	if len(d.Point) == 0 {
		return v, ErrDeal.Wrapf("deal %d has no place yet", d.Number)
	}
	if err := k.open.Walk(ctx, collections.NewPrefixedPairRange[uint64, uint64](d.Number), func(key part) (bool, error) {
		v.free = append(v.free, key.K2())
		return false, nil
	}); err != nil {
		return v, err
	}
	var keepers []placement.Node
	if err := k.parts.Walk(ctx, collections.NewPrefixedPairRange[uint64, uint64](d.Number), func(key part, p dealv1.Part) (bool, error) {
		at := slices.IndexFunc(nodes, func(n placement.Node) bool { return string(n.ID[:]) == string(p.Node) })
		if at >= 0 {
			keepers = append(keepers, nodes[at])
		}
		v.parts = append(v.parts, p)
		return false, nil
	}); err != nil {
		return v, err
	}
	rules.Size = largest(d)
	may := slices.DeleteFunc(slices.Clone(nodes), func(n placement.Node) bool {
		return n.Weight == 0 || n.Room < rules.Size || slices.ContainsFunc(keepers, func(o placement.Node) bool {
			return o.ID == n.ID || rules.PerOwner > 0 && o.Owner == n.Owner || rules.PerNetwork > 0 && o.Network == n.Network
		})
	})
	rules.Copies = len(may)
	var err error
	if v.line, err = placement.Holders(placement.Point(d.Point), may, rules); err != nil {
		return v, err
	}
	v.all = make(map[[32]byte]bool, len(may))
	for _, n := range may {
		v.all[n.ID] = true
	}
	return v, nil
}

// may tells whether a node may take a part today.
func (v view) may(number uint64, node sortition.Key, today uint64) error {
	if v.deal.Over || v.deal.Last <= today {
		return ErrOver.Wrapf("deal %d", v.deal.Number)
	}
	if number >= uint64(len(v.parts)) {
		return ErrDeal.Wrapf("part %d of deal %d", number, v.deal.Number)
	}
	p := v.parts[number]
	turn, free := slices.BinarySearch(v.free, number)
	switch {
	case !free && !own(p, node):
		return shut(v.deal.Number, number, p)
	case !v.all[node]:
		return ErrPlace.Wrapf("deal %d: this node, or one of its owner or network, keeps a part, or it has no room, or it is not there", v.deal.Number)
	case p.Opened < today || len(p.Node) > 0 || own(p, node) || p.Why != newPart && int(v.deal.Kept) <= scheme(v.deal).Danger():
		return nil
	case turn >= len(v.line) || v.line[turn].ID != node:
		return ErrPlace.Wrapf("part %d of deal %d is another's until tomorrow", number, v.deal.Number)
	}
	return nil
}

// Leaves opens what a node keeps that leaves, or shuts it again.
func (k Keeper) Leaves(ctx context.Context, p proof.Part, node sortition.Key, leaves bool) error {
	kept, err := k.part(ctx, p)
	if err != nil || string(kept.Node) != string(node[:]) {
		return err
	}
	key := collections.Join(p.Deal, p.Number)
	if !leaves {
		return k.open.Remove(ctx, key)
	}
	return k.open.Set(ctx, key)
}

// Left tells that a part is in a node's row no more, after so many days on which the node proved that it had it.
func (k Keeper) Left(ctx context.Context, p proof.Part, node sortition.Key, days uint64, why string) error {
	d, err := k.Deal(ctx, p.Deal)
	if err != nil {
		return err
	}
	kept, err := k.part(ctx, p)
	if err != nil {
		return err
	}
	each, _ := rates(d)
	d.Held--
	d.Spent += days * each[p.Number]
	if string(kept.Node) == string(node[:]) { // else another has it already
		if d, err = k.lose(ctx, d, p.Number, dealv1.Part{Since: k.Days.Day(ctx), Why: why, Last: node[:]}); err != nil {
			return err
		}
	}
	if d.Over && d.Held == 0 {
		return k.end(ctx, d)
	}
	return k.deals.Set(ctx, p.Deal, d)
}

// lose writes a part that nobody keeps any more. While as many are kept as there are to be it waits: who kept it may come back. With the first that is too few all are opened that nobody keeps.
func (k Keeper) lose(ctx context.Context, d dealv1.Deal, number uint64, p dealv1.Part) (dealv1.Deal, error) {
	d.Kept--
	key, threshold := collections.Join(d.Number, number), scheme(d).Threshold()
	if err := errors.Join(k.open.Remove(ctx, key), k.parts.Set(ctx, key, p)); err != nil || d.Over || int(d.Kept) >= threshold {
		return d, err
	}
	lost := map[uint64]dealv1.Part{number: p}
	numbers := []uint64{number}
	if int(d.Kept) == threshold-1 {
		if err := k.parts.Walk(ctx, collections.NewPrefixedPairRange[uint64, uint64](d.Number), func(at part, other dealv1.Part) (bool, error) {
			if n := at.K2(); n != number && len(other.Node) == 0 && other.Opened == 0 {
				numbers, lost[n] = append(numbers, n), other
			}
			return false, nil
		}); err != nil {
			return d, err
		}
	}
	for _, n := range numbers {
		p, at := lost[n], collections.Join(d.Number, n)
		p.Opened = max(1, k.Days.Day(ctx))
		if err := errors.Join(k.parts.Set(ctx, at, p), k.open.Set(ctx, at)); err != nil {
			return d, err
		}
	}
	return d, nil
}

// scheme is by how many parts an object is back.
func scheme(d dealv1.Deal) erasure.Scheme {
	return erasure.Scheme{Need: int(d.Need), Pieces: int(d.Parts)}
}

// Reward pays a node for what it kept. ErrRests: not now.
func (k Keeper) Reward(ctx context.Context, node sortition.Key, amount uint64) error {
	if err := k.Pay.Split(ctx, Name, node, math.NewIntFromUint64(amount)); err != nil {
		return err
	}
	return k.count(ctx, func(t *dealv1.Totals) { t.Paid += amount })
}
