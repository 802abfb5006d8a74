package requester

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/spec/job"
)

func (r *Requester) spool(id, name string) (*spool, error) {
	dir := filepath.Join(r.cfg.Dir, "streams")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("stream folder: %w", err)
	}
	return openSpool(filepath.Join(dir, id+"."+name))
}

func (e *errand) closeSpools() {
	for _, s := range []*spool{e.stdin, e.out, e.err} {
		if s != nil {
			s.end()
		}
	}
}

// Output sends the standard output (FD 1) and error (FD 2) of a Batch from the beginning, then as they come. The channel is closed at
// the end of the job, or when ctx or the requester ends.
func (r *Requester) Output(ctx context.Context, id string) (<-chan job.Chunk, error) {
	rec, err := r.find(ctx, id)
	if err != nil {
		return nil, err
	}
	if rec.Spec.Kind != job.Batch {
		return nil, &job.Failure{Code: job.CodeUsage, Message: "only a Batch streams its output", Hint: "hpips job results " + rec.ID}
	}
	e := r.live(rec.ID)
	if e == nil || e.out == nil || e.err == nil {
		return r.replay(ctx, rec)
	}
	out := make(chan job.Chunk)
	both := make(chan struct{}, 2)
	for fd, s := range map[int]*spool{1: e.out, 2: e.err} {
		r.reading.Go(func() {
			defer func() { both <- struct{}{} }()
			_ = s.follow(ctx, r.life.Done(), func(offset int64, data []byte, _ bool) error { // its errors end the stream, as its end does
				select {
				case out <- job.Chunk{FD: fd, Offset: offset, Data: slices.Clone(data)}:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				case <-r.life.Done():
					return io.EOF
				}
			})
		})
	}
	r.reading.Go(func() { <-both; <-both; close(out) })
	return out, nil
}

// show gives the output of a Batch that was not streamed, because a checker had to judge it first, to whoever follows it.
func (r *Requester) show(ctx context.Context, e *errand, x job.Result) {
	if e.spec.Kind != job.Batch || e.spec.Verify.Mode != job.Check || e.out == nil || e.err == nil {
		return
	}
	e.err.write(0, x.Stderr)
	if x.Stdout.CID == "" {
		e.out.write(0, x.Stdout.Inline)
		return
	}
	root, err := cid.Decode(x.Stdout.CID)
	if err != nil {
		return // it was fetched by that address
	}
	whole, err := r.deps.Store.Open(ctx, root)
	if err != nil {
		r.log.Warn("Output cannot be shown", "job", e.id, "err", err)
		return
	}
	defer whole.Close()
	for at, buf := int64(0), make([]byte, chunk); ; {
		n, err := io.ReadFull(whole, buf)
		e.out.write(at, buf[:n])
		if at += int64(n); err != nil {
			return
		}
	}
}

// replay sends the output of a Batch that is over, from its result.
func (r *Requester) replay(ctx context.Context, rec record) (<-chan job.Chunk, error) {
	var said []job.Result
	if err := r.journal.results(ctx, rec.ID, 0, 1, func(_ string, x job.Result) error { said = append(said, x); return nil }); err != nil || len(said) == 0 {
		out := make(chan job.Chunk)
		close(out)
		return out, err
	}
	whole := io.NopCloser(bytes.NewReader(said[0].Stdout.Inline))
	if address := said[0].Stdout.CID; address != "" {
		root, err := cid.Decode(address)
		if err != nil {
			return nil, err
		}
		if whole, err = r.deps.Store.Open(ctx, root); err != nil {
			return nil, err
		}
	}
	out := make(chan job.Chunk, 1)
	out <- job.Chunk{FD: 2, Data: said[0].Stderr}
	r.reading.Go(func() {
		defer close(out)
		defer whole.Close()
		for at := int64(0); ; {
			buf := make([]byte, chunk)
			n, err := io.ReadFull(whole, buf)
			select {
			case out <- job.Chunk{FD: 1, Offset: at, Data: buf[:n]}:
			case <-ctx.Done():
				return
			case <-r.life.Done():
				return
			}
			if at += int64(n); err != nil {
				return // the end, or content that is not to be had any more
			}
		}
	})
	return out, nil
}

// Stdin streams in into the live standard input of a job until EOF. An end of ctx before that ends the input too.
func (r *Requester) Stdin(ctx context.Context, id string, in io.Reader) error {
	rec, err := r.find(ctx, id)
	if err != nil {
		return err
	}
	e := r.live(rec.ID)
	if !rec.Live || e == nil || e.stdin == nil {
		return &job.Failure{Code: job.CodeUsage, Message: "job " + rec.ID + " takes no live standard input", Hint: "it was not submitted with one, or it is over"}
	}
	return e.stdin.fill(in)
}
