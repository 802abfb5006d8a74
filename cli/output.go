package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"go.yaml.in/yaml/v3"

	"github.com/hpips/hpips/api"
	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
)

// outputFlag is -o: a word is a format, a path is a guest folder to keep.
type outputFlag struct {
	format string
	keeps  []string
}

func formats() []string { return []string{"table", "wide", "json", "yaml"} }

func (o *outputFlag) String() string { return o.format }
func (o *outputFlag) Type() string   { return "FORMAT" }

// Set takes one -o.
func (o *outputFlag) Set(v string) error {
	switch {
	case slices.Contains(formats(), v):
		o.format = v
	case strings.HasPrefix(v, "/"):
		o.keeps = append(o.keeps, v)
	default:
		return fmt.Errorf("%q is neither a format (%s) nor a guest folder, which begins with /", v, strings.Join(formats(), ", "))
	}
	return nil
}

// formatIn finds -o json or -o yaml in arguments that could not be read as a whole, so that the complaint has the format that was asked for.
func formatIn(args []string) string {
	for i, a := range args {
		if a == "--" {
			break
		}
		value, ok := strings.CutPrefix(a, "--output=")
		if !ok && (a == "-o" || a == "--output") && i+1 < len(args) {
			value, ok = args[i+1], true
		}
		if !ok {
			value, ok = strings.CutPrefix(a, "-o")
			value = strings.TrimPrefix(value, "=")
		}
		if ok && slices.Contains(formats(), value) {
			return value
		}
	}
	return ""
}

// formal reports whether a program reads the output.
func (s *shell) formal() bool { return s.output.format == "json" || s.output.format == "yaml" }

// show prints what a command has to tell: v for programs, id alone with --quiet, and what human writes for people. id may be "".
func (s *shell) show(v any, id string, human func(w io.Writer)) error {
	switch {
	case s.formal():
		return s.encode(v)
	case s.quiet && id != "":
		_, err := fmt.Fprintln(s.out, id)
		return err
	case s.quiet:
		return nil
	}
	t := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	human(t)
	return t.Flush()
}

// encode writes v as one line of JSON, or as YAML with the same names in the same order.
func (s *shell) encode(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if s.output.format == "yaml" {
		if text, err = toYAML(text); err != nil {
			return err
		}
	} else {
		text = append(text, '\n')
	}
	_, err = s.out.Write(text)
	return err
}

// toYAML rewrites JSON, which is YAML in flow style, in block style.
func toYAML(text []byte) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	plain(&doc)
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return nil, err
	}
	return []byte(b.String()), enc.Close()
}

func plain(n *yaml.Node) {
	if len(n.Content) > 0 || n.Kind == yaml.ScalarNode {
		n.Style = 0
	}
	for _, c := range n.Content {
		plain(c)
	}
}

// fail tells what went wrong and returns the exit code for it.
func (s *shell) fail(ctx context.Context, err error) int {
	f := words(ctx, err)
	if s.formal() {
		if s.encode(client.ErrorBody{Error: *f}) == nil {
			return f.ExitCode(exitHPIPS)
		}
	}
	s.complain(f)
	return f.ExitCode(exitHPIPS)
}

// complain writes a failure for people.
func (s *shell) complain(f *job.Failure) {
	fmt.Fprintf(s.err, "hpips: %s\n", f.Message)
	if f.Hint != "" {
		fmt.Fprintf(s.err, "  hint: %s\n", f.Hint)
	}
}

// words finds the words for people in an error of any command.
func words(ctx context.Context, err error) *job.Failure {
	var f *job.Failure
	if errors.As(err, &f) {
		return f
	}
	if ctx.Err() != nil {
		return &job.Failure{Code: job.CodeCancelled, Message: "interrupted"}
	}
	if errors.Is(err, client.ErrCut) {
		return &job.Failure{Code: job.CodeUnavailable, Message: "the node stopped in the middle of an answer", Hint: "see hpips status and hpips node logs"}
	}
	if f = api.AsFailure(err); f.Code != job.CodeInternal {
		return f
	}
	f.Hint = ""
	return f
}

// note tells progress to people: on standard error, and nothing to programs or with --quiet.
func (s *shell) note(format string, args ...any) {
	if !s.formal() && !s.quiet {
		fmt.Fprintf(s.err, format+"\n", args...)
	}
}

// bytesText is a number of bytes for people.
func bytesText(n int64) string {
	const step = 1024
	v, unit := float64(n), 0
	for v >= step && unit < 4 {
		v /= step
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGT"[unit-1])
}
