//go:build !unix && !windows

package wasm

import "errors"

// freeze is not possible here.
func (p *process) freeze(bool) error {
	return errors.New("pause: this system cannot stop a process where it is; cancel its tasks instead")
}
