//go:build linux

package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
)

// program is hpips: the one that HPIPS_BIN names, or one built for this test.
func program(t *testing.T) string {
	t.Helper()
	if given := os.Getenv("HPIPS_BIN"); given != "" {
		return given
	}
	to := filepath.Join(t.TempDir(), "hpips")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-trimpath", "-o", to, "github.com/hpips/hpips/cmd/hpips")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	finish(t, cmd)
	return to
}

// node is one "hpips up": a process with a home and ports of its own, on loopback.
type node struct {
	t    *testing.T
	bin  string
	home string
	cmd  *exec.Cmd
	gone chan struct{} // closed when the process is waited for
	pool []*node       // itself and the providers of its pool
}

// up starts a node and waits until its API answers; it ends with the test.
func up(t *testing.T, bin string, flags ...string) *node {
	t.Helper()
	return upAt(t, bin, t.TempDir(), append([]string{"--listen", "/ip4/127.0.0.1/tcp/0"}, flags...)...)
}

// upAt starts a node on a home that may have something in it.
func upAt(t *testing.T, bin, home string, flags ...string) *node {
	t.Helper()
	n := &node{t: t, bin: bin, home: home, gone: make(chan struct{})}
	log, err := os.Create(filepath.Join(n.home, "up.log"))
	must(t, err)
	defer log.Close() // the process has its own
	args := append([]string{"up", "--home", n.home, "--api", "127.0.0.1:0", "--no-mdns", "--log-level", "warn"}, flags...)
	n.cmd = exec.Command(bin, args...) // not CommandContext: it is asked to end first
	n.cmd.Stdout, n.cmd.Stderr, n.cmd.SysProcAttr = log, log, &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	must(t, n.cmd.Start())
	go func() {
		_ = n.cmd.Wait() // how it ended is in its log
		close(n.gone)
	}()
	t.Cleanup(n.stop)
	n.await(func(client.Status) bool { return true })
	return n
}

func (n *node) stop() {
	_ = n.cmd.Process.Signal(os.Interrupt) // it may have ended
	select {
	case <-n.gone:
	case <-time.After(15 * time.Second):
		n.t.Error("a node does not end within 15 s")
		_ = n.cmd.Process.Kill()
		<-n.gone
	}
}

// await polls until the node's status is as wanted.
func (n *node) await(wanted func(client.Status) bool) client.Status {
	n.t.Helper()
	var last client.Status
	n.poll("status", func() bool {
		api, err := client.Open(n.home)
		if err != nil {
			return false
		}
		defer api.Close()
		last, err = api.Status(n.t.Context())
		return err == nil && wanted(last)
	})
	return last
}

// poll asks until it is so; a minute is more than anything here takes.
func (n *node) poll(what string, so func() bool) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-n.gone:
			log, _ := os.ReadFile(filepath.Join(n.home, "up.log")) // what is not there cannot be shown
			n.t.Fatalf("the node ended:\n%s", log)
		case <-ctx.Done():
			n.t.Fatalf("%s is not as wanted within a minute", what)
		}
	}
}

// address is what others join by.
func (n *node) address() string {
	n.t.Helper()
	known := n.await(func(st client.Status) bool { return len(st.Addresses) > 0 })
	return known.Addresses[len(known.Addresses)-1]
}

// pool starts a requester and providers of one slot each, and waits until all of them make offers.
func pool(t *testing.T, providers int) *node {
	t.Helper()
	bin := program(t)
	requester := up(t, bin, "--no-provider")
	requester.pool = []*node{requester}
	for range providers {
		requester.pool = append(requester.pool, up(t, bin, "--slots", "1", "--join", requester.address()))
	}
	requester.offers(providers)
	return requester
}

// offers waits until so many providers would take a job.
func (n *node) offers(providers int) {
	n.t.Helper()
	n.poll("the number of offers", func() bool {
		api, err := client.Open(n.home)
		if err != nil {
			return false
		}
		defer api.Close()
		why, err := api.Preview(n.t.Context(), job.Spec{Kind: job.Batch, Run: job.Run{WASM: "bafkqaaa"}})
		return err == nil && why.Accepted >= providers
	})
}

// hpips runs a command on the node's home and returns its last line.
func (n *node) hpips(args ...string) string {
	n.t.Helper()
	return command(n.t, n.bin, append([]string{"--home", n.home}, args...)...)
}

// outcome is a job that ended well, and how long it took.
type outcome struct {
	job.Status
	wall time.Duration // of the command, with its start
}

// mapped runs a map to its end. The job must settle with every task done.
func (n *node) mapped(count int, flags ...string) outcome {
	n.t.Helper()
	began := time.Now()
	text := n.hpips(append([]string{"map", "-o", "json", "--over", fmt.Sprintf("count:%d", count)}, flags...)...)
	o := outcome{wall: time.Since(began)}
	must(n.t, json.Unmarshal([]byte(text), &o.Status))
	if o.State != job.Settled || o.Tasks.Done != count || o.Tasks.Total != count {
		n.t.Fatalf("the job is %s with %d of %d tasks: %s", o.State, o.Tasks.Done, o.Tasks.Total, text)
	}
	return o
}

// job is how a job stands.
func (n *node) job(id string) job.Status {
	n.t.Helper()
	api, err := client.Open(n.home)
	must(n.t, err)
	defer api.Close()
	st, err := api.Job(n.t.Context(), id)
	must(n.t, err)
	return st
}
