package job

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseYAMLAndJSONAreOne(t *testing.T) {
	yaml := `
apiVersion: hpips/v1
kind: Map
name: count
run: {wasm: ipfs://bafy, args: ["-x", "1"], env: {LOG: info}}
over: {from: ipfs://bafybooks, split: "bytes:64MiB"}
reduce: {run: {wasm: ipfs://bafysum}}
resources: {memory: 1GiB}
limits: {time: 30m, output: 10MB, work: 5000000000}
verify: {mode: jury, rate: 0.1, limit: 5}
parallel: 200
`
	json := `{"apiVersion":"hpips/v1","kind":"Map","name":"count","run":{"wasm":"ipfs://bafy","args":["-x","1"],"env":{"LOG":"info"}},
"over":{"from":"ipfs://bafybooks","split":"bytes:64MiB"},"reduce":{"run":{"wasm":"ipfs://bafysum"}},"resources":{"memory":1073741824},
"limits":{"time":1800,"output":"10MB","work":5000000000},"verify":{"mode":"jury","rate":0.1,"limit":5},"parallel":200}`
	a, err := Parse([]byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	b, err := Parse([]byte(json))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Fatalf("YAML %+v\nJSON %+v", a, b)
	}
	if a.Resources.Memory != 1<<30 || a.Limits.Time != Duration(30*time.Minute) || a.Limits.Output != 10_000_000 || a.Limits.Work != 5_000_000_000 {
		t.Fatalf("units: %+v", a)
	}
	if err := a.Filled().Check(); err != nil {
		t.Fatal(err)
	}
}

func TestParseMatrix(t *testing.T) {
	s, err := Parse([]byte("kind: Map\nrun: {wasm: x}\nover:\n  matrix: {b: [x, y], a: [\"1..3\"]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := OrderedMap{{Name: "a", Values: []string{"1", "2", "3"}}, {Name: "b", Values: []string{"x", "y"}}}
	if !reflect.DeepEqual(s.Over.Matrix, want) {
		t.Fatalf("matrix %+v, want %+v", s.Over.Matrix, want)
	}
}

func TestParseSaysLineFieldAndRemedy(t *testing.T) {
	rows := []struct {
		name, text  string
		line        int
		field, hint string
	}{
		{"unknown field", "kind: Batch\nrun:\n  wasn: x\n", 3, "run.wasn", `did you mean "wasm"?`},
		{"unknown at the top", "kind: Batch\nlimts: {}\n", 2, "limts", `did you mean "limits"?`},
		{"far from any", "kind: Batch\nzzzzzzzz: 1\n", 2, "zzzzzzzz", "known fields here"},
		{"number for text list", "kind: Batch\nrun: {wasm: x, args: 3}\n", 2, "run.args", "a list"},
		{"text for number", "kind: Batch\nretries: many\n", 2, "retries", "a whole number"},
		{"quoted number for number", "kind: Batch\nretries: \"3\"\n", 2, "retries", "a whole number"},
		{"list for group", "kind: Batch\nrun: [x]\n", 2, "run", "a group of fields"},
		{"bad size", "kind: Batch\nresources:\n  memory: lots\n", 3, "resources.memory", "64MiB"},
		{"bad duration", "kind: Batch\nlimits: {time: soon}\n", 2, "limits.time", "30s"},
		{"twice", "kind: Batch\nkind: Map\n", 2, "kind", "keep one"},
		{"two documents", "kind: Batch\n---\nkind: Map\n", 0, "file", "file of its own"},
		{"alias", "kind: &k Batch\nname: *k\n", 2, "name", "write the value out"},
		{"matrix bomb", "kind: Map\nover: {matrix: {a: [1..1000000, 1..1000000]}}\n", 2, "over.matrix", "at most"},
		{"not a text", "\x00\x01", 0, "file", "examples"},
		{"empty", "", 0, "file", "examples"},
		{"scalar", "hello", 1, "file", "a group of fields"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			_, err := Parse([]byte(row.text))
			var bad *Error
			if !errors.As(err, &bad) {
				t.Fatalf("error %v", err)
			}
			if bad.Line != row.line || bad.Field != row.field || !strings.Contains(bad.Hint, row.hint) {
				t.Fatalf("line %d field %q text %q hint %q", bad.Line, bad.Field, bad.Text, bad.Hint)
			}
		})
	}
}

// A native program is asked for what it can be asked, and refused by name what only WASI modules can.
func TestNativePrograms(t *testing.T) {
	good := func() Spec { return Spec{Kind: Map, Run: Run{Native: "x"}, Over: &Over{Count: 2}} }
	s := good().Filled()
	if err := s.Check(); err != nil || s.Verify.Mode != Quorum || s.Run.Engine() != EngineNative || *s.Run.Program() != "x" {
		t.Fatalf("%v, %+v", err, s)
	}
	s = good()
	s.Resources.Memory = 64 << 30
	if err := s.Filled().Check(); err != nil {
		t.Errorf("more memory than WASM knows: %v", err)
	}
	for field, spoil := range map[string]func(*Spec){
		"run.native":          func(s *Spec) { s.Run.WASM = "y" },
		"resources.memory":    func(s *Spec) { s.Resources.Memory = 1 << 20 },
		"limits.work":         func(s *Spec) { s.Limits.Work = 5 },
		"verify.mode":         func(s *Spec) { s.Verify.Mode = Jury },
		"verify.check.native": func(s *Spec) { s.Verify.Check = &Run{Native: "y"} },
		"inputs[0].to":        func(s *Spec) { s.Inputs = []Input{{From: "x", To: "/etc/x"}} },
		"outputs[0].path":     func(s *Spec) { *s = Spec{Kind: Batch, Run: Run{Native: "x"}, Outputs: []Output{{Path: "/tmp"}}} },
	} {
		s := good()
		spoil(&s)
		var bad *Error
		if err := s.Filled().Check(); !errors.As(err, &bad) || bad.Field != field || bad.Hint == "" {
			t.Errorf("%s: %v", field, err)
		}
	}
	mixed := good()
	mixed.Reduce, mixed.Resources.Memory = &Reduce{Run: Run{WASM: "y"}}, 64<<30
	var bad *Error
	if err := mixed.Filled().Check(); !errors.As(err, &bad) || bad.Field != "resources.memory" {
		t.Errorf("a reduce by a WASI module with more memory than it knows: %v", err)
	}
}

// An image is asked for what a native program is, and a checker is neither.
func TestImages(t *testing.T) {
	s := Spec{Kind: Map, Run: Run{Image: "x"}, Over: &Over{Count: 2}}.Filled()
	if err := s.Check(); err != nil || s.Verify.Mode != Quorum || s.Run.Engine() != EngineContainer || *s.Run.Program() != "x" || s.Run.Field() != "image" {
		t.Fatalf("%v, %+v", err, s)
	}
	for field, spoil := range map[string]func(*Spec){
		"run.image":          func(s *Spec) { s.Run.Native = "y" },
		"limits.work":        func(s *Spec) { s.Limits.Work = 5 },
		"verify.mode":        func(s *Spec) { s.Verify.Mode = Jury },
		"verify.check.image": func(s *Spec) { s.Verify.Mode, s.Verify.Copies, s.Verify.Check = Check, 0, &Run{Image: "y"} },
		"inputs[0].to":       func(s *Spec) { s.Inputs = []Input{{From: "x", To: "/etc/x"}} },
	} {
		spoiled := s
		spoil(&spoiled)
		var bad *Error
		if err := spoiled.Check(); !errors.As(err, &bad) || bad.Field != field || bad.Hint == "" {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestCheckNamesTheField(t *testing.T) {
	good := func() Spec { return Spec{Kind: Batch, Run: Run{WASM: "x"}} }
	rows := map[string]func(*Spec){
		"kind":                func(s *Spec) { s.Kind = Ray },
		"apiVersion":          func(s *Spec) { s.APIVersion = "hpips/v2" },
		"run.wasm":            func(s *Spec) { s.Run.WASM = "" },
		"run.image":           func(s *Spec) { s.Run.Image = "debian" },
		"run.native":          func(s *Spec) { s.Run.Native = "x" },
		"run.env.HPIPS_INDEX": func(s *Spec) { s.Run.Env = map[string]string{"HPIPS_INDEX": "1"} },
		"run.env.a=b":         func(s *Spec) { s.Run.Env = map[string]string{"a=b": "1"} },
		"over":                func(s *Spec) { s.Over = &Over{Count: 1} },
		"reduce":              func(s *Spec) { s.Reduce = &Reduce{Run: Run{WASM: "x"}} },
		"inputs[0].to":        func(s *Spec) { s.Inputs = []Input{{From: "x", To: "../etc"}} },
		"outputs[0].path":     func(s *Spec) { s.Outputs = []Output{{Path: "out"}} },
		"outputs[0].to":       func(s *Spec) { s.Outputs = []Output{{Path: "/out", To: "s3://x"}} },
		"resources.cpu":       func(s *Spec) { s.Resources.CPU = 2 },
		"resources.memory":    func(s *Spec) { s.Resources.Memory = 5 << 30 },
		"resources.gpu":       func(s *Spec) { s.Resources.GPU.Count = 1 },
		"limits.price":        func(s *Spec) { s.Limits.Price = "1 USD" },
		"limits.hour":         func(s *Spec) { s.Limits.Hour = "NaN HPIPS" },
		"limits.work":         func(s *Spec) { s.Limits.Work = -1 },
		"verify.mode":         func(s *Spec) { s.Verify.Mode = "oracle" },
		"verify.copies":       func(s *Spec) { s.Verify = Verify{Mode: Quorum, Copies: 99} },
		"verify.rate":         func(s *Spec) { s.Verify = Verify{Mode: Quorum, Rate: 1.5} },
		"network":             func(s *Spec) { s.Network = "full" },
		"where[1]":            func(s *Spec) { s.Where = []string{"os==linux", "os=linux"} },
		"where":               func(s *Spec) { s.Where = make([]string, maxConditions+1) },
		"prefer[0]":           func(s *Spec) { s.Prefer = []string{"data-locality"} },
		"prefer[1]":           func(s *Spec) { s.Prefer = []string{"price", "fame"} },
		"prefer[2]":           func(s *Spec) { s.Prefer = []string{"price", "load", "price"} },
		"retries":             func(s *Spec) { s.Retries = -1 },
		"parallel":            func(s *Spec) { s.Parallel = -1 },
	}
	if err := good().Filled().Check(); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	for price, want := range map[string]uint64{"0": 0, "0 HPIPS": 0, "0.5 HPIPS": 500_000, "": Unlimited} { // nothing needs no unit
		s := good()
		s.Limits.Price = price
		if err := s.Filled().Check(); err != nil {
			t.Errorf("a ceiling of %q: %v", price, err)
		}
		if got, _ := s.Limits.Ceilings(); got != want {
			t.Errorf("a ceiling of %q is %d", price, got)
		}
	}
	for field, spoil := range rows {
		s := good()
		spoil(&s)
		var bad *Error
		if err := s.Filled().Check(); !errors.As(err, &bad) || bad.Field != field || bad.Hint == "" {
			t.Errorf("%s: %v", field, err)
		}
	}
	s := Spec{Kind: Map, Run: Run{WASM: "x"}}
	kept := Spec{Kind: Map, Run: Run{WASM: "x"}, Over: &Over{Count: 1}, Outputs: []Output{{Path: "/out"}}}
	var bad *Error
	if err := kept.Filled().Check(); !errors.As(err, &bad) || bad.Field != "outputs" {
		t.Errorf("outputs of a Map: %v", err)
	}
	for field, over := range map[string]*Over{"over": {}, "over.split": {From: "x", Split: "half"}, "over.count": {Count: -1}, "over.matrix.a b": {Matrix: OrderedMap{{Name: "a b", Values: []string{"1"}}}}} {
		s.Over = over
		var bad *Error
		if err := s.Filled().Check(); !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "512": 512, "1KiB": 1024, "1kB": 1000, "64MiB": 64 << 20, "1.5GiB": 3 << 29, "2G": 2 << 30, " 7 B ": 7} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x", "-1", "1XB", "1e300", "NaN", "MiB"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q: accepted as %d", text, got)
		}
	}
	for size, want := range map[Size]string{0: "0", 1023: "1023", 1024: "1KiB", 3 << 29: "1536MiB", 1 << 40: "1TiB"} {
		if size.String() != want {
			t.Errorf("%d prints %q, want %q", int64(size), size, want)
		}
	}
}

func TestDigest(t *testing.T) {
	base := Result{End: Exited, Stdout: Content{Inline: []byte("a")}, Outputs: map[string]Content{"/x": {CID: "1"}, "/y": {CID: "2"}}}
	same := base
	same.Index, same.Stderr, same.Usage.CPU, same.Message = 7, []byte("noise"), 99, "words"
	if base.Digest() != same.Digest() {
		t.Error("what a task says on standard error or costs changes the digest")
	}
	for name, spoil := range map[string]func(*Result){
		"exit":        func(r *Result) { r.Exit = 1 },
		"end":         func(r *Result) { r.End = Trapped },
		"stdout":      func(r *Result) { r.Stdout.Inline = []byte("b") },
		"stdout cid":  func(r *Result) { r.Stdout = Content{CID: "a"} },
		"outputs":     func(r *Result) { r.Outputs = map[string]Content{"/x": {CID: "2"}, "/y": {CID: "1"}} },
		"less output": func(r *Result) { r.Outputs = nil },
	} {
		other := base
		spoil(&other)
		if base.Digest() == other.Digest() {
			t.Errorf("%s does not change the digest", name)
		}
	}
}

// FuzzParse holds that no text crashes the reader, and that what it accepts survives being written as JSON and read again.
func FuzzParse(f *testing.F) {
	f.Add([]byte("kind: Map\nrun: {wasm: x}\nover: {matrix: {a: [1, \"2..3\"]}}\nlimits: {time: 3s}\n"))
	f.Add([]byte(`{"kind":"Batch","run":{"wasm":"x","env":{"A":"b"}},"resources":{"memory":"1GiB"}}`))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("kind: Map\nrun: {wasm: x}\nverify: {check: {wasm: y, args: [z]}, limit: 3}\nlimits: {work: 7}\n"))
	f.Add([]byte(`{"verify":{"compare":"numeric","absolute":1e-9,"ulp":4,"fields":{"2":{"relative":"0.1"}}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse(text)
		if err != nil {
			var bad *Error
			if !errors.As(err, &bad) || bad.Field == "" || bad.Hint == "" {
				t.Fatalf("error without field or hint: %v", err)
			}
			return
		}
		written, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(written)
		if err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		if rewritten := mustMarshal(again); rewritten != string(written) {
			t.Fatalf("%s\n%s", written, rewritten)
		}
	})
}

func mustMarshal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
