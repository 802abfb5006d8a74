package job

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/hpips/hpips/spec/canon"
)

// InlineLimit is the size in bytes up to which content travels inside a message; what is larger travels as a content address.
const InlineLimit = 64 << 10

// ReduceIndex is the index under which the reduce of a job runs: one past the largest index of a part.
const ReduceIndex = MaxTasks

// MaxTasks is the largest number of tasks of one job.
const MaxTasks = 1 << 30

// Content is a file or a folder: small files inline, everything else by address.
type Content struct {
	Inline []byte `json:"inline,omitempty" cbor:"inline,omitempty"`
	CID    string `json:"cid,omitempty" cbor:"cid,omitempty"`
	Size   int64  `json:"size" cbor:"size"` // bytes of content
}

// Task is the unit for one machine. What all tasks of a lease share (program, arguments, limits) is said once, in lease.Work.
type Task struct {
	Index uint64            `cbor:"i"`
	Env   map[string]string `cbor:"e,omitempty"` // besides HPIPS_INDEX, HPIPS_COUNT and HPIPS_INPUT
	Path  string            `cbor:"p,omitempty"` // guest path of Input: becomes HPIPS_INPUT
	Input *Content          `cbor:"c,omitempty"`
}

// End is how an execution ended.
type End string

// The ends of an execution. Broken and Lost are no fault of the program: the task is run again.
const (
	Exited     End = "exited"
	Trapped    End = "trapped"
	TimedOut   End = "time limit"
	OutputFull End = "output limit"
	MemoryFull End = "memory limit"
	DiskFull   End = "disk limit"
	WorkFull   End = "work limit"
	Refused    End = "refused" // the program cannot run at all: not WASM, no _start
	Stopped    End = "cancelled"
	Broken     End = "broken"
	Lost       End = "lost"
)

// Usage is what an execution took.
type Usage struct {
	CPU    int64 `json:"cpu" cbor:"c,omitempty"`            // nanoseconds
	Wall   int64 `json:"wall" cbor:"w,omitempty"`           // nanoseconds
	Memory int64 `json:"memory" cbor:"m,omitempty"`         // bytes at most
	Work   int64 `json:"work,omitempty" cbor:"i,omitempty"` // instructions as spec/meter counts them, the same on every machine; 0 where none are counted
}

// Result is what one execution of a task gave.
type Result struct {
	Index   uint64             `cbor:"i"`
	End     End                `cbor:"e"`
	Exit    int                `cbor:"x,omitempty"`
	Message string             `cbor:"m,omitempty"` // for people: what went wrong and what to do
	Stdout  Content            `cbor:"o"`
	Stderr  []byte             `cbor:"r,omitempty"`
	Outputs map[string]Content `cbor:"f,omitempty"` // guest path of an output → what was written there
	Usage   Usage              `cbor:"u"`
}

// Succeeded reports whether the program ended by itself with code 0.
func (r Result) Succeeded() bool { return r.End == Exited && r.Exit == 0 }

// Check refuses what no honest execution under these limits gives, so that a result cannot fill its receiver's memory or disk. outputs are the
// guest folders that are kept, disk is what a task may write there.
func (r Result) Check(l Limits, disk Size, outputs []string) error {
	switch {
	case len(r.Stdout.Inline) > InlineLimit || len(r.Stderr) > 2*InlineLimit || len(r.Message) > InlineLimit:
		return fmt.Errorf("result of task %d: more than %d bytes come with it", r.Index, InlineLimit)
	case r.Stdout.CID != "" && len(r.Stdout.Inline) > 0:
		return fmt.Errorf("result of task %d: its standard output is given twice", r.Index)
	case r.Stdout.Size < 0 || r.Stdout.Size > int64(l.Output):
		return fmt.Errorf("result of task %d: a standard output of %d bytes is past its limit of %v", r.Index, r.Stdout.Size, l.Output)
	}
	left := int64(disk)
	for path, c := range r.Outputs {
		if !slices.Contains(outputs, path) || c.CID == "" || len(c.Inline) > 0 || c.Size < 0 {
			return fmt.Errorf("result of task %d: %q is not an output that was asked for", r.Index, path)
		}
		if c.Size > left {
			return fmt.Errorf("result of task %d: its outputs are past its limit of %v", r.Index, disk)
		}
		left -= c.Size
	}
	return nil
}

// Digest is what copies of a task are compared by: how it ended, its standard output and its outputs, not its standard error or what it took.
func (r Result) Digest() [32]byte {
	core := struct {
		End     End      `cbor:"e"`
		Exit    int      `cbor:"x"`
		Stdout  [32]byte `cbor:"o"`
		Outputs []string `cbor:"f"`
	}{End: r.End, Exit: r.Exit, Stdout: sha256.Sum256(append([]byte(r.Stdout.CID+"\x00"), r.Stdout.Inline...))}
	for path, c := range r.Outputs {
		core.Outputs = append(core.Outputs, strings.Join([]string{path, c.CID, string(c.Inline)}, "\x00"))
	}
	slices.Sort(core.Outputs)
	return sha256.Sum256(canon.MustEncode(core))
}
