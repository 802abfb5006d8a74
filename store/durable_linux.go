package store

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriting asks the kernel to begin writing the file out, without waiting, so that the
// sync at the next commit finds little left to do. It is only a hint: errors do not matter.
func startWriting(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	_ = unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
}
