package chaos

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hpips/hpips/test/e2e/pc"
)

// wire is a switch, in a network namespace of its own, into which PCs are plugged. Nothing of it outlives the test's process.
type wire struct {
	t     *testing.T
	hub   *space
	count int
}

// space is a network namespace.
type space struct {
	wire *wire
	pid  int // of a process that keeps it
	ip   string
	line string // the switch's end of the line to it
}

func newWire(t *testing.T) *wire {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("lines are laid and cut by root alone")
	}
	for _, tool := range []string{"ip", "unshare", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("lines are laid with %s: %v", tool, err)
		}
	}
	w := &wire{t: t}
	w.hub = w.space()
	w.hub.lay("link add hub type bridge", "link set hub up")
	return w
}

// space makes an empty network. The process that keeps it ends with its standard input, and that with the test.
func (w *wire) space() *space {
	w.t.Helper()
	cmd := exec.Command("unshare", "--net", "cat")
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		w.t.Skipf("no network namespace can be made here: %v", err)
	}
	w.t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	s := &space{wire: w, pid: cmd.Process.Pid}
	own, _ := os.Readlink("/proc/self/ns/net")
	pc.Eventually(w.t, "a network namespace", func() bool {
		at, err := os.Readlink(s.file())
		return err == nil && at != own
	}, func() string { return "" })
	return s
}

func (s *space) file() string { return fmt.Sprintf("/proc/%d/ns/net", s.pid) }

// enter is how a command line begins that runs in the network.
func (s *space) enter() string { return "nsenter --net=" + s.file() }

// lay runs commands of ip in the network.
func (s *space) lay(lines ...string) {
	s.wire.t.Helper()
	cmd := exec.Command("nsenter", "--net="+s.file(), "ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		s.wire.t.Fatalf("ip %q: %v\n%s", lines, err, out.String())
	}
}

// plug gives a new network with a line to the switch.
func (w *wire) plug() *space {
	w.t.Helper()
	w.count++
	s := w.space()
	s.ip, s.line = fmt.Sprintf("10.88.0.%d", w.count), fmt.Sprintf("line%d", w.count)
	w.hub.lay(fmt.Sprintf("link add %s type veth peer name eth0 netns %d", s.line, s.pid), "link set "+s.line+" master hub up")
	s.lay("link set lo up", "addr add "+s.ip+"/24 dev eth0", "link set eth0 up")
	return s
}

// cut cuts the line.
func (s *space) cut() { s.wire.hub.lay("link set " + s.line + " down") }

// mend mends it.
func (s *space) mend() { s.wire.hub.lay("link set " + s.line + " up") }

// dial opens a connection from within the network, for a question to a PC there.
func (s *space) dial(ctx context.Context, network, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	got := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine, since it is in another network
		there, err := os.Open(s.file())
		if err == nil {
			err = unix.Setns(int(there.Fd()), unix.CLONE_NEWNET)
			_ = there.Close()
		}
		if err != nil {
			got <- result{nil, fmt.Errorf("enter the network of %s: %w", s.ip, err)}
			return
		}
		conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
		got <- result{conn, err}
	}()
	r := <-got
	return r.conn, r.err
}
