package storetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// KuboVersion is the real Kubo that the house is compared with.
const KuboVersion = "0.38.2"

// Kubo builds the real Kubo from the module proxy once per machine and gives its program. Go's current compiler needs the newer pebble and swiss that go.mod in
// module names, a folder with tools.go.
func Kubo(tb testing.TB, module string) string {
	tb.Helper()
	if testing.Short() {
		tb.Skip("-short: the comparison with Kubo " + KuboVersion + " builds it, which takes minutes the first time")
	}
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	cache, err := os.UserCacheDir()
	must(err)
	dir := filepath.Join(cache, "hpips-test", "kubo-"+KuboVersion)
	program := filepath.Join(dir, "ipfs")
	if out, err := exec.Command(program, "version", "-n").Output(); err == nil && strings.TrimSpace(string(out)) == KuboVersion {
		return program
	}
	must(os.MkdirAll(dir, 0o755))
	work := tb.TempDir()
	for _, name := range []string{"go.mod", "go.sum", "tools.go"} {
		data, err := os.ReadFile(filepath.Join(module, name))
		must(err)
		must(os.WriteFile(filepath.Join(work, name), data, 0o644))
	}
	tb.Logf("building Kubo %s, once, into %s", KuboVersion, dir)
	made := filepath.Join(dir, fmt.Sprintf("ipfs-%d", os.Getpid()))
	cmd := exec.Command("go", "build", "-mod=mod", "-o", made, "github.com/ipfs/kubo/cmd/ipfs")
	cmd.Dir, cmd.Env = work, append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("building Kubo %s: %v\n%s", KuboVersion, err, out)
	}
	must(os.Rename(made, program)) // whole or not at all, also with several tests at once
	return program
}
