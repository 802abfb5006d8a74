//go:build unix

package store

import "syscall"

// errQuota is what a write past a user's disk quota gives.
const errQuota = syscall.EDQUOT
