package ledger

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"golang.org/x/sync/errgroup"

	"github.com/hpips/hpips/proto/gen/escrowv1"
	"github.com/hpips/hpips/proto/gen/supplyv1"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/voucher"
)

// written is what a block and its answers say that settling a day needs.
type written struct {
	height int64
	time   time.Time
	seeded bool
	falls  []Event // of what nobody sends a message for
	said   []saying
	told   []Event // of all transactions, those too that failed: their fees moved
}

// saying is a transaction that succeeded.
type saying struct {
	tx       string
	told     []Event
	messages []sdk.Msg
}

// written asks for one block.
func (l *Ledger) written(ctx context.Context, height int64) (written, error) {
	b, err := l.rpc.Block(ctx, &height)
	if err != nil {
		return written{}, l.missing(ctx, height, err)
	}
	r, err := l.rpc.BlockResults(ctx, &height)
	if err != nil {
		return written{}, l.missing(ctx, height, err)
	}
	w := written{height: height, time: b.Block.Time, falls: events(r.FinalizeBlockEvents)}
	if len(r.TxsResults) != len(b.Block.Txs) {
		return w, differ("block %d: %d results for %d transactions", height, len(r.TxsResults), len(b.Block.Txs))
	}
	for i, tx := range b.Block.Txs {
		if _, seed, _ := sortition.ParseSeedTx(tx); seed {
			w.seeded = true
			continue
		}
		told := events(r.TxsResults[i].Events)
		w.told = append(w.told, told...)
		if r.TxsResults[i].Code != 0 {
			continue
		}
		t, err := l.words.tx.TxDecoder()(tx)
		if err != nil {
			return w, fmt.Errorf("block %d: transaction %X succeeded and cannot be read: %w", height, tx.Hash(), err)
		}
		w.said = append(w.said, saying{fmt.Sprintf("%X", tx.Hash()), told, flat(t.GetMsgs(), 0)})
	}
	return w, nil
}

// eachBlock hands the blocks of a range on in their order; some are asked for at once.
func (l *Ledger) eachBlock(ctx context.Context, from, to int64, take func(written) error) error {
	for low := from; low <= to; low += abreast {
		some := make([]written, min(abreast, to-low+1))
		asked, bound := errgroup.WithContext(ctx)
		for i := range some {
			asked.Go(func() (err error) {
				some[i], err = l.written(bound, low+int64(i))
				return err
			})
		}
		if err := asked.Wait(); err != nil {
			return err
		}
		for _, w := range some {
			if err := take(w); err != nil {
				return err
			}
		}
	}
	return nil
}

// queue is who waits for final pay, reckoned from blocks alone as chain/escrow has it: redemptions fall due in the order in which they were redeemed, each after
// those of its node, in the first block with a seed that is two blocks later, and a block deals with so many. A block that is over says of each that was due that
// it is final, or why its payment was refused.
type queue struct {
	waiting []waiting
	count   int // redemptions so far
	next    int // where among them a block begins to look that could not see all before
	last    uint64
	first   uint64 // the last before those that it was told of
	rests   string // why nothing is paid out

	// strangers: it is not known whom juries held up when the day began, so that one may fall due who is not here.
	strangers bool
}

// waiting is one redemption that is not final.
type waiting struct {
	number                int
	height                int64
	node, lease, sequence string
	root                  bool // its payer wants a jury, which may hold it up
}

// overdue is a redemption that was due and of which the block says nothing.
type overdue struct {
	waiting
	in int64
}

func (o *overdue) differs() error {
	return differ("block %d: redemption %s of lease %s by node %s, of block %d, was due and is neither paid nor refused", o.in, o.sequence, o.lease, o.node, o.height)
}

// outcomes are what a block says of redemptions: final or refused.
func outcomes(falls []Event) []Event {
	return slices.DeleteFunc(slices.Clone(falls), func(e Event) bool {
		return e.Type != "hpips_final" && e.Type != "hpips_pay_refused" && e.Type != "hpips_forfeited"
	})
}

// fall takes a block's outcomes out of the queue, of which it may deal with batch.
func (q *queue) fall(w written, batch int) (*overdue, error) {
	told := outcomes(w.falls)
	if !w.seeded {
		if len(told) > 0 {
			return nil, differ("block %d carries no seed, and redemption %s of lease %s falls due in it", w.height, told[0].Attributes["sequence"], told[0].Attributes["lease"])
		}
		return nil, nil
	}
	if q.strangers {
		told = slices.DeleteFunc(told, func(e Event) bool {
			return !slices.ContainsFunc(q.waiting, func(one waiting) bool { return one.sequence == e.Attributes["sequence"] }) && number(e.Attributes["sequence"]).Uint64() <= q.first
		})
	}
	held, next, steps := map[string]bool{}, 0, 0
	var keep []waiting
	for i, one := range q.waiting {
		if held[one.node] || one.number < q.next {
			held[one.node] = true // those behind it wait, too
			keep = append(keep, one)
			continue
		}
		if steps == batch || w.height < one.height+2 {
			keep = append(keep, q.waiting[i:]...)
			break
		}
		if len(told) == 0 || told[0].Attributes["sequence"] != one.sequence || told[0].Attributes["node"] != one.node || told[0].Attributes["lease"] != one.lease {
			if !one.root {
				return &overdue{one, w.height}, nil
			}
			held[one.node], steps = true, steps+1 // it was looked at, and a jury holds it up
			keep = append(keep, one)
			if steps == batch {
				next = one.number + 1
			}
			continue
		}
		if told[0].Type == "hpips_pay_refused" {
			held[one.node] = true
			keep = append(keep, one)
		}
		told, steps = told[1:], steps+1
		if steps == batch {
			next = one.number + 1
		}
	}
	if len(told) > 0 {
		return nil, differ("block %d: redemption %s of lease %s by node %s falls due before its turn", w.height, told[0].Attributes["sequence"], told[0].Attributes["lease"], told[0].Attributes["node"])
	}
	q.waiting, q.next = keep, next
	return nil, nil
}

// join puts the redemptions of a block's transactions into the queue.
func (q *queue) join(w written) error {
	for _, s := range w.said {
		for _, m := range s.messages {
			r, ok := m.(*escrowv1.MsgRedeem)
			if !ok {
				continue
			}
			for _, c := range r.Claims {
				if len(c.Voucher) == 0 { // it lets go of a lease
					continue
				}
				v, err := voucher.Parse(c.Voucher)
				if err != nil {
					return differ("transaction %s succeeded with a claim that cannot be read: %v", s.tx, err)
				}
				one := waiting{number: q.count, height: w.height, node: hex.EncodeToString(r.Node), lease: hex.EncodeToString(v.Lease[:]), root: v.Root != [32]byte{}}
				told := redemptionTold(s.told, v.Lease)
				if one.sequence = told["sequence"]; told == nil || told["node"] != one.node {
					return differ("transaction %s redeems of lease %s for node %s and does not tell of it", s.tx, one.lease, one.node)
				}
				n := number(one.sequence)
				if !n.IsUint64() || n.Uint64() <= q.last {
					return differ("transaction %s: redemption %q comes after %d", s.tx, one.sequence, q.last)
				}
				if q.count == 0 {
					q.first = n.Uint64() - 1
				}
				q.waiting, q.count, q.last = append(q.waiting, one), q.count+1, n.Uint64()
			}
		}
	}
	return nil
}

// leave takes those out of the queue that a block made final, or gave back.
func (q *queue) leave(w written) {
	for _, e := range outcomes(w.falls) {
		if e.Type != "hpips_pay_refused" {
			q.waiting = slices.DeleteFunc(q.waiting, func(one waiting) bool { return one.sequence == e.Attributes["sequence"] })
		}
	}
}

// due demands of a block that all that was due in it became final or was refused, and takes in what was redeemed in it.
func (s *settler) due(ctx context.Context, w written) error {
	if s.queue.rests == "" {
		rules, err := s.rules.lease(w.height)
		if err != nil {
			return err
		}
		late, err := s.queue.fall(w, int(rules.Batch))
		if err != nil {
			return err
		}
		if late != nil {
			if s.queue.rests, err = s.resting(ctx, w); err != nil {
				return err
			}
			if s.queue.rests == "" {
				return late.differs()
			}
			s.unknown("from block %d on: whether all that was due was paid: payouts rest, %s", w.height, s.queue.rests)
		}
	}
	return s.queue.join(w)
}

// resting tells why payouts rest; "" if they do not. Nobody sees a breach mended from outside, so one that was told of counts until the day's end.
func (s *settler) resting(ctx context.Context, w written) (string, error) {
	if s.breach != "" {
		return s.breach, nil
	}
	r, err := supplyv1.NewQueryClient(query{s.l, w.height}).Supply(ctx, &supplyv1.QuerySupplyRequest{})
	if isRefused(err) {
		r, err = supplyv1.NewQueryClient(s.l.now()).Supply(ctx, &supplyv1.QuerySupplyRequest{})
	}
	if err != nil {
		return "", err
	}
	return r.Totals.Breach, nil
}

// catchUp finds who waited when the day began. After a block that began to look at the first and had no more to deal with, because it and the one before
// dealt with fewer than they may and refused nothing, only the redemptions of its own and of the block before it wait.
func (s *settler) catchUp(ctx context.Context) error {
	var back []written // the newest first
	clean, from := 0, 0
	for h := s.out.From - 1; h >= 1 && clean < 2; h-- {
		if h < s.rules.oldest {
			return noBlock(h)
		}
		w, err := s.l.written(ctx, h)
		if err != nil {
			return err
		}
		back = append(back, w)
		if !w.seeded {
			continue
		}
		rules, err := s.rules.lease(h)
		if err != nil {
			return err
		}
		told := outcomes(w.falls)
		if len(told) >= int(rules.Batch) || slices.ContainsFunc(told, func(e Event) bool { return e.Type == "hpips_pay_refused" }) {
			clean = 0
			continue
		}
		if clean++; clean == 1 {
			from = len(back) - 1
		}
	}
	if clean < 2 {
		from = len(back) // the chain began
	}
	first, known, err := s.lookedAt(ctx, s.out.From-1)
	if err != nil {
		return err
	}
	s.queue.strangers = !known
	for h := s.out.From - 1 - int64(len(back)); first > 0 && h >= first; h-- { // what juries held up, and what waits behind it
		if h < s.rules.oldest {
			return noBlock(h)
		}
		w, err := s.l.written(ctx, h)
		if err != nil {
			return err
		}
		back = append(back, w)
	}
	if first > 0 { // only who waits is asked for, not whether each was paid in its turn
		for _, w := range slices.Backward(back) {
			s.queue.leave(w)
			if err := s.queue.join(w); err != nil {
				return err
			}
		}
		return nil
	}
	for i, w := range slices.Backward(back) {
		switch {
		case i < from:
			if err := s.due(ctx, w); err != nil {
				return err
			}
		case w.height >= back[min(from, len(back)-1)].height-1:
			if err := s.queue.join(w); err != nil {
				return err
			}
		}
	}
	return nil
}

// unknown adds to what is not reckoned.
func (s *settler) unknown(format string, args ...any) {
	s.out.NotReckoned = append(s.out.NotReckoned, fmt.Sprintf(format, args...))
}
