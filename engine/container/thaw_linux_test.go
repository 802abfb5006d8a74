package container

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/moby/moby/client"

	"github.com/hpips/hpips/engine/sandbox"
)

// held is the life of a container that is held by an engine of mallory's, which answers as he likes.
func held(t *testing.T, answer http.HandlerFunc) *life {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "e.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mallory := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/_ping") {
			w.Header().Set("Api-Version", "1.41")
			return
		}
		answer(w, r)
	})}
	ended := make(chan error, 1)
	go func() { ended <- mallory.Serve(l) }()
	api, err := client.New(client.WithHost("unix://" + socket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(api.Close(), mallory.Close()); err != nil {
			t.Error(err)
		}
		<-ended
	})
	return newLife(&maker{eng: &Engine{log: slog.New(slog.DiscardHandler), api: api}}, sandbox.Task{}, "hpips-1")
}

// TestAFrozenContainerIsKilled has an engine refuse to let go on what was killed while it was frozen: it is asked again, and not for ever.
func TestAFrozenContainerIsKilled(t *testing.T) {
	for name, row := range map[string]struct{ refuses, asked int64 }{
		"at once":           {0, 1},
		"at the third time": {2, 3},
		"never":             {1 << 30, thaws},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			l := held(t, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case !strings.HasSuffix(r.URL.Path, "/unpause"):
					t.Errorf("the engine is asked for %s", r.URL.Path)
				case asked.Add(1) <= row.refuses:
					http.Error(w, `{"message":"the freezer is busy"}`, http.StatusInternalServerError)
				default:
					w.WriteHeader(http.StatusNoContent)
				}
			})
			l.frozen = true
			l.Kill()
			l.tasks.Wait()
			if got := asked.Load(); got != row.asked {
				t.Errorf("the engine is asked %d times, want %d", got, row.asked)
			}
		})
	}
}

// TestAnEngineLooksWhileAContainerEnds has an engine stumble over a process that is gone while it looks, as Podman does: it is asked again. Any other trouble is told.
func TestAnEngineLooksWhileAContainerEnds(t *testing.T) {
	for message, exit := range map[string]int{"read /proc/1514/cgroup: no such process": 3, "the storage is broken": -1} {
		var asked atomic.Int64
		l := held(t, func(w http.ResponseWriter, _ *http.Request) {
			if asked.Add(1) == 1 {
				http.Error(w, fmt.Sprintf(`{"message":%q}`, message), http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"Id":"1","State":{"Status":"exited","ExitCode":3}}`)
		})
		var d sandbox.Death
		l.inspect(t.Context(), &d)
		switch {
		case exit >= 0 && (d.Exit == nil || *d.Exit != exit || asked.Load() != 2):
			t.Errorf("%s: %+v, asked %d times", message, d, asked.Load())
		case exit < 0 && (d.Exit != nil || !strings.Contains(d.Why, message)):
			t.Errorf("%s: %+v", message, d)
		}
	}
}
