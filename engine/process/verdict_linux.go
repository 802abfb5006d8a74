package process

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine"
)

// fatal are the signals by which programs die of their own faults, and that of the kernel's last word. bwrap tells a death by a signal as a shell does, as 128 and
// its number: a program that ends with such a code by itself cannot be told apart from one that died.
var fatal = []unix.Signal{unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGBUS, unix.SIGFPE, unix.SIGKILL, unix.SIGSEGV, unix.SIGXCPU, unix.SIGXFSZ, unix.SIGSYS}

// verdict says how the task ended, once nothing of it runs. waited is how bwrap ended.
func (t *task) verdict(waited error) engine.Outcome {
	started := t.hinged()
	o := engine.Outcome{ID: t.ID, Exit: -1, Stdout: t.out.blob(), Stderr: t.err.blob()}
	o.Usage = engine.Usage{CPU: t.used.cpu, Memory: t.used.memory, Wall: t.lasted()}
	files, err := t.collect(&o)
	limits, killed := t.s.prog.Limits, t.killed
	refused := files.bytes > limits.Disk || files.largest >= limits.Disk && limits.Disk > 0
	switch {
	case killed == engine.Cancelled:
		o.End, o.Message = killed, "cancelled"
	case killed == engine.Broken, killed == engine.Trapped:
		o.End, o.Message = killed, t.why
	case killed != "":
		o.End, o.Message = killed, limits.Excess(killed)
	case t.exit == nil || !started:
		o.End, o.Message = engine.Broken, t.died(started, waited)
	case err != nil:
		o.End, o.Message = engine.Broken, "its files cannot be read: "+cause(err).Error()
	case *t.exit != 0 && t.starved:
		o.End = engine.MemoryFull
	case files.deep, refused && *t.exit != 0, files.bytes > limits.Disk:
		o.End = engine.DiskFull
	case slices.Contains(fatal, unix.Signal(*t.exit-128)):
		o.End, o.Message = engine.Trapped, fmt.Sprintf("the program trapped: it died of %s", unix.SignalName(unix.Signal(*t.exit-128)))
	default:
		o.End, o.Exit = engine.Exited, *t.exit
		if o.Exit != 0 {
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

// hinged says whether bwrap took the byte that lets the program start: the sandbox stood then.
func (t *task) hinged() bool {
	defer t.hinge.Close()
	n, _ := t.hinge.Read(make([]byte, 1)) // its other end is shut
	return n == 0 && t.released
}

// died says for people what became of a sandbox that did not tell how its program ended.
func (t *task) died(started bool, waited error) string {
	why := "it ended by itself"
	if waited != nil {
		why = waited.Error()
	}
	said, _, _ := strings.Cut(strings.TrimSpace(string(t.err.blob().Inline)), "\n")
	if !started && said != "" {
		return "the sandbox could not be made: " + said
	}
	return "the sandbox died: " + why
}

// lasted is how long the program ran, pauses left out.
func (t *task) lasted() time.Duration {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if !t.released {
		return 0
	}
	return time.Since(t.started) - (t.s.heldFor() - t.before)
}

// collect measures what the program has left, takes away what is no result, and names the outputs.
func (t *task) collect(o *engine.Outcome) (tally, error) {
	files, err := measure(unlimited, t.folders()...)
	if err != nil {
		return files, err
	}
	for _, dir := range []string{t.tmp(), t.shm()} {
		if err := remove(dir); err != nil {
			return files, err
		}
	}
	if len(t.Outputs) == 0 {
		return files, nil
	}
	o.Outputs = map[string]string{}
	for n, guest := range t.Outputs {
		if err := tidy(t.folder(n)); err != nil {
			return files, err
		}
		o.Outputs[guest] = t.folder(n)
	}
	return files, nil
}
