package pay

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/voucher"
)

func TestWhatAResultIsPaidFor(t *testing.T) {
	res := job.Resources{CPU: 2, Memory: 1 << 30, Disk: 2 << 30, GPU: job.GPU{Count: 3}}
	r := job.Result{End: job.Exited, Usage: job.Usage{CPU: int64(3 * time.Second), Wall: int64(2 * time.Second), Memory: 5, Work: 7}}
	want := voucher.Usage{Tasks: 1, CPU: 3_000_000_000, Work: 7, GPU: 6_000_000_000, Memory: 2 << 30, Disk: 4 << 30}
	for _, end := range []job.End{job.Exited, job.Trapped, job.TimedOut, job.OutputFull, job.MemoryFull, job.DiskFull} {
		r.End = end
		if got := Used(r, res); got != want {
			t.Errorf("%s: %+v, want %+v", end, got, want)
		}
	}
	for _, end := range []job.End{job.Refused, job.Stopped, job.Broken, job.Lost, ""} {
		r.End = end
		if got := Used(r, res); got != (voucher.Usage{}) || Counts(r) {
			t.Errorf("%q is paid with %+v", end, got)
		}
	}
	r.End, r.Stdout, r.Stderr = job.Exited, job.Content{Inline: []byte("four"), Size: 9}, []byte("three")
	r.Outputs = map[string]job.Content{"/out": {CID: "bafy", Size: 1 << 30}, "/more": {CID: "bafk", Size: -1}}
	if got := Used(r, res); got.Sent != 1<<30+9 {
		t.Errorf("%d bytes were sent", got.Sent)
	}
	carol := job.Result{End: job.Exited, Usage: job.Usage{CPU: -1, Wall: math.MinInt64, Work: -1}}
	if got := Used(carol, job.Resources{Memory: -1}); got != (voucher.Usage{Tasks: 1}) {
		t.Errorf("negative usage: %+v", got)
	}
	huge := job.Result{End: job.Exited, Usage: job.Usage{CPU: math.MaxInt64, Wall: math.MaxInt64}}
	huge.Outputs = map[string]job.Content{}
	for _, path := range []string{"/a", "/b", "/c"} {
		huge.Outputs[path] = job.Content{CID: "bafy", Size: math.MaxInt64}
	}
	if got := Used(huge, job.Resources{Memory: math.MaxInt64, GPU: job.GPU{Count: 9}}); got.Memory != math.MaxUint64 || got.GPU != math.MaxUint64 || got.Sent != math.MaxUint64 {
		t.Errorf("more than fits: %+v", got)
	}
	if got := Full(job.Resources{CPU: 2, Memory: 1 << 20}, 3*time.Second); got != (voucher.Usage{Tasks: 1, CPU: 6_000_000_000, Memory: 3 << 20, Work: 3_000_000_000}) {
		t.Errorf("full: %+v", got)
	}
}

func TestCarolClaimsTimeThatNobodyHad(t *testing.T) {
	for name, row := range map[string]struct {
		cpu, wall, elapsed time.Duration
		cores              int
		good               bool
	}{
		"honest":                             {time.Second, time.Second, 1050 * time.Millisecond, 1, true},
		"clocks apart":                       {1020 * time.Millisecond, 1020 * time.Millisecond, time.Second, 1, true},
		"two cores":                          {2 * time.Second, time.Second, time.Second, 2, true},
		"no core counted is one":             {time.Second, time.Second, time.Second, 0, true},
		"two cores on one":                   {2 * time.Second, time.Second, time.Second, 1, false},
		"ran before it was sent":             {time.Second, 2 * time.Second, time.Second, 1, false},
		"an hour in a second":                {time.Hour, time.Second, time.Second, 1, false},
		"negative":                           {-time.Second, time.Second, time.Second, 1, false},
		"negative wall":                      {0, -1, time.Second, 1, false},
		"the margin of a tiny task is 20 ms": {30 * time.Millisecond, time.Millisecond, time.Millisecond, 1, false},
	} {
		err := Plausible(job.Result{End: job.Exited, Usage: job.Usage{CPU: int64(row.cpu), Wall: int64(row.wall)}}, row.elapsed, row.cores)
		if (err == nil) != row.good || err != nil && !errors.Is(err, ErrUsage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Each of her thousand results is just believable; together they are not.
	var sum voucher.Usage
	for range 1000 {
		sum = sum.Add(voucher.Usage{Tasks: 1, CPU: uint64(20 * time.Millisecond)})
	}
	if err := Within(sum, time.Second, 4, job.Resources{CPU: 1}); !errors.Is(err, ErrUsage) {
		t.Errorf("20 s in a second of four cores: %v", err)
	}
	if err := Within(sum, 5*time.Second, 4, job.Resources{CPU: 1}); err != nil {
		t.Errorf("20 s in five seconds of four cores: %v", err)
	}
	// Each of them ran since it was sent, she says: she had one slot, and a thousand tasks of 10 ms in it.
	for name, of := range map[string]job.Resources{"memory": {CPU: 1, Memory: 1 << 30}, "disk": {CPU: 1, Disk: 1 << 30}, "devices": {CPU: 1, GPU: job.GPU{Count: 2}}} {
		var waited, ran voucher.Usage
		for i := range 1000 {
			last := time.Duration(i+1) * 10 * time.Millisecond
			waited = waited.Add(Used(job.Result{End: job.Exited, Usage: job.Usage{Wall: int64(last)}}, of))
			ran = ran.Add(Used(job.Result{End: job.Exited, Usage: job.Usage{Wall: int64(10 * time.Millisecond)}}, of))
		}
		if err := Within(waited, 10*time.Second, 1, of); !errors.Is(err, ErrUsage) {
			t.Errorf("%s of tasks that waited: %v", name, err)
		}
		if err := Within(ran, 10*time.Second, 1, of); err != nil {
			t.Errorf("%s of tasks that ran: %v", name, err)
		}
	}
}

// Carol counts more instructions than any core executes.
func TestWorkIsBoundedByProcessorTime(t *testing.T) {
	for name, row := range map[string]struct {
		cpu  time.Duration
		work int64
		good bool
	}{
		"one in a nanosecond":            {time.Second, 1e9, true},
		"a program of Go on a fast core": {time.Second, 23e9, true},
		"a tiny task has the margin":     {0, 12e8, true},
		"twice what the fastest does":    {time.Second, 128e9, false},
		"work without a processor":       {0, 2e9, false},
		"negative":                       {time.Second, -1, false},
		"more than fits, in a long time": {time.Duration(math.MaxInt64), math.MaxInt64, true},
	} {
		r := job.Result{End: job.Exited, Usage: job.Usage{CPU: int64(row.cpu), Work: row.work}}
		if err := Executed(r); (err == nil) != row.good || err != nil && !errors.Is(err, ErrUsage) {
			t.Errorf("%s: %v", name, err)
		}
		if err := Plausible(r, max(row.cpu, 0), 1); row.cpu < time.Hour && (err == nil) != row.good {
			t.Errorf("%s, beside the clock: %v", name, err)
		}
	}
	most := voucher.Usage{Tasks: 1, CPU: 1e9, Work: 4 * 64e9}
	if err := Within(most, time.Second, 4, job.Resources{CPU: 1}); err != nil {
		t.Errorf("four cores at their fastest: %v", err)
	}
	most.Work *= 2
	if err := Within(most, time.Second, 4, job.Resources{CPU: 1}); !errors.Is(err, ErrUsage) {
		t.Errorf("twice that: %v", err)
	}
}

// A window of a price for work alone is as large as one of a price for time, where a core does one instruction a nanosecond.
func TestAPriceForWorkAlone(t *testing.T) {
	paid := terms(4)
	paid.Quote.Rates = voucher.Rates{Work: 3600 * cpuSecond}
	w, limits := NewWindow(paid, job.Limits{Time: job.Duration(time.Hour)}), job.Limits{Time: job.Duration(time.Hour)}
	if want := NewWindow(terms(4), limits); w.Size() != want.Size() {
		t.Errorf("at first: %d, want %d", w.Size(), want.Size())
	}
	w.Ended(Used(job.Result{End: job.Exited, Usage: job.Usage{Work: 2e6}}, job.Resources{}))
	if w.Task() != 2 || w.Fits(2000) != 1000 {
		t.Errorf("a task of 2 million instructions costs %d, %d fit into a second of two slots", w.Task(), w.Fits(2000))
	}
}
