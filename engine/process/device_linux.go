package process

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/engine"
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

// bindings are bwrap's arguments that give the task its devices: their files as they are, what belongs to them read-only, and links. What two devices share is shown once.
func (t *task) bindings() (args []string) {
	seen := map[string]bool{}
	add := func(word string, list []engine.Mount) {
		for _, m := range list {
			if !seen[m.Guest] {
				seen[m.Guest] = true
				args = append(args, word, m.Host, m.Guest)
			}
		}
	}
	for _, d := range t.Devices {
		add("--dev-bind", d.Nodes)
		add("--ro-bind-try", d.Files)
		add("--symlink", d.Links)
	}
	return args
}
