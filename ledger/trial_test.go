package ledger

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hpips/hpips/chain/chaintest"
	"github.com/hpips/hpips/proto/gen/committeev1"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/trust"
	"github.com/hpips/hpips/spec/voucher"
)

const trialChain = "trial-1"

// trial is a chain with the real rules, over which alice pays bob and disputes what he did. All that is asked of it, and all that is handed in, goes through a ledger.
type trial struct {
	*chaintest.Chronicle
	*Ledger
	t          *testing.T
	alice, bob chaintest.Person
	jurors     []chaintest.Person
	terms      [32]byte
	leaves     []trust.Leaf
	redeemed   uint64
	says       map[uint64]func(round, juror int) (trust.Digest, bool) // by place: what a juror finds; false: it does not come
}

func newTrial(t *testing.T) *trial {
	t.Helper()
	r := &trial{t: t, alice: chaintest.New("alice"), bob: chaintest.New("bob"), terms: [32]byte{3}, says: map[uint64]func(int, int) (trust.Digest, bool){}}
	g, err := chaintest.Genesis(trialChain, r.alice)
	r.must(err)
	g.Time = time.Unix(1_800_000_000, 0).UTC()
	people := []chaintest.Person{r.alice, r.bob}
	for n := range 12 {
		r.jurors = append(r.jurors, chaintest.New(fmt.Sprintf("juror %d", n)))
	}
	for _, p := range append([]chaintest.Person{r.bob}, r.jurors...) {
		word, err := p.Registration(trialChain, 0)
		r.must(err)
		g.Nodes = append(g.Nodes, word)
		people = append(people, p)
	}
	g.Tune = func(p *committeev1.Params) { p.EpochBlocks, p.ClaimBlocks, p.PickedSlots, p.NeededSlots = 8, 6, 0, 0 }
	doc, err := g.Build()
	r.must(err)
	r.Chronicle, err = chaintest.NewChronicle(doc, people...)
	r.must(err)
	r.Ledger, err = New(r.Chronicle, Default())
	r.must(err)
	r.blocks(20)
	for _, p := range r.jurors { // their keys are old enough
		tx, err := r.Apply(p)
		r.must(err)
		r.must(r.Write(nil, nil, tx))
	}
	id := r.bob.ID()
	open := OpenLeases(r.alice.Address(), []Deposit{{Terms: r.terms, Node: id[:], VoucherKey: r.alice.Owner.PubKey().Bytes(), Denom: money.Denom, Amount: 40_000_000, Until: g.Time.Add(10 * time.Hour)}})
	tx, err := chaintest.Sign(r.App.Codec(), r.alice, chaintest.Envelope{ChainID: trialChain, Account: 14}, open) // modules' accounts come first
	r.must(err)
	r.must(r.Write(nil, nil, tx))
	return r
}

func (r *trial) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *trial) blocks(n int) {
	r.t.Helper()
	for range n {
		r.must(r.Write(nil, nil))
	}
}

// free hands messages in that need no account, each by itself, in one block.
func (r *trial) free(all ...Message) {
	r.t.Helper()
	var txs [][]byte
	for _, m := range all {
		tx, err := r.Chronicle.Free(m)
		r.must(err)
		txs = append(txs, tx)
	}
	r.must(r.Write(nil, nil, txs...))
}

func (r *trial) truth(place int) trust.Digest { return sha256.Sum256([]byte{byte(place)}) }

func (r *trial) seals() (all [][32]byte) {
	for n, l := range r.leaves {
		all = append(all, l.Seal(trust.Salt(r.terms, uint64(n))))
	}
	return all
}

// works lets bob do tasks, of which some results are made up, and redeem what they are paid with, 25,000 each. It gives the audit that is drawn.
func (r *trial) works(tasks int, wrong ...int) Audit {
	r.t.Helper()
	for range tasks {
		n := len(r.leaves)
		l := trust.Leaf{Statement: trust.Digest{byte(n), 1}, Result: r.truth(n), Work: 1000, Before: 1000 * uint64(n)}
		if slices.Contains(wrong, n) {
			l.Result[0]++
		}
		r.leaves = append(r.leaves, l)
	}
	var tree trust.Tree
	for _, s := range r.seals() {
		tree.Add(s)
	}
	n := uint64(len(r.leaves))
	v := voucher.Voucher{Chain: trialChain, Lease: voucher.LeaseID(r.alice.Address(), r.terms), Amount: 25_000*n + 200, Usage: voucher.Usage{Tasks: n, Work: 1000 * n}, Root: tree.Root()}
	signed, err := v.Sign(r.alice.Owner.Key)
	r.must(err)
	text, err := v.Bytes()
	r.must(err)
	claims, id := []voucher.Claim{{Voucher: text, Signature: signed.Signature}}, r.bob.ID()
	r.free(Redeem(id[:], claims, voucher.SignRedeem(trialChain, claims, r.bob.Node)))
	r.blocks(4)
	r.redeemed++
	audits, err := r.Audits(r.t.Context())
	r.must(err)
	at := slices.IndexFunc(audits, func(a Audit) bool { return a.Matter.Sequence == r.redeemed })
	if at < 0 || audits[at].Draws == 0 || audits[at].Span.Tasks != uint64(tasks) {
		r.t.Fatalf("audits %+v", audits)
	}
	return audits[at]
}

// asks lets alice dispute a leaf by her own word.
func (r *trial) asks(a Audit, place int, attempt uint32) Message {
	r.t.Helper()
	m, err := DisputeLeaf(a, Leaf{Place: uint64(place), Leaf: r.leaves[place], Salt: trust.Salt(r.terms, uint64(place)), Path: trust.Path(r.seals()[:a.Span.TasksBefore+a.Span.Tasks], uint64(place))}, 0, 0, nil, 0, attempt, r.alice.Owner.Key)
	r.must(err)
	return m
}

// held goes on until no dispute is open: jurors commit themselves, and reveal, as says has it for the place that a dispute is about.
func (r *trial) held(ctx context.Context) {
	r.t.Helper()
	for {
		open, err := r.Disputes(ctx)
		r.must(err)
		if len(open) == 0 {
			return
		}
		var said []Message
		for _, d := range open {
			said = append(said, r.speak(d)...)
		}
		r.free(said...)
	}
}

// speak is what jurors have to say in a dispute now.
func (r *trial) speak(d Dispute) (said []Message) {
	r.t.Helper()
	for n, p := range r.jurors {
		id := p.ID()
		answer, comes := r.says[d.Place](int(d.Matter.Round), n)
		v, round := trust.Voice{Result: answer}, uint32(d.Matter.Round)
		switch {
		case !comes:
		case d.Phase == "commit" && !slices.Contains(d.Spoken, id):
			proof, err := sortition.Prove(p.VRF, d.Matter.Alpha())
			r.must(err)
			word := trust.Commitment(v, id, [32]byte{byte(n)})
			said = append(said, CommitVoice(id[:], d.Matter.Place, round, proof[:], word[:], d.Matter.SignVoice(word, 0, p.Node)))
		case d.Phase == "reveal" && slices.Contains(d.Committed, id) && !slices.Contains(d.Revealed, id):
			said = append(said, RevealVoice(id[:], d.Matter.Place, round, v, [32]byte{byte(n)}))
		}
	}
	return said
}

// Three jurors in the first round, and all others in the second one, find what a function says.
func by(find func(juror int) trust.Digest) func(int, int) (trust.Digest, bool) {
	return func(round, juror int) (trust.Digest, bool) { return find(juror), (juror < 3) == (round == 1) }
}

// Alice asks about four results of two redemptions. What became of each question is told by a real chain as she is to hear it, from before the first verdict on until the chain has nothing of it.
func TestVerdictsOfRealDisputes(t *testing.T) {
	r, ctx := newTrial(t), t.Context()
	node := r.bob.ID()
	verdicts := func(sequence uint64) (all map[uint64]string, known bool) {
		t.Helper()
		list, known, err := r.Verdicts(ctx, node[:], sequence)
		r.must(err)
		all = map[uint64]string{}
		for _, v := range list {
			if all[v.Place] = v.Outcome; v.Accused != node {
				t.Errorf("of place %d %x is accused", v.Place, v.Accused)
			}
		}
		return all, known
	}
	if _, known := verdicts(1); known {
		t.Fatal("there is a verdict about what was never redeemed")
	}
	a := r.works(4)
	if all, known := verdicts(1); !known || len(all) > 0 {
		t.Fatalf("before anybody asks: %v, known %t", all, known)
	}
	found := func(place int) trust.Digest { return trust.Answer(r.truth(place), 1000) }
	r.says[0] = by(func(int) trust.Digest { return found(0) })
	r.says[2] = func(int, int) (trust.Digest, bool) { return trust.Digest{}, false }
	r.says[3] = by(func(juror int) trust.Digest { return trust.Digest{byte(juror), 9} })
	r.free(r.asks(a, 2, 0))
	r.held(ctx)
	if all, _, err := r.Verdicts(ctx, node[:], 1); err != nil || len(all) != 1 || all[0].Outcome != "no-jury" || all[0].Next != 1 {
		t.Fatalf("without a jury: %+v, %v", all, err)
	}
	r.free(r.asks(a, 0, 0), r.asks(a, 2, 1), r.asks(a, 3, 0))
	if open, err := r.Disputes(ctx); err != nil || len(open) != 3 || open[0].Price != 25_000 {
		t.Fatalf("open are %+v, %v", open, err)
	}
	r.held(ctx)
	if all, known := verdicts(1); !known || len(all) != 3 || all[0] != "right" || all[2] != "no-jury" || all[3] != "undecided" {
		t.Fatalf("%v, known %t", all, known)
	}
	if _, until, err := r.Recent(ctx, node[:]); err != nil || !until.IsZero() {
		t.Fatalf("bob is convicted until %v, %v", until, err)
	}

	a = r.works(2, 5)
	r.says[5] = by(func(int) trust.Digest { return found(5) })
	r.free(r.asks(a, 5, 0))
	r.held(ctx)
	r.blocks(4)
	if all, known := verdicts(2); known { // all of it went back to alice
		t.Errorf("of what bob lost: %v", all)
	}
	recent, until, err := r.Recent(ctx, node[:])
	if err != nil || until.IsZero() || len(recent) != 1 || recent[0].Matter.Sequence != 1 {
		t.Errorf("recent are %+v until %v, %v", recent, until, err)
	}
	if all, known := verdicts(1); !known || all[3] != "undecided" { // it is final, and kept
		t.Errorf("%v, known %t", all, known)
	}
}
