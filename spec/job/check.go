package job

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hpips/hpips/spec/money"
)

// The defaults of hpips/v1.
const (
	DefaultMemory  = Size(512 << 20)
	DefaultDisk    = Size(1 << 30)
	DefaultOutput  = Size(256 << 20)
	DefaultTime    = Duration(time.Hour)
	DefaultQueue   = Duration(10 * time.Minute)
	DefaultRate    = 0.05
	DefaultLimit   = 7
	DefaultRetries = 0
)

// Error is a specification that cannot be accepted: which field, what is wrong with it, what to write instead.
type Error struct {
	Line  int    // in the file, 0 when it is not known
	Field string // dotted path, "resources.memory"
	Text  string
	Hint  string
}

func (e *Error) Error() string {
	where := e.Field
	if e.Line > 0 {
		where = fmt.Sprintf("line %d: %s", e.Line, e.Field)
	}
	return where + ": " + e.Text
}

// Filled returns the specification with every default written out.
func (s Spec) Filled() Spec {
	s.APIVersion = orElse(s.APIVersion, APIVersion)
	s.Network = orElse(s.Network, "none")
	s.Resources.CPU = orElse(s.Resources.CPU, 1)
	s.Resources.Memory = orElse(s.Resources.Memory, DefaultMemory)
	s.Resources.Disk = orElse(s.Resources.Disk, DefaultDisk)
	s.Resources.GPU = s.Resources.GPU.filled(s.Where)
	s.Limits.Time = orElse(s.Limits.Time, DefaultTime)
	s.Limits.Queue = orElse(s.Limits.Queue, DefaultQueue)
	s.Limits.Output = orElse(s.Limits.Output, DefaultOutput)
	s.Verify = s.Verify.filled(s)
	if s.Over != nil && s.Over.From != "" {
		over := *s.Over
		over.Split = orElse(over.Split, "file")
		s.Over = &over
	}
	return s
}

func orElse[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// Check says what is wrong with a filled specification, as an *Error. It looks at the words alone, not at what addresses lead to.
func (s Spec) Check() error {
	for _, check := range []func(Spec) *Error{checkKind, checkRun, checkOver, checkFiles, checkLimits, checkGPU, checkWhere, checkPrefer, checkVerify, checkReach, checkLater} {
		if err := check(s); err != nil {
			return err
		}
	}
	return nil
}

func checkKind(s Spec) *Error {
	if s.APIVersion != APIVersion {
		return &Error{Field: "apiVersion", Text: fmt.Sprintf("%q is not known", s.APIVersion), Hint: "write apiVersion: " + APIVersion}
	}
	switch s.Kind {
	case Batch, Map:
		return nil
	case MPI, Ray, Service, Boinc, Pin:
		return &Error{Field: "kind", Text: fmt.Sprintf("%s has no engine in this version", s.Kind), Hint: "this version runs Batch and Map"}
	case "":
		return &Error{Field: "kind", Text: "is missing", Hint: "write kind: Batch for one task, kind: Map for many"}
	}
	return &Error{Field: "kind", Text: fmt.Sprintf("%q is not known", s.Kind), Hint: "the kinds are Batch and Map"}
}

func checkRun(s Spec) *Error {
	if err := s.Run.check("run"); err != nil {
		return err
	}
	if s.Reduce != nil {
		if s.Kind != Map {
			return &Error{Field: "reduce", Text: "belongs to a Map", Hint: "write kind: Map, or leave reduce out"}
		}
		return s.Reduce.Run.check("reduce.run")
	}
	return nil
}

func (r Run) check(field string) *Error {
	var given []string
	for name, ref := range map[string]string{EngineWASM: r.WASM, EngineNative: r.Native, "image": r.Image} {
		if ref != "" {
			given = append(given, field+"."+name)
		}
	}
	if slices.Sort(given); len(given) > 1 {
		return &Error{Field: given[0], Text: "stands beside " + strings.Join(given[1:], " and "), Hint: "a program is one or the other: keep one of them"}
	}
	if *r.Program() == "" {
		return &Error{Field: field + ".wasm", Text: "is missing", Hint: "name a module: a path, or a content address (hpips put prog.wasm prints one)"}
	}
	for name := range r.Env {
		if err := checkEnvName(field+".env."+name, name); err != nil {
			return err
		}
	}
	return nil
}

// The engines of hpips/v1, by the names that orders give them.
const (
	EngineWASM      = "wasm"
	EngineNative    = "native"
	EngineContainer = "container"
)

// Engine is what runs the program.
func (r *Run) Engine() string {
	switch {
	case r.Native != "":
		return EngineNative
	case r.Image != "":
		return EngineContainer
	}
	return EngineWASM
}

// Field is the name of the field that names the program.
func (r *Run) Field() string {
	if e := r.Engine(); e != EngineContainer {
		return e
	}
	return "image"
}

// Program is the field that names the program.
func (r *Run) Program() *string {
	switch {
	case r.Native != "":
		return &r.Native
	case r.Image != "":
		return &r.Image
	}
	return &r.WASM
}

// native reports whether any program of the job's tasks runs on the processor itself, alone or in a container.
func (s Spec) native() bool {
	return s.Run.Engine() != EngineWASM || s.Reduce != nil && s.Reduce.Run.Engine() != EngineWASM
}

// wasm reports whether any is a WASI module.
func (s Spec) wasm() bool {
	return s.Run.WASM != "" || s.Reduce != nil && s.Reduce.Run.WASM != ""
}

// Reserved are the folders at the root that a native program's sandbox, and most images, have for themselves: nothing of a job can be shown there.
var Reserved = []string{"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "proc", "sys", "dev", "tmp", "run", "hpips"}

// Free reports whether a native program can be shown something at a clean absolute path.
func Free(guest string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(guest, "/"), "/")
	return first != "" && !slices.Contains(Reserved, first)
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func checkEnvName(field, name string) *Error {
	if !envName.MatchString(name) {
		return &Error{Field: field, Text: fmt.Sprintf("%q is not a name for an environment variable", name), Hint: "use letters, digits and underscores"}
	}
	if strings.HasPrefix(name, "HPIPS_") {
		return &Error{Field: field, Text: "names that begin with HPIPS_ are set by the network", Hint: "choose another name"}
	}
	return nil
}

func checkOver(s Spec) *Error {
	if s.Kind != Map {
		if s.Over != nil {
			return &Error{Field: "over", Text: "belongs to a Map", Hint: "write kind: Map, or leave over out"}
		}
		return nil
	}
	o := s.Over
	if o == nil || (o.From == "" && o.Count == 0 && len(o.Matrix) == 0) {
		return &Error{Field: "over", Text: "a Map needs something to range over", Hint: "give over: {from: PATH}, {count: N} or {matrix: {…}}"}
	}
	given := 0
	for _, set := range []bool{o.From != "", o.Count != 0, len(o.Matrix) > 0} {
		if set {
			given++
		}
	}
	if given > 1 {
		return &Error{Field: "over", Text: "from, count and matrix exclude one another", Hint: "keep one of them"}
	}
	if o.Count < 0 || o.Count > MaxTasks {
		return &Error{Field: "over.count", Text: fmt.Sprintf("%d tasks are not possible", o.Count), Hint: fmt.Sprintf("1 … %d", MaxTasks)}
	}
	if o.From == "" && o.Split != "" {
		return &Error{Field: "over.split", Text: "there is nothing to split without over.from", Hint: "leave split out"}
	}
	if o.From != "" {
		if _, _, err := ParseSplit(o.Split); err != nil {
			return &Error{Field: "over.split", Text: err.Error(), Hint: "file, bytes:64MiB, lines:1000 or parts:128"}
		}
	}
	return o.Matrix.check()
}

func (m OrderedMap) check() *Error {
	n := 1
	for _, a := range m {
		if err := checkEnvName("over.matrix."+a.Name, a.Name); err != nil {
			return err
		}
		if len(a.Values) == 0 {
			return &Error{Field: "over.matrix." + a.Name, Text: "has no values", Hint: "give a list, [1, 2, 3], or a range, [1..100]"}
		}
		if n *= len(a.Values); n > MaxTasks {
			return &Error{Field: "over.matrix", Text: "has too many combinations", Hint: fmt.Sprintf("%d at most", MaxTasks)}
		}
	}
	return nil
}

// ParseSplit reads "file", "bytes:N", "lines:N" and "parts:N" into the word and its number (bytes, lines, parts).
func ParseSplit(s string) (word string, n int64, err error) {
	word, arg, _ := strings.Cut(s, ":")
	switch word {
	case "file":
		if arg == "" {
			return word, 0, nil
		}
	case "bytes":
		size, err := ParseSize(arg)
		if err == nil && size > 0 {
			return word, int64(size), nil
		}
	case "lines", "parts":
		n, err := strconv.ParseInt(arg, 10, 32)
		if err == nil && n > 0 {
			return word, n, nil
		}
	}
	return "", 0, fmt.Errorf("split %q is not known", s)
}

func checkFiles(s Spec) *Error {
	for i, in := range s.Inputs {
		field := fmt.Sprintf("inputs[%d]", i)
		if in.From == "" {
			return &Error{Field: field + ".from", Text: "is missing", Hint: "give a path or a content address"}
		}
		if err := checkGuestPath(field+".to", in.To, s.native()); err != nil {
			return err
		}
	}
	if s.Kind == Map && len(s.Outputs) > 0 {
		return &Error{Field: "outputs", Text: "belong to a Batch", Hint: "a task of a Map answers on its standard output"}
	}
	for i, out := range s.Outputs {
		field := fmt.Sprintf("outputs[%d]", i)
		if err := checkGuestPath(field+".path", out.Path, s.native()); err != nil {
			return err
		}
		if out.To != "" && out.To != "ipfs" {
			return &Error{Field: field + ".to", Text: fmt.Sprintf("%q is not possible in this version", out.To), Hint: "leave it out: outputs go to the store"}
		}
	}
	return nil
}

func checkGuestPath(field, p string, native bool) *Error {
	if native && !Free(p) {
		return &Error{Field: field, Text: fmt.Sprintf("%q lies where a native program's sandbox has its own files", p), Hint: "choose another folder, such as /in or /out"}
	}
	if !path.IsAbs(p) || path.Clean(p) != p || p == "/" || strings.ContainsRune(p, 0) {
		return &Error{Field: field, Text: fmt.Sprintf("%q is not a clean absolute path", p), Hint: "such as /in/data.csv"}
	}
	return nil
}

func checkLimits(s Spec) *Error {
	r, l := s.Resources, s.Limits
	switch {
	case r.CPU < 0 || r.CPU > 1024:
		return &Error{Field: "resources.cpu", Text: fmt.Sprintf("%d cores are not possible", r.CPU), Hint: "1 … 1024"}
	case r.CPU > 1:
		return &Error{Field: "resources.cpu", Text: "a task uses one core", Hint: "split the work into more tasks with kind: Map"}
	case r.Memory < 16<<20 && s.native():
		return &Error{Field: "resources.memory", Text: r.Memory.String() + " is not possible for a native task", Hint: "16MiB … 1TiB"}
	case r.Memory > 1<<40:
		return &Error{Field: "resources.memory", Text: r.Memory.String() + " is not possible", Hint: "1TiB at most"}
	case s.wasm() && (r.Memory < 64<<10 || r.Memory > 4<<30):
		return &Error{Field: "resources.memory", Text: r.Memory.String() + " is not possible for a WASM task", Hint: "64KiB … 4GiB"}
	case r.Disk < 0 || r.Disk > 1<<40:
		return &Error{Field: "resources.disk", Text: r.Disk.String() + " is not possible", Hint: "0 … 1TiB"}
	case l.Output < 0 || l.Output > 1<<40:
		return &Error{Field: "limits.output", Text: l.Output.String() + " is not possible", Hint: "0 … 1TiB"}
	case l.Work < 0:
		return &Error{Field: "limits.work", Text: fmt.Sprintf("%d instructions are not possible", l.Work), Hint: "a number of instructions, such as 5000000000; leave it out for no limit"}
	case l.Work > 0 && s.native():
		return &Error{Field: "limits.work", Text: "a native program's instructions are not counted", Hint: "limit its time: limits.time (--time)"}
	case s.Retries < 0 || s.Retries > 100:
		return &Error{Field: "retries", Text: fmt.Sprintf("%d is not possible", s.Retries), Hint: "0 … 100"}
	case s.Parallel < 0:
		return &Error{Field: "parallel", Text: "is negative", Hint: "leave it out to use every free slot"}
	}
	if err := checkPrice("limits.price", l.Price); err != nil {
		return err
	}
	return checkPrice("limits.hour", l.Hour)
}

// checkPrice accepts amounts in HPIPS alone: other assets come with the exchange. Nothing is nothing in any of them, so 0 needs no unit.
func checkPrice(field, price string) *Error {
	if price == "" {
		return nil
	}
	amount, asset, united := strings.Cut(price, " ")
	n, err := money.Parse(amount)
	if err == nil && n == 0 && !united {
		return nil
	}
	if err != nil {
		return &Error{Field: field, Text: fmt.Sprintf("%q is not an amount", price), Hint: `write "0.50 HPIPS"`}
	}
	if asset != money.Symbol {
		return &Error{Field: field, Text: fmt.Sprintf("%q is not in HPIPS", price), Hint: `prices are in HPIPS: write "0.50 HPIPS"`}
	}
	return nil
}

func checkReach(s Spec) *Error {
	if len(s.Reach) == 0 {
		return nil
	}
	if _, err := ParseReaches(s.Reach); err != nil {
		return &Error{Field: "reach", Text: err.Error(), Hint: `write domains, addresses or networks, with a port where it is not 80 and 443: "example.org", "*.example.org:8080", "192.0.2.0/24"`}
	}
	for _, r := range s.runs() {
		if e := r.Engine(); e != EngineNative {
			return &Error{Field: "reach", Text: fmt.Sprintf("%s runs without a network, always", map[string]string{EngineWASM: "a WASI module", EngineContainer: "an image"}[e]), Hint: "give a native program (run.native, --native), or bring what it needs as inputs"}
		}
	}
	return nil
}

// runs are the programs of the job's tasks.
func (s Spec) runs() []*Run {
	if s.Reduce == nil {
		return []*Run{&s.Run}
	}
	return []*Run{&s.Run, &s.Reduce.Run}
}

// checkLater refuses, by name, what the format knows and this version cannot do.
func checkLater(s Spec) *Error {
	if s.Network != "none" {
		return &Error{Field: "network", Text: fmt.Sprintf("%q is not possible in this version", s.Network), Hint: "write network: none"}
	}
	return nil
}
