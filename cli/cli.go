// Package cli keeps the commands of hpips: one file per noun, each a few lines over the node's API.
// It promises what docs/cli.md says: with -o json one object on the last line of standard output, failures too, and the documented exit codes.
// It leaves the work to the node, which it finds by its home folder, and starts no network of its own but in up and demo.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/engine/egress"
	"github.com/hpips/hpips/engine/wasm"
	"github.com/hpips/hpips/node"
	"github.com/hpips/hpips/spec/job"
)

// Version is the version of this program; the build writes it.
var Version = "dev"

// Checkpoint is a block that whoever joins may trust, GENESIS:HEIGHT:HASH; the build of a release writes it.
var Checkpoint = ""

// The exit codes that are the command line's own; those of failures stand at job.Failure.
const (
	exitHPIPS    = 125
	exitDetached = 130
)

// childCommand is how the program starts itself as the sandbox of a WASM lease.
const childCommand = "wasm-child"

// Main runs the command that the program was started with and returns its exit code.
func Main() int {
	if len(os.Args) > 1 && os.Args[1] == childCommand {
		return wasm.Child()
	}
	if len(os.Args) > 1 && os.Args[1] == node.WayChild {
		return egress.Child()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	return Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}

// shell is one invocation: where it reads and writes, and what the global flags say.
type shell struct {
	in       *os.File
	out, err io.Writer
	home     string
	output   outputFlag
	quiet    bool
	logLevel string
	logJSON  string
}

// exit ends a command whose outcome has been told already.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// Run runs one command line and returns its exit code.
func Run(ctx context.Context, args []string, in *os.File, out, errs io.Writer) int {
	s := &shell{in: in, out: out, err: errs}
	root := s.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var code exit
	if errors.As(err, &code) {
		return int(code)
	}
	if s.output.format == "" { // the flags may not have been read
		s.output.format = formatIn(args)
	}
	return s.fail(ctx, err)
}

func (s *shell) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "hpips",
		Short:         "Run programs on many PCs, safely",
		Long:          "hpips runs programs on your PCs and on those of others: one task or a million, in sandboxes, with results that are checked.",
		Version:       Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		Example: `  hpips up                                       # in one terminal: this PC becomes a node
  hpips run hello.wasm -- alice                  # in another: one task
  hpips map count.wasm --over books/ --reduce sum.wasm`,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, err.Error()) })
	f := root.PersistentFlags()
	f.StringVar(&s.home, "home", defaultHome(), "the node's folder: configuration, keys, store, logs")
	f.VarP(&s.output, "output", "o", "format: table, wide, json or yaml; of run and map also a guest folder to keep, /GUEST[:HOSTDIR]")
	f.BoolVarP(&s.quiet, "quiet", "q", false, "print the id or CID alone")
	f.StringVar(&s.logLevel, "log-level", "", "debug, info, warn or error (default info, or what config.toml says)")
	f.StringVar(&s.logJSON, "log-format", "", "text or json (default text)")
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error { return s.checkGlobals(c) }
	root.SetHelpCommand(helpCommand())
	root.AddCommand(s.upCommand(), s.statusCommand(), s.nodeCommand(), s.putCommand(), s.getCommand(), s.lsCommand(), s.imageCommand(),
		s.runCommand(), s.mapCommand(), s.jobCommand(), s.demoCommand(), s.walletCommand(), s.chainCommand(), s.govCommand(), s.exchangeCommand(), s.shareCommand(),
		s.marketCommand(), s.cdnCommand(), s.pinCommand(), s.unpinCommand(), s.filesCommand())
	return root
}

// helpCommand is help by a word, which refuses what there is no help for as any other mistake.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Help about a command",
		Example: "  hpips help map\n  hpips help job run",
		RunE: func(c *cobra.Command, args []string) error {
			about, rest, err := c.Root().Find(args)
			if err == nil && len(rest) > 0 {
				err = noArgs(about, rest[:1])
			}
			if err != nil {
				return err
			}
			return about.Help()
		},
	}
}

// checkGlobals refuses guest folders where there is no guest, and makes the home absolute.
func (s *shell) checkGlobals(c *cobra.Command) error {
	if len(s.output.keeps) > 0 && c.Name() != "run" && c.Name() != "map" {
		return usage(c, fmt.Sprintf("-o %s: only run and map keep guest folders", s.output.keeps[0]))
	}
	if s.home == "" {
		return usage(c, "there is no home folder for this user: name one with --home DIR")
	}
	home, err := filepath.Abs(s.home)
	if err != nil {
		return err
	}
	s.home = home
	return nil
}

func defaultHome() string {
	if home := os.Getenv("HPIPS_HOME"); home != "" {
		return home
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".hpips")
}

// open returns a client for the node of this home.
func (s *shell) open() (*client.Client, error) { return client.Open(s.home) }

// usage is a mistake in the command line.
func usage(c *cobra.Command, message string) error {
	return &job.Failure{Code: job.CodeUsage, Message: message, Hint: "see " + c.CommandPath() + " --help"}
}

// noArgs and exactly refuse arguments in words that name the command.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if c.HasSubCommands() {
		hint := "see " + c.CommandPath() + " --help"
		c.SuggestionsMinimumDistance = 2
		if like := c.SuggestionsFor(args[0]); len(like) > 0 {
			hint = "did you mean " + c.CommandPath() + " " + strings.Join(like, " or ") + "?"
		}
		return &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%s has no command %q", c.CommandPath(), args[0]), Hint: hint}
	}
	return usage(c, fmt.Sprintf("%s takes no argument, got %q", c.CommandPath(), args[0]))
}

func exactly(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < n {
			return usage(c, fmt.Sprintf("%s needs %s", c.CommandPath(), what))
		}
		if len(args) > n {
			return usage(c, fmt.Sprintf("%s takes %s, got %q as well", c.CommandPath(), what, args[n]))
		}
		return nil
	}
}

// terminal reports whether w is a screen that a line may be redrawn on.
func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
