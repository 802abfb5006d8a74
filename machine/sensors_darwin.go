package machine

import "context"

// battery asks pmset(1).
func (s sources) battery(ctx context.Context) *Battery {
	text, err := s.run(ctx, "pmset", "-g", "batt")
	if err != nil {
		return nil
	}
	return pmset(string(text))
}

// network: this system tells programs without a window nothing about it.
func network(context.Context) *bool { return nil }
