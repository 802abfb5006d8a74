package requester

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/plan"
	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
)

// Submit takes a job on. Paths in the specification must have been replaced by content addresses. With live, the standard input comes through
// Stdin. When it returns, the job is in the journal. A specification that cannot be accepted is a *job.Error.
func (r *Requester) Submit(ctx context.Context, spec job.Spec, live bool) (id string, err error) {
	spec = spec.Filled()
	if err := spec.Check(); err != nil {
		return "", err
	}
	if live && (spec.Kind != job.Batch || spec.Stdin != "") {
		return "", &job.Error{Field: "stdin", Text: "only a Batch without stdin takes a live standard input", Hint: "leave one of them out"}
	}
	if spec.Verify.Mode == job.Check && r.deps.Engine == nil {
		return "", &job.Error{Field: "verify.mode", Text: "this node has no sandbox for a checker", Hint: "choose another mode, or hand the job in to another node"}
	}
	id, secret := newIdentity()
	rec := record{ID: id, Live: live, Secret: secret, Spec: spec,
		Status: job.Status{Job: id, Name: spec.Name, Kind: spec.Kind, State: job.Pending, Nodes: []job.Share{}, Created: r.now()}}
	if err := canon.Decode(canon.MustEncode(spec), maxRecord, &job.Spec{}); err != nil {
		return "", &job.Error{Field: "file", Text: "is too large with all ranges written out: " + err.Error(), Hint: "keep data in the store and name its address; count: N takes any number of tasks"}
	}
	e, err := r.enlist(rec) // before the journal has it, so that Serve never takes it for one of an earlier life
	if err == nil {
		err = r.journal.addJob(ctx, rec)
	}
	if err != nil {
		e.closeSpools()
		r.forget(e)
		return "", err
	}
	r.note(ctx, e, "submitted")
	select {
	case r.begin <- e:
		return id, nil
	case <-r.life.Done():
		return "", &job.Failure{Code: job.CodeUnavailable, Message: "this node is stopping", Hint: "the job is kept; hpips up takes it up"}
	}
}

// enlist makes the live side of a record. With an error it lacks streams that cannot be kept.
func (r *Requester) enlist(rec record) (*errand, error) {
	e := &errand{id: rec.ID, spec: rec.Spec, live: rec.Live, secret: rec.Secret, status: rec.Status, changed: make(chan struct{}), resumed: func() {}, ended: make(chan struct{})}
	var failed error
	if rec.Spec.Kind == job.Batch {
		streams := map[string]**spool{"out": &e.out, "err": &e.err}
		if rec.Live {
			streams["in"] = &e.stdin
		}
		for name, s := range streams {
			opened, err := r.spool(rec.ID, name)
			if err != nil {
				failed = err
				continue
			}
			*s = opened
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errands[e.id] = e
	return e, failed
}

// forget drops the live side of a job that is over.
func (r *Requester) forget(e *errand) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.errands, e.id)
}

// live finds the live side of a job by its whole identity, or nil.
func (r *Requester) live(id string) *errand {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.errands[id]
}

// find returns a job's record, its status the latest there is.
func (r *Requester) find(ctx context.Context, id string) (record, error) {
	rec, err := r.journal.job(ctx, id)
	if errors.Is(err, ErrUnknownJob) {
		return rec, &job.Failure{Code: job.CodeNotFound, Message: err.Error(), Hint: "hpips job ls lists the jobs of this node"}
	}
	if err != nil {
		return rec, err
	}
	return r.latest(rec), nil
}

func (r *Requester) latest(rec record) record {
	if e := r.live(rec.ID); e != nil {
		rec.Status = e.snapshot()
		rec.Status.Seconds = r.now().Sub(rec.Status.Created).Seconds()
	}
	return rec
}

// Job returns the status of a job, named by its identity or a prefix of it.
func (r *Requester) Job(ctx context.Context, id string) (job.Status, error) {
	rec, err := r.find(ctx, id)
	if err != nil {
		return rec.Status, err
	}
	reviews, err := r.journal.reviewedOf(ctx, rec.ID)
	for _, s := range reviews {
		switch s {
		case reviewOpen:
			rec.Status.Doubtful++
		case reviewWrong, reviewAsked, reviewLapsed:
			rec.Status.Wrong++
		}
	}
	return rec.Status, err
}

// Spec returns what was asked.
func (r *Requester) Spec(ctx context.Context, id string) (job.Spec, error) {
	rec, err := r.find(ctx, id)
	return rec.Spec, err
}

// Jobs lists all jobs, the newest first.
func (r *Requester) Jobs(ctx context.Context) ([]job.Status, error) {
	recs, err := r.journal.jobs(ctx, false)
	list := make([]job.Status, 0, len(recs))
	for _, rec := range slices.Backward(recs) {
		list = append(list, r.latest(rec).Status)
	}
	return list, err
}

// Watch sends the status now and at each change; a slow reader misses states in between, never the last one. The channel is closed after a
// final state, or when ctx or the requester ends.
func (r *Requester) Watch(ctx context.Context, id string) (<-chan job.Status, error) {
	rec, err := r.find(ctx, id)
	if err != nil {
		return nil, err
	}
	out := make(chan job.Status, 1)
	r.reading.Go(func() {
		defer close(out)
		e := r.live(rec.ID)
		for e != nil {
			s, changed := e.watch()
			s.Seconds = r.now().Sub(s.Created).Seconds()
			if s.State.Final() {
				break
			}
			select {
			case out <- s:
			case <-ctx.Done():
				return
			case <-r.life.Done():
				return
			}
			select {
			case <-changed:
			case <-e.ended:
				e = nil
			case <-ctx.Done():
				return
			case <-r.life.Done():
				return
			}
		}
		if e != nil {
			<-e.ended // so that the journal has it too
		}
		if last, err := r.find(ctx, rec.ID); err == nil && last.Status.State.Final() {
			select {
			case out <- last.Status:
			case <-ctx.Done():
			}
		}
	})
	return out, nil
}

// Why explains where a job stands.
func (r *Requester) Why(ctx context.Context, id string) (job.Why, error) {
	rec, err := r.find(ctx, id)
	if err != nil {
		return job.Why{}, err
	}
	w := job.Why{Job: rec.ID, State: rec.Status.State, Rejected: []job.Rejection{}, Kinds: []job.Kinds{}}
	if w.Events, err = r.journal.events(ctx, rec.ID); err != nil {
		return job.Why{}, err
	}
	if e := r.live(rec.ID); e != nil {
		_, rejected := e.refusals()
		w.Asked, w.Rejected = e.known(), append(w.Rejected, rejected...)
		for _, n := range rejected {
			w.Accepted -= n.Count
		}
		w.Accepted = max(0, w.Accepted+w.Asked)
	}
	w.Kinds = job.CountKinds(w.Rejected)
	w.Summary = summary(rec.Status, w)
	return w, nil
}

// summary says in one sentence where a job stands.
func summary(s job.Status, w job.Why) string {
	done := fmt.Sprintf("done: %d of %s", s.Tasks.Done, job.Several(s.Tasks.Total, "task"))
	switch {
	case s.Error != nil:
		return s.Error.Message
	case s.State == job.Settled:
		return fmt.Sprintf("all is done: %s, on %s", job.Several(s.Tasks.Done, "task"), job.Several(len(s.Nodes), "node"))
	case s.State == job.Pending:
		return "its input is being found and cut into tasks"
	case s.State == job.Planned && w.Asked == 0:
		return "no provider is known to this node yet: join a network with hpips up --join"
	case s.State == job.Planned:
		return withRefusals(fmt.Sprintf("asked: %s; none has taken it yet", job.Several(w.Asked, "provider")), w)
	case s.State == job.Verifying:
		return "its result is being put together"
	}
	return withRefusals(done, w)
}

// withRefusals adds who refused, and why.
func withRefusals(text string, w job.Why) string {
	if no := job.Refusals(w.Asked, w.Rejected); no != "" {
		return text + "; " + no
	}
	return text
}

// Preview asks providers for quotes on a specification, without leasing anything: who could run it.
func (r *Requester) Preview(ctx context.Context, spec job.Spec) (job.Why, error) {
	spec = spec.Filled()
	if err := spec.Check(); err != nil {
		return job.Why{}, err
	}
	w := job.Why{State: job.Pending, Rejected: []job.Rejection{}}
	peers := r.deps.Peers()
	counts := map[string]int{}
	order := lease.Order{Job: "preview", Requester: r.deps.Self.String(), Engine: spec.Run.Engine(), Resources: spec.Resources.For(spec.Run.Engine()), Slots: 1, Reach: spec.Reach}
	answers := r.ask(ctx, order, r.ceiling(spec), peers, len(peers), spec.Conditions(order.Engine)...)
	for _, a := range answers {
		if a.Err != nil {
			counts[reason(a.Err)]++
			continue
		}
		w.Accepted++
	}
	w.Asked = len(peers)
	for text, n := range counts {
		w.Rejected = append(w.Rejected, job.Rejection{Reason: text, Count: n})
	}
	whole, _ := spec.Limits.Ceilings()
	load := market.Load{Tasks: tasks(spec), Copies: uint64(max(spec.Verify.Copies, 1)), Resources: spec.Resources, Limits: spec.Limits, Jury: r.cfg.Jury && spec.Verify.Mode == job.Jury}
	estimate := market.EstimateOf(load, answers, whole)
	w.Estimate = &estimate
	w.Kinds = job.CountKinds(w.Rejected)
	w.Summary = withRefusals(fmt.Sprintf("%d of %s could run it", w.Accepted, job.Several(w.Asked, "provider")), w)
	return w, nil
}

// tasks counts the tasks of a job as far as that is known before its input is cut.
func tasks(s job.Spec) uint64 {
	n := uint64(1)
	switch o := s.Over; {
	case o == nil:
	case o.Count > 0:
		n = uint64(o.Count)
	case len(o.Matrix) > 0:
		n = uint64(max(plan.Combinations(o.Matrix), 1))
	}
	if s.Reduce != nil {
		n++
	}
	return n
}

// Ready reports whether a job could be placed now: a provider offers a slot for a task of the default size.
func (r *Requester) Ready(ctx context.Context) bool {
	order := lease.Order{Job: "ready", Requester: r.deps.Self.String(), Engine: job.EngineWASM, Resources: job.Spec{}.Filled().Resources, Slots: 1}
	peers := r.deps.Peers()
	return slices.ContainsFunc(r.ask(ctx, order, r.ceiling(job.Spec{}), peers, len(peers)), func(a market.Answer) bool { return a.Err == nil })
}

// Logs returns what the tasks of a job said on standard error and how they ended; task -1 is all of them. Executions of tasks that are
// still being checked are among them.
func (r *Requester) Logs(ctx context.Context, id string, task int64) ([]job.Log, error) {
	rec, err := r.find(ctx, id)
	if err != nil {
		return nil, err
	}
	from, to := uint64(0), uint64(job.ReduceIndex+1)
	if task >= 0 {
		from, to = uint64(task), uint64(task)+1
	}
	logs := []job.Log{}
	reviews, err := r.journal.reviewedOf(ctx, rec.ID)
	if err != nil {
		return nil, err
	}
	add := func(node string, x job.Result) error {
		l := job.Log{Task: x.Index, Node: node, End: x.End, Exit: x.Exit, Message: x.Message, Stderr: string(x.Stderr), Usage: x.Usage}
		if s, is := reviews[x.Index]; is {
			l.Doubt = s.String()
		}
		logs = append(logs, l)
		return nil
	}
	if err := r.journal.results(ctx, rec.ID, from, to, add); err != nil {
		return nil, err
	}
	return logs, r.journal.unsettled(ctx, rec.ID, from, to, add)
}

// Cancel ends a job; its providers stop within a second. A job that is over stays as it is.
func (r *Requester) Cancel(ctx context.Context, id string) error {
	rec, err := r.find(ctx, id)
	if err != nil {
		return err
	}
	e := r.live(rec.ID)
	if e == nil {
		return nil
	}
	e.stop()
	select {
	case <-e.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Rerun submits the specification of a job once more.
func (r *Requester) Rerun(ctx context.Context, id string) (newID string, err error) {
	rec, err := r.find(ctx, id)
	if err != nil {
		return "", err
	}
	if rec.Live {
		return "", &job.Failure{Code: job.CodeUsage, Message: "job " + rec.ID + " read a live standard input, which is gone", Hint: "run it again with --stdin FILE"}
	}
	return r.Submit(ctx, rec.Spec, false)
}
