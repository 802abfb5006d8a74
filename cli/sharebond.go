package cli

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/job"
)

// sharing is what a PC shares now, and how its node stands with the chain, if it follows one.
type sharing struct {
	Share    *client.Share  `json:"share,omitempty"`  // of this home's node
	Meters   *client.Meters `json:"meters,omitempty"` // likewise, where it runs
	Node     string         `json:"node,omitempty"`
	Owner    string         `json:"owner,omitempty"`
	Standing string         `json:"standing,omitempty"`
	Bond     *ledger.Bond   `json:"bond,omitempty"`
}

func (p *purse) sharingCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status [NODE]",
		Short: "What this PC shares now and why, or why not; and how its node stands with the chain",
		Long: `One sentence: what this PC shares now and why, or why not; then what ends each reason, and what of the PC HPIPS and other programs use, which takes half a second to measure. Where the node follows a chain also how it, or the one that is named, stands with it: whose it is, whether it takes part, and its bond: how much of its pay is held, until
how much is, and when it returns. A bond is its owner's all the time, and earns like any other HPIPS.`,
		Args:    optional("one node"),
		Example: "  hpips share status\n  hpips share status -o json",
		RunE: func(c *cobra.Command, args []string) error {
			var s sharing
			if len(args) == 0 {
				share, err := p.share(c.Context())
				if err != nil {
					return err
				}
				s.Share = &share
				if s.Meters, err = p.meters(c.Context()); err != nil {
					return err
				}
			}
			if err := p.standing(c, args, &s); err != nil && (s.Share == nil || c.Flags().Changed("chain")) {
				return err
			}
			return p.show(s, s.Node, func(w io.Writer) {
				if s.Share != nil {
					shareLines(w, *s.Share)
				}
				if s.Meters != nil {
					meterLines(w, *s.Meters)
				}
				if s.Bond != nil {
					fmt.Fprintf(w, "node\t%s\nowner\t%s\nstanding\t%s\n", s.Node, s.Owner, s.Standing)
					bondLines(w, *s.Bond)
				}
			})
		},
	}
}

// standing asks the chain about a node.
func (p *purse) standing(c *cobra.Command, args []string, s *sharing) error {
	key, err := p.nodeKey(c, args)
	if err != nil {
		return err
	}
	window, err := p.window()
	if err != nil {
		return err
	}
	defer window.Close()
	n, err := window.Node(c.Context(), key)
	if err != nil {
		return err
	}
	bond, err := window.Bond(c.Context(), key)
	if err != nil {
		return err
	}
	s.Node, s.Owner, s.Standing, s.Bond = n.Node, n.Owner, n.Standing, &bond
	return nil
}

// bondLines explains a node's bond, a line for each asset.
func bondLines(w io.Writer, b ledger.Bond) {
	share := strconv.FormatFloat(b.Share*100, 'f', -1, 64) + " %"
	back := "returns " + days(b.Returns) + " after hpips share leave and the last lease and seat"
	if b.Leaves && b.Due != nil {
		back = "counts nothing while the node leaves, and returns on " + b.Due.Local().Format(time.DateTime)
		if b.Busy != "" {
			back = fmt.Sprintf("counts nothing while the node leaves, and returns %s after the end of its last %s", days(b.Returns), b.Busy)
		}
	}
	if len(b.Assets) == 0 {
		fmt.Fprintf(w, "bond\tnone: %s of pay is held until it is worth ten days' pay; it %s\n", share, back)
	}
	for _, a := range b.Assets {
		unit, in := asset(a.Denom)
		how := share + " of pay is held until it is whole"
		if a.Slashed {
			how = "it was slashed, and had " + in(a.Before) + " before; " + how
		}
		fmt.Fprintf(w, "bond\t%s of %s %s: %s; it %s\n", in(a.Held), in(a.Target), unit, how, back)
	}
}

// days writes a time that is counted in days where it is.
func days(d time.Duration) string {
	if d >= 24*time.Hour && d%(24*time.Hour) == 0 {
		return job.Several(int(d/(24*time.Hour)), "day")
	}
	return d.String()
}

func (p *purse) leaveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "leave [NODE]",
		Short: "Ask for the bond of this home's node back",
		Long: `Ask for the bond of this home's node, or of the one that is named, back. It counts nothing from then on, so that the node's results are checked like a
newcomer's and it gets no new ticket, and returns 14 days after this and after the node's last lease and seat: hpips chain step-down gives up a seat.
hpips share stay takes it back.`,
		Args:    optional("one node"),
		Example: "  hpips share leave",
		RunE: func(c *cobra.Command, args []string) error {
			return p.parts(c, args, "ask for the bond of %s back", ledger.Leave)
		},
	}
	p.signFlags(c)
	return c
}

func (p *purse) stayCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "stay [NODE]",
		Short:   "Leave the bond where it is after all: takes hpips share leave back",
		Args:    optional("one node"),
		Example: "  hpips share stay",
		RunE: func(c *cobra.Command, args []string) error {
			return p.parts(c, args, "the bond of %s stays", ledger.Stay)
		},
	}
	p.signFlags(c)
	return c
}

// parts sends the owner's word about a node's bond, and tells how it stands then.
func (p *purse) parts(c *cobra.Command, args []string, what string, word func(owner string, node []byte) ledger.Message) error {
	if err := p.mayAsk(c); err != nil {
		return err
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
	from, err := p.signer()
	if err != nil {
		return err
	}
	type told struct {
		ledger.Receipt
		Node string      `json:"node"`
		Bond ledger.Bond `json:"bond"`
	}
	name := ledger.NodeText(key)
	return p.done(c, window, from, fmt.Sprintf(what, name), func(r ledger.Receipt) any {
		b, err := window.Bond(c.Context(), key)
		if err != nil {
			b = ledger.Bond{Assets: []ledger.Bonded{}} // what was sent is done all the same
		}
		return told{r, name, b}
	}, word(from.Address(), key))
}
