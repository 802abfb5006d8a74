// Package client keeps the words of a node's HTTP API and speaks them to the node of a home folder.
// It promises errors that a person can act on: whatever goes wrong is a *job.Failure with a code, a message and, where there is a remedy, a hint.
// It leaves the meaning of jobs to package spec/job, and what is shown to people to its callers.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hpips/hpips/spec/job"
)

// The files of a home folder by which programs of the same user find its node.
const (
	TokenFile   = "api.token" // what requests are allowed by; readable by its owner alone
	AddressFile = "api.addr"  // host:port of the running node; absent when none runs
)

// maxAnswer is the largest answer that is not a stream, in bytes.
const maxAnswer = 256 << 20

// Client speaks to one node. It may be used by many goroutines.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// New returns a client for the API at addr (host:port) that shows token.
func New(addr, token string) *Client {
	dial := net.Dialer{Timeout: 5 * time.Second}
	return &Client{
		base:  "http://" + addr,
		token: token,
		http:  &http.Client{Transport: &http.Transport{DialContext: dial.DialContext, MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second}},
	}
}

// Open returns a client for the node that runs on home.
func Open(home string) (*Client, error) {
	addr, err := os.ReadFile(filepath.Join(home, AddressFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, noNode(home)
	}
	if err != nil {
		return nil, &job.Failure{Code: job.CodeUnavailable, Message: err.Error(), Hint: "is this home yours?"}
	}
	token, err := os.ReadFile(filepath.Join(home, TokenFile))
	if err != nil {
		return nil, &job.Failure{Code: job.CodeUnavailable, Message: "read the API token: " + err.Error(), Hint: "run as the user who started the node"}
	}
	return New(strings.TrimSpace(string(addr)), strings.TrimSpace(string(token))), nil
}

func noNode(home string) *job.Failure {
	return &job.Failure{
		Code:    job.CodeUnavailable,
		Message: "no node runs on " + home,
		Hint:    "start one in another terminal: hpips up --home " + home,
	}
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// do sends one request and returns an answer whose status is 2xx; all else becomes a *job.Failure.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, body io.Reader, kind string) (*http.Response, error) {
	address := c.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, fmt.Errorf("api %s: %w", path, err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		return nil, refusal(resp)
	}
	return resp, nil
}

func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var f *job.Failure
	if errors.As(err, &f) { // a request body that failed by itself
		return f
	}
	return &job.Failure{
		Code:    job.CodeUnavailable,
		Message: fmt.Sprintf("the node at %s does not answer: %v", strings.TrimPrefix(c.base, "http://"), rootCause(err)),
		Hint:    "is it still running? see hpips status; start it with hpips up",
	}
}

func rootCause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// refusal reads the failure of an answer.
func refusal(resp *http.Response) error {
	var body ErrorBody
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && json.Unmarshal(text, &body) == nil && body.Error.Message != "" {
		return &body.Error
	}
	return &job.Failure{Code: job.CodeInternal, Message: "the node answered " + resp.Status, Hint: "see hpips node logs"}
}

// call sends in as JSON, unless it is nil, and reads the answer into out, unless that is nil.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	kind := ""
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("api %s: %w", path, err)
		}
		body, kind = bytes.NewReader(text), "application/json"
	}
	resp, err := c.do(ctx, method, path, query, body, kind)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return c.unreachable(ctx, err)
	}
	if err := json.Unmarshal(text, out); err != nil {
		return &job.Failure{Code: job.CodeInternal, Message: fmt.Sprintf("the node's answer to %s is not readable: %v", path, err), Hint: "is it of the same version? see hpips status"}
	}
	return nil
}
