package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hpips/hpips/test/e2e/pc"
)

// caller is a native program that asks the proxy which it is told of for a place, as curl would, and prints the answer.
const caller = `#!/bin/bash
proxy=${http_proxy#http://}
[ -n "$proxy" ] || { echo no way out; exit 3; }
exec 3<>/dev/tcp/${proxy%:*}/${proxy#*:} || exit 4
printf 'GET http://%s/ HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$1" "$1" >&3
cat <&3
`

// direct is one that calls a place itself.
const direct = "#!/bin/bash\nexec 3<>/dev/tcp/${1%:*}/${1#*:} && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3\n"

// TestAWayOut has alice's node let native programs call one listener on this machine: a job that names it reaches it, and neither job nor program reaches what listens beside it.
func TestAWayOut(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("native programs need Linux")
	}
	for _, needed := range []string{"bwrap", "bash"} {
		if _, err := exec.LookPath(needed); err != nil {
			t.Skip(needed + " is not installed")
		}
	}
	var reached [2]atomic.Int64
	var at [2]string
	for n := range at {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			reached[n].Add(1)
			fmt.Fprint(w, "from outside")
		}))
		t.Cleanup(web.Close)
		at[n] = web.Listener.Addr().String()
	}
	open, shut := at[0], at[1]
	house := pc.New(t, built.hpips, "alice", "--slots", "1")
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(filepath.Dir(house.Home), name)
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if err := os.MkdirAll(house.Home, 0o700); err != nil {
		t.Fatal(err)
	}
	write("alice/config.toml", fmt.Sprintf("version = 1\n[work]\nreach = [%q]\n", open))
	byProxy, itself := write("call.sh", caller), write("direct.sh", direct)
	house.Up(t)
	house.Ready(t, 0)
	for _, row := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"what it asked for", []string{"--reach", open, byProxy, open}, 0, "from outside"},
		{"what it did not ask for", []string{"--reach", open, byProxy, shut}, 0, "did not ask for it"},
		{"without asking", []string{byProxy, open}, 3, "no way out"},
		{"past the proxy", []string{"--reach", open, itself, open}, 1, "refused"},
		{"what the owner does not list", []string{"--queue", "4s", "--reach", shut, byProxy, shut}, 122, "its owner lets no task call " + shut},
	} {
		a := house.Hpips(t, append([]string{"run", "--native"}, row.args...)...)
		if said := a.Stdout + a.Stderr; a.Code != row.code || !strings.Contains(said, row.says) {
			t.Errorf("%s: exit code %d, want %d and %q:\n%s", row.name, a.Code, row.code, row.says, said)
		}
	}
	if a, b := reached[0].Load(), reached[1].Load(); a != 1 || b != 0 {
		t.Errorf("what was allowed was reached %d times, want once; what was not, %d times", a, b)
	}
	if code := house.Stop(t); code != 0 {
		t.Errorf("up ended with code %d\n%s", code, house.Log(20))
	}
}
