package process

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hpips/hpips/engine"
	"github.com/hpips/hpips/engine/enginetest"
	"github.com/hpips/hpips/spec/job"
)

// A task reaches what its program asked for and the owner lists, through its own proxy, and nothing else; where nobody asks there is no proxy.
func TestAWayOut(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "from outside") }))
	defer web.Close()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	at := web.Listener.Addr().String()
	allowed, err := job.ParseReaches([]string{at, other.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, Config{Reach: allowed, Way: []string{self, wayChild}})
	get := func(reach []string, where string) engine.Outcome {
		p := program(t, helper(t, "guest"))
		p.Dir, p.Reach, p.Limits = t.TempDir(), reach, engine.Limits{Memory: 64 << 20}
		s, err := e.Open(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		l := enginetest.NewLedger()
		if err := s.Run(t.Context(), []engine.Task{{ID: 1, Args: []string{"get", where}}}, l); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if left, err := filepath.Glob(filepath.Join(p.Dir, "*")); err != nil || len(left) > 0 {
			t.Errorf("there is left %v, %v", left, err)
		}
		return l.Of[1]
	}
	if o := get([]string{at}, "http://"+at); o.Exit != 0 || string(o.Stdout.Inline) != "from outside" {
		t.Errorf("what is asked for: %+v, %s", o, o.Stderr.Inline)
	}
	if o := get([]string{at}, "http://"+other.Addr().String()); o.Exit == 0 || !strings.Contains(string(o.Stdout.Inline)+string(o.Stderr.Inline), "did not ask") {
		t.Errorf("what is not asked for: %+v, %s", o, o.Stderr.Inline)
	}
	if o := get([]string{"192.0.2.1"}, "http://192.0.2.1"); o.Exit == 0 || !strings.Contains(string(o.Stdout.Inline)+string(o.Stderr.Inline), "owner of this node") {
		t.Errorf("what is not allowed: %+v, %s", o, o.Stderr.Inline)
	}
	if o := get(nil, "http://"+at); o.Exit == 0 || string(o.Stdout.Inline) != "" {
		t.Errorf("without a way out: %+v, %s", o, o.Stdout.Inline)
	}
}
