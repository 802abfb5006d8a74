package cli

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
)

func (p *purse) dayCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "day [DAY|DATE]",
		Short: "What is published of a day: earned, paid, levied, bonus, conversion, wash index",
		Long: `What is published of a day of the chain: of the last one that is closed, or of one that is named by its number (counted from 0 at genesis) or a date
(YYYY-MM-DD) that it lies in. Exits with 125 as long as no day is closed.`,
		Args:    optional("one day"),
		Example: "  hpips chain day\n  hpips chain day 17 -o json",
		RunE: func(c *cobra.Command, args []string) error {
			window, err := p.window()
			if err != nil {
				return err
			}
			defer window.Close()
			d, err := dayOf(c, window, first(args, ""))
			if err != nil {
				return err
			}
			return p.show(d, strconv.FormatUint(d.Day, 10), func(w io.Writer) { dayTable(w, d) })
		},
	}
}

// dayOf asks for the day that is named; "" is the last closed one.
func dayOf(c *cobra.Command, window *ledger.Ledger, text string) (ledger.Day, error) {
	if text == "" {
		return window.LastDay(c.Context())
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return window.Day(c.Context(), n)
	}
	date, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return ledger.Day{}, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%.40q is no day", text), Hint: "name its number, such as 17, or a date, such as 2026-11-26"}
	}
	n, err := window.DayAt(c.Context(), date)
	if err != nil {
		return ledger.Day{}, err
	}
	return window.Day(c.Context(), n)
}

// hpips writes a number of uhpips for people.
func hpips(base string) string {
	a, err := money.ParseBase(base)
	if err != nil {
		return base + " uhpips"
	}
	return a.String()
}

func dayTable(w io.Writer, d ledger.Day) {
	state := "open"
	if d.Closed && d.Time != nil {
		state = fmt.Sprintf("closed in block %d, %s", d.Height, d.Time.Local().Format(time.DateTime))
	}
	fmt.Fprintf(w, "day\t%d, %s\n", d.Day, state)
	fmt.Fprintf(w, "earned\t%s HPIPS\npaid\t%s HPIPS, %s of it held as bonds\nlevied\t%s HPIPS\nconverted\t%s HPIPS, bought for levies in other assets\nto the holders\t%s HPIPS, over the next day\n",
		hpips(d.Gross), hpips(d.Paid), hpips(d.Held), hpips(d.Levied), hpips(d.Converted), hpips(d.Streamed))
	fmt.Fprintf(w, "bonus\t%s HPIPS of %s budgeted; the fund holds %s\nduty pay\t%s HPIPS\nwash index\t%.6f, at most %.6f\ncirculating\t%s HPIPS\n", hpips(d.Bonus), hpips(d.Budget), hpips(d.Fund),
		hpips(d.Duty), d.WashIndex, d.Kappa, hpips(d.Circulating))
	for _, a := range d.Assets {
		if a.Denom != money.Denom {
			fmt.Fprintf(w, "in %s\tearned %s, paid %s, levied %s\n", a.Denom, a.Gross, a.Paid, a.Levied)
		}
	}
	if len(d.Providers) == 0 {
		return
	}
	fmt.Fprintln(w, "\nPROVIDER\tEARNED\tPAID\tBONUS\tDUTY\tOWNER")
	for _, e := range d.Providers {
		gross, paid := "0", "0"
		for _, a := range e.Assets {
			if a.Denom == money.Denom {
				gross, paid = a.Gross, a.Paid
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", e.Node, hpips(gross), hpips(paid), hpips(e.Bonus), hpips(e.Duty), e.Owner)
	}
}

func (p *purse) settleVerifyCommand() *cobra.Command {
	var day string
	c := &cobra.Command{
		Use:   "settle-verify",
		Short: "Recompute a day's payments from the blocks, and compare each; exits with 1 at the first that differs",
		Long: `Recompute a day from public blocks: leases, vouchers, redemptions, the 90 % and the levy, bonus and duty, and compare every payment and sum with what the
chain did and says. It needs the blocks from the day's oldest lease on: a node with --archive has them. Without --day: the last day that is closed.`,
		Args:    noArgs,
		Example: "  hpips chain settle-verify\n  hpips chain settle-verify --day 17",
		RunE: func(c *cobra.Command, _ []string) error {
			window, err := p.window()
			if err != nil {
				return err
			}
			defer window.Close()
			d, err := dayOf(c, window, day)
			if err != nil {
				return err
			}
			v, err := window.SettleVerify(c.Context(), d)
			if err != nil {
				return err
			}
			err = p.show(v, "", func(w io.Writer) {
				if v.Differs != "" {
					fmt.Fprintf(w, "DIFFERS\t%s\n", v.Differs)
					return
				}
				fmt.Fprintf(w, "OK\tday %d\npayments\t%d, %s HPIPS earned\nfrom the fund\t%d payments of bonus and duty\nblocks\t%d to %d\n", v.Day, v.Payments, hpips(d.Gross), v.FundPayments, v.From, v.To)
			})
			if err == nil && v.Differs != "" {
				return exit(exitWrong)
			}
			return err
		},
	}
	c.Flags().StringVar(&day, "day", "", "number or date of the day (default: the last closed one)")
	return c
}
