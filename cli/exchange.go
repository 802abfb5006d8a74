package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
)

// trader is the commands about the exchange: a purse, and the asset that is traded.
type trader struct {
	*purse
	asset string
}

func (s *shell) exchangeCommand() *cobra.Command {
	t := &trader{purse: &purse{shell: s}}
	c := &cobra.Command{
		Use:   "exchange",
		Short: "Trade HPIPS against other assets: batches, one price for all in a batch",
		Long: `Trade HPIPS against other assets that a vote has admitted. Orders have limits. They meet in batches that end by lot, and all that is traded in a batch
has one price; what an order does not get stays in the book until it is cancelled.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
		Example: `  hpips exchange book
  hpips exchange buy 10 --at 0.05 --asset CREDIT`,
	}
	t.chainFlag(c)
	t.keyFlags(c)
	c.PersistentFlags().StringVar(&t.asset, "asset", "", "name or denomination of the asset (default: the only one)")
	c.AddCommand(t.bookCommand(), t.priceCommand(), t.placeCommand("buy", ledger.Buy), t.placeCommand("sell", ledger.Sell), t.cancelCommand())
	return c
}

func (t *trader) bookCommand() *cobra.Command {
	limit := uint32(20)
	c := &cobra.Command{
		Use:     "book",
		Short:   "Open orders, the best of each side first, and the last batches",
		Args:    noArgs,
		Example: "  hpips exchange book -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			window, err := t.window()
			if err != nil {
				return err
			}
			defer window.Close()
			b, err := window.Book(c.Context(), t.asset, limit)
			if err != nil {
				return err
			}
			return t.show(b, "", func(w io.Writer) {
				fmt.Fprintf(w, "SIDE\tPRICE IN %s\tHPIPS\tORDER\tOWNER\n", b.Asset.Name)
				for _, list := range [][]ledger.Offer{b.Buys, b.Sells} {
					for _, o := range list {
						fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", o.Side, b.Asset.Text(o.Price), o.Left, o.ID, o.Owner)
					}
				}
				if b.Asset.Offered != "" && b.Asset.Offered != "0" {
					fmt.Fprintf(w, "levy\tasks\t\t\t%s %s for HPIPS, for the holders\n", b.Asset.Base(b.Asset.Offered), b.Asset.Name)
				}
				for _, one := range b.Batches {
					fmt.Fprintf(w, "traded\t%s\t%s\tblock %d\t\n", b.Asset.Text(one.Price), one.Traded, one.Height)
				}
			})
		},
	}
	c.Flags().Uint32VarP(&limit, "limit", "n", limit, "orders of each side at most")
	return c
}

func (t *trader) priceCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "price",
		Short:   "What one HPIPS cost in the last batch",
		Args:    noArgs,
		Example: "  hpips exchange price --asset CREDIT",
		RunE: func(c *cobra.Command, _ []string) error {
			window, err := t.window()
			if err != nil {
				return err
			}
			defer window.Close()
			all, err := window.Assets(c.Context())
			if err != nil {
				return err
			}
			if t.asset != "" || len(all) == 1 {
				one, err := window.Asset(c.Context(), t.asset)
				if err != nil {
					return err
				}
				all = []ledger.Asset{one}
			}
			told := struct {
				Assets []ledger.Asset `json:"assets"`
			}{all}
			return t.show(told, "", func(w io.Writer) {
				fmt.Fprintln(w, "ASSET\tLAST PRICE OF ONE HPIPS")
				for _, a := range all {
					last := "never traded"
					if a.LastPrice > 0 {
						last = a.Text(a.LastPrice)
					}
					fmt.Fprintf(w, "%s\t%s\n", a.Name, last)
				}
			})
		},
	}
}

// placed is an order that stands in the book.
type placed struct {
	ledger.Receipt
	ID     uint64       `json:"id"`
	Side   string       `json:"side"`
	Denom  string       `json:"denom"`
	Price  uint64       `json:"price"`
	Amount money.Amount `json:"amount"`
}

func (t *trader) placeCommand(side string, message func(owner, denom string, price uint64, a money.Amount) ledger.Message) *cobra.Command {
	var at string
	title := strings.ToUpper(side[:1]) + side[1:]
	c := &cobra.Command{
		Use:     side + " AMOUNT --at PRICE",
		Short:   title + " HPIPS at a limit, in the asset for one HPIPS; shows what it will do and asks",
		Args:    exactly(1, "an amount of HPIPS"),
		Example: "  hpips exchange " + side + " 10 --at 0.05 --asset CREDIT",
		RunE: func(c *cobra.Command, args []string) error {
			amount, err := parseAmount(args[0])
			if err != nil {
				return err
			}
			if amount == 0 {
				return &job.Failure{Code: job.CodeUsage, Message: "nothing is no amount", Hint: "name the HPIPS to " + side + ", such as 10"}
			}
			if at == "" {
				return usage(c, side+" needs --at PRICE: the limit, in the asset for one HPIPS")
			}
			if err := t.mayAsk(c); err != nil {
				return err
			}
			window, err := t.window()
			if err != nil {
				return err
			}
			defer window.Close()
			asset, err := window.Asset(c.Context(), t.asset)
			if err != nil {
				return err
			}
			price, err := asset.Parse(at)
			if err != nil {
				return err
			}
			from, err := t.signer()
			if err != nil {
				return err
			}
			what := fmt.Sprintf("%s %s HPIPS at %s %s each or better", side, amount, asset.Text(price), asset.Name)
			return asset.Words(t.done(c, window, from, what, func(r ledger.Receipt) any { return placed{r, r.Ordered(), side, asset.Denom, price, amount} },
				message(from.Address(), asset.Denom, price, amount)))
		},
	}
	t.signFlags(c)
	c.Flags().StringVar(&at, "at", "", "limit: so much of the asset for one HPIPS")
	return c
}

func (t *trader) cancelCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "cancel ORDER",
		Short:   "Take an order back; what it held returns at once",
		Args:    exactly(1, "an order's number"),
		Example: "  hpips exchange cancel 17",
		RunE: func(c *cobra.Command, args []string) error {
			id, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%.40q is no number of an order", args[0]), Hint: "hpips exchange book shows them"}
			}
			if err := t.mayAsk(c); err != nil {
				return err
			}
			window, err := t.window()
			if err != nil {
				return err
			}
			defer window.Close()
			from, err := t.signer()
			if err != nil {
				return err
			}
			type cancelled struct {
				ledger.Receipt
				ID uint64 `json:"id"`
			}
			return t.done(c, window, from, fmt.Sprintf("cancel order %d", id), func(r ledger.Receipt) any { return cancelled{r, id} }, ledger.CancelOrder(from.Address(), id))
		},
	}
	t.signFlags(c)
	return c
}
