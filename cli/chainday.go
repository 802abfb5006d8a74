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
		Short: "What is published of a day: earned, paid, levied, bonus, conversion, wash index, largest holders and pairs, committee by network",
		Long: `What is published of a day of the chain: of the last one that is closed, or of one that is named by its number (counted from 0 at genesis) or a date
(YYYY-MM-DD) that it lies in. Exits with 125 as long as no day is closed, and for one that has not begun. Of a day that is not over, what is not fixed yet is "-" (null in JSON).

The largest holders (balance, escrow, open orders and bond of an account), the pairs of accounts that paid and earned most, and the committee by network are
reckoned by this command: from the day's blocks, and from the state after the last of them. What the node does not keep any more is "-" and says why; a
node with --archive keeps all. A network is an IPv4 /24 or an IPv6 /32; unseen/… is that of a seat which nobody has observed yet.`,
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
			if d, err = window.Publish(c.Context(), d); err != nil {
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
	state := "open: what it earned is so far, and what is - is fixed when it is over"
	if d.Closed && d.Time != nil {
		state = fmt.Sprintf("closed in block %d, %s", d.Height, d.Time.Local().Format(time.DateTime))
	}
	fmt.Fprintf(w, "day\t%d, %s\n", d.Day, state)
	fixed := func(known bool, text string) string {
		if !known {
			return "-"
		}
		return text
	}
	ended := d.Height > 0
	fmt.Fprintf(w, "earned\t%s HPIPS\npaid\t%s HPIPS, %s of it held as bonds\nlevied\t%s HPIPS\nconverted\t%s HPIPS, bought for levies in other assets\nto the holders\t%s\n",
		hpips(d.Gross), hpips(d.Paid), hpips(d.Held), hpips(d.Levied), hpips(d.Converted), fixed(ended, hpips(d.Streamed)+" HPIPS, over the next day"))
	fmt.Fprintf(w, "bonus\t%s\nduty pay\t%s\nwash index\t%s\ncirculating\t%s\n", fixed(d.Closed, hpips(d.Bonus)+" HPIPS of "+hpips(d.Budget)+" budgeted; the fund holds "+hpips(d.Fund)),
		fixed(d.Closed, hpips(d.Duty)+" HPIPS"), fixed(d.Closed, fmt.Sprintf("%.6f, at most %.6f", d.WashIndex, d.Kappa)), fixed(ended, hpips(d.Circulating)+" HPIPS"))
	for _, a := range d.Assets {
		if a.Denom != money.Denom {
			fmt.Fprintf(w, "in %s\tearned %s, paid %s, %s of it held, levied %s\n", a.Denom, a.Gross, a.Paid, a.Held, a.Levied)
		}
	}
	spread(w, d)
	providers(w, d.Providers)
	pairs(w, d.Pairs)
	holders(w, d.Holders)
	if n := d.Networks; n != nil && n.Seats > 0 {
		fmt.Fprintln(w, "\nNETWORK\tSEATS")
		for _, one := range n.Networks {
			fmt.Fprintf(w, "%s\t%d\n", one.Network, one.Seats)
		}
	}
	for _, note := range d.Notes {
		fmt.Fprintf(w, "\n%s\n", note)
	}
}

// spread says in a line each how much the largest have; what is not known is "-", and why stands below.
func spread(w io.Writer, d ledger.Day) {
	if h := d.Holders; h == nil {
		fmt.Fprintln(w, "largest holders\t-")
	} else {
		fmt.Fprintf(w, "largest holders\t%d of %s, with %s of what circulates, after block %d\n", len(h.Holders), job.Several(h.Accounts, "account"), percent(h.Share), h.Height)
	}
	sum, many := 0.0, 0
	for _, one := range d.Pairs {
		if one.Denom == money.Denom {
			sum, many = sum+one.Share, many+1
		}
	}
	if d.Pairs == nil {
		fmt.Fprintln(w, "largest pairs\t-")
	} else {
		fmt.Fprintf(w, "largest pairs\t%d, with %s of what was earned in HPIPS\n", many, percent(sum))
	}
	if n := d.Networks; n == nil {
		fmt.Fprintln(w, "committee\t-")
	} else {
		fmt.Fprintf(w, "committee\t%s in %s, after block %d\n", job.Several(n.Seats, "seat"), job.Several(len(n.Networks), "network"), n.Height)
	}
}

func percent(share float64) string { return strconv.FormatFloat(share*100, 'f', 2, 64) + " %" }

func providers(w io.Writer, all []ledger.Earned) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintln(w, "\nPROVIDER\tEARNED\tPAID\tBONUS\tDUTY\tOWNER")
	for _, e := range all {
		gross, paid := "0", "0"
		for _, a := range e.Assets {
			if a.Denom == money.Denom {
				gross, paid = a.Gross, a.Paid
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", e.Node, hpips(gross), hpips(paid), hpips(e.Bonus), hpips(e.Duty), e.Owner)
	}
}

// pairs tells who paid whom most.
func pairs(w io.Writer, all []ledger.Pair) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintln(w, "\nPAYER\tPAYEE\tNODES\tEARNED\tSHARE")
	for _, one := range all {
		amount := hpips(one.Amount)
		if one.Denom != money.Denom {
			amount = one.Amount + " " + one.Denom
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", one.Payer, one.Payee, one.Nodes, amount, percent(one.Share))
	}
}

func holders(w io.Writer, h *ledger.Holders) {
	if h == nil || len(h.Holders) == 0 {
		return
	}
	fmt.Fprintln(w, "\nHOLDER\tHOLDS\tSHARE")
	for _, one := range h.Holders {
		fmt.Fprintf(w, "%s\t%s\t%s\n", one.Address, hpips(one.Amount), percent(one.Share))
	}
}

func (p *purse) settleVerifyCommand() *cobra.Command {
	var day string
	c := &cobra.Command{
		Use:   "settle-verify",
		Short: "Recompute a day's payments and figures from the blocks, and compare each; exits with 1 at the first that differs",
		Long: `Recompute a day from public blocks: leases, vouchers, redemptions, the 90 %, what of it went into the provider's bond, the levy, bonus and duty, what was converted, streamed and circulates, and compare
every payment and sum with what the chain did and says, by the fee, the prices and the owners of that day. All that was redeemed and due must have been paid, or refused with a
reason. What cannot be recomputed is named, as "not reckoned" (notReckoned). It needs the blocks from the day's oldest lease on: a node with --archive has them.
Without --day: the last day that is closed.`,
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
			return p.settled(d, v)
		},
	}
	c.Flags().StringVar(&day, "day", "", "number or date of the day (default: the last closed one)")
	return c
}

// settled shows what a recomputation found; where something differs the command fails.
func (p *purse) settled(d ledger.Day, v ledger.Settlement) error {
	err := p.show(v, "", func(w io.Writer) {
		if v.Differs != "" {
			fmt.Fprintf(w, "DIFFERS\t%s\n", v.Differs)
			return
		}
		fmt.Fprintf(w, "OK\tday %d\npayments\t%d, %s HPIPS earned\nredeemed\t%s, each paid when it was due or waiting\nfrom the fund\t%d payments of bonus and duty\nblocks\t%d to %d\n",
			v.Day, v.Payments, hpips(d.Gross), job.Several(v.Redeemed, "claim"), v.FundPayments, v.From, v.To)
		for _, what := range v.NotReckoned {
			fmt.Fprintf(w, "not reckoned\t%s\n", what)
		}
	})
	if err == nil && v.Differs != "" {
		return exit(exitWrong)
	}
	return err
}
