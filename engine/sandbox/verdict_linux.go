package sandbox

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine"
)

// fatal are the signals by which programs die of their own faults, and that of the kernel's last word. A life tells a death by a signal as a shell does, as 128 and
// its number: a program that ends with such a code by itself cannot be told apart from one that died.
var fatal = []unix.Signal{unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGBUS, unix.SIGFPE, unix.SIGKILL, unix.SIGSEGV, unix.SIGXCPU, unix.SIGXFSZ, unix.SIGSYS}

// verdict says how the task ended, once nothing of it runs.
func (t *task) verdict(d Death) engine.Outcome {
	o := engine.Outcome{ID: t.ID, Exit: -1}
	o.Usage = engine.Usage{CPU: t.cpu, Memory: t.memory, Wall: t.lasted()}
	if d.CPU > 0 {
		o.Usage.CPU = d.CPU // its last word is the kernel's
	}
	if d.Memory > 0 {
		o.Usage.Memory = d.Memory
	}
	var errOut, errErr error
	o.Stdout, errOut = t.blob(&t.out)
	o.Stderr, errErr = t.blob(&t.err)
	files, err := t.collect(&o)
	err = errors.Join(errOut, errErr, err)
	limits, killed := t.s.prog.Limits, t.killed
	refused := files.bytes > limits.Disk || files.largest >= limits.Disk && limits.Disk > 0
	switch {
	case killed != "":
		o.End, o.Message = killed, t.why
	case d.Exit == nil || !d.Begun:
		o.End, o.Message = engine.Broken, died(d, o.Stderr)
	case err != nil:
		o.End, o.Message = engine.Broken, "its files cannot be read: "+cause(err).Error()
	case *d.Exit != 0 && d.Starved:
		o.End = engine.MemoryFull
	case files.deep, refused && *d.Exit != 0, files.bytes > limits.Disk:
		o.End = engine.DiskFull
	case slices.Contains(fatal, unix.Signal(*d.Exit-128)):
		o.End, o.Message = engine.Trapped, fmt.Sprintf("the program trapped: it died of %s", unix.SignalName(unix.Signal(*d.Exit-128)))
	default:
		o.End, o.Exit, o.Message = engine.Exited, *d.Exit, d.Why
		if o.Exit != 0 && o.Message == "" {
			o.Message = fmt.Sprintf("the program ended with exit code %d", o.Exit)
		}
	}
	if o.Message == "" {
		o.Message = limits.Excess(o.End)
	}
	if o.End == engine.DiskFull && files.deep {
		o.Message = fmt.Sprintf("files lie deeper than %d folders, or under paths of more than %d bytes; make fewer folders in one another", maxDepth, maxPath)
	}
	return o
}

// died says for people what became of a sandbox that did not tell how its program ended.
func died(d Death, stderr engine.Blob) string {
	said, _, _ := strings.Cut(strings.TrimSpace(string(stderr.Inline)), "\n")
	if !d.Begun && said != "" {
		return "the sandbox could not be made: " + said
	}
	return "the sandbox died: " + d.Why
}

// collect measures what the program has left, takes away what is no result, and names the outputs.
func (t *task) collect(o *engine.Outcome) (tally, error) {
	files, err := measure(unlimited, t.Folders()...)
	if err != nil {
		return files, err
	}
	for _, dir := range []string{t.Tmp, t.Shm} {
		if err := remove(dir); err != nil {
			return files, err
		}
	}
	if len(t.Out) == 0 {
		return files, nil
	}
	o.Outputs = map[string]string{}
	for n, guest := range t.Outputs {
		if err := tidy(t.Out[n]); err != nil {
			return files, err
		}
		o.Outputs[guest] = t.Out[n]
	}
	return files, nil
}
