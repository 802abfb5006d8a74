package api

import (
	"context"
	"io"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
)

// answer is a plain JSON body.
type answer[T any] struct{ Body T }

// tell is a handler's end: a body, or an error in its shape.
func tell[T any](v T, err error) (*answer[T], error) {
	if err != nil {
		return nil, fail(err)
	}
	return &answer[T]{Body: v}, nil
}

// none is the body of a success that has nothing to tell.
type none struct{}

// ByJob names a job; it is exported because reflection does not look into other embedded structs.
type ByJob struct {
	ID string `path:"id" maxLength:"128" doc:"a job's name, or the beginning of one that only one job has"`
}

type submission struct {
	Live    bool `query:"live" doc:"the standard input comes by POST /v1/jobs/{id}/stdin"`
	RawBody []byte
}

type taskOf struct {
	ByJob
	Task int64 `query:"task" default:"-1" minimum:"-1" doc:"index of one task; -1 = all"`
}

type outputFrom struct {
	ByJob
	Stdout int64 `query:"stdout" minimum:"0" doc:"offset in standard output to begin at"`
	Stderr int64 `query:"stderr" minimum:"0" doc:"offset in standard error to begin at"`
}

// Upload reads a body as it comes, without a limit of size or time.
type Upload struct{ body io.Reader }

// Resolve keeps the body's reader.
func (u *Upload) Resolve(ctx huma.Context) []error {
	u.body = ctx.BodyReader()
	return nil
}

type stdinOf struct {
	ByJob
	Upload
}

func (s *Server) routes(api huma.API) {
	s.jobRoutes(api)
	s.jobStreams(api)
	s.contentRoutes(api)
	s.nodeRoutes(api)
	s.shareRoutes(api)
	s.chainRoutes(api)
	for _, item := range api.OpenAPI().Paths { // every failure has one shape
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put} {
			if op != nil {
				op.Responses["default"] = failureResponse(api)
			}
		}
	}
}

func failureResponse(api huma.API) *huma.Response {
	schema := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[client.ErrorBody](), true, "")
	return &huma.Response{Description: "a failure", Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}
}

func (s *Server) jobRoutes(api huma.API) {
	huma.Register(api, specOperation(api, "submit-job", "/v1/jobs", "Hand a job in"), func(ctx context.Context, in *submission) (*answer[client.Submitted], error) {
		spec, err := readSpec(in.RawBody)
		if err != nil {
			return nil, fail(err)
		}
		id, err := s.jobs.Submit(ctx, spec, in.Live)
		return tell(client.Submitted{Job: id}, err)
	})
	huma.Register(api, specOperation(api, "preview-job", "/v1/preview", "Tell who could run a job now"), func(ctx context.Context, in *submission) (*answer[job.Why], error) {
		spec, err := readSpec(in.RawBody)
		if err != nil {
			return nil, fail(err)
		}
		return tell(s.jobs.Preview(ctx, spec))
	})
	huma.Get(api, "/v1/jobs", func(ctx context.Context, _ *struct{}) (*answer[[]job.Status], error) {
		return tell(s.jobs.Jobs(ctx))
	}, named("list-jobs", "All jobs, the newest first"))
	huma.Get(api, "/v1/jobs/{id}", func(ctx context.Context, in *ByJob) (*answer[job.Status], error) {
		return tell(s.jobs.Job(ctx, in.ID))
	}, named("show-job", "How a job is"))
	huma.Get(api, "/v1/jobs/{id}/why", func(ctx context.Context, in *ByJob) (*answer[job.Why], error) {
		return tell(s.jobs.Why(ctx, in.ID))
	}, named("explain-job", "Where a job stands, and why"))
	huma.Get(api, "/v1/jobs/{id}/cost", func(ctx context.Context, in *ByJob) (*answer[job.Cost], error) {
		return tell(s.jobs.Cost(ctx, in.ID))
	}, named("job-cost", "What a job has cost so far"))
	huma.Get(api, "/v1/jobs/{id}/logs", func(ctx context.Context, in *taskOf) (*answer[[]job.Log], error) {
		return tell(s.jobs.Logs(ctx, in.ID, in.Task))
	}, named("job-logs", "What tasks said and how they ended"))
	huma.Post(api, "/v1/jobs/{id}/cancel", func(ctx context.Context, in *ByJob) (*answer[none], error) {
		return tell(none{}, s.jobs.Cancel(ctx, in.ID))
	}, named("cancel-job", "Stop a job"))
	huma.Post(api, "/v1/jobs/{id}/rerun", func(ctx context.Context, in *ByJob) (*answer[client.Submitted], error) {
		id, err := s.jobs.Rerun(ctx, in.ID)
		return tell(client.Submitted{Job: id}, err)
	}, named("rerun-job", "Hand the same job in again"))
}

func (s *Server) jobStreams(api huma.API) {
	huma.Get(api, "/v1/jobs/{id}/events", func(ctx context.Context, in *ByJob) (*huma.StreamResponse, error) {
		ctx, stop := context.WithCancel(ctx)
		changes, err := s.jobs.Watch(ctx, in.ID)
		if err != nil {
			stop()
			return nil, fail(err)
		}
		return respond(func(e *events) error {
			defer stop()
			return relay(ctx, e, changes, func(st job.Status) error { return e.send("", st) })
		}), nil
	}, named("watch-job", "A job's status now and at every change, until it is final"), streams(api, job.Status{}))
	huma.Get(api, "/v1/jobs/{id}/output", func(ctx context.Context, in *outputFrom) (*huma.StreamResponse, error) {
		ctx, stop := context.WithCancel(ctx)
		chunks, err := s.jobs.Output(ctx, in.ID)
		if err != nil {
			stop()
			return nil, fail(err)
		}
		from := map[int]int64{1: in.Stdout, 2: in.Stderr}
		return respond(func(e *events) error {
			defer stop()
			return relay(ctx, e, chunks, func(c job.Chunk) error { return sendFrom(e, c, from[c.FD]) })
		}), nil
	}, named("job-output", "What a Batch job writes, from its beginning or an offset on, until its end"), streams(api, job.Chunk{}))
	huma.Post(api, "/v1/jobs/{id}/stdin", func(ctx context.Context, in *stdinOf) (*answer[none], error) {
		return tell(none{}, s.jobs.Stdin(ctx, in.ID, in.body))
	}, named("job-stdin", "Stream the standard input of a job that was handed in live"), takesBytes)
}

// maxChunk is the largest piece of output in one event, in bytes.
const maxChunk = 256 << 10

// sendFrom sends the part of a chunk from offset on, in pieces that a reader can hold.
func sendFrom(e *events, c job.Chunk, offset int64) error {
	if skip := min(offset-c.Offset, int64(len(c.Data))); skip > 0 {
		c.Offset, c.Data = c.Offset+skip, c.Data[skip:]
	}
	for len(c.Data) > 0 {
		piece := c
		piece.Data = c.Data[:min(len(c.Data), maxChunk)]
		if err := e.send("", piece); err != nil {
			return err
		}
		c.Offset, c.Data = c.Offset+int64(len(piece.Data)), c.Data[len(piece.Data):]
	}
	return nil
}

// readSpec reads a specification as strictly as from a file and fills its defaults in.
func readSpec(text []byte) (job.Spec, error) {
	spec, err := job.Parse(text)
	if err != nil {
		return spec, err
	}
	spec = spec.Filled()
	return spec, spec.Check()
}

func specOperation(api huma.API, id, path, summary string) huma.Operation {
	schema := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[job.Spec](), true, "")
	return huma.Operation{
		OperationID: id, Method: http.MethodPost, Path: path, Summary: summary, MaxBodyBytes: job.MaxSpec, SkipValidateBody: true,
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}},
	}
}

func named(id, summary string) func(*huma.Operation) {
	return func(op *huma.Operation) { op.OperationID, op.Summary = id, summary }
}

func streams(api huma.API, v any) func(*huma.Operation) {
	return func(op *huma.Operation) { op.Responses = eventStream(api, v) }
}

func takesBytes(op *huma.Operation) {
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
	}}
}
