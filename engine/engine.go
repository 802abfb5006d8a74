// Package engine keeps the contract between a provider and whatever runs its tasks: programs, sandboxes, tasks, outcomes.
// It promises nothing by itself; every maker of the contract passes the suite in engine/enginetest, so that a provider may treat them alike.
// It leaves the running to engine/wasm and its siblings, and the choice of what to run, the fetching of inputs and the keeping of results to the provider.
package engine

import (
	"context"
	"time"
)

// Engine makes sandboxes for programs of one kind.
type Engine interface {
	// Name is the kind as the job spec writes it, such as "wasm".
	Name() string

	// Open checks and prepares p (reads, checks, compiles or takes from the local cache) and starts one sandbox for it: one child
	// process, one lease, one task at a time. It may take as long as a compilation; the end of ctx gives up. An error that is the
	// program's own fault is a *ProgramError (errors.As); any other error is this machine's.
	Open(ctx context.Context, p Program) (Sandbox, error)
}

// Program says what a sandbox runs and within which limits.
type Program struct {
	// Lease is the identity the sandbox belongs to; two leases never share a sandbox.
	Lease string
	// Module is the program's file on the host.
	Module string
	// Key is the lowercase hex sha256 of the module; Open refuses a module that does not match.
	Key string
	// Args and Env ("K=V") are given to every task, before the task's own.
	Args, Env []string
	// Mounts are shown read-only to every task.
	Mounts []Mount
	// Inputs is a host folder of this lease below which the mounts and stdin files of its tasks lie; the child may read it. A task's
	// file elsewhere works too, and costs a fresh child. "" is none.
	Inputs string
	// Limits hold for each task on its own.
	Limits Limits
	// Watched says that tasks may ask for states at points; they run somewhat slower then.
	Watched bool
	// Reach are the places outside that tasks may call (spec/job, Reach), where the engine's owner lets them. Engines that give tasks no network ignore it.
	Reach []string
	// Seed is the root of every random byte a task may read.
	Seed [32]byte
	// Dir is a private work folder on the host. It exists, is empty, and is owned by this sandbox alone until Close.
	Dir string
}

// Mount shows a file or folder of the host inside the sandbox. Guest is absolute and clean ("/in/part").
type Mount struct{ Guest, Host string }

// Limits of one task. Zero means none for Time and Work, and the engine's own default for the others.
type Limits struct {
	// Time is wall-clock time from the start of the task; time under Pause does not count.
	Time time.Duration
	// Memory is in bytes, of the program's own memory.
	Memory int64
	// Output is in bytes, standard output and standard error together.
	Output int64
	// Disk is in bytes, by which the task's files grew, 4 KiB for each file or folder made; deleting gives nothing back.
	Disk int64
	// Work is in instructions, counted as spec/meter does: the same on every machine. Zero is none. Engines that do not count ignore it.
	Work int64
}

// Task is one run of the program with a fresh memory.
type Task struct {
	// ID is unique within the sandbox's life.
	ID uint64
	// Args are appended to the program's; Env ("K=V") comes after the program's and wins over it.
	Args, Env []string
	// Mounts are shown read-only to this task alone.
	Mounts []Mount
	// Stdin is a file on the host; "" is an empty input.
	Stdin string
	// StdinOpen says that the file still grows: reads wait for Feed until Feed said eof.
	StdinOpen bool
	// Outputs are absolute guest folders that the task may write; they exist, empty, when it starts and are collected when it ends.
	Outputs []string
	// Stream asks for standard output and error through Sink.Output as they come, besides the Outcome.
	Stream bool
	// Devices are the task's alone while it runs. Engines whose programs use none ignore them.
	Devices []Device
	// Points asks for the states at counts of work (spec/meter), which ascend, MaxPoints of them at most, of a program that is Watched. The task runs to its end as it
	// does without any. Engines that do not count ignore them.
	Points []uint64
}

// MaxPoints is for how many states one task can be asked.
const MaxPoints = 128

// End says how a task came to its end.
type End string

// The ends of a task.
const (
	Exited     End = "exited"      // the program ended by itself; Outcome.Exit is its code
	Trapped    End = "trapped"     // the program did something impossible: unreachable code, memory out of bounds, stack overflow
	TimedOut   End = "timed-out"   // Limits.Time passed
	OutputFull End = "output-full" // Limits.Output passed
	MemoryFull End = "memory-full" // Limits.Memory refused growth, and the program gave up
	DiskFull   End = "disk-full"   // Limits.Disk refused a write, and the program gave up
	WorkFull   End = "work-full"   // Limits.Work passed
	Cancelled  End = "cancelled"   // Cancel, or the end of Run's ctx
	Broken     End = "broken"      // the sandbox died or the host failed; the program is not known to be at fault
)

// Outcome is what became of a task.
type Outcome struct {
	ID  uint64
	End End
	// Exit is the program's own code when End is Exited, else -1.
	Exit int
	// Message is for people: it names the limit and the flag that raises it, or the trap. Empty for an exit with 0.
	Message string
	// Stdout and Stderr hold what the task wrote until its end; they are empty if it had to be killed (TimedOut, Cancelled, Broken), for
	// then the only copy may be gone with the child: Stream tells sooner. A long standard error keeps its first and last parts and says so.
	Stdout, Stderr Blob
	// Outputs maps each of Task.Outputs to its folder on the host, inside Program.Dir, which stays until Release(ID) or Close. It is nil
	// for a task that never started or had to be killed. Only regular files and folders are in it.
	Outputs map[string]string
	Usage   Usage
	// States are the sums of spec/meter.State at Task.Points: where the task had passed each, or at the end of one that did not come so far. They are the same for
	// the same task on every machine. nil for a task that was killed or broke.
	States [][32]byte
}

// Blob is what a task wrote: held inline up to 64 KiB, else in a file of Program.Dir that stays until Release or Close.
type Blob struct {
	Inline []byte
	Path   string
	Size   int64
}

// Usage is what a task cost.
type Usage struct {
	CPU, Wall time.Duration
	// Memory is the program's largest memory, in bytes.
	Memory int64
	// Work is how many instructions the program was charged (spec/meter): the same for the same task on every machine, however it ended
	// by itself. 0 for a task that was killed, and where the engine does not count.
	Work int64
}

// Sink takes what a sandbox has to tell while Run is under way. All calls come from one goroutine, in order, and none after Run
// returned. A slow sink slows the sandbox down and loses nothing.
type Sink interface {
	// Done brings one or more outcomes, in the order in which tasks ended. The slice belongs to the sink.
	Done(outcomes []Outcome)
	// Output brings bytes of a task with Stream set: fd is 1 or 2, offset counts from the start of that stream. data is the sink's
	// only during the call. A task's Output calls come before its Done.
	Output(id uint64, fd int, offset int64, data []byte)
}

// Sandbox runs the tasks of one program, one at a time. Run is called by one goroutine at a time; all else may be called at any time
// from any goroutine.
type Sandbox interface {
	// Run runs tasks in order and gives sink exactly one Outcome for each, then returns. A task that has to be killed costs the child:
	// it is started again and the batch goes on, so that a finished task is never run twice. The end of ctx cancels what is left and
	// is no error. The error is one of this machine (the child cannot be started): tasks without an outcome then get Broken first.
	Run(ctx context.Context, tasks []Task, sink Sink) error

	// Feed tells that the Stdin file of a task with StdinOpen now holds size bytes, and with eof that no more will come.
	// It may come before the task's start; for an ended or unknown task it does nothing.
	Feed(id uint64, size int64, eof bool)

	// Cancel ends a task: a running one is killed within 100 ms, a waiting one is dropped; both get the Outcome Cancelled. Other tasks
	// are not touched. For an ended or unknown task it does nothing.
	Cancel(id uint64)

	// Release deletes the files of an ended task. For an unknown task it does nothing.
	Release(id uint64)

	// Pause stops the child where it is, Resume lets it go on. Both may be repeated. They fail where the system cannot do it.
	Pause() error
	Resume() error

	// Close kills the child, makes a Run under way end with Cancelled outcomes, waits for it, and removes what the sandbox wrote
	// into Program.Dir. It may be repeated.
	Close() error
}

// ProgramError says what is wrong with a program: it would fail the same way on every machine.
type ProgramError struct {
	// Module is the module's short name for people.
	Module string
	// Message says what is wrong, Hint what to do about it.
	Message, Hint string
}

// Error gives the message and the hint.
func (e *ProgramError) Error() string {
	s := "program " + e.Module + ": " + e.Message
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}
