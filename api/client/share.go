package client

import (
	"context"
	"net/http"
	"time"
)

// Share is what a node shares of its PC now, and why, or why not.
type Share struct {
	Sentence string        `json:"sentence"`
	Profile  string        `json:"profile"`          // in-use | away
	Presence string        `json:"presence"`         // in-use | away | headless | unknown
	Idle     *float64      `json:"idleSeconds"`      // since the last key or move of the mouse; null: not available
	Cores    float64       `json:"cores"`            // processors that tasks of others may keep busy
	Of       int           `json:"of"`               // processors that there are
	Memory   int64         `json:"memory,omitempty"` // bytes that tasks may take together; absent: as the settings of work say
	GPUs     []string      `json:"gpus"`             // devices that may be used
	Devices  []ShareDevice `json:"devices"`          // all graphics devices, also those that may not
	Finish   bool          `json:"finish"`           // no further lease is taken
	Reasons  []ShareReason `json:"reasons"`          // why it is not more
	Engines  []ShareEngine `json:"engines"`          // of what has the processor itself
	Readings ShareReadings `json:"readings"`
	Leases   int           `json:"leases"` // held
	Busy     int           `json:"busy"`   // slots at work, or standing still in the middle of it
}

// ShareDevice is a graphics device: whether others may use it now, and why not.
type ShareDevice struct {
	Place       int      `json:"place"`
	ID          string   `json:"id"`
	Vendor      string   `json:"vendor"`
	Model       string   `json:"model"`
	Memory      *int64   `json:"memory"`      // bytes; null: not available
	Rule        string   `json:"rule"`        // never | away | always
	Strangers   bool     `json:"strangers"`   // the owner has written the rule: strangers may use it, too
	State       string   `json:"state"`       // free | leased | kept
	Busy        *float64 `json:"busy"`        // share of it that is used, 0 … 1; null: not available
	Temperature *float64 `json:"temperature"` // °C, the highest of the last minute
	Watts       *float64 `json:"watts"`
	Why         string   `json:"why,omitempty"`
	Ends        string   `json:"ends,omitempty"`
}

// ShareEngine is whose programs run here behind the kernel's walls alone, and why not those of strangers, or none.
type ShareEngine struct {
	Name    string `json:"name"`              // native | containers
	Consent string `json:"consent"`           // own | everybody | nobody
	Closed  string `json:"closed,omitempty"`  // why strangers get none; absent where they do, or where nobody pays
	Lacking string `json:"lacking,omitempty"` // why none run here
}

// ShareReason is why less than all is shared, and what ends that.
type ShareReason struct {
	Kind   string     `json:"kind"`
	Effect string     `json:"effect"` // suspends | finishes | limits
	Text   string     `json:"text"`
	Ends   string     `json:"ends"`
	Until  *time.Time `json:"until,omitempty"`
}

// ShareReadings are what rules look at. Null is not available, or not asked for by any rule.
type ShareReadings struct {
	Others      *float64 `json:"others"`      // share of all processors that other programs use
	Temperature *float64 `json:"temperature"` // °C
	Watts       *float64 `json:"watts"`
	OnBattery   *bool    `json:"onBattery"`
	Metered     *bool    `json:"metered"`

	Traffic *ShareTraffic `json:"traffic"`
}

// ShareTraffic is what went over the network this month, in bytes.
type ShareTraffic struct {
	Month    string `json:"month"` // 2026-11
	Sent     int64  `json:"sent"`
	Received int64  `json:"received"`
	Cap      int64  `json:"cap"` // of both together; 0: none
}

// Meters are what of a PC is used, and by whom. Null is not available.
type Meters struct {
	Seconds     float64    `json:"seconds"`     // over which it was measured
	Cores       int        `json:"cores"`       // processors
	CPU         Use        `json:"cpu"`         // shares of all processors, 0 … 1
	Memory      MemoryUse  `json:"memory"`      // bytes
	Network     NetworkUse `json:"network"`     // bytes a second
	Temperature *float64   `json:"temperature"` // °C of the hottest processor
	Watts       *float64   `json:"watts"`       // of the processors
	Battery     *Battery   `json:"battery"`
	Metered     *bool      `json:"metered"` // the network is paid for by volume
}

// Use is what HPIPS with its tasks uses, and all other programs. Null is not available.
type Use struct {
	Ours   *float64 `json:"ours"`
	Others *float64 `json:"others"`
}

// MemoryUse is what nobody else could be given.
type MemoryUse struct {
	Use
	Total *float64 `json:"total"`
}

// NetworkUse is what goes each way. Ours is without what carries it, which is among the others'.
type NetworkUse struct {
	Sent     Use `json:"sent"`
	Received Use `json:"received"`
}

// Battery is what a PC runs on without mains power.
type Battery struct {
	Discharging bool     `json:"discharging"`
	Charge      *float64 `json:"charge"` // 0 … 1
}

// Presence is what a program in the owner's session reports. A report holds for half a minute.
type Presence struct {
	Idle float64 `json:"idleSeconds" minimum:"0" maximum:"31536000"` // since the last key or move of the mouse
	Over bool    `json:"over,omitempty"`                             // the session ends: nobody reports any more
}

// PauseFor says how long a pause is.
type PauseFor struct {
	Seconds int64 `json:"seconds,omitempty" minimum:"0" maximum:"31536000"` // 0: until it is resumed
}

// Share tells what the node shares now.
func (c *Client) Share(ctx context.Context) (Share, error) {
	var s Share
	err := c.call(ctx, http.MethodGet, "/v1/share", nil, nil, &s)
	return s, err
}

// Meters measures what of the node's PC is used, and by whom.
func (c *Client) Meters(ctx context.Context) (Meters, error) {
	var m Meters
	err := c.call(ctx, http.MethodGet, "/v1/share/meters", nil, nil, &m)
	return m, err
}

// Pause has everything stand still for a while, or until it is resumed.
func (c *Client) Pause(ctx context.Context, d time.Duration) (Share, error) {
	var s Share
	err := c.call(ctx, http.MethodPost, "/v1/share/pause", nil, PauseFor{Seconds: int64(d / time.Second)}, &s)
	return s, err
}

// Resume ends a pause, and finishing.
func (c *Client) Resume(ctx context.Context) (Share, error) {
	var s Share
	err := c.call(ctx, http.MethodPost, "/v1/share/resume", nil, nil, &s)
	return s, err
}

// Finish lets leases come to their end, and pauses then.
func (c *Client) Finish(ctx context.Context) (Share, error) {
	var s Share
	err := c.call(ctx, http.MethodPost, "/v1/share/finish", nil, nil, &s)
	return s, err
}

// Report says for how long nobody has touched anything in the owner's session.
func (c *Client) Report(ctx context.Context, p Presence) error {
	return c.call(ctx, http.MethodPut, "/v1/presence", nil, p, nil)
}
