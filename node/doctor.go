package node

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/machine"
	"github.com/hpips/hpips/spec/job"
)

// leastDisk is the free space below which work stops making sense, in bytes.
const leastDisk = 1 << 30

func examineMachine(v machine.Inventory) client.Finding {
	f := client.Finding{Name: "machine", State: fine, Text: fmt.Sprintf("%s, %s/%s %s %s", job.Several(v.CPUs, "core"), v.OS, v.Arch, v.Kernel, v.CPU)}
	if v.MemoryTotal > 0 {
		f.Text += fmt.Sprintf(", %d MiB of %d MiB memory available", v.MemoryAvailable>>20, v.MemoryTotal>>20)
	}
	if v.MemoryTotal > 0 && v.MemoryAvailable < 512<<20 {
		f.State, f.Remedy = warn, "close programs: a task may take 512 MiB"
	}
	return f
}

func examineDisk(v machine.Inventory) client.Finding {
	f := client.Finding{Name: "disk", State: fine, Text: fmt.Sprintf("%d MiB free at %s", v.DiskFree>>20, v.DiskPath)}
	switch {
	case v.DiskFree == 0 && runtime.GOOS == "windows":
		f.State, f.Text = warn, "not available on this system"
	case v.DiskFree < leastDisk:
		f.State, f.Remedy = bad, "free some space, or move the home folder with --home"
	case v.DiskFree < 10*leastDisk:
		f.State, f.Remedy = warn, "large inputs and results may not fit"
	}
	return f
}

// examineClock finds a clock that is off by years, as after an empty battery; a closer look needs other clocks to compare with.
func (h *House) examineClock() client.Finding {
	now := time.Now()
	f := client.Finding{Name: "clock", State: fine, Text: now.UTC().Format(time.RFC3339)}
	if now.Year() < 2025 {
		f.State, f.Remedy = bad, "set the clock (timedatectl set-ntp true): leases end by it"
	}
	return f
}

// examineSharing says what this PC shares now, so that whoever wonders why nothing comes sees it.
func (h *House) examineSharing(ctx context.Context) client.Finding {
	f := client.Finding{Name: "sharing", State: fine}
	s, err := h.sharing.now(ctx)
	switch {
	case err != nil:
		f.State, f.Text, f.Remedy = bad, err.Error(), "hpips share off, then stop the node, ends what runs"
	case s.Cores <= 0:
		f.State, f.Text, f.Remedy = warn, s.Sentence, "hpips share status says what ends that"
	default:
		f.Text = s.Sentence
	}
	return f
}

func (h *House) examinePeers() client.Finding {
	n := len(h.first().host.Peers())
	f := client.Finding{Name: "peers", State: fine, Text: fmt.Sprintf("%d connected", n)}
	if n == 0 {
		f.State, f.Text, f.Remedy = warn, "none connected: this node is a pool of one", "on another PC: hpips up --join "+last(h.Addresses())
	}
	return f
}

func (h *House) examineChain(ctx context.Context) client.Finding {
	f := client.Finding{Name: "chain", State: fine}
	c := h.first().chain
	if c == nil {
		f.Text = "this node takes no part in a chain, as it was told"
		return f
	}
	s := c.status(ctx)
	switch {
	case s == nil:
		f.State, f.Text, f.Remedy = warn, "this node follows no chain", chainRemedy
	case s.CatchingUp:
		f.State, f.Text, f.Remedy = warn, fmt.Sprintf("%s, catching up at block %d", s.ID, s.Height), "wait; hpips chain status tells how far it is"
	case s.Down != "":
		f.State, f.Text, f.Remedy = warn, s.Down, "stop the other node with this home's keys; the seat signs again after an epoch"
	default:
		f.Text = fmt.Sprintf("%s, block %d, %s", s.ID, s.Height, job.Several(s.Seats, "seat"))
	}
	return f
}

func (h *House) examineJoins() []client.Finding {
	var all []client.Finding
	for _, j := range h.first().host.Joins() {
		f := client.Finding{Name: "join", State: fine, Text: j.Addr}
		if !j.Connected {
			f.State, f.Text = warn, fmt.Sprintf("%s does not answer after %s: %s", j.Addr, job.Several(j.Tries, "attempt"), j.Error)
			f.Remedy = "is that node up, its port open in its firewall, and the address the one that hpips status prints there?"
		}
		all = append(all, f)
	}
	return all
}

func last(all []string) string {
	if len(all) == 0 {
		return "ADDRESS"
	}
	return all[len(all)-1]
}
