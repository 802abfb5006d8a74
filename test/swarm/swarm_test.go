// Package swarm tests whole networks inside one process: every room of every node, joined as the product joins them, over real sockets on loopback.
// It promises that when a network is closed nothing of it is left running.
// It leaves separate processes and their ends to test/e2e and test/chaos.
package swarm

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/engine/wasm"
	"github.com/hpips/hpips/node"
	"github.com/hpips/hpips/spec/job"
)

var soak = flag.Bool("soak", false, "run the full counts")

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "wasm-child" { // the test's own executable is what a node starts as its sandbox
		os.Exit(wasm.Child())
	}
	os.Exit(m.Run())
}

// answer is a program that writes "yes\n" to its standard output, by hand: fd_write of one piece.
var answer = []byte("\x00asm\x01\x00\x00\x00" +
	"\x01\x0c\x02\x60\x04\x7f\x7f\x7f\x7f\x01\x7f\x60\x00\x00" + // types: fd_write, _start
	"\x02\x23\x01\x16wasi_snapshot_preview1\x08fd_write\x00\x00" +
	"\x03\x02\x01\x01" +
	"\x05\x03\x01\x00\x01" + // a page of memory
	"\x07\x13\x02\x06memory\x02\x00\x06_start\x00\x01" +
	"\x0a\x0f\x01\x0d\x00\x41\x01\x41\x00\x41\x01\x41\x14\x10\x00\x1a\x0b" + // fd_write(1, 0, 1, 20)
	"\x0b\x12\x01\x00\x41\x00\x0b\x0c\x08\x00\x00\x00\x04\x00\x00\x00yes\n")

const wait = 3 * time.Minute

// Eight nodes of eight owners: each task is done by two of them, and nobody is left out.
func TestSoakEightNodesOfEightOwners(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	nodes, tasks := 8, 400
	if *soak {
		nodes, tasks = 16, 20_000
	}
	ctx, stop := context.WithTimeout(context.Background(), 2*wait)
	defer stop()
	api, down := open(ctx, t, nodes)
	defer down()

	program, err := api.PutBytes(ctx, strings.NewReader(string(answer)))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	st := carry(ctx, t, api, job.Spec{Kind: job.Map, Run: job.Run{WASM: program.CID}, Over: &job.Over{Count: tasks}, Verify: job.Verify{Mode: job.Quorum, Copies: 2}})
	if st.State != job.Settled || st.Tasks.Done != tasks || st.Verified != tasks || st.Executions < 2*tasks || len(st.Odd) != 0 || len(st.Nodes) < 2 {
		t.Fatalf("%+v, error %+v", st, st.Error)
	}
	t.Logf("%d tasks twice on %d nodes in %.1f s; %d nodes have a share", tasks, nodes, time.Since(began).Seconds(), len(st.Nodes))
	for _, i := range []int{0, 1, tasks - 1} {
		r, err := api.Read(ctx, fmt.Sprintf("%s/%d", st.Result, i), wait)
		if err != nil {
			t.Fatal(err)
		}
		text := make([]byte, 16)
		n, _ := r.Read(text) // the end is looked for below
		r.Close()
		if string(text[:n]) != "yes\n" {
			t.Errorf("part %d is %q", i, text[:n])
		}
	}
	// More copies than there are owners cannot be had, and that is told.
	st = carry(ctx, t, api, job.Spec{Kind: job.Map, Run: job.Run{WASM: program.CID}, Over: &job.Over{Count: 1},
		Verify: job.Verify{Mode: job.Quorum, Copies: 15}, Limits: job.Limits{Queue: job.Duration(2 * time.Second)}})
	if nodes < 15 && (st.State != job.Failed || st.Error == nil || st.Error.Code != job.CodeUnplaceable) {
		t.Errorf("%+v, error %+v", st, st.Error)
	}
}

// A network is opened and closed in the middle of its work, and nothing of it stays.
func TestANetworkIsClosedAtWork(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx, stop := context.WithTimeout(context.Background(), wait)
	defer stop()
	api, down := open(ctx, t, 3)
	defer down()
	// A loop without end: _start is loop br 0 end.
	spin, err := api.PutBytes(ctx, strings.NewReader("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x07\x0a\x01\x06_start\x00\x00\x0a\x09\x01\x07\x00\x03\x40\x0c\x00\x0b\x0b"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.Submit(ctx, job.Spec{Kind: job.Map, Run: job.Run{WASM: spin.CID}, Over: &job.Over{Count: 20}}, false); err != nil {
		t.Fatal(err)
	}
	until(ctx, t, api, "tasks run", func(st client.Status) bool { return st.Running > 1 })
}

// open starts a development network and returns its API; down closes it.
func open(ctx context.Context, t *testing.T, nodes int) (*client.Client, func()) {
	t.Helper()
	cfg := node.Default(t.TempDir())
	cfg.Chain = false
	cfg.API = "127.0.0.1:0"
	house, err := node.Dev(ctx, cfg, nodes)
	if err != nil {
		t.Fatal(err)
	}
	serving, end := context.WithCancel(ctx)
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- house.Serve(serving, func() { close(ready) }) }()
	down := func() {
		end()
		<-ended
		if err := house.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	select {
	case <-ready:
	case err := <-ended:
		_ = house.Close() // the first error tells
		t.Fatalf("ended before it was ready: %v", err)
	}
	api, err := client.Open(cfg.Home)
	if err != nil {
		down()
		t.Fatal(err)
	}
	until(ctx, t, api, "the first node has all peers", func(st client.Status) bool { return st.Ready && st.Peers >= nodes-1 })
	return api, func() {
		api.Close()
		down()
	}
}

// until waits until the first node's status is as wanted.
func until(ctx context.Context, t *testing.T, api *client.Client, what string, wanted func(client.Status) bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		st, err := api.Status(ctx)
		if err == nil && wanted(st) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("this has not come: %s: %+v, %v", what, st, err)
		}
	}
}

// carry hands a job in and follows it to its end.
func carry(ctx context.Context, t *testing.T, api *client.Client, spec job.Spec) (last job.Status) {
	t.Helper()
	id, err := api.Submit(ctx, spec, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := api.Watch(ctx, id, func(st job.Status) error { last = st; return nil }); err != nil {
		t.Fatal(err)
	}
	return last
}
