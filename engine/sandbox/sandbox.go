// Package sandbox keeps the life that all sandboxes for native code have in common, whatever makes their walls: tasks one after another, their folders, standard input,
// outputs, pauses, limits on time and files, and how each came to its end.
// It promises the contract of package engine, given a Maker that starts, stops and awaits one program; that what a program writes is followed by no link to outside; and that
// nothing of a task lies about when it has ended or is cancelled.
// It leaves the walls, and the limits that the kernel keeps, to the engines that are Makers.
package sandbox

import (
	"os"
	"time"

	"github.com/hpips/hpips/engine"
)

// Missing is the error of an engine's New on a machine that cannot hold its programs: what it lacks and what its owner can do.
type Missing struct{ What, Remedy string }

// Error gives both.
func (m *Missing) Error() string { return m.What + " (" + m.Remedy + ")" }

// Check is one wall or limit of an engine's sandboxes as it really is on this machine.
type Check struct {
	// Name is the wall, such as "namespaces" or "memory limit".
	Name string
	// OK says that it holds.
	OK bool
	// Detail says what was seen, and for what does not hold what that means.
	Detail string
	// Remedy says what brings back what does not hold; "" what does for most.
	Remedy string
}

// Maker is what makes the walls: an engine's part of a sandbox.
type Maker interface {
	// Admit says why nothing of a job can be shown at a clean absolute path of the guest; nil if it can.
	Admit(guest string) error
	// Make gives the life of one task. Nothing is started yet.
	Make(t Task) Life
	// Close removes what the maker keeps for the sandbox. It is called once no life is left, and may be called again.
	Close() error
}

// Task is one run of a program, with the folders that were made for it on the host, which are the program's to write.
type Task struct {
	engine.Task
	Program *engine.Program
	// Dir is where the task's folders lie.
	Dir string
	// Tmp and Shm are the program's /tmp and /dev/shm, Out the folders of Task.Outputs in their order.
	Tmp, Shm string
	Out      []string
}

// Mounts are the program's and the task's.
func (t *Task) Mounts() []engine.Mount {
	return append(append([]engine.Mount(nil), t.Program.Mounts...), t.Task.Mounts...)
}

// Folders are all that the program may write.
func (t *Task) Folders() []string { return append([]string{t.Tmp, t.Shm}, t.Out...) }

// Life is one program from its start to its end. Ready, Begin and Wait are called one after the other in a goroutine that is the task's own and ends with it; the others at any
// time, by any goroutine.
type Life interface {
	// Ready makes all that the program needs, with its limits standing, up to where it would begin. It takes the three files over and closes them. Its error is one of this
	// machine, and leaves nothing but for Clean.
	Ready(in, out, errs *os.File) error
	// Begin lets the program begin, if there is one to begin. Its error is one of this machine; Wait is called all the same.
	Begin() error
	// Wait waits until no process of the program is left. Its two outputs are at their end, or come to it, then.
	Wait() Death
	// Kill ends the program whatever state it is in, so that Wait returns soon. It may be repeated, and come before Ready.
	Kill()
	// Freeze stops all processes of a program that has begun, or lets them go on. It may be repeated; of an ended one it does nothing.
	Freeze(on bool) error
	// Look tells what a running program has.
	Look() Sample
	// Clean takes away what is left besides folders, and may take its time. It is called once, after Ready failed or Wait.
	Clean() error
}

// Sample is what a running program has.
type Sample struct {
	// Hidden are the bytes of files that it holds open and has deleted: no walk finds them.
	Hidden int64
	// CPU and Memory are what its processes have used and have, in bytes; 0 where something else keeps the count.
	CPU    time.Duration
	Memory int64
	// Excess says that it has more processes than it may have, where nothing else refuses them, and how many that is.
	Excess string
}

// Death is how a program came to its end.
type Death struct {
	// Begun says that the program began.
	Begun bool
	// Exit is its exit code, or 128 and the number of the signal that it died of; nil if nobody knows.
	Exit *int
	// Starved says that the kernel has killed for want of memory.
	Starved bool
	// CPU and Memory are what it used, in bytes its most; 0 where only samples are known.
	CPU    time.Duration
	Memory int64
	// Why says for people why Exit is not known, or what its exit code comes from.
	Why string
}

// The bounds of what a task may leave behind: paths that no tool can name are no results.
const (
	maxDepth = 128  // folders in one another
	maxPath  = 2048 // bytes of a path below an output
)

// The resolution of the watch-dog.
const tick = 20 * time.Millisecond

// Patience is how long it may take to have a killed program gone before that is an error of this machine.
const Patience = 10 * time.Second
