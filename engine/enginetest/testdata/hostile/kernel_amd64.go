package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// int80 makes a call of 32-bit programs, which have numbers of their own.
func int80(number uint32) int32

func init() {
	add(map[string]func(){
		"another word size": func() {
			if got := int80(20); got != -int32(unix.EPERM) && got != -int32(unix.ENOSYS) { // getpid
				fmt.Println("escaped: a call of another word size", got)
			}
		},
		"ports of devices": func() { call("iopl", unix.SYS_IOPL, 3); call("ioperm", unix.SYS_IOPERM, 0x60, 1, 1) },
		"segments":         refused(unix.SYS_MODIFY_LDT, 1, 0, 0),
	})
}
