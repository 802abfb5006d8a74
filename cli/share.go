package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/money"
)

func (s *shell) shareCommand() *cobra.Command {
	p := &purse{shell: s}
	c := &cobra.Command{
		Use:     "share",
		Short:   "What this PC shares, and what that earns",
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
		Example: "  hpips share status\n  hpips share earnings",
	}
	p.chainFlag(c)
	p.keyFlags(c)
	c.AddCommand(p.sharingCommand(), p.earningsCommand(), p.leaveCommand(), p.stayCommand())
	return c
}

func (p *purse) earningsCommand() *cobra.Command {
	days := 7
	c := &cobra.Command{
		Use:   "earnings [NODE]",
		Short: "What this home's node earned, day by day, and each redemption with its transaction",
		Long: `What this home's node, or the one that is named, earned on the last days: of each day what was earned, the 90 % of it, what of that is held as the
node's bond, bonus and duty pay; and each redemption with its transaction, its block and what it was for.`,
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
		for _, a := range d.Assets {
			if a.Denom == money.Denom {
				fmt.Fprintf(w, "%d\tHPIPS\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Day, hpips(a.Gross), hpips(a.Paid), hpips(a.Held), hpips(a.Levied), hpips(d.Bonus), hpips(d.Duty))
				continue
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t\t\n", d.Day, a.Denom, a.Gross, a.Paid, a.Held, a.Levied)
		}
		if len(d.Assets) == 0 {
			fmt.Fprintf(w, "%d\tHPIPS\t0.000000\t0.000000\t0.000000\t0.000000\t%s\t%s\n", d.Day, hpips(d.Bonus), hpips(d.Duty))
		}
	}
	if len(e.Redemptions) == 0 {
		fmt.Fprintln(w, "\nnothing was redeemed yet: a node redeems when a lease ends, and daily")
		return
	}
	fmt.Fprintln(w, "\nTIME\tBLOCK\tASSET\tAMOUNT\tTASKS\tCPU\tLEASE\tTX")
	for _, r := range e.Redemptions {
		amount := r.Amount
		if r.Denom == money.Denom {
			amount = hpips(amount)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%d\t%s\t%.12s\t%s\n", r.Time.Local().Format(time.DateTime), r.Height, r.Denom, amount, r.Usage.Tasks,
			time.Duration(r.Usage.CPU).Round(time.Millisecond), r.Lease, r.Tx)
	}
}
