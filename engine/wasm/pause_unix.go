//go:build unix

package wasm

import "syscall"

// freeze stops the child where it is, or lets it go on.
func (p *process) freeze(on bool) error {
	sig := syscall.SIGCONT
	if on {
		sig = syscall.SIGSTOP
	}
	return p.cmd.Process.Signal(sig)
}
