//go:build !linux && !darwin && !windows

package machine

import "context"

func (s sources) battery(context.Context) *Battery { return nil }

func network(context.Context) *bool { return nil }
