package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/node"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
)

// parseAmount reads an amount as typed.
func parseAmount(text string) (money.Amount, error) {
	a, err := money.Parse(text)
	if err != nil {
		return 0, &job.Failure{Code: job.CodeUsage, Message: err.Error(), Hint: `amounts look like 5, 0.25 or "5HPIPS"; 12uhpips are millionths`}
	}
	return a, nil
}

// paid is a payment that stands in a block.
type paid struct {
	ledger.Receipt
	From    string       `json:"from"`
	To      string       `json:"to"`
	Amount  money.Amount `json:"amount"`
	Base    string       `json:"amountBase"`
	Balance money.Amount `json:"balance"` // of the sender afterwards
}

func (p *purse) sendCommand() *cobra.Command {
	var memo string
	c := &cobra.Command{
		Use:   "send TO AMOUNT",
		Short: "Send HPIPS; shows what it will do and asks",
		Args:  exactly(2, "an address and an amount"),
		Example: `  hpips wallet send hpips1… 12.5
  hpips wallet send savings 0.25 --from main --yes`,
		RunE: func(c *cobra.Command, args []string) error {
			amount, err := parseAmount(args[1])
			if err != nil {
				return err
			}
			if strings.Contains(args[0], "1") && len(args[0]) > 32 { // an address, not a name: a wrong one is told before anything is asked
				if err := ledger.CheckAddress(args[0]); err != nil {
					return err
				}
			}
			if err := p.mayAsk(c); err != nil {
				return err
			}
			window, err := p.window()
			if err != nil {
				return err
			}
			defer window.Close()
			return p.send(c, window, args[0], amount, memo)
		},
	}
	p.signFlags(c)
	c.Flags().StringVar(&memo, "memo", "", "a note that everybody can read")
	return c
}

func (p *purse) send(c *cobra.Command, window *ledger.Ledger, who string, amount money.Amount, memo string) error {
	ctx := c.Context()
	from, err := p.signer()
	if err != nil {
		return err
	}
	to, err := p.one(who)
	if err != nil {
		return err
	}
	m, err := ledger.Pay(from.Address(), to.Address, amount)
	if err != nil {
		return err
	}
	before, err := affordable(ctx, window, from.Address(), amount)
	if err != nil {
		return err
	}
	o := ledger.Order{Signer: from, Messages: []ledger.Message{m}, Memo: memo}
	cost, err := window.Estimate(ctx, o)
	if err != nil {
		return err
	}
	if before.Balance < amount+cost.Fee {
		_, err := affordable(ctx, window, from.Address(), amount+cost.Fee)
		return err
	}
	o.Gas = cost.Gas
	if err := p.confirm(c, func(w io.Writer) {
		fmt.Fprintf(w, "from    %s (%s)\nto      %s\namount  %s HPIPS\nfee     %s HPIPS\nleft    %s HPIPS\n", from.Name, from.Address(), to.Address, amount, cost.Fee,
			before.Balance-amount-cost.Fee)
	}); err != nil {
		return err
	}
	r, err := window.Deliver(ctx, o)
	if err != nil {
		return err
	}
	after, err := window.Balance(ctx, from.Address())
	if err != nil {
		return err
	}
	told := paid{r, from.Address(), to.Address, amount, amount.Base(), after.Balance}
	return p.show(told, r.Hash, func(w io.Writer) {
		fmt.Fprintf(w, "sent\t%s HPIPS\nto\t%s\nfee\t%s HPIPS\nleft\t%s HPIPS\nblock\t%d\ntx\t%s\n", amount, to.Address, r.Fee, after.Balance, r.Height, r.Hash)
	})
}

// done sends messages after asking, and tells where they stand.
func (p *purse) done(c *cobra.Command, window *ledger.Ledger, from *ledger.Holder, what string, told func(ledger.Receipt) any, messages ...ledger.Message) error {
	o := ledger.Order{Signer: from, Messages: messages}
	cost, err := window.Estimate(c.Context(), o)
	if err != nil {
		return err
	}
	if err := p.confirm(c, func(w io.Writer) {
		fmt.Fprintf(w, "%s\nfrom    %s (%s)\nfee     %s HPIPS\n", what, from.Name, from.Address(), cost.Fee)
	}); err != nil {
		return err
	}
	r, err := window.Deliver(c.Context(), o)
	if err != nil {
		return err
	}
	return p.show(told(r), r.Hash, func(w io.Writer) {
		fmt.Fprintln(w, what)
		if n := r.Ordered(); n > 0 {
			fmt.Fprintf(w, "order\t%d\n", n)
		}
		fmt.Fprintf(w, "block\t%d\nfee\t%s HPIPS\ntx\t%s\n", r.Height, r.Fee, r.Hash)
	})
}

// allowed is a spending key's allowance.
type allowed struct {
	ledger.Receipt
	Owner   string       `json:"owner"`
	Spender string       `json:"spender"`
	Daily   money.Amount `json:"daily"`
	New     money.Amount `json:"new"`     // of daily, for deposits of new leases
	Running money.Amount `json:"running"` // for what running leases are given besides
	Fees    money.Amount `json:"fees"`
	Errands []string     `json:"errands"`
}

func (p *purse) allowCommand() *cobra.Command {
	var spender string
	c := &cobra.Command{
		Use:   "allow AMOUNT/day",
		Short: "Let this home's node run errands for an account, at most so much a day; 0/day ends it",
		Long: `Let this home's node run errands for an account, at most so much a day; 0/day ends it.
The node has a spending key of its own. It may pay for jobs, carry registrations in and change its keys, in the account's name and at its cost; it can never
send or vote. Within any day it takes no more than the amount, fees included: two fifths for new leases, two fifths for running ones, a fifth for fees, half of
which may go in one day of the chain. The account pays for this home's jobs from then on. The node of another home follows its registered owner's account by
itself; any other has to be named there: hpips wallet payer.`,
		Args:    exactly(1, "an amount a day"),
		Example: "  hpips wallet allow 5/day",
		RunE: func(c *cobra.Command, args []string) error {
			text, daily := strings.CutSuffix(args[0], "/day")
			if !daily {
				return usage(c, fmt.Sprintf("%q: want an amount a day, such as 5/day", args[0]))
			}
			amount, err := parseAmount(text)
			if err != nil {
				return err
			}
			if err := p.mayAsk(c); err != nil {
				return err
			}
			key, err := node.LoadSpendKey(node.NodeHome(p.home))
			if err != nil {
				return err
			}
			if spender == "" {
				spender = key.Address()
			}
			if err := ledger.CheckAddress(spender); err != nil {
				return err
			}
			window, err := p.window()
			if err != nil {
				return err
			}
			defer window.Close()
			return p.allow(c, window, spender, amount, spender == key.Address())
		},
	}
	p.signFlags(c)
	c.Flags().StringVar(&spender, "spender", "", "address of another node's spending key")
	return c
}

// allow gives an allowance. ours says that it is this home's node's, which is then told whose account pays: it follows no right that it was not told of.
func (p *purse) allow(c *cobra.Command, window *ledger.Ledger, spender string, daily money.Amount, ours bool) error {
	from, err := p.signer()
	if err != nil {
		return err
	}
	messages, what, err := allowance(c.Context(), window, from.Address(), spender, daily)
	if err != nil {
		return err
	}
	if ours && daily > 0 {
		if err := node.NamePayer(node.NodeHome(p.home), from.Address()); err != nil {
			return err
		}
	}
	parts := money.Divide(daily)
	return p.done(c, window, from, what, func(r ledger.Receipt) any {
		return allowed{r, from.Address(), spender, daily, parts.New, parts.Running, parts.Fees, ledger.Errands()}
	}, messages...)
}

func allowance(ctx context.Context, window *ledger.Ledger, owner, spender string, daily money.Amount) ([]ledger.Message, string, error) {
	_, there, err := window.Allowance(ctx, owner, spender)
	if err != nil {
		return nil, "", err
	}
	if daily == 0 && !there {
		return nil, "", &job.Failure{Code: job.CodeNotFound, Message: spender + " has no allowance from this account", Hint: "give it one: hpips wallet allow 5/day"}
	}
	if daily == 0 {
		return ledger.Disallow(owner, spender), "end the allowance of " + spender, nil
	}
	rules, err := window.Rules(ctx)
	if err != nil {
		return nil, "", err
	}
	day := time.Duration(rules.DaySeconds) * time.Second
	if day <= 0 {
		return nil, "", errors.New("the chain has no days")
	}
	least, err := window.LeastBudget(ctx)
	if err != nil {
		return nil, "", err
	}
	messages, err := ledger.Allow(owner, spender, daily, least, day, there)
	return messages, fmt.Sprintf("allow %s %s HPIPS a day", spender, daily), err
}

// payer is whose account pays for a home's jobs.
type payer struct {
	Payer   string `json:"payer"`
	Spender string `json:"spender"`
}

func (p *purse) payerCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "payer ADDRESS",
		Short: "Say which account pays for the jobs of this home's node, where its wallet is on another PC",
		Long: `Say which account pays for the jobs of this home's node, where its wallet is on another PC.
hpips wallet allow says it for the node of its own home, and the account of a node's registered owner need not be named. It pays as soon as it allows the
node's spending key, which is shown, and as long as it does: hpips wallet allow 5/day --spender ADDRESS.`,
		Args:    exactly(1, "an address"),
		Example: "  hpips wallet payer hpips1…",
		RunE: func(_ *cobra.Command, args []string) error {
			home := node.NodeHome(p.home)
			key, err := node.LoadSpendKey(home)
			if err != nil {
				return err
			}
			if err := node.NamePayer(home, args[0]); err != nil {
				return err
			}
			told := payer{args[0], key.Address()}
			return p.show(told, told.Payer, func(w io.Writer) { fmt.Fprintf(w, "payer\t%s\nspender\t%s\n", told.Payer, told.Spender) })
		},
	}
}
