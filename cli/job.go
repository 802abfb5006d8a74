package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
)

func (s *shell) jobCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "job",
		Short:   "Jobs: hand in from a file, list, explain, wait, cancel, run again",
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
		Example: "  hpips job run job.yaml\n  hpips job why k3f9",
	}
	c.AddCommand(s.jobRunCommand(), s.jobListCommand(), s.jobShowCommand(), s.jobWhyCommand(), s.jobLogsCommand(),
		s.jobResultsCommand(), s.jobWaitCommand(), s.jobCancelCommand(), s.jobRerunCommand(), s.jobValidateCommand(), s.jobCostCommand())
	return c
}

// withJob is a command about one job that needs the node.
func (s *shell) withJob(use, short, example string, run func(ctx context.Context, api *client.Client, id string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Example: example, Args: exactly(1, "one job"),
		RunE: func(c *cobra.Command, args []string) error {
			api, err := s.open()
			if err != nil {
				return err
			}
			defer api.Close()
			return run(c.Context(), api, args[0])
		},
	}
}

// readSpec reads a job file strictly; what is wrong with it is told with the file and the line.
func readSpec(name string) (job.Spec, error) {
	f, err := os.Open(name)
	if err != nil {
		return job.Spec{}, cannotRead(name, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, job.MaxSpec+1))
	if err != nil {
		return job.Spec{}, cannotRead(name, err)
	}
	spec, err := job.Parse(text)
	if err == nil {
		err = spec.Filled().Check()
	}
	var wrong *job.Error
	if errors.As(err, &wrong) {
		return spec, &job.Failure{Code: job.CodeUsage, Message: name + ": " + wrong.Error(), Hint: wrong.Hint}
	}
	return spec, err
}

func (s *shell) jobRunCommand() *cobra.Command {
	var a asked
	c := &cobra.Command{
		Use:   "run FILE.yaml",
		Short: "Hand in the job that a file describes, and follow it",
		Long:  "Hand in the job that a file (YAML or JSON, hpips/v1) describes. Paths in it begin at the file's folder and are brought into the store.",
		Args:  exactly(1, "one file"),
		Example: `  hpips job run job.yaml
  hpips job run job.yaml --dry-run`,
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if a.spec, err = readSpec(args[0]); err != nil {
				return err
			}
			return s.submit(c.Context(), &a, filepath.Dir(args[0]))
		},
	}
	c.Flags().BoolVar(&a.dryRun, "dry-run", false, "print the job, the price ceiling and who could run it; run nothing")
	c.Flags().BoolVarP(&a.detach, "detach", "d", false, "print the job's id and come back at once")
	return c
}

func (s *shell) jobValidateCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "validate FILE.yaml",
		Short:   "Say whether a job file could be handed in; needs no node",
		Args:    exactly(1, "one file"),
		Example: "  hpips job validate job.yaml",
		RunE: func(_ *cobra.Command, args []string) error {
			spec, err := readSpec(args[0])
			if err != nil {
				return err
			}
			if err := located(&spec, filepath.Dir(args[0])); err != nil {
				return err
			}
			told := struct {
				Valid bool     `json:"valid"`
				Kind  job.Kind `json:"kind"`
				Name  string   `json:"name,omitempty"`
			}{true, spec.Kind, spec.Name}
			return s.show(told, "", func(w io.Writer) { fmt.Fprintf(w, "%s is a valid %s\n", args[0], spec.Kind) })
		},
	}
}

func (s *shell) jobListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "All jobs of this node, the newest first", Args: noArgs, Example: "  hpips job ls",
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := s.open()
			if err != nil {
				return err
			}
			defer api.Close()
			jobs, err := api.Jobs(c.Context())
			if err != nil {
				return err
			}
			if jobs == nil {
				jobs = []job.Status{}
			}
			told := struct {
				Jobs []job.Status `json:"jobs"`
			}{jobs}
			if s.quiet && !s.formal() {
				for _, st := range jobs {
					fmt.Fprintln(s.out, st.Job)
				}
				return nil
			}
			return s.show(told, "", func(w io.Writer) {
				fmt.Fprintln(w, "JOB\tKIND\tSTATE\tTASKS\tSECONDS\tCREATED\tNAME")
				for _, st := range jobs {
					fmt.Fprintf(w, "%s\t%s\t%s\t%d/%d\t%.1f\t%s\t%s\n", st.Job, st.Kind, st.State, st.Tasks.Done, st.Tasks.Total,
						st.Seconds, st.Created.Local().Format(time.DateTime), st.Name)
				}
			})
		},
	}
}

func (s *shell) jobShowCommand() *cobra.Command {
	return s.withJob("show JOB", "How a job is", "  hpips job show k3f9 -o json", func(ctx context.Context, api *client.Client, id string) error {
		st, err := api.Job(ctx, id)
		if err != nil {
			return err
		}
		return s.showStatus(st)
	})
}

// showStatus prints a job's status as the answer to a question: its failure is told, but is not the command's.
func (s *shell) showStatus(st job.Status) error {
	return s.show(st, st.Job, func(w io.Writer) {
		fmt.Fprintf(w, "job\t%s\nkind\t%s\nstate\t%s\n", st.Job, st.Kind, st.State)
		if st.Name != "" {
			fmt.Fprintf(w, "name\t%s\n", st.Name)
		}
		fmt.Fprintf(w, "tasks\t%d of %d done, %d lost, %d run again\nexecutions\t%d\nverified\t%d\nseconds\t%.1f\n",
			st.Tasks.Done, st.Tasks.Total, st.Tasks.Lost, st.Tasks.Rerun, st.Executions, st.Verified, st.Seconds)
		for _, n := range st.Nodes {
			fmt.Fprintf(w, "node\t%s  %s  %.0f %%\n", n.Node, job.Several(n.Tasks, "task"), 100*n.Share)
		}
		for _, n := range st.Odd {
			fmt.Fprintf(w, "wrong result\t%s\n", n)
		}
		if st.Doubtful+st.Wrong > 0 {
			fmt.Fprintf(w, "doubtful\t%s of a node that was convicted, and %s\n", job.Several(st.Doubtful, "result"), job.Several(st.Wrong, "wrong one"))
		}
		if st.Result != "" {
			fmt.Fprintf(w, "result\t%s\n", st.Result)
		}
		for guest, content := range st.Outputs {
			fmt.Fprintf(w, "output\t%s  %s  %s\n", guest, bytesText(content.Size), content.CID)
		}
		if st.State.Final() {
			fmt.Fprintf(w, "exit code\t%d\n", st.ExitCode)
		}
		if st.Error != nil {
			fmt.Fprintf(w, "error\t%s: %s\n", st.Error.Code, st.Error.Message)
			if st.Error.Hint != "" {
				fmt.Fprintf(w, "hint\t%s\n", st.Error.Hint)
			}
		}
	})
}

func (s *shell) jobWhyCommand() *cobra.Command {
	return s.withJob("why JOB", "Where a job stands, and why", "  hpips job why k3f9", func(ctx context.Context, api *client.Client, id string) error {
		why, err := api.Why(ctx, id)
		if err != nil {
			return err
		}
		return s.show(why, why.Job, func(w io.Writer) {
			fmt.Fprintf(w, "%s: %s\n", why.State, why.Summary)
			if why.Asked > 0 {
				fmt.Fprintf(w, "asked %s, %d accepted\n", job.Several(why.Asked, "node"), why.Accepted)
			}
			for _, r := range why.Rejected {
				fmt.Fprintf(w, "  %d\t%s\n", r.Count, r.Reason)
			}
			for _, e := range why.Events {
				fmt.Fprintf(w, "%s\t%s\t%s\n", e.Time.Local().Format(time.TimeOnly), e.State, e.Text)
			}
		})
	})
}

func (s *shell) jobLogsCommand() *cobra.Command {
	task := int64(-1)
	c := s.withJob("logs JOB", "What a job's tasks wrote to standard error, and how they ended", "  hpips job logs k3f9 --task 7",
		func(ctx context.Context, api *client.Client, id string) error {
			logs, err := api.Logs(ctx, id, task)
			if err != nil {
				return err
			}
			if logs == nil {
				logs = []job.Log{}
			}
			if s.formal() {
				return s.encode(struct {
					Logs []job.Log `json:"logs"`
				}{logs})
			}
			for _, l := range logs {
				fmt.Fprintf(s.out, "task %d on %s: %s, exit code %d, %.3f s, %s%s  %s\n", l.Task, l.Node, l.End, l.Exit,
					time.Duration(l.Usage.Wall).Seconds(), bytesText(l.Usage.Memory), workText(l.Usage.Work), l.Message)
				if l.Doubt != "" {
					fmt.Fprintf(s.out, "  its result is %s\n", l.Doubt)
				}
				if l.Stderr != "" {
					fmt.Fprint(s.out, l.Stderr)
				}
			}
			return nil
		})
	c.Flags().Int64Var(&task, "task", task, "index of one task (default all)")
	return c
}

// workText adds the instructions of a task, where they were counted.
func workText(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %s", job.Several(n, "instruction"))
}

func (s *shell) jobResultsCommand() *cobra.Command {
	var target string
	var force bool
	c := s.withJob("results JOB [-O PATH]", "Write a job's results to this PC", "  hpips job results k3f9 -O results",
		func(ctx context.Context, api *client.Client, id string) error {
			st, err := api.Job(ctx, id)
			if err != nil {
				return err
			}
			if st.Result == "" {
				return &job.Failure{Code: job.CodeNotFound, Message: fmt.Sprintf("job %s is %s and has no result", st.Job, st.State), Hint: "hpips job why " + st.Job}
			}
			if target == "-" {
				return s.cat(ctx, api, st.Result, time.Minute)
			}
			if target == "" {
				target = st.Job
			}
			if err := s.results(ctx, api, st, target, force); err != nil {
				return err
			}
			told := struct {
				Job    string `json:"job"`
				Result string `json:"result"`
				Path   string `json:"path"`
			}{st.Job, st.Result, absolute(target, workingDir())}
			return s.show(told, st.Result, func(w io.Writer) { fmt.Fprintf(w, "%s\t%s\n", st.Result, target) })
		})
	c.Flags().StringVarP(&target, "out", "O", "", "where to write them (default ./JOB); - prints the result")
	c.Flags().BoolVar(&force, "force", false, "replace what is there")
	return c
}

// results writes a job's result to target; with kept folders target is a folder of "stdout" and the folders by their names.
func (s *shell) results(ctx context.Context, api *client.Client, st job.Status, target string, force bool) error {
	if len(st.Outputs) == 0 {
		_, err := s.get(ctx, api, st.Result, target, force, time.Minute)
		return err
	}
	if err := free(target, force); err != nil {
		return err
	}
	if err := os.MkdirAll(target, 0o755); err != nil {
		return cannotWrite(target, err)
	}
	if _, err := s.get(ctx, api, st.Result, filepath.Join(target, "stdout"), force, time.Minute); err != nil {
		return err
	}
	for guest, content := range st.Outputs {
		if err := s.write(ctx, api, content, filepath.Join(target, path.Base(guest)), force); err != nil {
			return err
		}
	}
	return nil
}

func workingDir() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	return dir
}

func (s *shell) jobWaitCommand() *cobra.Command {
	return s.withJob("wait JOB", "Follow a job to its end and exit with its code", "  hpips job wait k3f9", func(ctx context.Context, api *client.Client, id string) error {
		st, err := api.Job(ctx, id)
		if err != nil {
			return err
		}
		step, end := s.progress()
		last, err := s.watch(ctx, st.Job, step)
		end()
		if ctx.Err() != nil {
			return s.detached(st.Job)
		}
		if err != nil {
			return err
		}
		if err := s.showEnd(last, last, func(w io.Writer) { fmt.Fprintln(w, summary(last)) }); err != nil {
			return err
		}
		return ended(last)
	})
}

func (s *shell) jobCancelCommand() *cobra.Command {
	return s.withJob("cancel JOB", "Stop a job", "  hpips job cancel k3f9", func(ctx context.Context, api *client.Client, id string) error {
		if err := api.Cancel(ctx, id); err != nil {
			return err
		}
		st, err := api.Job(ctx, id)
		if err != nil {
			return err
		}
		if !st.State.Final() {
			if st, err = s.watch(ctx, st.Job, nil); err != nil {
				return err
			}
		}
		return s.show(st, st.Job, func(w io.Writer) { fmt.Fprintln(w, summary(st)) })
	})
}

func (s *shell) jobRerunCommand() *cobra.Command {
	var a asked
	c := s.withJob("rerun JOB", "Hand the same job in again, and follow it", "  hpips job rerun k3f9", func(ctx context.Context, api *client.Client, id string) error {
		fresh, err := api.Rerun(ctx, id)
		if err != nil {
			return err
		}
		st, err := api.Job(ctx, fresh)
		if err != nil {
			return err
		}
		a.spec.Kind = st.Kind
		return s.attend(ctx, fresh, &a, false)
	})
	c.Flags().BoolVarP(&a.detach, "detach", "d", false, "print the new id and come back at once")
	return c
}
