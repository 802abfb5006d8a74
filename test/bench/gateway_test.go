//go:build linux

package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hpips/hpips/api/client"
)

// objectSize is what each request brings.
const objectSize = 1 << 20

// Heidi's gateway has an object of 1 MiB in its memory; a thousand clients ask for it all the time, each over a connection of its own. Nginx serves
// the same bytes from a file to the same clients, in turn with ours.
func TestGatewayBesideNginx(t *testing.T) {
	bin, file := program(t), random(t, 1)
	clients, lasting := either(100, 1000), time.Duration(either(1, 10))*time.Second
	home := t.TempDir()
	// The clients are one address, which no allowance is made for.
	must(t, os.WriteFile(filepath.Join(home, "config.toml"), []byte("version = 1\n[gateway]\naddress = \"127.0.0.1:0\"\nrate = 1e9\n"), 0o600))
	heidi := upAt(t, bin, home, "--listen", "/ip4/127.0.0.1/tcp/0", "--no-provider", "--no-chain")
	at := heidi.await(func(st client.Status) bool { return st.Gateway != nil }).Gateway.Address
	object := heidi.hpips("put", "-q", file)
	near, raw := "/ipfs/"+object, "/ipfs/"+object+"?format=raw"
	other := nginx(t, file)
	audience(t, at, raw, clients, time.Second) // fills the memory on both sides
	audience(t, other, "/file", clients, time.Second)
	before := memory(t, heidi.cmd.Process.Pid, "VmRSS")
	var ours, theirs, ratios, late, theirLate []float64
	for round := range either(1, 5) {
		a, p := audience(t, at, raw, clients, lasting)
		b, q := audience(t, other, "/file", clients, lasting)
		t.Logf("round %d: ours %.0f MiB/s, p99 %.0f ms; nginx %.0f MiB/s, p99 %.0f ms; load %s", round+1, a, p, b, q, load(t))
		ours, theirs, ratios, late, theirLate = append(ours, a), append(theirs, b), append(ratios, a/b), append(late, p), append(theirLate, q)
	}
	c, _ := audience(t, at, near, clients, lasting)
	after := memory(t, heidi.cmd.Process.Pid, "VmRSS")
	figure(t, "gateway", median(ours), "MiB/s")
	figure(t, "gateway-nginx", median(theirs), "MiB/s")
	figure(t, "gateway-to-nginx", median(ratios), "times")
	figure(t, "gateway-p99", median(late), "ms")
	figure(t, "gateway-p99-nginx", median(theirLate), "ms")
	figure(t, "gateway-file", c, "MiB/s")
	figure(t, "gateway-memory-before", before, "MB")
	figure(t, "gateway-memory-after", after, "MB")
	figure(t, "gateway-memory-most", memory(t, heidi.cmd.Process.Pid, "VmHWM"), "MB")
	atLeast(t, "gateway-to-nginx", median(ratios), 0.6, 0.05)
	atLeast(t, "room that memory grew by less than", before*1.25+10-after, 0, -1000)
}

// nginx serves the folder of a file on loopback, on as many processes as there are cores, and gives its address.
func nginx(t *testing.T, file string) string {
	t.Helper()
	program := nginxProgram(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	at := l.Addr().String()
	must(t, l.Close()) // nginx cannot say which free port it took
	dir := t.TempDir()
	must(t, os.CopyFS(filepath.Join(dir, "www"), os.DirFS(filepath.Dir(file))))
	for _, open := range []string{dir, filepath.Dir(dir), filepath.Join(dir, "www")} {
		must(t, os.Chmod(open, 0o755))
	}
	conf := fmt.Sprintf(`daemon off; worker_processes auto; pid %[1]s/pid; error_log stderr;
events { worker_connections 4096; }
http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; open_file_cache max=16; default_type application/octet-stream;
client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
server { listen %[2]s backlog=4096; root %[1]s/www; } }
`, dir, at)
	if os.Geteuid() == 0 {
		conf = "user root; " + conf // its temporary folder is not for others
	}
	must(t, os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(conf), 0o644))
	cmd := exec.Command(program, "-p", dir, "-e", "stderr", "-c", filepath.Join(dir, "nginx.conf"))
	said := &strings.Builder{}
	cmd.Stderr = said
	must(t, cmd.Start())
	gone := make(chan struct{})
	go func() { _ = cmd.Wait(); close(gone) }()
	t.Cleanup(func() { _ = cmd.Process.Signal(os.Interrupt); <-gone })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodHead, "http://"+at+"/file", nil)
		must(t, err)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK && resp.ContentLength == objectSize {
				return at
			}
			t.Fatalf("nginx answers %s", resp.Status)
		}
		select {
		case <-tick.C:
		case <-gone:
			t.Fatalf("nginx ended: %s", said)
		case <-ctx.Done():
			t.Fatal("nginx does not answer")
		}
	}
}

// nginxProgram finds nginx, or takes it out of Debian's package: installed, it would serve this machine's port 80 from then on.
func nginxProgram(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	must(t, err)
	dir := filepath.Join(cache, "hpips-test", "nginx")
	kept := filepath.Join(dir, "usr", "sbin", "nginx")
	for _, at := range []string{"nginx", "/usr/sbin/nginx", kept} {
		if program, err := exec.LookPath(at); err == nil {
			return program
		}
	}
	work := t.TempDir()
	for _, args := range [][]string{{"apt-get", "download", "-q", "nginx"}, {"sh", "-c", `dpkg-deb -x nginx_*.deb "$0"`, dir}} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = work
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("nginx is not installed, and apt-get does not bring it: %v\n%s", err, text)
		}
	}
	return kept
}

// audience has clients ask for one object for so long, and gives the MiB/s of all and the 99th percentile of a request in ms. A request that is under
// way at the end is finished and counts.
func audience(t *testing.T, at, path string, clients int, lasting time.Duration) (rate, p99 float64) {
	t.Helper()
	var mu sync.Mutex
	var took []float64
	var wrong error
	var inside, all sync.WaitGroup
	began := make(chan time.Time)
	inside.Add(clients)
	for range clients {
		all.Go(func() {
			mine, err := visit(at, path, &inside, began, lasting)
			mu.Lock()
			defer mu.Unlock()
			took, wrong = append(took, mine...), errors.Join(wrong, err)
		})
	}
	inside.Wait() // all are connected
	start := time.Now()
	for range clients {
		began <- start
	}
	all.Wait()
	wall := time.Since(start).Seconds()
	if wrong != nil || len(took) == 0 {
		text := fmt.Sprint(wrong)
		t.Fatalf("clients of %s%s: %d requests, %s", at, path, len(took), text[:min(len(text), 300)])
	}
	slices.Sort(took)
	return float64(len(took)) * objectSize / (1 << 20) / wall, took[len(took)*99/100]
}

// visit is one client: it gives the milliseconds of each of its requests.
func visit(at, path string, inside *sync.WaitGroup, began <-chan time.Time, lasting time.Duration) (took []float64, err error) {
	c, err := net.Dial("tcp", at)
	inside.Done()
	start := <-began
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ask := []byte("GET " + path + " HTTP/1.1\r\nHost: " + at + "\r\n\r\n")
	in := bufio.NewReaderSize(c, 16<<10)
	for time.Since(start) < lasting {
		sent := time.Now()
		if _, err := c.Write(ask); err != nil {
			return took, err
		}
		length := -1
		for first := true; ; first = false {
			line, err := in.ReadString('\n')
			if err != nil {
				return took, err
			}
			if first && !strings.HasPrefix(line, "HTTP/1.1 200 ") {
				return took, fmt.Errorf("answered %q", line)
			}
			if line = strings.TrimSpace(line); line == "" {
				break
			}
			if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "content-length") {
				_, _ = fmt.Sscan(value, &length) // checked below
			}
		}
		if length != objectSize {
			return took, fmt.Errorf("answered with %d bytes", length)
		}
		if _, err := io.CopyN(io.Discard, in, objectSize); err != nil {
			return took, err
		}
		took = append(took, float64(time.Since(sent).Microseconds())/1000)
	}
	return took, nil
}
