//go:build !linux

package store

// syncAll makes the files and folders durable.
func syncAll(_ string, files, dirs []string) error { return syncEach(files, dirs) }
