package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/test/e2e/pc"
)

func jobs(t *testing.T, p *pc.PC) []job.Status {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), pc.Hand)
	defer stop()
	list, err := p.API(t).Jobs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// resident is the memory that a process holds, in bytes; 0 where that cannot be seen.
func resident(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Logf("resident memory is not seen: %v", err)
		return 0
	}
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(text)
	kb, _ := strconv.ParseInt(string(m[1]), 10, 64)
	return kb << 10
}

// ask sends one request to the API of a PC.
func ask(t *testing.T, method, url string, header map[string]string) (int, []byte) {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	req.Host = header["Host"]
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

// Mallory's programs and web pages on alice's PC ask the API for everything that it has, and get nothing.
func TestTheAPIIsGuarded(t *testing.T) {
	p := alice(t)
	addr := strings.TrimSpace(read(t, filepath.Join(p.Home, "api.addr")))
	token := strings.TrimSpace(read(t, filepath.Join(p.Home, "api.token")))
	fi, err := os.Stat(filepath.Join(p.Home, "api.token"))
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatalf("api.token has mode %v, error %v", fi.Mode(), err)
	}
	bearer := "Bearer " + token
	code, text := ask(t, "GET", "http://"+addr+"/openapi.json", map[string]string{"Authorization": bearer})
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]any
	}
	if err := json.Unmarshal(text, &doc); code != 200 || err != nil || !strings.HasPrefix(doc.OpenAPI, "3.1") || len(doc.Paths) < 10 {
		t.Fatalf("openapi.json: %d, %v, version %q, %d paths", code, err, doc.OpenAPI, len(doc.Paths))
	}
	doc.Paths["/metrics"] = map[string]any{"get": nil}
	doc.Paths["/openapi.json"] = map[string]any{"get": nil}
	doc.Paths["/"] = map[string]any{"get": nil}
	doc.Paths["/nowhere"] = map[string]any{"get": nil}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		who    string
		header map[string]string
		want   int
	}{
		{"no token", nil, 401},
		{"a wrong token", map[string]string{"Authorization": "Bearer " + strings.Repeat("0", len(token))}, 401},
		{"half a token", map[string]string{"Authorization": bearer[:len(bearer)-1]}, 401},
		{"a token of another kind", map[string]string{"Authorization": "Basic " + token}, 401},
		{"a foreign host", map[string]string{"Host": "evil.example:" + port, "Authorization": bearer}, 403},
		{"a host that rebinds", map[string]string{"Host": "127.0.0.1.evil.example:" + port, "Authorization": bearer}, 403},
		{"another port", map[string]string{"Host": "127.0.0.1:1", "Authorization": bearer}, 403},
		{"a foreign host without a token", map[string]string{"Host": "evil.example"}, 403},
		{"a foreign page", map[string]string{"Origin": "http://evil.example", "Authorization": bearer}, 403},
		{"a page without origin", map[string]string{"Origin": "null", "Authorization": bearer}, 403},
	}
	asked := 0
	for path, methods := range doc.Paths {
		path = regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(path, "x")
		for method := range methods {
			for _, row := range rows {
				asked++
				if code, body := ask(t, strings.ToUpper(method), "http://"+addr+path, row.header); code != row.want || bytes.Contains(body, []byte(token)) {
					t.Errorf("%s %s with %s: %d %s, want %d", method, path, row.who, code, body, row.want)
				}
			}
		}
	}
	t.Logf("%d requests refused", asked)
	for _, host := range []string{"localhost:" + port, "127.0.0.1:" + port, "[::1]:" + port} {
		if code, body := ask(t, "GET", "http://"+addr+"/v1/status", map[string]string{"Authorization": bearer, "Host": host}); code != 200 {
			t.Errorf("as %s: %d %s", host, code, body)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Alice's monitoring reads figures of the field's names, and they move with the work.
func TestMetrics(t *testing.T) {
	p := alice(t)
	figures := func() map[string]float64 {
		var b bytes.Buffer
		if err := p.API(t).Metrics(context.Background(), &b); err != nil {
			t.Fatal(err)
		}
		all := map[string]float64{}
		for _, line := range strings.Split(b.String(), "\n") {
			name, value, ok := strings.Cut(line, " ")
			if !ok || strings.HasPrefix(line, "#") {
				continue
			}
			name, _, _ = strings.Cut(name, "{")
			v, _ := strconv.ParseFloat(value, 64)
			all[name] += v
		}
		return all
	}
	before := figures()
	p.Must(t, "run", wasm("hello"))
	after := figures()
	for _, name := range []string{"hpips_build_info", "go_goroutines", "process_resident_memory_bytes", "hpips_provider_slots", "hpips_p2p_peers", "hpips_store_bytes", "hpips_requester_jobs"} {
		if _, ok := after[name]; !ok {
			t.Errorf("%s is not there", name)
		}
	}
	if d := after["hpips_provider_executions_total"] - before["hpips_provider_executions_total"]; d != 1 {
		t.Errorf("executions moved by %v, want 1", d)
	}
}

// The owner's system asks the node to end: it does so at once, gives its home back, and leaves no process.
func TestUpEndsOnRequest(t *testing.T) {
	p := alice(t)
	p.Must(t, "run", wasm("spin"), "-d")
	pc.Eventually(t, "the task runs", func() bool {
		st, err := p.API(t).Status(context.Background())
		return err == nil && st.Running == 1
	}, func() string { return p.Log(5) })
	for _, s := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		began := time.Now()
		if code := p.End(t, s); code != 0 {
			t.Errorf("after %v up ended with code %d\n%s", s, code, p.Log(10))
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("after %v up took %v to end", s, took)
		} else {
			t.Logf("after %v up took %v to end", s, took)
		}
		p.Alone(t)
		if _, err := os.Stat(filepath.Join(p.Home, "api.addr")); !os.IsNotExist(err) {
			t.Errorf("api.addr stays: %v", err)
		}
		p.Up(t)
		if open := jobs(t, p); len(open) != 1 || open[0].State.Final() {
			t.Errorf("the job did not stay: %+v", open)
		}
	}
}

// Every command has a help with an example that begins with hpips.
func TestEveryCommandHelps(t *testing.T) {
	p := pc.New(t, built.hpips, "alice")
	seen := 0
	var look func(words []string)
	look = func(words []string) {
		a := p.Hpips(t, append(words, "--help")...)
		if a.Code != 0 || a.Stderr != "" || !regexp.MustCompile(`(?m)^Examples:\n  \S*.*hpips`).MatchString(a.Stdout) {
			t.Errorf("hpips %v --help: code %d, %s\n%s", words, a.Code, a.Stderr, a.Stdout)
		}
		seen++
		_, list, ok := strings.Cut(a.Stdout, "Available Commands:\n")
		if !ok {
			return
		}
		list, _, _ = strings.Cut(list, "\n\n")
		for _, m := range regexp.MustCompile(`(?m)^  (\S+)`).FindAllStringSubmatch(list, -1) {
			if m[1] != "help" && m[1] != "completion" {
				look(append(append([]string{}, words...), m[1]))
			}
		}
	}
	look(nil)
	if seen < 22 {
		t.Errorf("only %d commands", seen)
	}
}

// Each program of examples that was built runs as a newcomer would run it.
func TestExamples(t *testing.T) {
	p := alice(t)
	folder := filepath.Join("..", "..", "examples")
	for _, row := range []struct {
		name string
		args []string
		want string
	}{
		{"hello", []string{"run", "", "bob"}, "hello, bob"},
		{"hello-c", []string{"run", "", "bob"}, "hello, bob"},
		{"hello-rust", []string{"run", "", "bob"}, "hello, bob"},
		{"hello-as", []string{"run", "", "bob"}, "hello, bob"},
		{"primes", []string{"map", "", "--over", "count:7", "--reduce", "", "--", "100000"}, "9592"},
		{"tiny", []string{"map", "", "--over", "count:3", "-q"}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			program := filepath.Join(folder, row.name, row.name+".wasm")
			if _, err := os.Stat(program); err != nil {
				t.Skipf("%s is not built (make examples; its compiler may be missing)", program)
			}
			args := append([]string{}, row.args...)
			for i := range args {
				if args[i] == "" {
					args[i] = program
				}
			}
			got := p.Must(t, args...)
			if row.want != "" && got != row.want {
				t.Fatalf("said %q, want %q", got, row.want)
			}
		})
	}
}
