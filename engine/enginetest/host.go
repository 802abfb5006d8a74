package enginetest

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/engine"
)

// host is what hostile programs must not reach, and who watches it.
type host struct {
	hold    Hold
	boxes   map[string]engine.Sandbox // by the key of their program
	work    string                    // folders of sandboxes
	garden  string                    // what programs are shown as /in
	house   string                    // what they are not
	token   string                    // by which their processes are known
	secret  string                    // what stands in the house
	env     []string
	reached chan string
	before  string // picture of garden and house
	last    uint64 // number of a task
	slowest time.Duration
}

// newHost lays out a garden that a careless owner might share, with links that lead out of it, a house with a secret, and listens where a program that gets out would call.
func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{work: t.TempDir(), garden: t.TempDir(), house: t.TempDir(), reached: make(chan string, 100),
		token: fmt.Sprintf("hostile-%d-%d", os.Getpid(), time.Now().UnixNano()), secret: rand.Text()}
	canary := filepath.Join(h.house, "canary")
	h.put(t, canary, h.secret)
	h.put(t, filepath.Join(h.garden, "data"), "from alice")
	h.put(t, filepath.Join(h.garden, "deep", "data"), "from alice, too")
	for name, to := range map[string]string{"outside": canary, "house": h.house, "up": "../../../../../../etc/passwd", "etc": "/etc", "loop": "loop", "nowhere": "void", "root": "/", "self": "/proc/self/root"} {
		if err := os.Symlink(to, filepath.Join(h.garden, name)); err != nil {
			t.Fatal(err)
		}
	}
	_, port, err := net.SplitHostPort(h.listen(t, "tcp", "127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	h.listen(t, "unix", "@"+h.token)
	h.listen(t, "unix", filepath.Join(h.house, "socket"))
	udp, err := net.ListenPacket("udp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close() })
	go func() {
		for b := make([]byte, 100); ; {
			if _, _, err := udp.ReadFrom(b); err != nil {
				return
			}
			h.reached <- "udp"
		}
	}()
	h.env = []string{"CANARY=" + canary, "HOUSE=" + h.house, "PORT=" + port, "SOCKET=" + h.token, fmt.Sprint("HOST_PID=", os.Getpid())}
	h.before = h.picture(t)
	return h
}

func (h *host) put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (h *host) listen(t *testing.T, network, address string) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			h.reached <- network
			c.Close()
		}
	}()
	return l.Addr().String()
}

// picture writes down names, rights, sizes, contents and aims of all that is in the garden and in the house.
func (h *host) picture(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range []string{h.garden, h.house} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			what := ""
			switch {
			case info.Mode()&fs.ModeSymlink != 0:
				what, err = os.Readlink(path)
			case info.Mode().IsRegular():
				var b []byte
				b, err = os.ReadFile(path)
				what = string(b)
			}
			if !d.IsDir() {
				what += fmt.Sprint(" ", info.Size(), " ", info.ModTime().UnixNano())
			}
			fmt.Fprintf(&all, "%s %s %s\n", path, info.Mode(), what)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}

// untouched wants garden and house as they were, and that nobody called.
func (h *host) untouched(t *testing.T) {
	t.Helper()
	if now := h.picture(t); now != h.before {
		t.Errorf("the host's files were\n%s\nand are\n%s", h.before, now)
	}
	select {
	case network := <-h.reached:
		t.Errorf("the host was reached by %s", network)
	default:
	}
}

// none wants no process of a sandbox.
func (h *host) none(t *testing.T) {
	t.Helper()
	until := time.Now().Add(second)
	left := h.hold.Running(t, h.token)
	for len(left) > 0 && time.Now().Before(until) { // who has died may not have been waited for
		<-time.After(time.Millisecond)
		left = h.hold.Running(t, h.token)
	}
	if len(left) > 0 {
		t.Errorf("%d processes are left: %s", len(left), describe(left))
	}
}

// idle wants that nothing of a task runs any more.
func (h *host) idle(t *testing.T) {
	t.Helper()
	if !h.hold.Resident {
		h.none(t)
	}
}

func describe(pids []int) string {
	var all []string
	for _, pid := range pids[:min(len(pids), 5)] {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // it may be gone
		all = append(all, strings.TrimSpace(string(b)))
	}
	return strings.Join(all, "; ")
}

// glance is how long processes are looked at, and calm how much of a processor they may use in it: 1 %.
const (
	glance = 100 * time.Millisecond
	calm   = glance / 100
)

// still waits until the processes of the sandboxes use next to nothing, and gives the moment from which on that was so; after 10 s it errs.
func (h *host) still(t *testing.T) time.Time {
	t.Helper()
	for until := time.Now().Add(10 * second); ; {
		at, before := time.Now(), spent(h.hold.Running(t, h.token))
		<-time.After(glance)
		used := time.Duration(0)
		for pid, n := range spent(h.hold.Running(t, h.token)) {
			used += max(0, n-before[pid])
		}
		if used <= calm {
			return at
		}
		if time.Now().After(until) {
			t.Errorf("10 s after they were stopped its processes use %s in %s", used, glance)
			return at
		}
	}
}

// spent is the processor time of processes, by all their threads that live (proc(5), schedstat).
func spent(pids []int) map[int]time.Duration {
	all := map[int]time.Duration{}
	for _, pid := range pids {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil {
			continue
		}
		for _, name := range threads {
			b, err := os.ReadFile(name)
			if err != nil {
				continue // it has ended
			}
			word, _, _ := strings.Cut(string(b), " ")
			if n, err := strconv.ParseInt(word, 10, 64); err == nil {
				all[pid] += time.Duration(n)
			}
		}
	}
	return all
}

// Tokened lists the processes that have a word among their arguments.
func Tokened(t *testing.T, token string) (pids []int) {
	t.Helper()
	list, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range list {
		if b, err := os.ReadFile(name); err == nil && bytes.Contains(b, []byte(token)) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// Children lists the processes that come of this one.
func Children(t *testing.T) (pids []int) {
	t.Helper()
	all := []int{os.Getpid()}
	for i := 0; i < len(all); i++ {
		list, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i]))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range list {
			b, _ := os.ReadFile(name) // it may be gone
			for _, word := range strings.Fields(string(b)) {
				if pid, err := strconv.Atoi(word); err == nil && !slices.Contains(all, pid) {
					all = append(all, pid)
				}
			}
		}
	}
	return all[1:]
}

// plain wants nothing but files and folders that take no more than allowed, without rights that the owner did not give, and not the secret.
func (h *host) plain(t *testing.T, o engine.Outcome, p engine.Program) {
	t.Helper()
	for _, dir := range o.Outputs {
		if o.End == engine.DiskFull {
			continue // what is there is not looked at: it may lie deeper than names reach
		}
		size := int64(0)
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if !d.IsDir() && !info.Mode().IsRegular() || info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
				t.Errorf("%q is left with %s", filepath.Base(path), info.Mode())
			}
			if size += info.Size(); info.Mode().IsRegular() && info.Size() < 1<<20 {
				if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte(h.secret)) {
					t.Errorf("%q has the host's secret in it", filepath.Base(path))
				}
			}
			return nil
		})
		if err != nil || size > 2*p.Limits.Disk {
			t.Errorf("%d bytes are left, %v", size, err)
		}
	}
}
