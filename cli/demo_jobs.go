package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"image/png"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hpips/hpips/spec/job"
)

// identifier is a line of a concordance.
type identifier struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
	Files int    `json:"files"`
}

// What the demo asks for.
const (
	demoParts   = 128
	demoWidth   = 960
	demoHeight  = 540
	demoSamples = 8
	demoAcross  = 8
	demoDown    = 5
)

func goRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", &job.Failure{Code: job.CodeNotFound, Message: "the Go toolchain does not answer: " + err.Error(), Hint: "the demo counts its source: install Go 1.26 or newer"}
	}
	return strings.TrimSpace(string(out)), nil
}

// buildPlain builds the same program for this PC, without HPIPS.
func buildPlain(ctx context.Context, dir, to string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", to, ".")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return &job.Failure{Code: job.CodeInternal, Message: fmt.Sprintf("build %s: %v: %s", dir, err, lastLines(string(out), 5)), Hint: "does make build work?"}
	}
	return nil
}

// concordance counts the identifiers of the tree on the network, loses a provider on the way, and compares with a plain run.
func (d *demo) concordance(ctx context.Context, tree string) error {
	source := filepath.Join(d.dir, "src")
	var err error
	if d.report.Files, d.report.Bytes, err = gather(ctx, tree, source); err != nil {
		return err
	}
	d.s.note("\nconcordance of %s: %d files, %s", tree, d.report.Files, bytesText(d.report.Bytes))
	module := filepath.Join(d.examples, "concordance", "concordance.wasm")
	spec := job.Spec{Kind: job.Map, Name: "concordance", Run: job.Run{WASM: module},
		Over:   &job.Over{From: source, Split: "parts:" + strconv.Itoa(demoParts)},
		Reduce: &job.Reduce{Run: job.Run{WASM: module, Args: []string{"reduce"}}}}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	murder := &murder{net: d.net, chain: d.chain}
	st, got, err := d.carry(ctx, spec, func(st job.Status) {
		if err := murder.step(ctx, st, d.s); err != nil {
			stop(err)
		}
	})
	if err != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	d.report.Killed = murder.victim
	switch {
	case murder.victim == "":
		return demoFailed("the job was over before a provider could be killed")
	case st.Tasks.Lost < 1:
		return demoFailed("a provider was killed, but no task counts as lost")
	}
	began := time.Now()
	cmd := exec.CommandContext(ctx, d.plain())
	cmd.Env = append(os.Environ(), "HPIPS_INPUT="+tree)
	cmd.Stderr = d.s.err
	want, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("the plain run: %w", err)
	}
	d.report.Native = time.Since(began).Seconds()
	d.report.Identical = bytes.Equal(got, want)
	if !d.report.Identical {
		return demoFailed(fmt.Sprintf("the result (%d bytes) differs from that of the plain run (%d bytes)", len(got), len(want)))
	}
	d.report.Top = top(got, 10)
	d.s.note("the result equals that of a plain run on this PC, byte for byte (%d bytes)", len(got))
	return nil
}

// gather lays the Go files of a tree into a folder of the same shape, by hard links where the disk allows it.
func gather(ctx context.Context, tree, to string) (files int, size int64, err error) {
	err = filepath.WalkDir(tree, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || filepath.Ext(name) != ".go" {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		inside, err := filepath.Rel(tree, name)
		if err != nil {
			return err
		}
		target := filepath.Join(to, inside)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		files, size = files+1, size+fi.Size()
		if os.Link(name, target) == nil {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(target, text, 0o644)
	})
	return files, size, err
}

func demoFailed(message string) error {
	return &job.Failure{Code: job.CodeVerification, Message: "demo: " + message, Hint: "please report this with the output of hpips demo --keep"}
}

// murder kills one provider while it holds running tasks, once a part of the job is done.
type murder struct {
	net    *network
	chain  *chronicle
	victim string
}

func (m *murder) step(ctx context.Context, st job.Status, s *shell) error {
	if m.victim != "" || st.Tasks.Total == 0 || st.Tasks.Done < st.Tasks.Total/8 {
		return nil
	}
	p := m.net.busyProvider(ctx)
	if p == nil {
		return nil
	}
	if err := p.kill(); err != nil {
		return fmt.Errorf("kill provider: %w", err)
	}
	m.victim = p.status.Node
	m.chain.lost(m.victim)
	s.note("\nkilled process %d, provider %s, which was running a task", p.cmd.Process.Pid, p.status.Node)
	return nil
}

// carry runs one job on the network and returns its end and its result's bytes.
func (d *demo) carry(ctx context.Context, spec job.Spec, watch func(job.Status)) (job.Status, []byte, error) {
	s := *d.s
	s.home = d.net.requester().home
	if d.s.formal() {
		s.quiet = true
	}
	api, err := s.open()
	if err != nil {
		return job.Status{}, nil, err
	}
	defer api.Close()
	if err := s.upload(ctx, api, &spec); err != nil {
		return job.Status{}, nil, err
	}
	id, err := api.Submit(ctx, spec, false)
	if err != nil {
		return job.Status{}, nil, err
	}
	step, end := s.progress()
	st, err := s.watch(ctx, id, func(st job.Status) {
		if step != nil {
			step(st)
		}
		watch(st)
	})
	end()
	if err != nil {
		return st, nil, err
	}
	d.report.Jobs = append(d.report.Jobs, st)
	if st.Error != nil {
		return st, nil, st.Error
	}
	d.s.note("%s", summary(st))
	r, err := api.Read(ctx, st.Result, time.Minute)
	if err != nil {
		return st, nil, err
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	return st, text, err
}

// render draws a picture in tiles on what is left of the network.
func (d *demo) render(ctx context.Context) error {
	d.s.note("\nrender %d×%d in %d tiles", demoWidth, demoHeight, demoAcross*demoDown)
	module := filepath.Join(d.examples, "render", "render.wasm")
	var args []string
	for _, n := range []int{demoWidth, demoHeight, demoSamples, demoAcross, demoDown} {
		args = append(args, strconv.Itoa(n))
	}
	spec := job.Spec{Kind: job.Map, Name: "render", Run: job.Run{WASM: module, Args: args}, Over: &job.Over{Count: demoAcross * demoDown},
		Reduce: &job.Reduce{Run: job.Run{WASM: module, Args: []string{"reduce"}}}}
	_, picture, err := d.carry(ctx, spec, func(job.Status) {})
	if err != nil {
		return err
	}
	shape, err := png.DecodeConfig(bytes.NewReader(picture))
	if err != nil || shape.Width != demoWidth || shape.Height != demoHeight {
		return demoFailed(fmt.Sprintf("the picture is %d×%d (%v)", shape.Width, shape.Height, err))
	}
	if err := os.WriteFile(d.picture, picture, 0o644); err != nil {
		return cannotWrite(d.picture, err)
	}
	d.report.Picture = d.picture
	return nil
}

// top picks the identifiers with the highest counts out of "identifier\tcount\tfiles" lines.
func top(text []byte, n int) []identifier {
	var all []identifier
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) != 3 {
			continue
		}
		count, errCount := strconv.Atoi(f[1])
		files, errFiles := strconv.Atoi(f[2])
		if errCount == nil && errFiles == nil {
			all = append(all, identifier{f[0], count, files})
		}
	}
	slices.SortStableFunc(all, func(a, b identifier) int { return cmp.Compare(b.Count, a.Count) })
	return all[:min(n, len(all))]
}

// table ends the demo for people.
func (d *demo) table() {
	r := d.report
	w := tabwriter.NewWriter(d.s.out, 0, 4, 2, ' ', 0)
	fmt.Fprint(w, "\ntop identifiers\tcount\tfiles\n")
	for _, t := range r.Top {
		fmt.Fprintf(w, "  %s\t%d\t%d\n", t.Name, t.Count, t.Files)
	}
	fmt.Fprint(w, "\njob\ttasks\texecutions\tverified\tlost\trun again\tseconds\n")
	for _, j := range r.Jobs {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%.1f\n", j.Name, j.Tasks.Total, j.Executions, j.Verified, j.Tasks.Lost, j.Tasks.Rerun, j.Seconds)
	}
	fmt.Fprint(w, "\nshare of the work")
	for _, j := range r.Jobs {
		fmt.Fprintf(w, "\t%s", j.Name)
	}
	fmt.Fprintln(w)
	for _, node := range d.net.nodes[1:] {
		id := node.status.Node
		fmt.Fprintf(w, "  %s", id)
		for _, j := range r.Jobs {
			share := 0.0
			for _, s := range j.Nodes {
				if s.Node == id {
					share = s.Share
				}
			}
			fmt.Fprintf(w, "\t%.0f %%", 100*share)
		}
		if id == r.Killed {
			fmt.Fprint(w, "\tkilled")
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // columns of the next table are its own
	r.Chain.tell(w)
	_ = w.Flush()
	r.Money.tell(w, r.Killed)
	fmt.Fprintf(w, "\nconcordance equals the plain run\tyes\npicture\t%s\nwall time\t%.1f s\n", r.Picture, r.Seconds)
	_ = w.Flush() // a reader that is gone needs no table
}

func (d *demo) howToUse() {
	home := d.net.requester().home
	d.s.note("\nthe network stays up; use it with:\n  hpips --home %s status\n  hpips --home %s run %s -- alice", home, home, filepath.Join(d.examples, "hello", "hello.wasm"))
	pids := ""
	for _, p := range d.net.nodes {
		if p.status.Node != d.report.Killed {
			pids += " " + strconv.Itoa(p.cmd.Process.Pid)
		}
	}
	d.s.note("stop it with:\n  kill%[1]s; while kill -0%[1]s 2>/dev/null; do sleep 1; done; rm -r %[2]s", pids, d.dir) // a node that ends still writes
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}
