package chaos

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hpips/hpips/test/e2e/pc"
)

// The sandboxes of a provider are killed under it, as by a kernel that is short of memory: their tasks are run again, and none counts as lost,
// since the provider never was.
func TestSoakSandboxesAreKilled(t *testing.T) {
	w := newTown(t, "bob", "carol")
	var n tally
	began, kills := time.Now(), counted(6, 100)
	for n.faults < kills {
		id := w.submit()
		for n.faults < kills && w.under(id) {
			n.faults += killChildren(t, w.folk[w.rng.IntN(len(w.folk))])
			w.pause(700 * time.Millisecond)
		}
		n.add(t, w, id)
	}
	n.tell(t, "kills of sandboxes", began)
	if n.lost > 0 {
		t.Errorf("%d executions count as lost, though no provider was", n.lost)
	}
}

// killChildren kills the child processes of a PC and returns how many there were.
func killChildren(t *testing.T, p *pc.PC) int {
	t.Helper()
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	done := 0
	for _, thread := range threads {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", p.Pid(), thread.Name()))
		if err != nil {
			continue // the thread has ended, or the kernel does not tell
		}
		for _, word := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil {
				done++
			}
		}
	}
	return done
}
