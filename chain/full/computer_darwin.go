package full

import "golang.org/x/sys/unix"

// computer names this computer, as its system does; empty when that cannot be told.
func computer() string {
	name, err := unix.Sysctl("kern.uuid")
	if err != nil {
		return ""
	}
	return name
}
