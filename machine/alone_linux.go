package machine

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
)

// Alone takes a name for the caller, among all programs of this machine that ask for it so, until it is released or the process ends. It is kept by the kernel, as an abstract socket
// (unix(7)), so that nothing is left behind.
func Alone(name string) (release func(), ok bool) {
	sum := sha256.Sum256([]byte(name))
	l, err := net.Listen("unix", "@hpips-alone-"+hex.EncodeToString(sum[:16]))
	if err != nil {
		return nil, false
	}
	return func() { _ = l.Close() }, true // it is closed once
}
