//go:build !unix

package store

import "syscall"

// errQuota is ERROR_DISK_FULL on Windows, which has no separate error for quotas.
const errQuota = syscall.Errno(112)
