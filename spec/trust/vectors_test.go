package trust

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the test vectors anew")

// octets are written in hexadecimal digits.
type octets []byte

func (o octets) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, o), nil }

// TestVectors holds what this package computes against testdata, so that another implementation can check itself.
func TestVectors(t *testing.T) {
	for name, vectors := range map[string]func() any{"rates": rateVectors, "draws": drawVectors, "commitments": commitmentVectors} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", name+".json")
			got, err := json.MarshalIndent(vectors(), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			if *rewrite {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if want = bytes.ReplaceAll(want, []byte("\r"), nil); !bytes.Equal(got, want) {
				t.Errorf("%s says otherwise:\n%s", path, got)
			}
		})
	}
}

func rateVectors() any {
	type vector struct {
		Price  uint64 `json:"price,string"`
		Bond   uint64 `json:"bond,string"`
		Rate   uint64 `json:"rate"`
		Jurors int    `json:"jurors"`
		Fine   uint64 `json:"fine,string"`
		Aside  uint64 `json:"aside,string"`
	}
	var all []vector
	for _, price := range []uint64{0, 1, 1000, 30_000_000, 1<<64 - 1} {
		for _, bond := range []uint64{0, 1, 999, 10_000_000, 1_000_000_000, 1<<64 - 1} {
			rate, jurors := Default().Rate(price, bond)
			all = append(all, vector{price, bond, rate, jurors, Default().Fine(price, bond), SetAside(price)})
		}
	}
	return all
}

func drawVectors() any {
	type vector struct {
		Seed  octets   `json:"seed"`
		Root  octets   `json:"root"`
		Of    uint64   `json:"of"`
		Rate  uint64   `json:"rate"`
		Drawn []uint64 `json:"drawn"`
	}
	var all []vector
	for _, name := range []string{"alice", "bob"} {
		seed, root := sha256.Sum256([]byte("seed "+name)), sha256.Sum256([]byte("root "+name))
		for _, rate := range []uint64{0, 37_500, 250_000, Whole} {
			v := vector{Seed: seed[:], Root: root[:], Of: 40, Rate: rate, Drawn: []uint64{}}
			for i := range v.Of {
				if Drawn(seed, root, i, rate) {
					v.Drawn = append(v.Drawn, i)
				}
			}
			all = append(all, v)
		}
	}
	return all
}

func commitmentVectors() any {
	type vector struct {
		Result     octets `json:"result"`
		State      octets `json:"state"`
		Node       octets `json:"node"`
		Salt       octets `json:"salt"`
		Commitment octets `json:"commitment"`
	}
	var all []vector
	for _, name := range []string{"alice", "bob"} {
		part := func(what string) [32]byte { return sha256.Sum256([]byte(what + " " + name)) }
		result, state, node, salt := part("result"), part("state"), part("node"), part("salt")
		sum := Commitment(Voice{result, state}, node, salt)
		all = append(all, vector{result[:], state[:], node[:], salt[:], sum[:]})
	}
	return all
}
