package requester

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/sortition"
	"github.com/hpips/hpips/spec/trust"
	"github.com/hpips/hpips/spec/voucher"
)

// court is a chain of audits in one process. It takes nothing that the chain's rules refuse, and keeps what it was told.
type court struct {
	mu        sync.Mutex
	hearings  []Hearing
	rounds    []Round
	recent    []Hearing
	convicted time.Time
	people    map[[32]byte]*juror
	lost      bool // what it answers to an attestation is lost
	attested  [][]Attestation
	disputes  []Question
	refused   []error
	verdicts  []Verdict
	full      int           // disputes that have room at once; 0: all
	delay     time.Duration // until a block holds a dispute
	canaries  float64
	examine   Examine
}

var _ Court = (*court)(nil)

func (c *court) Hearings(context.Context) ([]Hearing, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.hearings), nil
}

func (c *court) Recent(context.Context, [32]byte) ([]Hearing, time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.recent), c.convicted, nil
}

// Verdicts are of the one redemption there is.
func (c *court) Verdicts(context.Context, [32]byte, uint64) ([]Verdict, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.verdicts), true, nil
}

// ends lets the last dispute end. What found no jury may be asked again, and has no verdict from then on.
func (c *court) ends(o Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.disputes[len(c.disputes)-1]
	c.verdicts = append(c.verdicts, Verdict{q.Place, q.About(), o, o == NoJury})
}

// givesUp ends the last dispute: there was no jury, and it may not be asked again.
func (c *court) givesUp() {
	c.ends(NoJury)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.verdicts[len(c.verdicts)-1].Again = false
}

// Paid is one for each juror of an attested panel, whichever lease it was of.
func (c *court) Paid(context.Context, voucher.ID) (paid uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, panels := range c.attested {
		for _, p := range panels {
			paid += uint64(len(p.Voices))
		}
	}
	return paid, nil
}

func (c *court) Rounds(context.Context) ([]Round, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.rounds), nil
}

// Admit hears who is known, was drawn, and shows a proof of its own for this matter.
func (c *court) Admit(_ context.Context, m trust.Matter, places int, node [32]byte, proof sortition.Proof) (Juror, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if want := []int{2, trust.Second, trust.Third}[m.Round]; places != want {
		return Juror{}, fmt.Errorf("%d places of round %d", places, m.Round)
	}
	return c.admit(m, node, proof)
}

func (c *court) admit(m trust.Matter, node [32]byte, proof sortition.Proof) (Juror, error) {
	j := c.people[node]
	if j != nil && j.barred {
		return Juror{}, fmt.Errorf("juror %x: %w", node[:4], ErrNoTicket)
	}
	if j == nil || !j.drawn {
		return Juror{}, fmt.Errorf("juror %x was not drawn", node[:4])
	}
	beta, err := sortition.Verify(node, m.Alpha(), proof)
	return Juror{Node: node, Owner: j.owner, Network: j.network, Beta: beta}, err
}

// voice checks what a juror of a panel said.
func (c *court) voice(h Hearing, panel, work uint64, v Testimony) (Juror, error) {
	p := panelOf(h, panel)
	j, err := c.admit(p.matter(), v.Juror, v.Proof)
	if err != nil {
		return j, err
	}
	if uint64(len(v.Says)) != p.count() {
		return j, fmt.Errorf("%d words on %d draws", len(v.Says), p.count())
	}
	return j, p.matter().CheckVoice(v.Juror, trust.Commitment(trust.Sum(v.Says), v.Juror, v.Salt), work, v.Signature)
}

func panelOf(h Hearing, number uint64) *panel { return &panel{hearing: h, number: number} }

// voices checks those who spoke together.
func (c *court) voices(h Hearing, panel, work uint64, all []Testimony) error {
	var owners, networks []string
	for _, v := range all {
		j, err := c.voice(h, panel, work, v)
		if err != nil {
			return err
		}
		if slices.Contains(owners, j.Owner) || j.Network != "" && slices.Contains(networks, j.Network) {
			return fmt.Errorf("two jurors of %s or %s", j.Owner, j.Network)
		}
		owners, networks = append(owners, j.Owner), append(networks, j.Network)
	}
	return nil
}

func (c *court) Attest(_ context.Context, h Hearing, panels []Attestation) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() { c.note(err) }()
	i := slices.IndexFunc(c.hearings, func(open Hearing) bool { return open.Matter == h.Matter })
	if i < 0 {
		return errors.New("no such audit is open")
	}
	open := &c.hearings[i]
	if len(panels) == 0 || len(panels) > mostAttested {
		return fmt.Errorf("%d panels", len(panels))
	}
	for n, p := range panels {
		if p.Panel != open.Attested+uint64(n) || len(p.Voices) != open.Jurors {
			return fmt.Errorf("panel %d with %d jurors, %d are attested", p.Panel, len(p.Voices), open.Attested)
		}
		if err := c.voices(*open, p.Panel, p.Work, p.Voices); err != nil {
			return err
		}
		for _, v := range p.Voices {
			if trust.Sum(v.Says).Result != trust.Sum(p.Voices[0].Says).Result {
				return errors.New("the jurors differ")
			}
		}
	}
	c.attested = append(c.attested, panels)
	if open.Attested += uint64(len(panels)); open.Attested == trust.Panels(open.Draws) {
		c.hearings = slices.Delete(c.hearings, i, i+1)
	}
	if c.lost {
		return errors.New("the answer is lost")
	}
	return nil
}

func (c *court) Dispute(_ context.Context, q Question) (err error) {
	time.Sleep(c.delay)
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() { c.note(err) }()
	h, l := q.Hearing, q.Shown.Leaf
	if c.full > 0 && len(c.disputes) >= c.full {
		return errFull
	}
	if err := trust.CheckPath(h.Root, h.size(), q.Place, l.Seal(q.Shown.Salt), q.Shown.Path); err != nil {
		return err
	}
	if len(q.Witnesses) > 0 && !h.draw().Hits(q.Draw, q.Place, l) {
		return fmt.Errorf("draw %d does not fall on place %d", q.Draw, q.Place)
	}
	told := func(v Verdict) bool { return v.Place == q.Place && v.Again }
	if slices.ContainsFunc(c.disputes, func(before Question) bool { return before.Place == q.Place && before.Accused == q.Accused }) && !slices.ContainsFunc(c.verdicts, told) {
		return errors.New("that was asked before")
	}
	if err := c.voices(h, q.Draw/trust.PanelSize, q.Work, q.Witnesses); err != nil {
		return err
	}
	differ := q.Accused > 0 || len(q.Witnesses) == 0 // alice found it herself
	for _, w := range q.Witnesses {
		differ = differ || w.Says[q.Draw%trust.PanelSize].Answer != l.Answer()
	}
	if !differ {
		return errors.New("everybody agrees")
	}
	c.verdicts = slices.DeleteFunc(c.verdicts, told)
	c.disputes = append(c.disputes, q)
	return nil
}

var errFull = errors.New("the lease has as many disputes as go at once")

func (c *court) note(err error) {
	if err != nil && !c.lost && !errors.Is(err, errFull) && !errors.Is(err, ErrNoTicket) {
		c.refused = append(c.refused, err)
	}
}

// found are the panels that were attested, as their numbers, message by message.
func (c *court) found() (numbers [][]uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.attested {
		var some []uint64
		for _, p := range m {
			some = append(some, p.Panel)
		}
		numbers = append(numbers, some)
	}
	return numbers
}

// paid are the fees of each juror: one for each panel that was attested with it.
func (c *court) paid() map[[32]byte]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	fees := map[[32]byte]int{}
	for _, m := range c.attested {
		for _, p := range m {
			for _, v := range p.Voices {
				fees[v.Juror]++
			}
		}
	}
	return fees
}

func (c *court) asked() []Question {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.disputes)
}

// juror is a node that looks at what others did.
type juror struct {
	key            ed25519.PrivateKey
	node           [32]byte
	id             peer.ID
	owner, network string
	drawn          bool
	barred         bool
	lie            func(draw uint64, s *trust.Say)              // nil: it says what it finds
	more           uint64                                       // work than it did
	runs           func(lease.Statement) (trust.Digest, uint64) // nil: as it is
	salt           [32]byte
}

func (c *court) arrive(t testing.TB, name, owner, network string) *juror {
	t.Helper()
	seed := sha256.Sum256([]byte("juror " + name))
	secret, public, err := crypto.GenerateEd25519Key(bytes.NewReader(seed[:]))
	if err != nil {
		t.Fatal(err)
	}
	raw, err1 := secret.Raw()
	id, err2 := peer.IDFromPublicKey(public)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	j := &juror{key: raw, id: id, owner: owner, network: network, drawn: true}
	j.node = [32]byte(j.key.Public().(ed25519.PublicKey))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.people[j.node] = j
	return j
}

// says puts a word to alice, and reads her answer, both as bytes.
func (j *juror) says(r *Requester, m trust.Matter, vote *lease.Vote, voice *lease.Voice) (lease.Heard, error) {
	proof, err := sortition.Prove(j.key, m.Alpha())
	if err != nil {
		return lease.Heard{}, err
	}
	b, err := r.Hear(context.Background(), j.id, canon.MustEncode(lease.Ask{Node: m.Node, Sequence: m.Sequence, Place: m.Place, Round: m.Round, Proof: proof[:], Vote: vote, Voice: voice}))
	if err != nil {
		return lease.Heard{}, err
	}
	return lease.ReadHeard(b)
}

func (j *juror) asks(r *Requester, m trust.Matter) (lease.Heard, error) {
	return j.says(r, m, nil, nil)
}

// finds runs statements, each of several in a row once, and lies where it wants to.
func (j *juror) finds(m trust.Matter, all []lease.Statement) (says []trust.Say, work uint64) {
	proof, err := sortition.Prove(j.key, m.Alpha())
	if err != nil {
		panic(err)
	}
	beta, err := proof.Beta()
	if err != nil {
		panic(err)
	}
	for i, s := range all {
		answer, took := run(s)
		if j.runs != nil {
			answer, took = j.runs(s)
		}
		if i == 0 || all[i-1].Digest() != s.Digest() {
			work += took
		}
		draw := m.Place*trust.PanelSize + uint64(i)
		say := trust.Say{Answer: answer, State: at(s, trust.Point(beta[:], s.Digest(), took))}
		if j.lie != nil {
			j.lie(draw, &say)
		}
		says = append(says, say)
	}
	return says, work + j.more
}

// looks asks what there is to look at, runs it, and comes back with a commitment and what opens it.
func (j *juror) looks(t testing.TB, r *Requester, m trust.Matter) (lease.Vote, lease.Voice) {
	t.Helper()
	h, err := j.asks(r, m)
	if err != nil || h.Stage != "" {
		t.Fatalf("%s is not told what to look at: %q, %v", j.owner, h.Stage, err)
	}
	says, work := j.finds(m, h.Statements)
	c := trust.Commitment(trust.Sum(says), j.node, j.salt)
	return lease.Vote{Commitment: c, Work: work, Signature: m.SignVoice(c, work, j.key)}, lease.Voice{Says: says, Salt: j.salt}
}

// sit has jurors look at a panel, bind themselves and then tell.
func sit(t testing.TB, r *Requester, m trust.Matter, jury ...*juror) {
	t.Helper()
	votes, voices := make([]lease.Vote, len(jury)), make([]lease.Voice, len(jury))
	for i, j := range jury {
		votes[i], voices[i] = j.looks(t, r, m)
	}
	for i, j := range jury {
		if h, err := j.says(r, m, &votes[i], nil); err != nil || h.Stage == lease.StageFilled {
			t.Fatalf("%s is not bound: %q, %v", j.owner, h.Stage, err)
		}
	}
	for i, j := range jury {
		if h, err := j.says(r, m, nil, &voices[i]); err != nil || h.Stage != lease.StageHeard {
			t.Fatalf("%s is not heard: %q, %v", j.owner, h.Stage, err)
		}
	}
	synctest.Wait()
}

// truth is what comes of a task.
func truth(w lease.Work, t job.Task) *job.Result {
	r := honest(0)(w, t)
	r.Usage = job.Usage{CPU: 10_000_000, Wall: 10_000_000, Work: int64(1+t.Index%7) * 1000}
	return r
}

// run is an execution of a statement.
func run(s lease.Statement) (answer trust.Digest, work uint64) {
	r := truth(s.Work, s.Task)
	return trust.Answer(r.Digest(), uint64(r.Usage.Work)), uint64(r.Usage.Work)
}

// at is the state of an execution at a point.
func at(s lease.Statement, point uint64) trust.Digest {
	d := s.Digest()
	return sha256.Sum256(binary.BigEndian.AppendUint64(d[:], point))
}

// examine is alice's own execution.
func examine(_ context.Context, s lease.Statement, points []uint64) (answer trust.Digest, states []trust.Digest, err error) {
	answer, _ = run(s)
	for _, p := range points {
		states = append(states, at(s, p))
	}
	return answer, states, nil
}
