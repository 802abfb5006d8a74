package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/voucher"
)

// Offer is what one node sells now for a task of the resources that were asked for. Its JSON names are a contract (docs/cli.md).
type Offer struct {
	Provider string        `json:"provider"` // peer ID
	Owner    string        `json:"owner"`    // who is paid
	Network  string        `json:"network"`
	Slots    int           `json:"slots"`
	Load     int           `json:"load"`              // leases that share the slots
	Rates    voucher.Rates `json:"rates"`             // uhpips for an hour, or a GiB
	Hour     uint64        `json:"hour,string"`       // uhpips for an hour of one such task
	Ours     bool          `json:"ours"`              // of this node's owner, and so free for it
	Refusal  string        `json:"refusal,omitempty"` // why it sells nothing now
}

// Offers asks the nodes around what a task of these resources costs now.
func (c *Client) Offers(ctx context.Context, of job.Resources) ([]Offer, error) {
	var all []Offer
	query := url.Values{"cpu": {strconv.Itoa(of.CPU)}, "memory": {strconv.FormatInt(int64(of.Memory), 10)}, "disk": {strconv.FormatInt(int64(of.Disk), 10)}}
	err := c.call(ctx, http.MethodGet, "/v1/offers", query, nil, &all)
	return all, err
}
