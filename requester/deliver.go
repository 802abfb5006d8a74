package requester

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/plan"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/store"
)

// Store keeps contents by address; *store.Store is one.
type Store interface {
	Add(ctx context.Context, r io.Reader) (store.Entry, error)
	AddBytes(ctx context.Context, data []byte) (store.Entry, error)
	AddFiles(ctx context.Context, files iter.Seq2[string, []byte]) ([]store.Link, error)
	Dir(ctx context.Context, links []store.Link) (store.Entry, error)
	Tree(ctx context.Context, c cid.Cid) ([]store.File, error)
	Size(ctx context.Context, c cid.Cid) (uint64, error)
	Resolve(ctx context.Context, ref string) (cid.Cid, error)
	Open(ctx context.Context, c cid.Cid) (store.Reader, error)
	Export(ctx context.Context, c cid.Cid, hostPath string, limit int64, progress func(store.Progress)) error
	Fetch(ctx context.Context, c cid.Cid, progress func(store.Progress), from ...peer.ID) (int64, error)
	Pin(ctx context.Context, c cid.Cid, name string) error
}

// task is what a provider is told of task i of the first phase.
func (e *errand) task(ctx context.Context, j *journal, i uint64) (job.Task, error) {
	t := job.Task{Index: i, Env: plan.Env(e.spec.Over, i)}
	if e.spec.Over == nil || e.spec.Over.Count > 0 {
		return t, nil
	}
	if len(e.spec.Over.Matrix) > 0 {
		values, err := json.Marshal(t.Env)
		t.Path, t.Input = "/in/matrix.json", &job.Content{Inline: values, Size: int64(len(values))}
		return t, err
	}
	p, err := j.part(ctx, e.id, i)
	t.Path, t.Input = p.Path, &p.Content
	return t, err
}

// partsDir makes the directory of all parts' standard outputs. sorted pads their names with zeros, as the reduce sees them.
func (r *Requester) partsDir(ctx context.Context, e *errand, count uint64, sorted bool) (job.Content, error) {
	if e.enter(job.Verifying) {
		r.note(ctx, e, "all parts are done, their results are put together")
	}
	name := func(index uint64) string {
		if sorted {
			return plan.SortedPartName(index, count)
		}
		return plan.PartName(index)
	}
	var large []store.Link
	var failed error
	small := func(yield func(string, []byte) bool) {
		failed = r.journal.results(ctx, e.id, 0, count, func(_ string, result job.Result) error {
			if result.Stdout.CID == "" {
				if !yield(name(result.Index), result.Stdout.Inline) {
					return io.ErrUnexpectedEOF
				}
				return nil
			}
			root, err := cid.Decode(result.Stdout.CID)
			large = append(large, store.Link{Name: name(result.Index), CID: root, Size: uint64(result.Stdout.Size)})
			return err
		})
	}
	links, err := r.deps.Store.AddFiles(ctx, small)
	if err == nil {
		err = failed
	}
	if err != nil {
		return job.Content{}, fmt.Errorf("gather the parts: %w", err)
	}
	dir, err := r.deps.Store.Dir(ctx, append(links, large...))
	if err != nil {
		return job.Content{}, fmt.Errorf("gather the parts: %w", err)
	}
	return job.Content{CID: dir.CID.String(), Size: int64(dir.Size)}, nil
}

// deliver makes the result of a job without a reduce: the standard output of a Batch, the directory of parts of a Map.
func (r *Requester) deliver(ctx context.Context, e *errand, count uint64) error {
	if e.spec.Kind == job.Batch {
		return r.deliverOne(ctx, e, 0)
	}
	dir, err := r.partsDir(ctx, e, count, false)
	if err != nil {
		return err
	}
	return r.hand(ctx, e, dir.CID, nil)
}

// deliverReduced makes the reduce's standard output the result.
func (r *Requester) deliverReduced(ctx context.Context, e *errand) error {
	return r.deliverOne(ctx, e, job.ReduceIndex)
}

// deliverOne makes the standard output and the outputs of one task the result of the job.
func (r *Requester) deliverOne(ctx context.Context, e *errand, index uint64) error {
	return r.journal.results(ctx, e.id, index, index+1, func(_ string, result job.Result) error {
		r.show(ctx, e, result)
		address := result.Stdout.CID
		if address == "" {
			entry, err := r.deps.Store.AddBytes(ctx, result.Stdout.Inline)
			if err != nil {
				return err
			}
			address = entry.CID.String()
		}
		return r.hand(ctx, e, address, result.Outputs)
	})
}

// hand pins the result and tells its address.
func (r *Requester) hand(ctx context.Context, e *errand, address string, outputs map[string]job.Content) error {
	keep := []string{address}
	for _, c := range outputs {
		keep = append(keep, c.CID)
	}
	for _, c := range keep {
		root, err := cid.Decode(c)
		if err != nil {
			return fmt.Errorf("result %q: %w", c, err)
		}
		if err := r.deps.Store.Pin(ctx, root, "job "+e.id); err != nil {
			return fmt.Errorf("pin result: %w", err)
		}
	}
	e.change(func(s *job.Status) { s.Result, s.Outputs = address, outputs })
	return nil
}
