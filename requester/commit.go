package requester

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/spec/canon"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

// entry is one result on its way into the journal. Its task's index is the journal's: a phase adds its base to the board's.
type entry struct {
	hire    *hire
	result  job.Result
	vote    bool // its task is being checked: it is kept as a vote until it is decided
	wrong   bool // a checker has refused it: it stays a vote
	checked bool // its task was checked, by a checker or by another copy
	promote bool // the task is decided: the vote of this digest becomes its result
	digest  [32]byte
	right   []string // of a promotion: nodes that agree with it
	odd     []string // and those that do not
	value   []byte   // see arrival
	done    func()
	used    voucher.Usage // to be paid for
}

// commit writes entries, what is paid for them, and what they say of their providers in one transaction and syncs it to the disk: all of them count, or none.
func (j *journal) commit(ctx context.Context, id string, b batch, status job.Status) error {
	return j.transact(ctx, id, func(w *commitment) error {
		maps.Copy(w.seen, b.tallies)
		if err := w.write(b.entries); err != nil {
			return err
		}
		if err := writePayments(ctx, w.tx, b.payments, time.Now()); err != nil {
			return err
		}
		_, err := w.tx.ExecContext(ctx, `UPDATE job SET status = ? WHERE id = ?`, mustJSON(status), id)
		return err
	})
}

// transact fills one transaction about a job, writes what it has seen of nodes into their records, and syncs it.
func (j *journal) transact(ctx context.Context, id string, fill func(*commitment) error) error {
	j.committing.Lock()
	defer j.committing.Unlock()
	tx, err := j.w.BeginTx(ctx, nil)
	if err != nil {
		return j.wrap("commit", err)
	}
	defer tx.Rollback()
	w := commitment{ctx: ctx, tx: tx, job: id, nodes: map[string]int64{}, seen: tallies{}}
	if err := fill(&w); err != nil {
		return j.wrap("commit", err)
	}
	changed, gone, err := w.remember(&j.known, time.Now())
	if err != nil {
		return j.wrap("commit", err)
	}
	if err := tx.Commit(); err != nil {
		return j.wrap("commit", err)
	}
	j.known.put(changed, gone)
	return nil
}

// commitment is one transaction being filled.
type commitment struct {
	ctx   context.Context
	tx    *sql.Tx
	job   string
	nodes map[string]int64
	seen  tallies
	doubt *bool // whether the job has votes, once it was asked for
}

// rowsPerInsert is how many results one statement takes: a statement costs as much as some ten rows.
const rowsPerInsert = 64

func (w *commitment) write(entries []entry) error {
	var plain []any
	flush := func() error {
		n := len(plain) / 4
		if n == 0 {
			return nil
		}
		_, err := w.tx.ExecContext(w.ctx, `INSERT OR IGNORE INTO result VALUES `+strings.TrimSuffix(strings.Repeat("(?,?,?,?),", n), ","), plain...)
		plain = plain[:0]
		return err
	}
	for _, e := range entries {
		var err error
		if e.checked {
			if err := w.checked(e); err != nil {
				return err
			}
		}
		switch {
		case e.promote:
			err = w.promote(e)
		case e.vote:
			err = w.vote(e)
		default:
			if !e.checked {
				w.seen.add(hardware{e.hire.node, e.hire.class}, unverified, 1)
			}
			var node int64
			if node, err = w.node(e.hire.node); err == nil {
				plain = append(plain, w.job, int64(e.result.Index), node, canon.MustEncode(e.result))
			}
			if len(plain) == 4*rowsPerInsert && err == nil {
				err = flush()
			}
		}
		if err != nil {
			return err
		}
	}
	return flush()
}

// checked notes that a task was checked, and the first time what that says of each node that had a part in it. Where a checker found one right, those whose results
// it refused are wrong; before, it might be the checker that is.
func (w *commitment) checked(e entry) error {
	done, err := w.tx.ExecContext(w.ctx, `INSERT OR IGNORE INTO checked VALUES (?, ?)`, w.job, int64(e.result.Index))
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		return err
	}
	if !e.promote {
		w.seen.add(hardware{e.hire.node, e.hire.class}, right, 1)
		if e.odd, err = w.voters(e); err != nil {
			return err
		}
	}
	for _, node := range e.right {
		if err := w.judged(node, right); err != nil {
			return err
		}
	}
	for _, node := range e.odd {
		if err := w.judged(node, wronged); err != nil {
			return err
		}
	}
	return nil
}

// voters lists the nodes besides its own whose votes on the task of an entry are in the journal.
func (w *commitment) voters(e entry) (nodes []string, err error) {
	if w.doubt == nil { // most jobs have none, and to look at each task would double what it costs
		w.doubt = new(bool)
		if err := w.tx.QueryRowContext(w.ctx, `SELECT EXISTS (SELECT 1 FROM vote WHERE job = ?)`, w.job).Scan(w.doubt); err != nil {
			return nil, err
		}
	}
	if !*w.doubt {
		return nil, nil
	}
	rows, err := w.tx.QueryContext(w.ctx, `SELECT node.peer FROM vote JOIN node ON node.id = vote.node WHERE job = ? AND idx = ? AND node.peer <> ? ORDER BY vote.node`, w.job, int64(e.result.Index), e.hire.node)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var node string
		if err := rows.Scan(&node); err != nil {
			return nil, err
		}
		nodes = append(nodes, node)
	}
	return nodes, rows.Err()
}

// judged counts a verdict on the result of a node, as the class that it voted as.
func (w *commitment) judged(node string, what func(*market.Tally) *uint64) error {
	var class string
	err := w.tx.QueryRowContext(w.ctx, `SELECT class.name FROM class JOIN node ON node.id = class.node WHERE node.peer = ?`, node).Scan(&class)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	w.seen.add(hardware{node, class}, what, 1)
	return nil
}

func (w *commitment) vote(e entry) error {
	node, err := w.node(e.hire.node)
	if err != nil {
		return err
	}
	w.doubt = nil
	done, err := w.tx.ExecContext(w.ctx, `INSERT OR IGNORE INTO vote VALUES (?, ?, ?, ?, ?)`, w.job, int64(e.result.Index), node, e.hire.owner, canon.MustEncode(e.result))
	if err == nil && e.wrong {
		err = w.refuted(e, done)
	}
	if err == nil && e.hire.class != "" {
		_, err = w.tx.ExecContext(w.ctx, `INSERT OR REPLACE INTO class VALUES (?, ?)`, node, e.hire.class)
	}
	return err
}

// refuted counts a refused result that came after another one of its task was found right.
func (w *commitment) refuted(e entry, written sql.Result) error {
	n, err := written.RowsAffected()
	if err != nil || n == 0 {
		return err
	}
	var known int
	err = w.tx.QueryRowContext(w.ctx, `SELECT count(*) FROM checked WHERE job = ? AND idx = ?`, w.job, int64(e.result.Index)).Scan(&known)
	if err == nil && known > 0 {
		w.seen.add(hardware{e.hire.node, e.hire.class}, wronged, 1)
	}
	return err
}

// promote makes the first vote with the accepted digest the result of its task.
func (w *commitment) promote(e entry) error {
	rows, err := w.tx.QueryContext(w.ctx, `SELECT vote.node, node.peer, vote.body FROM vote JOIN node ON node.id = vote.node WHERE job = ? AND idx = ? ORDER BY vote.node`, w.job, int64(e.result.Index))
	if err != nil {
		return err
	}
	votes, err := scanVotes(rows)
	if err != nil {
		return err
	}
	for _, v := range votes {
		if v.result.Digest() == e.digest {
			_, err = w.tx.ExecContext(w.ctx, `INSERT OR IGNORE INTO result VALUES (?, ?, ?, ?)`, w.job, int64(e.result.Index), v.node, v.body)
			if err == nil {
				_, err = w.tx.ExecContext(w.ctx, `DELETE FROM vote WHERE job = ? AND idx = ?`, w.job, int64(e.result.Index))
			}
			if err == nil && !e.checked {
				err = w.judged(v.peer, unverified)
			}
			return err
		}
	}
	return fmt.Errorf("task %d: the accepted vote is not in the journal", e.result.Index)
}

type cast struct {
	node   int64
	peer   string
	body   []byte
	result job.Result
}

func scanVotes(rows *sql.Rows) ([]cast, error) {
	defer rows.Close()
	var votes []cast
	for rows.Next() {
		var v cast
		if err := rows.Scan(&v.node, &v.peer, &v.body); err != nil {
			return nil, err
		}
		if err := canon.Decode(v.body, lease.MaxMessage, &v.result); err != nil {
			return nil, err
		}
		votes = append(votes, v)
	}
	return votes, rows.Err()
}

// node returns the small number that stands for a peer ID in result rows.
func (w *commitment) node(peer string) (int64, error) {
	if n, ok := w.nodes[peer]; ok {
		return n, nil
	}
	if _, err := w.tx.ExecContext(w.ctx, `INSERT OR IGNORE INTO node (peer) VALUES (?)`, peer); err != nil {
		return 0, err
	}
	var n int64
	err := w.tx.QueryRowContext(w.ctx, `SELECT id FROM node WHERE peer = ?`, peer).Scan(&n)
	w.nodes[peer] = n
	return n, err
}

// done calls each for the index of every task of the job in [from, to) that has a result.
func (j *journal) done(ctx context.Context, id string, from, to uint64, each func(index uint64)) error {
	rows, err := j.r.QueryContext(ctx, `SELECT idx FROM result WHERE job = ? AND idx >= ? AND idx < ?`, id, int64(from), int64(to))
	if err != nil {
		return j.wrap("read results", err)
	}
	defer rows.Close()
	for rows.Next() {
		var index int64
		if err := rows.Scan(&index); err != nil {
			return j.wrap("read results", err)
		}
		each(uint64(index))
	}
	return j.wrap("read results", rows.Err())
}

// votes calls each for every vote on undecided tasks of the job in [from, to).
func (j *journal) votes(ctx context.Context, id string, from, to uint64, each func(node, owner, class string, r job.Result)) error {
	rows, err := j.r.QueryContext(ctx, `SELECT node.peer, vote.owner, ifnull(class.name, ''), vote.body FROM vote JOIN node ON node.id = vote.node LEFT JOIN class ON class.node = vote.node WHERE job = ? AND idx >= ? AND idx < ?`, id, int64(from), int64(to))
	if err != nil {
		return j.wrap("read votes", err)
	}
	defer rows.Close()
	for rows.Next() {
		var node, owner, class string
		var body []byte
		var result job.Result
		if err := rows.Scan(&node, &owner, &class, &body); err != nil {
			return j.wrap("read votes", err)
		}
		if err := canon.Decode(body, lease.MaxMessage, &result); err != nil {
			return j.wrap("read votes", err)
		}
		each(node, owner, class, result)
	}
	return j.wrap("read votes", rows.Err())
}

// results calls each for the results of the job in [from, to) in the order of their indexes, until it returns an error.
func (j *journal) results(ctx context.Context, id string, from, to uint64, each func(node string, r job.Result) error) error {
	return j.rows(ctx, `SELECT node.peer, result.body FROM result JOIN node ON node.id = result.node WHERE job = ? AND idx >= ? AND idx < ? ORDER BY idx`, id, from, to, each)
}

func (j *journal) rows(ctx context.Context, query, id string, from, to uint64, each func(node string, r job.Result) error) error {
	rows, err := j.r.QueryContext(ctx, query, id, int64(from), int64(to))
	if err != nil {
		return j.wrap("read results", err)
	}
	defer rows.Close()
	for rows.Next() {
		var node string
		var body []byte
		var result job.Result
		if err := rows.Scan(&node, &body); err != nil {
			return j.wrap("read results", err)
		}
		if err := canon.Decode(body, lease.MaxMessage, &result); err != nil {
			return j.wrap("read results", err)
		}
		if err := each(node, result); err != nil {
			return err
		}
	}
	return j.wrap("read results", rows.Err())
}

// vote returns the vote on a task that has this digest, and the node that cast it.
func (j *journal) vote(ctx context.Context, id string, index uint64, digest [32]byte) (node string, r job.Result, err error) {
	found := false
	err = j.unsettled(ctx, id, index, index+1, func(n string, x job.Result) error {
		if !found && x.Digest() == digest {
			node, r, found = n, x, true
		}
		return nil
	})
	if err == nil && !found {
		err = j.wrap("read votes", fmt.Errorf("task %d has no vote with the accepted digest", index))
	}
	return node, r, err
}

// shares counts the results of a job by node.
func (j *journal) shares(ctx context.Context, id string) (map[string]int, error) {
	rows, err := j.r.QueryContext(ctx, `SELECT node.peer, count(*) FROM result JOIN node ON node.id = result.node WHERE job = ? GROUP BY node.peer`, id)
	if err != nil {
		return nil, j.wrap("count results", err)
	}
	defer rows.Close()
	found := map[string]int{}
	for rows.Next() {
		var node string
		var n int
		if err := rows.Scan(&node, &n); err != nil {
			return nil, j.wrap("count results", err)
		}
		found[node] = n
	}
	return found, j.wrap("count results", rows.Err())
}

// verified counts the tasks of a job whose result was checked.
func (j *journal) verified(ctx context.Context, id string) (n int, err error) {
	err = j.r.QueryRowContext(ctx, `SELECT count(*) FROM checked JOIN result USING (job, idx) WHERE job = ?`, id).Scan(&n)
	return n, j.wrap("count results", err)
}

// unsettled calls each for the votes on tasks of the job in [from, to) that are not decided.
func (j *journal) unsettled(ctx context.Context, id string, from, to uint64, each func(node string, r job.Result) error) error {
	return j.rows(ctx, `SELECT node.peer, vote.body FROM vote JOIN node ON node.id = vote.node WHERE job = ? AND idx >= ? AND idx < ? ORDER BY idx, vote.node`, id, from, to, each)
}
