package escrow

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"
	"cosmossdk.io/math"

	"github.com/hpips/hpips/proto/gen/escrowv1"
)

// recount is what leases and redemptions come to, reckoned anew. Its maps are for looking up only.
type recount struct {
	Keeper
	waits             map[string]math.Int // by lease
	counts            map[string]uint32   // by lease
	escrowed, waiting map[[2]string]math.Int
	held              map[string]math.Int // by denomination
	open, shut, all   int
	redemptions       uint32
}

// Recount compares all running sums, rows and indexes with the leases and redemptions that are there, and names the first that is wrong. It reads
// everything: it is for tests, and for who verifies a chain from outside.
//
//  1. Redemptions, by lease; the first of each node is the head of its row.
//  2. Leases: their own sums, and that each is where its phase says.
//  3. Rows and indexes hold nothing else.
//  4. Sums by account, and what the module's account holds.
func (k Keeper) Recount(ctx context.Context) error {
	r := recount{Keeper: k, waits: map[string]math.Int{}, counts: map[string]uint32{}, escrowed: map[[2]string]math.Int{}, waiting: map[[2]string]math.Int{},
		held: map[string]math.Int{}}
	for _, step := range []func(context.Context) error{r.countRedemptions, r.countLeases, r.countRows, r.countPurses} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("recount of escrow: %w", err)
		}
	}
	return nil
}

func (r *recount) countRedemptions(ctx context.Context) error {
	heads, before := 0, []byte(nil)
	err := r.pending.Walk(ctx, nil, func(at turn, p escrowv1.Redemption) (bool, error) {
		if string(at.K1()) != string(p.Node) || at.K2() != p.Sequence || p.Amount.IsNegative() {
			return true, fmt.Errorf("redemption %d is misplaced", p.Sequence)
		}
		if string(before) != string(p.Node) {
			node, err := r.heads.Get(ctx, p.Sequence)
			if err != nil || string(node) != string(p.Node) {
				return true, fmt.Errorf("redemption %d is no head: %w", p.Sequence, err)
			}
			heads++
		}
		before = p.Node
		id := string(p.Lease)
		raise(r.waits, id, p.Amount)
		r.counts[id]++
		r.redemptions++
		return false, nil
	})
	if err != nil {
		return err
	}
	n, err := size(ctx, r.heads)
	if n != heads {
		err = fmt.Errorf("%d heads, want %d", n, heads)
	}
	return err
}

func (r *recount) countLeases(ctx context.Context) error {
	seen := uint32(0)
	err := r.leases.Walk(ctx, nil, func(id []byte, l escrowv1.Lease) (bool, error) {
		wait, known := r.waits[string(id)]
		if !known {
			wait = math.ZeroInt()
		}
		seen += l.Pending
		if l.Pending != r.counts[string(id)] || l.Final.IsNegative() || l.Fees.IsNegative() || l.Redeemed.GT(l.Deposit) ||
			l.Redeemed.Add(l.Jury).GT(l.Deposit) || !l.Redeemed.Equal(l.Final.Add(l.Fees).Add(l.Forfeited).Add(wait)) {
			return true, fmt.Errorf("lease %x: deposit %s, redeemed %s, final %s, fees %s, forfeited %s, juries %s, %d pending with %s", id, l.Deposit, l.Redeemed, l.Final, l.Fees, l.Forfeited, l.Jury, l.Pending, wait)
		}
		if l.LetGo && l.Phase == escrowv1.PHASE_OPEN {
			return true, fmt.Errorf("lease %x is open and was let go", id)
		}
		left := l.Deposit.Sub(l.Fees).Sub(l.Final).Sub(l.Forfeited).Sub(l.Jury)
		where, err := false, error(nil)
		switch l.Phase {
		case escrowv1.PHASE_OPEN:
			where, err = r.ends.Has(ctx, collections.Join(uint64(l.Until), id))
			r.open++
		case escrowv1.PHASE_CLOSING:
			where, err = r.graces.Has(ctx, collections.Join(l.ClosingIndex, id))
			r.shut++
		case escrowv1.PHASE_CLOSED:
			where, left = l.Pending > 0, wait
		}
		paid, err2 := r.payers.Has(ctx, collections.Join(l.Payer, id))
		served, err3 := r.nodes.Has(ctx, collections.Join(l.Node, id))
		if err := errors.Join(err, err2, err3); err != nil || !where || !paid || !served {
			return true, fmt.Errorf("lease %x is not where its phase %s says: %w", id, l.Phase, err)
		}
		r.all++
		raise(r.escrowed, [2]string{l.Payer, l.Denom}, left)
		raise(r.waiting, [2]string{l.Payee, l.Denom}, wait)
		raise(r.held, l.Denom, left)
		return false, nil
	})
	if err == nil && seen != r.redemptions {
		err = fmt.Errorf("%d redemptions, leases know %d", r.redemptions, seen)
	}
	return err
}

func (r *recount) countRows(ctx context.Context) error {
	ends, err1 := size(ctx, r.ends)
	graces, err2 := size(ctx, r.graces)
	payers, err3 := size(ctx, r.payers)
	nodes, err4 := size(ctx, r.nodes)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	if ends != r.open || graces != r.shut || payers != r.all || nodes != r.all {
		return fmt.Errorf("%d open, %d closing, %d leases in all; rows hold %d and %d, indexes %d and %d", r.open, r.shut, r.all, ends, graces, payers, nodes)
	}
	graves, err1 := size(ctx, r.graves)
	fading, err2 := size(ctx, r.fading)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if graves != fading {
		return fmt.Errorf("%d graves, %d fade", graves, fading)
	}
	return nil
}

func (r *recount) countPurses(ctx context.Context) error {
	if err := equal(ctx, r.Keeper.escrowed, r.escrowed); err != nil {
		return err
	}
	if err := equal(ctx, r.Keeper.waiting, r.waiting); err != nil {
		return err
	}
	if why, err := r.Unsound(ctx); err != nil || why != "" {
		return errors.Join(errors.New(why), err)
	}
	return r.totals.Walk(ctx, nil, func(denom string, _ escrowv1.Totals) (bool, error) {
		want, known := r.held[denom]
		if !known {
			want = math.ZeroInt()
		}
		if have := r.others.Bank.GetBalance(ctx, r.account, denom).Amount; !have.Equal(want) {
			return true, fmt.Errorf("%s%s are held, leases come to %s", have, denom, want)
		}
		return false, nil
	})
}

// raise adds to a sum; nothing leaves no key.
func raise[K comparable](sums map[K]math.Int, key K, n math.Int) {
	if n.IsZero() {
		return
	}
	if had, known := sums[key]; known {
		n = n.Add(had)
	}
	sums[key] = n
}

func equal(ctx context.Context, have collections.Map[purse, math.Int], want map[[2]string]math.Int) error {
	n := 0
	err := have.Walk(ctx, nil, func(at purse, amount math.Int) (bool, error) {
		n++
		if w, known := want[[2]string{at.K1(), at.K2()}]; !known || !w.Equal(amount) || !amount.IsPositive() {
			return true, fmt.Errorf("%s of %s is %s%s", have.GetName(), at.K1(), amount, at.K2())
		}
		return false, nil
	})
	if err == nil && n != len(want) {
		err = fmt.Errorf("%s has %d entries, want %d", have.GetName(), n, len(want))
	}
	return err
}

func size[K, V any](ctx context.Context, m interface {
	IterateRaw(ctx context.Context, start, end []byte, order collections.Order) (collections.Iterator[K, V], error)
}) (n int, err error) {
	it, err := m.IterateRaw(ctx, nil, nil, collections.OrderAscending)
	if err != nil {
		return 0, err
	}
	defer it.Close()
	for ; it.Valid(); it.Next() {
		n++
	}
	return n, nil
}
