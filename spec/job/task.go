package job

import (
	"crypto/sha256"
	"encoding/binary"
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
	var room [256]byte
	b := room[:0]
	if len(r.Outputs) > 0 || len(r.End) > 23 {
		b = canon.MustEncode(r.core())
	} else { // as canon writes it: one is made for each tiny task
		stdout := r.stdout()
		b = append(append(b, 0xa4, 0x61, 'e', 0x60+byte(len(r.End))), r.End...)
		b = append(append(b, 0x61, 'f', 0xf6, 0x61, 'o', 0x58, 32), stdout[:]...)
		b = appendInt(append(b, 0x61, 'x'), r.Exit)
	}
	return sha256.Sum256(b)
}

// core is what of a result does not depend on who executed it.
type core struct {
	End     End      `cbor:"e"`
	Exit    int      `cbor:"x"`
	Stdout  [32]byte `cbor:"o"`
	Outputs []string `cbor:"f"`
}

func (r Result) core() core {
	c := core{End: r.End, Exit: r.Exit, Stdout: r.stdout()}
	for path, out := range r.Outputs {
		c.Outputs = append(c.Outputs, strings.Join([]string{path, out.CID, string(out.Inline)}, "\x00"))
	}
	slices.Sort(c.Outputs)
	return c
}

func (r Result) stdout() [32]byte {
	var room [256]byte
	b := append(append(room[:0], r.Stdout.CID...), 0)
	return sha256.Sum256(append(b, r.Stdout.Inline...))
}

// appendInt is a whole number in canonical CBOR.
func appendInt(b []byte, n int) []byte {
	kind, u := byte(0), uint64(n)
	if n < 0 {
		kind, u = 0x20, uint64(-1-n)
	}
	switch {
	case u < 24:
		return append(b, kind|byte(u))
	case u < 1<<8:
		return append(b, kind|24, byte(u))
	case u < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, kind|25), uint16(u))
	case u < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, kind|26), uint32(u))
	}
	return binary.BigEndian.AppendUint64(append(b, kind|27), u)
}
