package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/money"
)

// held is a named account and what it holds, in HPIPS where nothing else is said.
type held struct {
	Name string `json:"name,omitempty"`
	ledger.Balance
	Spendable money.Amount  `json:"spendable"`
	Escrowed  money.Amount  `json:"escrowed"` // deposits of its leases
	Orders    money.Amount  `json:"orders"`   // open sales on the exchange
	Bonded    money.Amount  `json:"bonded"`   // held of its nodes' pay
	Pending   money.Amount  `json:"pending"`  // redeemed, and final in a moment
	Reward    money.Amount  `json:"reward"`   // its share of the holders' stream: hpips wallet claim
	Assets    []ledger.Coin `json:"assets"`   // everything else, in base units
	Ordered   []ledger.Coin `json:"ordered"`  // of everything else, what open purchases on the exchange hold, in base units
}

func (p *purse) balancesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "balances [NAME|ADDRESS]",
		Short: "What the accounts of this wallet, or any account, hold",
		Long: `What the accounts of this wallet, or any account, hold: what can be spent, what lies in escrow for running leases, in open orders and as a bond, what was
earned and is final in a moment, and the share of the holders' reward that can be claimed.`,
		Args: optional("one name or address"),
		Example: `  hpips wallet balances
  hpips wallet balances hpips1…`,
		RunE: func(c *cobra.Command, args []string) error {
			list, err := p.named(first(args, ""))
			if err != nil {
				return err
			}
			window, err := p.window()
			if err != nil {
				return err
			}
			defer window.Close()
			told := struct {
				Accounts []held       `json:"accounts"`
				Total    money.Amount `json:"total"`
			}{Accounts: []held{}}
			for _, a := range list {
				h, err := holding(c.Context(), window, a)
				if err != nil {
					return err
				}
				told.Accounts = append(told.Accounts, h)
				told.Total += h.Spendable + h.Escrowed + h.Orders + h.Bonded
			}
			return p.show(told, told.Total.String(), func(w io.Writer) {
				fmt.Fprintln(w, "ACCOUNT\tADDRESS\tSPENDABLE\tESCROWED\tORDERS\tBONDED\tPENDING\tREWARD")
				for _, h := range told.Accounts {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", h.Name, h.Address, h.Spendable, h.Escrowed, h.Orders, h.Bonded, h.Pending, h.Reward)
					for _, other := range h.Assets {
						fmt.Fprintf(w, "\t\t%s %s\n", other.Amount, other.Denom)
					}
					for _, other := range h.Ordered {
						fmt.Fprintf(w, "\t\t\t\t%s %s\n", other.Amount, other.Denom)
					}
				}
			})
		},
	}
}

// holding collects what an account holds.
func holding(ctx context.Context, window *ledger.Ledger, a ledger.Account) (held, error) {
	h := held{Name: a.Name, Assets: []ledger.Coin{}, Ordered: []ledger.Coin{}}
	var err error
	if h.Balance, err = window.Balance(ctx, a.Address); err != nil {
		return h, err
	}
	h.Spendable = h.Balance.Balance
	escrow, err := window.Escrowed(ctx, a.Address)
	if err != nil {
		return h, err
	}
	h.Escrowed, h.Pending = inHPIPS(escrow.Escrowed), inHPIPS(escrow.Pending)
	trading, err := window.Trading(ctx, a.Address)
	if err != nil {
		return h, err
	}
	h.Orders = inHPIPS(trading.Held)
	bonds, err := window.Bonds(ctx, a.Address)
	if err != nil {
		return h, err
	}
	h.Bonded = inHPIPS(bonds)
	for _, c := range trading.Held {
		if c.Denom != money.Denom {
			h.Ordered = append(h.Ordered, c)
		}
	}
	if h.Reward, err = window.Owed(ctx, a.Address); err != nil {
		return h, err
	}
	all, err := window.Coins(ctx, a.Address)
	for _, c := range all {
		if c.Denom != money.Denom {
			h.Assets = append(h.Assets, c)
		}
	}
	return h, err
}

// inHPIPS is the part of some coins that is HPIPS.
func inHPIPS(all []ledger.Coin) money.Amount {
	for _, c := range all {
		if c.Denom == money.Denom {
			a, err := money.ParseBase(c.Amount)
			if err == nil {
				return a
			}
		}
	}
	return 0
}

func (p *purse) claimCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "claim",
		Short:   "Take out the account's share of the holders' reward",
		Args:    noArgs,
		Example: "  hpips wallet claim",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := p.mayAsk(c); err != nil {
				return err
			}
			window, err := p.window()
			if err != nil {
				return err
			}
			defer window.Close()
			from, err := p.signer()
			if err != nil {
				return err
			}
			owed, err := window.Owed(c.Context(), from.Address())
			if err != nil {
				return err
			}
			type claimed struct {
				ledger.Receipt
				Owed money.Amount `json:"owed"`
			}
			return p.done(c, window, from, fmt.Sprintf("claim %s HPIPS", owed), func(r ledger.Receipt) any { return claimed{r, owed} }, ledger.ClaimReward(from.Address()))
		},
	}
	p.signFlags(c)
	return c
}
