//go:build !linux

package machine

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/net"
	gopsutil "github.com/shirou/gopsutil/v4/process"
)

// processes lists what the system shows to this user.
func (s sources) processes() ([]process, error) {
	running, err := gopsutil.Processes()
	if err != nil {
		return nil, fmt.Errorf("processes: %w", err)
	}
	var all []process
	for _, r := range running {
		p := process{pid: int(r.Pid)}
		if parent, err := r.Ppid(); err == nil {
			p.parent = int(parent)
		}
		if p.name, err = r.Name(); err != nil {
			continue
		}
		if t, err := r.Times(); err == nil {
			p.used = time.Duration((t.User + t.System) * float64(time.Second))
		}
		all = append(all, p)
	}
	return all, nil
}

func (s sources) load() (l load, err error) {
	all, err := cpu.Times(false)
	if err == nil && len(all) == 0 {
		err = errors.New("not available")
	}
	if err != nil {
		return l, fmt.Errorf("processors: %w", err)
	}
	t := all[0]
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	l.busy = seconds(t.User + t.Nice + t.System + t.Irq + t.Softirq)
	l.all = l.busy + seconds(t.Idle+t.Iowait)
	return l, nil
}

// moved is how many bytes have gone out and come in over all links together.
func (s sources) moved() *[2]int64 {
	all, err := net.IOCounters(true)
	if err != nil {
		return nil
	}
	var sum *[2]int64
	for _, l := range all {
		if l.Name == "lo0" || strings.HasPrefix(l.Name, "Loopback") {
			continue
		}
		if sum == nil {
			sum = new([2]int64)
		}
		sum[0], sum[1] = sum[0]+int64(l.BytesSent), sum[1]+int64(l.BytesRecv)
	}
	return sum
}

// resident adds up the memory of processes, in bytes.
func (s sources) resident(all []process) *int64 {
	var sum *int64
	for _, p := range all {
		one, err := gopsutil.NewProcess(int32(p.pid))
		if err != nil {
			continue // it has ended
		}
		m, err := one.MemoryInfo()
		if err != nil {
			continue
		}
		if sum == nil {
			sum = new(int64)
		}
		*sum += int64(m.RSS)
	}
	return sum
}

func (s sources) memory() (total, available int64) { return memory() }
