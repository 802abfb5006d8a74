package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
)

func (s *shell) jobCostCommand() *cobra.Command {
	return s.withJob("cost JOB", "What a job has cost so far, and to whom", "  hpips job cost k3f9", func(ctx context.Context, api *client.Client, id string) error {
		cost, err := api.Cost(ctx, id)
		if err != nil {
			return err
		}
		return s.show(cost, cost.Job, func(w io.Writer) { costTable(w, cost) })
	})
}

func costTable(w io.Writer, c job.Cost) {
	fmt.Fprintf(w, "job\t%s\n", c.Job)
	if c.Ceiling != "" {
		fmt.Fprintf(w, "ceiling\t%s\n", c.Ceiling)
	}
	fmt.Fprintf(w, "paid\t%s HPIPS\nto juries\t%s HPIPS so far\ndeposited\t%s HPIPS; what is not paid returns\n", money.Amount(c.Promised), money.Amount(c.Juries), money.Amount(c.Deposited))
	if len(c.Leases) == 0 {
		fmt.Fprintln(w, "\tall of its work was given away, or done here")
		return
	}
	fmt.Fprintln(w, "\nPROVIDER\tPAID\tJURIES\tDEPOSITED\tTASKS\tCPU\tSTATE")
	for _, l := range c.Leases {
		state := "open"
		if l.Closed {
			state = "closed"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", l.Node, money.Amount(l.Promised), money.Amount(l.Juries), money.Amount(l.Deposited), l.Usage.Tasks, time.Duration(l.Usage.CPU).Round(time.Millisecond), state)
	}
}

// askTime is how long a job's price may hold it up.
const askTime = 5 * time.Second

// priced tells people what a job may cost before it is handed in, where it costs anything.
func (s *shell) priced(ctx context.Context, api *client.Client, spec job.Spec) {
	if s.formal() || s.quiet {
		return
	}
	ctx, stop := context.WithTimeout(ctx, askTime)
	defer stop()
	why, err := api.Preview(ctx, spec.Filled())
	if err != nil || why.Estimate == nil || why.Estimate.Most == 0 {
		return // whether it can run at all is for Submit to say
	}
	e := *why.Estimate
	juries := ""
	if e.Juries > 0 {
		juries = ", and for juries up to twice that"
	}
	s.note("price: about %s HPIPS for a minute of each task%s; at most %s in all (--price sets a ceiling)", money.Amount(e.Likely/max(e.Tasks, 1)), juries, money.Amount(e.Most))
}

// paid tells people what a job has cost, where it cost anything.
func (s *shell) paid(ctx context.Context, id string) {
	if s.formal() || s.quiet {
		return
	}
	_ = s.steadily(ctx, func(api *client.Client) error {
		cost, err := api.Cost(ctx, id)
		if err == nil && cost.Promised > 0 {
			s.note("paid: %s HPIPS (hpips job cost %s)", money.Amount(cost.Promised), id)
		}
		return err
	})
}
