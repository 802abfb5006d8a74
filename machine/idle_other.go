//go:build !linux && !darwin && !windows

package machine

func idlers() []Idler { return nil }
