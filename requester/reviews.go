package requester

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hpips/hpips/pay"
	"github.com/hpips/hpips/spec/job"
)

// review is a result of a node that was convicted later, and that nobody had checked then.
type review struct {
	lease string
	place uint64
	job   string
	index uint64 // of its task on the wire
	state reviewState
	tries int       // to run it again
	at    time.Time // not before this anything is done about it
}

// reviewState is what is known of a doubtful result. The numbers are in journals.
type reviewState int

const (
	reviewOpen   reviewState = iota // nobody has looked
	reviewRight                     // this node found the same
	reviewWrong                     // it found something else
	reviewAsked                     // and has asked the chain for what was paid
	reviewLapsed                    // and could not, until the conviction was forgotten
	reviewNone                      // nobody can tell any more
)

// String says it to the one who takes the result; "" where nothing is wrong with it.
func (s reviewState) String() string {
	switch s {
	case reviewOpen:
		return "doubtful: its provider was convicted, and nobody has checked it yet"
	case reviewWrong:
		return "wrong: what was paid for it comes back"
	case reviewAsked:
		return "wrong: the chain is asked for what was paid for it"
	case reviewLapsed:
		return "wrong: what was paid for it could not be asked for in time"
	case reviewNone:
		return "doubtful: its provider was convicted, and it can be checked no more"
	}
	return ""
}

// wasConvicted tells whether a conviction of a node that ends at a time is noted.
func (j *journal) wasConvicted(ctx context.Context, node string, until time.Time) (yes bool, err error) {
	err = j.r.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM conviction WHERE node = ? AND until = ?)`, node, nanos(until)).Scan(&yes)
	return yes, j.wrap("find convictions", err)
}

// unchecked adds the last results of a lease that nobody has checked to others, up to mostRechecked in all.
func (j *journal) unchecked(ctx context.Context, leaseID, id string, others []review) ([]review, error) {
	rows, err := j.r.QueryContext(ctx, `SELECT place, body FROM leaf WHERE lease = ? ORDER BY place DESC`, leaseID)
	if err != nil {
		return nil, j.wrap("read leaves", err)
	}
	defer rows.Close()
	for rows.Next() && len(others) < mostRechecked {
		var first int64
		var body []byte
		if err := rows.Scan(&first, &body); err != nil {
			return nil, j.wrap("read leaves", err)
		}
		deeds, err := pay.ReadDeeds(body)
		if err != nil {
			return nil, err
		}
		for i, d := range slices.Backward(deeds) {
			looked, err := j.wasChecked(ctx, id, d.Index)
			if err != nil {
				return nil, err
			}
			if !looked && len(others) < mostRechecked {
				others = append(others, review{lease: leaseID, place: uint64(first) + uint64(i), job: id, index: d.Index})
			}
		}
	}
	return others, j.wrap("read leaves", rows.Err())
}

// wasChecked tells whether the result of a task was checked.
func (j *journal) wasChecked(ctx context.Context, id string, index uint64) (yes bool, err error) {
	err = j.r.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM checked WHERE job = ? AND idx = ?)`, id, int64(index)).Scan(&yes)
	return yes, j.wrap("find what was checked", err)
}

// taken lists the tasks of a job whose result is a node's and was not checked.
func (j *journal) taken(ctx context.Context, id, node string) (tasks []uint64, err error) {
	rows, err := j.r.QueryContext(ctx, `SELECT idx FROM result JOIN node ON node.id = result.node WHERE job = ?1 AND peer = ?2 AND idx NOT IN (SELECT idx FROM checked WHERE job = ?1) ORDER BY idx`, id, node)
	if err != nil {
		return nil, j.wrap("find results", err)
	}
	defer rows.Close()
	for rows.Next() {
		var index int64
		if err := rows.Scan(&index); err != nil {
			return nil, j.wrap("find results", err)
		}
		tasks = append(tasks, uint64(index))
	}
	return tasks, j.wrap("find results", rows.Err())
}

// condemn notes a conviction with all that follows from it in one transaction: the node's record, the results that are doubtful, and a line in the history of their jobs.
func (j *journal) condemn(ctx context.Context, by hardware, until time.Time, open []review, told map[string]string, now time.Time) error {
	return j.transact(ctx, "", func(w *commitment) error {
		w.seen.add(by, wronged, conviction)
		if _, err := w.tx.ExecContext(ctx, `INSERT INTO conviction VALUES (?, ?)`, by.node, nanos(until)); err != nil {
			return err
		}
		for _, v := range open {
			if _, err := w.tx.ExecContext(ctx, `INSERT OR IGNORE INTO review VALUES (?, ?, ?, ?, ?, ?, 0, 0, FALSE)`, v.lease, int64(v.place), v.job, int64(v.index), by.node, reviewOpen); err != nil {
				return err
			}
		}
		for id, text := range told {
			if err := w.event(id, text, now); err != nil {
				return err
			}
		}
		return nil
	})
}

// event writes a line into the history of a job, in its state.
func (w *commitment) event(id, text string, now time.Time) error {
	var body []byte
	var status job.Status
	err := w.tx.QueryRowContext(w.ctx, `SELECT status FROM job WHERE id = ?`, id).Scan(&body)
	if err == nil {
		err = json.Unmarshal(body, &status)
	}
	if err == nil {
		_, err = w.tx.ExecContext(w.ctx, `INSERT INTO event VALUES (?, ?, ?, ?)`, id, now.UnixNano(), status.State, text)
	}
	return err
}

// reviews lists the results of a node that are in a state and whose time has come: those that wait longest first, and then the last ones.
func (j *journal) reviews(ctx context.Context, node string, s reviewState, now time.Time) (all []review, err error) {
	rows, err := j.r.QueryContext(ctx, `SELECT lease, place, job, idx, state, tries, at FROM review WHERE node = ? AND state = ? AND at <= ? ORDER BY at, job, lease, place DESC`, node, s, now.UnixMilli())
	if err != nil {
		return nil, j.wrap("read reviews", err)
	}
	defer rows.Close()
	for rows.Next() {
		var v review
		var place, index, at int64
		if err := rows.Scan(&v.lease, &place, &v.job, &index, &v.state, &v.tries, &at); err != nil {
			return nil, j.wrap("read reviews", err)
		}
		v.place, v.index, v.at = uint64(place), uint64(index), time.UnixMilli(at)
		all = append(all, v)
	}
	return all, j.wrap("read reviews", rows.Err())
}

// reviewed writes down what came of doubtful results.
func (j *journal) reviewed(ctx context.Context, some ...review) error {
	if len(some) == 0 {
		return nil
	}
	return j.transact(ctx, "", func(w *commitment) error {
		for _, v := range some {
			if _, err := w.tx.ExecContext(ctx, `UPDATE review SET state = ?, tries = ?, at = ? WHERE lease = ? AND place = ?`, v.state, v.tries, v.at.UnixMilli(), v.lease, int64(v.place)); err != nil {
				return err
			}
		}
		return nil
	})
}

// unask notes that no jury came together about a result: what was paid is asked for again, or it could not be.
func (j *journal) unask(ctx context.Context, leaseID string, place uint64, state reviewState, now time.Time) error {
	_, err := j.w.ExecContext(ctx, `UPDATE review SET state = ?, at = ? WHERE lease = ? AND place = ? AND state = ?`, state, now.UnixMilli(), leaseID, int64(place), reviewAsked)
	return j.wrap("ask again", err)
}

// untold lists the wrong results of a node that their jobs were not told of, by job.
func (j *journal) untold(ctx context.Context, node string) (map[string][]uint64, error) {
	rows, err := j.r.QueryContext(ctx, `SELECT job, idx FROM review WHERE node = ? AND state IN (?, ?, ?) AND NOT told`, node, reviewWrong, reviewAsked, reviewLapsed)
	if err != nil {
		return nil, j.wrap("read reviews", err)
	}
	defer rows.Close()
	all := map[string][]uint64{}
	for rows.Next() {
		var id string
		var index int64
		if err := rows.Scan(&id, &index); err != nil {
			return nil, j.wrap("read reviews", err)
		}
		all[id] = append(all[id], uint64(index))
	}
	return all, j.wrap("read reviews", rows.Err())
}

// tell writes a line into the history of a job about all wrong results of a node.
func (j *journal) tell(ctx context.Context, id, node, text string, now time.Time) error {
	return j.transact(ctx, "", func(w *commitment) error {
		_, err := w.tx.ExecContext(ctx, `UPDATE review SET told = 1 WHERE job = ? AND node = ? AND state IN (?, ?, ?)`, id, node, reviewWrong, reviewAsked, reviewLapsed)
		if err != nil {
			return err
		}
		return w.event(id, text, now)
	})
}

// reviewedOf is what is known of the doubtful results that a job took, by their task.
func (j *journal) reviewedOf(ctx context.Context, id string) (map[uint64]reviewState, error) {
	rows, err := j.r.QueryContext(ctx, `SELECT idx, state FROM review v WHERE job = ? AND EXISTS (SELECT 1 FROM result JOIN node ON node.id = result.node WHERE result.job = v.job AND result.idx = v.idx AND peer = v.node)`, id)
	if err != nil {
		return nil, j.wrap("read reviews", err)
	}
	defer rows.Close()
	all := map[uint64]reviewState{}
	for rows.Next() {
		var index int64
		var s reviewState
		if err := rows.Scan(&index, &s); err != nil {
			return nil, j.wrap("read reviews", err)
		}
		all[uint64(index)] = s
	}
	return all, j.wrap("read reviews", rows.Err())
}

// listed names tasks for people, rows of them by their ends.
func listed(tasks []uint64) string {
	slices.Sort(tasks)
	tasks = slices.Compact(tasks)
	var rows []string
	for i := 0; i < len(tasks); {
		last := i
		for last+1 < len(tasks) && tasks[last+1] == tasks[last]+1 && tasks[last+1] != job.ReduceIndex {
			last++
		}
		switch {
		case tasks[i] == job.ReduceIndex:
			rows = append(rows, "the reduce")
		case last > i:
			rows = append(rows, fmt.Sprintf("%d–%d", tasks[i], tasks[last]))
		default:
			rows = append(rows, fmt.Sprint(tasks[i]))
		}
		i = last + 1
	}
	const most = 20
	if len(rows) > most {
		rows = append(rows[:most], "…")
	}
	if len(tasks) == 1 {
		return "task " + rows[0]
	}
	return job.Several(len(tasks), "task") + " (" + strings.Join(rows, ", ") + ")"
}
