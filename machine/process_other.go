//go:build !linux

package machine

import (
	"errors"
	"fmt"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
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
