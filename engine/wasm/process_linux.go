package wasm

import (
	"os/exec"
	"syscall"
)

// detach gives the child a process group of its own, so that Ctrl-C at the node's terminal is the node's to handle, and has the kernel kill
// it when its parent ends.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
