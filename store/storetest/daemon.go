package storetest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// Daemon is one Kubo node with a repository of its own, on loopback, asking nobody.
type Daemon struct {
	tb      testing.TB
	program string
	repo    string
	daemon  *exec.Cmd
}

// NewDaemon makes the repository; module is as for Kubo.
func NewDaemon(tb testing.TB, module string) *Daemon {
	tb.Helper()
	k := &Daemon{tb: tb, program: Kubo(tb, module), repo: tb.TempDir()}
	k.Run("init", "--profile=test")
	k.Run("bootstrap", "rm", "--all")
	for key, value := range map[string]string{
		"AutoConf.Enabled": "false", "AutoTLS.Enabled": "false", "Provide.Enabled": "false", "Discovery.MDNS.Enabled": "false",
		"Routing.Type": `"none"`, "Routing.DelegatedRouters": "[]", "Ipns.DelegatedPublishers": "[]", "DNS.Resolvers": "{}",
		"Addresses.Swarm": `["/ip4/127.0.0.1/tcp/0"]`, "Addresses.API": `"/ip4/127.0.0.1/tcp/0"`, "Addresses.Gateway": `""`,
		// A peer that was slow to answer once is asked again: there is no other, and no routing.
		"Internal.Bitswap.BroadcastControl.Enable": "false",
	} {
		k.Run("config", "--json", key, value)
	}
	return k
}

func (k *Daemon) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, k.program, args...)
	cmd.Env = append(os.Environ(), "IPFS_PATH="+k.repo, "IPFS_TELEMETRY=off")
	return cmd
}

// kuboTime is how long a command of Kubo's may take.
const kuboTime = 4 * time.Minute

// Run runs a command, which must succeed, and gives what it printed.
func (k *Daemon) Run(args ...string) string {
	k.tb.Helper()
	var errs bytes.Buffer
	ctx, stop := context.WithTimeout(k.tb.Context(), kuboTime)
	defer stop()
	cmd := k.command(ctx, args...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		k.tb.Fatalf("ipfs %s: %v\n%s%s", strings.Join(args, " "), err, out, &errs)
	}
	return strings.TrimSpace(string(out))
}

// Start runs the daemon until the test ends and returns when it is ready.
func (k *Daemon) Start() {
	k.tb.Helper()
	k.daemon = k.command(context.Background(), "daemon")
	out, err := k.daemon.StdoutPipe()
	must(k.tb, err)
	k.daemon.Stderr = k.daemon.Stdout
	must(k.tb, k.daemon.Start())
	k.tb.Cleanup(func() {
		_ = k.daemon.Process.Signal(os.Interrupt)
		_ = k.daemon.Wait()
	})
	var seen strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		fmt.Fprintln(&seen, lines.Text())
		if strings.Contains(lines.Text(), "Daemon is ready") {
			go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the process
			return
		}
	}
	k.tb.Fatalf("the daemon ended before it was ready:\n%s", &seen)
}

// Add imports with the flags that make up our profile in this version of Kubo.
func (k *Daemon) Add(path string) string {
	return k.Run("add", "-Q", "-r", "-H", "--pin=false", "--cid-version=1", "--raw-leaves", "--chunker=size-1048576", "--max-file-links=1024", path)
}

// Info is where the daemon listens.
func (k *Daemon) Info() peer.AddrInfo {
	k.tb.Helper()
	for _, line := range strings.Fields(k.Run("id", "-f", "<addrs>")) {
		addr, err := multiaddr.NewMultiaddr(line)
		must(k.tb, err)
		info, err := peer.AddrInfoFromP2pAddr(addr)
		must(k.tb, err)
		return *info
	}
	k.tb.Fatal("Kubo listens nowhere")
	return peer.AddrInfo{}
}
