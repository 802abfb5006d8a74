package pack

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriting asks the kernel to begin writing a part of the file out, without waiting, so that the next sync finds little left to do. It is only a hint:
// errors do not matter.
func startWriting(f *os.File, from, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), from, n, unix.SYNC_FILE_RANGE_WRITE)
}
