package pay

import (
	"fmt"
	"math"
	"math/bits"
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/voucher"
)

// Used is what one result is paid for: the processor time that it took, the instructions that were counted, what its task had to itself while it ran, memory, disk and devices as
// declared, and the bytes of what it wrote, once, whoever asks for them. An execution that its provider broke off or could not begin is paid with nothing.
func Used(r job.Result, res job.Resources) voucher.Usage {
	if !Counts(r) {
		return voucher.Usage{}
	}
	u := held(res, uint64(max(r.Usage.Wall, 0)))
	u.Tasks, u.CPU, u.Sent, u.Work = 1, uint64(max(r.Usage.CPU, 0)), sent(r), uint64(max(r.Usage.Work, 0))
	return u
}

// sent is how long a result's contents are together.
func sent(r job.Result) uint64 {
	n := length(r.Stdout) + uint64(len(r.Stderr))
	for _, c := range r.Outputs {
		n += min(length(c), math.MaxUint64-n)
	}
	return n
}

func length(c job.Content) uint64 {
	if c.CID == "" {
		return uint64(len(c.Inline))
	}
	return uint64(max(c.Size, 0))
}

// Counts tells whether a result is paid for: the program ran and ended, well or badly, by itself or at its limits.
func Counts(r job.Result) bool {
	switch r.End {
	case job.Exited, job.Trapped, job.TimedOut, job.OutputFull, job.MemoryFull, job.DiskFull:
		return true
	}
	return false
}

// Full is what one task uses at most while it runs for some time. Its work is what most machines do in it, one instruction a nanosecond.
func Full(res job.Resources, wall time.Duration) voucher.Usage {
	u := held(res, uint64(max(wall, 0)))
	u.Tasks, u.CPU, u.Work = 1, product(uint64(cores(res)), uint64(max(wall, 0))), uint64(max(wall, 0))
	return u
}

// cores is how many processors a task may keep busy.
func cores(res job.Resources) int { return max(res.CPU, 1) }

// held is what a task has to itself while it runs, by the wall clock in nanoseconds.
func held(res job.Resources, wall uint64) voucher.Usage {
	return voucher.Usage{
		GPU:    product(uint64(max(res.GPU.Count, 0)), wall),
		Memory: byteSeconds(uint64(max(res.Memory, 0)), wall),
		Disk:   byteSeconds(uint64(max(res.Disk, 0)), wall),
	}
}

func byteSeconds(size, nanos uint64) uint64 {
	const second = uint64(time.Second)
	hi, lo := bits.Mul64(size, nanos)
	if hi >= second {
		return ^uint64(0)
	}
	q, _ := bits.Div64(hi, lo, second)
	return q
}

// product multiplies; what would not fit stays at the largest number.
func product(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	if hi != 0 {
		return ^uint64(0)
	}
	return lo
}

// margin is what two honest machines may disagree by about the time that something took: 2 % of it for their clocks, and 20 ms for the grain of
// the meters.
func margin(elapsed time.Duration) time.Duration { return elapsed/50 + 20*time.Millisecond }

// Fastest is how many instructions are counted in a nanosecond of processor time at most, three times what an ordinary program comes to (examples/primes: 22): compiled code needs
// no instruction of the machine for many of those that are counted.
const Fastest = 64

// Plausible refuses a result that claims more time than went by between its task's sending and its coming, more processor time than that many
// cores had in it, or more work than that processor time is enough for. cores is that of the task.
func Plausible(r job.Result, elapsed time.Duration, cores int) error {
	longest := elapsed + margin(elapsed)
	if r.Usage.Wall < 0 || r.Usage.CPU < 0 || r.Usage.Wall > int64(longest) {
		return fmt.Errorf("result of task %d: %w: claims to have run for %v, %v went by", r.Index, ErrUsage, time.Duration(r.Usage.Wall), elapsed)
	}
	if most := product(uint64(max(cores, 1)), uint64(longest)); uint64(r.Usage.CPU) > most {
		return fmt.Errorf("result of task %d: %w: claims %v of processor time, %d cores had %v", r.Index, ErrUsage, time.Duration(r.Usage.CPU), max(cores, 1), elapsed)
	}
	return Executed(r)
}

// Executed refuses a result that claims more work than its processor time is enough for, whatever the clock said.
func Executed(r job.Result) error {
	if cpu := time.Duration(max(r.Usage.CPU, 0)); r.Usage.Work < 0 || uint64(r.Usage.Work) > product(Fastest, uint64(cpu+margin(cpu))) {
		return fmt.Errorf("result of task %d: %w: claims %d instructions in %v of processor time", r.Index, ErrUsage, r.Usage.Work, cpu)
	}
	return nil
}

// Within refuses what a lease's results claim together when it is more than its slots had since its first task was sent: processor time, work, memory, disk
// and devices. A provider that adds a little to each of many small tasks is found by this, and one that counts the time for which tasks waited.
func Within(u voucher.Usage, elapsed time.Duration, slots int, res job.Resources) error {
	most := Full(res, time.Duration(min(product(uint64(max(slots, 1)), uint64(elapsed+margin(elapsed))), math.MaxInt64)))
	most.Tasks, most.Sent, most.Work = u.Tasks, u.Sent, product(Fastest, most.CPU)
	if !most.Covers(u) {
		return fmt.Errorf("lease's results: %w: claim %+v, %d slots had %+v in %v", ErrUsage, u, slots, most, elapsed)
	}
	return nil
}
