package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/job"
)

func (s *shell) govCommand() *cobra.Command {
	p := &purse{shell: s}
	c := &cobra.Command{
		Use:   "gov",
		Short: "Proposals and votes: what is decided passes in two houses, tickets and holdings",
		Args:  noArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
		Example: `  hpips gov ls
  hpips gov vote 1 yes`,
	}
	p.chainFlag(c)
	p.keyFlags(c)
	c.AddCommand(p.proposalsCommand(), p.proposalCommand(), p.proposeCommand(), p.voteCommand(), p.paramsCommand())
	return c
}

func (p *purse) proposalsCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Short:   "All proposals, the newest first",
		Args:    noArgs,
		Example: "  hpips gov ls",
		RunE: func(c *cobra.Command, _ []string) error {
			window, err := p.window()
			if err != nil {
				return err
			}
			defer window.Close()
			all, err := window.Proposals(c.Context())
			if err != nil {
				return err
			}
			told := struct {
				Proposals []ledger.Proposal `json:"proposals"`
			}{all}
			return p.show(told, "", func(w io.Writer) {
				fmt.Fprintln(w, "ID\tSTATUS\tVOTING ENDS\tWHAT\tTITLE")
				for _, one := range all {
					fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", one.ID, one.Status, clock(one.VotingEnds), plainKinds(one.Kinds), one.Title)
				}
			})
		},
	}
}

func clock(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

// number reads the number of a proposal.
func number(c *cobra.Command, text string) (uint64, error) {
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil || id == 0 {
		return 0, usage(c, fmt.Sprintf("%q is no proposal: want its number", text))
	}
	return id, nil
}

func (p *purse) proposalCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "show ID",
		Short:   "A proposal, what it would do, and its count in both houses",
		Args:    exactly(1, "a proposal's number"),
		Example: "  hpips gov show 1",
		RunE: func(c *cobra.Command, args []string) error {
			id, err := number(c, args[0])
			if err != nil {
				return err
			}
			window, err := p.window()
			if err != nil {
				return err
			}
			defer window.Close()
			one, err := window.Proposal(c.Context(), id)
			if err != nil {
				return err
			}
			return p.show(one, args[0], func(w io.Writer) { proposalTable(w, one) })
		},
	}
}

func proposalTable(w io.Writer, one ledger.Proposal) {
	fmt.Fprintf(w, "proposal\t%d\ntitle\t%s\nsummary\t%s\nproposer\t%s\nstatus\t%s\nvoting ends\t%s\ndeposit\t%s HPIPS\n", one.ID, one.Title, one.Summary, one.Proposer, one.Status, clock(one.VotingEnds), one.Deposit)
	if one.Failed != "" {
		fmt.Fprintf(w, "failed\t%s\n", one.Failed)
	}
	for _, m := range one.Messages {
		fmt.Fprintf(w, "does\t%s\n", m)
	}
	if t := one.Tally; t != nil {
		fmt.Fprintln(w, "\nHOUSE\tALL\tYES\tNO\tABSTAIN\tPASSES")
		fmt.Fprintf(w, "tickets\t%d\t%d\t%d\t%d\t%v\n", t.Tickets.All, t.Tickets.Yes, t.Tickets.No, t.Tickets.Abstain, t.Tickets.Passes)
		fmt.Fprintf(w, "holdings\t%s\t%s\t%s\t%s\t%v\n", t.Holdings.All, t.Holdings.Yes, t.Holdings.No, t.Holdings.Abstain, t.Holdings.Passes)
	}
}

// motion is what somebody proposes.
type motion struct {
	title, summary, deposit string
	params                  []string
	file, release           string
}

// proposed is a proposal that stands in a block.
type proposed struct {
	ledger.Receipt
	Proposal uint64 `json:"proposal"`
	Title    string `json:"title"`
}

func (p *purse) proposeCommand() *cobra.Command {
	var m motion
	c := &cobra.Command{
		Use:   "propose --title TEXT",
		Short: "Put something to the vote: a text, new parameters, a release, or any messages",
		Args:  noArgs,
		Example: `  hpips gov propose --title "More seats" --param committee.seats=151
  hpips gov propose --title "Travel" --release community:500:hpips1…
  hpips gov propose --title "An upgrade" --messages upgrade.json`,
		RunE: func(c *cobra.Command, _ []string) error {
			if m.title == "" {
				return usage(c, "a proposal needs a --title")
			}
			if err := p.mayAsk(c); err != nil {
				return err
			}
			window, err := p.window()
			if err != nil {
				return err
			}
			defer window.Close()
			return p.propose(c, window, m)
		},
	}
	p.signFlags(c)
	f := c.Flags()
	f.StringVar(&m.title, "title", "", "what it is about, in a few words")
	f.StringVar(&m.summary, "summary", "", "what it is about, in full")
	f.StringVar(&m.deposit, "deposit", "", "HPIPS that are held until the vote ends, and returned (default: what opens the vote at once)")
	f.StringArrayVar(&m.params, "param", nil, "MODULE.KEY=VALUE, a parameter to change (repeatable); see hpips gov params")
	f.StringVar(&m.file, "messages", "", "file with a JSON list of messages")
	f.StringVar(&m.release, "release", "", "ACCOUNT:AMOUNT:ADDRESS, a payment out of investors, founders, operations or community")
	return c
}

func (p *purse) propose(c *cobra.Command, window *ledger.Ledger, m motion) error {
	messages, err := m.messages(c, window)
	if err != nil {
		return err
	}
	deposit, err := window.Deposit(c.Context())
	if err == nil && m.deposit != "" {
		deposit, err = parseAmount(m.deposit)
	}
	if err != nil {
		return err
	}
	from, err := p.signer()
	if err != nil {
		return err
	}
	if _, err := affordable(c.Context(), window, from.Address(), deposit); err != nil {
		return err
	}
	summary := m.summary
	if summary == "" {
		summary = m.title
	}
	message, err := ledger.Propose(from.Address(), m.title, summary, deposit, messages...)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("propose %q with a deposit of %s HPIPS", m.title, deposit)
	return p.done(c, window, from, what, func(r ledger.Receipt) any { return proposed{r, r.Proposal(), m.title} }, message)
}

// messages are what a proposal does if it passes; a text does nothing.
func (m motion) messages(c *cobra.Command, window *ledger.Ledger) ([]ledger.Message, error) {
	var all []ledger.Message
	if len(m.params) > 0 {
		changes := map[string]string{}
		for _, text := range m.params {
			where, value, ok := strings.Cut(text, "=")
			if !ok {
				return nil, usage(c, fmt.Sprintf("--param %q: want MODULE.KEY=VALUE", text))
			}
			changes[where] = value
		}
		list, err := window.ChangeParams(c.Context(), changes)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	if m.release != "" {
		parts := strings.Split(m.release, ":")
		if len(parts) != 3 {
			return nil, usage(c, fmt.Sprintf("--release %q: want ACCOUNT:AMOUNT:ADDRESS", m.release))
		}
		amount, err := parseAmount(parts[1])
		if err != nil {
			return nil, err
		}
		one, err := ledger.Release(parts[0], parts[2], amount)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	if m.file != "" {
		text, err := os.ReadFile(m.file)
		if err != nil {
			return nil, &job.Failure{Code: job.CodeNotFound, Message: err.Error(), Hint: "name a file with a JSON list of messages"}
		}
		list, err := window.Messages(text)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return all, nil
}

// voted is a vote that stands in a block.
type voted struct {
	ledger.Receipt
	Proposal uint64 `json:"proposal"`
	Vote     string `json:"vote"`
	Voter    string `json:"voter"`
}

func (p *purse) voteCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "vote ID yes|no|abstain|veto",
		Short:   "Vote with all tickets of the account's nodes and with what it holds",
		Args:    exactly(2, "a proposal's number and a vote"),
		Example: "  hpips gov vote 1 yes",
		RunE: func(c *cobra.Command, args []string) error {
			id, err := number(c, args[0])
			if err != nil {
				return err
			}
			if _, err := ledger.Vote("", id, args[1]); err != nil {
				return err
			}
			if err := p.mayAsk(c); err != nil {
				return err
			}
			window, err := p.window()
			if err != nil {
				return err
			}
			defer window.Close()
			one, err := window.Proposal(c.Context(), id)
			if err != nil {
				return err
			}
			from, err := p.signer()
			if err != nil {
				return err
			}
			message, err := ledger.Vote(from.Address(), id, args[1])
			if err != nil {
				return err
			}
			what := fmt.Sprintf("vote %s on proposal %d, %q", args[1], id, one.Title)
			return p.done(c, window, from, what, func(r ledger.Receipt) any { return voted{r, id, args[1], from.Address()} }, message)
		},
	}
	p.signFlags(c)
	return c
}

func (p *purse) paramsCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "params",
		Short:   "The parameters that a vote can change",
		Args:    noArgs,
		Example: "  hpips gov params -o yaml",
		RunE: func(c *cobra.Command, _ []string) error {
			window, err := p.window()
			if err != nil {
				return err
			}
			defer window.Close()
			all, err := window.Params(c.Context())
			if err != nil {
				return err
			}
			return p.show(all, "", func(w io.Writer) {
				for _, module := range slices.Sorted(maps.Keys(all)) {
					var list map[string]json.RawMessage
					if json.Unmarshal(all[module], &list) != nil {
						continue
					}
					for _, key := range slices.Sorted(maps.Keys(list)) {
						fmt.Fprintf(w, "%s.%s\t%s\n", module, key, list[key])
					}
				}
			})
		},
	}
}
