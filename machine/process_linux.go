package machine

func (s sources) processes() ([]process, error) { return s.procProcesses() }

func (s sources) load() (load, error) { return s.procLoad() }

func (s sources) moved() *[2]int64 { return s.procMoved() }

func (s sources) resident(all []process) *int64 { return s.procResident(all) }

func (s sources) memory() (total, available int64) { return s.procMemory() }
