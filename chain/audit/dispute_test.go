package audit

import (
	"crypto/sha256"
	"slices"
	"testing"
	"time"

	"github.com/hpips/hpips/proto/gen/auditv1"
	"github.com/hpips/hpips/spec/trust"
)

// lied is a lease of ten results of bob's, each paid with 10, of which the one at place 3 is made up; its audit is open.
func lied(t *testing.T, jurors int) (*town, *job, uint64) {
	s := founded(t, jurors, func(p *auditv1.Params) { p.CommitBlocks, p.RevealBlocks = 6, 3 })
	s.bonds["bob"] = 0
	j := s.hires("lease", 1000)
	for n := range 10 {
		j.does(100, n == 3)
	}
	q := s.redeems(j, 100)
	s.blocks(2)
	s.bonds["bob"] = 1000
	return s, j, q
}

func truth(j *job, place int) func(int, person) *trust.Digest {
	return func(int, person) *trust.Digest { return &j.truth[place] }
}

// Three jurors find what bob made up: all of his pay that is not final goes back, also of another lease, and he pays the jury and 35 prices of the result.
func TestALiarLosesItAll(t *testing.T) {
	s, j, q := lied(t, 60)
	other := s.hires("another lease", 1000)
	other.does(7, false)
	later := s.redeems(other, 50)
	s.must(s.send(s.question(j, q, 3)))
	s.restart()
	jurors := s.answers(j, 1, 3, truth(j, 3))
	s.blocks(2)
	if !slices.Equal(s.lost, []uint64{q, later}) || len(s.final) > 0 {
		t.Fatalf("lost are %v, final %v", s.lost, s.final)
	}
	for _, p := range jurors {
		if s.paid[p] != 10 {
			t.Errorf("%s got %d for looking", p, s.paid[p])
		}
	}
	if s.bonds["bob"] != 1000-350 || s.back[person("alice").address()] != 30 || s.back["alice"] != 150 {
		t.Errorf("bob's bond is %d, alice has back %d and %d", s.bonds["bob"], s.back["alice"], s.back[person("alice").address()])
	}
	if !slices.Contains(s.events, "hpips_convicted 350uhpips") {
		t.Errorf("%q", s.events)
	}
	other.does(9, false)
	afterwards := s.redeems(other, 30)
	s.blocks(2)
	s.block(25 * time.Hour)
	if !slices.Contains(s.final, afterwards) {
		t.Errorf("what bob redeems later is lost, too: %v", s.final)
	}
}

// The first jurors said what bob did not: one of them was wrong, and loses its fee and the price of the result. Bob is as he was.
func TestAWrongWitnessIsFined(t *testing.T) {
	s, j, q := lied(t, 60)
	a := s.audit(q)
	place := j.hit(a, 7)
	called := s.called(PanelMatter(chainID, a, 0), 2)
	liar, honest := called[0], called[1]
	witness := func(p person, change func([]trust.Say)) auditv1.Witness {
		says, work := s.says(j, a, 0, p)
		if change != nil {
			change(says)
		}
		return s.witness(a, p, says, work)
	}
	m := s.question(j, q, place, witness(liar, func(s []trust.Say) { s[7].Answer = trust.Digest{9} }), witness(honest, nil))
	m.Draw, m.PanelWork = 7, 1000
	signDispute(s.t, chainID, m, person("alice").vouchers())
	s.must(s.send(m))
	jurors := s.answers(j, 1, 3, truth(j, place))
	for _, p := range append(jurors, honest) {
		if s.paid[p] != 10 || s.bonds[p] != 1000 {
			t.Errorf("%s got %d and has a bond of %d", p, s.paid[p], s.bonds[p])
		}
	}
	if s.paid[liar] != 0 || s.bonds[liar] != 990 || s.back[person("alice").address()] != 10 || s.bonds["bob"] != 1000 {
		t.Errorf("the liar got %d, has %d; alice has back %d; bob has %d", s.paid[liar], s.bonds[liar], s.back[person("alice").address()], s.bonds["bob"])
	}
	if slices.Contains(jurors, liar) || slices.Contains(jurors, honest) {
		t.Error("a juror is its own judge")
	}
	if len(s.lost) > 0 || s.audit(q).Disputes != 0 {
		t.Errorf("lost %v, %d disputes", s.lost, s.audit(q).Disputes)
	}
}

// A large result is drawn several times in a row, and copies of one are paid for one after the other. Whichever of the draws alice names when she accuses an honest
// juror, it is judged at the point where it took its state down, so that three who find the same acquit it.
func TestARowHasOnePoint(t *testing.T) {
	s := founded(t, 60, nil)
	s.bonds["bob"] = 6
	j := s.hires("lease", 10_000)
	for _, work := range []uint64{100, 5000, 100, 1500, 1500, 1500, 100} {
		j.does(work, false)
	}
	for _, copied := range []int{4, 5} {
		j.leaves[copied].Statement, j.leaves[copied].Result, j.truth[copied] = j.leaves[3].Statement, j.leaves[3].Result, j.truth[3]
	}
	q := s.redeems(j, 70)
	s.blocks(2)
	a := s.audit(q)
	p := s.called(PanelMatter(chainID, a, 0), int(a.Jurors))[0]
	says, work := s.says(j, a, 0, p)
	w := s.witness(a, p, says, work)
	_, beta := p.proof(PanelMatter(chainID, a, 0))
	drawn, last := map[int]int{}, (*auditv1.MsgDispute)(nil)
	for i := range a.Draws {
		place := j.hit(a, i)
		m := s.question(j, q, place, w)
		m.Draw, m.PanelWork, m.Accused = i, work, 1
		signDispute(s.t, chainID, m, person("alice").vouchers())
		aside, _ := s.ctx.CacheContext()
		id, err := s.keeper.dispute(aside, m)
		s.must(err)
		d, err := s.keeper.disputes.Get(aside, id)
		s.must(err)
		l := j.leaves[place]
		point := trust.Point(beta[:], l.Statement, l.Work)
		if found := trust.WithState(j.truth[place], state(l, point)); d.Point != point || string(d.Claim) != string(found[:]) {
			t.Errorf("draw %d of place %d: at %d it should have found %x; it is judged at %d by %x", i, place, point, found, d.Point, d.Claim)
		}
		if drawn[place]++; place == 1 && drawn[1] == 2 {
			last = m
		}
	}
	if copies := min(1, drawn[3]) + min(1, drawn[4]) + min(1, drawn[5]); drawn[1] < 2 || copies < 2 {
		t.Fatalf("drawn are %v: no row", drawn)
	}
	s.must(s.send(last))
	found := trust.WithState(j.truth[1], state(j.leaves[1], s.dispute(1).Point))
	s.answers(j, 1, 3, func(int, person) *trust.Digest { return &found })
	if s.bonds[p] != 1000 || !slices.Contains(s.events, "hpips_verdict right 1") {
		t.Errorf("%s has a bond of %d; %q", p, s.bonds[p], s.events)
	}
}

// Three who differ are not believed; seven fresh ones are, if four of them are alike. The others are fined, and who is silent.
func TestSevenDecide(t *testing.T) {
	s, j, q := lied(t, 120)
	s.must(s.send(s.question(j, q, 3)))
	made := trust.Digest{1}
	first := s.answers(j, 1, 3, func(n int, _ person) *trust.Digest {
		if n == 0 {
			return &made
		}
		return &j.truth[3]
	})
	if d := s.dispute(1); d.Round != 2 || d.Phase != auditv1.PHASE_CALLED {
		t.Fatalf("%+v", d)
	}
	s.restart()
	var silent person
	second := s.answers(j, 1, 8, func(n int, p person) *trust.Digest {
		switch {
		case n == 7:
			silent = p
			return nil
		case n < 3:
			return &made
		}
		return &j.truth[3]
	})
	if !slices.Equal(s.lost, []uint64{q}) {
		t.Fatalf("lost are %v; %q", s.lost, s.events)
	}
	for _, p := range append(first, second...) {
		wrong := p == first[0] || slices.Contains(second[:3], p) || p == silent
		if want := map[bool]int64{true: 990, false: 1000}[wrong]; s.bonds[p] != want || wrong == (s.paid[p] > 0) {
			t.Errorf("%s, wrong: %t, got %d and has a bond of %d", p, wrong, s.paid[p], s.bonds[p])
		}
		if slices.Contains(first, p) && slices.Contains(second, p) {
			t.Errorf("%s is no fresh juror", p)
		}
	}
}

// A program that gives everybody something else: bob is paid, so are the jurors, nobody is punished, and no jury waits for the rest.
func TestUndecidedPunishesNobody(t *testing.T) {
	s, j, q := lied(t, 120)
	s.must(s.send(s.question(j, q, 4)))
	each := func(n int, p person) *trust.Digest {
		d := trust.Digest(sha256.Sum256([]byte(p)))
		return &d
	}
	all := append(s.answers(j, 1, 3, each), s.answers(j, 1, 7, each)...)
	s.blocks(1)
	if !slices.Equal(s.final, []uint64{q}) || s.bonds["bob"] != 1000 || !slices.Contains(s.events, "hpips_audit undecided") {
		t.Fatalf("final %v, bob's bond %d, %q", s.final, s.bonds["bob"], s.events)
	}
	for _, p := range all {
		if s.bonds[p] != 1000 || s.paid[p] != 10 {
			t.Errorf("%s got %d and has a bond of %d", p, s.paid[p], s.bonds[p])
		}
	}
	if free := s.free[string(j.lease)]; free != 900 {
		t.Errorf("%d are left of 1000", free)
	}
}

// The program asks a clock, or adds up in the order in which threads come: the jurors of the panel, and ten fresh ones, each find something else than bob and than one another. Nobody was
// wrong: all are paid, bob as well.
func TestAProgramOfChancePunishesNobody(t *testing.T) {
	s, j, q := lied(t, 120)
	a := s.audit(q)
	place := j.hit(a, 7)
	var all []person
	var witnesses []auditv1.Witness
	for _, p := range s.called(PanelMatter(chainID, a, 0), 2)[:2] {
		says, work := s.says(j, a, 0, p)
		says[7].Answer = sha256.Sum256([]byte("what " + p + " found"))
		all, witnesses = append(all, p), append(witnesses, s.witness(a, p, says, work))
	}
	m := s.question(j, q, place, witnesses...)
	m.Draw, m.PanelWork = 7, 1000
	signDispute(s.t, chainID, m, person("alice").vouchers())
	s.must(s.send(m))
	each := func(_ int, p person) *trust.Digest {
		d := trust.Digest(sha256.Sum256([]byte("what " + p + " found")))
		return &d
	}
	all = append(all, s.answers(j, 1, 3, each)...)
	all = append(all, s.answers(j, 1, 7, each)...)
	s.blocks(1)
	if !slices.Equal(s.final, []uint64{q}) || len(s.lost) > 0 || s.bonds["bob"] != 1000 {
		t.Fatalf("final %v, lost %v, bob's bond %d, %q", s.final, s.lost, s.bonds["bob"], s.events)
	}
	for _, p := range all {
		if s.bonds[p] != 1000 || s.paid[p] != 10 {
			t.Errorf("%s got %d and has a bond of %d", p, s.paid[p], s.bonds[p])
		}
	}
}

// Who leaves has no bond that counts, and pays all the same.
func TestALiarWhoLeavesPays(t *testing.T) {
	s, j, q := lied(t, 60)
	s.counts["bob"] = false
	s.must(s.send(s.question(j, q, 3)))
	s.answers(j, 1, 3, truth(j, 3))
	if s.bonds["bob"] != 650 {
		t.Errorf("bob's bond is %d", s.bonds["bob"])
	}
}

// After a conviction what was final before can be disputed for three days: the bond gives it back. It could not before, and cannot later.
func TestRecentResultsAreRefunded(t *testing.T) {
	s := founded(t, 120, func(p *auditv1.Params) { p.CommitBlocks, p.RevealBlocks = 6, 3 })
	j := s.hires("lease", 100_000)
	s.bonds["bob"] = 100_000
	for n := range 10 {
		j.does(100, n == 4)
	}
	old := s.redeems(j, 100)
	s.blocks(3)
	s.block(25 * time.Hour)
	if !slices.Equal(s.final, []uint64{old}) {
		t.Fatalf("final are %v", s.final)
	}
	s.refuses("before he is convicted", s.send(s.question(j, old, 4)), ErrFinal)
	watched, err := s.keeper.Watched(s.ctx, person("bob").node())
	if err != nil || watched {
		t.Errorf("watched: %t, %v", watched, err)
	}
	for n := range 5 {
		j.does(100, n == 1)
	}
	s.bonds["bob"] = 0 // so that all of it is drawn
	q := s.redeems(j, 50)
	s.blocks(2)
	s.bonds["bob"] = 100_000
	s.must(s.send(s.question(j, q, 11)))
	s.answers(j, 1, 3, truth(j, 11))
	bond, back := s.bonds["bob"], s.back[person("alice").address()]
	if !slices.Equal(s.lost, []uint64{q}) || bond != 100_000-350 {
		t.Fatalf("lost are %v, bob's bond %d", s.lost, bond)
	}
	if watched, err := s.keeper.Watched(s.ctx, person("bob").node()); err != nil || !watched {
		t.Errorf("watched: %t, %v", watched, err)
	}
	s.must(s.send(s.question(j, old, 4)))
	jurors := s.answers(j, 2, 3, truth(j, 4))
	if s.bonds["bob"] != bond-40 || s.back[person("alice").address()] != back+10 || s.back[jurors[0].address()] != 10 {
		t.Errorf("bob's bond %d, alice has back %d, a juror %d", s.bonds["bob"], s.back[person("alice").address()], s.back[jurors[0].address()])
	}
	late := s.question(j, old, 5)
	s.block(73 * time.Hour)
	s.refuses("three days later", s.send(late), ErrUnknown)
	if watched, err := s.keeper.Watched(s.ctx, person("bob").node()); err != nil || watched {
		t.Errorf("watched: %t, %v", watched, err)
	}
}

// While payouts rest a verdict waits; nothing is lost.
func TestAVerdictWaitsWhilePayoutsRest(t *testing.T) {
	s, j, q := lied(t, 60)
	s.must(s.send(s.question(j, q, 3)))
	s.resting = true
	s.answers(j, 1, 3, truth(j, 3))
	s.blocks(10)
	if len(s.lost) > 0 || s.bonds["bob"] != 1000 {
		t.Fatal("something was moved")
	}
	s.resting = false
	s.blocks(70)
	if !slices.Equal(s.lost, []uint64{q}) || s.bonds["bob"] != 650 {
		t.Errorf("lost %v, bond %d", s.lost, s.bonds["bob"])
	}
}

func TestBadDisputes(t *testing.T) {
	s, j, q := lied(t, 60)
	a := s.audit(q)
	p := s.called(PanelMatter(chainID, a, 0), 2)[0]
	says, work := s.says(j, a, 0, p)
	witness := func(change func(*auditv1.Witness)) auditv1.Witness {
		w := s.witness(a, p, says, work)
		if change != nil {
			change(&w)
		}
		return w
	}
	with := func(place int, change func(*auditv1.MsgDispute), w ...auditv1.Witness) *auditv1.MsgDispute {
		m := s.question(j, q, place, w...)
		m.PanelWork = work
		for i := range a.Draws {
			if j.hit(a, i) == place {
				m.Draw = i
			}
		}
		if change != nil {
			change(m)
		}
		signDispute(s.t, chainID, m, person("alice").vouchers())
		return m
	}
	forged := with(3, nil)
	signDispute(s.t, chainID, forged, person("carol").vouchers())
	elsewhere := with(3, nil)
	signDispute(s.t, "hpips-1", elsewhere, person("alice").vouchers())
	for name, row := range map[string]struct {
		m    *auditv1.MsgDispute
		want error
	}{
		"carol signs":               {forged, ErrSignature},
		"for another chain":         {elsewhere, ErrSignature},
		"another result":            {with(3, func(m *auditv1.MsgDispute) { m.Result = make([]byte, 32) }), ErrLeaf},
		"another task":              {with(3, func(m *auditv1.MsgDispute) { m.Statement = make([]byte, 32) }), ErrLeaf},
		"more work":                 {with(3, func(m *auditv1.MsgDispute) { m.Work++ }), ErrLeaf},
		"another place":             {with(3, func(m *auditv1.MsgDispute) { m.Place++ }), ErrLeaf},
		"a place that is not":       {with(3, func(m *auditv1.MsgDispute) { m.Place = 10 }), ErrLeaf},
		"a shorter path":            {with(3, func(m *auditv1.MsgDispute) { m.Path = m.Path[1:] }), ErrLeaf},
		"a step of 31 bytes":        {with(3, func(m *auditv1.MsgDispute) { m.Path[0] = m.Path[0][1:] }), ErrMalformed},
		"no such redemption":        {with(3, func(m *auditv1.MsgDispute) { m.Sequence = 99 }), ErrUnknown},
		"no such witness":           {with(3, func(m *auditv1.MsgDispute) { m.Accused = 1 }), ErrMalformed},
		"another sender":            {with(3, func(m *auditv1.MsgDispute) { m.Sender = p.sender() }), ErrSender},
		"a witness who agrees":      {with(2, nil, witness(nil)), ErrAgreed},
		"a state of another answer": {with(3, func(m *auditv1.MsgDispute) { m.Accused = 1 }, witness(nil)), ErrLeaf},
		"a draw elsewhere":          {with(3, func(m *auditv1.MsgDispute) { m.Draw = (m.Draw + 1) % 10 }, witness(nil)), ErrLeaf},
		"a draw that is not":        {with(3, func(m *auditv1.MsgDispute) { m.Draw = 10 }, witness(nil)), ErrLeaf},
		"words put in its mouth":    {with(3, nil, witness(func(w *auditv1.Witness) { w.Answers[1] = make([]byte, 32) })), ErrOpening},
		"some of its words":         {with(3, nil, witness(func(w *auditv1.Witness) { w.Answers, w.States = w.Answers[1:], w.States[1:] })), ErrOpening},
		"fewer states":              {with(3, nil, witness(func(w *auditv1.Witness) { w.States = w.States[1:] })), ErrMalformed},
		"the same witness twice":    {with(3, nil, witness(nil), witness(nil)), ErrParty},
		"work that nobody signed":   {with(3, func(m *auditv1.MsgDispute) { m.PanelWork++ }, witness(nil)), ErrSignature},
	} {
		s.refuses(name, s.send(row.m), row.want)
	}
	s.free[string(j.lease)] = 119
	s.refuses("a lease that cannot pay a jury", s.send(with(3, nil, witness(nil))), ErrAside)
	s.free[string(j.lease)] = 10_000
	s.must(s.send(with(3, nil, witness(nil))))
	s.refuses("twice", s.send(with(3, nil, witness(nil))), ErrAsked)
	for place := range 7 {
		if place != 3 {
			s.must(s.send(with(place, nil)))
		}
	}
	s.must(s.send(with(7, nil)))
	s.refuses("one too many", s.send(with(8, nil)), ErrMany)
}

func TestBadJurors(t *testing.T) {
	s, j, q := lied(t, 60)
	s.must(s.send(s.question(j, q, 3)))
	d := s.dispute(1)
	salt := [32]byte{5}
	said := trust.Voice{Result: j.truth[3], State: [32]byte{6}}
	var m trust.Matter
	commit := func(p person, change func(*auditv1.MsgCommit)) *auditv1.MsgCommit {
		proof, _ := p.proof(m)
		word := trust.Commitment(said, p.node(), salt)
		c := &auditv1.MsgCommit{Sender: p.sender(), Juror: p.id(), Dispute: 1, Round: 1, Proof: proof[:], Commitment: word[:], Signature: m.SignVoice(word, 0, p.secret("node"))}
		if change != nil {
			change(c)
		}
		return c
	}
	m = RoundMatter(chainID, auditv1.Dispute{Node: d.Node, Sequence: d.Sequence, Id: 1, Round: 1, Seed: make([]byte, 32)})
	s.refuses("before the seed", s.send(commit("juror1", nil)), ErrPhase)
	s.blocks(1)
	m = RoundMatter(chainID, s.dispute(1))
	called := s.called(m, 3)
	p := called[0]
	brother := person("juror's brother")
	s.settles(brother)
	as := s.tickets[brother]
	as.Owner = p.address()
	s.tickets[brother] = as
	var lost person
	for who := range s.tickets {
		if !slices.Contains(s.called(m, 3), who) {
			lost = who
		}
	}
	for name, row := range map[string]struct {
		m    *auditv1.MsgCommit
		want error
	}{
		"another round":      {commit(p, func(c *auditv1.MsgCommit) { c.Round = 2 }), ErrPhase},
		"another dispute":    {commit(p, func(c *auditv1.MsgCommit) { c.Dispute = 2 }), ErrPhase},
		"another sender":     {commit(p, func(c *auditv1.MsgCommit) { c.Sender = called[1].sender() }), ErrSender},
		"another commitment": {commit(p, func(c *auditv1.MsgCommit) { c.Commitment = make([]byte, 32) }), ErrSignature},
		"another's proof":    {commit(p, func(c *auditv1.MsgCommit) { c.Proof = commit(called[1], nil).Proof }), ErrProof},
		"no proof":           {commit(p, func(c *auditv1.MsgCommit) { c.Proof = nil }), ErrMalformed},
		"bob":                {commit("bob", nil), ErrTicket},
		"not drawn":          {commit(lost, nil), ErrLost},
	} {
		s.refuses(name, s.send(row.m), row.want)
	}
	s.must(s.send(commit(p, nil)))
	s.refuses("twice", s.send(commit(p, nil)), ErrTwice)
	if slices.Contains(s.called(m, 3), brother) {
		s.refuses("of the same owner", s.send(commit(brother, nil)), ErrSeen)
	}
	reveal := func(p person, change func(*auditv1.MsgReveal)) *auditv1.MsgReveal {
		r := &auditv1.MsgReveal{Sender: p.sender(), Juror: p.id(), Dispute: 1, Round: 1, Answer: said.Result[:], State: said.State[:], Salt: salt[:]}
		if change != nil {
			change(r)
		}
		return r
	}
	s.refuses("while others commit themselves", s.send(reveal(p, nil)), ErrPhase)
	s.blocks(6)
	s.refuses("too late", s.send(commit(called[1], nil)), ErrPhase)
	for name, row := range map[string]struct {
		m    *auditv1.MsgReveal
		want error
	}{
		"another answer":    {reveal(p, func(r *auditv1.MsgReveal) { r.Answer = make([]byte, 32) }), ErrOpening},
		"another salt":      {reveal(p, func(r *auditv1.MsgReveal) { r.Salt = make([]byte, 32) }), ErrOpening},
		"no state":          {reveal(p, func(r *auditv1.MsgReveal) { r.State = nil }), ErrMalformed},
		"another's word":    {reveal(called[1], nil), ErrPhase},
		"by another sender": {reveal(p, func(r *auditv1.MsgReveal) { r.Sender = called[1].sender() }), ErrSender},
	} {
		s.refuses(name, s.send(row.m), row.want)
	}
	s.must(s.send(reveal(p, nil)))
	s.refuses("twice", s.send(reveal(p, nil)), ErrTwice)
}

// A dispute about a task that took long takes commitments longer, once, and ends all the same.
func TestALongTaskTakesItsTime(t *testing.T) {
	for name, row := range map[string]struct {
		work   uint64
		blocks int // for commitments
	}{"a short one": {50_000_000 * 20, 20}, "one that takes longer": {50_000_000 * 21, 29}, "one of an hour": {50_000_000 * 3600, 29}, "one without end": {1 << 62, 29}} {
		s := founded(t, 60, func(p *auditv1.Params) { p.CommitBlocks, p.RevealBlocks = 20, 10 })
		s.bonds["bob"] = 0
		j := s.hires("lease", 1000)
		j.does(row.work, true)
		q := s.redeems(j, 10)
		s.blocks(2)
		s.must(s.send(s.question(j, q, 0)))
		s.blocks(1)
		blocks := 0
		for ; s.dispute(1).Phase == auditv1.PHASE_COMMIT && blocks < 1000; blocks++ {
			s.blocks(1)
		}
		if blocks != row.blocks {
			t.Errorf("%s: %d blocks for commitments, want %d", name, blocks, row.blocks)
		}
	}
}

// Two rounds end within three epochs of the public chain, and of a development network: however much is done or little, and however long the task takes that it is about.
func TestDisputesEndWithinThreeEpochs(t *testing.T) {
	for _, row := range []struct {
		name  string
		p     auditv1.Params
		epoch int64
	}{{"public", Public(), 720}, {"development", Development(), 20}} {
		for _, work := range []uint64{100, 100_000_000_000, 1 << 62} {
			for _, idle := range []bool{false, true} {
				s := founded(t, 60, func(p *auditv1.Params) { *p = row.p })
				s.idle = idle
				s.bonds["bob"] = 0
				j := s.hires("lease", 1000)
				j.does(work, true)
				q := s.redeems(j, 10)
				s.blocks(2)
				s.must(s.send(s.question(j, q, 0)))
				opened := s.dispute(1).Opened
				each := func(_ int, p person) *trust.Digest { d := trust.Digest(sha256.Sum256([]byte(p))); return &d }
				s.answers(j, 1, 3, each)
				s.answers(j, 1, 7, each)
				took := s.ctx.BlockHeight() - opened
				if there, err := s.keeper.disputes.Has(s.ctx, 1); err != nil || there || took > 3*row.epoch {
					t.Errorf("%s, idle %t, %d instructions: still there %t, %d blocks, epochs have %d", row.name, idle, work, there, took, row.epoch)
				}
				if least := 2 * row.epoch; took < least {
					t.Errorf("%s, idle %t, %d instructions: two rounds in %d blocks", row.name, idle, work, took)
				}
				if !slices.Contains(s.events, "hpips_verdict undecided 2") {
					t.Errorf("%s: %q", row.name, s.events[max(0, len(s.events)-8):])
				}
			}
		}
	}
}
