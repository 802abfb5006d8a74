package auditor

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/trust"
)

// keys are somebody's.
type keys struct{ secret ed25519.PrivateKey }

func keysOf(name string) keys {
	seed := sha256.Sum256([]byte(name))
	return keys{ed25519.NewKeyFromSeed(seed[:])}
}

func (k keys) Node() [32]byte { return [32]byte(k.secret.Public().(ed25519.PublicKey)) }

func (k keys) Prove(alpha []byte) (sortition.Proof, error) { return sortition.Prove(k.secret, alpha) }

func (k keys) Sign(m trust.Matter, commitment [32]byte, work uint64) ([]byte, error) {
	return ed25519.Sign(k.secret, fmt.Appendf(m.Alpha(), "%x%d", commitment, work)), nil
}

func (k keys) beta(t *testing.T, m trust.Matter) sortition.Beta {
	t.Helper()
	p, err := k.Prove(m.Alpha())
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Beta()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Who holds an old enough ticket, is no party and lives elsewhere draws for itself; about as many are called as are asked for.
func TestWhoMayCome(t *testing.T) {
	c := Call{Matter: trust.Matter{Chain: "c", Seed: [32]byte{1}}, Places: 2, Height: 100, Owners: []string{"bob", "alice"}, Network: "10.1"}
	s := Standing{Owner: "carol", Holds: true, Network: "10.2", Since: 99, Beside: 1, Tickets: 400}
	came := 0
	var first sortition.Beta
	for i := range 400 {
		if b := keysOf(fmt.Sprint("node ", i)).beta(t, c.Matter); c.Admits(s, b) {
			came++
			first = b
		}
	}
	if want := int(trust.Called(2)); came < want/2 || came > 2*want {
		t.Errorf("%d of 400 came, about %d are called", came, want)
	}
	for name, change := range map[string]func(*Standing){
		"no ticket": func(s *Standing) { s.Holds = false }, "a ticket that is too young": func(s *Standing) { s.Since = 100 }, "a node of the provider's owner": func(s *Standing) { s.Owner = "bob" },
		"a node of the payer's": func(s *Standing) { s.Owner = "alice" }, "the provider's network": func(s *Standing) { s.Network = "10.1" },
		"a thousand behind one line": func(s *Standing) { s.Beside = 1 << 40 },
	} {
		other := s
		if change(&other); c.Admits(other, first) {
			t.Errorf("%s may come", name)
		}
	}
	if few := (Standing{Owner: "carol", Holds: true, Since: 1, Beside: 1, Tickets: 3}); !c.Admits(few, sortition.Beta(bytes.Repeat([]byte{0xfe}, 64))) {
		t.Error("of three nodes one is not called")
	}
}

func TestPanelsOfAnAudit(t *testing.T) {
	a := Audit{Draws: 130, Panels: 1}
	var places []uint64
	for _, c := range a.Open() {
		places = append(places, c.Matter.Place)
	}
	first, n := a.Drawn(2)
	if !slices.Equal(places, []uint64{1, 2}) || first != 128 || n != 2 {
		t.Errorf("panels %v, the last from %d on with %d", places, first, n)
	}
	if first, n = a.Drawn(0); first != 0 || n != 64 {
		t.Errorf("the first from %d on with %d", first, n)
	}
	endless := Audit{Draws: 1 << 63, Panels: 5} // whoever redeems says how many
	if n := len(endless.Open()); n != mostPanels {
		t.Errorf("%d panels of an endless audit", n)
	}
}

// town is a chain with open matters, and alice who asked for the work.
type town struct {
	t *testing.T

	mu       sync.Mutex
	standing Standing
	stood    int // how often it was asked for
	audits   []Audit
	disputes []Dispute
	votes    map[uint64]Vote
	told     map[uint64]trust.Voice
	down     error
	refuses  error

	statements map[trust.Matter][]lease.Statement
	asked      int
	panels     map[trust.Matter]Vote
	said       map[trust.Matter][]trust.Say
	fails      error         // of alice's link
	together   chan struct{} // when the other jurors have come; nil: they have
}

func (v *town) Standing(context.Context) (Standing, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stood++
	return v.standing, v.down
}

func (v *town) Audits(context.Context) ([]Audit, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.audits), v.down
}

func (v *town) Disputes(context.Context) ([]Dispute, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.disputes), v.down
}

// good tells whether a vote is that of a juror who may make it.
func (v *town) good(m trust.Matter, vote Vote) {
	v.t.Helper()
	if _, err := sortition.Verify(vote.Juror, m.Alpha(), vote.Proof); err != nil {
		v.t.Errorf("proof of %x: %v", vote.Juror[:4], err)
	}
	if !ed25519.Verify(vote.Juror[:], fmt.Appendf(m.Alpha(), "%x%d", vote.Commitment, vote.Work), vote.Signature) {
		v.t.Errorf("signature of %x is wrong", vote.Juror[:4])
	}
}

func (v *town) dispute(id uint64) *Dispute {
	i := slices.IndexFunc(v.disputes, func(d Dispute) bool { return d.ID == id })
	return &v.disputes[i]
}

func (v *town) Commit(_ context.Context, of Dispute, vote Vote) error {
	id := of.ID
	v.mu.Lock()
	defer v.mu.Unlock()
	d := v.dispute(id)
	if v.refuses != nil || d.Committed {
		return errors.Join(v.refuses, errors.New("not taken"))
	}
	v.good(d.Matter, vote)
	v.votes[id], d.Committed = vote, true
	return nil
}

func (v *town) Reveal(_ context.Context, of Dispute, voice trust.Voice, salt [32]byte) error {
	id := of.ID
	v.mu.Lock()
	defer v.mu.Unlock()
	d := v.dispute(id)
	if vote := v.votes[id]; trust.Commitment(voice, vote.Juror, salt) != vote.Commitment || d.Revealed {
		v.t.Errorf("dispute %d: what is revealed is not what was committed to", id)
	}
	v.told[id], d.Revealed = voice, true
	return nil
}

// alice is the requester's end.
type alice struct{ *town }

func (alice) Peer() peer.ID { return "alice" }

func (a alice) Statements(_ context.Context, m trust.Matter, _ sortition.Proof) ([]lease.Statement, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	return a.statements[m], a.fails
}

func (a alice) Commit(ctx context.Context, m trust.Matter, vote Vote) error {
	a.mu.Lock()
	together, refuses := a.together, a.refuses
	if refuses == nil {
		a.good(m, vote)
		a.panels[m] = vote
	}
	a.mu.Unlock()
	if together != nil {
		select {
		case <-together:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return refuses
}

func (a alice) Reveal(_ context.Context, m trust.Matter, _ sortition.Proof, says []trust.Say, salt [32]byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if vote := a.panels[m]; trust.Commitment(trust.Sum(says), vote.Juror, salt) != vote.Commitment {
		a.t.Error("what is revealed to alice is not what was committed to")
	}
	a.said[m] = says
	return nil
}

// dave is a juror in a town of three nodes, so that he is always called.
type dave struct {
	*Juror
	*carol
	town *town
	keys keys
}

func founds(t *testing.T) *dave {
	t.Helper()
	v := &town{t: t, standing: Standing{Owner: "dave", Holds: true, Since: 1, Beside: 1, Tickets: 3}, votes: map[uint64]Vote{}, told: map[uint64]trust.Voice{},
		statements: map[trust.Matter][]lease.Statement{}, panels: map[trust.Matter]Vote{}, said: map[trust.Matter][]trust.Say{}}
	d := &dave{carol: sits(t), town: v, keys: keysOf("dave")}
	d.starts()
	return d
}

// starts begins a life of dave's node, which knows nothing of another one.
func (d *dave) starts() {
	dial := func(_ context.Context, of [32]byte) (Requester, error) {
		if of != [32]byte{8} {
			return nil, fmt.Errorf("lease %x is unknown", of[:4])
		}
		return alice{d.town}, nil
	}
	d.Juror = NewJuror(slog.New(slog.DiscardHandler), Deps{Keys: d.keys, Chain: d.town, Dial: dial, Examiner: d.carol.Examiner}, DefaultJuror())
}

// Where nothing is open, the chain is not asked how a juror stands.
func TestAJurorWithNothingToDoAsksLittle(t *testing.T) {
	d := founds(t)
	look := func() (asked int) {
		t.Helper()
		before := d.town.stood
		for _, err := range []error{d.Reveals(t.Context()), d.Rounds(t.Context()), d.Panels(t.Context())} {
			if err != nil {
				t.Fatal(err)
			}
		}
		return d.town.stood - before
	}
	if n := look(); n != 0 {
		t.Errorf("it was asked %d times", n)
	}
	a := d.audit(1, 0)
	a.Owners = append(a.Owners, "dave") // a party
	d.town.audits = []Audit{a}
	if n := look(); n != 1 {
		t.Errorf("for one audit it was asked %d times", n)
	}
}

// audit opens one with so many draws, of which the first ones are attested. Each draw is another task.
func (d *dave) audit(draws, attested uint64) Audit {
	a := Audit{Call: Call{Matter: trust.Matter{Chain: "c", Node: [32]byte{2}, Sequence: 3, Seed: [32]byte{4}}, Places: 2, Height: 9, Owners: []string{"bob", "alice"}}, Lease: [32]byte{8}, Draws: draws, Panels: attested, Budget: 1 << 40}
	for _, c := range a.Open() {
		first, n := a.Drawn(c.Matter.Place)
		for i := range n {
			s := d.statement()
			s.Task = job.Task{Index: 1000 + first + i}
			d.town.statements[c.Matter] = append(d.town.statements[c.Matter], s)
		}
	}
	d.town.audits = append(d.town.audits, a)
	return a
}

// disputed opens a dispute about a task, of the provider or, with a point, of a juror.
func (d *dave) disputed(id uint64, phase Phase, point *uint64) Dispute {
	s := d.statement()
	q := Dispute{Call: Call{Matter: trust.Matter{Chain: "c", Node: [32]byte{2}, Sequence: 3, Place: id, Round: 1, Seed: [32]byte{5}}, Places: 3, Height: 9}, ID: id, Lease: [32]byte{8}, Budget: 1 << 40, Phase: phase,
		Statement: s.Digest(), Point: point}
	d.town.statements[q.Matter] = []lease.Statement{s}
	d.town.disputes = append(d.town.disputes, q)
	return q
}

// say is what dave should say about a task of the program of a thousand instructions.
func (d *dave) say(s lease.Statement, beta sortition.Beta) trust.Say {
	r := job.Result{End: job.Exited, Stdout: job.Content{Inline: fmt.Append(nil, "HPIPS_INDEX=", s.Task.Index)}}
	return trust.Say{Answer: trust.Answer(r.Digest(), 1000), State: sha256.Sum256(fmt.Append(nil, trust.Point(beta[:], s.Digest(), 1000)))}
}

// Dave runs the draws of the panels that nobody has looked at, each with the point of its statement, and tells alice alone. Once is enough.
func TestAPanelIsJudged(t *testing.T) {
	d := founds(t)
	a := d.audit(67, 1)
	for range 2 {
		if err := d.Panels(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	m := a.Open()[0].Matter
	beta := d.keys.beta(t, m)
	var want []trust.Say
	for _, s := range d.town.statements[m] {
		want = append(want, d.say(s, beta))
	}
	if !slices.Equal(d.town.said[m], want) || d.town.panels[m].Work != 3000 || d.town.panels[m].Juror != d.keys.Node() || d.town.asked != 1 || len(d.town.said) != 1 {
		t.Errorf("said %x with work %d, asked %d times", d.town.said[m], d.town.panels[m].Work, d.town.asked)
	}
	if n := len(d.machine.opened); n != 1 {
		t.Errorf("for one panel %d sandboxes were begun", n)
	}
	d.leavesNothing()
	d.town.audits = nil
	if err := d.Panels(t.Context()); err != nil || len(d.over)+len(d.found) > 0 {
		t.Errorf("of closed audits %d and %d are remembered, %v", len(d.over), len(d.found), err)
	}
}

// What all draws of a panel take together is paid for up to a budget: past it dave says nothing, and does not run the rest.
func TestAPanelPastItsBudget(t *testing.T) {
	for budget, want := range map[uint64]struct{ runs, said int }{3000: {3, 1}, 2500: {3, 0}, 2000: {2, 0}, 1999: {2, 0}, 1000: {1, 0}} {
		d := founds(t)
		d.audit(3, 0)
		d.town.audits[0].Budget = budget
		runs := 0
		d.machine.play = func(task engine.Task, p engine.Program) engine.Outcome {
			runs++
			return honest(task, p)
		}
		for range 2 { // it is not tried again
			if err := d.Panels(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if runs != want.runs || len(d.town.said) != want.said {
			t.Errorf("of %d instructions: %d runs, spoke %d times, want %+v", budget, runs, len(d.town.said), want)
		}
		d.leavesNothing()
	}
}

// Draws that fall on one result, or on copies of one that were paid for one after the other, are run once, and dave says the same of each.
func TestARowIsRunOnce(t *testing.T) {
	d := founds(t)
	m := d.audit(6, 0).Open()[0].Matter
	all := d.town.statements[m]
	all[1], all[2], all[5] = all[0], all[0], all[0]
	runs := 0
	d.machine.play = func(task engine.Task, p engine.Program) engine.Outcome {
		runs++
		return honest(task, p)
	}
	if err := d.Panels(t.Context()); err != nil {
		t.Fatal(err)
	}
	beta := d.keys.beta(t, m)
	var want []trust.Say
	for _, s := range all {
		want = append(want, d.say(s, beta))
	}
	if said := d.town.said[m]; runs != 4 || d.town.panels[m].Work != 4000 || !slices.Equal(said, want) || said[0] != said[5] {
		t.Errorf("%d runs, work %d, said %x", runs, d.town.panels[m].Work, said)
	}
}

// A juror's word in a dispute: what it found, or what it found at somebody else's point. It commits itself, and tells when the time for that has come, also after its
// node was started anew.
func TestADisputeIsJudged(t *testing.T) {
	point := uint64(321)
	for name, row := range map[string]struct {
		point   *uint64
		restart bool
	}{"about the provider": {}, "about the provider, in two lives": {restart: true}, "about a juror": {point: &point}, "about a juror, in two lives": {point: &point, restart: true}} {
		t.Run(name, func(t *testing.T) {
			d := founds(t)
			q := d.disputed(7, Committing, row.point)
			step := func() {
				t.Helper()
				if err := errors.Join(d.Reveals(t.Context()), d.Rounds(t.Context())); err != nil {
					t.Fatal(err)
				}
			}
			step()
			step()
			if len(d.town.votes) != 1 || len(d.town.told) > 0 {
				t.Fatalf("%d votes, %d told", len(d.town.votes), len(d.town.told))
			}
			if row.restart {
				d.starts()
			}
			d.town.disputes[0].Phase = Revealing
			step()
			step()
			say := d.say(d.town.statements[q.Matter][0], d.keys.beta(t, q.Matter))
			want := trust.Voice{Result: say.Answer, State: say.State}
			if row.point != nil {
				want.Result = trust.WithState(say.Answer, sha256.Sum256(fmt.Append(nil, point)))
			}
			if d.town.told[7] != want || d.town.votes[7].Work != 0 {
				t.Errorf("told %x, want %x", d.town.told[7], want)
			}
			if asked := 1 + map[bool]int{true: 1}[row.restart]; d.town.asked != asked {
				t.Errorf("alice was asked %d times", d.town.asked)
			}
		})
	}
}

// What comes to nothing: some of it is tried again, some is not.
func TestWhatIsTriedAgain(t *testing.T) {
	look := func(d *dave) error {
		return errors.Join(d.Reveals(t.Context()), d.Rounds(t.Context()), d.Panels(t.Context()))
	}
	spoke := func(d *dave) int { return len(d.town.votes) + len(d.town.said) }
	for name, row := range map[string]struct {
		breaks, mends func(d *dave)
		later         int // what is said once it is mended
	}{
		"alice's link is down": {func(d *dave) { d.town.fails = errors.New("no link") }, func(d *dave) { d.town.fails = nil }, 2},
		"the lease's requester is not found": {func(d *dave) { d.town.audits[0].Lease, d.town.disputes[0].Lease = [32]byte{1}, [32]byte{1} },
			func(d *dave) { d.town.audits[0].Lease, d.town.disputes[0].Lease = [32]byte{8}, [32]byte{8} }, 2},
		"alice tells of another task":     {func(d *dave) { d.town.disputes[0].Statement[0]++ }, func(d *dave) { d.town.disputes[0].Statement[0]-- }, 2},
		"alice tells of one task too few": {func(d *dave) { d.town.audits[0].Draws++ }, func(d *dave) { d.town.audits[0].Draws-- }, 2},
		"dave was not called":             {func(d *dave) { d.town.standing.Since = 50 }, func(d *dave) { d.town.standing.Since = 1 }, 2},
		"the round waits for its seed":    {func(d *dave) { d.town.disputes[0].Phase = Waiting }, func(d *dave) { d.town.disputes[0].Phase = Committing }, 2},
		"dave's sandboxes broke":          {func(d *dave) { d.machine.open = errors.New("no child") }, func(d *dave) { d.machine.open = nil }, 0},
		"the round is over":               {func(d *dave) { d.town.refuses = ErrRefused }, func(d *dave) { d.town.refuses = nil }, 0},
		"there are jurors enough":         {func(d *dave) { d.town.refuses = ErrFull }, func(d *dave) { d.town.refuses = nil }, 0},
		"the chain did not take it yet":   {func(d *dave) { d.town.refuses = errors.New("full mempool") }, func(d *dave) { d.town.refuses = nil }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			d := founds(t)
			d.audit(2, 0)
			d.disputed(7, Committing, nil)
			row.breaks(d)
			before := map[string]int{"alice tells of another task": 1, "alice tells of one task too few": 1, "the round waits for its seed": 1}[name]
			for range 2 {
				if err := look(d); err != nil {
					t.Fatal(err)
				}
			}
			if n := spoke(d); n != before {
				t.Errorf("dave spoke %d times, want %d", n, before)
			}
			row.mends(d)
			if err := look(d); err != nil {
				t.Fatal(err)
			}
			if n := spoke(d); n != row.later {
				t.Errorf("once it is mended dave has spoken %d times, want %d", n, row.later)
			}
		})
	}
	d := founds(t)
	d.town.down = errors.New("no chain")
	if d.Reveals(t.Context()) == nil || d.Rounds(t.Context()) == nil || d.Panels(t.Context()) == nil {
		t.Error("a chain that is away is not told of")
	}
}

// One of a panel's jurors is silent and loses its place: dave, who was told that it is full, comes again.
func TestAPlaceIsFreeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := founds(t)
		d.audit(2, 0)
		look := func(want int) {
			t.Helper()
			if err := d.Panels(t.Context()); err != nil || len(d.town.said) != want {
				t.Fatalf("dave spoke in %d panels, want %d, %v", len(d.town.said), want, err)
			}
		}
		d.town.refuses = ErrFull
		look(0)
		d.town.refuses = nil
		look(0)       // it asks seldom
		for range 8 { // each time it waits twice as long, and not for ever
			d.town.refuses = ErrFull
			time.Sleep(mostAgain)
			look(0)
		}
		d.town.refuses = nil
		time.Sleep(mostAgain - time.Second)
		look(0)
		time.Sleep(time.Second)
		look(1)
	})
}

// A panel whose other juror does not come, and a program that runs for an hour, hold up no dispute that has a time.
func TestDisputesDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := founds(t)
		d.audit(1, 0)
		d.disputed(7, Committing, nil)
		d.town.together = make(chan struct{})
		d.machine.play = func(task engine.Task, p engine.Program) engine.Outcome {
			if task.Env[0] == "HPIPS_INDEX=1000" {
				time.Sleep(time.Hour)
			}
			return honest(task, p)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- d.Serve(ctx) }()
		synctest.Wait()
		d.town.mu.Lock()
		if len(d.town.votes) != 1 {
			t.Error("nothing is committed to")
		}
		d.town.disputes[0].Phase = Revealing
		d.town.mu.Unlock()
		time.Sleep(11 * time.Second)
		d.town.mu.Lock()
		if len(d.town.told) != 1 || len(d.town.panels) != 0 {
			t.Errorf("%d told, %d panels", len(d.town.told), len(d.town.panels))
		}
		d.town.mu.Unlock()
		time.Sleep(time.Hour + 15*time.Minute) // the execution, and the patience with alice
		d.town.mu.Lock()
		if len(d.town.panels) != 1 || len(d.town.said) != 0 {
			t.Errorf("%d panels, %d said", len(d.town.panels), len(d.town.said))
		}
		close(d.town.together)
		d.town.mu.Unlock()
		time.Sleep(time.Minute)
		d.town.mu.Lock()
		if len(d.town.said) != 1 || d.town.asked != 2 {
			t.Errorf("%d said, alice was asked %d times", len(d.town.said), d.town.asked)
		}
		d.town.mu.Unlock()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A task runs for longer than commitments are taken: dave has committed himself to nothing, so he owes no word, and is not asked to look again.
func TestALongTaskComesTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := founds(t)
		d.disputed(7, Committing, nil)
		runs := 0
		d.machine.play = func(task engine.Task, p engine.Program) engine.Outcome {
			if runs++; runs == 1 {
				time.Sleep(time.Hour)
				d.town.mu.Lock()
				d.town.disputes[0].Phase, d.town.refuses = Revealing, ErrRefused
				d.town.mu.Unlock()
			}
			return honest(task, p)
		}
		for range 3 {
			if err := errors.Join(d.Rounds(t.Context()), d.Reveals(t.Context())); err != nil {
				t.Fatal(err)
			}
		}
		if len(d.town.votes) != 0 || len(d.town.told) != 0 || runs != 1 {
			t.Errorf("%d votes, %d told, %d runs", len(d.town.votes), len(d.town.told), runs)
		}
	})
}
