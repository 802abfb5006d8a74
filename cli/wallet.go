package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
)

func (s *shell) walletCommand() *cobra.Command {
	p := &purse{shell: s}
	c := &cobra.Command{
		Use:   "wallet",
		Short: "Accounts of the chain: make them, look into them, send from them",
		Long: `Accounts of the chain: make them, look into them, send from them.
Keys lie in the operating system's store where there is one, else in files of the home under a passphrase. The node never sees them.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
		Example: `  hpips wallet new
  hpips wallet send hpips1… 12.5`,
	}
	p.chainFlag(c)
	p.keyFlags(c)
	c.AddCommand(p.newCommand(), p.importCommand(), p.showCommand(), p.balancesCommand(), p.sendCommand(), p.historyCommand(), p.exportCommand(), p.backupCommand(),
		p.allowCommand(), p.payerCommand(), p.claimCommand())
	return c
}

// optional allows one argument or none.
func optional(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usage(c, fmt.Sprintf("%s takes %s, got %q as well", c.CommandPath(), what, args[1]))
		}
		return nil
	}
}

func first(args []string, otherwise string) string {
	if len(args) > 0 {
		return args[0]
	}
	return otherwise
}

const mainAccount = "main"

// created is an account that has just come in. Words are shown this once.
type created struct {
	ledger.Account
	Words string `json:"words,omitempty"`
}

func (p *purse) newCommand() *cobra.Command {
	var hardware bool
	c := &cobra.Command{
		Use:   "new [NAME]",
		Short: "Make an account; its 24 words are shown once, and are its only copy",
		Args:  optional("one name"),
		Example: `  hpips wallet new
  hpips wallet new savings`,
		RunE: func(_ *cobra.Command, args []string) error {
			ring, err := p.keys()
			if err != nil {
				return err
			}
			var made created
			if hardware {
				made.Account, err = ring.Hardware(first(args, mainAccount))
			} else {
				made.Account, made.Words, err = ring.New(first(args, mainAccount))
			}
			if err != nil {
				return err
			}
			return p.show(made, made.Address, func(w io.Writer) {
				fmt.Fprintf(w, "account\t%s\naddress\t%s\n", made.Name, made.Address)
				if made.Words == "" {
					return
				}
				fmt.Fprintln(w, "\nWrite these words down, in this order, on paper. Whoever has them has the account; without them nobody can bring it back.")
				list := strings.Fields(made.Words)
				for i := 0; i < len(list); i += 6 {
					fmt.Fprintf(w, "\n  %s", strings.Join(list[i:min(i+6, len(list))], " "))
				}
				fmt.Fprintln(w)
			})
		},
	}
	c.Flags().BoolVar(&hardware, "ledger", false, "the account of a Ledger device")
	return c
}

func (p *purse) importCommand() *cobra.Command {
	var words, file, armor string
	c := &cobra.Command{
		Use:   "import [NAME]",
		Short: "Bring in an account by its words, or accounts by what export and backup wrote",
		Args:  optional("one name"),
		Example: `  hpips wallet import
  hpips wallet import --file wallet.backup`,
		RunE: func(_ *cobra.Command, args []string) error {
			ring, err := p.keys()
			if err != nil {
				return err
			}
			var all []ledger.Account
			if file != "" {
				text, err := os.ReadFile(file)
				if err != nil {
					return &job.Failure{Code: job.CodeNotFound, Message: err.Error(), Hint: "name what hpips wallet export or backup wrote"}
				}
				secret, err := p.secret(armor, "--file-passphrase-file", "passphrase of "+path.Base(file), false)
				if err != nil {
					return err
				}
				all, err = ring.Import(first(args, mainAccount), text, secret)
				if err != nil {
					return err
				}
			} else {
				text, err := p.secret(words, "--words-file", "words of the account", false)
				if err != nil {
					return err
				}
				a, err := ring.Restore(first(args, mainAccount), text)
				if err != nil {
					return err
				}
				all = append(all, a)
			}
			return p.accounts(all)
		},
	}
	c.Flags().StringVar(&words, "words-file", "", "file with the words in one line, - for standard input (default: ask)")
	c.Flags().StringVar(&file, "file", "", "what hpips wallet export or backup wrote")
	c.Flags().StringVar(&armor, "file-passphrase-file", "", "file with the passphrase of --file, - for standard input (default: ask)")
	return c
}

// accounts tells of accounts.
func (p *purse) accounts(all []ledger.Account) error {
	var ids []string
	for _, a := range all {
		ids = append(ids, a.Address)
	}
	told := struct {
		Accounts []ledger.Account `json:"accounts"`
	}{all}
	return p.show(told, strings.Join(ids, "\n"), func(w io.Writer) {
		fmt.Fprintln(w, "ACCOUNT\tADDRESS")
		for _, a := range all {
			fmt.Fprintf(w, "%s\t%s\n", a.Name, a.Address)
		}
	})
}

func (p *purse) showCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "show [NAME]",
		Short:   "The accounts of this wallet and their addresses; asks no chain",
		Args:    optional("one name"),
		Example: "  hpips wallet show -q main",
		RunE: func(_ *cobra.Command, args []string) error {
			ring, err := p.keys()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				all, err := ring.List()
				if err != nil {
					return err
				}
				return p.accounts(all)
			}
			h, err := ring.Signer(args[0])
			if err != nil {
				return err
			}
			return p.show(h.Account, h.Account.Address, func(w io.Writer) { fmt.Fprintf(w, "account\t%s\naddress\t%s\n", h.Name, h.Account.Address) })
		},
	}
}

// named gives the account of a name or an address, or all of this wallet. An address needs no key.
func (p *purse) named(who string) ([]ledger.Account, error) {
	if strings.Contains(who, "1") && ledger.CheckAddress(who) == nil {
		return []ledger.Account{{Address: who}}, nil
	}
	ring, err := p.keys()
	if err != nil {
		return nil, err
	}
	all, err := ring.List()
	if err != nil || who == "" {
		return all, err
	}
	if i := slices.IndexFunc(all, func(a ledger.Account) bool { return a.Name == who }); i >= 0 {
		return all[i : i+1], nil
	}
	if meantAsAddress(who) {
		return nil, ledger.CheckAddress(who)
	}
	_, err = ring.Signer(who)
	return nil, err
}

// meantAsAddress tells whether a word that is no account's name is meant as an address: one of this network or of another, perhaps a wrong one.
func meantAsAddress(who string) bool {
	return strings.HasPrefix(who, ledger.Prefix+"1") || ledger.Foreign(who) != "" || len(who) > 32
}

func (p *purse) historyCommand() *cobra.Command {
	limit := 20
	c := &cobra.Command{
		Use:     "history [NAME|ADDRESS]",
		Short:   "What an account paid and received, the newest first",
		Args:    optional("one name or address"),
		Example: "  hpips wallet history -n 50",
		RunE: func(c *cobra.Command, args []string) error {
			if limit < 1 || limit > 10_000 {
				return usage(c, fmt.Sprintf("-n %d: want 1 … 10000", limit))
			}
			who, err := p.one(first(args, ""))
			if err != nil {
				return err
			}
			window, err := p.window()
			if err != nil {
				return err
			}
			defer window.Close()
			all, err := window.History(c.Context(), who.Address, limit)
			if err != nil {
				return err
			}
			told := struct {
				Address string         `json:"address"`
				History []ledger.Entry `json:"history"`
			}{who.Address, all}
			return p.show(told, "", func(w io.Writer) { historyTable(w, all) })
		},
	}
	c.Flags().IntVarP(&limit, "limit", "n", limit, "the last so many transactions")
	return c
}

// one gives the account of a name or an address; without either, the only one of this wallet.
func (p *purse) one(who string) (ledger.Account, error) {
	if who == "" {
		h, err := p.signer()
		if err != nil {
			return ledger.Account{}, err
		}
		return h.Account, nil
	}
	list, err := p.named(who)
	if err != nil {
		return ledger.Account{}, err
	}
	return list[0], nil
}

func historyTable(w io.Writer, all []ledger.Entry) {
	fmt.Fprintln(w, "TIME\tBLOCK\tIN\tOUT\tFEE\tWHAT\tWITH\tTX")
	for _, e := range all {
		what := make([]string, len(e.Kinds))
		for i, k := range e.Kinds {
			what[i] = plainKind(k)
		}
		if !e.OK {
			what = append(what, "(failed)")
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", e.Time.Local().Format(time.DateTime), e.Height, e.In, e.Out, e.Fee, strings.Join(what, " "), strings.Join(e.With, " "), e.Hash)
	}
}

// plainKind names a message for people: /cosmos.bank.v1beta1.MsgSend is Send.
func plainKind(kind string) string {
	return strings.TrimPrefix(kind[strings.LastIndex(kind, ".")+1:], "Msg")
}

func (p *purse) exportCommand() *cobra.Command {
	var to, armor string
	c := &cobra.Command{
		Use:     "export [NAME]",
		Short:   "One account, encrypted under a passphrase, as other Cosmos wallets read it",
		Args:    optional("one name"),
		Example: "  hpips wallet export main -O main.key",
		RunE: func(c *cobra.Command, args []string) error {
			if to == "" {
				return usage(c, "export needs -O FILE to write to")
			}
			ring, err := p.keys()
			if err != nil {
				return err
			}
			h, err := ring.Signer(first(args, ""))
			if err != nil {
				return err
			}
			secret, err := p.secret(armor, "--file-passphrase-file", "passphrase for "+path.Base(to), true)
			if err != nil {
				return err
			}
			text, err := ring.Export(h.Name, secret)
			if err != nil {
				return err
			}
			return p.wrote(to, []byte(text), []ledger.Account{h.Account})
		},
	}
	c.Flags().StringVarP(&to, "to", "O", "", "file to write")
	c.Flags().StringVar(&armor, "file-passphrase-file", "", "file with the passphrase for the new file, - for standard input (default: ask)")
	return c
}

func (p *purse) backupCommand() *cobra.Command {
	var armor string
	c := &cobra.Command{
		Use:     "backup FILE",
		Short:   "All accounts of this wallet in one file, encrypted under a passphrase; import reads it",
		Args:    exactly(1, "a file to write"),
		Example: "  hpips wallet backup wallet.backup",
		RunE: func(_ *cobra.Command, args []string) error {
			ring, err := p.keys()
			if err != nil {
				return err
			}
			if _, err := ring.List(); err != nil { // the wallet's own passphrase comes first
				return err
			}
			secret, err := p.secret(armor, "--file-passphrase-file", "passphrase for "+path.Base(args[0]), true)
			if err != nil {
				return err
			}
			text, all, err := ring.Backup(secret)
			if err != nil {
				return err
			}
			return p.wrote(args[0], text, all)
		},
	}
	c.Flags().StringVar(&armor, "file-passphrase-file", "", "file with the passphrase for the new file, - for standard input (default: ask)")
	return c
}

func (p *purse) wrote(file string, text []byte, all []ledger.Account) error {
	if err := writeNew(file, text); err != nil {
		return err
	}
	told := struct {
		File     string           `json:"file"`
		Accounts []ledger.Account `json:"accounts"`
	}{file, all}
	return p.show(told, file, func(w io.Writer) {
		fmt.Fprintf(w, "%s holds %s, encrypted. Keep it and its passphrase apart.\n", file, job.Several(len(all), "account"))
	})
}

// affordable makes sure that an account can pay.
func affordable(ctx context.Context, window *ledger.Ledger, from string, want money.Amount) (ledger.Balance, error) {
	b, err := window.Balance(ctx, from)
	if err == nil && b.Balance < want {
		err = &job.Failure{Code: job.CodeFunds, Message: fmt.Sprintf("not enough HPIPS: %s are there, %s are wanted", b.Balance, want), Hint: "see hpips wallet balances, or send less: the fee comes on top"}
	}
	return b, err
}
