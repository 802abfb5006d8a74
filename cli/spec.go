package cli

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/engine/image"
	"github.com/hpips/hpips/spec/job"
)

// asked is what the flags that run and map share say.
type asked struct {
	inputs, env    []string
	stdin          string
	spec           job.Spec // resources, limits, retries, verify, name: written by the flags themselves
	dryRun, detach bool
	force          bool
	verify         string
	check          string
	checkArgs      []string
	kept           []keep
	reduce         string
	reduceArgs     []string
	over, split    string
	native, image  bool
}

// keep is a guest folder whose content is written to a folder of this PC.
type keep struct{ guest, host string }

// unit lets a size or a duration be a flag.
type unit[T interface{ String() string }] struct {
	to    *T
	parse func(string) (T, error)
	kind  string
}

func (u unit[T]) Type() string { return u.kind }
func (u unit[T]) String() string {
	if u.to == nil {
		return ""
	}
	if text := (*u.to).String(); text != "0" && text != "0s" {
		return text
	}
	return ""
}

// Set reads one value.
func (u unit[T]) Set(v string) (err error) {
	*u.to, err = u.parse(v)
	return err
}

func sizeFlag(to *job.Size) pflag.Value { return unit[job.Size]{to, job.ParseSize, "SIZE"} }
func timeFlag(to *job.Duration) pflag.Value {
	return unit[job.Duration]{to, job.ParseDuration, "DURATION"}
}

func (a *asked) flags(c *cobra.Command) {
	f := c.Flags()
	f.SetInterspersed(false) // what follows the module may be the program's
	f.BoolVar(&a.native, "native", false, "the program is one for Linux, not a WASI module: it runs in a sandbox on nodes that run such")
	f.BoolVar(&a.image, "image", false, "the program is a container image: an archive, a layout, or its content address, which hpips image push prints (files that look like one need no flag)")
	f.StringArrayVarP(&a.inputs, "input", "i", nil, "SRC:/GUEST, a file or folder or content address that the program sees (repeatable)")
	f.StringArrayVarP(&a.env, "env", "e", nil, "K=V for the program (repeatable)")
	f.Var(sizeFlag(&a.spec.Resources.Memory), "memory", "memory of one task (default 512MiB)")
	f.Var(sizeFlag(&a.spec.Resources.Disk), "disk", "disk of one task (default 1GiB)")
	f.IntVar(&a.spec.Resources.GPU.Count, "gpus", 0, "graphics devices that one task has to itself, of a native program")
	f.StringVar(&a.spec.Resources.GPU.Model, "gpu-model", "", `words of each device's name, such as "rtx 4090"`)
	f.StringVar(&a.spec.Resources.GPU.Vendor, "gpu-vendor", "", "maker of each device: amd, intel or nvidia")
	f.Var(sizeFlag(&a.spec.Resources.GPU.Memory), "gpu-memory", "memory of each device")
	f.StringArrayVar(&a.spec.Where, "where", nil, `what a node has to be, such as "region in (eu,us)" (repeatable)`)
	f.StringSliceVar(&a.spec.Prefer, "prefer", nil, "by what to choose among nodes, the first word first: "+strings.Join(job.Preferences, ", "))
	f.Var(timeFlag(&a.spec.Limits.Time), "time", "time limit of one task (default 1h)")
	f.Var(timeFlag(&a.spec.Limits.Queue), "queue", "give up after so long without any node that takes the job (default 10m)")
	f.Var(sizeFlag(&a.spec.Limits.Output), "max-output", "standard output and error of one task (default 256MiB)")
	f.StringVar(&a.spec.Limits.Price, "price", "", `ceiling for the job, such as "0.50 HPIPS"`)
	f.IntVar(&a.spec.Retries, "retries", 0, "further attempts for a task whose program failed")
	f.Int64Var(&a.spec.Limits.Work, "work", 0, "instructions of one task at most, counted alike on every machine (default no limit)")
	f.StringVar(&a.verify, "verify", "", "how results are checked: auto, jury, quorum, check or none (default none for run, auto for map)")
	f.IntVar(&a.spec.Verify.Copies, "copies", 0, "equal results of different owners that a task needs; implies --verify quorum (default 2)")
	f.StringVar(&a.check, "check", "", "WASI program that judges each result on this PC: a file or content address; implies --verify check")
	f.StringArrayVar(&a.checkArgs, "check-arg", nil, "argument of the checker (repeatable)")
	f.StringArrayVar(&a.spec.Reach, "reach", nil, "a place outside that a native program may call through the node's proxy, where the node's owner allows it: a domain, *.domain, address or network, with :PORT where it is not 80 and 443 (repeatable)")
	f.IntVar(&a.spec.Parallel, "parallel", 0, "tasks at once at most (default all free slots)")
	f.StringVar(&a.spec.Name, "name", "", "a name for people")
	f.BoolVar(&a.dryRun, "dry-run", false, "print the job file, the price ceiling and who could run it; run nothing")
	f.BoolVarP(&a.detach, "detach", "d", false, "print the job's id and come back at once")
	f.BoolVar(&a.force, "force", false, "replace what stands where results are written")
}

// parse splits the arguments after the flags: the module, further flags, and what is the program's: all after "--" or after the first word
// that is no flag.
func (a *asked) parse(c *cobra.Command, args []string) (module string, rest []string, err error) {
	if len(args) == 0 {
		return "", nil, usage(c, c.CommandPath()+" needs a program: a .wasm file or a content address")
	}
	module, rest = args[0], args[1:]
	if c.ArgsLenAtDash() != 0 { // "hpips run -- prog.wasm -x" leaves everything to the program
		if err := c.Flags().Parse(rest); err != nil {
			return "", nil, notOurs(c, module, rest, err)
		}
		rest = c.Flags().Args()
	}
	return module, rest, nil
}

// notOurs is the complaint about a flag behind the module; one that is unknown may be meant for the program.
func notOurs(c *cobra.Command, module string, rest []string, err error) error {
	f := &job.Failure{Code: job.CodeUsage, Message: err.Error(), Hint: "see " + c.CommandPath() + " --help"}
	if strings.HasPrefix(err.Error(), "unknown") && !slices.Contains(rest, "--") {
		f.Hint = "if it is the program's, put -- before it: " + c.CommandPath() + " " + module + " -- " + strings.Join(rest, " ")
	}
	return f
}

// fill writes what the flags say into the specification, paths as they were typed.
func (a *asked) fill(c *cobra.Command, kind job.Kind, module string, args []string, keeps []string) error {
	s := &a.spec
	s.APIVersion, s.Kind, s.Run = job.APIVersion, kind, a.program(module, args)
	for _, kv := range a.env {
		name, value, ok := strings.Cut(kv, "=")
		if !ok {
			return usage(c, fmt.Sprintf("--env %q: want NAME=VALUE", kv))
		}
		if s.Run.Env == nil {
			s.Run.Env = map[string]string{}
		}
		s.Run.Env[name] = value
	}
	for _, text := range a.inputs {
		in, err := parseInput(text)
		if err != nil {
			return usage(c, err.Error())
		}
		s.Inputs = append(s.Inputs, in)
	}
	for _, text := range keeps {
		guest, host, ok := strings.Cut(text, ":")
		if !ok || host == "" {
			host = path.Base(guest)
		}
		guest = path.Clean(guest)
		a.kept = append(a.kept, keep{guest: guest, host: host})
		s.Outputs = append(s.Outputs, job.Output{Path: guest})
	}
	s.Verify.Mode = job.Mode(a.verify)
	if a.check != "" {
		s.Verify.Check = &job.Run{WASM: a.check, Args: a.checkArgs}
	} else if c.Flags().Changed("check-arg") {
		return usage(c, "--check-arg needs --check")
	}
	return nil
}

// program is what was typed as one.
func (a *asked) program(module string, args []string) job.Run {
	switch {
	case a.native:
		return job.Run{Native: module, Args: args}
	case a.image, image.Likely(module):
		return job.Run{Image: module, Args: args}
	}
	return job.Run{WASM: module, Args: args}
}

// parseInput reads SRC:/GUEST; SRC alone is shown as /in/NAME.
func parseInput(text string) (job.Input, error) {
	if i := strings.LastIndex(text, ":/"); i > 0 && !strings.HasPrefix(text[i+1:], "//") {
		return job.Input{From: text[:i], To: path.Clean(text[i+1:])}, nil
	}
	name := path.Base(filepath.ToSlash(strings.TrimRight(text, "/")))
	if text == "" || name == "." || name == ".." || name == "/" {
		return job.Input{}, fmt.Errorf("-i %q: want SRC:/GUEST, such as -i data.csv:/in/data.csv", text)
	}
	return job.Input{From: text, To: "/in/" + name}, nil
}

// parseOver reads the forms of --over.
func parseOver(text, split string) (*job.Over, error) {
	word, rest, _ := strings.Cut(text, ":")
	switch word {
	case "count":
		var n int
		if _, err := fmt.Sscanf(rest, "%d", &n); err != nil || fmt.Sprint(n) != rest || n < 1 {
			return nil, fmt.Errorf("--over %q: want count:N with N from 1 up", text)
		}
		return &job.Over{Count: n, Split: split}, nil
	case "lines":
		n, from, ok := strings.Cut(rest, ":")
		if !ok || from == "" {
			return nil, fmt.Errorf("--over %q: want lines:N:PATH", text)
		}
		if split != "" {
			return nil, fmt.Errorf("--over lines:… and --split exclude one another")
		}
		return &job.Over{From: from, Split: "lines:" + n}, nil
	case "matrix":
		m, err := parseMatrix(rest)
		return &job.Over{Matrix: m, Split: split}, err
	}
	if text == "" {
		return nil, fmt.Errorf("map needs --over PATH, CID, lines:N:PATH, count:N or matrix:NAME=VALUES")
	}
	return &job.Over{From: text, Split: split}, nil
}

// parseMatrix reads "a=1..10;b=x,y".
func parseMatrix(text string) (job.OrderedMap, error) {
	var m job.OrderedMap
	for _, axis := range strings.Split(text, ";") {
		name, list, ok := strings.Cut(axis, "=")
		if !ok || name == "" || list == "" {
			return nil, fmt.Errorf("--over matrix:%s: want NAME=A,B,C;OTHER=1..10", text)
		}
		var values []string
		for _, item := range strings.Split(list, ",") {
			v, err := job.ExpandRange(item)
			if err != nil {
				return nil, fmt.Errorf("--over matrix:%s: %q: %w", text, item, err)
			}
			values = append(values, v...)
		}
		for _, other := range m {
			if other.Name == name {
				return nil, fmt.Errorf("--over matrix:%s: %s is given twice", text, name)
			}
		}
		m = append(m, job.Axis{Name: name, Values: values})
	}
	slices.SortFunc(m, func(a, b job.Axis) int { return strings.Compare(a.Name, b.Name) })
	return m, nil
}

// place is one field of a specification that may hold a path of this PC.
type place struct {
	ref    *string
	field  string // in a job file
	flag   string // on the command line; "": the program, which stands there without one
	module bool
	engine string // of a program
}

// programOf is the place of a program.
func programOf(r *job.Run, field, flag string) place {
	return place{ref: r.Program(), field: field + "." + r.Field(), flag: flag, module: true, engine: r.Engine()}
}

// places lists the fields of a specification that may hold paths.
func places(s *job.Spec) []place {
	list := []place{programOf(&s.Run, "run", "")}
	if s.Reduce != nil {
		list = append(list, programOf(&s.Reduce.Run, "reduce.run", "--reduce"))
	}
	if s.Verify.Check != nil {
		list = append(list, programOf(s.Verify.Check, "verify.check", "--check"))
	}
	if s.Stdin != "" {
		list = append(list, place{ref: &s.Stdin, field: "stdin", flag: "--stdin"})
	}
	for i := range s.Inputs {
		list = append(list, place{ref: &s.Inputs[i].From, field: fmt.Sprintf("inputs[%d].from", i), flag: "-i"})
	}
	if s.Over != nil && s.Over.From != "" {
		list = append(list, place{ref: &s.Over.From, field: "over.from", flag: "--over"})
	}
	return list
}

// located turns the paths of a specification into absolute ones and checks what is there; addresses stay. dir is the folder of the job file, at which relative paths
// begin; "": they were typed, and begin where the person is.
func located(s *job.Spec, dir string) error {
	for _, p := range places(s) {
		if isAddress(*p.ref) {
			continue
		}
		name := absolute(*p.ref, dir)
		if whole, err := filepath.Abs(name); err == nil {
			name = whole
		}
		if _, err := os.Stat(name); err != nil {
			if looksLikeCID(*p.ref) || dir == "" && p.engine == job.EngineContainer { // an engine here may have an image of that name
				continue
			}
			return p.unread(dir, err)
		}
		if p.module {
			if err := checkProgram(p.engine, *p.ref, name); err != nil {
				return err
			}
		}
		*p.ref = name
	}
	return nil
}

// unread tells of a path that leads to nothing that can be read: as the field of a job file, or as it was typed.
func (p place) unread(dir string, err error) error {
	f := cannotRead(*p.ref, err)
	what := "file or folder"
	if p.module {
		what = "program"
	}
	begin := dir
	if dir != "" {
		f.Message = p.field + ": " + f.Message
	} else if begin = workingDir(); p.flag != "" {
		f.Message = p.flag + ": " + f.Message
	}
	if f.Code == job.CodeNotFound {
		f.Hint = fmt.Sprintf("name a %s that is there (relative paths begin at %s), or a content address, which hpips put prints", what, absolute(begin, workingDir()))
	}
	return f
}

// upload brings the absolute paths of a specification into the store and puts their addresses in their place.
func (s *shell) upload(ctx context.Context, api *client.Client, spec *job.Spec) error {
	known := map[string]string{}
	for _, p := range places(spec) {
		if named := p.engine == job.EngineContainer && !looksLikeCID(*p.ref); isAddress(*p.ref) || !named && !filepath.IsAbs(*p.ref) {
			continue
		}
		if known[*p.ref] == "" {
			bring := s.put
			if p.engine == job.EngineContainer {
				bring = s.putImage
			}
			e, err := bring(ctx, api, *p.ref)
			if err != nil {
				return err
			}
			known[*p.ref] = e.CID
		}
		*p.ref = known[*p.ref]
	}
	return nil
}

func isAddress(ref string) bool {
	return strings.HasPrefix(ref, "ipfs://") || strings.HasPrefix(ref, "/ipfs/")
}

// looksLikeCID reports whether ref begins with a content address, for a name that no file has.
func looksLikeCID(ref string) bool {
	first, _, _ := strings.Cut(ref, "/")
	_, err := cid.Decode(first)
	return err == nil
}

// checkProgram refuses a file that cannot be a program before anything is sent.
func checkProgram(engine, name, file string) error {
	switch engine {
	case job.EngineNative:
		return checkNative(name, file)
	case job.EngineContainer:
		return checkImage(name, file)
	}
	return checkModule(name, file)
}

// checkNative refuses a file that Linux does not execute.
func checkNative(name, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return cannotRead(name, err)
	}
	defer f.Close()
	wrong := &job.Failure{Code: job.CodeProgram, Message: name + " is no program for Linux", Hint: "build it for Linux, such as by GOOS=linux CGO_ENABLED=0 go build; a WASI module runs without --native"}
	if fi, err := f.Stat(); err != nil || fi.IsDir() {
		wrong.Message += ": it is a folder"
		return wrong
	}
	head := make([]byte, 4)
	n, _ := f.Read(head) // a short file is none
	if string(head[:n]) == "\x7fELF" || strings.HasPrefix(string(head[:n]), "#!") {
		return nil
	}
	wrong.Message += fmt.Sprintf(": it begins with %q, and neither with ELF nor with #!", head[:n])
	return wrong
}

// checkModule refuses a file that cannot be a WASM program before anything is sent.
func checkModule(name, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return cannotRead(name, err)
	}
	defer f.Close()
	head := make([]byte, 4)
	n, err := f.Read(head)
	if fi, statErr := f.Stat(); statErr == nil && fi.IsDir() {
		return &job.Failure{Code: job.CodeProgram, Message: name + " is not a WebAssembly module: it is a folder", Hint: "name the .wasm file in it"}
	}
	if n == 4 && string(head) == "\x00asm" {
		return nil
	}
	begins := fmt.Sprintf("begins with %q", head[:n])
	if n == 0 {
		begins = "is empty"
		if err != nil && err.Error() != "EOF" {
			return cannotRead(name, err)
		}
	}
	return &job.Failure{
		Code:    job.CodeProgram,
		Message: name + " is not a WebAssembly module: " + begins,
		Hint:    "compile it for WASI, in Go: GOOS=wasip1 GOARCH=wasm go build -o prog.wasm",
	}
}
