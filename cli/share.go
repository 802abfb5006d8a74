package cli

import (
	"fmt"
	"io"
	"slices"
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
		Short: "What this home's node earned and lost, day by day, and each redemption with its transaction",
		Long: `What this home's node, or the one that is named, earned on the last days: of each day what was earned, the 90 % of it, what of that is held as the
node's bond, bonus and duty pay (a day that is not over is marked, and may get more), and what it lost; each redemption with its transaction, its block, what was promised,
the fee out of it, what is paid and levied, or lost, and what it was for; and each loss: pay that went back to its payer, since the node was convicted before it was final,
or what was taken from the bond. Where the lease's rates are this home's of now or the default ones, it says what each resource cost.`,
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
	fmt.Fprintln(w, "\nDAY\tASSET\tEARNED\tPAID\tHELD\tLEVIED\tBONUS\tDUTY\tLOST")
	for _, d := range e.Days {
		dayRows(w, d)
	}
	redeemedRows(w, e.Redemptions)
	lossRows(w, e.Losses)
}

// dayRows writes what a node had of a day, a line for each asset that it earned or lost.
func dayRows(w io.Writer, d ledger.EarnedDay) {
	day, bonus, duty := strconv.FormatUint(d.Day, 10), hpips(d.Bonus), hpips(d.Duty)
	if d.Open {
		day, bonus, duty = day+" (open)", "-", "-"
	}
	for _, a := range assetsOf(d) {
		lost := "0"
		if i := slices.IndexFunc(d.Lost, func(c ledger.Coin) bool { return c.Denom == a.Denom }); i >= 0 {
			lost = d.Lost[i].Amount
		}
		name, in := asset(a.Denom)
		others := bonus + "\t" + duty
		if a.Denom != money.Denom { // bonus and duty pay are in HPIPS
			others = "\t"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", day, name, in(a.Gross), in(a.Paid), in(a.Held), in(a.Levied), others, in(lost))
	}
}

// assetsOf are the assets of which a day has a line: those that were earned, those that were only lost, or else HPIPS.
func assetsOf(d ledger.EarnedDay) []ledger.AssetDay {
	all := slices.Clone(d.Assets)
	also := func(denom string) {
		if !slices.ContainsFunc(all, func(a ledger.AssetDay) bool { return a.Denom == denom }) {
			all = append(all, ledger.AssetDay{Denom: denom, Gross: "0", Paid: "0", Held: "0", Levied: "0"})
		}
	}
	for _, c := range d.Lost {
		also(c.Denom)
	}
	if len(all) == 0 {
		also(money.Denom)
	}
	return all
}

// asset is how tables name an asset, and how they write an amount of its base units.
func asset(denom string) (name string, in func(base string) string) {
	if denom == money.Denom {
		return "HPIPS", hpips
	}
	return denom, func(base string) string { return base }
}

// redeemedRows writes what became of each redemption.
func redeemedRows(w io.Writer, all []ledger.Redemption) {
	if len(all) == 0 {
		fmt.Fprintln(w, "\nnothing was redeemed yet: a node redeems when a lease ends, and daily")
		return
	}
	fmt.Fprintln(w, "\nTIME\tBLOCK\tASSET\tAMOUNT\tFEE\tPAID\tLEVIED\tLOST\tTASKS\tCPU\tLEASE\tTX")
	for _, r := range all {
		name, in := asset(r.Denom)
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%.12s\t%s\n", r.Time.Local().Format(time.DateTime), r.Height, name, in(r.Amount), hpips(r.Fee), in(r.Paid), in(r.Levied), in(r.Lost),
			r.Usage.Tasks, time.Duration(r.Usage.CPU).Round(time.Millisecond), r.Lease, r.Tx)
		costs(w, r.Costs, in)
	}
	fmt.Fprintln(w, "\nAMOUNT less FEE is earned; PAID is nine tenths of it, and LEVIED goes to all holders. What is LOST went back to its payer: the node was convicted before it was final.")
}

// lossWords say in a table what a loss was.
var lossWords = map[string]string{ledger.Refunded: "pay went back to its payer", ledger.Slashed: "taken from the bond"}

// lossRows lists what a node lost, if it lost anything.
func lossRows(w io.Writer, all []ledger.Loss) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintln(w, "\nTIME\tBLOCK\tASSET\tLOST\tWHAT\tLEASE")
	for _, one := range all {
		name, in := asset(one.Denom)
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%.12s\n", one.Time.Local().Format(time.DateTime), one.Height, name, in(one.Amount), lossWords[one.What], one.Lease)
	}
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
