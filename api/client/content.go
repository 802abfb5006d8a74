package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/hpips/hpips/spec/job"
)

// Put brings a file or a folder of this machine into the store; path is absolute. progress may be nil.
func (c *Client) Put(ctx context.Context, path string, progress func(Progress)) (Entry, error) {
	return c.transfer(ctx, "/v1/content/import", nil, Paths{Path: path}, progress)
}

// Get writes content to a path of this machine, which must not exist unless e.Force is set.
func (c *Client) Get(ctx context.Context, address string, e Export, progress func(Progress)) (Entry, error) {
	return c.transfer(ctx, "/v1/content/export", url.Values{"address": {address}}, e, progress)
}

func (c *Client) transfer(ctx context.Context, path string, query url.Values, in any, progress func(Progress)) (Entry, error) {
	var entry *Entry
	err := c.stream(ctx, http.MethodPost, path, query, in, each(func(t Transfer) error {
		if t.Progress != nil && progress != nil {
			progress(*t.Progress)
		}
		if t.Entry != nil {
			entry = t.Entry
		}
		return nil
	}))
	if err != nil {
		return Entry{}, err
	}
	if entry == nil {
		return Entry{}, ErrCut
	}
	return *entry, nil
}

// PutBytes brings what r gives into the store as one file.
func (c *Client) PutBytes(ctx context.Context, r io.Reader) (Entry, error) {
	var e Entry
	resp, err := c.do(ctx, http.MethodPost, "/v1/content", nil, io.NopCloser(r), "application/octet-stream")
	if err != nil {
		return e, err
	}
	defer resp.Body.Close()
	return e, decode(resp.Body, &e)
}

// List tells what an address leads to; wait is the time without progress after which content that nobody has is given up.
func (c *Client) List(ctx context.Context, address string, wait time.Duration) (Listing, error) {
	var l Listing
	q := url.Values{"address": {address}, "idle": {strconv.Itoa(seconds(wait))}}
	err := c.call(ctx, http.MethodGet, "/v1/content/list", q, nil, &l)
	return l, err
}

// Draft makes the parts of an object for a deal, and says what the deal is to record. Nothing is paid yet.
func (c *Client) Draft(ctx context.Context, address string, how Pinning) (Draft, error) {
	var d Draft
	err := c.call(ctx, http.MethodPost, "/v1/content/draft", url.Values{"address": {address}}, how, &d)
	return d, err
}

// Read opens a file of the store.
func (c *Client) Read(ctx context.Context, address string, wait time.Duration) (io.ReadCloser, error) {
	q := url.Values{"address": {address}, "idle": {strconv.Itoa(seconds(wait))}}
	resp, err := c.do(ctx, http.MethodGet, "/v1/content", q, nil, "")
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// seconds rounds up, so that a wait never becomes the 0 that stands for the default.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

func decode(r io.Reader, v any) error {
	text, err := io.ReadAll(io.LimitReader(r, maxAnswer))
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		return &job.Failure{Code: job.CodeInternal, Message: "the node's answer is not readable: " + err.Error()}
	}
	return nil
}
