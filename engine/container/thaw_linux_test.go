package container

import (
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

// TestAFrozenContainerIsKilled has an engine refuse to let go on what was killed while it was frozen: it is asked again, and not for ever.
func TestAFrozenContainerIsKilled(t *testing.T) {
	for name, row := range map[string]struct{ refuses, asked int64 }{
		"at once":           {0, 1},
		"at the third time": {2, 3},
		"never":             {1 << 30, thaws},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			socket := filepath.Join(t.TempDir(), "e.sock")
			l, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			mallory := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case !strings.HasSuffix(r.URL.Path, "/unpause"):
					w.Header().Set("Api-Version", "1.41")
				case asked.Add(1) <= row.refuses:
					http.Error(w, `{"message":"the freezer is busy"}`, http.StatusInternalServerError)
				default:
					w.WriteHeader(http.StatusNoContent)
				}
			})}
			ended := make(chan error, 1)
			go func() { ended <- mallory.Serve(l) }()
			api, err := client.New(client.WithHost("unix://" + socket))
			if err != nil {
				t.Fatal(err)
			}
			life := newLife(&maker{eng: &Engine{log: slog.New(slog.DiscardHandler), api: api}}, sandbox.Task{}, "hpips-1")
			life.frozen = true
			life.Kill()
			life.tasks.Wait()
			if got := asked.Load(); got != row.asked {
				t.Errorf("the engine is asked %d times, want %d", got, row.asked)
			}
			if err := fmt.Sprint(api.Close(), mallory.Close()); err != "<nil> <nil>" {
				t.Error(err)
			}
			<-ended
		})
	}
}
