package voucher

import (
	"fmt"
	"math/big"
	"math/bits"
)

// Rates are a provider's prices, in base units of the lease's asset.
type Rates struct {
	CPU    uint64 `cbor:"cpu,omitempty" json:"cpu"`       // for an hour of processor time of one core
	GPU    uint64 `cbor:"gpu,omitempty" json:"gpu"`       // for an hour of one device of the model that was ordered
	Memory uint64 `cbor:"memory,omitempty" json:"memory"` // for a GiB for an hour
	Disk   uint64 `cbor:"disk,omitempty" json:"disk"`     // for a GiB for an hour
	Sent   uint64 `cbor:"sent,omitempty" json:"sent"`     // for a GiB that the provider sends
	Work   uint64 `cbor:"work,omitempty" json:"work"`     // for WorkHour instructions
}

// Free reports whether nothing costs anything.
func (r Rates) Free() bool { return r == Rates{} }

// Usage is what was used, all of it cumulative.
type Usage struct {
	Tasks  uint64 `cbor:"tasks,omitempty" json:"tasks"`
	CPU    uint64 `cbor:"cpu,omitempty" json:"cpu"`       // nanoseconds of processor time
	GPU    uint64 `cbor:"gpu,omitempty" json:"gpu"`       // nanoseconds, times devices
	Memory uint64 `cbor:"memory,omitempty" json:"memory"` // byte-seconds
	Disk   uint64 `cbor:"disk,omitempty" json:"disk"`     // byte-seconds
	Sent   uint64 `cbor:"sent,omitempty" json:"sent"`     // bytes
	Work   uint64 `cbor:"work,omitempty" json:"work"`     // instructions as spec/meter counts them
}

// Add sums two usages. What would not fit stays at the largest number: nobody can pay for it.
func (u Usage) Add(v Usage) Usage {
	return Usage{sum(u.Tasks, v.Tasks), sum(u.CPU, v.CPU), sum(u.GPU, v.GPU), sum(u.Memory, v.Memory), sum(u.Disk, v.Disk), sum(u.Sent, v.Sent), sum(u.Work, v.Work)}
}

// Covers reports whether no part of u is less than that of v.
func (u Usage) Covers(v Usage) bool {
	return u.Tasks >= v.Tasks && u.CPU >= v.CPU && u.GPU >= v.GPU && u.Memory >= v.Memory && u.Disk >= v.Disk && u.Sent >= v.Sent && u.Work >= v.Work
}

func sum(a, b uint64) uint64 {
	s, carry := bits.Add64(a, b, 0)
	if carry != 0 {
		return ^uint64(0)
	}
	return s
}

// WorkHour is the unit in which instructions are priced: those of an hour at 10^9 a second.
const WorkHour = 3_600_000_000_000

// One hour in the units of Usage, and one GiB.
const (
	hourNanos   = 3_600_000_000_000
	hourSeconds = 3_600
	gib         = 1 << 30
)

// Cost is what u costs at r: Σ rate × used ÷ unit, rounded down once, over the whole sum, so that many small tasks cost what one large one does.
// An amount that does not fit into 64 bits is an error.
func Cost(r Rates, u Usage) (uint64, error) {
	// Over the common denominator hourNanos × gib; WorkHour is as many as hourNanos.
	total := new(big.Int)
	for _, part := range []struct{ rate, used, scale uint64 }{
		{r.CPU, u.CPU, gib},
		{r.GPU, u.GPU, gib},
		{r.Memory, u.Memory, hourNanos / hourSeconds},
		{r.Disk, u.Disk, hourNanos / hourSeconds},
		{r.Sent, u.Sent, hourNanos},
		{r.Work, u.Work, gib},
	} {
		p := new(big.Int).SetUint64(part.rate)
		p.Mul(p, new(big.Int).SetUint64(part.used))
		total.Add(total, p.Mul(p, new(big.Int).SetUint64(part.scale)))
	}
	whole := new(big.Int).SetUint64(hourNanos)
	total.Quo(total, whole.Mul(whole, big.NewInt(gib)))
	if !total.IsUint64() {
		return 0, fmt.Errorf("cost of %+v: more than there is", u)
	}
	return total.Uint64(), nil
}
