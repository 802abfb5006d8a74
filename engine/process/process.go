// Package process keeps the engine for native programs: each task is one program in a sandbox of its own, made by bubblewrap (bwrap) on Linux.
// It promises that a program sees of the machine what lies under /usr, read-only, what its task was given and nothing else, reaches no network, keeps to its limits on time,
// processor, memory, processes, output and disk, and that nothing of it is left, running or lying, when its task has ended or is cancelled.
// It leaves who may run native programs here to the node, what they may cost to the market, and equal results on different processors to nobody: they need not be equal.
package process

import (
	"net"
	"net/netip"

	"github.com/hpips/hpips/engine/sandbox"
	"github.com/hpips/hpips/spec/job"
)

// Name is the engine's kind in a job's words and in orders.
const Name = job.EngineNative

// Package is what has to be installed for this engine, by the name that Linux systems give it.
const Package = "bubblewrap"

// Config of an engine. The zero value is a good one.
type Config struct {
	// Bubblewrap is the path of bwrap; "" looks where programs are.
	Bubblewrap string
	// Nice is added to the programs' priority number, 0 to 19.
	Nice int
	// CPUs are the cores that one task may use; 0 is 1.
	CPUs int
	// Processes are those, threads counted, that one task may have at once; 0 is 512.
	Processes int
	// MaxProgram is in bytes; 0 is 64 MiB.
	MaxProgram int64
	// Reach are the places outside that tasks may call when their program asks for them; none by default.
	Reach []job.Reach
	// Pace gives connections of tasks to such places the pace of the machine's; nil leaves them as they are.
	Pace func(net.Conn) net.Conn
	// Seen are addresses by which others see this machine, such as its router's, which no name opens to tasks; nil knows none.
	Seen func() []netip.Addr
	// Way starts this program as egress.Child, which makes a task's way out; needed for Reach.
	Way []string
	// NoGroups leaves control groups alone and keeps limits by resource limits and a watch-dog, as where the system lets this user make none.
	NoGroups bool
}

func (c Config) orDefault() Config {
	if c.CPUs <= 0 {
		c.CPUs = 1
	}
	if c.Processes <= 0 {
		c.Processes = 512
	}
	if c.MaxProgram <= 0 {
		c.MaxProgram = 64 << 20
	}
	return c
}

// Missing is the error of New on a machine that cannot hold native programs.
type Missing = sandbox.Missing

// Check is one wall or limit of the sandbox as it really is on this machine.
type Check = sandbox.Check
