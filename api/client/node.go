package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// Status tells how the node is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.call(ctx, http.MethodGet, "/v1/status", nil, nil, &s)
	return s, err
}

// Peers lists the nodes that the node is connected to.
func (c *Client) Peers(ctx context.Context) ([]Peer, error) {
	var p []Peer
	err := c.call(ctx, http.MethodGet, "/v1/peers", nil, nil, &p)
	return p, err
}

// Doctor makes the node examine itself.
func (c *Client) Doctor(ctx context.Context) ([]Finding, error) {
	var f []Finding
	err := c.call(ctx, http.MethodGet, "/v1/doctor", nil, nil, &f)
	return f, err
}

// NodeLogs copies the last lines of the node's log to w.
func (c *Client) NodeLogs(ctx context.Context, lines int, w io.Writer) error {
	resp, err := c.do(ctx, http.MethodGet, "/v1/logs", url.Values{"lines": {strconv.Itoa(lines)}}, nil, "")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return c.unreachable(ctx, err)
	}
	return nil
}

// Metrics copies the node's metrics, in Prometheus' text format, to w.
func (c *Client) Metrics(ctx context.Context, w io.Writer) error {
	resp, err := c.do(ctx, http.MethodGet, "/metrics", nil, nil, "")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	return err
}
