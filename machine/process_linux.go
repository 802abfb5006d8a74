package machine

func (s sources) processes() ([]process, error) { return s.procProcesses() }

func (s sources) load() (load, error) { return s.procLoad() }
