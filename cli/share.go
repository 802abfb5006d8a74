package cli

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/node"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/voucher"
)

func (s *shell) shareCommand() *cobra.Command {
	p := &purse{shell: s}
	c := &cobra.Command{
		Use:     "share",
		Short:   "What this PC shares, and what that earns",
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
		Example: "  hpips share status\n  hpips share pause 2h\n  hpips share set away.cpu 50%\n  hpips share earnings",
	}
	p.chainFlag(c)
	p.keyFlags(c)
	c.AddCommand(p.sharingCommand(), p.earningsCommand(), p.leaveCommand(), p.stayCommand(),
		s.switchCommand("on", true, "This PC is shared as the other rules say."), s.switchCommand("off", false, "Nothing of this PC is shared; what runs for others stands still, and is handed back after a while. Your own jobs go on."),
		s.pauseCommand(), s.resumeCommand(), s.finishCommand(), s.setCommand(), s.limitsCommand(), s.scheduleCommand(), s.appsCommand(), s.devicesCommand(), s.benchmarkCommand(), s.priceCommand())
	return c
}

func (p *purse) earningsCommand() *cobra.Command {
	days := 7
	c := &cobra.Command{
		Use:   "earnings [NODE]",
		Short: "What this home's node earned, day by day, and each redemption with its transaction",
		Long: `What this home's node, or the one that is named, earned on the last days: of each day what was earned, the 90 % of it, what of that is held as the
node's bond, bonus and duty pay (a day that is not over is marked, and may get more); and each redemption with its transaction, its block, what was promised, the fee out
of it, what is paid and levied, and what it was for. Where the lease's rates are this home's of now or the default ones, it says what each resource cost.`,
		Args:    optional("one node"),
		Example: "  hpips share earnings\n  hpips share earnings --days 30 -o json",
		RunE: func(c *cobra.Command, args []string) error {
			if days < 1 || days > 366 {
				return usage(c, fmt.Sprintf("--days %d: want 1 to 366", days))
			}
			key, err := p.nodeKey(c, args)
			if err != nil {
				return err
			}
			window, err := p.window()
			if err != nil {
				return err
			}
			defer window.Close()
			e, err := window.Earnings(c.Context(), key, days)
			if err != nil {
				return err
			}
			e.Explain(p.rates()...)
			return p.show(e, "", func(w io.Writer) { earningsTable(w, e) })
		},
	}
	c.Flags().IntVar(&days, "days", days, "the last so many days")
	return c
}

func earningsTable(w io.Writer, e ledger.Earnings) {
	fmt.Fprintf(w, "node\t%s\nowner\t%s\n", e.Node, e.Owner)
	bondLines(w, e.Bond)
	fmt.Fprintln(w, "\nDAY\tASSET\tEARNED\tPAID\tHELD\tLEVIED\tBONUS\tDUTY")
	for _, d := range e.Days {
		day, bonus, duty := strconv.FormatUint(d.Day, 10), hpips(d.Bonus), hpips(d.Duty)
		if d.Open {
			day, bonus, duty = day+" (open)", "-", "-"
		}
		for _, a := range d.Assets {
			if a.Denom == money.Denom {
				fmt.Fprintf(w, "%s\tHPIPS\t%s\t%s\t%s\t%s\t%s\t%s\n", day, hpips(a.Gross), hpips(a.Paid), hpips(a.Held), hpips(a.Levied), bonus, duty)
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t\t\n", day, a.Denom, a.Gross, a.Paid, a.Held, a.Levied)
		}
		if len(d.Assets) == 0 {
			fmt.Fprintf(w, "%s\tHPIPS\t0.000000\t0.000000\t0.000000\t0.000000\t%s\t%s\n", day, bonus, duty)
		}
	}
	if len(e.Redemptions) == 0 {
		fmt.Fprintln(w, "\nnothing was redeemed yet: a node redeems when a lease ends, and daily")
		return
	}
	fmt.Fprintln(w, "\nTIME\tBLOCK\tASSET\tAMOUNT\tFEE\tPAID\tLEVIED\tTASKS\tCPU\tLEASE\tTX")
	for _, r := range e.Redemptions {
		in := func(base string) string { return base }
		if r.Denom == money.Denom {
			in = hpips
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%.12s\t%s\n", r.Time.Local().Format(time.DateTime), r.Height, r.Denom, in(r.Amount), hpips(r.Fee), in(r.Paid), in(r.Levied),
			r.Usage.Tasks, time.Duration(r.Usage.CPU).Round(time.Millisecond), r.Lease, r.Tx)
		costs(w, r.Costs, in)
	}
	fmt.Fprintln(w, "\nAMOUNT less FEE is earned; PAID is nine tenths of it, and LEVIED goes to all holders.")
}

// costs tells what each resource cost that cost anything.
func costs(w io.Writer, c *ledger.Costs, in func(string) string) {
	if c == nil {
		return
	}
	for _, one := range []struct {
		name string
		cost uint64
	}{{"CPU", c.CPU}, {"GPU", c.GPU}, {"memory", c.Memory}, {"disk", c.Disk}, {"sent", c.Sent}, {"work", c.Work}} {
		if one.cost > 0 {
			fmt.Fprintf(w, "  for %s\t\t\t%s\n", one.name, in(strconv.FormatUint(one.cost, 10)))
		}
	}
}

// rates are those that a lease of this home's node may have: the default ones, and what its settings say now.
func (p *purse) rates() []voucher.Rates {
	all := []voucher.Rates{market.DefaultRates}
	if c, err := node.Load(p.home); err == nil {
		all = append(all, c.Prices.Rates)
	}
	return all
}
