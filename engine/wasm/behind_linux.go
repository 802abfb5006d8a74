package wasm

import (
	"sync"

	"github.com/hpips/hpips/engine/cgroup"
)

// ranks are where children get groups of their own, in which they stand behind the owner's programs for the processor. They are looked for when the first child starts.
type ranks struct {
	once   sync.Once
	groups *cgroup.Parent // nil: none can be made here, and priorities have to do
}

// behind puts a child into such a group if the engine's children are to stand behind all others. What it returns takes the group away when the child is gone.
func (e *Engine) behind(pid int) (leave func()) {
	leave = func() {}
	if e.cfg.Nice < cgroup.Last {
		return leave
	}
	e.ranks.once.Do(func() {
		var err error
		if e.ranks.groups, err = cgroup.Find(); err != nil {
			e.log.Debug("Programs of others stand behind the owner's by their priority alone", "why", err)
		}
	})
	group, err := e.ranks.groups.Behind()
	if err == nil {
		err = group.Add(pid)
	}
	if err != nil {
		e.log.Debug("A child stands behind the owner's programs by its priority alone", "why", err)
	}
	return func() {
		if err := group.Remove(); err != nil {
			e.log.Debug("A child's group is left", "err", err)
		}
	}
}
