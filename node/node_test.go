package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/engine/wasm"
	"github.com/hpips/hpips/spec/job"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "wasm-child" { // the test's own executable is what a node starts as its sandbox
		os.Exit(wasm.Child())
	}
	os.Exit(m.Run())
}

// nothing is the smallest program: _start, which returns.
var nothing = []byte("\x00asm\x01\x00\x00\x00" + "\x01\x04\x01\x60\x00\x00" + "\x03\x02\x01\x00" + "\x07\x0a\x01\x06_start\x00\x00" + "\x0a\x04\x01\x02\x00\x0b")

func quiet(t *testing.T) Config {
	t.Helper()
	c := Default(t.TempDir())
	c.Share.Presence = "headless" // whoever runs the tests may be at the PC
	c.Listen, c.MDNS, c.API, c.Chain, c.Stderr = []string{"/ip4/127.0.0.1/tcp/0"}, false, "127.0.0.1:0", false, &bytes.Buffer{}
	return c
}

// running is a house that serves; stop ends it and tells how.
type running struct {
	*House
	api  *client.Client
	stop func() error
}

func start(t *testing.T, h *House, err error) *running {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- h.Serve(ctx, func() { close(ready) }) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return errors.Join(<-ended, h.Close())
	})
	t.Cleanup(func() { _ = stop() })
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("ended before it was ready: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("not ready after 30 s")
	}
	api, err := client.Open(h.cfg.Home)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Close)
	return &running{House: h, api: api, stop: stop}
}

func TestAliceStartsAndStopsHerNode(t *testing.T) {
	cfg := quiet(t)
	h, err := New(t.Context(), cfg)
	alice := start(t, h, err)

	_, err = New(t.Context(), cfg) // a second start on the same home
	var f *job.Failure
	if !errors.As(err, &f) || !strings.Contains(f.Message, cfg.Home) || !strings.Contains(f.Message, fmt.Sprint(os.Getpid())) {
		t.Errorf("second start: %v", err)
	}
	st, err := alice.api.Status(t.Context())
	if err != nil || !st.Ready || st.Node != alice.ID() || st.Slots != runtime.GOMAXPROCS(0) || st.Home != cfg.Home || len(st.Addresses) == 0 {
		t.Errorf("status: %+v, %v", st, err)
	}
	began := time.Now()
	if err := alice.stop(); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("stop: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stopping took %v", took)
	}
	if _, err := os.Stat(filepath.Join(cfg.Home, client.AddressFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the address of a node that is gone is still there: %v", err)
	}
	h, err = New(t.Context(), cfg) // and again: the same node
	again := start(t, h, err)
	if again.ID() != st.Node {
		t.Errorf("after a restart it is %s, before it was %s", again.ID(), st.Node)
	}
}

func TestSecretsAreTheirOwnersAlone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("file modes are not those of Unix")
	}
	cfg := quiet(t)
	h, err := New(t.Context(), cfg)
	start(t, h, err)
	for _, name := range []string{"keys/node.key", "keys/owner.key", client.TokenFile, ConfigFile, "logs/hpips.log"} {
		fi, err := os.Stat(filepath.Join(cfg.Home, name))
		if err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, fi, err)
		}
	}
}

func TestThreeNodesOfOneProcessRunAJob(t *testing.T) {
	cfg := quiet(t)
	h, err := Dev(t.Context(), cfg, 3)
	net := start(t, h, err)
	module, err := net.api.PutBytes(t.Context(), bytes.NewReader(nothing))
	if err != nil {
		t.Fatal(err)
	}
	spec := job.Spec{Kind: job.Map, Run: job.Run{WASM: module.CID}, Over: &job.Over{Count: 30}, Verify: job.Verify{Mode: job.Quorum, Copies: 3}}
	id, err := net.api.Submit(t.Context(), spec, false)
	if err != nil {
		t.Fatal(err)
	}
	var last job.Status
	if err := net.api.Watch(t.Context(), id, func(st job.Status) error { last = st; return nil }); err != nil {
		t.Fatal(err)
	}
	// Three equal results of three different owners: no node alone could have brought this about.
	if last.State != job.Settled || last.Tasks.Done != 30 || last.Verified != 30 || last.Executions < 90 {
		t.Errorf("%+v (%v)", last, last.Error)
	}
	owners, labels := map[string]bool{}, map[string]bool{}
	for _, m := range net.members {
		owners[m.owner], labels[m.label] = true, true
	}
	if len(owners) != 3 || len(labels) != 3 {
		t.Errorf("owners %v, networks %v", owners, labels)
	}
}

func TestContentGoesFromNodeToNode(t *testing.T) {
	h, err := New(t.Context(), quiet(t))
	alice := start(t, h, err)
	cfg := quiet(t)
	cfg.Join = alice.Addresses()
	h, err = New(t.Context(), cfg)
	bob := start(t, h, err)

	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "letter"), []byte("dear bob"), 0o644); err != nil {
		t.Fatal(err)
	}
	e, err := alice.api.Put(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "got")
	if _, err := bob.api.Get(t.Context(), "ipfs://"+e.CID, client.Export{Path: target, Idle: 20}, nil); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(target, "letter")); err != nil || string(text) != "dear bob" {
		t.Errorf("%q, %v", text, err)
	}
	var f *job.Failure
	if _, err := bob.api.Get(t.Context(), e.CID, client.Export{Path: target}, nil); !errors.As(err, &f) || f.Code != job.CodeUsage || f.Hint == "" {
		t.Errorf("a target that is there: %v", err)
	}
	if _, err := alice.api.Put(t.Context(), filepath.Join(dir, "gone"), nil); !errors.As(err, &f) || f.Code != job.CodeNotFound {
		t.Errorf("a path that is not there: %v", err)
	}
	l, err := bob.api.List(t.Context(), e.CID+"/letter", time.Minute)
	if err != nil || l.Kind != "file" || l.Size != 8 {
		t.Errorf("list: %+v, %v", l, err)
	}
	nobody := "bafkreigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzd4"
	if _, err := bob.api.List(t.Context(), nobody, time.Second); !errors.As(err, &f) || f.Code != job.CodeNotFound || !strings.Contains(f.Message, nobody) {
		t.Errorf("content that nobody has: %v", err)
	}
}

func TestMetricsAndDoctorTell(t *testing.T) {
	h, err := New(t.Context(), quiet(t))
	alice := start(t, h, err)
	var text bytes.Buffer
	if err := alice.api.Metrics(t.Context(), &text); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"hpips_build_info", "hpips_p2p_peers 0", "hpips_provider_slots", "hpips_store_bytes", "process_resident_memory_bytes", "go_goroutines"} {
		if runtime.GOOS != "linux" && strings.HasPrefix(name, "process_") {
			continue
		}
		if !strings.Contains(text.String(), name) {
			t.Errorf("%s is not among the metrics", name)
		}
	}
	findings, err := alice.api.Doctor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, f := range findings {
		seen[f.Name] = f.State
		if f.State != fine && f.Remedy == "" {
			t.Errorf("%s is not well and has no remedy: %+v", f.Name, f)
		}
	}
	for _, name := range []string{"machine", "disk", "clock", "peers", "ready"} {
		if seen[name] == "" {
			t.Errorf("%s was not examined: %v", name, seen)
		}
	}
	if seen["ready"] != fine {
		t.Errorf("not ready: %v", findings)
	}
}

func TestAForeignProgramStaysOutside(t *testing.T) {
	h, err := New(t.Context(), quiet(t))
	alice := start(t, h, err)
	for _, path := range []string{"/v1/status", "/metrics", "/openapi.json", "/v1/jobs"} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+alice.API()+path, nil)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s without a token: %s", path, resp.Status)
		}
	}
}
