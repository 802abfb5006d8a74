package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/hpips/hpips/spec/job"
)

func jobPath(id, part string) string { return "/v1/jobs/" + url.PathEscape(id) + part }

// Submit hands a job in and returns its name. The specification holds content addresses, no paths of this machine. With live, the standard
// input comes through Stdin.
func (c *Client) Submit(ctx context.Context, spec job.Spec, live bool) (string, error) {
	var s Submitted
	err := c.call(ctx, http.MethodPost, "/v1/jobs", url.Values{"live": {strconv.FormatBool(live)}}, spec, &s)
	return s.Job, err
}

// Preview tells who could run a job now.
func (c *Client) Preview(ctx context.Context, spec job.Spec) (job.Why, error) {
	var w job.Why
	err := c.call(ctx, http.MethodPost, "/v1/preview", nil, spec, &w)
	return w, err
}

// Jobs lists all jobs, the newest first.
func (c *Client) Jobs(ctx context.Context) ([]job.Status, error) {
	var s []job.Status
	err := c.call(ctx, http.MethodGet, "/v1/jobs", nil, nil, &s)
	return s, err
}

// Job tells how a job is; id may be the beginning of a name that only one job has.
func (c *Client) Job(ctx context.Context, id string) (job.Status, error) {
	var s job.Status
	err := c.call(ctx, http.MethodGet, jobPath(id, ""), nil, nil, &s)
	return s, err
}

// Watch hands out a job's status now and at every change, until it is final.
func (c *Client) Watch(ctx context.Context, id string, f func(job.Status) error) error {
	return c.stream(ctx, http.MethodGet, jobPath(id, "/events"), nil, nil, each(f))
}

// Output hands out what a Batch job writes, from the given offsets of standard output and error on, until the job's end.
func (c *Client) Output(ctx context.Context, id string, stdout, stderr int64, f func(job.Chunk) error) error {
	q := url.Values{"stdout": {strconv.FormatInt(stdout, 10)}, "stderr": {strconv.FormatInt(stderr, 10)}}
	return c.stream(ctx, http.MethodGet, jobPath(id, "/output"), q, nil, each(f))
}

// Stdin streams r into a job that was submitted live, until r ends or the job does.
func (c *Client) Stdin(ctx context.Context, id string, r io.Reader) error {
	resp, err := c.do(ctx, http.MethodPost, jobPath(id, "/stdin"), nil, io.NopCloser(r), "application/octet-stream")
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Cancel stops a job.
func (c *Client) Cancel(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodPost, jobPath(id, "/cancel"), nil, nil, nil)
}

// Rerun hands the same job in again and returns the new name.
func (c *Client) Rerun(ctx context.Context, id string) (string, error) {
	var s Submitted
	err := c.call(ctx, http.MethodPost, jobPath(id, "/rerun"), nil, nil, &s)
	return s.Job, err
}

// Why explains where a job stands.
func (c *Client) Why(ctx context.Context, id string) (job.Why, error) {
	var w job.Why
	err := c.call(ctx, http.MethodGet, jobPath(id, "/why"), nil, nil, &w)
	return w, err
}

// Cost tells what a job has cost so far.
func (c *Client) Cost(ctx context.Context, id string) (job.Cost, error) {
	var cost job.Cost
	err := c.call(ctx, http.MethodGet, jobPath(id, "/cost"), nil, nil, &cost)
	return cost, err
}

// Logs tells what tasks said and how they ended; task -1 is all of them.
func (c *Client) Logs(ctx context.Context, id string, task int64) ([]job.Log, error) {
	var l []job.Log
	err := c.call(ctx, http.MethodGet, jobPath(id, "/logs"), url.Values{"task": {strconv.FormatInt(task, 10)}}, nil, &l)
	return l, err
}
