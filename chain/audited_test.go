package chain_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/audit"
	"github.com/hpips/hpips/chain/chaintest"
	auditv1 "github.com/hpips/hpips/proto/gen/auditv1"
	committeev1 "github.com/hpips/hpips/proto/gen/committeev1"
	escrowv1 "github.com/hpips/hpips/proto/gen/escrowv1"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/trust"
	"github.com/hpips/hpips/spec/voucher"
)

// court is a desk with people who hold tickets, on which alice pays bob.
type court struct {
	*desk
	bob    chaintest.Person
	jurors []chaintest.Person
	leaves []trust.Leaf
	terms  [32]byte
	lease  voucher.ID
}

// convened is a court in which bob did three tasks for 300,000 uhpips; the second result is made up if he lies. He has redeemed that, and it is drawn;
// last: with the word that he lets go of the lease.
func convened(t *testing.T, lies, last bool) *court {
	t.Helper()
	c := &court{bob: chaintest.New("bob"), terms: [32]byte{7}}
	g := genesis(t, "alice")
	for n := range 12 {
		c.jurors = append(c.jurors, chaintest.New(fmt.Sprintf("juror%d", n)))
	}
	for _, p := range append([]chaintest.Person{c.bob}, c.jurors...) {
		word, err := p.Registration(testChain, 0)
		if err != nil {
			t.Fatal(err)
		}
		g.Nodes = append(g.Nodes, word)
	}
	g.Grants[0].Amount = 2_000_000_000_000
	g.Tune = func(p *committeev1.Params) { p.HeartbeatSeconds = 2 }
	doc, err := g.Build()
	if err != nil {
		t.Fatal(err)
	}
	c.desk = deskOn(t, doc)
	for range 45 { // their keys are old enough after an epoch
		c.block()
	}
	for _, p := range c.jurors {
		c.ticket(p)
	}
	c.beat()
	c.lease = c.open(t, c.bob, c.terms, 4_000_000, 0)
	for n := range 3 {
		l := trust.Leaf{Statement: trust.Digest{byte(n)}, Result: c.truth(n), Work: 1000, Before: 1000 * uint64(n)}
		if lies && n == 1 {
			l.Result[0]++
		}
		c.leaves = append(c.leaves, l)
	}
	c.redeems(t, last)
	for range 4 {
		c.block()
	}
	return c
}

// ticket takes out somebody's ticket; alice, who has the first one, saw it all the time, and so did each who has one by then.
func (c *court) ticket(p chaintest.Person) {
	c.t.Helper()
	id, slot := p.ID(), c.committee().Beacon.Slot
	must := func(err error) {
		c.t.Helper()
		if err != nil {
			c.t.Fatal(err)
		}
	}
	var picks committeev1.QueryPicksResponse
	c.ask("/hpips.committee.v1.Query/Picks", &committeev1.QueryPicksRequest{Node: id[:], Slot: slot}, &picks)
	var receipts [][]byte
	for _, s := range picks.Slots {
		var observers committeev1.QueryObserversResponse
		c.ask("/hpips.committee.v1.Query/Observers", &committeev1.QueryObserversRequest{Node: id[:], Slot: s}, &observers)
		for _, o := range observers.Observers {
			for _, who := range append([]chaintest.Person{c.alice}, c.jurors...) {
				if key := who.ID(); string(key[:]) == string(o) {
					r, err := sortition.Receipt{Chain: testChain, Node: id, Slot: s, Network: "local"}.Sign(who.Node)
					must(err)
					b, err := r.Bytes()
					must(err)
					receipts = append(receipts, b)
				}
			}
		}
	}
	signature, err := sortition.Application{Chain: testChain, Node: id, Slot: slot, Receipts: sortition.Digest(receipts)}.Sign(p.Node)
	must(err)
	c.free(&committeev1.MsgTicket{Sender: chaintest.Sender(p), Node: id[:], Slot: slot, Receipts: receipts, Signature: signature})
}

func (c *court) truth(n int) trust.Digest { return sha256.Sum256([]byte{byte(n)}) }

// free sends a message without an account, which is taken.
func (c *court) free(m chaintest.Message) {
	c.t.Helper()
	tx, err := chain.FreeTx(c.app.Codec(), m)
	if err != nil {
		c.t.Fatal(err)
	}
	if r := c.block(tx)[0]; r.Code != 0 {
		c.t.Fatalf("%T: %s", m, r.Log)
	}
}

func (c *court) seals() (all [][32]byte) {
	for n, l := range c.leaves {
		all = append(all, l.Seal(trust.Salt(c.terms, uint64(n))))
	}
	return all
}

func (c *court) redeems(t *testing.T, last bool) {
	t.Helper()
	var tree trust.Tree
	for _, s := range c.seals() {
		tree.Add(s)
	}
	v := voucher.Voucher{Chain: testChain, Lease: c.lease, Amount: 300_200, Usage: voucher.Usage{Tasks: 3, Work: 3000}, Root: tree.Root()}
	signed, err1 := v.Sign(c.alice.Owner.Key)
	text, err2 := v.Bytes()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	id := c.bob.ID()
	c.free(&escrowv1.MsgRedeem{Sender: chaintest.Sender(c.bob), Node: id[:], Claims: []escrowv1.Claim{{Voucher: text, Signature: signed.Signature, Last: last}},
		Signature: voucher.SignRedeem(testChain, []voucher.Claim{{Voucher: text, Signature: signed.Signature, Last: last}}, c.bob.Node)})
}

func (c *court) audit() auditv1.Audit {
	c.t.Helper()
	id := c.bob.ID()
	var res auditv1.QueryAuditResponse
	c.ask("/hpips.audit.v1.Query/Audit", &auditv1.QueryAuditRequest{Node: id[:], Sequence: 1}, &res)
	return res.Audit
}

func (c *court) disputes() []auditv1.Dispute {
	c.t.Helper()
	var res auditv1.QueryDisputesResponse
	c.ask("/hpips.audit.v1.Query/Disputes", &auditv1.QueryDisputesRequest{}, &res)
	return res.Disputes
}

// called are the jurors whom their own proof lets look at a matter.
func (c *court) called(m trust.Matter, places int) (who []chaintest.Person, proofs []sortition.Proof) {
	c.t.Helper()
	for _, p := range c.jurors {
		proof, err := sortition.Prove(p.VRF, m.Alpha())
		if err != nil {
			c.t.Fatal(err)
		}
		beta, err := proof.Beta()
		if err != nil {
			c.t.Fatal(err)
		}
		if beta.Output().Rank(1).Below(trust.Threshold(uint64(len(c.jurors)), trust.Called(places))) {
			who, proofs = append(who, p), append(proofs, proof)
		}
	}
	return who, proofs
}

// eitherWay plays a story with a bob who says nothing and with one who lets go of the lease.
func eitherWay(t *testing.T, play func(t *testing.T, last bool)) {
	for name, last := range map[string]bool{"keeps": false, "lets go": true} {
		t.Run(name, func(t *testing.T) { play(t, last) })
	}
}

// Two jurors found what bob said: he is paid, and so are they, out of the lease. If bob has let go of it alice has the rest then, and not before.
func TestAJuryFindsThatBobIsRight(t *testing.T) { eitherWay(t, bobIsRight) }

func bobIsRight(t *testing.T, last bool) {
	c := convened(t, false, last)
	before := c.balance(c.alice.Address())
	a := c.audit()
	if a.Draws != 3 || a.Jurors != 2 || a.Panels != 1 || c.balance(c.bob.Address()) != 0 {
		t.Fatalf("%+v; bob has %d", a, c.balance(c.bob.Address()))
	}
	matter := audit.PanelMatter(testChain, a, 0)
	who, proofs := c.called(matter, 2)
	m := &auditv1.MsgAttest{Sender: chaintest.Sender(c.bob), Node: a.Node, Sequence: 1, Panels: []auditv1.Panel{{Work: 3000}}}
	for i, p := range who[:2] {
		var says []trust.Say
		for n := range 3 {
			says = append(says, trust.Say{Answer: trust.Answer(c.truth(n), 1000), State: trust.Digest{byte(i)}})
		}
		id, voice, salt := p.ID(), trust.Sum(says), [32]byte{byte(i)}
		m.Panels[0].Voices = append(m.Panels[0].Voices, auditv1.Voice{Juror: id[:], Proof: proofs[i][:], Result: voice.Result[:], State: voice.State[:], Salt: salt[:],
			Signature: matter.SignVoice(trust.Commitment(voice, id, salt), 3000, p.Node)})
	}
	text, err := m.Marshal()
	if err == nil {
		m.Signature, err = voucher.SignMessage(voucher.Attestation, testChain, text, c.alice.Owner.Key)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.free(m)
	c.beat()
	if got := c.balance(c.bob.Address()); got != 202_500 { // of 300,000 less the levy a quarter is his bond
		t.Errorf("bob has %d", got)
	}
	for _, p := range who[:2] {
		if got := c.balance(p.Address()); got != 202_500 {
			t.Errorf("%s has %d", p.Name, got)
		}
	}
	if got, want := c.balance(c.alice.Address())-before, map[bool]int64{true: 4_000_000 - 300_200 - 2*300_000}[last]; got != want {
		t.Errorf("alice has %d back, want %d", got, want)
	}
	c.sound()
}

// Three jurors find what bob made up: alice has her money back but for what the jury cost, and bob nothing. If he has let go of the lease she has the rest at the
// same time.
func TestAJuryFindsThatBobLied(t *testing.T) { eitherWay(t, bobLied) }

func bobLied(t *testing.T, last bool) {
	c := convened(t, true, last)
	before := c.balance(c.alice.Address())
	a := c.audit()
	salt := trust.Salt(c.terms, 1)
	l := c.leaves[1]
	m := &auditv1.MsgDispute{Sender: chaintest.Sender(c.bob), Node: a.Node, Sequence: 1, Place: 1, Statement: l.Statement[:], Result: l.Result[:], Work: l.Work, Before: l.Before, Salt: salt[:]}
	for _, step := range trust.Path(c.seals(), 1) {
		m.Path = append(m.Path, slices.Clone(step[:]))
	}
	text, err := m.Marshal()
	if err == nil {
		m.Signature, err = voucher.SignMessage(voucher.Question, testChain, text, c.alice.Owner.Key)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.free(m)
	c.beat()
	d := c.disputes()[0]
	matter := audit.RoundMatter(testChain, d)
	who, proofs := c.called(matter, 3)
	answer := trust.Answer(c.truth(1), 1000)
	for i, p := range who[:3] {
		id := p.ID()
		word := trust.Commitment(trust.Voice{Result: answer}, id, [32]byte{byte(i)})
		c.free(&auditv1.MsgCommit{Sender: chaintest.Sender(p), Juror: id[:], Dispute: d.Id, Round: 1, Proof: proofs[i][:], Commitment: word[:], Signature: matter.SignVoice(word, 0, p.Node)})
	}
	for c.disputes()[0].Phase == auditv1.PHASE_COMMIT {
		c.block()
	}
	for i, p := range who[:3] {
		id, zero, salt := p.ID(), [32]byte{}, [32]byte{byte(i)}
		c.free(&auditv1.MsgReveal{Sender: chaintest.Sender(p), Juror: id[:], Dispute: d.Id, Round: 1, Answer: answer[:], State: zero[:], Salt: salt[:]})
	}
	for len(c.disputes()) > 0 {
		c.block()
	}
	c.beat()
	want := int64(300_000)
	if last {
		want += 4_000_000 - 300_200 - 3*100_000
	}
	if got := c.balance(c.alice.Address()) - before; got != want || c.balance(c.bob.Address()) != 0 {
		t.Errorf("alice has %d back, want %d; bob %d", got, want, c.balance(c.bob.Address()))
	}
	for _, p := range who[:3] {
		if got := c.balance(p.Address()); got != 67_500 { // three quarters of nine tenths of the price of one result
			t.Errorf("%s has %d", p.Name, got)
		}
	}
	var recent auditv1.QueryRecentResponse
	c.ask("/hpips.audit.v1.Query/Recent", &auditv1.QueryRecentRequest{Node: a.Node}, &recent)
	if recent.Conviction == nil || c.bond(c.bob).Busy == "" {
		t.Errorf("%+v", recent)
	}
	c.sound()
}

// sound looks at all sums, as the first block of a day does.
func (c *court) sound() {
	c.t.Helper()
	for day := c.day(); c.day() == day; {
		c.block()
	}
	if s := c.supply(); s.Totals.Breach != "" || s.Total.String() != "100000000000000" {
		c.t.Errorf("breach %q, supply %s", s.Totals.Breach, s.Total)
	}
}

func (c *court) day() uint64 {
	c.t.Helper()
	return c.committee().Beacon.Day
}
