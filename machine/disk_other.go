//go:build !unix

package machine

func diskFree(string) int64 { return 0 }
