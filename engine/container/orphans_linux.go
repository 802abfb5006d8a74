package container

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine/sandbox"
)

// monitor is what Podman leaves with each container, as a process whose parent has ended.
const monitor = "conmon"

// isChild says whether a process is a child of this one.
func isChild(pid int) bool {
	fields, err := stat(pid)
	return err == nil && fields[1] == strconv.Itoa(os.Getpid())
}

// orphans takes monitors that have ended from the list of processes: those of a service of ours are left to this process, where it takes in orphans (prctl(2),
// PR_SET_CHILD_SUBREAPER). It starts none itself, so it takes nobody's from whoever waits for it.
func orphans() {
	for _, pid := range sandbox.Children(os.Getpid()) {
		name, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
		if err != nil || string(name) != monitor+"\n" {
			continue
		}
		for {
			if _, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); !errors.Is(err, unix.EINTR) {
				break
			}
		}
	}
}
