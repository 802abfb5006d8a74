// Package pc keeps real hpips processes for tests: each a PC with a home folder, ports of its own on loopback, and an end that a test chooses.
// It promises that nothing it started outlives a test that comes to its end, and that every wait has an end that shows the log of the PC that did not come.
// It leaves what is asked of the PCs to the tests, which speak to them by the command line or by the API.
package pc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
)

// Patience is how long a test waits for what must come; the machine may be busy with other things.
const Patience = 120 * time.Second

// Hand is how long one command may take.
const Hand = 180 * time.Second

// PC is one hpips process after another on the same home.
type PC struct {
	Name string
	Home string

	program string
	flags   []string
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process is gone and waited for
}

// New gives a PC with an empty home that will run program up with these flags; the API and peers get free ports unless the flags say other.
func New(t testing.TB, program, name string, flags ...string) *PC {
	t.Helper()
	p := &PC{Name: name, Home: filepath.Join(t.TempDir(), name), program: program, flags: flags}
	t.Cleanup(func() { p.end() })
	return p
}

// Up starts the process and waits until its API answers. Further flags hold for this life alone.
func (p *PC) Up(t testing.TB, further ...string) {
	t.Helper()
	p.Launch(t, further...)
	p.Await(t, "answers", func(client.Status) bool { return true })
}

// Launch starts the process and waits for nothing: for many PCs at once, or one whose API this side cannot reach.
func (p *PC) Launch(t testing.TB, further ...string) {
	t.Helper()
	if err := p.launch(further); err != nil {
		t.Fatal(err)
	}
}

func (p *PC) launch(further []string) error {
	if err := os.MkdirAll(p.Home, 0o700); err != nil {
		return err
	}
	_ = os.Remove(filepath.Join(p.Home, client.AddressFile)) // of a life that was killed
	log, err := os.OpenFile(filepath.Join(p.Home, "up.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"up", "--home", p.Home, "--no-mdns"}
	args = append(args, defaults(append(p.flags, further...))...)
	p.cmd = exec.Command(p.program, args...)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.SysProcAttr = log, log, ownGroup()
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	cmd, ended := p.cmd, make(chan struct{})
	p.ended = ended
	go func() {
		_ = cmd.Wait() // how it ended is asked of cmd.ProcessState
		close(ended)
	}()
	return nil
}

// defaults adds free ports where the flags name none.
func defaults(flags []string) []string {
	all := strings.Join(flags, " ")
	if !strings.Contains(all, "--api") {
		flags = append(flags, "--api", "127.0.0.1:0")
	}
	if !strings.Contains(all, "--listen") && !strings.Contains(all, "--dev") {
		flags = append(flags, "--listen", "/ip4/127.0.0.1/tcp/0")
	}
	return flags
}

// Await polls the status until it is as wanted, and returns it.
func (p *PC) Await(t testing.TB, what string, wanted func(client.Status) bool) client.Status {
	t.Helper()
	var last client.Status
	Eventually(t, p.Name+" "+what, func() bool {
		select {
		case <-p.ended:
			t.Fatalf("%s ended while it should come to: %s\n%s", p.Name, what, p.Log(20))
		default:
		}
		ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
		defer stop()
		api, err := client.Open(p.Home)
		if err != nil {
			return false
		}
		defer api.Close()
		st, err := api.Status(ctx)
		last = st
		return err == nil && wanted(st)
	}, func() string { return fmt.Sprintf("last status %+v\n%s", last, p.Log(20)) })
	return last
}

// Ready waits until a job can be placed and the PC has so many peers.
func (p *PC) Ready(t testing.TB, peers int) client.Status {
	t.Helper()
	return p.Await(t, fmt.Sprintf("is ready with %d peers", peers), func(st client.Status) bool { return st.Ready && st.Peers >= peers })
}

// Address is what others join this PC by.
func (p *PC) Address(t testing.TB) string {
	t.Helper()
	return p.Await(t, "has an address", func(st client.Status) bool { return len(st.Addresses) > 0 }).Addresses[0]
}

// Stay makes the PC come back, in all later lives, at the address that it has now, as one with a port of its own choice does.
func (p *PC) Stay(t testing.TB) {
	t.Helper()
	at, _, _ := strings.Cut(p.Address(t), "/p2p/")
	p.flags = append(p.flags, "--listen", at)
}

// Pid is the process of the PC.
func (p *PC) Pid() int { return p.cmd.Process.Pid }

// Kill ends the process with SIGKILL and waits until it is gone. Its sandboxes must end by themselves: see Alone.
func (p *PC) Kill(t testing.TB) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("kill %s: %v", p.Name, err)
	}
	<-p.ended
}

// Ended tells whether the process has come to its end.
func (p *PC) Ended() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// Stop asks the process to end, as Ctrl-C does, and returns its exit code.
func (p *PC) Stop(t testing.TB) int {
	t.Helper()
	return p.End(t, os.Interrupt)
}

// End asks the process to end by a signal, and returns its exit code.
func (p *PC) End(t testing.TB, by os.Signal) int {
	t.Helper()
	if err := p.cmd.Process.Signal(by); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("stop %s: %v", p.Name, err)
	}
	select {
	case <-p.ended:
	case <-time.After(Patience):
		t.Fatalf("%s does not stop\n%s", p.Name, p.Log(20))
	}
	return p.cmd.ProcessState.ExitCode()
}

// end is for the end of a test: whatever is left goes.
func (p *PC) end() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	killGroup(p.cmd.Process.Pid)
	<-p.ended
}

// Log is the end of what the process said.
func (p *PC) Log(lines int) string {
	text, err := os.ReadFile(filepath.Join(p.Home, "up.log"))
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// API is a client of the PC's node; it is closed with the test.
func (p *PC) API(t testing.TB) *client.Client {
	t.Helper()
	api, err := client.Open(p.Home)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Close)
	return api
}

// Answer is what a command said and how it ended.
type Answer struct {
	Code           int
	Stdout, Stderr string
}

// Hpips runs a command of this PC's user to its end.
func (p *PC) Hpips(t testing.TB, args ...string) Answer {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), Hand)
	defer stop()
	cmd := p.Command(ctx, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var failed *exec.ExitError
	if ctx.Err() != nil {
		t.Fatalf("hpips %v took longer than %v\n%s%s\n%s", args, Hand, out.String(), errs.String(), p.Log(20))
	}
	if err != nil && !errors.As(err, &failed) {
		t.Fatalf("hpips %v: %v", args, err)
	}
	return Answer{Code: cmd.ProcessState.ExitCode(), Stdout: out.String(), Stderr: errs.String()}
}

// Command is a command of this PC's user, not yet started.
func (p *PC) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.program, args...)
	cmd.Env = append(os.Environ(), "HPIPS_HOME="+p.Home)
	return cmd
}

// Must runs a command that must succeed, and returns its standard output without the last newline.
func (p *PC) Must(t testing.TB, args ...string) string {
	t.Helper()
	a := p.Hpips(t, args...)
	if a.Code != 0 {
		t.Fatalf("hpips %v: exit code %d\n%s%s", args, a.Code, a.Stdout, a.Stderr)
	}
	return strings.TrimSuffix(a.Stdout, "\n")
}

// Status reads an answer of -o json about a job.
func (a Answer) Status(t testing.TB) job.Status {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(a.Stdout, "\n"), "\n")
	var st job.Status
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &st); err != nil {
		t.Fatalf("the last line is not one JSON object: %v\n%s%s", err, a.Stdout, a.Stderr)
	}
	return st
}

// Eventually waits until done, and fails with what when it takes too long. It looks ten times a second, and less often where a look takes long, as those of the command line do.
func Eventually(t testing.TB, what string, done func() bool, trouble func() string) {
	t.Helper()
	Within(t, Patience, what, done, trouble)
}

// Within is Eventually with a patience of its own, for what takes several days of a chain.
func Within(t testing.TB, patience time.Duration, what string, done func() bool, trouble func() string) {
	t.Helper()
	late := time.After(patience)
	for {
		began := time.Now()
		if done() {
			return
		}
		select {
		case <-time.After(min(max(100*time.Millisecond, 3*time.Since(began)), time.Second)):
		case <-late:
			t.Fatalf("after %v this has not come: %s\n%s", patience, what, trouble())
		}
	}
}
