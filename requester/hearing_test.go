package requester

import (
	"context"
	"crypto/sha256"
	"maps"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/trust"
	"github.com/hpips/hpips/spec/voucher"
)

// audit is the audit of what bob did for alice: she has paid for a job, and the chain looks at what she signed.
type audit struct {
	tn   *town
	r    *Requester
	stop func()
	c    *court
	job  string
	h    Hearing

	jack, jill, mallory *juror
}

// audited is how many tasks the job has that bob does, four panels of them.
const audited = 200

// hold has bob do a job, paid for by its leaves, and opens the audit of it. bob answers as he likes; nil: as it is.
func hold(t *testing.T, rate uint64, bob func(lease.Work, job.Task) *job.Result) *audit {
	t.Helper()
	a := prepare(t, bob)
	a.job = submit(t, a.r, a.tn.dearCount(audited))
	if s := finish(t, a.r, a.job); s.State != job.Settled || s.Verified != 0 {
		t.Fatalf("status %+v, error %+v", s, s.Error)
	}
	synctest.Wait()
	a.open(t, rate)
	return a
}

func prepare(t *testing.T, bob func(lease.Work, job.Task) *job.Result) *audit {
	t.Helper()
	if bob == nil {
		bob = truth
	}
	a := &audit{tn: juryTown(t, 10*time.Millisecond, "bob"), c: &court{people: map[[32]byte]*juror{}, examine: examine}}
	a.tn.court, a.tn.folk[0].answer = a.c, bob
	a.jack, a.jill, a.mallory = a.c.arrive(t, "jack", "jack", "10.1.0.0/24"), a.c.arrive(t, "jill", "jill", "10.2.0.0/24"), a.c.arrive(t, "mallory", "mallory", "10.3.0.0/24")
	a.r, a.stop = a.tn.life()
	return a
}

// open opens the audit of the last voucher that bob has.
func (a *audit) open(t *testing.T, rate uint64) {
	t.Helper()
	bob := a.tn.folk[0]
	bob.mu.Lock()
	defer bob.mu.Unlock()
	if len(bob.paid) != 1 {
		t.Fatalf("bob has %d leases", len(bob.paid))
	}
	for id, vouchers := range bob.paid {
		v := vouchers[len(vouchers)-1].Voucher
		a.h = Hearing{Matter: trust.Matter{Chain: a.tn.bank.ID(), Node: sum("bob"), Sequence: 1, Seed: sum("seed")}, Lease: bob.book.leases[id].Terms.Key(), Root: v.Root,
			Span: trust.Span{Tasks: v.Usage.Tasks, Work: v.Usage.Work}, Rate: rate, Jurors: 2}
	}
	a.h.Draws = a.h.draw().Len()
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	a.c.hearings = append(a.c.hearings, a.h)
}

func sum(s string) [32]byte { return sha256.Sum256([]byte(s)) }

// close ends alice and bob, who have heard from the chain of nothing that it refused.
func (a *audit) close(t *testing.T) {
	t.Helper()
	a.stop()
	a.tn.closeBooks()
	if len(a.c.refused) > 0 {
		t.Errorf("the chain refused: %v", a.c.refused)
	}
}

// looks lets alice look at the audits a few times.
func (a *audit) looks() {
	time.Sleep(3 * a.r.cfg.Court)
	synctest.Wait()
}

func (a *audit) verified(t *testing.T) int {
	t.Helper()
	s, err := a.r.Job(context.Background(), a.job)
	if err != nil {
		t.Fatal(err)
	}
	return s.Verified
}

func (a *audit) panel(n uint64) trust.Matter { return panelOf(a.h, n).matter() }

// lies makes a juror tell another answer about one draw.
func lies(draw uint64) func(uint64, *trust.Say) {
	return func(d uint64, s *trust.Say) {
		if d == draw {
			s.Answer[0]++
		}
	}
}

// Jack and jill find what bob said. Their panels are attested in order, however they come, together in one message; alice is another process in between, and the job is long settled.
func TestJurorsFindWhatBobSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := hold(t, trust.Whole, nil)
		defer a.close(t)
		sit(t, a.r, a.panel(0), a.jack, a.jill)
		if n := a.verified(t); n != trust.PanelSize {
			t.Errorf("%d tasks are verified", n)
		}
		sit(t, a.r, a.panel(2), a.jill, a.jack)
		a.stop()
		a.r, a.stop = a.tn.life()
		for _, n := range []uint64{3, 2} {
			sit(t, a.r, a.panel(n), a.jack, a.jill)
		}
		if n := a.verified(t); n != trust.PanelSize {
			t.Errorf("%d tasks are verified before panel 1 is heard", n)
		}
		sit(t, a.r, a.panel(1), a.jack, a.jill)
		if got := a.c.found(); !reflect.DeepEqual(got, [][]uint64{{0}, {1, 2, 3}}) {
			t.Errorf("attested are %v", got)
		}
		if n := a.verified(t); n != audited {
			t.Errorf("%d tasks are verified, bob did %d", n, audited)
		}
		for _, history := range a.r.Histories() {
			for _, r := range history {
				if r.Right != audited {
					t.Errorf("bob's record is %+v", r)
				}
			}
		}
		if cost, err := a.r.Cost(t.Context(), a.job); err != nil || cost.Juries != 8 || cost.Leases[0].Juries != 8 {
			t.Errorf("two jurors of four panels were paid: %+v, %v", cost, err)
		}
		a.looks()
		if len(a.r.panels) > 0 || len(a.c.asked()) > 0 {
			t.Errorf("%d panels and %d disputes are left", len(a.r.panels), len(a.c.asked()))
		}
	})
}

// Points of work are drawn, some in one task, which is run, and paid for, once.
func TestJurorsRunATaskOnceThatWasDrawnTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := hold(t, trust.Whole*9/10, nil)
		defer a.close(t)
		h, err := a.jack.asks(a.r, a.panel(0))
		if err != nil {
			t.Fatal(err)
		}
		different := map[uint64]bool{}
		for _, s := range h.Statements {
			different[s.Task.Index] = true
		}
		if len(h.Statements) != trust.PanelSize || len(different) == trust.PanelSize {
			t.Fatalf("%d statements of %d tasks", len(h.Statements), len(different))
		}
		sit(t, a.r, a.panel(0), a.jack, a.jill)
		if n := a.verified(t); n != len(different) {
			t.Errorf("%d tasks are verified, %d were drawn", n, len(different))
		}
	})
}

// The job is under way when jurors find that its first tasks are right. Alice is killed, and remembers.
func TestVerifiedWhileTheJobIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := prepare(t, nil)
		defer a.close(t)
		a.job = submit(t, a.r, a.tn.dearCount(audited))
		time.Sleep(time.Second)
		synctest.Wait()
		a.open(t, trust.Whole)
		if a.h.Draws == 0 || a.h.Draws >= trust.PanelSize {
			t.Fatalf("%d tasks are paid for", a.h.Draws)
		}
		sit(t, a.r, a.panel(0), a.jack, a.jill)
		want := int(a.h.Draws)
		if s, err := a.r.Job(context.Background(), a.job); err != nil || s.State.Final() || s.Verified != want {
			t.Errorf("%+v, %v; %d were looked at", s, err, want)
		}
		a.stop()
		a.r, a.stop = a.tn.life()
		synctest.Wait()
		if s := finish(t, a.r, a.job); s.State != job.Settled || s.Verified != want {
			t.Errorf("status %+v, error %+v; %d were looked at", s, s.Error, want)
		}
	})
}

// The chain takes the attestation, and alice does not hear of it. What was found counts all the same.
func TestTheAnswerToAnAttestationIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := hold(t, trust.Whole, nil)
		defer a.close(t)
		a.c.lost = true
		sit(t, a.r, a.panel(0), a.jack, a.jill)
		a.looks()
		if n := a.verified(t); n != trust.PanelSize || !reflect.DeepEqual(a.c.found(), [][]uint64{{0}}) {
			t.Errorf("%d tasks are verified, attested are %v", n, a.c.found())
		}
	})
}

// Mallory says something else about one result. There is one dispute, with jack as the other witness, and nobody else looks at the panel until the verdict, also where the first jury does not come together. Then she loses her place for good, he keeps
// his, and jill comes.
func TestAWrongJurorLosesItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const draw = trust.PanelSize + 5
		a := hold(t, trust.Whole, nil)
		defer a.close(t)
		a.mallory.lie = lies(draw)
		m := a.panel(1)
		sit(t, a.r, a.panel(0), a.jack, a.jill)
		sit(t, a.r, m, a.jack, a.mallory)
		a.looks()
		asked := a.c.asked()
		if len(asked) != 1 {
			t.Fatalf("%d disputes", len(asked))
		}
		q := asked[0]
		place, _ := a.h.draw().At(draw)
		if q.Draw != draw || q.Place != place || q.Accused != 0 || len(q.Witnesses) != 2 || q.Witnesses[0].Juror != a.jack.node || q.Witnesses[1].Juror != a.mallory.node {
			t.Errorf("%+v", q)
		}
		for _, o := range []Outcome{NoJury, AccusedRight} {
			if h, err := a.jill.asks(a.r, m); err != nil || h.Stage != lease.StageFilled {
				t.Errorf("jill looks at it before there is a verdict: %+v, %v", h, err)
			}
			a.c.ends(o)
			a.looks()
		}
		if h, err := a.mallory.asks(a.r, m); err != nil || h.Stage != lease.StageFilled {
			t.Errorf("mallory may come again: %+v, %v", h, err)
		}
		sit(t, a.r, m, a.jill, a.jack) // he tells it again
		a.looks()
		if got := a.c.found(); !reflect.DeepEqual(got, [][]uint64{{0}, {1}}) || len(a.c.asked()) != 2 {
			t.Errorf("attested are %v, %d disputes", got, len(a.c.asked()))
		}
		if n := a.verified(t); n != 2*trust.PanelSize {
			t.Errorf("%d tasks are verified", n)
		}
	})
}

// Bob lies about one task: its result is another, or it took less work than he is paid for. Both jurors find that, and are heard by the chain.
func TestBobIsFoundOut(t *testing.T) {
	const wrong = 17
	for name, lie := range map[string]func(*job.Result){
		"another result": func(r *job.Result) { r.Stdout = text("made up") },
		"more work":      func(r *job.Result) { r.Usage.Work *= 1000 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := hold(t, trust.Whole, func(w lease.Work, k job.Task) *job.Result {
					r := truth(w, k)
					if k.Index == wrong {
						lie(r)
					}
					return r
				})
				defer a.close(t)
				sit(t, a.r, a.panel(0), a.jack, a.jill)
				asked := a.c.asked()
				if len(asked) != 1 || asked[0].Shown.Index != wrong || asked[0].Accused != 0 || len(asked[0].Witnesses) != 2 {
					t.Fatalf("%+v", asked)
				}
				a.c.mu.Lock()
				a.c.hearings = nil // he is convicted
				a.c.mu.Unlock()
				a.looks()
				if n := a.verified(t); n != 0 || len(a.c.found()) > 0 || len(a.r.panels) > 0 {
					t.Errorf("%d tasks are verified, attested are %v, %d panels are left", n, a.c.found(), len(a.r.panels))
				}
			})
		})
	}
}

// Mallory's work is another than jack's, and so is what she says. The chain knows one work of a panel: she is the only witness.
func TestWitnessesFoundTheSameWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := hold(t, trust.Whole, nil)
		defer a.close(t)
		a.mallory.lie, a.mallory.more = lies(3), 1
		sit(t, a.r, a.panel(0), a.jack, a.mallory)
		if asked := a.c.asked(); len(asked) != 1 || len(asked[0].Witnesses) != 1 || asked[0].Witnesses[0].Juror != a.mallory.node {
			t.Fatalf("%+v", asked)
		}
		a.c.ends(AccusedRight)
		a.looks()
		sit(t, a.r, a.panel(0), a.jack, a.jill)
		if got := a.c.found(); !reflect.DeepEqual(got, [][]uint64{{0}}) {
			t.Errorf("attested are %v", got)
		}
	})
}

// Who says what bob said, and wants to be paid for more work, has no place; nobody is asked about that.
func TestWorkThatIsNotThatOfTheLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := hold(t, trust.Whole, nil)
		defer a.close(t)
		a.mallory.more = 1000
		sit(t, a.r, a.panel(0), a.mallory, a.jack)
		if h, err := a.mallory.asks(a.r, a.panel(0)); err != nil || h.Stage != lease.StageFilled || len(a.c.asked()) > 0 || len(a.c.found()) > 0 {
			t.Errorf("%+v, %v; %d disputes, attested are %v", h, err, len(a.c.asked()), a.c.found())
		}
		sit(t, a.r, a.panel(0), a.jill)
		if got := a.c.found(); !reflect.DeepEqual(got, [][]uint64{{0}}) {
			t.Errorf("attested are %v", got)
		}
	})
}

func TestNobodyRevealsBeforeAllAreBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := hold(t, trust.Whole, nil)
		defer a.close(t)
		m := a.panel(0)
		jacks, jackSays := a.jack.looks(t, a.r, m)
		jills, jillSays := a.jill.looks(t, a.r, m)
		stage := func(j *juror, vote *lease.Vote, voice *lease.Voice, want lease.Stage) {
			t.Helper()
			if h, err := j.says(a.r, m, vote, voice); err != nil || h.Stage != want {
				t.Errorf("%s is %q, %v; wanted %q", j.owner, h.Stage, err, want)
			}
		}
		refused := func(j *juror, vote *lease.Vote, voice *lease.Voice, why string) {
			t.Helper()
			if h, err := j.says(a.r, m, vote, voice); err == nil || err.Error() != "hearing: "+why {
				t.Errorf("%s: %+v, %v; wanted %q", j.owner, h, err, why)
			}
		}
		refused(a.jack, nil, &jackSays, "this juror has no place")
		stage(a.jack, &jacks, nil, lease.StageWaiting)
		stage(a.jack, &jacks, nil, lease.StageWaiting) // he may ask again
		refused(a.jack, nil, &jackSays, "nobody reveals before all are bound")
		stage(a.jill, &jills, nil, lease.StageCommitted)
		stage(a.jack, &jacks, nil, lease.StageCommitted)
		other := trust.Commitment(trust.Voice{}, a.jack.node, [32]byte{})
		refused(a.jack, &lease.Vote{Commitment: other, Work: jacks.Work, Signature: m.SignVoice(other, jacks.Work, a.jack.key)}, nil, "this juror is bound to something else")
		refused(a.jack, &lease.Vote{Commitment: jacks.Commitment, Work: 1, Signature: m.SignVoice(jacks.Commitment, 1, a.jack.key)}, nil, "this juror is bound to something else")
		const closed = "that does not open the commitment"
		refused(a.jack, nil, &jillSays, closed)
		refused(a.jack, nil, &lease.Voice{Says: jackSays.Says[1:], Salt: jackSays.Salt}, closed)
		refused(a.jack, nil, &lease.Voice{Says: jackSays.Says, Salt: [32]byte{9}}, closed)
		stage(a.jack, nil, &jackSays, lease.StageHeard)
		stage(a.jack, &jacks, nil, lease.StageHeard)
		if len(a.c.found()) > 0 {
			t.Error("the panel is attested without jill")
		}
		stage(a.jill, nil, &jillSays, lease.StageHeard)
		synctest.Wait()
		if got := a.c.found(); !reflect.DeepEqual(got, [][]uint64{{0}}) {
			t.Errorf("attested are %v", got)
		}
	})
}

// A place beside jack is not for whoever shares his owner or network, and when all are taken it is for nobody.
func TestPlacesAreFilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := hold(t, trust.Whole, nil)
		defer a.close(t)
		m := a.panel(0)
		bind := func(j *juror, want lease.Stage) {
			t.Helper()
			c := trust.Commitment(trust.Voice{}, j.node, [32]byte{})
			if h, err := j.says(a.r, m, &lease.Vote{Commitment: c, Work: 1, Signature: m.SignVoice(c, 1, j.key)}, nil); err != nil || h.Stage != want {
				t.Errorf("%s is %q, %v; wanted %q", j.owner, h.Stage, err, want)
			}
			if h, err := j.asks(a.r, m); err != nil || (h.Stage == lease.StageFilled) != (want == lease.StageFilled) || (len(h.Statements) == 0) != (want == lease.StageFilled) {
				t.Errorf("%s is told %q and %d statements, %v", j.owner, h.Stage, len(h.Statements), err)
			}
		}
		bind(a.jack, lease.StageWaiting)
		bind(a.c.arrive(t, "jack's other PC", "jack", "10.9.0.0/24"), lease.StageFilled)
		bind(a.c.arrive(t, "jack's neighbour", "jo", a.jack.network), lease.StageFilled)
		a.jill.network, a.mallory.network = "", ""
		bind(a.jill, lease.StageCommitted)
		bind(a.mallory, lease.StageFilled)
		bind(a.jack, lease.StageCommitted)
		a.jack.network, m = "", a.panel(1) // where networks do not count
		bind(a.jack, lease.StageWaiting)
		bind(a.jill, lease.StageCommitted)
	})
}

// Mallory binds herself to fewer words than there are draws, or to more, and opens that truly. Alice does not judge by them.
func TestAJurorSpeaksOnEveryDraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := hold(t, trust.Whole, nil)
		defer a.close(t)
		m := a.panel(3) // of few draws
		vote, voice := a.jack.looks(t, a.r, m)
		if _, err := a.jack.says(a.r, m, &vote, nil); err != nil {
			t.Fatal(err)
		}
		_, hers := a.mallory.looks(t, a.r, m)
		says := hers.Says[:len(hers.Says)-1]
		c := trust.Commitment(trust.Sum(says), a.mallory.node, hers.Salt)
		if h, err := a.mallory.says(a.r, m, &lease.Vote{Commitment: c, Work: vote.Work, Signature: m.SignVoice(c, vote.Work, a.mallory.key)}, nil); err != nil || h.Stage != lease.StageCommitted {
			t.Fatalf("mallory is %q, %v", h.Stage, err)
		}
		for _, some := range [][]trust.Say{nil, says, hers.Says, append(slices.Clone(hers.Says), hers.Says[0])} {
			if h, err := a.mallory.says(a.r, m, nil, &lease.Voice{Says: some, Salt: hers.Salt}); err == nil {
				t.Errorf("%d words on %d draws: %q", len(some), len(hers.Says), h.Stage)
			}
		}
		if h, err := a.jack.says(a.r, m, nil, &voice); err != nil || h.Stage != lease.StageHeard {
			t.Errorf("jack is %q, %v", h.Stage, err)
		}
		a.looks()
		if len(a.c.found()) > 0 || len(a.c.asked()) > 0 {
			t.Errorf("attested are %v, %d disputes", a.c.found(), len(a.c.asked()))
		}
	})
}

// Alice hears nobody who was not drawn, and about nothing that is not open, hers or there.
func TestWhomAliceDoesNotHear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := hold(t, trust.Whole, nil)
		defer a.close(t)
		stranger := a.c.arrive(t, "stranger", "stranger", "")
		stranger.drawn = false
		theirs := a.h // somebody else pays for it
		theirs.Matter.Sequence, theirs.Lease = 7, voucher.ID{7}
		a.c.hearings = append(a.c.hearings, theirs)
		round := Round{Matter: trust.Matter{Chain: a.h.Matter.Chain, Node: a.h.Matter.Node, Sequence: 1, Place: 1, Round: 1}, Lease: theirs.Lease}
		a.c.rounds = []Round{round}
		sit(t, a.r, a.panel(0), a.jack, a.jill)
		other := func(change func(*trust.Matter)) trust.Matter {
			m := a.panel(1)
			change(&m)
			return m
		}
		for name, m := range map[string]trust.Matter{
			"a panel that is attested":     a.panel(0),
			"a panel behind the last":      a.panel(4),
			"another redemption":           other(func(m *trust.Matter) { m.Sequence++ }),
			"another provider":             other(func(m *trust.Matter) { m.Node[0]++ }),
			"a lease that others pay":      theirs.Matter,
			"a dispute of nobody":          other(func(m *trust.Matter) { m.Round = 1 }),
			"a dispute of others":          round.Matter,
			"a round that has not come":    {Node: round.Matter.Node, Sequence: 1, Place: 1, Round: 2},
			"a panel of the wrong dispute": {Node: round.Matter.Node, Sequence: 1, Place: 9, Round: 1},
		} {
			if h, err := a.jack.asks(a.r, m); err == nil || len(h.Statements) > 0 {
				t.Errorf("%s: %+v", name, h)
			}
		}
		for name, m := range map[string]trust.Matter{"a seed of his own": other(func(m *trust.Matter) { m.Seed[0]++ }), "another chain": other(func(m *trust.Matter) { m.Chain = "x" })} {
			if h, err := a.jack.asks(a.r, m); err == nil {
				t.Errorf("jack was drawn for %s: %+v", name, h)
			}
		}
		if h, err := stranger.asks(a.r, a.panel(1)); err == nil {
			t.Errorf("the stranger is told %d statements", len(h.Statements))
		}
		vote, _ := a.jack.looks(t, a.r, a.panel(1))
		if h, err := a.jill.says(a.r, a.panel(1), &vote, nil); err == nil {
			t.Errorf("jill hands in jack's vote: %q", h.Stage)
		}
		for _, b := range [][]byte{nil, {0xa0}, make([]byte, lease.MaxAsk+1)} {
			if _, err := a.r.Hear(context.Background(), a.jack.id, b); err == nil {
				t.Errorf("%d bytes are heard", len(b))
			}
		}
		if len(a.r.panels) != 1 || len(a.r.panels[a.panel(1)].seats) > 0 {
			t.Errorf("alice keeps %v", a.r.panels)
		}
	})
}

// In a dispute jack is given the statement of the leaf that it is about, in both rounds.
func TestAJurorOfADispute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := hold(t, trust.Whole, nil)
		defer a.close(t)
		id := slices.Collect(maps.Keys(a.tn.folk[0].paid))[0]
		for _, place := range []uint64{0, 99, audited - 1} {
			want, err := a.r.Leaf(context.Background(), id, place, audited)
			if err != nil {
				t.Fatal(err)
			}
			for n := uint64(1); n <= 2; n++ {
				d := Round{Matter: trust.Matter{Chain: a.h.Matter.Chain, Node: a.h.Matter.Node, Sequence: 1, Place: 5, Round: n, Seed: sum("later")}, Lease: a.h.Lease, Place: place}
				a.c.rounds = []Round{d}
				h, err := a.jack.asks(a.r, d.Matter)
				if err != nil || len(h.Statements) != 1 || trust.Digest(h.Statements[0].Digest()) != want.Leaf.Statement || h.Statements[0].Task.Index != want.Index {
					t.Errorf("place %d, round %d: %+v, %v", place, n, h, err)
				}
				a.mallory.drawn = false
				if h, err := a.mallory.asks(a.r, d.Matter); err == nil {
					t.Errorf("mallory was not drawn, and is told %+v", h)
				}
			}
		}
	})
}

// Mallory binds herself and is never heard of again. She keeps no panel from its end: another takes her place; and when she does it once more she has none any more. It is no help to her if she binds
// herself again and again, once the others wait for what she found.
func TestASilentJurorLosesItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := hold(t, trust.Whole, nil)
		defer a.close(t)
		m := a.panel(0)
		bind := func(j *juror, want lease.Stage) {
			t.Helper()
			c := trust.Commitment(trust.Voice{}, j.node, [32]byte{})
			if h, err := j.says(a.r, m, &lease.Vote{Commitment: c, Work: 1, Signature: m.SignVoice(c, 1, j.key)}, nil); err != nil || h.Stage != want {
				t.Errorf("%s is %q, %v; wanted %q", j.owner, h.Stage, err, want)
			}
		}
		bind(a.mallory, lease.StageWaiting)
		time.Sleep(a.r.cfg.Silence)
		a.looks()
		bind(a.mallory, lease.StageWaiting)
		bind(a.jack, lease.StageCommitted)
		for range 4 {
			bind(a.mallory, lease.StageCommitted)
			time.Sleep(a.r.cfg.Silence / 4)
		}
		a.looks()
		bind(a.mallory, lease.StageFilled)
		sit(t, a.r, m, a.jack, a.jill)
		a.looks()
		if found := a.c.found(); len(found) != 1 {
			t.Errorf("attested are %v", found)
		}
	})
}
