// Package cgroup keeps control groups of Linux (cgroups(7)) for programs that are held to limits: finding where this process may make some, making, reading and removing them.
// It promises that both versions, and both at once, look alike, that what is not counted is told as not known, and that groups of nodes that were killed are taken away at the
// next start. It leaves which limits a program gets, and what to do where no group can be made, to the engines.
package cgroup

// Bounds are what a group limits.
type Bounds struct {
	// Memory is in bytes, swap counted.
	Memory int64
	// Processes count threads.
	Processes int
	// CPUs are whole processors.
	CPUs int
	// Nice is how far the group stands behind others for the processor, as a priority number does, 0 to Last.
	Nice int
}

// Last is the Nice of a group that stands behind all others: its programs have what is left of the processors, and whoever wakes up outside takes one from them at once, where a
// lighter group would keep it to the end of its slice (cgroups(7), cpu.idle).
const Last = 19
