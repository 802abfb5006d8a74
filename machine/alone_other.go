//go:build !linux

package machine

// Alone takes a name for the caller. Nothing that needs one runs on this system.
func Alone(string) (release func(), ok bool) { return func() {}, true }
