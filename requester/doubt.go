package requester

import "slices"

// wrong is what a checker has refused of a task.
type wrong struct {
	results int
	owners  []string // whose results they were, and who do not get the task again while there are others
}

// mislead notes that a checker refused a result of this owner, and returns how many it has refused of task i.
func (b *board) mislead(i uint64, owner string) int {
	w := b.wrongs[i]
	if w == nil {
		w = &wrong{}
		b.wrongs[i] = w
	}
	if w.results++; !slices.Contains(w.owners, owner) {
		w.owners = append(w.owners, owner)
	}
	return w.results
}

// misled reports whether this owner was wrong about task i, and is not to have it again.
func (b *board) misled(i uint64, owner string) bool {
	w := b.wrongs[i]
	return w != nil && slices.Contains(w.owners, owner)
}

// barred lists the tasks that nobody at work is to have: everybody was wrong about them, or has voted.
func (b *board) barred(atWork map[string]bool) (tasks []uint64) {
	for i, w := range b.wrongs {
		if b.out[i] != nil || len(w.owners) == 0 {
			continue
		}
		others := false
		for owner := range atWork {
			others = others || !slices.Contains(w.owners, owner) && !b.votedBy(i, owner)
		}
		if !others {
			tasks = append(tasks, i)
		}
	}
	return tasks
}

// forgive lets everybody try these tasks again: there is nobody else.
func (b *board) forgive(tasks []uint64) {
	for _, i := range tasks {
		b.wrongs[i].owners = nil
	}
}

// doubters lists the nodes whose votes on task i a judged result overrules.
func (b *board) doubters(i uint64) (nodes []string) {
	if c := b.checks[i]; c != nil {
		for _, v := range c.votes {
			nodes = append(nodes, v.Node)
		}
	}
	return nodes
}

// foreign reports whether the copies of task i are made in another hardware class than that of h.
func (b *board) foreign(i uint64, h *hire) bool {
	c := b.checks[i]
	return c != nil && b.rules.classed && b.state[i] != waiting && c.class != h.class
}

// deserted reports whether nobody could be found in the class of h to make a copy of task i.
func (b *board) deserted(i uint64, h *hire) bool {
	c := b.checks[i]
	return c != nil && b.rules.classed && slices.Contains(c.left, h.class)
}

// rehome moves tasks whose hardware class has nobody left who could make a copy to another class that is at work, where they begin anew. classes
// counts the owners at work in each. It reports whether a task moved.
func (b *board) rehome(classes map[string]int) bool {
	moved := false
	for i, c := range b.checks {
		if !b.rules.classed || c.want == 0 || b.out[i] != nil || classes[c.class] > len(c.votes) {
			continue
		}
		better := false
		for class, owners := range classes {
			better = better || owners > len(c.votes) && class != c.class && !slices.Contains(c.left, class)
		}
		if !better {
			continue
		}
		c.left, c.ran = append(c.left, c.class), c.ran+len(c.votes)
		b.drain(c)
		c.votes, c.want, moved = nil, max(0, c.policy.Copies-1), true
		b.state[i] = waiting
		b.again = append(b.again, i)
	}
	return moved
}

// drain forgets what the votes of a check said.
func (b *board) drain(c *check) {
	for _, v := range c.votes {
		b.kept -= len(v.Value)
	}
}
