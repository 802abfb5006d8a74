package api

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
)

type byAddress struct {
	Address string `query:"address" required:"true" maxLength:"4096" doc:"CID, ipfs://CID/path or /ipfs/CID/path"`
	Idle    int    `query:"idle" minimum:"0" maximum:"86400" doc:"seconds without progress after which it is given up; 0 = 60"`
}

type importing struct{ Body client.Paths }

type pinning struct {
	Address string `query:"address" required:"true" maxLength:"4096"`
	Body    client.Pinning
}

type exporting struct {
	Address string `query:"address" required:"true" maxLength:"4096"`
	Body    client.Export
}

func (s *Server) contentRoutes(api huma.API) {
	huma.Post(api, "/v1/content", func(ctx context.Context, in *Upload) (*answer[client.Entry], error) {
		return tell(s.content.Add(ctx, in.body))
	}, named("add-content", "Bring the request's body into the store as one file"), takesBytes)
	huma.Post(api, "/v1/content/import", func(ctx context.Context, in *importing) (*huma.StreamResponse, error) {
		if !filepath.IsAbs(in.Body.Path) {
			return nil, fail(notAbsolute(in.Body.Path))
		}
		return transfer(ctx, func(ctx context.Context, progress func(client.Progress)) (client.Entry, error) {
			return s.content.Import(ctx, in.Body.Path, progress)
		}), nil
	}, named("import-content", "Bring a file or folder of this machine into the store"), streams(api, client.Transfer{}))
	huma.Post(api, "/v1/content/export", func(ctx context.Context, in *exporting) (*huma.StreamResponse, error) {
		if !filepath.IsAbs(in.Body.Path) {
			return nil, fail(notAbsolute(in.Body.Path))
		}
		return transfer(ctx, func(ctx context.Context, progress func(client.Progress)) (client.Entry, error) {
			return s.content.Export(ctx, in.Address, in.Body, progress)
		}), nil
	}, named("export-content", "Write content to a path of this machine"), streams(api, client.Transfer{}))
	huma.Post(api, "/v1/content/draft", func(ctx context.Context, in *pinning) (*answer[client.Draft], error) {
		return tell(s.content.Draft(ctx, in.Address, in.Body))
	}, named("draft-deal", "Make the parts of an object for a deal, and say what the deal is to record"))
	huma.Get(api, "/v1/content/list", func(ctx context.Context, in *byAddress) (*answer[client.Listing], error) {
		return tell(s.content.List(ctx, in.Address, idle(in.Idle)))
	}, named("list-content", "What an address leads to"))
	huma.Get(api, "/v1/content", s.readContent, named("read-content", "The bytes of a file"), func(op *huma.Operation) {
		op.Responses = map[string]*huma.Response{"200": {Description: "the file", Content: map[string]*huma.MediaType{
			"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
		}}}
	})
}

func notAbsolute(path string) error {
	return &job.Failure{Code: job.CodeUsage, Message: strconv.Quote(path) + " is not an absolute path", Hint: "the node may run in another folder than you do"}
}

func idle(seconds int) time.Duration {
	if seconds == 0 {
		return time.Minute
	}
	return time.Duration(seconds) * time.Second
}

func (s *Server) readContent(ctx context.Context, in *byAddress) (*huma.StreamResponse, error) {
	r, size, err := s.content.Read(ctx, in.Address, idle(in.Idle))
	if err != nil {
		return nil, fail(err)
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer r.Close()
		ctx.SetHeader("Content-Type", "application/octet-stream") // content is hostile: it is never shown as a page
		ctx.SetHeader("Content-Disposition", "attachment")
		ctx.SetHeader("Content-Length", strconv.FormatInt(size, 10))
		ctx.SetStatus(http.StatusOK)
		if n, err := io.Copy(ctx.BodyWriter(), r); err != nil || n != size {
			s.log.Debug("content was not sent whole", "address", in.Address, "sent", n, "size", size, "err", err)
			panic(http.ErrAbortHandler) // the reader must not take a part for the whole
		}
	}}, nil
}

// transfer streams progress, ten times a second at most, and at last the entry.
func transfer(ctx context.Context, work func(context.Context, func(client.Progress)) (client.Entry, error)) *huma.StreamResponse {
	return respond(func(e *events) error {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		steps := make(chan client.Progress, 1)
		type outcome struct {
			entry client.Entry
			err   error
		}
		ended := make(chan outcome, 1)
		go func() {
			entry, err := work(ctx, func(p client.Progress) { latest(steps, p) })
			ended <- outcome{entry, err}
		}()
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		silent := 0
		for {
			select {
			case end := <-ended:
				if end.err != nil {
					return end.err
				}
				return e.send("", client.Transfer{Entry: &end.entry})
			case <-tick.C:
			}
			var err error
			select {
			case p := <-steps:
				silent = 0
				err = e.send("", client.Transfer{Progress: &p})
			default:
				if silent++; silent%int(beat/(100*time.Millisecond)) == 0 {
					err = e.alive()
				}
			}
			if err != nil { // the reader is gone: the work ends and is waited for
				stop()
				<-ended
				return err
			}
		}
	})
}

// latest puts v into a channel of one place, in the place of what waits there. Only one goroutine may call it.
func latest[T any](to chan T, v T) {
	select {
	case to <- v:
		return
	default:
	}
	select {
	case <-to:
	default:
	}
	select {
	case to <- v:
	default:
	}
}
