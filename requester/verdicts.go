package requester

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hpips/hpips/spec/job"
)

// What a dispute came to concerns the job whose result it was about, and every later one of the same program: where the jurors differ among themselves the program is not deterministic, and
// to ask about its results costs a whole jury each time and tells nothing. So questions are in the journal until their verdict is known, and such programs for good.

// question is a dispute of this node's whose verdict it does not know.
type question struct {
	node     [32]byte // of the redemption
	sequence uint64
	place    uint64
	accused  [32]byte
	lease    string
	index    uint64 // of the task on the wire
}

// dispute puts a question to the chain, and notes it before.
func (r *Requester) dispute(ctx context.Context, leaseID string, q Question) error {
	k := question{node: q.Hearing.Matter.Node, sequence: q.Hearing.Matter.Sequence, place: q.Place, accused: q.About(), lease: leaseID, index: q.Shown.Index}
	r.mu.Lock()
	r.asking[k]++ // until it is on the chain, what is told there is of an earlier attempt
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.asking[k]--; r.asking[k] == 0 {
			delete(r.asking, k)
		}
	}()
	if err := r.journal.addQuestion(ctx, k); err != nil {
		return err
	}
	return r.deps.Court.Dispute(ctx, q)
}

// hearVerdicts asks what became of the questions that are open, and does what follows.
func (r *Requester) hearVerdicts(ctx context.Context) error {
	open, failed := r.journal.questions(ctx)
	r.mu.Lock()
	open = slices.DeleteFunc(open, func(q question) bool { return r.asking[q] > 0 })
	r.mu.Unlock()
	type redemption struct {
		node     [32]byte
		sequence uint64
	}
	type told struct {
		all   []Verdict
		known bool
	}
	seen := map[redemption]told{}
	for _, q := range open {
		var err error
		of := redemption{q.node, q.sequence}
		t, is := seen[of]
		if !is {
			if t.all, t.known, err = r.deps.Court.Verdicts(ctx, q.node, q.sequence); err != nil {
				failed = errors.Join(failed, err)
				continue
			}
			seen[of] = t
		}
		over := !t.known
		for _, v := range t.all {
			if v.Place == q.place && v.Accused == q.accused {
				over, err = true, errors.Join(err, r.decided(ctx, q, v))
			}
		}
		if over && err == nil {
			err = r.journal.dropQuestion(ctx, q)
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// decided is what follows from a verdict.
//
//  1. The provider was right: jurors who contradicted it lose their places on panels that wait for that; where it was this node that did, the panel is attested.
//  2. There was no jury: it is as if nobody had asked. Panels are judged again, and what is reclaimed is asked for again, while the chain takes it.
//  3. Undecided: the program is noted, and the job told.
func (r *Requester) decided(ctx context.Context, q question, v Verdict) error {
	o, aboutProvider := v.Outcome, q.accused == q.node
	switch {
	case o == AccusedRight && aboutProvider: // 1
		for _, p := range r.waiting(q) {
			if err := r.upheld(ctx, p); err != nil {
				return err
			}
		}
	case o == NoJury && aboutProvider: // 2
		for _, p := range r.waiting(q) {
			p.goesOn(q.place, v.Again)
		}
		state := reviewLapsed
		if v.Again {
			state = reviewWrong
		}
		return r.journal.unask(ctx, q.lease, q.place, state, r.now())
	case o == Undecided: // 3
		s, err := r.Statement(ctx, q.lease, q.index)
		if err != nil {
			return err
		}
		_, id, _, err := r.journal.sworn(ctx, q.lease)
		if err != nil {
			return err
		}
		r.log.Warn("A program is not deterministic: no jury is asked about it any more", "program", s.Work.Module, "job", id, "task", q.index)
		return r.journal.addChance(ctx, s.Work.Module, id, fmt.Sprintf("its program is not deterministic: each juror found another result of task %d; no jury is asked about it any more, and what it does is paid without one", q.index), r.now())
	}
	return nil
}

// waiting are the panels that wait for what a question about a provider comes to.
func (r *Requester) waiting(q question) (all []*panel) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for m, p := range r.panels {
		if p.asked && p.question != nil && m.Node == q.node && m.Sequence == q.sequence && p.question.Place == q.place {
			all = append(all, p)
		}
	}
	return all
}

// goesOn lets a panel be judged again whose question found no jury.
func (p *panel) goesOn(place uint64, again bool) {
	if len(p.question.Witnesses) == 0 { // this node's own word is asked about alone
		p.asked = !again
		return
	}
	if p.vain == nil {
		p.vain = map[uint64]int{}
	}
	if p.vain[place]++; !again {
		p.vain[place] = settled
	}
	p.question, p.asked = nil, false
}

// upheld goes on with a panel whose question was answered for the provider.
func (r *Requester) upheld(ctx context.Context, p *panel) error {
	if len(p.question.Witnesses) == 0 {
		r.mu.Lock()
		defer r.mu.Unlock()
		p.judged = true
		return nil
	}
	leaves, err := r.drawn(ctx, p)
	if err != nil {
		return err
	}
	place := p.question.Place
	r.mu.Lock()
	p.question, p.asked, p.again = nil, false, true
	r.mu.Unlock()
	r.dismiss(p, func(s *seat) bool {
		for i, l := range leaves {
			if l.place == place && s.word.Says[i].Answer != l.Leaf.Answer() {
				return true
			}
		}
		return false
	})
	return nil
}

// byChance tells whether a program was found not to be deterministic.
func (r *Requester) byChance(ctx context.Context, program string) bool {
	var yes bool
	err := r.journal.r.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM chance WHERE program = ?)`, program).Scan(&yes)
	if err != nil && ctx.Err() == nil {
		r.log.Warn("What is known of programs cannot be read", "err", err)
	}
	return yes
}

// tellChance says in the history of a job that no jury is asked about it, and why.
func (r *Requester) tellChance(ctx context.Context, e *errand) {
	if r.cfg.Jury && e.spec.Verify.Mode == job.Jury && !e.live && r.chancy(ctx, e) {
		r.note(ctx, e, "no jury is asked about its results: jurors found before that its program is not deterministic; its copies are compared as always (--verify, --copies)")
	}
}

// chancy tells whether a program of a job is one of those.
func (r *Requester) chancy(ctx context.Context, e *errand) bool {
	return r.byChance(ctx, e.spec.Run.WASM) || e.spec.Reduce != nil && r.byChance(ctx, e.spec.Reduce.Run.WASM)
}

func (j *journal) addQuestion(ctx context.Context, q question) error {
	_, err := j.w.ExecContext(ctx, `INSERT OR IGNORE INTO question VALUES (?, ?, ?, ?, ?, ?)`, q.node[:], int64(q.sequence), int64(q.place), q.accused[:], q.lease, int64(q.index))
	return j.wrap("add question", err)
}

func (j *journal) dropQuestion(ctx context.Context, q question) error {
	_, err := j.w.ExecContext(ctx, `DELETE FROM question WHERE node = ? AND sequence = ? AND place = ? AND accused = ?`, q.node[:], int64(q.sequence), int64(q.place), q.accused[:])
	return j.wrap("drop question", err)
}

func (j *journal) questions(ctx context.Context) (all []question, err error) {
	rows, err := j.r.QueryContext(ctx, `SELECT node, sequence, place, accused, lease, idx FROM question`)
	if err != nil {
		return nil, j.wrap("read questions", err)
	}
	defer rows.Close()
	for rows.Next() {
		var q question
		var node, accused []byte
		var sequence, place, index int64
		if err := rows.Scan(&node, &sequence, &place, &accused, &q.lease, &index); err != nil {
			return nil, j.wrap("read questions", err)
		}
		copy(q.node[:], node)
		copy(q.accused[:], accused)
		q.sequence, q.place, q.index = uint64(sequence), uint64(place), uint64(index)
		all = append(all, q)
	}
	return all, j.wrap("read questions", rows.Err())
}

// addChance notes a program that is not deterministic, and tells the job in which that was found, once.
func (j *journal) addChance(ctx context.Context, program, id, text string, now time.Time) error {
	return j.transact(ctx, "", func(w *commitment) error {
		done, err := w.tx.ExecContext(ctx, `INSERT OR IGNORE INTO chance VALUES (?, ?, ?)`, program, id, now.UnixNano())
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return err
		}
		return w.event(id, text, now)
	})
}
