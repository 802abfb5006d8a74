package api

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/hpips/hpips/api/client"
)

// beat is how often a silent stream says that it lives.
const beat = 15 * time.Second

// events writes server-sent events. A slow reader slows the writer down; it is not cut off.
type events struct {
	w     http.ResponseWriter
	flush *http.ResponseController
}

// send writes one event; v is its data.
func (e *events) send(name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if name != "" {
		text = append([]byte("event: "+name+"\ndata: "), text...)
	} else {
		text = append([]byte("data: "), text...)
	}
	if _, err := e.w.Write(append(text, '\n', '\n')); err != nil {
		return err
	}
	return e.flush.Flush()
}

func (e *events) alive() error {
	if _, err := e.w.Write([]byte(":\n\n")); err != nil {
		return err
	}
	return e.flush.Flush()
}

// finish ends a stream with what came of it.
func (e *events) finish(err error) {
	if err != nil {
		_ = e.send(client.EventError, AsFailure(err)) // a reader that is gone needs no end
		return
	}
	_ = e.send(client.EventEnd, struct{}{})
}

// respond starts a stream of events and runs write, whose error is told as the last event.
func respond(write func(*events) error) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		_, w := humago.Unwrap(ctx)
		ctx.SetHeader("Content-Type", "text/event-stream")
		ctx.SetStatus(http.StatusOK)
		e := &events{w: w, flush: http.NewResponseController(w)}
		e.finish(write(e))
	}}
}

// relay passes on what comes through a channel, and sends a sign of life where nothing comes, until the channel closes.
func relay[T any](ctx context.Context, e *events, from <-chan T, pass func(T) error) error {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			err = e.alive()
		case v, ok := <-from:
			if !ok {
				return nil
			}
			err = pass(v)
		}
		if err != nil {
			return err
		}
	}
}

// eventStream describes a stream of events of v's type in the document.
func eventStream(api huma.API, v any) map[string]*huma.Response {
	schema := api.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(v), true, "")
	return map[string]*huma.Response{"200": {
		Description: "Server-sent events: data is one of these in JSON; the event \"end\" ends a whole stream, \"error\" a broken one.",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: schema}},
	}}
}
