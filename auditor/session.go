package auditor

import (
	"context"
	"reflect"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/trust"
)

// Session is an examiner at work on results of one lease, one after the other: those of one program with the same inputs run in one sandbox, as their provider ran them. To begin a sandbox takes a
// tenth of a second of the processor, many times what small tasks take.
type Session struct {
	e    *Examiner
	from []peer.ID
	b    *bench // of the last statement that came to its end; nil: none
}

// Session begins one; whoever begins it closes it. from are nodes that have the contents of its statements.
func (e *Examiner) Session(from ...peer.ID) *Session { return &Session{e: e, from: from} }

// Close removes all that the session brought.
func (s *Session) Close() {
	if s.b != nil {
		s.b.close()
		s.b = nil
	}
}

// Examine is a session of one statement. Several may be under way at once.
func (e *Examiner) Examine(ctx context.Context, st lease.Statement, rules []Rule, from ...peer.ID) (Finding, error) {
	s := e.Session(from...)
	defer s.Close()
	return s.Examine(ctx, st, rules)
}

// Examine runs a statement once, takes down the states at all points of the rules on the way, and keeps of each rule the one that counts. An error is ErrNoAnswer or the end of ctx.
func (s *Session) Examine(ctx context.Context, st lease.Statement, rules []Rule) (Finding, error) {
	points := slices.Concat(rules...)
	slices.Sort(points)
	points = slices.Compact(points)
	if len(points) > engine.MaxPoints {
		return Finding{}, noAnswer("%d points are too many for one execution", len(points))
	}
	if err := s.e.admit(st); err != nil {
		return Finding{}, err
	}
	var r job.Result
	var states []trust.Digest
	for again := true; again; {
		var err error
		if r, states, again, err = s.attempt(ctx, st, points); err != nil {
			return Finding{}, err
		}
	}
	work := uint64(r.Usage.Work)
	f := Finding{Answer: trust.Answer(r.Digest(), work), Result: r}
	for _, rule := range rules {
		i, _ := slices.BinarySearch(points, trust.Pick(rule, work))
		f.States = append(f.States, states[i])
	}
	return f, nil
}

// attempt prepares a statement and runs it. again says that a hold came before it ran. A sandbox in which anything went wrong is the last statement's.
func (s *Session) attempt(ctx context.Context, st lease.Statement, points []uint64) (r job.Result, states []trust.Digest, again bool, err error) {
	begun, done, err := s.e.enter(ctx)
	if err != nil {
		return r, nil, false, err
	}
	defer done()
	given := func(err error) (bool, error) { // what to say where begun has ended, and ctx has not
		switch {
		case err == nil || ctx.Err() != nil || begun.Err() == nil:
			return false, err
		case s.e.hasty:
			return false, noAnswer("%w", errHeld)
		}
		return true, nil
	}
	if err := s.prepare(begun, st, len(points) > 0); err != nil {
		s.Close()
		again, err = given(err)
		return r, nil, again, err
	}
	if s.e.hasty {
		r, states, err = s.b.run(begun, points)
		_, err = given(err)
	} else {
		r, states, err = s.b.run(ctx, points)
	}
	if err != nil || r.End != job.Exited || s.b.clear() != nil {
		s.Close()
	}
	return r, states, false, err
}

// prepare has the bench that a statement needs, the last one where that is the same.
func (s *Session) prepare(ctx context.Context, st lease.Statement, watched bool) (err error) {
	if s.b != nil && (s.b.program.Watched != watched || !reflect.DeepEqual(s.b.s.Work, st.Work)) {
		s.Close()
	}
	if s.b == nil {
		if s.b, err = s.e.bench(ctx, st.Work, watched, s.from); err != nil {
			return err
		}
	}
	return s.b.begin(ctx, st)
}
