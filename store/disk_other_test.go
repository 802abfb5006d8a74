//go:build !linux

package store

import "testing"

func smallDisk(t *testing.T, _ int) string {
	t.Helper()
	t.Skip("a small tmpfs is a thing of Linux; TestDiskRefuses tells the story with a fake disk")
	return ""
}
