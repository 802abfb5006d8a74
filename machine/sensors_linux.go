package machine

import "context"

func (s sources) battery(context.Context) *Battery { return s.supply() }
