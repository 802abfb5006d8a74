package audit

import (
	"slices"
	"testing"
	"time"

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

// With too few jurors there is no jury, as if nobody had asked: who looked is paid, and the question may be put again until the audit is passed. Nobody can hold up bob's pay for longer.
func TestTooFewJurors(t *testing.T) {
	s, j, q := lied(t, 60)
	for id := uint64(1); id <= 3; id++ {
		s.must(s.send(s.question(j, q, 3)))
		s.refuses("while it is asked", s.send(s.question(j, q, 3)), ErrAsked)
		if told := s.audit(q).Verdicts; len(told) > 0 {
			t.Fatalf("while it is asked again there is a verdict: %v", told)
		}
		if id == 3 {
			s.block(25 * time.Hour) // which passes the audit
			s.must(s.send(s.question(j, q, 5)))
		}
		jurors := s.answers(j, id, 2, truth(j, 3))
		if a := s.audit(q); len(s.lost) > 0 || s.bonds["bob"] != 1000 || s.paid[jurors[0]] < 10 || a.Disputes != uint32(id/3) || len(a.Verdicts) != 1 || a.Verdicts[0].Outcome != auditv1.OUTCOME_NO_JURY {
			t.Fatalf("lost %v, bond %d, paid %d, %+v", s.lost, s.bonds["bob"], s.paid[jurors[0]], a)
		}
	}
	s.refuses("of an audit that is passed", s.send(s.question(j, q, 3)), ErrAsked)
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
	s.must(s.send(m))
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
