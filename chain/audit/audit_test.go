package audit

import (
	"crypto/sha256"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/hpips/hpips/proto/gen/auditv1"
	"github.com/hpips/hpips/spec/trust"
)

// Bob has no bond: all of his results are looked at, by two jurors each, and his pay waits for them.
func TestBobIsPaidWhenJurorsFoundWhatHeSaid(t *testing.T) {
	s := founded(t, 40, nil)
	s.bonds["bob"] = 0
	j := s.hires("lease", 20_000)
	for n := range 70 {
		j.does(uint64(100+n), false)
	}
	n := s.redeems(j, 7000)
	s.block(time.Second)
	if len(s.final) > 0 || len(s.audit(n).Seed) > 0 {
		t.Fatal("drawn with a seed that bob could know")
	}
	s.block(time.Second)
	a := s.audit(n)
	if a.Rate != trust.Whole || a.Jurors != 2 || a.Draws != 70 || a.Panels != 2 {
		t.Fatalf("%+v", a)
	}
	s.must(s.send(s.attestation(j, n, 1)))
	s.restart()
	s.block(time.Second)
	if len(s.final) > 0 {
		t.Fatal("final with a panel that nobody looked at")
	}
	s.must(s.send(s.attestation(j, n, 1)))
	s.block(time.Second)
	if !slices.Equal(s.final, []uint64{n}) {
		t.Fatalf("final are %v", s.final)
	}
	sum := int64(0)
	for _, paid := range s.paid {
		sum += paid
	}
	if sum < 14_000 || sum > 14_004 || sum != 20_000-s.free[string(j.lease)] { // each of two jurors what bob gets, rounded up
		t.Errorf("jurors got %d, %d are left", sum, s.free[string(j.lease)])
	}
	if busy, err := s.keeper.Busy(s.ctx, j.lease); err != nil || busy {
		t.Errorf("the lease is looked at: %t, %v", busy, err)
	}
}

// With a bond, few of bob's results are drawn, by the work that they took; one redemption has no draw and is final at once.
func TestABondLetsMostPass(t *testing.T) {
	s := founded(t, 40, nil)
	s.bonds["bob"] = 1_000_000
	j, drawn := s.hires("lease", 1_000_000), 0
	const n = 300
	for range n {
		j.does(1000, false)
		drawn += int(func() uint64 { q := s.redeems(j, 100); s.blocks(2); return s.audit(q).Draws }())
		s.blocks(1)
	}
	if drawn < 2 || drawn > 30 { // 11 on average
		t.Errorf("%d of %d are drawn", drawn, n)
	}
	s.block(24 * time.Hour)
	s.blocks(1)
	if len(s.final) != n || !slices.IsSorted(s.final) {
		t.Errorf("%d of %d final after a day, in their order: %t", len(s.final), n, slices.IsSorted(s.final))
	}
	recent, err := s.ask.Recent(s.ctx, &auditv1.QueryRecentRequest{Node: person("bob").id()})
	s.must(err)
	if len(recent.Audits) != 200 || recent.Conviction != nil {
		t.Errorf("%d recent ones are remembered", len(recent.Audits))
	}
}

// Nobody comes for a day: passed.
func TestNoJuryForADay(t *testing.T) {
	s := founded(t, 40, nil)
	s.bonds["bob"] = 0
	j := s.hires("lease", 1000)
	j.does(5, false)
	s.redeems(j, 100)
	s.blocks(2)
	s.block(24*time.Hour - 2*time.Second)
	if len(s.final) > 0 {
		t.Fatal("passed before the day is over")
	}
	s.block(2 * time.Second)
	if len(s.final) != 1 || !slices.Contains(s.events, "hpips_audit passed") {
		t.Fatalf("final %v, %q", s.final, s.events)
	}
}

func TestBadAttestations(t *testing.T) {
	s := founded(t, 40, nil)
	s.settles("bob") // who may not be his own juror
	s.bonds["bob"] = 0
	s.settles("alice")
	s.settles("bob's brother")
	brother := s.tickets["bob's brother"]
	brother.Network = s.tickets["bob"].Network
	s.tickets["bob's brother"] = brother
	j := s.hires("lease", 1000)
	for range 3 {
		j.does(50, false)
	}
	n := s.redeems(j, 300)
	early := &auditv1.MsgAttest{Sender: person("bob").sender(), Node: person("bob").id(), Sequence: n, Panels: []auditv1.Panel{{}}}
	signAttest(s.t, chainID, early, person("alice").vouchers())
	s.refuses("before it is drawn", s.send(early), ErrUnknown)
	s.blocks(2)
	a := s.audit(n)
	strangers := slices.DeleteFunc(s.called(PanelMatter(chainID, a, 0), 2), func(p person) bool { return p == "alice" || p == "bob" || p == "bob's brother" })
	first, second := strangers[0], strangers[1]
	voice := func(p person, change func([]trust.Say)) auditv1.Voice {
		says, work := s.says(j, a, 0, p)
		if change != nil {
			change(says)
		}
		return s.speaks(a, 0, p, says, work)
	}
	with := func(change func(*auditv1.MsgAttest), voices ...auditv1.Voice) *auditv1.MsgAttest {
		m := &auditv1.MsgAttest{Sender: person("bob").sender(), Node: a.Node, Sequence: n, Panels: []auditv1.Panel{{Work: 150, Voices: voices}}}
		if change != nil {
			change(m)
		}
		signAttest(s.t, chainID, m, person("alice").vouchers())
		return m
	}
	good := func() []auditv1.Voice { return []auditv1.Voice{voice(first, nil), voice(second, nil)} }
	spoiled := func(change func(*auditv1.Voice)) []auditv1.Voice {
		v := good()
		change(&v[1])
		return v
	}
	unsigned := with(nil, good()...)
	unsigned.Signature[5]++
	outsider := person("outsider")
	s.people[outsider.node()] = outsider
	for name, row := range map[string]struct {
		m    *auditv1.MsgAttest
		want error
	}{
		"one juror":              {with(nil, voice(first, nil)), ErrPanel},
		"none":                   {with(nil), ErrPanel},
		"three":                  {with(nil, append(good(), voice(strangers[2], nil))...), ErrMalformed},
		"no panel":               {with(func(m *auditv1.MsgAttest) { m.Panels = nil }), ErrMalformed},
		"a panel that is not":    {with(func(m *auditv1.MsgAttest) { m.First = 1 }, good()...), ErrPanel},
		"one panel too many":     {with(func(m *auditv1.MsgAttest) { m.Panels = append(m.Panels, m.Panels[0]) }, good()...), ErrPanel},
		"another redemption":     {with(func(m *auditv1.MsgAttest) { m.Sequence = 9 }, good()...), ErrUnknown},
		"another sender":         {with(func(m *auditv1.MsgAttest) { m.Sender = first.sender() }, good()...), ErrSender},
		"alice did not sign":     {unsigned, ErrSignature},
		"the same juror twice":   {with(nil, voice(first, nil), voice(first, nil)), ErrParty},
		"the provider":           {with(nil, voice(first, nil), voice("bob", nil)), ErrParty},
		"the payer":              {with(nil, voice(first, nil), voice("alice", nil)), ErrParty},
		"the provider's network": {with(nil, voice(first, nil), voice("bob's brother", nil)), ErrParty},
		"without a ticket":       {with(nil, voice(first, nil), voice(outsider, nil)), ErrTicket},
		"two minds":              {with(nil, voice(first, nil), voice(second, func(s []trust.Say) { s[1].Answer[0]++ })), ErrDiffer},
		"another's proof":        {with(nil, spoiled(func(v *auditv1.Voice) { v.Proof = good()[0].Proof })...), ErrProof},
		"a short proof":          {with(nil, spoiled(func(v *auditv1.Voice) { v.Proof = v.Proof[1:] })...), ErrMalformed},
		"other work":             {with(func(m *auditv1.MsgAttest) { m.Panels[0].Work++ }, good()...), ErrSignature},
		"another state":          {with(nil, spoiled(func(v *auditv1.Voice) { v.State[0]++ })...), ErrSignature},
		"a short salt":           {with(nil, spoiled(func(v *auditv1.Voice) { v.Salt = nil })...), ErrMalformed},
	} {
		s.refuses(name, s.send(row.m), row.want)
	}
	m := with(nil, good()...)
	s.must(s.send(m))
	s.refuses("twice", s.send(m), ErrUnknown)
}

// Only who is drawn may look: with many tickets most are not.
func TestWhoIsNotDrawnIsNoJuror(t *testing.T) {
	s := founded(t, 120, nil)
	s.bonds["bob"] = 0
	j := s.hires("lease", 1000)
	j.does(50, false)
	n := s.redeems(j, 300)
	s.blocks(2)
	a := s.audit(n)
	called := s.called(PanelMatter(chainID, a, 0), 2)
	if len(called) < 2 || len(called) > 40 {
		t.Fatalf("%d of 120 are called", len(called))
	}
	for p := range s.tickets {
		says, work := s.says(j, a, 0, p)
		_, err := s.keeper.voice(s.ctx, a, 0, work, s.speaks(a, 0, p, says, work))
		if drawn := slices.Contains(called, p); drawn != (err == nil) || err != nil && !errors.Is(err, ErrLost) {
			t.Errorf("%s, drawn: %t: %v", p, drawn, err)
		}
	}
}

func TestParameters(t *testing.T) {
	for _, p := range []auditv1.Params{Public(), Development()} {
		if err := CheckParams(p); err != nil {
			t.Error(err)
		}
	}
	s := founded(t, 0, nil)
	for _, change := range []func(*auditv1.Params){
		func(p *auditv1.Params) { p.Least = trust.Whole + 1 }, func(p *auditv1.Params) { p.Colluder = trust.Whole }, func(p *auditv1.Params) { p.Penalty = 0 },
		func(p *auditv1.Params) { p.PassSeconds = 0 }, func(p *auditv1.Params) { p.CommitBlocks = 0 }, func(p *auditv1.Params) { p.RevealBlocks = 1 << 40 },
		func(p *auditv1.Params) { p.WorkPerSecond = 0 }, func(p *auditv1.Params) { p.RecentResults = 0 }, func(p *auditv1.Params) { p.RecentSeconds = 0 },
		func(p *auditv1.Params) { p.Disputes = 0 }, func(p *auditv1.Params) { p.Batch = 0 }, func(p *auditv1.Params) { p.BarSeconds = 0 },
	} {
		p := Public()
		change(&p)
		_, err := s.msgs.UpdateParams(s.ctx, &auditv1.MsgUpdateParams{Authority: authority, Params: p})
		s.refuses("bad parameters", err, ErrParams)
	}
	_, err := s.msgs.UpdateParams(s.ctx, &auditv1.MsgUpdateParams{Authority: "carol", Params: Public()})
	s.refuses("carol's word", err, ErrAuthority)
	p := Development()
	_, err = s.msgs.UpdateParams(s.ctx, &auditv1.MsgUpdateParams{Authority: authority, Params: p})
	s.must(err)
	if got, err := s.ask.Params(s.ctx, &auditv1.QueryParamsRequest{}); err != nil || got.Params != p {
		t.Errorf("%+v, %v", got, err)
	}
}

// Whatever somebody sends is refused with one of our codes, or is a word that alice signed.
func FuzzMessages(f *testing.F) {
	s := founded(f, 10, nil)
	s.bonds["bob"] = 0
	j := s.hires("lease", 10_000)
	j.does(50, true)
	n := s.redeems(j, 300)
	s.blocks(2)
	for _, m := range []interface{ Marshal() ([]byte, error) }{s.attestation(j, n, 1), s.question(j, n, 0), &auditv1.MsgCommit{}, &auditv1.MsgReveal{Answer: make([]byte, 32)}} {
		b, err := m.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	seen := sha256.Sum256(s.export())
	f.Fuzz(func(t *testing.T, b []byte) {
		s.t = t
		for _, m := range []interface {
			Unmarshal([]byte) error
			Reset()
			String() string
			ProtoMessage()
		}{&auditv1.MsgAttest{}, &auditv1.MsgDispute{}, &auditv1.MsgCommit{}, &auditv1.MsgReveal{}} {
			if m.Unmarshal(b) != nil {
				continue
			}
			for _, at := range []bool{true, false} {
				ctx, _ := s.ctx.CacheContext()
				if at {
					ctx = ctx.WithExecMode(7)
				}
				_ = s.keeper.CheckFree(ctx, m)
			}
		}
		if sha256.Sum256(s.export()) != seen {
			t.Fatal("a check wrote something")
		}
	})
}

// A ledger knows this refusal by its number.
func TestWhatWasAskedBeforeHasItsNumber(t *testing.T) {
	if ErrAsked.ABCICode() != 16 || ErrAsked.Codespace() != "audit" {
		t.Errorf("%s %d", ErrAsked.Codespace(), ErrAsked.ABCICode())
	}
}
