package chaos

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/test/e2e/pc"
)

// The lines between alice and her providers are cut again and again, as by a router that forgets; the sessions go on where they stopped.
func TestSoakLinesAreCut(t *testing.T) {
	w := newTown(t, "bob", "carol")
	var n tally
	began, cuts := time.Now(), counted(10, 200)
	for n.faults < cuts {
		id := w.submit()
		for n.faults < cuts && w.under(id) {
			p := w.folk[w.rng.IntN(len(w.folk))]
			n.faults += cut(t, p)
			w.pause(300 * time.Millisecond)
		}
		n.add(t, w, id)
	}
	n.tell(t, "cut connections", began)
	if n.lost > 0 {
		t.Errorf("%d executions count as lost, though nobody was away for longer than a moment", n.lost)
	}
}

// cut ends the connections of a PC with other PCs from outside, and returns how many there were: it takes a copy of each socket from the
// process (pidfd_getfd) and shuts it down, which both ends see as a connection that broke.
func cut(t *testing.T, p *pc.PC) int {
	t.Helper()
	pidfd, err := unix.PidfdOpen(p.Pid(), 0)
	if err != nil {
		t.Skipf("a connection is cut by pidfd_open, which this kernel does not have: %v", err)
	}
	defer unix.Close(pidfd)
	dir := fmt.Sprintf("/proc/%d/fd", p.Pid())
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	api := port(t, p)
	done := 0
	for _, name := range names {
		target, err := os.Readlink(dir + "/" + name.Name())
		if err != nil || !strings.HasPrefix(target, "socket:") {
			continue
		}
		var number int
		if _, err := fmt.Sscan(name.Name(), &number); err != nil {
			t.Fatal(err)
		}
		socket, err := unix.PidfdGetfd(pidfd, number, 0)
		if err == unix.EPERM || err == unix.ENOSYS {
			t.Skipf("a connection is cut by pidfd_getfd, which is not allowed here: %v", err)
		}
		if err != nil {
			continue // closed meanwhile
		}
		if peerOf(socket) && local(socket) != api && unix.Shutdown(socket, unix.SHUT_RDWR) == nil {
			done++
		}
		unix.Close(socket)
	}
	return done
}

// peerOf tells whether a socket is one end of a TCP connection.
func peerOf(socket int) bool {
	kind, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil || kind != unix.IPPROTO_TCP {
		return false
	}
	_, err = unix.Getpeername(socket)
	return err == nil
}

func local(socket int) string {
	at, err := unix.Getsockname(socket)
	if err != nil {
		return ""
	}
	switch at := at.(type) {
	case *unix.SockaddrInet4:
		return fmt.Sprint(at.Port)
	case *unix.SockaddrInet6:
		return fmt.Sprint(at.Port)
	}
	return ""
}

// port is that of a PC's API, whose connections are the test's own.
func port(t *testing.T, p *pc.PC) string {
	t.Helper()
	text, err := os.ReadFile(p.Home + "/api.addr")
	if err != nil {
		t.Fatal(err)
	}
	_, number, err := net.SplitHostPort(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return number
}
