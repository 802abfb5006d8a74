package meter_test

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/hpips/hpips/spec/meter"
)

var anew = flag.Bool("rewrite", false, "write the test vectors anew")

const vectorsFile = "testdata/vectors.json"

// vector is a module and what becomes of it.
type vector struct {
	Name    string `json:"name"`
	Text    string `json:"text"`
	Module  string `json:"module"`
	Metered string `json:"metered,omitempty"`
	Watched string `json:"watched,omitempty"`
	Refused string `json:"refused,omitempty"`
}

// TestVectors holds the bytes that every machine must write. A change of them is a new version.
func TestVectors(t *testing.T) {
	b, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Version int      `json:"version"`
		Vectors []vector `json:"vectors"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Version != meter.Version && !*anew {
		t.Fatalf("vectors of version %d, this is %d", doc.Version, meter.Version)
	}
	doc.Version = meter.Version
	for i := range doc.Vectors {
		v := &doc.Vectors[i]
		if *anew {
			v.Module = hex.EncodeToString(assemble(t, v.Text))
		}
		module, err := hex.DecodeString(v.Module)
		if err != nil {
			t.Fatal(err)
		}
		metered, err := meter.Rewrite(module)
		watched, err2 := meter.RewriteWatched(module)
		got, other, says := hex.EncodeToString(metered), hex.EncodeToString(watched), ""
		if err != nil {
			says = err.Error()
		}
		if fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Errorf("%s: %v, watched %v", v.Name, err, err2)
		}
		if *anew {
			v.Metered, v.Watched, v.Refused = got, other, says
		} else if got != v.Metered || other != v.Watched || (says != "") != (v.Refused != "") {
			t.Errorf("%s: %s, watched %s %s, want %s, watched %s %s", v.Name, got, other, says, v.Metered, v.Watched, v.Refused)
		}
	}
	if *anew {
		out, err := json.MarshalIndent(doc, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorsFile, append(out, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
