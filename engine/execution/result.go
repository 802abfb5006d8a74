package execution

import (
	"fmt"
	"io"
	"os"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/spec/job"
)

// Result is what is told of an outcome of the task with this index. keep is called for each file or folder that is too large for a message, and gives its
// address; its error ends Result, which then has the usage alone.
func Result(index uint64, o *engine.Outcome, keep func(path string) (job.Content, error)) (job.Result, error) {
	r := job.Result{Index: index, End: end(o.End), Message: o.Message, Stderr: excerpt(o.Stderr), Usage: usage(o.Usage)}
	if o.End == engine.Exited {
		r.Exit = o.Exit
	}
	r.Stdout = job.Content{Inline: o.Stdout.Inline, Size: int64(len(o.Stdout.Inline))}
	var err error
	if o.Stdout.Path != "" {
		if r.Stdout, err = keep(o.Stdout.Path); err != nil {
			return job.Result{Index: index, Usage: r.Usage}, err
		}
	}
	for guest, host := range o.Outputs {
		c, err := keep(host)
		if err != nil {
			return job.Result{Index: index, Usage: r.Usage}, err
		}
		if r.Outputs == nil {
			r.Outputs = map[string]job.Content{}
		}
		r.Outputs[guest] = c
	}
	return r, nil
}

// TooLarge is what is told of a task whose own input passes the disk that it may take: it is not begun.
func TooLarge(t job.Task, disk int64) job.Result {
	return job.Result{Index: t.Index, End: job.DiskFull,
		Message: fmt.Sprintf("input %s is larger than the %s of disk that a task may take; raise it with --disk", t.Input.CID, engine.Bytes(disk))}
}

func usage(u engine.Usage) job.Usage {
	return job.Usage{CPU: u.CPU.Nanoseconds(), Wall: u.Wall.Nanoseconds(), Memory: u.Memory, Work: u.Work}
}

// end gives the requester's word for the engine's.
func end(e engine.End) job.End {
	switch e {
	case engine.Exited:
		return job.Exited
	case engine.Trapped:
		return job.Trapped
	case engine.TimedOut:
		return job.TimedOut
	case engine.OutputFull:
		return job.OutputFull
	case engine.MemoryFull:
		return job.MemoryFull
	case engine.DiskFull:
		return job.DiskFull
	case engine.WorkFull:
		return job.WorkFull
	case engine.Cancelled:
		return job.Stopped
	}
	return job.Broken
}

// excerpt is the part of a standard error that travels.
func excerpt(b engine.Blob) []byte {
	if b.Path == "" {
		return b.Inline
	}
	f, err := os.Open(b.Path)
	if err != nil {
		return b.Inline
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, job.InlineLimit)) // as much as can be read
	return text
}
