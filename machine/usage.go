package machine

import (
	"context"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Meters are what of a PC is used, and by whom. What is nil is not available.
type Meters struct {
	Seconds  float64  // over which what follows was measured, but for memory and sensors
	Cores    int      // processors
	CPU      Use      // shares of all processors, 0 … 1
	Memory   Use      // bytes that could not be given to anybody else
	Total    *float64 // bytes of memory in all
	Sent     Use      // bytes a second over the network
	Received Use
	Sensors
}

// Use is what is used of one thing: by this program and its tasks, and by all other programs.
type Use struct{ Ours, Others *float64 }

// Gauges read meters. Several goroutines may do so at once.
type Gauges struct {
	from sources
	self int
	kin  Kin
	wait func(ctx context.Context, d time.Duration) error

	mu   sync.Mutex
	last tally
}

// NewGauges reads this PC.
func NewGauges(kin Kin) *Gauges {
	return &Gauges{from: here(), self: os.Getpid(), kin: kin, wait: rest}
}

func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// The time over which rates are measured: those who ask again and again have the time between their questions, others wait for the shortest.
const (
	shortSpan = 500 * time.Millisecond
	longSpan  = 10 * time.Second
)

// tally is what was counted up to a moment; what is nil could not be.
type tally struct {
	at       time.Time
	load     *load
	used     spent    // by this program
	ours     [2]int64 // bytes sent and received
	all      *[2]int64
	power    counter
	resident *int64 // bytes of memory, of this program
}

// Read measures. It takes half a second where it was not asked within the last ten.
func (g *Gauges) Read(ctx context.Context, now func() time.Time) (Meters, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if age := now().Sub(g.last.at); age < 0 || age > longSpan {
		g.last = g.tally(now())
	}
	if age := now().Sub(g.last.at); age < shortSpan {
		if err := g.wait(ctx, shortSpan-age); err != nil {
			return Meters{}, err
		}
	}
	before, after := g.last, g.tally(now())
	g.last = after
	m := after.since(before)
	m.Cores = runtime.NumCPU()
	m.Sensors = g.from.sensors(ctx)
	m.Watts = after.power.since(before.power)
	if total, available := g.from.memory(); total > 0 {
		m.Total = to(float64(total))
		m.Memory = split(float64(total-available), after.resident)
	}
	return m, nil
}

// tally counts.
func (g *Gauges) tally(now time.Time) tally {
	t := tally{at: now, power: g.from.energy(now), all: g.from.moved()}
	if l, err := g.from.load(); err == nil {
		if all, err := g.from.processes(); err == nil {
			used, ours, _ := kindred(all, g.kin.roots(g.self))
			t.load, t.used, t.resident = &l, used, g.from.resident(ours)
		}
	}
	if g.kin.Moved != nil {
		t.ours[0], t.ours[1] = g.kin.Moved()
	}
	return t
}

// since is what was used between two moments.
func (t tally) since(before tally) Meters {
	seconds := t.at.Sub(before.at).Seconds()
	m := Meters{Seconds: seconds}
	if seconds <= 0 {
		return m
	}
	if t.load != nil && before.load != nil && t.load.all > before.load.all {
		all := float64(t.load.all - before.load.all)
		ours := math.Min(1, math.Max(0, float64(t.used.since(before.used))/all))
		m.CPU = Use{to(ours), to(math.Min(1, math.Max(0, float64(t.load.busy-before.load.busy)/all-ours)))}
	}
	for i, use := range []*Use{&m.Sent, &m.Received} {
		ours := max(0, t.ours[i]-before.ours[i])
		use.Ours = to(float64(ours) / seconds)
		if t.all != nil && before.all != nil {
			use.Others = to(float64(max(0, t.all[i]-before.all[i]-ours)) / seconds)
		}
	}
	return m
}

// split says what others use of a sum of which this program's part is known.
func split(sum float64, ours *int64) Use {
	if ours == nil {
		return Use{}
	}
	part := float64(*ours)
	return Use{to(part), to(math.Max(0, sum-part))}
}

func to[T any](v T) *T { return &v }

// procMoved reads how many bytes have gone out and come in over the network (proc(5), /proc/net/dev): through the devices that the machine has, and where it shows none, as in a virtual
// network, through all links that are not parts of others. nil is not available.
func (s sources) procMoved() *[2]int64 {
	text, err := read(s.proc, "net/dev")
	if err != nil {
		return nil
	}
	var devices, links [2]int64
	found := [2]bool{}
	for line := range strings.Lines(string(text)) {
		name, rest, ok := strings.Cut(line, ":")
		fields := strings.Fields(rest)
		if name = strings.TrimSpace(name); !ok || len(fields) < 16 || name == "lo" {
			continue
		}
		received, err1 := strconv.ParseInt(fields[0], 10, 64)
		sent, err2 := strconv.ParseInt(fields[8], 10, 64)
		if err1 != nil || err2 != nil {
			continue
		}
		dir := path.Join("class/net", name)
		if s.has(dir, "device") {
			devices[0], devices[1], found[0] = devices[0]+sent, devices[1]+received, true
		}
		if !s.has(dir, "master") && !s.has(dir, "bridge") {
			links[0], links[1], found[1] = links[0]+sent, links[1]+received, true
		}
	}
	switch {
	case found[0]:
		return &devices
	case found[1]:
		return &links
	}
	return nil
}

func (s sources) has(dir, name string) bool {
	_, err := fs.Stat(s.sys, path.Join(dir, name))
	return err == nil
}

// procResident adds up the memory of processes that is theirs alone or made in memory, in bytes (proc(5), /proc/PID/status: RssAnon and RssShmem); files that are only mapped can be given
// up at any time. nil is not available.
func (s sources) procResident(all []process) *int64 {
	var sum *int64
	for _, p := range all {
		text, err := read(s.proc, fmt.Sprint(p.pid, "/status"))
		if err != nil {
			continue // it has ended
		}
		if field(text, "RssAnon") == "" {
			continue
		}
		if sum == nil {
			sum = new(int64)
		}
		*sum += kib(field(text, "RssAnon")) + kib(field(text, "RssShmem"))
	}
	return sum
}

// procMemory reads how much memory there is, and how much of it new work can get (proc(5), /proc/meminfo, in KiB); 0 is not available.
func (s sources) procMemory() (total, available int64) {
	text, err := read(s.proc, "meminfo")
	if err != nil {
		return 0, 0
	}
	return kib(field(text, "MemTotal")), kib(field(text, "MemAvailable"))
}

func kib(s string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(s, "kB")), 10, 64)
	if err != nil || n < 0 || n > 1<<52 {
		return 0
	}
	return n << 10
}
