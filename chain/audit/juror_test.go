package audit

import (
	"slices"
	"testing"
	"time"

	"github.com/hpips/hpips/proto/gen/auditv1"
	"github.com/hpips/hpips/spec/trust"
)

// A juror that copied the answer and made up its state is found out by three who take it down at its point.
func TestACopycatIsFound(t *testing.T) {
	s, j, q := lied(t, 60)
	a := s.audit(q)
	place := j.hit(a, 5)
	called := s.called(PanelMatter(chainID, a, 0), 2)
	lazy := called[0]
	says, work := s.says(j, a, 0, lazy)
	right := says[5].State
	says[5].State = trust.Digest{7}
	w := s.witness(a, lazy, says, work)
	m := s.question(j, q, place, w)
	m.Draw, m.PanelWork, m.Accused = 5, work, 1
	signDispute(s.t, chainID, m, person("alice").vouchers())
	s.must(s.send(m))
	_, beta := lazy.proof(PanelMatter(chainID, a, 0))
	if d := s.dispute(1); !d.Juror || d.Point != trust.Point(beta[:], j.leaves[place].Statement, 100) {
		t.Fatalf("%+v", d)
	}
	found := trust.WithState(j.truth[place], right)
	s.answers(j, 1, 3, func(int, person) *trust.Digest { return &found })
	if s.bonds[lazy] != 990 || s.paid[lazy] != 0 || s.bonds["bob"] != 1000 || len(s.lost) > 0 || s.back[person("alice").address()] != 10 {
		t.Errorf("the copycat has %d and got %d, bob %d, lost %v, alice has back %d", s.bonds[lazy], s.paid[lazy], s.bonds["bob"], s.lost, s.back[person("alice").address()])
	}
	s.refuses("with the copycat", s.send(s.attestation(j, q, 1, lazy)), ErrBarred)
	before := s.paid[called[1]] + s.paid[called[2]]
	s.must(s.send(s.attestation(j, q, 1)))
	if s.paid[lazy] != 0 || s.paid[called[1]]+s.paid[called[2]] <= before || s.audit(q).Attested != 1 {
		t.Errorf("the copycat got %d, the two others %d more; %d panels are attested", s.paid[lazy], s.paid[called[1]]+s.paid[called[2]]-before, s.audit(q).Attested)
	}
}

// Carol has no bond yet and lies in a jury. It costs her no money; but until her time is over she is in no panel and no round, also after a restart. One who did not reveal, and a juror who
// was right, may come again.
func TestAWrongJurorIsNoneForAWhile(t *testing.T) {
	s, j, q := lied(t, 12) // so few that all are called
	for p := range s.tickets {
		s.bonds[p] = 0
	}
	s.must(s.send(s.question(j, q, 4)))
	made := trust.Digest{1}
	first := s.answers(j, 1, 3, func(n int, _ person) *trust.Digest {
		if n == 0 {
			return &made
		}
		return &j.truth[4]
	})
	var silent person
	s.answers(j, 1, 8, func(n int, p person) *trust.Digest {
		if n == 7 {
			silent = p
			return nil
		}
		return &j.truth[4]
	})
	if v := s.audit(q).Verdicts; !slices.Contains(s.events, "hpips_verdict right 2") || len(v) != 1 || v[0].Place != 4 || v[0].Outcome != auditv1.OUTCOME_RIGHT || string(v[0].Accused) != string(person("bob").id()) {
		t.Fatalf("%q, %v", s.events, v)
	}
	s.restart()
	s.must(s.send(s.question(j, q, 5)))
	s.blocks(1)
	d := s.dispute(2)
	commits := func(p person) error {
		m := RoundMatter(chainID, d)
		proof, _ := p.proof(m)
		word := trust.Commitment(trust.Voice{}, p.node(), [32]byte{})
		return s.send(&auditv1.MsgCommit{Sender: p.sender(), Juror: p.id(), Dispute: 2, Round: 1, Proof: proof[:], Commitment: word[:], Signature: m.SignVoice(word, 0, p.secret("node"))})
	}
	carol := first[0]
	s.refuses("carol", commits(carol), ErrBarred)
	s.must(commits(silent))
	s.must(commits(first[1]))
	holds := func() bool {
		res, err := s.ask.Standing(s.ctx, &auditv1.QueryStandingRequest{Node: carol.id()})
		s.must(err)
		return res.Holds
	}
	if holds() {
		t.Error("carol may be drawn")
	}
	s.block(13 * 24 * time.Hour)
	if holds() {
		t.Error("carol may be drawn after 13 days")
	}
	s.block(2 * 24 * time.Hour)
	if !holds() {
		t.Error("carol is barred for ever")
	}
}
