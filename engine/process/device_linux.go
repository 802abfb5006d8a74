package process

import "github.com/hpips/hpips/engine"

// bindings are bwrap's arguments that give the task its devices: their files as they are, what belongs to them read-only, and links. What two devices share is shown once.
func (l *life) bindings() (args []string) {
	seen := map[string]bool{}
	add := func(word string, list []engine.Mount) {
		for _, m := range list {
			if !seen[m.Guest] {
				seen[m.Guest] = true
				args = append(args, word, m.Host, m.Guest)
			}
		}
	}
	for _, d := range l.task.Devices {
		add("--dev-bind", d.Nodes)
		add("--ro-bind-try", d.Files)
		add("--symlink", d.Links)
	}
	return args
}
