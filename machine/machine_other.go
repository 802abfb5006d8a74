//go:build !linux

package machine

func kernel() string { return "" }

func cpuModel() string { return "" }

func processor() []string { return nil }

func memory() (total, available int64) { return 0, 0 }
