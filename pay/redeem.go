package pay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/voucher"
)

// Serve redeems what is promised until ctx ends: all leases that are due in one transaction. It goes on through every error; nothing is lost meanwhile, and
// what an earlier life had under way is looked up on the chain before it is sent again.
func (p *Payee) Serve(ctx context.Context) error {
	failed, wait := "", time.Duration(0)
	for {
		next, err := p.step(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		news := p.news
		if err == nil {
			failed, wait = "", 0
		} else {
			wait = longer(wait, p.cfg.Poll, p.cfg.Watch)
			next, news = wait, nil // what is new can wait as well
			if text := err.Error(); text != failed {
				failed = text // once, not at every try
				level := slog.LevelWarn
				if errors.Is(err, ErrAway) { // the room of the chain tells of that
					level = slog.LevelDebug
				}
				p.log.Log(ctx, level, "Pay cannot be redeemed now and is tried again", "err", err)
			}
		}
		timer := time.NewTimer(next)
		select {
		case <-timer.C:
		case <-news:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// step looks once, redeems what is due, and says when to look again.
func (p *Payee) step(ctx context.Context) (time.Duration, error) {
	if now := time.Now(); now.Sub(p.pruned) >= p.cfg.Watch {
		if err := p.prune(ctx, now); err != nil {
			return 0, err
		}
		p.pruned = now
	}
	p.mu.Lock()
	none := len(p.tabs) == 0
	p.mu.Unlock()
	if none {
		return p.cfg.Watch, nil
	}
	head, err := p.chain.Now(ctx)
	if err != nil {
		return 0, err
	}
	rules, err := p.chain.Rules(ctx)
	if err != nil {
		return 0, err
	}
	if err := p.watch(ctx, head); err != nil {
		return 0, err
	}
	due := func(early time.Duration) []voucher.ID {
		return p.list(func(t *tab) bool {
			soon, may := p.ripe(t, rules, head.Time)
			return t.wants() && soon <= early && may <= 0
		})
	}
	if len(due(0)) > 0 {
		if err := p.redeem(ctx, due(p.cfg.Soon), rules, head); err != nil { // those that are due soon go along
			return 0, err
		}
	}
	if err := p.sweep(ctx, head.Time, rules); err != nil {
		return 0, err
	}
	return p.next(rules, head.Time), nil
}

// list lists some of the leases in the order of their IDs.
func (p *Payee) list(which func(*tab) bool) []voucher.ID {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []voucher.ID
	for id, t := range p.tabs {
		if which(t) {
			list = append(list, id)
		}
	}
	slices.SortFunc(list, func(a, b voucher.ID) int { return slices.Compare(a[:], b[:]) })
	return list
}

func (t *tab) owed() uint64 { return t.last.Amount - min(t.last.Amount, t.redeemed) }

// ripe tells how long a lease that is owed something is to wait, and how long it must: by the rule of one redemption a day, or because it rests.
// 0 or less: not at all. head is the chain's time. Needs p.mu.
//
// The day after its first promise a lease is due, and sooner when it has ended, when little of its deposit is left, when much is owed, or when this node
// has never been paid. Two redemptions of a lease are a day apart, unless its closing leaves less time than that. One that is owed nothing is due when it
// has ended, to be let go.
func (p *Payee) ripe(t *tab, r Rules, head time.Time) (soon, may time.Duration) {
	closing := t.closing
	if closing.IsZero() && !head.Before(t.until) {
		closing = t.until
	}
	now := time.Now()
	mine := t.since.Add(p.cfg.Day)
	sooner := func(at time.Time) {
		if at.Before(mine) {
			mine = at
		}
	}
	if !p.ever {
		sooner(t.since.Add(p.cfg.First))
	}
	if !t.ended.IsZero() {
		sooner(t.ended.Add(p.cfg.Soon))
	}
	if t.last.Amount >= t.deposit-t.deposit/8 || p.cfg.Worth > 0 && t.denom == money.Denom && t.owed() >= p.cfg.Worth {
		sooner(t.since.Add(p.cfg.Soon))
	}
	if t.owed() == 0 {
		mine = t.ended.Add(p.cfg.Soon)
	}
	if !closing.IsZero() {
		mine = time.Time{}
	}
	chains := time.Time{}
	if !t.redeemedAt.IsZero() {
		chains = t.redeemedAt.Add(p.cfg.Day)
	}
	if latest := closing.Add(r.Grace / 2); !closing.IsZero() && latest.Before(chains) {
		chains = latest
	}
	return until(mine, now), max(until(chains, head), until(t.again, now))
}

// until is the time from now to then; 0 where then is no time.
func until(then, now time.Time) time.Duration {
	if then.IsZero() {
		return 0
	}
	return then.Sub(now)
}

// next is the time until the first lease is due, or until the chain is to be looked at in any case.
func (p *Payee) next(r Rules, head time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	wait := p.cfg.Watch
	for _, t := range p.tabs {
		if t.wants() {
			soon, may := p.ripe(t, r, head)
			wait = min(wait, max(soon, may))
		}
	}
	return max(wait, p.cfg.Poll)
}

// watch looks, from time to time, at all leases that are owed something or under which work goes on: their payers may have closed them.
func (p *Payee) watch(ctx context.Context, head Head) error {
	if head.Time.Before(p.watched.Add(p.cfg.Watch)) {
		return nil
	}
	for _, id := range p.list(func(t *tab) bool { return t.owed() > 0 || t.funded && t.ended.IsZero() }) {
		if _, err := p.look(ctx, id, head); err != nil {
			return err
		}
	}
	p.watched = head.Time
	return nil
}

// look takes over what the chain says of a lease, and tells whether it takes claims now.
func (p *Payee) look(ctx context.Context, id voucher.ID, head Head) (bool, error) {
	a, found, err := p.chain.Lease(ctx, id)
	if err != nil {
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tabs[id]
	if t == nil {
		return false, nil
	}
	if t.gone = !found || a.Phase == Closed; t.gone {
		t.again = time.Now().Add(p.cfg.Watch)
		return false, nil
	}
	t.deposit, t.until, t.free, t.pending, t.said = a.Deposit, time.Unix(a.Until, 0), a.Free, a.Pending, a.LetGo
	if t.closing = (time.Time{}); a.Phase == Closing {
		t.closing = time.Unix(a.Closing, 0)
	}
	if a.Redeemed > t.redeemed { // by a transaction whose block an earlier life did not see
		list := []redemption{{id, t.name, t.denom, a.Redeemed, a.Redeemed - t.redeemed}}
		if err := p.book.redeemed(ctx, list, "", head.Time); err != nil {
			return false, err
		}
		t.redeemed, t.redeemedAt, p.ever = a.Redeemed, head.Time, true
	}
	return !t.said, nil
}

// demand is one lease's part of a redemption that is being made.
type demand struct {
	redemption
	claim voucher.Claim
}

// mostClaims bounds one transaction: it is to pass beside others, in a block that gives redemptions a part of its room.
const mostClaims = 100

// redeem redeems leases, in as few transactions as the chain's limit allows.
func (p *Payee) redeem(ctx context.Context, ids []voucher.ID, r Rules, head Head) error {
	var open []voucher.ID
	for _, id := range ids {
		takes, err := p.look(ctx, id, head)
		if err != nil {
			return err
		}
		if takes {
			open = append(open, id)
		}
	}
	p.reached("redeem: asked")
	list, err := p.demands(ctx, open, r)
	if err != nil {
		return err
	}
	for _, some := range batches(list, max(min(r.Batch, mostClaims), 1)) {
		some, poor := worthwhile(some, r.Fee)
		p.postpone(poor, p.cfg.Watch)
		if err := p.hand(ctx, some, head); err != nil {
			return err
		}
	}
	return nil
}

// batches spreads demands over as few batches as hold them, HPIPS over all, the largest first: it is what the others' fees are paid from.
func batches(list []demand, most int) [][]demand {
	slices.SortStableFunc(list, func(a, b demand) int {
		if x, y := a.denom == money.Denom, b.denom == money.Denom; x != y {
			return map[bool]int{true: -1, false: 1}[x]
		}
		return cmp.Compare(b.amount, a.amount)
	})
	n := (len(list) + most - 1) / most
	out := make([][]demand, n)
	for i, d := range list {
		out[i%n] = append(out[i%n], d)
	}
	return out
}

// worthwhile keeps the demands that bring more than they cost: HPIPS beyond the fee, and other assets as long as the HPIPS beside them pays their fees. What
// is let go without a voucher costs nothing: its fee comes out of what returns.
func worthwhile(list []demand, fee uint64) (good, poor []demand) {
	var spare uint64
	for _, d := range list {
		switch {
		case d.bare():
		case d.denom == money.Denom && d.amount > fee:
			spare = plus(spare, d.amount-fee)
		case d.denom != money.Denom && spare >= fee:
			spare -= fee
		default:
			poor = append(poor, d)
			continue
		}
		good = append(good, d)
	}
	return good, poor
}

// hand hands demands in as one transaction. One that is refused is tried again in halves, so that a single bad lease does not hold up the others.
func (p *Payee) hand(ctx context.Context, list []demand, head Head) error {
	if len(list) == 0 {
		return nil
	}
	claims := make([]voucher.Claim, len(list))
	for i, d := range list {
		claims[i] = d.claim
	}
	signature := voucher.SignRedeem(p.chain.ID(), claims, p.cfg.Key)
	p.reached("redeem: signed")
	tx, err := p.chain.Redeem(ctx, claims, signature)
	p.reached("redeem: sent")
	switch half := len(list) / 2; {
	case err == nil:
		return p.received(ctx, list, tx, head)
	case passing(err) || ctx.Err() != nil:
		return err
	case half > 0:
		return errors.Join(p.hand(ctx, list[:half], head), p.hand(ctx, list[half:], head))
	}
	if list[0].bare() {
		p.log.Info("The chain does not give back the rest of a lease yet", "lease", list[0].name, "err", err)
	} else {
		p.log.Warn("The chain refuses to redeem a lease", "lease", list[0].name, "amount", list[0].amount, "err", err)
	}
	p.postpone(list, 4*p.cfg.Watch)
	return nil
}

// received notes what a transaction brought.
func (p *Payee) received(ctx context.Context, list []demand, tx string, head Head) error {
	sums := map[string]uint64{}
	var rows []redemption
	for _, d := range list {
		if !d.bare() {
			rows = append(rows, d.redemption)
			sums[d.denom] = plus(sums[d.denom], d.amount)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.book.redeemed(ctx, rows, tx, head.Time); err != nil {
		return err // look finds it on the chain
	}
	p.reached("redeem: kept")
	for _, d := range list {
		if t := p.tabs[d.id]; t != nil {
			t.said = d.claim.Last
		}
	}
	if len(rows) == 0 {
		p.log.Debug("Leases were let go", "leases", len(list), "tx", tx)
		return nil
	}
	p.ever = true
	for _, r := range rows {
		if t := p.tabs[r.id]; t != nil {
			t.redeemed, t.redeemedAt = max(t.redeemed, r.total), head.Time
			if t.owed() > 0 {
				t.since = time.Now() // promised meanwhile
			}
		}
	}
	p.log.Info("Pay was redeemed", "leases", len(rows), "amounts", fmt.Sprint(sums), "tx", tx)
	return nil
}

// postpone lets leases rest for some time.
func (p *Payee) postpone(list []demand, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range list {
		if t := p.tabs[one.id]; t != nil {
			t.again = time.Now().Add(d)
		}
	}
}

// sweep forgets leases when the grace after their term is over, unless they are owed something that the chain can still pay. A chain that is behind may
// not have a lease yet: nothing is forgotten before.
func (p *Payee) sweep(ctx context.Context, now time.Time, r Rules) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, t := range p.tabs {
		if t.owed() > 0 && !t.gone || !now.After(t.until.Add(r.Grace)) {
			continue
		}
		if err := p.book.drop(ctx, id); err != nil {
			return err
		}
		delete(p.tabs, id)
		if t.owed() > 0 && !t.givenUp(r.Fee) {
			p.log.Warn("What was promised for a lease was not redeemed in time", "lease", t.name, "amount", t.owed(), "asset", t.denom)
		}
	}
	return nil
}
