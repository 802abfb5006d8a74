//go:build linux

package bench

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// kuboVersion is the one that store/testdata/kubo pins, and store's tests build too.
const kuboVersion = "0.38.2"

// kuboProgram builds the real Kubo once for each user of the machine.
func kuboProgram(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	must(t, err)
	dir := filepath.Join(cache, "hpips-test", "kubo-"+kuboVersion)
	ipfs := filepath.Join(dir, "ipfs")
	if out, err := exec.Command(ipfs, "version", "-n").Output(); err == nil && strings.TrimSpace(string(out)) == kuboVersion {
		return ipfs
	}
	must(t, os.MkdirAll(dir, 0o755))
	work := t.TempDir()
	must(t, os.CopyFS(work, os.DirFS(filepath.Join("..", "..", "store", "testdata", "kubo"))))
	t.Logf("building Kubo %s, once, into %s", kuboVersion, dir)
	made := filepath.Join(work, "ipfs")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-mod=mod", "-o", made, "github.com/ipfs/kubo/cmd/ipfs")
	cmd.Dir, cmd.Env = work, append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	finish(t, cmd)
	command(t, "cp", made, ipfs+".new")
	must(t, os.Rename(ipfs+".new", ipfs)) // whole or not at all
	return ipfs
}

// kubo is one Kubo daemon with a repository of its own, on loopback, asking nobody.
type kubo struct {
	t    *testing.T
	ipfs string
	repo string
}

func newKubo(t *testing.T, ipfs string) *kubo {
	t.Helper()
	k := &kubo{t: t, ipfs: ipfs, repo: t.TempDir()}
	k.run("init", "--profile=test")
	k.run("bootstrap", "rm", "--all")
	for key, value := range map[string]string{
		"AutoConf.Enabled": "false", "AutoTLS.Enabled": "false", "Provide.Enabled": "false", "Discovery.MDNS.Enabled": "false",
		"Routing.Type": `"none"`, "Routing.DelegatedRouters": "[]", "Ipns.DelegatedPublishers": "[]", "DNS.Resolvers": "{}",
		"Addresses.Swarm": `["/ip4/127.0.0.1/tcp/0"]`, "Addresses.API": `"/ip4/127.0.0.1/tcp/0"`, "Addresses.Gateway": `""`,
	} {
		k.run("config", "--json", key, value)
	}
	k.serve()
	return k
}

func (k *kubo) command(args ...string) *exec.Cmd {
	cmd := exec.Command(k.ipfs, args...)
	cmd.Env = append(os.Environ(), "IPFS_PATH="+k.repo, "IPFS_TELEMETRY=off")
	return cmd
}

func (k *kubo) run(args ...string) string {
	k.t.Helper()
	return finish(k.t, k.command(args...))
}

// serve runs the daemon until the test ends, and returns when it is ready.
func (k *kubo) serve() {
	k.t.Helper()
	daemon := k.command("daemon")
	out, err := daemon.StdoutPipe()
	must(k.t, err)
	daemon.Stderr = daemon.Stdout
	must(k.t, daemon.Start())
	read := make(chan struct{})
	k.t.Cleanup(func() {
		_ = daemon.Process.Signal(os.Interrupt) // it may have ended
		<-read
		_ = daemon.Wait() // ended by a signal
	})
	ready := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewScanner(out)
		for lines.Scan() && !strings.Contains(lines.Text(), "Daemon is ready") {
		}
		close(ready)
		_, _ = io.Copy(io.Discard, out) // ends with the process
	}()
	select {
	case <-ready:
	case <-time.After(time.Minute):
		k.t.Fatal("the Kubo daemon is not ready within a minute")
	}
}

// kuboMoves is oursMoves of two Kubo daemons with the same chunks. --pin=true is what an "ipfs add" does by itself.
func kuboMoves(t *testing.T, ipfs, file string, size int) (put, get float64) {
	t.Helper()
	t.Run("kubo", func(t *testing.T) {
		first, second := newKubo(t, ipfs), newKubo(t, ipfs)
		second.run("swarm", "connect", strings.Fields(first.run("id", "-f", "<addrs>"))[0])
		settle(t)
		began := time.Now()
		c := first.run("add", "-Q", "--cid-version=1", "--raw-leaves", "--chunker=size-1048576", "--max-file-links=1024", file)
		put = float64(size) / time.Since(began).Seconds()
		settle(t)
		to := filepath.Join(t.TempDir(), "copy")
		began = time.Now()
		second.run("get", "-o", to, c)
		get = float64(size) / time.Since(began).Seconds()
		same(t, file, to)
	})
	return put, get
}
