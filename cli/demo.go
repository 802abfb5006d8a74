package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/hpips/hpips/spec/job"
)

// demo is one showing of the main job.
type demo struct {
	s        *shell
	examples string // folder with concordance/ and render/
	picture  string // where the PNG is written
	keep     bool
	dir      string // temporary
	net      *network
	chain    *chronicle // nil before the network is up
	began    time.Time
	report   demoReport
}

// demoReport is what demo tells programs.
type demoReport struct {
	OK        bool         `json:"ok"`
	Seconds   float64      `json:"seconds"`
	Providers int          `json:"providers"`
	Killed    string       `json:"killed"`    // node that was killed while it held tasks
	Identical bool         `json:"identical"` // the concordance equals that of the plain run, byte for byte
	Native    float64      `json:"nativeSeconds"`
	Files     int          `json:"inputFiles"`
	Bytes     int64        `json:"inputBytes"`
	Picture   string       `json:"picture"`
	Top       []identifier `json:"top"`
	Jobs      []job.Status `json:"jobs"`
	Chain     demoChain    `json:"chain"`
	Money     demoMoney    `json:"money"`
	Home      string       `json:"home,omitempty"` // of the requester, with --keep
	Error     *job.Failure `json:"error,omitempty"`
}

const demoProviders = 4

func (s *shell) demoCommand() *cobra.Command {
	d := demo{s: s, picture: filepath.Join(os.TempDir(), "hpips-demo.png"), report: demoReport{Top: []identifier{}, Jobs: []job.Status{}, Chain: demoChain{Committees: []demoTerm{}, Entered: []string{}}, Money: demoMoney{Providers: []demoEarned{}}}}
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show the main job: two jobs on a private network of five nodes on this PC",
		Long: `Start a private network on this PC, four providers and a requester as processes of their own, run two jobs on it, kill a provider in the middle of
the first, and compare its result with a plain run. Beside it the five run a chain with four seats, and its committee turns over.
Nothing is left running.`,
		Args:    noArgs,
		Example: "  hpips demo\n  hpips demo -o json\n  hpips demo --keep",
		RunE:    func(c *cobra.Command, _ []string) error { return d.show(c.Context()) },
	}
	c.Flags().StringVar(&d.examples, "examples", "", "folder of the built examples (default ./examples, or beside the folder of this program)")
	c.Flags().StringVar(&d.picture, "picture", d.picture, "where the rendered picture is written")
	c.Flags().BoolVar(&d.keep, "keep", false, "keep the network up and print how to use it")
	return c
}

// show runs the demo, and whatever happens, leaves nothing behind but what --keep asks for.
func (d *demo) show(ctx context.Context) (err error) {
	d.began = time.Now()
	if d.dir, err = os.MkdirTemp("", "hpips-demo-"); err != nil {
		return err
	}
	d.net = &network{dir: d.dir}
	err = d.play(ctx)
	kept := d.keep && err == nil
	if !kept {
		err = errors.Join(err, d.net.stop(), os.RemoveAll(d.dir))
	}
	d.report.OK, d.report.Seconds = err == nil, time.Since(d.began).Seconds()
	if err != nil {
		d.report.Error = words(ctx, err)
	}
	if d.s.formal() {
		if kept {
			d.report.Home = d.net.requester().home
		}
		err = d.s.encode(d.report)
	} else if err == nil {
		d.table()
	}
	if f := d.report.Error; f != nil {
		if !d.s.formal() {
			d.s.complain(f)
		}
		if ctx.Err() != nil {
			return exit(exitDetached)
		}
		return exit(f.ExitCode(exitHPIPS))
	}
	if kept && !d.s.formal() {
		d.howToUse()
	}
	return err
}

// play is the story.
//
//  1. The plain program is built, and the network starts.
//  2. Concordance: all Go source of this PC; one provider dies; the result is compared with the plain run.
//  3. Render: a picture in tiles.
//  4. Beside all that, the chain: its seats go from hand to hand, and it goes on without the provider that died.
//  5. The money: who lives has what was promised for the work, and the day is closed.
func (d *demo) play(ctx context.Context) error {
	tree, err := d.prepare(ctx)
	if err != nil {
		return err
	}
	if d.chain, err = d.chronicle(ctx); err != nil {
		return err
	}
	defer d.chain.close()
	if err := d.concordance(ctx, tree); err != nil {
		return err
	}
	if err := d.render(ctx); err != nil {
		return err
	}
	if d.report.Chain, err = d.chain.end(ctx); err != nil {
		return err
	}
	d.report.Money, err = d.settle(ctx)
	return err
}

// prepare finds what is needed, builds the plain program and starts the network; it returns the source tree.
func (d *demo) prepare(ctx context.Context) (string, error) {
	if err := d.findExamples(); err != nil {
		return "", err
	}
	root, err := goRoot(ctx)
	if err != nil {
		return "", err
	}
	d.s.note("starting 1 requester and %d providers on this PC …", demoProviders)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return buildPlain(ctx, filepath.Join(d.examples, "concordance"), d.plain()) })
	g.Go(func() error { return d.net.start(ctx, demoProviders) })
	if err := g.Wait(); err != nil {
		return "", err
	}
	d.report.Providers = demoProviders
	for i, p := range d.net.nodes {
		role := "provider"
		if i == 0 {
			role = "requester"
		}
		d.s.note("  %-9s  process %-7d  %s", role, p.cmd.Process.Pid, p.status.Node)
	}
	return filepath.Join(root, "src"), nil
}

func (d *demo) plain() string { return filepath.Join(d.dir, "concordance") }

// findExamples settles where the built examples are.
func (d *demo) findExamples() error {
	tried := []string{d.examples}
	if d.examples == "" {
		tried = []string{"examples"}
		if self, err := os.Executable(); err == nil {
			tried = append(tried, filepath.Join(filepath.Dir(self), "..", "examples"))
		}
	}
	for _, dir := range tried {
		if _, err := os.Stat(filepath.Join(dir, "concordance", "main.go")); err != nil {
			continue
		}
		for _, name := range []string{"concordance", "render"} {
			file := filepath.Join(dir, name, name+".wasm")
			if _, err := os.Stat(file); err != nil {
				return &job.Failure{Code: job.CodeNotFound, Message: file + " is not built", Hint: "run make build"}
			}
		}
		whole, err := filepath.Abs(dir)
		d.examples = whole
		return err
	}
	return &job.Failure{Code: job.CodeNotFound, Message: fmt.Sprintf("the examples are not at %q", tried), Hint: "run it in the folder of HPIPS, or name their folder with --examples DIR"}
}
