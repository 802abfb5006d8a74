package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
)

// patience is how long a command waits for a node that went away to come back on the same home.
const patience = 60 * time.Second

// retry is the pause between attempts to reach it.
const retry = 200 * time.Millisecond

// steadily runs f again, on a fresh client, while the node is away: a node that is restarted goes on with its jobs, and so do we.
func (s *shell) steadily(ctx context.Context, f func(*client.Client) error) error {
	var since time.Time
	for {
		api, err := s.open()
		if err == nil {
			began := time.Now()
			err = f(api)
			api.Close()
			if time.Since(began) > retry {
				since = time.Time{} // it was there
			}
		}
		var failure *job.Failure
		away := errors.Is(err, client.ErrCut) || errors.As(err, &failure) && failure.Code == job.CodeUnavailable
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !away {
			return err
		}
		if since.IsZero() {
			since = time.Now()
			s.note("the node is away; waiting for it on %s (Ctrl-C detaches)", s.home)
		}
		if time.Since(since) > patience {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retry):
		}
	}
}

// watch follows a job to its end and returns its last status.
func (s *shell) watch(ctx context.Context, id string, step func(job.Status)) (last job.Status, err error) {
	err = s.steadily(ctx, func(api *client.Client) error {
		err := api.Watch(ctx, id, func(st job.Status) error {
			last = st
			if step != nil {
				step(st)
			}
			return nil
		})
		if err == nil && !last.State.Final() {
			return client.ErrCut
		}
		return err
	})
	return last, err
}

// copyOutput writes what a Batch job says, each byte once, whatever happens to the node in between.
func (s *shell) copyOutput(ctx context.Context, id string, stdout, stderr io.Writer) error {
	at := map[int]int64{}
	to := map[int]io.Writer{1: stdout, 2: stderr}
	return s.steadily(ctx, func(api *client.Client) error {
		return api.Output(ctx, id, at[1], at[2], func(c job.Chunk) error {
			w := to[c.FD]
			skip := at[c.FD] - c.Offset
			if w == nil || skip >= int64(len(c.Data)) {
				return nil
			}
			data := c.Data[max(skip, 0):]
			at[c.FD] = c.Offset + int64(len(c.Data))
			_, err := w.Write(data)
			return err
		})
	})
}

// accompany follows a Batch job with its streams: stdin goes in if it is not nil, the outputs come out.
func (s *shell) accompany(ctx context.Context, id string, stdin io.Reader, stdout, stderr io.Writer, step func(job.Status)) (job.Status, error) {
	inputs, closeInput := context.WithCancel(ctx)
	defer closeInput()
	if stdin != nil {
		go func() { // it may wait for a keyboard for ever and is left alone when the job is over
			err := s.feed(inputs, id, stdin)
			if err != nil && inputs.Err() == nil {
				s.note("hpips: standard input broke off: %v", err)
			}
		}()
	}
	var last job.Status
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.copyOutput(ctx, id, stdout, stderr) })
	g.Go(func() (err error) {
		last, err = s.watch(ctx, id, step)
		return err
	})
	err := g.Wait()
	return last, err
}

func (s *shell) feed(ctx context.Context, id string, r io.Reader) error {
	api, err := s.open()
	if err != nil {
		return err
	}
	defer api.Close()
	err = api.Stdin(ctx, id, r)
	var f *job.Failure
	if errors.As(err, &f) && (f.Code == job.CodeUnavailable || f.Code == job.CodeUsage) {
		return nil // the job ended and left its input unread, or the node went away: the status tells
	}
	return err
}

// detached tells how to come back to a job that goes on, and gives the exit code for that.
func (s *shell) detached(id string) error {
	if s.formal() {
		ctx, stop := context.WithTimeout(context.Background(), 2*time.Second)
		defer stop()
		st := job.Status{Job: id, State: job.Pending}
		if api, err := s.open(); err == nil {
			defer api.Close()
			if now, err := api.Job(ctx, id); err == nil {
				st = now
			}
		}
		if err := s.encode(st); err != nil {
			return err
		}
		return exit(exitDetached)
	}
	fmt.Fprintf(s.err, "\nthe job goes on; come back with: hpips job wait %s   stop it with: hpips job cancel %s\n", id, id)
	return exit(exitDetached)
}

// code is the exit code that a job's last status asks for.
func code(st job.Status) int {
	if st.Error != nil {
		return st.Error.ExitCode(st.ExitCode)
	}
	return st.ExitCode
}

// progress returns a step that shows a job's way in a line that is redrawn on a terminal; elsewhere there is none.
func (s *shell) progress() (step func(job.Status), end func()) {
	if s.formal() || s.quiet || !terminal(s.err) {
		return nil, func() {}
	}
	drawn := false
	step = func(st job.Status) {
		drawn = true
		fmt.Fprintf(s.err, "\r\x1b[K%s", progressLine(st))
	}
	return step, func() {
		if drawn {
			fmt.Fprint(s.err, "\r\x1b[K")
		}
	}
}

// arriving returns a step that shows container images on their way to nodes in such a line, and nothing of a job once they are there: what its program says follows.
func (s *shell) arriving() (step func(job.Status), end func()) {
	if s.formal() || s.quiet || !terminal(s.err) {
		return nil, func() {}
	}
	return arrivals(s.err)
}

func arrivals(to io.Writer) (step func(job.Status), end func()) {
	drawn := false
	end = func() {
		if drawn {
			fmt.Fprint(to, "\r\x1b[K")
		}
		drawn = false
	}
	return func(st job.Status) {
		if st.Coming == nil {
			end()
			return
		}
		drawn = true
		fmt.Fprintf(to, "\r\x1b[K%s", arrivingText(st.Coming))
	}, end
}

func arrivingText(c *job.Coming) string {
	return fmt.Sprintf("image on its way to %s: %s so far", job.Several(c.Nodes, "node"), bytesText(c.Bytes))
}

func progressLine(st job.Status) string {
	line := fmt.Sprintf("job %s  %s  %d/%s  %s  %.1f s", st.Job, st.State, st.Tasks.Done, job.Several(st.Tasks.Total, "task"), job.Several(len(st.Nodes), "node"), st.Seconds)
	if st.Tasks.Lost > 0 {
		line += fmt.Sprintf("  %d lost", st.Tasks.Lost)
	}
	if st.Coming != nil {
		line += "  " + arrivingText(st.Coming)
	}
	return line
}

// summary is the last line about a job, for people.
func summary(st job.Status) string {
	line := fmt.Sprintf("job %s %s: %d of %s on %s in %.1f s", st.Job, st.State, st.Tasks.Done, job.Several(st.Tasks.Total, "task"), job.Several(len(st.Nodes), "node"), st.Seconds)
	if st.Verified > 0 {
		line += fmt.Sprintf(", %d checked", st.Verified)
	}
	if st.Tasks.Lost > 0 || st.Tasks.Rerun > 0 {
		line += fmt.Sprintf(", %d lost, %d run again", st.Tasks.Lost, st.Tasks.Rerun)
	}
	if len(st.Odd) > 0 {
		line += fmt.Sprintf(", %s gave a wrong result", job.Several(len(st.Odd), "node"))
	}
	return line
}
