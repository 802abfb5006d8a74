package requester

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/engine/image"
	"github.com/hpips/hpips/plan"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/store"
)

// wasmMagic begins every WebAssembly module (core specification, section 5.5.16).
const wasmMagic = "\x00asm"

// plan finds the contents of a job and cuts its input into parts, once: afterwards the journal has them.
func (r *Requester) plan(ctx context.Context, e *errand) (count uint64, err error) {
	if err := r.resolve(ctx, e); err != nil {
		return 0, err
	}
	if s := e.snapshot(); s.State != job.Pending {
		count := s.Tasks.Total
		if e.spec.Reduce != nil {
			count--
		}
		return uint64(count), nil
	}
	over := e.spec.Over
	switch {
	case over == nil:
		count = 1
	case over.Count > 0:
		count = uint64(over.Count)
	case len(over.Matrix) > 0:
		count = uint64(plan.Combinations(over.Matrix))
	default:
		if count, err = r.split(ctx, e); err != nil {
			return 0, err
		}
	}
	if count == 0 || count > job.MaxTasks {
		return 0, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("over: %d tasks are not possible", count), Hint: fmt.Sprintf("1 … %d; an empty folder gives none, and no lines give none", job.MaxTasks)}
	}
	e.change(func(s *job.Status) {
		s.Tasks.Total = int(count)
		if e.spec.Reduce != nil {
			s.Tasks.Total++
		}
		s.State = job.Planned
	})
	r.note(ctx, e, "planned "+job.Several(e.snapshot().Tasks.Total, "task"))
	r.tellChance(ctx, e)
	return count, r.journal.saveStatus(ctx, e.snapshot())
}

// resolve replaces every reference of the specification by the plain content address, pulling programs and inputs that are elsewhere.
func (r *Requester) resolve(ctx context.Context, e *errand) error {
	refs, engines := []*string{e.spec.Run.Program()}, []string{e.spec.Run.Engine()}
	if e.spec.Reduce != nil {
		reduce := *e.spec.Reduce
		e.spec.Reduce = &reduce
		refs, engines = append(refs, reduce.Run.Program()), append(engines, reduce.Run.Engine())
	}
	if e.spec.Verify.Check != nil {
		check := *e.spec.Verify.Check
		e.spec.Verify.Check = &check
		refs, engines = append(refs, &check.WASM), append(engines, job.EngineWASM)
	}
	if e.spec.Over != nil && e.spec.Over.From != "" {
		over := *e.spec.Over
		e.spec.Over = &over
		refs = append(refs, &over.From)
	}
	e.spec.Inputs = slices.Clone(e.spec.Inputs)
	for i := range e.spec.Inputs {
		refs = append(refs, &e.spec.Inputs[i].From)
	}
	if e.spec.Stdin != "" {
		refs = append(refs, &e.spec.Stdin)
	}
	for i, ref := range refs {
		root, err := r.locate(ctx, *ref)
		if err != nil {
			return err
		}
		if i < len(engines) {
			if err := r.checkProgram(ctx, *ref, root, engines[i]); err != nil {
				return err
			}
		}
		*ref = root.String()
	}
	return nil
}

// locate turns a reference into an address whose content is on this node.
func (r *Requester) locate(ctx context.Context, ref string) (cid.Cid, error) {
	within, cancel := context.WithTimeoutCause(ctx, r.cfg.Fetch, context.DeadlineExceeded)
	defer cancel()
	root, err := r.deps.Store.Resolve(within, ref)
	if err == nil {
		_, err = r.bring(ctx, root, math.MaxInt64)
	}
	if err == nil || ctx.Err() != nil {
		return root, err
	}
	var failure *job.Failure
	if errors.As(err, &failure) {
		return root, failure
	}
	return root, &job.Failure{Code: job.CodeNotFound, Message: fmt.Sprintf("content %s: %v", ref, err), Hint: "is the node that added it up and connected? see hpips node peers"}
}

// nativeMagic begins every ELF file, which programs for Linux are, and script those that name their interpreter (execve(2)).
const nativeMagic, script = "\x7fELF", "#!"

// checkProgram refuses content that does not begin as a program of its engine does, before it is sent anywhere.
func (r *Requester) checkProgram(ctx context.Context, ref string, root cid.Cid, engine string) error {
	if engine == job.EngineContainer {
		return r.checkImage(ctx, ref, root)
	}
	f, err := r.deps.Store.Open(ctx, root)
	if err != nil {
		return &job.Failure{Code: job.CodeProgram, Message: fmt.Sprintf("program %s: %v", ref, err), Hint: "give a file that holds a program"}
	}
	defer f.Close()
	head := make([]byte, len(wasmMagic))
	_, err = io.ReadFull(f, head)
	begins := string(head)
	switch {
	case engine == job.EngineNative && (err != nil || begins != nativeMagic && !strings.HasPrefix(begins, script)):
		return &job.Failure{Code: job.CodeProgram, Message: fmt.Sprintf("program %s is no program for Linux: it begins with %q, and neither with ELF nor with #!", ref, head),
			Hint: "build it for Linux, such as by GOOS=linux CGO_ENABLED=0 go build; a WASI module is run.wasm"}
	case engine != job.EngineNative && (err != nil || begins != wasmMagic):
		return &job.Failure{Code: job.CodeProgram, Message: fmt.Sprintf("program %s is not a WebAssembly module: it begins with %q", ref, head),
			Hint: "build it for WASI, such as GOOS=wasip1 GOARCH=wasm go build -o prog.wasm"}
	}
	return nil
}

// checkImage refuses content that is no layout of a container image, by the names that lie in it.
func (r *Requester) checkImage(ctx context.Context, ref string, root cid.Cid) error {
	list, err := r.deps.Store.Tree(ctx, root)
	if err != nil {
		return fmt.Errorf("image %s: %w", ref, err)
	}
	names := map[string]bool{}
	for _, f := range list {
		names[f.Path] = true
	}
	for _, name := range []string{image.Marker, image.Index} {
		if !names[name] {
			return &job.Failure{Code: job.CodeProgram, Message: fmt.Sprintf("image %s has no %s in it", ref, name), Hint: "bring an image into the store with hpips image push, which prints its address"}
		}
	}
	return nil
}

// split cuts over.from into parts and writes them into the journal.
func (r *Requester) split(ctx context.Context, e *errand) (uint64, error) {
	root, err := cid.Decode(e.spec.Over.From)
	if err != nil {
		return 0, err
	}
	word, n, err := job.ParseSplit(e.spec.Over.Split)
	if err != nil {
		return 0, err
	}
	files, err := r.files(ctx, root)
	if err != nil {
		return 0, err
	}
	single := len(files) == 1 && files[0].Path == ""
	c := cutter{r: r, ctx: ctx}
	cut := c.groups
	switch {
	case word == "file":
		cut = c.whole
	case word == "lines" && !single:
		return 0, &job.Failure{Code: job.CodeUsage, Message: "over: lines splits one file, and this is a folder", Hint: "use split file, parts:N or bytes:N"}
	case word == "lines":
		cut = c.lines
	case word == "bytes" && single, word == "parts" && single:
		cut = c.ranges
	}
	return r.journal.addParts(ctx, e.id, func(yield func(part) error) error {
		return cut(files, word, n, func(p part) error {
			if c.made++; c.made > job.MaxTasks {
				return &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("over: more than %d tasks are not possible", job.MaxTasks), Hint: "cut the input into larger parts"}
			}
			return yield(p)
		})
	})
}

func (r *Requester) files(ctx context.Context, root cid.Cid) ([]plan.File, error) {
	tree, err := r.deps.Store.Tree(ctx, root)
	if err != nil {
		return nil, err
	}
	var files []plan.File
	for _, f := range tree {
		if f.Kind == store.Regular {
			files = append(files, plan.File{Path: f.Path, CID: f.CID.String(), Size: int64(f.Size)})
		}
	}
	return files, nil
}

// cutter makes parts. Each method takes the files of the input, the word and number of the split, and yields parts in order.
type cutter struct {
	r   *Requester
	ctx context.Context // of one split; a cutter lives no longer

	made int
}

// singleName is the name under which a part of a single file appears in /in.
const singleName = "input"

func (c cutter) whole(files []plan.File, _ string, _ int64, yield func(part) error) error {
	for _, f := range files {
		name := f.Path
		if name == "" {
			name = singleName
		}
		if err := yield(part{plan.InputPath(name), job.Content{CID: f.CID, Size: f.Size}}); err != nil {
			return err
		}
	}
	return nil
}

// groups makes each part a folder of neighbouring files. For bytes:N there are as many as N bytes each would need.
func (c cutter) groups(files []plan.File, word string, n int64, yield func(part) error) error {
	if word == "bytes" {
		var sum int64
		for _, f := range files {
			sum += f.Size
		}
		n = max(1, (sum+n-1)/n)
	}
	for _, group := range plan.Groups(files, int(min(n, int64(len(files))))) {
		folder, err := c.folder(group)
		if err != nil {
			return err
		}
		var size int64
		for _, f := range group {
			size += f.Size
		}
		if err := yield(part{"/in", job.Content{CID: folder.CID.String(), Size: size}}); err != nil {
			return err
		}
	}
	return nil
}

// folder makes a directory of files by their paths, folders within it from the bottom up.
func (c cutter) folder(files []plan.File) (store.Entry, error) {
	var links []store.Link
	below := map[string][]plan.File{}
	var names []string
	for _, f := range files {
		name, rest, deeper := strings.Cut(f.Path, "/")
		if deeper {
			if below[name] == nil {
				names = append(names, name)
			}
			below[name] = append(below[name], plan.File{Path: rest, CID: f.CID, Size: f.Size})
			continue
		}
		root, err := cid.Decode(f.CID)
		if err != nil {
			return store.Entry{}, err
		}
		links = append(links, store.Link{Name: path.Base(f.Path), CID: root, Size: uint64(f.Size)})
	}
	for _, name := range names {
		sub, err := c.folder(below[name])
		if err != nil {
			return store.Entry{}, err
		}
		sub.Name = name
		links = append(links, sub.Link())
	}
	return c.r.deps.Store.Dir(c.ctx, links)
}

func (c cutter) ranges(files []plan.File, word string, n int64, yield func(part) error) error {
	pieces := plan.Ranges(files[0].Size, n)
	if word == "parts" {
		pieces = plan.Parts(files[0].Size, n)
	}
	f, err := c.open(files[0])
	if err != nil {
		return err
	}
	defer f.Close()
	for piece := range pieces {
		if err := c.piece(io.LimitReader(f, piece.Length), yield); err != nil {
			return err
		}
	}
	return nil
}

func (c cutter) open(f plan.File) (store.Reader, error) {
	root, err := cid.Decode(f.CID)
	if err != nil {
		return nil, err
	}
	return c.r.deps.Store.Open(c.ctx, root)
}

// piece yields all of r as one part: inline if it is short.
func (c cutter) piece(r io.Reader, yield func(part) error) error {
	head, err := io.ReadAll(io.LimitReader(r, job.InlineLimit+1))
	if err != nil {
		return err
	}
	content := job.Content{Inline: head, Size: int64(len(head))}
	if len(head) > job.InlineLimit {
		entry, err := c.r.deps.Store.Add(c.ctx, io.MultiReader(bytes.NewReader(head), r))
		if err != nil {
			return err
		}
		content = job.Content{CID: entry.CID.String(), Size: int64(entry.Size)}
	}
	return yield(part{plan.InputPath(singleName), content})
}

func (c cutter) lines(files []plan.File, _ string, n int64, yield func(part) error) error {
	f, err := c.open(files[0])
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	for {
		if _, err := in.Peek(1); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := c.piece(&lines{in, n}, yield); err != nil {
			return err
		}
	}
}

// lines reads so many lines, however long they are, and then says EOF.
type lines struct {
	in   *bufio.Reader
	left int64
}

// Read gives what is at hand, at most to the end of the last line.
func (l *lines) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	if _, err := l.in.Peek(1); err != nil {
		return 0, err
	}
	ready, err := l.in.Peek(min(len(p), l.in.Buffered()))
	n := 0
	for n < len(ready) && l.left > 0 {
		k := bytes.IndexByte(ready[n:], '\n')
		if k < 0 {
			n = len(ready)
			break
		}
		n += k + 1
		l.left--
	}
	copy(p, ready[:n])
	_, _ = l.in.Discard(n) // it is buffered
	return n, err
}
