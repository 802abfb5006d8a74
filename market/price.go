package market

import (
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/lease"
	"github.com/hpips/hpips/spec/trust"
	"github.com/hpips/hpips/spec/voucher"
)

// DefaultRates is what work costs where its owner says nothing else: 3.6 HPIPS for an hour of one core, in uhpips.
var DefaultRates = voucher.Rates{CPU: 3_600_000}

// Pricing moves a provider's prices with its work. They begin at the floor that BidderConfig.Rates sets, rise by Step in each Period in which
// nearly all slots were busy, fall as much in each in which less than half of them were, and stay between the floor and Most times it. So they
// double in four hours of full work, and come back in as many.
type Pricing struct {
	Auto   bool
	Period time.Duration
	Step   uint64 // percent
	Most   uint64 // times the floor
	Full   uint64 // percent of the slots' time from which on prices rise
	Idle   uint64 // percent below which they fall
}

// DefaultPricing returns the rule that suits most; it is off.
func DefaultPricing() Pricing {
	return Pricing{Period: 10 * time.Minute, Step: 3, Most: 8, Full: 90, Idle: 50}
}

// one is a factor of 1 in millionths, in which prices' factors are reckoned.
const one = 1_000_000

// next is the factor after a period in which busy of all slot-time was at work.
func (r Pricing) next(factor uint64, busy, all time.Duration) uint64 {
	switch used := uint64(max(busy, 0)) * 100; {
	case all <= 0:
		return factor
	case used >= r.Full*uint64(all):
		return min(factor*(100+r.Step)/100, r.Most*one)
	case used < r.Idle*uint64(all):
		return max(factor*100/(100+r.Step), one)
	}
	return factor
}

// at is r times factor millionths. What would not fit stays at the largest number: nobody pays it.
func at(r voucher.Rates, factor uint64) voucher.Rates {
	part := func(rate uint64) uint64 {
		hi, lo := bits.Mul64(rate, factor)
		if hi >= one {
			return ^uint64(0)
		}
		q, _ := bits.Div64(hi, lo, one)
		return q
	}
	return voucher.Rates{CPU: part(r.CPU), GPU: part(r.GPU), Memory: part(r.Memory), Disk: part(r.Disk), Sent: part(r.Sent), Work: part(r.Work)}
}

// tariff is a provider's price as it goes with its work. It looks whenever somebody asks: what the slots did since it looked last counts
// for each period that went by.
type tariff struct {
	mu     sync.Mutex
	rule   Pricing
	floor  voucher.Rates
	factor uint64        // millionths
	since  time.Time     // of the last step
	worked time.Duration // of all slots, then
}

// rates are the prices at the time now, when slots have worked so long since the provider began.
func (t *tariff) rates(now time.Time, slots int, worked time.Duration) voucher.Rates {
	if !t.rule.Auto {
		return t.floor
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	gone := now.Sub(t.since)
	if t.since.IsZero() || gone < 0 {
		t.since, t.worked, t.factor = now, worked, max(t.factor, one)
		return at(t.floor, t.factor)
	}
	periods := gone / t.rule.Period
	for range min(periods, 1024) { // after so many the factor has long come to an end
		t.factor = t.rule.next(t.factor, worked-t.worked, gone*time.Duration(slots))
	}
	if periods > 0 {
		t.since, t.worked = now, worked
	}
	return at(t.floor, t.factor)
}

// pace is how many instructions a core is thought to execute in a second where their price is compared and estimated: an hour of it is one
// voucher.WorkHour.
const pace = 1_000_000_000

// Hourly is what one task costs in an hour of all that it orders, in base units. What it sends is not in it. An amount beyond 64 bits is the
// largest number.
func Hourly(r voucher.Rates, of job.Resources) uint64 {
	return Price(r, of, time.Hour, 0)
}

// Price is what one task costs that uses all that it orders for so long, executes at pace on one core, and sends so many bytes, in base units. An amount
// beyond 64 bits is the largest number.
func Price(r voucher.Rates, of job.Resources, d time.Duration, sent uint64) uint64 {
	long := uint64(max(d, 0))
	c, err := voucher.Cost(r, voucher.Usage{Tasks: 1, CPU: times(uint64(max(of.CPU, 0)), long), GPU: times(uint64(max(of.GPU.Count, 0)), long),
		Memory: seconds(uint64(max(of.Memory, 0)), long), Disk: seconds(uint64(max(of.Disk, 0)), long), Sent: sent,
		Work: seconds(pace, long)})
	if err != nil {
		return ^uint64(0)
	}
	return c
}

// times is a × b, or the largest number.
func times(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	if hi != 0 {
		return ^uint64(0)
	}
	return lo
}

// seconds is so much for each second, over nanoseconds: byte-seconds of bytes, instructions of a pace.
func seconds(each, nanos uint64) uint64 {
	hi, lo := bits.Mul64(each, nanos)
	if hi >= uint64(time.Second) {
		return ^uint64(0)
	}
	q, _ := bits.Div64(hi, lo, uint64(time.Second))
	return q
}

// Any takes every price.
const Any = 1<<64 - 1

// Ceiling is the highest price that a buyer takes, in base units: for an hour of one task with all that it orders, and for each GiB that it
// sends. 0 takes only what is free, Any everything.
type Ceiling uint64

// exceeded reports whether rates are above the ceiling, and the price that is.
func (c Ceiling) exceeded(r voucher.Rates, of job.Resources) (price uint64, over bool) {
	price = max(Hourly(r, of), r.Sent)
	return price, price > uint64(c) || c == 0 && !r.Free()
}

// Load is how much work a job is, as far as it is known before it runs.
type Load struct {
	Tasks     uint64
	Copies    uint64 // of each task, at least 1
	Resources job.Resources
	Limits    job.Limits
	Each      time.Duration // that a task takes; 0 is not known
	Jury      bool          // jurors may run all of it again
}

// unknown is what a task is thought to take of which nothing is known: no more than it may.
const unknown = time.Minute

// EstimateOf reckons with the offers among answers and a ceiling for the whole job; Any is none. Without an offer it is 0.
func EstimateOf(l Load, answers []Answer, ceiling uint64) job.Estimate {
	each := l.Each
	if limit := time.Duration(l.Limits.Time); each <= 0 || each > limit {
		each = min(unknown, limit)
	}
	var likely, most []uint64
	for _, a := range answers {
		if a.Err == nil {
			likely = append(likely, Price(a.Quote.Rates, l.Resources, each, 0))
			most = append(most, Price(a.Quote.Rates, l.Resources, time.Duration(l.Limits.Time), uint64(max(l.Limits.Output, 0))+uint64(max(l.Resources.Disk, 0))))
		}
	}
	if len(likely) == 0 {
		return job.Estimate{Tasks: l.Tasks}
	}
	slices.Sort(likely)
	runs := times(l.Tasks, max(l.Copies, 1))
	e := job.Estimate{Tasks: l.Tasks, Most: times(runs, slices.Max(most)), Likely: times(runs, likely[len(likely)/2])}
	if l.Jury {
		e.Most = trust.Deposit(e.Most)
		e.Juries = times(trust.Fellows, e.Likely)
	}
	e.Most = min(ceiling, e.Most)
	e.Likely, e.Juries = min(e.Most, e.Likely), min(e.Most-min(e.Most, e.Likely), e.Juries)
	return e
}

// Offer is what one peer sells now, for people and programs; amounts are base units.
type Offer struct {
	Provider string         `json:"provider"` // peer ID
	Owner    string         `json:"owner"`
	Network  string         `json:"network"`
	Class    string         `json:"class,omitempty"` // hardware class
	Region   string         `json:"region,omitempty"`
	Speed    uint64         `json:"speed,omitempty"` // operations a second of one processor
	GPUs     []lease.Device `json:"gpus,omitempty"`  // that tasks would have, where any were asked for
	Slots    int            `json:"slots"`
	Load     int            `json:"load"` // leases that share the slots
	Rates    voucher.Rates  `json:"rates"`
	Hour     uint64         `json:"hour,string"` // of one task with all that was asked for
	Until    int64          `json:"until"`       // Unix milliseconds
	Refusal  string         `json:"refusal,omitempty"`
}
