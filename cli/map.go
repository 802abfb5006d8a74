package cli

import (
	"context"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
)

// maxPrinted is the largest text result that map prints, in bytes.
const maxPrinted = 1 << 20

func (s *shell) mapCommand() *cobra.Command {
	var a asked
	c := &cobra.Command{
		Use:   "map [flags] PROG.wasm --over WHAT [flags] [--] [ARG…]",
		Short: "Run a program over the parts of an input, on all nodes at once",
		Long: `Run a WASI program once for each part of an input, and then a reduce, if one is given, over all their outputs.
--over PATH or CID    a file or folder, cut by --split: file (default), bytes:N, lines:N, parts:N
       lines:N:PATH   a file, N lines a part            count:N   N tasks without an input
       matrix:SPEC    every combination of named values, such as matrix:size=1..10;mode=a,b
A task sees HPIPS_INDEX, HPIPS_COUNT and HPIPS_INPUT, the path of its part. The reduce finds all outputs under /in, sorted, and what it prints is
the result; it gets the same arguments unless --reduce-arg is given.`,
		Example: `  hpips map concordance.wasm --over src/ --split parts:128 --reduce concordance.wasm --reduce-arg reduce
  hpips map primes.wasm --over count:100 --reduce primes.wasm -- 1000000
  hpips map sort.wasm --over tables/ --check sorted.wasm`,
		RunE: func(c *cobra.Command, args []string) error {
			module, rest, err := a.parse(c, args)
			if err != nil {
				return err
			}
			if err := a.fill(c, job.Map, module, rest, s.output.keeps); err != nil {
				return err
			}
			if a.spec.Over, err = parseOver(a.over, a.split); err != nil {
				return usage(c, err.Error())
			}
			if a.reduce != "" {
				a.spec.Reduce = &job.Reduce{Run: a.program(a.reduce, rest)}
				a.spec.Reduce.Run.Env = a.spec.Run.Env
				if c.Flags().Changed("reduce-arg") {
					a.spec.Reduce.Run.Args = a.reduceArgs
				}
			} else if c.Flags().Changed("reduce-arg") {
				return usage(c, "--reduce-arg needs --reduce")
			}
			return s.submit(c.Context(), &a, "")
		},
	}
	a.flags(c)
	f := c.Flags()
	f.StringVar(&a.over, "over", "", "what to range over: PATH, CID, lines:N:PATH, count:N or matrix:SPEC")
	f.StringVar(&a.split, "split", "", "how to cut it: file, bytes:N, lines:N or parts:N (default file)")
	f.StringVar(&a.reduce, "reduce", "", "program that makes one result of all outputs")
	f.StringArrayVar(&a.reduceArgs, "reduce-arg", nil, "argument of the reduce (repeatable; default: those of the program)")
	f.Float64Var(&a.spec.Verify.Rate, "rate", 0, "share of tasks that is checked by one more copy, with --verify jury (default 0.05)")
	return c
}

func (s *shell) attendMap(ctx context.Context, id string) error {
	step, end := s.progress()
	s.note("job %s  (Ctrl-C detaches; the job goes on)", id)
	st, err := s.watch(ctx, id, step)
	end()
	if ctx.Err() != nil {
		return s.detached(id)
	}
	if err != nil {
		return err
	}
	s.note("%s", summary(st))
	s.paid(ctx, id)
	if st.State == job.Settled && !s.formal() && !s.quiet {
		show := func(api *client.Client) error { return s.printResult(ctx, api, st.Result) }
		if err := s.steadily(ctx, show); err != nil {
			return err
		}
	}
	if err := s.showEnd(st, st, nil); err != nil {
		return err
	}
	return ended(st)
}

// printResult prints a result that is a short text, and of any other its address and how to get it.
func (s *shell) printResult(ctx context.Context, api *client.Client, result string) error {
	l, err := api.List(ctx, result, time.Minute)
	if err != nil {
		return err
	}
	if l.Kind == "file" && l.Size <= maxPrinted {
		r, err := api.Read(ctx, result, time.Minute)
		if err != nil {
			return err
		}
		defer r.Close()
		text, err := io.ReadAll(r)
		if err != nil {
			return fmt.Errorf("read result %s: %w", result, err)
		}
		if utf8.Valid(text) {
			_, err = s.out.Write(text)
			return err
		}
	}
	s.note("the result is a %s of %s; get it with: hpips get %s", l.Kind, bytesText(l.Size), result)
	_, err = fmt.Fprintln(s.out, result)
	return err
}
