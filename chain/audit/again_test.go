package audit

import (
	"context"
	"slices"
	"testing"
	"time"

	"cosmossdk.io/collections"

	"github.com/hpips/hpips/proto/gen/auditv1"
	"github.com/hpips/hpips/spec/trust"
)

// witness is what a juror of an audit's first panel said, as a dispute wants it.
func (s *town) witness(a auditv1.Audit, p person, says []trust.Say, work uint64) auditv1.Witness {
	w := auditv1.Witness{Voice: s.speaks(a, 0, p, says, work)}
	for _, say := range says {
		w.Answers, w.States = append(w.Answers, slices.Clone(say.Answer[:])), append(w.States, slices.Clone(say.State[:]))
	}
	return w
}

// doubts is alice's question about what a draw of an audit fell on, with witnesses, of whom one may be accused.
func (s *town) doubts(j *job, a auditv1.Audit, draw, work uint64, accused int, witnesses ...auditv1.Witness) *auditv1.MsgDispute {
	m := s.question(j, a.Sequence, j.hit(a, draw), witnesses...)
	m.Draw, m.PanelWork, m.Accused = draw, work, uint32(accused)
	signDispute(s.t, chainID, m, person("alice").vouchers())
	return m
}

// attempt is a question once more, signed anew.
func (s *town) attempt(m *auditv1.MsgDispute, n int) *auditv1.MsgDispute {
	again := *m
	again.Attempt, again.Signature = uint32(n), nil
	signDispute(s.t, chainID, &again, person("alice").vouchers())
	return &again
}

// With too few jurors there is no jury, as if nobody had asked: who looked is paid, and the question may be put again until the audit is passed, each time by another word of alice's. Nobody can hold up bob's pay for longer.
func TestTooFewJurors(t *testing.T) {
	s, j, q := lied(t, 60)
	first := s.question(j, q, 3)
	for id := uint64(1); id <= 3; id++ {
		m := s.attempt(first, int(id-1))
		s.refuses("an attempt that is not the next one", s.send(s.attempt(first, int(id))), ErrAsked)
		s.must(s.send(m))
		s.refuses("while it is asked", s.send(s.attempt(first, int(id))), ErrAsked)
		if told := s.audit(q).Verdicts; len(told) > 0 {
			t.Fatalf("while it is asked again there is a verdict: %v", told)
		}
		if id == 3 {
			s.must(s.send(s.question(j, q, 5)))
			s.block(25 * time.Hour) // which passes the audit
			s.refuses("another place of an audit that is passed", s.send(s.question(j, q, 6)), ErrMany)
		}
		jurors := s.answers(j, id, 2, truth(j, 3))
		if a := s.audit(q); len(s.lost) > 0 || s.bonds["bob"] != 1000 || s.paid[jurors[0]] < 10 || len(a.Verdicts) == 0 || a.Verdicts[0].Outcome != auditv1.OUTCOME_NO_JURY {
			t.Fatalf("lost %v, bond %d, paid %d, %+v", s.lost, s.bonds["bob"], s.paid[jurors[0]], a)
		}
		if next := s.audit(q).Verdicts[0].Next; next != []uint32{1: 1, 2: 2, 3: 0}[id] {
			t.Errorf("after %d disputes the next attempt is %d", id, next)
		}
		if id < 3 { // afterwards the pay is final
			s.refuses("what was sent before", s.send(m), ErrAsked)
		}
	}
	s.blocks(20)
	if !slices.Equal(s.final, []uint64{q}) {
		t.Errorf("final are %v", s.final)
	}
}

// What found no jury is asked again with the same witnesses, and bob is found out. They are paid once.
func TestTheSecondJuryFindsTheLiar(t *testing.T) {
	s, j, q := lied(t, 60)
	a, draw := s.audit(q), uint64(0)
	for j.hit(a, draw) != 3 {
		draw++
	}
	p := s.called(PanelMatter(chainID, a, 0), 2)[0]
	says, work := s.says(j, a, 0, p)
	if says[draw].Answer != j.truth[3] {
		t.Fatal("the juror does not contradict bob")
	}
	m := s.doubts(j, a, draw, work, 0, s.witness(a, p, says, work))
	s.must(s.send(m))
	s.answers(j, 1, 2, truth(j, 3))
	if s.paid[p] != 0 || len(s.lost) > 0 {
		t.Fatalf("without a jury the witness got %d; lost %v", s.paid[p], s.lost)
	}
	s.restart()
	s.must(s.send(s.attempt(m, 1)))
	if jurors := s.answers(j, 2, 3, truth(j, 3)); slices.Contains(jurors, p) {
		t.Error("the witness is its own judge")
	}
	s.blocks(2)
	if s.paid[p] != 10 || !slices.Equal(s.lost, []uint64{q}) || s.bonds["bob"] != 650 {
		t.Errorf("the witness got %d; lost %v; bob's bond is %d", s.paid[p], s.lost, s.bonds["bob"])
	}
}

// Each juror is asked about once for a leaf, whatever its place among the witnesses.
func TestEachJurorIsAskedAboutOnce(t *testing.T) {
	s, j, q := lied(t, 60)
	a := s.audit(q)
	called := s.called(PanelMatter(chainID, a, 0), 2)
	says, work := s.says(j, a, 0, called[0])
	first := s.witness(a, called[0], says, work)
	says, _ = s.says(j, a, 0, called[1])
	second := s.witness(a, called[1], says, work)
	draw := uint64(0)
	for j.hit(a, draw) == 3 {
		draw++
	}
	s.must(s.send(s.doubts(j, a, draw, work, 1, first, second)))
	s.refuses("the same juror, named last", s.send(s.doubts(j, a, draw, work, 2, second, first)), ErrAsked)
	s.must(s.send(s.doubts(j, a, draw, work, 1, second, first)))
	if d := s.dispute(2); string(d.Accused) != string(called[1].id()) {
		t.Errorf("accused is %x", d.Accused)
	}
}

// What finds no jury each time is asked four times, and not as long as somebody sees to it that others are too few: who reveals is paid each time.
func TestAttemptsAreFew(t *testing.T) {
	s, j, q := lied(t, 60)
	first := s.question(j, q, 3)
	for n := range mostAttempts {
		s.must(s.send(s.attempt(first, n)))
		s.answers(j, uint64(n+1), 2, truth(j, 3))
	}
	if v := s.audit(q).Verdicts[0]; v.Next != 0 {
		t.Errorf("the next attempt is %d", v.Next)
	}
	s.refuses("a fifth time", s.send(s.attempt(first, mostAttempts)), ErrAsked)
}

// A result whose pay was final is refunded once, and what was asked is forgotten with the audit.
func TestAFinalResultIsRefundedOnce(t *testing.T) {
	s, j, q := lied(t, 60)
	m := s.question(j, q, 3)
	s.block(25 * time.Hour)
	s.blocks(3)
	other := s.hires("other", 1000)
	for n := range 10 {
		other.does(100, n == 3)
	}
	s.bonds["bob"] = 0
	second := s.redeems(other, 100)
	s.blocks(2)
	s.bonds["bob"] = 5000
	s.must(s.send(s.question(other, second, 3)))
	s.answers(other, 1, 3, truth(other, 3))
	s.blocks(3)
	if !slices.Equal(s.final, []uint64{q}) || !slices.Equal(s.lost, []uint64{second}) {
		t.Fatalf("final are %v, lost %v", s.final, s.lost)
	}
	s.must(s.send(m))
	s.answers(j, 2, 3, truth(j, 3))
	bond := s.bonds["bob"]
	s.refuses("again", s.send(m), ErrAsked)
	s.refuses("as another attempt", s.send(s.attempt(m, 1)), ErrAsked)
	s.block(100 * time.Hour)
	s.blocks(2)
	for what, rows := range map[string]interface {
		Iterate(context.Context, collections.Ranger[leaf]) (collections.Iterator[leaf, uint64], error)
	}{"asked": s.keeper.asked, "vain": s.keeper.vain} {
		it, err := rows.Iterate(s.ctx, nil)
		s.must(err)
		if it.Valid() || s.bonds["bob"] != bond {
			t.Errorf("%s is not forgotten; bob's bond was %d, is %d", what, bond, s.bonds["bob"])
		}
		s.must(it.Close())
	}
}
