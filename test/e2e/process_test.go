package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hpips/hpips/test/e2e/pc"
)

// background is a command that runs while the test goes on.
type background struct {
	cmd        *exec.Cmd
	in         io.WriteCloser
	out        *bufio.Reader
	errs       bytes.Buffer
	cancelWait context.CancelFunc
}

func begin(t *testing.T, p *pc.PC, args ...string) *background {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), pc.Hand)
	b := &background{cmd: p.Command(ctx, args...), cancelWait: stop}
	var err error
	if b.in, err = b.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	b.out, b.cmd.Stderr = bufio.NewReader(out), &b.errs
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return b
}

// reads the next line of standard output.
func (b *background) reads(t *testing.T, want string) {
	t.Helper()
	line, err := b.out.ReadString('\n')
	if err != nil || line != want+"\n" {
		t.Fatalf("read %q, error %v, want %q\n%s", line, err, want, b.errs.String())
	}
}

// end waits for the end and returns the exit code, the rest of standard output, and standard error.
func (b *background) end(t *testing.T) pc.Answer {
	t.Helper()
	rest, _ := io.ReadAll(b.out) // a pipe that broke has ended
	err := b.cmd.Wait()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return pc.Answer{Code: b.cmd.ProcessState.ExitCode(), Stdout: string(rest), Stderr: b.errs.String()}
}

// Alice types to a program on the network, and it answers each line before she types the next.
func TestStandardInputIsLive(t *testing.T) {
	p := alice(t)
	b := begin(t, p, "run", wasm("guest"), "--", "echo")
	for _, line := range []string{"one", "two", strings.Repeat("x", 10_000), "four"} {
		if _, err := io.WriteString(b.in, line+"\n"); err != nil {
			t.Fatal(err)
		}
		b.reads(t, "got "+line)
	}
	b.in.Close()
	b.reads(t, "end")
	if a := b.end(t); a.Code != 0 || a.Stdout != "" || a.Stderr != "" {
		t.Fatalf("%+v", a)
	}
	// With nothing to read, the program sees the end at once.
	b = begin(t, p, "run", wasm("guest"), "--", "echo")
	b.in.Close()
	b.reads(t, "end")
	if a := b.end(t); a.Code != 0 {
		t.Fatalf("%+v", a)
	}
	// A program that ends without reading does not wait for its input.
	b = begin(t, p, "run", wasm("guest"), "--", "exit", "4")
	if a := b.end(t); a.Code != 4 {
		t.Fatalf("%+v", a)
	}
}

// Alice presses Ctrl-C: the command ends, tells how to come back, and the job goes on.
func TestCtrlCDetaches(t *testing.T) {
	p := alice(t)
	id := regexp.MustCompile(`hpips job wait ([0-9a-z]+)`)

	b := begin(t, p, "run", wasm("guest"), "--", "hold")
	b.reads(t, "running")
	interrupt(t, b.cmd)
	a := b.end(t)
	m := id.FindStringSubmatch(a.Stderr)
	if a.Code != 130 || m == nil || !strings.Contains(a.Stderr, "hpips job cancel") {
		t.Fatalf("%+v", a)
	}
	// Its input ended with the command; the job came to its own end.
	if got := p.Must(t, "job", "wait", m[1]); !strings.Contains(got, "settled") {
		t.Fatalf("job wait: %s", got)
	}

	// A map that takes long enough to be left, followed by a program.
	b = begin(t, p, "map", wasm("guest"), "--over", "count:40", "-o", "json", "--name", "left", "--", "squares", "20000")
	pc.Eventually(t, "the map is under way", func() bool {
		return strings.Contains(p.Must(t, "job", "ls"), "left")
	}, func() string { return p.Log(5) })
	interrupt(t, b.cmd)
	if a = b.end(t); a.Code != 130 || a.Stderr != "" {
		t.Fatalf("%+v", a)
	}
	st := a.Status(t)
	if st.Job == "" || st.State.Final() {
		t.Fatalf("%+v", a)
	}
	end := p.Hpips(t, "job", "wait", st.Job, "-o", "json")
	if got := end.Status(t); end.Code != 0 || got.State != "settled" || got.Tasks.Done != 40 || got.Executions != 40+got.Verified {
		t.Fatalf("%+v", end)
	}
}

func interrupt(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
}

// Alice closes her node while a command follows a job; when she starts it again, the command goes on.
func TestACommandOutlivesTheNode(t *testing.T) {
	p := alice(t, "--slots", "1")
	b := begin(t, p, "map", wasm("guest"), "--over", "count:60", "-o", "json", "--name", "long", "--", "squares", "20000")
	pc.Eventually(t, "a task is done", func() bool {
		for _, st := range jobs(t, p) {
			if st.Tasks.Done > 0 {
				return true
			}
		}
		return false
	}, func() string { return p.Log(5) })
	if code := p.Stop(t); code != 0 {
		t.Fatalf("up ended with code %d", code)
	}
	p.Alone(t)
	p.Up(t)
	a := b.end(t)
	if st := a.Status(t); a.Code != 0 || st.State != "settled" || st.Tasks.Done != 60 {
		t.Fatalf("%+v", a)
	}
}

// Bob's PC takes all the leases and goes: the job says so after the time that alice gave it, and its story can be read.
func TestTheOnlyProviderDisappears(t *testing.T) {
	a := pc.New(t, built.hpips, "alice", "--no-provider")
	a.Up(t)
	bob := pc.New(t, built.hpips, "bob", "--slots", "1", "--join", a.Address(t))
	bob.Up(t)
	a.Ready(t, 1)
	b := begin(t, a, "map", wasm("spin"), "--over", "count:4", "--queue", "3s", "-o", "json")
	pc.Eventually(t, "bob runs a task", func() bool {
		st, err := bob.API(t).Status(context.Background())
		return err == nil && st.Running > 0
	}, func() string { return bob.Log(10) })
	bob.Kill(t)
	bob.Alone(t)
	end := b.end(t)
	st := end.Status(t)
	if end.Code != 122 || st.Error == nil || st.Error.Code != "unplaceable" || st.Error.Hint == "" || st.Tasks.Lost == 0 {
		t.Fatalf("%+v", end)
	}
	if why := a.Must(t, "job", "why", st.Job); !strings.Contains(why, "failed") {
		t.Fatalf("why: %s", why)
	}
	// A short loss is none: bob comes back, and the next job runs.
	bob.Up(t)
	a.Ready(t, 1)
	if got := a.Must(t, "run", wasm("hello"), "again"); got != "hello, again" {
		t.Fatal(got)
	}
}

// A program writes a gigabyte: the default limit ends it, and the node stays small.
func TestSoakAGigabyteOfOutput(t *testing.T) {
	p := alice(t)
	a := p.Hpips(t, "run", wasm("guest"), "-o", "json", "--", "flood", "1024")
	if st := a.Status(t); a.Code != 125 || st.Error == nil || st.Error.Code != "output-limit" || !strings.Contains(st.Error.Message, "256MiB") || st.Error.Hint == "" {
		t.Fatalf("%+v", a)
	}
	if got := p.Must(t, "run", wasm("hello"), "still"); got != "hello, still" {
		t.Fatal(got)
	}
	if rss := resident(t, p.Pid()); rss > 700<<20 {
		t.Errorf("the node holds %d MiB after a flood", rss>>20)
	}
	if !*soak {
		return
	}
	b := begin(t, p, "run", wasm("guest"), "--max-output", "2GiB", "--", "flood", "1024")
	n, err := io.Copy(io.Discard, b.out)
	if end := b.end(t); err != nil || n != 1<<30 || end.Code != 0 {
		t.Fatalf("%d bytes, error %v, %+v", n, err, end)
	}
	if rss := resident(t, p.Pid()); rss > 700<<20 {
		t.Errorf("the node holds %d MiB after passing a gigabyte on", rss>>20)
	}
}

// Alice hands in fifty tasks, one of which never ends; she cancels that one, and has the 49 others.
func TestOneOfFiftyIsCancelled(t *testing.T) {
	p := alice(t, "--slots", "2")
	stuck := p.Must(t, "run", wasm("spin"), "-d", "-q")
	var ids []string
	for range 49 {
		ids = append(ids, p.Must(t, "run", wasm("guest"), "-d", "-q", "--", "squares", "1"))
	}
	began := time.Now()
	a := p.Hpips(t, "job", "cancel", stuck, "-o", "json")
	if st := a.Status(t); a.Code != 0 || st.State != "cancelled" {
		t.Fatalf("%+v", a)
	}
	t.Logf("cancelled in %v", time.Since(began))
	var result string
	for _, id := range ids {
		a := p.Hpips(t, "job", "wait", id, "-o", "json")
		st := a.Status(t)
		if a.Code != 0 || st.State != "settled" || st.Tasks.Lost != 0 || (result != "" && st.Result != result) {
			t.Fatalf("%+v", a)
		}
		result = st.Result
	}
	if st := p.Hpips(t, "job", "show", stuck, "-o", "json").Status(t); st.Tasks.Lost != 0 || st.State != "cancelled" {
		t.Fatalf("%+v", st)
	}
}
