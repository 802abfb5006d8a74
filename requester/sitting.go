package requester

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/trust"
)

// attend follows the audits of this node's leases until ctx ends.
func (r *Requester) attend(ctx context.Context) {
	if r.deps.Court == nil {
		return
	}
	tick := time.NewTicker(r.cfg.Court)
	defer tick.Stop()
	for {
		if err := r.sit(ctx); err != nil && ctx.Err() == nil {
			r.log.Debug("Audits are not followed just now", "err", err)
		}
		select {
		case <-tick.C:
		case <-r.heard:
		case <-ctx.Done():
			return
		}
	}
}

// sit looks once what came of questions and which audits are open, forgets the panels of others, judges panels that had all spoken when that could not be done, and tells the chain of those that can be attested.
func (r *Requester) sit(ctx context.Context) error {
	err := r.hearVerdicts(ctx)
	hearings, failed := r.deps.Court.Hearings(ctx)
	if failed != nil {
		return errors.Join(err, failed)
	}
	open := map[trust.Matter]struct{}{}
	for _, h := range hearings {
		m := h.Matter
		for m.Place = h.Attested; m.Place < trust.Panels(h.Draws); m.Place++ {
			open[m] = struct{}{}
		}
	}
	var waiting, told []*panel
	r.mu.Lock()
	for m, p := range r.panels {
		switch _, is := open[m]; {
		case !is:
			delete(r.panels, m)
			if p.judged { // it was attested, and the answer was lost
				told = append(told, p)
			}
		case p.due():
			waiting = append(waiting, p)
		default:
			p.quiet(r.now().Add(-r.cfg.Silence))
		}
	}
	r.mu.Unlock()
	for _, p := range told {
		err = errors.Join(err, r.verified(ctx, p))
	}
	for _, p := range waiting {
		err = errors.Join(err, r.judge(ctx, p))
	}
	for _, h := range hearings {
		err = errors.Join(err, r.attest(ctx, h))
	}
	return err
}

// panel finds the panel that a juror asks for.
func (r *Requester) panel(ctx context.Context, a lease.Ask) (*panel, error) {
	if p := r.seated(a); p != nil {
		return p, nil
	}
	hearings, err := r.deps.Court.Hearings(ctx)
	if err != nil {
		return nil, err
	}
	for _, h := range hearings {
		if h.Matter.Node != a.Node || h.Matter.Sequence != a.Sequence || a.Place < h.Attested || a.Place >= trust.Panels(h.Draws) {
			continue
		}
		if _, _, err := r.known(ctx, h.Lease); err != nil {
			return nil, err
		}
		m := h.Matter
		m.Place = a.Place
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.panels[m] == nil {
			r.panels[m] = &panel{hearing: h, number: a.Place}
		}
		return r.panels[m], nil
	}
	return nil, errNoHearing
}

func (r *Requester) seated(a lease.Ask) *panel {
	r.mu.Lock()
	defer r.mu.Unlock()
	for m, p := range r.panels {
		if m.Node == a.Node && m.Sequence == a.Sequence && m.Place == a.Place {
			return p
		}
	}
	return nil
}

// round finds the dispute that a juror asks for.
func (r *Requester) round(ctx context.Context, a lease.Ask) (Round, error) {
	all, err := r.deps.Court.Rounds(ctx)
	if err != nil {
		return Round{}, err
	}
	i := slices.IndexFunc(all, func(d Round) bool {
		return d.Matter.Node == a.Node && d.Matter.Sequence == a.Sequence && d.Matter.Place == a.Place && d.Matter.Round == a.Round
	})
	if i < 0 {
		return Round{}, errNoHearing
	}
	return all[i], nil
}

// known finds a lease of this node's by what the chain calls it.
func (r *Requester) known(ctx context.Context, key [32]byte) (id string, l lease.Lease, err error) {
	r.mu.Lock()
	l, is := r.sworn[key]
	r.mu.Unlock()
	if !is {
		all, err := r.journal.readPurses(ctx, `WHERE lease IN (SELECT DISTINCT lease FROM leaf)`)
		if err != nil {
			return "", l, err
		}
		r.mu.Lock()
		for _, p := range all {
			r.sworn[p.Lease.Terms.Key()] = p.Lease
		}
		l, is = r.sworn[key]
		r.mu.Unlock()
	}
	if !is {
		return "", l, errNoHearing
	}
	return l.ID(), l, nil
}

// judge compares what all jurors of a panel said with what the provider did.
//
//  1. A leaf about which any of them says something else is disputed: they are its witnesses, and keep their places until the verdict (verdicts.go), so that nobody looks in vain. Of several the one that found no jury least
//     often: nobody shields a lie with a doubt that nobody can settle.
//  2. Who says what the leaves say has done their work: who claims another has no place.
//  3. Now and then this node runs a draw again itself (canary). If it finds another result than all of them, it asks fresh jurors, and attests nothing; a juror whose state is another is accused,
//     and its place is for the next one.
//  4. What is left waits to be attested.
func (r *Requester) judge(ctx context.Context, p *panel) error {
	if p.asked {
		return nil
	}
	leaves, err := r.drawn(ctx, p)
	if err != nil {
		return err
	}
	q, doubts := p.doubt(leaves)
	if doubts > 0 && q == nil {
		p.asked = true // what is in doubt cannot be settled: the audit is passed
		return nil
	}
	if q != nil { // 1
		s, err := r.Statement(ctx, leaves[0].lease, q.Shown.Index)
		if err != nil {
			return err
		}
		if r.byChance(ctx, s.Work.Module) {
			p.asked = true // jurors can tell nothing about it: the audit is passed
			return nil
		}
		err = r.dispute(ctx, leaves[0].lease, *q)
		r.log.Warn("A juror found another result", "lease", leaves[0].lease, "place", q.Place, "err", err)
		if err != nil {
			return errors.Join(err, r.unseat(ctx, p))
		}
		p.question, p.asked = q, true
		return nil
	}
	r.mu.Lock()
	full := p.full()
	p.again = false
	r.mu.Unlock()
	if !full {
		return nil
	}
	work := worth(leaves)
	if !r.dismiss(p, func(s *seat) bool { return s.vote.Work != work }) { // 2
		return nil
	}
	if p.question == nil { // 3
		if p.question, err = r.canary(ctx, p, leaves, work); err != nil {
			r.log.Warn("A jury is not looked after", "lease", leaves[0].lease, "err", err)
		}
	}
	if p.question != nil {
		return r.accuse(ctx, leaves[0].lease, p)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p.judged = true // 4
	return nil
}

// dismiss takes the places of jurors for good, and tells whether all are still there.
func (r *Requester) dismiss(p *panel, wrong func(*seat) bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range p.seats {
		if wrong(s) {
			p.dismissed = append(p.dismissed, s.juror.Node)
		}
	}
	p.seats = slices.DeleteFunc(p.seats, wrong)
	return p.full()
}

// unseat takes the places of jurors whose ticket is not good any more: the chain takes no word of theirs.
func (r *Requester) unseat(ctx context.Context, p *panel) error {
	var gone [][32]byte
	for _, s := range p.seats {
		if _, err := r.deps.Court.Admit(ctx, p.matter(), p.hearing.Jurors, s.juror.Node, s.word.Proof); errors.Is(err, ErrNoTicket) {
			gone = append(gone, s.juror.Node)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	r.dismiss(p, func(s *seat) bool { return slices.Contains(gone, s.juror.Node) })
	r.mu.Lock()
	defer r.mu.Unlock()
	p.judged, p.question, p.asked, p.again = false, nil, false, true
	return nil
}

// worth is the work of leaves, each statement that comes several times in a row once.
func worth(leaves []placed) (work uint64) {
	for i, l := range leaves {
		if i == 0 || leaves[i-1].Leaf.Statement != l.Leaf.Statement {
			work += l.Leaf.Work
		}
	}
	return work
}

// settled is for places about which nothing more can be asked.
const settled = math.MaxInt

// doubt is the question about a leaf that a juror contradicts, the one that found no jury least often, and how many there are; nil where none can be asked. The chain knows one work of a panel: witnesses are the jurors who found as much as
// this one. A provider that told of more work than it did is found out by just that.
func (p *panel) doubt(leaves []placed) (q *Question, doubts int) {
	least := settled
	for _, s := range p.seats {
		for i, l := range leaves {
			if s.word.Says[i].Answer == l.Leaf.Answer() {
				continue
			}
			doubts++
			if n := p.vain[l.place]; n < least {
				least, q = n, &Question{Hearing: p.hearing, Place: l.place, Shown: l.Shown, Draw: p.first() + uint64(i), Work: s.vote.Work}
			}
		}
	}
	for _, w := range p.seats {
		if q != nil && w.vote.Work == q.Work {
			q.Witnesses = append(q.Witnesses, w.word)
		}
	}
	return q, doubts
}

// canary runs one draw of a panel again, if the lot falls on it, and makes a question of what should not be: of another result than that of the leaf, with which all of the panel agree, or of
// a juror whose state is another at its point. nil: all is well, or nothing was looked at.
func (r *Requester) canary(ctx context.Context, p *panel, leaves []placed, work uint64) (*Question, error) {
	h := sha256.Sum256(append(append([]byte("canary"), r.secret[:]...), p.matter().Alpha()...)) // nobody else knows on which
	if r.deps.Examine == nil || binary.BigEndian.Uint64(h[:])%1_000_000 >= uint64(r.cfg.Canaries*1_000_000) {
		return nil, nil
	}
	i := int(binary.BigEndian.Uint64(h[8:]) % uint64(len(leaves)))
	l := leaves[i]
	s, err := r.Statement(ctx, l.lease, l.Index)
	if err != nil {
		return nil, err
	}
	if r.byChance(ctx, s.Work.Module) {
		return nil, nil
	}
	points := make([]uint64, len(p.seats))
	for n, s := range p.seats {
		points[n] = trust.Point(s.juror.Beta[:], l.Leaf.Statement, l.Leaf.Work)
	}
	answer, states, err := r.deps.Examine(ctx, s, points)
	if err != nil {
		return nil, err
	}
	q := &Question{Hearing: p.hearing, Place: l.place, Shown: l.Shown, Draw: p.first() + uint64(i), Work: work}
	if answer != l.Leaf.Answer() { // jurors who agree with the leaf are no witnesses: it is this node's own word
		return q, nil
	}
	q.Witnesses = p.words()
	for n, w := range q.Witnesses {
		if w.Says[i].State != states[n] {
			q.Accused = n + 1
			return q, nil
		}
	}
	return nil, nil
}

// accuse puts to the chain what a canary found. A juror that made up its state has no place any more; a panel that agreed with a wrong result waits for the verdict.
func (r *Requester) accuse(ctx context.Context, leaseID string, p *panel) error {
	q := p.question
	if err := r.dispute(ctx, leaseID, *q); err != nil {
		return errors.Join(err, r.unseat(ctx, p)) // it is asked at the next look
	}
	if q.Accused == 0 {
		r.log.Warn("This node finds another result than a provider and its jurors", "lease", q.Hearing.Lease, "place", q.Place)
		p.asked = true
		return nil
	}
	accused := q.Witnesses[q.Accused-1].Juror
	r.log.Warn("A juror made up what it found", "juror", fmt.Sprintf("%x", accused), "lease", q.Hearing.Lease)
	p.question = nil
	r.dismiss(p, func(s *seat) bool { return s.juror.Node == accused })
	return nil
}

// mostAttested is how many panels go into one message.
const mostAttested = 16

// attest tells the chain of the panels that follow those which are attested.
func (r *Requester) attest(ctx context.Context, h Hearing) error {
	var panels []Attestation
	var judged []*panel
	m := h.Matter
	r.mu.Lock()
	for m.Place = h.Attested; len(panels) < mostAttested; m.Place++ {
		p := r.panels[m]
		if p == nil || !p.judged {
			break
		}
		panels, judged = append(panels, Attestation{Panel: m.Place, Work: p.seats[0].vote.Work, Voices: p.words()}), append(judged, p)
	}
	r.mu.Unlock()
	if len(panels) == 0 {
		return nil
	}
	if err := r.deps.Court.Attest(ctx, h, panels); err != nil {
		for _, p := range judged {
			err = errors.Join(err, r.unseat(ctx, p))
		}
		return err
	}
	for _, p := range judged {
		if err := r.verified(ctx, p); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range judged {
		delete(r.panels, p.matter())
	}
	return nil
}

// verified counts the tasks that a panel looked at in their job.
func (r *Requester) verified(ctx context.Context, p *panel) error {
	leaves, err := r.drawn(ctx, p)
	if err != nil {
		return err
	}
	l, jobID, _, err := r.journal.sworn(ctx, leaves[0].lease)
	if err != nil {
		return err
	}
	n, err := r.journal.looked(ctx, jobID, hardware{l.Terms.Quote.Provider, l.Terms.Quote.Class}, leaves)
	if err != nil {
		return err
	}
	if e := r.live(jobID); e != nil {
		e.change(func(s *job.Status) { s.Verified = max(s.Verified, n) })
		return nil
	}
	rec, err := r.find(ctx, jobID)
	if err != nil {
		return err
	}
	rec.Status.Verified = max(rec.Status.Verified, n)
	return r.journal.saveStatus(ctx, rec.Status)
}

// looked notes the tasks of a job that jurors looked at and found right, the first time in the record of who did them, and tells how many were checked in all.
func (j *journal) looked(ctx context.Context, id string, by hardware, leaves []placed) (int, error) {
	err := j.transact(ctx, id, func(w *commitment) error {
		for _, l := range leaves {
			done, err := w.tx.ExecContext(ctx, `INSERT OR IGNORE INTO checked VALUES (?, ?)`, id, int64(l.Index))
			if err != nil {
				return err
			}
			n, err := done.RowsAffected()
			if err != nil {
				return err
			}
			w.seen.add(by, right, int(n))
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return j.verified(ctx, id)
}

// placeAt is the place of the leaf of a lease in which a point of work lies.
func (j *journal) placeAt(ctx context.Context, id string, at uint64) (uint64, error) {
	sheets, err := j.sheets(ctx, `WHERE lease = ?1 AND before <= ?2 AND place >= coalesce((SELECT max(place) FROM leaf WHERE lease = ?1 AND before <= ?2 AND place < (SELECT max(place) FROM leaf WHERE lease = ?1 AND before <= ?2)), 0)`,
		id, int64(at))
	if err != nil {
		return 0, err
	}
	for _, s := range slices.Backward(sheets) {
		deeds, err := pay.ReadDeeds(s.Deeds)
		if err != nil {
			return 0, err
		}
		for before, i := s.Before, 0; i < len(deeds); i++ {
			if at >= before && at-before < deeds[i].Work {
				return s.Place + uint64(i), nil
			}
			before += deeds[i].Work
		}
	}
	return 0, fmt.Errorf("work %d of lease %s: %w", at, id, pay.ErrLeaf)
}
