package wasm

import (
	"os/exec"
	"syscall"
)

// detach gives the child a session of its own, so that Ctrl-C at the node's terminal is the node's to handle and the kernel weighs it by itself (sched(7), autogroup), and
// has the kernel kill it when its parent ends.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}
