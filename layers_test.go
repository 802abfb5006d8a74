package hpips

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/hpips/hpips"

// floors says how high a room lies. An arrow points to a lower floor or stays in its room; everything else is an error,
// a room that is not here among them.
var floors = map[string]int{
	"spec":    0,
	"p2p":     1,
	"store":   2, // on p2p
	"machine": 2,
	"plan":    3, "market": 3, "engine": 3, "verify": 3, "pay": 3,
	"api": 4, "requester": 4, "provider": 4, "auditor": 4, "seat": 4,
	"node": 5,
	"cli":  6,
	"cmd":  7,
}

// aside are rooms beside the floors: what each may import, and who may import it.
var aside = map[string]struct{ to, from []string }{
	"ui":       {nil, []string{"node", "cli"}},
	"ledger":   {[]string{"spec", "proto"}, []string{"node", "cli"}},
	"chain":    {[]string{"spec", "proto"}, []string{"node", "cli"}},
	"proto":    {nil, []string{"ledger", "chain"}},
	"examples": {nil, nil},
	"etc":      {nil, nil},
	"docs":     {nil, nil},
	"sdk":      {nil, nil},
	"test":     {[]string{"*"}, nil},
}

// arrow checks one import inside the house. from and to are paths below the module.
func arrow(from, to string) error {
	a, b := top(from), top(to)
	for _, room := range []string{a, b} {
		if _, ok := floors[room]; !ok {
			if _, ok := aside[room]; !ok {
				return fmt.Errorf("%s is no room of the house: give it its place in layers_test.go", room)
			}
		}
	}
	switch {
	case a == "test":
		return nil
	case b == "test":
		return errors.New("nothing imports test")
	case a == "chain" && b == "chain":
		if from == "chain" || from == to || strings.HasPrefix(from, to+"/") || strings.HasPrefix(to, from+"/") {
			return nil
		}
		return errors.New("a chain module asks another through an interface of its own")
	case a == b && from == "api/client":
		return errors.New("the client of the API knows spec only")
	case a == b:
		return nil
	case a == "cmd" && b != "cli":
		return errors.New("a command holds no logic: it calls cli")
	case from == "api/client" && b != "spec":
		return errors.New("the client of the API knows spec only")
	}
	if room, ok := aside[b]; ok && !slices.Contains(room.from, a) {
		return fmt.Errorf("%s is imported by %v only", b, room.from)
	} else if ok {
		return nil
	}
	if room, ok := aside[a]; ok {
		if slices.Contains(room.to, b) {
			return nil
		}
		return fmt.Errorf("%s may import %v only", a, room.to)
	}
	if floors[b] == floors[a] {
		return errors.New("rooms of one floor do not know each other: their conductor hands one's words to the next")
	}
	if floors[b] > floors[a] {
		return errors.New("arrows point down")
	}
	return nil
}

func top(p string) string {
	room, _, _ := strings.Cut(p, "/")
	return room
}

// suite tells whether p is a room of test suites and fakes, which tests of any room may import: engine/enginetest.
func suite(p string) bool { return strings.HasSuffix(path.Base(p), "test") && path.Dir(p) != "." }

type listed struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

// house lists the packages of the house as they are built for one system.
func house(t *testing.T, system string) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var all []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestArrowsPointDown(t *testing.T) {
	seen := 0
	for _, system := range []string{"linux", "windows", "darwin"} {
		for _, p := range house(t, system) {
			from, inside := strings.CutPrefix(p.ImportPath, module+"/")
			if !inside {
				continue
			}
			seen++
			for _, imp := range p.Imports {
				if to, ours := strings.CutPrefix(imp, module+"/"); ours {
					if err := arrow(from, to); err != nil {
						t.Errorf("%s imports %s: %v", from, to, err)
					} else if suite(to) && !suite(from) && top(from) != "test" {
						t.Errorf("%s imports %s: a suite is for tests", from, to)
					}
				} else if err := outside(from, imp); err != nil {
					t.Errorf("%s imports %s: %v", from, imp, err)
				}
			}
			for _, imp := range append(p.TestImports, p.XTestImports...) {
				if to, ours := strings.CutPrefix(imp, module+"/"); ours && to != from && !suite(to) {
					if err := arrow(from, to); err != nil {
						t.Errorf("a test of %s imports %s: %v", from, to, err)
					}
				}
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d packages found", seen)
	}
}

// outside checks an import of a package that is not ours.
func outside(from, imp string) error {
	if strings.HasPrefix(imp, "github.com/cosmos/") || strings.HasPrefix(imp, "github.com/cometbft/") {
		if room := top(from); room != "chain" && room != "ledger" && room != "proto" && room != "test" {
			return errors.New("the SDK stops at chain and ledger")
		}
	}
	if top(from) == "spec" && !suite(from) && !pure(imp) {
		return errors.New("spec keeps to what is pure: if this package has no clock, net, disk, goroutine or log, name it in layers_test.go")
	}
	return nil
}

// pure tells whether spec may import a package.
func pure(imp string) bool {
	for _, p := range []string{
		"bufio", "bytes", "cmp", "embed", "errors", "fmt", "hash", "io", "iter", "maps", "math", "net/netip", "reflect", "regexp", "slices", "sort",
		"strconv", "strings", "time", "unicode", "crypto", "encoding", "path",
		"github.com/decred/dcrd/dcrec/secp256k1/v4", "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa",
		"github.com/fxamacker/cbor/v2", "github.com/ipfs/go-cid", "github.com/multiformats/go-multihash", "github.com/multiformats/go-multibase",
		"github.com/libp2p/go-libp2p/core/crypto", "github.com/libp2p/go-libp2p/core/peer", "go.yaml.in/yaml/v3",
		"github.com/oasisprotocol/curve25519-voi/primitives/ed25519",
	} {
		if imp == p || strings.HasPrefix(imp, p+"/") {
			return !strings.HasPrefix(imp, "math/rand") && imp != "crypto/rand" && imp != "crypto/tls" && imp != "path/filepath"
		}
	}
	return false
}

func TestTheRulesOfArrows(t *testing.T) {
	for _, row := range []struct {
		from, to string
		good     bool
	}{
		{"cmd/hpips", "cli", true}, {"cmd/hpips", "node", false}, {"cli", "node", true}, {"node", "cli", false},
		{"node", "requester", true}, {"requester", "plan", true}, {"plan", "requester", false}, {"plan", "market", false},
		{"provider", "requester", false}, {"api", "requester", false}, {"api/client", "spec/job", true}, {"api/client", "api", false},
		{"api", "api/client", true}, {"engine/wasm", "engine", true}, {"engine/wasm", "engine/mpi", true}, {"engine/wasm", "store", true},
		{"store", "p2p", true}, {"p2p", "store", false}, {"machine", "store", false}, {"store/replica", "store", true},
		{"p2p", "spec/lease", true}, {"spec/lease", "p2p", false}, {"spec/lease", "spec/job", true},
		{"requester", "ledger", false}, {"node", "ledger", true}, {"chain/audit", "spec/proof", true}, {"chain/audit", "store", false},
		{"chain/audit", "chain/reward", false}, {"chain", "chain/audit", true}, {"spec/job", "proto/gen", false},
		{"node", "test/swarm", false}, {"test/swarm", "node", true}, {"node", "ui", true}, {"ui", "api", false},
		{"examples/hello", "spec/job", false}, {"cli", "examples/hello", false}, {"util", "spec/job", false}, {"node", "common", false},
	} {
		if err := arrow(row.from, row.to); (err == nil) != row.good {
			t.Errorf("%s imports %s: %v", row.from, row.to, err)
		}
	}
	for imp, good := range map[string]bool{
		"crypto/sha256": true, "os": false, "net/netip": true, "net": false, "log/slog": false, "crypto/rand": false, "sync": false,
		"github.com/ipfs/go-cid": true, "github.com/libp2p/go-libp2p": false, "math/rand/v2": false, "encoding/binary": true,
	} {
		if (outside("spec/job", imp) == nil) != good {
			t.Errorf("spec/job imports %s: allowed is %v, want %v", imp, !good, good)
		}
	}
	if outside("node", "github.com/cosmos/cosmos-sdk/types") == nil || outside("chain/audit", "github.com/cosmos/cosmos-sdk/types") != nil {
		t.Error("the SDK must stop at chain and ledger")
	}
}
