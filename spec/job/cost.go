package job

import (
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/voucher"
)

// Unlimited is a ceiling that is none.
const Unlimited = ^uint64(0)

// Ceilings are the most that may be paid, in uhpips: for the whole job, and for an hour of one task. What is not set, or was not checked, is
// Unlimited.
func (l Limits) Ceilings() (whole, hour uint64) {
	return ceiling(l.Price), ceiling(l.Hour)
}

func ceiling(price string) uint64 {
	a, err := money.Parse(price)
	if price == "" || err != nil {
		return Unlimited
	}
	return uint64(a)
}

// Estimate is what a job may cost, in base units, as far as it is known before it runs.
type Estimate struct {
	Tasks  uint64 `json:"tasks"`         // it was reckoned for; 1 where the input is not cut yet
	Likely uint64 `json:"likely,string"` // each task as long as is known or usual, at the middle price offered
	Juries uint64 `json:"juries,string"` // what juries may cost besides, where they run all of it again, as that of providers without a bond; 0: there are none
	Most   uint64 `json:"most,string"`   // each task to all its limits, at the highest price offered, and its juries, never more than the job's own ceiling
}

// Cost is what a job has cost so far, in base units of its assets; its JSON names are a contract (docs/cli.md).
type Cost struct {
	Job       string      `json:"job"`
	Ceiling   string      `json:"ceiling,omitempty"` // as it was given
	Deposited uint64      `json:"deposited,string"`  // in all; what is not promised returns
	Promised  uint64      `json:"promised,string"`   // in all: the most that providers can redeem
	Juries    uint64      `json:"juries,string"`     // in all: what those were paid so far who ran results again
	Leases    []LeaseCost `json:"leases"`
}

// LeaseCost is what one lease of a job has cost so far.
type LeaseCost struct {
	Node      string        `json:"node"`  // peer ID of the provider
	Owner     string        `json:"owner"` // who is paid
	Lease     string        `json:"lease"`
	Denom     string        `json:"denom"`
	Deposited uint64        `json:"deposited,string"`
	Promised  uint64        `json:"promised,string"`
	Juries    uint64        `json:"juries,string"`
	Rates     voucher.Rates `json:"rates"`
	Usage     voucher.Usage `json:"usage"`  // of results that count
	Closed    bool          `json:"closed"` // the chain knows that it is over
}
