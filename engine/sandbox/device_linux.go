package sandbox

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// present requires that the files of the task's devices are there, and are what they should be.
func (t *task) present() error {
	for _, d := range t.Devices {
		if len(d.Nodes) == 0 {
			return fmt.Errorf("device %s: it has no device file", d.ID)
		}
		for _, n := range d.Nodes {
			info, err := os.Stat(n.Host)
			if err != nil {
				return fmt.Errorf("device %s: %s: %w", d.ID, n.Guest, cause(err))
			}
			if info.Mode()&os.ModeCharDevice == 0 {
				return fmt.Errorf("device %s: %s is no device file", d.ID, n.Guest)
			}
			if err := unix.Access(n.Host, unix.R_OK|unix.W_OK); err != nil {
				return fmt.Errorf("device %s: %s: %w", d.ID, n.Guest, err)
			}
		}
	}
	return nil
}
