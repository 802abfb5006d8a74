package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"strings"

	"github.com/hpips/hpips/spec/job"
)

// The names of events that end a stream: every stream that is whole ends with one of them.
const (
	EventEnd   = "end"   // all was sent
	EventError = "error" // data is a job.Failure
)

// maxEvent is the largest event that is read, in bytes.
const maxEvent = 16 << 20

// ErrCut tells that a stream broke before its end; it may be asked for again.
var ErrCut = errors.New("api: stream was cut off")

// stream sends a request and hands every event's data to take, until the stream's end, an error of take, or the end of ctx.
func (c *Client) stream(ctx context.Context, method, path string, query url.Values, in any, take func(data []byte) error) error {
	var body io.Reader
	kind := ""
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body, kind = bytes.NewReader(text), "application/json"
	}
	resp, err := c.do(ctx, method, path, query, body, kind)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	err = readEvents(resp.Body, take)
	if errors.Is(err, ErrCut) && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// readEvents reads server-sent events (WHATWG HTML, section 9.2): "event:" and "data:" lines, an empty line ends an event, ":" begins a comment.
func readEvents(r io.Reader, take func(data []byte) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxEvent)
	var name string
	var data []byte
	for lines.Scan() {
		line := lines.Bytes()
		switch {
		case len(line) == 0:
			done, err := dispatch(name, data, take)
			if done || err != nil {
				return err
			}
			name, data = "", data[:0]
		case bytes.HasPrefix(line, []byte("event:")):
			name = strings.TrimSpace(string(line[len("event:"):]))
		case bytes.HasPrefix(line, []byte("data:")):
			if len(data)+len(line) > maxEvent {
				return ErrCut
			}
			data = append(data, bytes.TrimPrefix(line[len("data:"):], []byte(" "))...)
		}
	}
	return ErrCut
}

func dispatch(name string, data []byte, take func(data []byte) error) (done bool, err error) {
	switch name {
	case EventEnd:
		return true, nil
	case EventError:
		f := job.Failure{Code: job.CodeInternal, Message: "the node gave an error that is not readable"}
		if err := json.Unmarshal(data, &f); err != nil {
			return true, &f
		}
		return true, &f
	}
	if len(data) == 0 {
		return false, nil
	}
	return false, take(data)
}

// each is take for events of one type.
func each[T any](f func(T) error) func(data []byte) error {
	return func(data []byte) error {
		var v T
		if err := json.Unmarshal(data, &v); err != nil {
			return &job.Failure{Code: job.CodeInternal, Message: "an event is not readable: " + err.Error(), Hint: "is the node of the same version? see hpips status"}
		}
		return f(v)
	}
}
