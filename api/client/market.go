package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/voucher"
)

// Offer is what one node sells now for a task of the resources that were asked for. Its JSON names are a contract (docs/cli.md).
type Offer struct {
	Provider string         `json:"provider"` // peer ID
	Owner    string         `json:"owner"`    // who is paid
	Network  string         `json:"network"`
	Class    string         `json:"class,omitempty"`  // hardware
	Region   string         `json:"region,omitempty"` // in its owner's words
	Speed    uint64         `json:"speed,omitempty"`  // operations a second of one processor while all work; absent: nobody has measured
	GPUs     []lease.Device `json:"gpus,omitempty"`   // that tasks would have, where any were asked for
	Slots    int            `json:"slots"`
	Load     int            `json:"load"`              // leases that share the slots
	Rates    voucher.Rates  `json:"rates"`             // uhpips for an hour, or a GiB
	Hour     uint64         `json:"hour,string"`       // uhpips for an hour of one such task
	Ours     bool           `json:"ours"`              // of this node's owner, and so free for it
	Refusal  string         `json:"refusal,omitempty"` // why it sells nothing now

	Score  float64    `json:"score"`            // share of right results that this node expects of it
	Record *Record    `json:"record,omitempty"` // what the score comes from; nil: it is a newcomer's
	Rests  *time.Time `json:"rests,omitempty"`  // it is not asked until then, because two of its results were wrong within a week
}

// Record is what this node saw of another one as one hardware class.
type Record struct {
	Class      string    `json:"class"`
	Right      uint64    `json:"right"`      // results that others, or a checker, found right
	Wrong      uint64    `json:"wrong"`      // and wrong, where somebody else's was right
	Lost       uint64    `json:"lost"`       // executions that broke, or ended with their provider
	Unverified uint64    `json:"unverified"` // results that were taken as they came; they make no score
	Score      float64   `json:"score"`
	Seen       time.Time `json:"seen"`
}

// Standing is what this node saw of another one.
type Standing struct {
	Node     string     `json:"node"`     // peer ID
	Score    float64    `json:"score"`    // the lowest of its records
	Verified bool       `json:"verified"` // a result of it was, so that the score is not a newcomer's
	Rests    *time.Time `json:"rests,omitempty"`
	Records  []Record   `json:"records"` // by class
}

// Market is what is sold around a node now, and what it knows of who sells.
type Market struct {
	Offers    []Offer    `json:"offers"`
	Standings []Standing `json:"standings"` // the best first
	Convicted []string   `json:"convicted"` // nodes around that the chain barred, or whose bond was cut and is not whole again; null: no chain tells
}

// Offers asks the nodes around what a task of these resources costs now.
func (c *Client) Offers(ctx context.Context, of job.Resources) ([]Offer, error) {
	var all []Offer
	query := url.Values{"cpu": {strconv.Itoa(of.CPU)}, "memory": {strconv.FormatInt(int64(of.Memory), 10)}, "disk": {strconv.FormatInt(int64(of.Disk), 10)}}
	if g := of.GPU; g.Count > 0 {
		query.Set("gpus", strconv.Itoa(g.Count))
		query.Set("gpu_vendor", g.Vendor)
		query.Set("gpu_model", g.Model)
		query.Set("gpu_memory", strconv.FormatInt(int64(g.Memory), 10))
	}
	err := c.call(ctx, http.MethodGet, "/v1/offers", query, nil, &all)
	return all, err
}

// Market asks for what is sold around the node now, and what it knows of who sells.
func (c *Client) Market(ctx context.Context) (Market, error) {
	var m Market
	err := c.call(ctx, http.MethodGet, "/v1/market", nil, nil, &m)
	return m, err
}

// ForgetNode drops what the node saw of another one.
func (c *Client) ForgetNode(ctx context.Context, node string) error {
	return c.call(ctx, http.MethodPost, "/v1/standings/"+url.PathEscape(node)+"/forget", nil, nil, nil)
}
