package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
)

// maxShown is how much of a standard stream stands in a JSON answer, in bytes.
const maxShown = 64 << 10

// ran is what run tells programs: the job's status and what it said, if that is text of at most 64 KiB.
type ran struct {
	job.Status
	Stdout *string `json:"stdout,omitempty"`
	Stderr *string `json:"stderr,omitempty"`
}

func (s *shell) runCommand() *cobra.Command {
	var a asked
	c := &cobra.Command{
		Use:   "run [flags] PROG.wasm [flags] [--] [ARG…]",
		Short: "Run one task and exit with its code",
		Long: `Run a WASI program on a node: its standard input, output and error are streamed, and its exit code becomes that of the command.
PROG.wasm is a file, a content address, or ipfs://CID/path. With --native it is a program for Linux instead, which runs in a sandbox on nodes that run such. An archive that docker save or podman save wrote,
or the address that hpips image push printed, is a container image: what stands behind -- takes the place of its command, and it runs without a network. What stands behind -- or behind the first word that is no flag is the program's.
Ctrl-C detaches: the job goes on.`,
		Example: `  hpips run hello.wasm -- alice
  hpips run resize.wasm -i photos:/in -o /out:small -- --width 100
  hpips run sort.wasm < names.txt
  hpips run --native ./solve -- --steps 1000
  hpips run alpine.tar -- cat /etc/os-release
  hpips run hello.wasm -o json -- alice`,
		RunE: func(c *cobra.Command, args []string) error {
			module, rest, err := a.parse(c, args)
			if err != nil {
				return err
			}
			if err := a.fill(c, job.Batch, module, rest, s.output.keeps); err != nil {
				return err
			}
			a.spec.Stdin = a.stdin
			return s.submit(c.Context(), &a, "")
		},
	}
	a.flags(c)
	c.Flags().StringVar(&a.stdin, "stdin", "", "the program's standard input: a file or content address; - streams ours (default: ours, unless it is a terminal)")
	return c
}

// submit carries a job out from its typed form on: check, upload, hand in, follow, fetch results. dir is the folder of the job file, "" for what was typed.
func (s *shell) submit(ctx context.Context, a *asked, dir string) error {
	live := a.spec.Stdin == "-"
	if live {
		a.spec.Stdin = ""
	}
	if err := a.spec.Filled().Check(); err != nil {
		return err
	}
	if err := located(&a.spec, dir); err != nil {
		return err
	}
	if err := a.checkKept(); err != nil {
		return err
	}
	api, err := s.open()
	if err != nil {
		return err
	}
	defer api.Close()
	if err := s.recognise(ctx, api, &a.spec); err != nil {
		return err
	}
	if err := a.spec.Filled().Check(); err != nil { // an image is asked for what a module is not
		return err
	}
	if a.dryRun {
		return s.preview(ctx, api, a.spec)
	}
	if a.spec.Kind == job.Batch && a.spec.Stdin == "" && !live {
		if live, err = s.ownStdin(ctx, api, a); err != nil {
			return err
		}
	}
	if err := s.upload(ctx, api, &a.spec); err != nil {
		return err
	}
	if a.spec.Kind == job.Map || terminal(s.err) {
		s.priced(ctx, api, a.spec)
	}
	whole, stop := context.WithTimeout(context.WithoutCancel(ctx), submitTime) // Ctrl-C detaches from a job that is there
	id, err := api.Submit(whole, a.spec, live)
	stop()
	if err != nil {
		return err
	}
	return s.attend(ctx, id, a, live)
}

// submitTime is how long a node may take to write a job down.
const submitTime = 30 * time.Second

// attend follows a job that was handed in, unless it is to be left alone.
func (s *shell) attend(ctx context.Context, id string, a *asked, live bool) error {
	if a.detach {
		return s.show(client.Submitted{Job: id}, id, func(w io.Writer) { fmt.Fprintln(w, id) })
	}
	if a.spec.Kind == job.Map {
		return s.attendMap(ctx, id)
	}
	return s.attendBatch(ctx, id, a, live)
}

func (s *shell) attendBatch(ctx context.Context, id string, a *asked, live bool) error {
	var stdout, stderr io.Writer = s.out, s.err
	var shownOut, shownErr head
	if s.formal() || s.quiet {
		stdout, stderr = &shownOut, &shownErr
	} else if terminal(s.err) {
		s.note("job %s  (Ctrl-C detaches; the job goes on)", id)
	}
	var in io.Reader
	if live {
		in = s.in
	}
	step, end := s.arriving()
	st, err := s.accompany(ctx, id, in, stdout, stderr, step)
	end()
	if ctx.Err() != nil {
		return s.detached(id)
	}
	if err != nil {
		return err
	}
	if st.State == job.Settled && len(a.kept) > 0 {
		fetch := func(api *client.Client) error { return s.fetch(ctx, api, st, a.kept, a.force) }
		if err := s.steadily(ctx, fetch); err != nil {
			return err
		}
	}
	if terminal(s.err) {
		s.paid(ctx, id)
	}
	if err := s.showEnd(ran{Status: st, Stdout: shownOut.text(), Stderr: shownErr.text()}, st, nil); err != nil {
		return err
	}
	return ended(st)
}

// showEnd tells how a job ended: v for programs, its id with --quiet, and to people the failure, or what human writes.
func (s *shell) showEnd(v any, st job.Status, human func(w io.Writer)) error {
	err := s.show(v, st.Job, func(w io.Writer) {
		if human != nil {
			human(w)
		}
	})
	if st.Error != nil && !s.formal() {
		f := *st.Error
		f.Message = fmt.Sprintf("job %s: %s", st.Job, f.Message)
		if f.Hint == "" && f.Code != job.CodeExit {
			f.Hint = "hpips job why " + st.Job
		}
		s.complain(&f)
	}
	return err
}

// ended turns a job's end into that of the command.
func ended(st job.Status) error {
	if n := code(st); n != 0 {
		return exit(n)
	}
	return nil
}

// head keeps the beginning of a stream.
type head struct {
	bytes.Buffer
	cut bool
}

// Write takes all and keeps the first maxShown bytes.
func (h *head) Write(p []byte) (int, error) {
	room := maxShown - h.Len()
	if room < len(p) {
		h.cut = true
		h.Buffer.Write(p[:room])
		return len(p), nil
	}
	return h.Buffer.Write(p)
}

func (h *head) text() *string {
	if h.cut || !utf8.Valid(h.Bytes()) {
		return nil
	}
	t := h.String()
	return &t
}

// ownStdin gives the job our standard input where it is meant for it: a file as content, a pipe live, a terminal or /dev/null not at all.
func (s *shell) ownStdin(ctx context.Context, api *client.Client, a *asked) (live bool, err error) {
	if s.in == nil {
		return false, nil
	}
	fi, err := s.in.Stat()
	if err != nil || fi.Mode()&os.ModeCharDevice != 0 {
		return false, nil //nolint:nilerr // a closed standard input is an empty one
	}
	if !fi.Mode().IsRegular() {
		return !a.detach, nil
	}
	if fi.Size() == 0 {
		return false, nil
	}
	e, err := api.PutBytes(ctx, s.in)
	if err == nil {
		a.spec.Stdin = e.CID
	}
	return false, err
}

// checkKept refuses, before anything runs, results that would fall on what is there.
func (a *asked) checkKept() error {
	for _, k := range a.kept {
		if err := free(k.host, a.force); err != nil {
			return err
		}
	}
	return nil
}

// fetch writes the kept guest folders of a settled job.
func (s *shell) fetch(ctx context.Context, api *client.Client, st job.Status, kept []keep, force bool) error {
	for _, k := range kept {
		content, ok := st.Outputs[k.guest]
		if !ok {
			continue
		}
		if err := s.write(ctx, api, content, k.host, force); err != nil {
			return err
		}
		s.note("%s → %s (%s)", k.guest, k.host, bytesText(content.Size))
	}
	return nil
}

// write puts content to a path of this PC.
func (s *shell) write(ctx context.Context, api *client.Client, content job.Content, host string, force bool) error {
	if content.CID != "" {
		_, err := s.get(ctx, api, content.CID, host, force, time.Minute)
		return err
	}
	if err := free(host, force); err != nil {
		return err
	}
	if err := os.WriteFile(host, content.Inline, 0o644); err != nil {
		return cannotWrite(host, err)
	}
	return nil
}

func cannotWrite(name string, err error) *job.Failure {
	f := cannotRead(name, err)
	f.Message = strings.Replace(f.Message, "cannot be read", "cannot be written", 1)
	f.Hint = "choose another place"
	return f
}

// previewed is what a dry run tells programs.
type previewed struct {
	Spec     job.Spec        `json:"spec"`
	Price    string          `json:"priceCeiling"`
	Likely   string          `json:"likely,omitempty"` // where it costs something
	Asked    int             `json:"asked"`
	Nodes    int             `json:"nodes"` // that could run it
	Rejected []job.Rejection `json:"rejected"`
}

// preview prints the job as a file, with what it would cost and who could run it as comments.
func (s *shell) preview(ctx context.Context, api *client.Client, spec job.Spec) error {
	spec = spec.Filled()
	why, err := api.Preview(ctx, spec)
	if err != nil {
		return err
	}
	p := previewed{Spec: spec, Price: "0 HPIPS", Asked: why.Asked, Nodes: why.Accepted, Rejected: why.Rejected}
	if e := why.Estimate; e != nil && e.Most > 0 {
		p.Price = money.Amount(e.Most).String() + " " + money.Symbol
		p.Likely = money.Amount(e.Likely).String() + " " + money.Symbol
	}
	if spec.Limits.Price != "" {
		p.Price = spec.Limits.Price
	}
	if p.Rejected == nil {
		p.Rejected = []job.Rejection{}
	}
	if s.output.format == "json" {
		return s.encode(p)
	}
	text, err := specYAML(spec)
	if err != nil {
		return err
	}
	if _, err := s.out.Write(text); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "# price ceiling: %s\n", p.Price)
	if p.Likely != "" {
		fmt.Fprintf(s.out, "# likely: %s\n", p.Likely)
	}
	fmt.Fprintf(s.out, "# could run it: %d of %s\n", p.Nodes, job.Several(p.Asked, "node"))
	for _, r := range p.Rejected {
		fmt.Fprintf(s.out, "#   %d: %s\n", r.Count, r.Reason)
	}
	return nil
}

// specYAML writes a specification as a file that job run reads.
func specYAML(spec job.Spec) ([]byte, error) {
	s := &shell{output: outputFlag{format: "yaml"}}
	var b bytes.Buffer
	s.out = &b
	if err := s.encode(spec); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// absolute is name seen from dir.
func absolute(name, dir string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}
