package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/node"
	"github.com/hpips/hpips/spec/job"
)

// relistCommand changes the lists of a side in config.toml, which a running node heeds at once.
func (s *shell) relistCommand(do node.Verb, short, long string) *cobra.Command {
	as, record := string(node.Buying), false
	c := &cobra.Command{
		Use: string(do) + " ID", Short: short, Long: long, Args: exactly(1, "one node, account or network"),
		Example: fmt.Sprintf("  hpips market %[1]s 12D3KooW…\n  hpips market %[1]s hpips1… --as provider", do),
		RunE: func(c *cobra.Command, args []string) error {
			side := node.Side(as)
			if side != node.Buying && side != node.Selling {
				return usage(c, fmt.Sprintf("--as %q: want requester or provider", as))
			}
			list, changed, err := node.Relist(s.home, side, do, args[0])
			if err != nil {
				return err
			}
			if record {
				api, err := s.open()
				if err != nil {
					return err
				}
				defer api.Close()
				var f *job.Failure
				if err := api.ForgetNode(c.Context(), args[0]); err != nil && !(changed && errors.As(err, &f) && f.Code == job.CodeNotFound) {
					return err
				}
			} else if do == node.Forget && !changed {
				return &job.Failure{Code: job.CodeNotFound, Message: fmt.Sprintf("%s is on no list of this home as %s", args[0], side), Hint: "see hpips market lists; its record is dropped with --record"}
			}
			told := struct {
				As      node.Side `json:"as"`
				Changed bool      `json:"changed"`
				market.List
			}{side, changed, filled(list)}
			return s.show(told, "", func(w io.Writer) { listLines(w, side, list) })
		},
	}
	c.Flags().StringVar(&as, "as", as, "requester: who works for this node; provider: for whom it works")
	if do == node.Forget {
		c.Flags().BoolVar(&record, "record", false, "drop what this node saw of that one, too: it begins anew, and no longer cools off")
	}
	return c
}

func (s *shell) listsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "lists", Short: "Who may work for this node, and for whom it works", Args: noArgs, Example: "  hpips market lists\n  hpips market lists -o json",
		RunE: func(*cobra.Command, []string) error {
			c, err := node.Load(s.home)
			if err != nil {
				return err
			}
			told := map[node.Side]market.List{node.Buying: filled(c.Buying), node.Selling: filled(c.Selling)}
			return s.show(told, "", func(w io.Writer) {
				listLines(w, node.Buying, c.Buying)
				listLines(w, node.Selling, c.Selling)
			})
		},
	}
}

// filled has empty lists where there are none, for programs.
func filled(l market.List) market.List {
	return market.List{Allow: append([]string{}, l.Allow...), Deny: append([]string{}, l.Deny...)}
}

func listLines(w io.Writer, s node.Side, l market.List) {
	words := func(list []string, none string) string {
		if len(list) == 0 {
			return none
		}
		return strings.Join(list, " ")
	}
	fmt.Fprintf(w, "%s allows\t%s\n%s denies\t%s\n", s, words(l.Allow, "everybody"), s, words(l.Deny, "nobody"))
}
