package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
)

// startWithin is how long the network may take until it can take a job: some 5 s, and many times that beside other work.
const startWithin = 90 * time.Second

// network is the nodes of a demo: processes of their own; the first is the requester.
type network struct {
	dir   string
	nodes []*process
}

// process is one "hpips up".
type process struct {
	home   string
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the process is gone and waited for
	status client.Status // as of its start, while it starts the last one
}

func (n *network) requester() *process { return n.nodes[0] }

// start starts the requester, lets the providers join it, and waits until all of them offer their slots.
func (n *network) start(ctx context.Context, providers int) error {
	ctx, stop := context.WithTimeout(ctx, startWithin)
	defer stop()
	if err := n.found(providers); err != nil {
		return err
	}
	if err := n.launch(ctx, requesterName, "--no-provider"); err != nil {
		return err
	}
	if err := n.requester().await(ctx, func(client.Status) bool { return true }); err != nil {
		return err
	}
	for k := range providers {
		join := n.requester().status.Addresses
		if err := n.launch(ctx, providerName(k), "--slots", "1", "--join", join[len(join)-1]); err != nil {
			return err
		}
	}
	all, together := errgroup.WithContext(ctx) // the first that ended is the one to hear of, not those that wait for it
	for _, p := range n.nodes {
		all.Go(func() error {
			return p.await(together, func(st client.Status) bool {
				return st.Ready && st.Peers >= providers && st.Chain != nil && !st.Chain.CatchingUp && st.Chain.Height > 0
			})
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	return n.offered(ctx, providers)
}

// launch starts one process with ports of its own on loopback.
func (n *network) launch(ctx context.Context, name string, flags ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	home := filepath.Join(n.dir, name)
	if err := os.MkdirAll(home, 0o700); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(home, "up.log"))
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	args := append([]string{"up", "--home", home, "--api", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--presence", "headless"}, flags...)
	cmd := exec.Command(self, args...) // not CommandContext: stop ends it gently, and --keep not at all
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, ownGroup()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{home: home, cmd: cmd, ended: make(chan struct{})}
	n.nodes = append(n.nodes, p)
	go func() {
		_ = cmd.Wait() // how it ended is seen in its log
		close(p.ended)
	}()
	return nil
}

// await polls a process's status until it is as wanted.
func (p *process) await(ctx context.Context, wanted func(client.Status) bool) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if st, err := p.ask(ctx); err == nil {
			p.status = st
			if wanted(st) {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return p.trouble("ended")
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return p.trouble(fmt.Sprintf("was not ready within %v (it has %d peers; chain: %s)", startWithin, p.status.Peers, chainText(p.status.Chain)))
		}
	}
}

func (p *process) trouble(what string) error {
	text, _ := os.ReadFile(filepath.Join(p.home, "up.log")) // what is not there cannot be shown
	return &job.Failure{Code: job.CodeUnavailable, Message: fmt.Sprintf("%s %s: %s", filepath.Base(p.home), what, lastLines(string(text), 5)), Hint: "is something in the way of processes of this PC talking over 127.0.0.1?"}
}

func (p *process) ask(ctx context.Context) (client.Status, error) {
	api, err := client.Open(p.home)
	if err != nil {
		return client.Status{}, err
	}
	defer api.Close()
	return api.Status(ctx)
}

// offered waits until the requester gets an offer of every provider.
func (n *network) offered(ctx context.Context, providers int) error {
	probe := job.Spec{Kind: job.Batch, Run: job.Run{WASM: "bafkqaaa"}}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		api, err := client.Open(n.requester().home)
		if err == nil {
			why, err := api.Preview(ctx, probe)
			api.Close()
			if err == nil && why.Accepted >= providers {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return n.requester().trouble("found too few providers")
		}
	}
}

// busyProvider returns a provider that runs a task at this moment, or nil.
func (n *network) busyProvider(ctx context.Context) *process {
	for _, p := range n.nodes[1:] {
		if st, err := p.ask(ctx); err == nil && st.Running > 0 {
			return p
		}
	}
	return nil
}

// kill ends a process as a power cut would: SIGKILL to its process ID, and nothing else.
func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil {
		return err
	}
	<-p.ended
	return nil
}

// stop asks every process to end, and kills those that do not within some seconds. Afterwards none of them is left.
func (n *network) stop() error {
	var wg sync.WaitGroup
	for _, p := range n.nodes {
		wg.Go(func() {
			askToEnd(p.cmd.Process)
			select {
			case <-p.ended:
			case <-time.After(6 * time.Second):
				_ = p.kill() // it may have ended by now
			}
		})
	}
	wg.Wait()
	return nil
}
