package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
)

// marketReport is one page about the market around a node. Its JSON names are a contract (docs/cli.md).
type marketReport struct {
	Sum     marketSum    `json:"sum"`
	Classes []classOffer `json:"classes"`
	client.Market
}

// marketSum counts.
type marketSum struct {
	Offers   int `json:"offers"` // nodes that sell now
	Refusals int `json:"refusals"`
	Slots    int `json:"slots"`    // tasks at once
	Asked    int `json:"asked"`    // nodes that answered
	Recorded int `json:"recorded"` // of these: results of theirs were verified here
	Known    int `json:"known"`    // nodes that there is a record of, also of those who are away
	Resting  int `json:"resting"`
}

// classOffer is what is offered by one hardware class. Prices are uhpips for an hour of a core; nil where all is one's own.
type classOffer struct {
	Class   string  `json:"class"`
	Offers  int     `json:"offers"`
	Slots   int     `json:"slots"`
	Lowest  *uint64 `json:"lowest,string"`
	Median  *uint64 `json:"median,string"` // the lower one of the middle two
	Highest *uint64 `json:"highest,string"`
}

// reportOf sums a market up.
func reportOf(m client.Market, now time.Time) marketReport {
	r := marketReport{Sum: marketSum{Asked: len(m.Offers), Known: len(m.Standings)}, Classes: []classOffer{}, Market: m}
	verified := map[string]bool{}
	for _, s := range m.Standings {
		verified[s.Node] = s.Verified
		if s.Rests != nil && s.Rests.After(now) {
			r.Sum.Resting++
		}
	}
	prices := map[string][]uint64{}
	for _, o := range m.Offers {
		if verified[o.Provider] {
			r.Sum.Recorded++
		}
		if o.Refusal != "" {
			r.Sum.Refusals++
			continue
		}
		r.Sum.Offers, r.Sum.Slots = r.Sum.Offers+1, r.Sum.Slots+o.Slots
		i := slices.IndexFunc(r.Classes, func(c classOffer) bool { return c.Class == o.Class })
		if i < 0 {
			i = len(r.Classes)
			r.Classes = append(r.Classes, classOffer{Class: o.Class})
		}
		r.Classes[i].Offers, r.Classes[i].Slots = r.Classes[i].Offers+1, r.Classes[i].Slots+o.Slots
		if !o.Ours || o.Hour > 0 {
			prices[o.Class] = append(prices[o.Class], o.Rates.CPU)
		}
	}
	for i := range r.Classes {
		c := &r.Classes[i]
		all := prices[c.Class]
		if slices.Sort(all); len(all) > 0 {
			c.Lowest, c.Median, c.Highest = &all[0], &all[(len(all)-1)/2], &all[len(all)-1]
		}
	}
	slices.SortFunc(r.Classes, func(a, b classOffer) int { return cmp.Or(cmp.Compare(b.Slots, a.Slots), cmp.Compare(a.Class, b.Class)) })
	return r
}

func (s *shell) reportCommand() *cobra.Command {
	return &cobra.Command{
		Use: "report", Short: "One page: what is offered now, at what price, and what this node knows of who offers it", Args: noArgs,
		Long: `One page about the market around this node: what is offered now by hardware class, with the lowest, the middle and the highest price of a core for an hour; how many
of the providers have a record here, the best and the worst of them by score, who cools off, and whom the chain convicted. With -o json, everything.`,
		Example: "  hpips market report\n  hpips market report -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := s.open()
			if err != nil {
				return err
			}
			defer api.Close()
			m, err := api.Market(c.Context())
			if err != nil {
				return err
			}
			r := reportOf(m, time.Now())
			return s.show(r, "", func(w io.Writer) { reportPage(w, r) })
		},
	}
}

// shown is how many nodes stand at each end of the page.
const shown = 5

func reportPage(w io.Writer, r marketReport) {
	fmt.Fprintf(w, "offers\t%d, %s; nothing to sell now: %s\n", r.Sum.Offers, job.Several(r.Sum.Slots, "slot"), job.Several(r.Sum.Refusals, "node"))
	fmt.Fprintf(w, "records\tof %d of %s here; known in all: %s\n", r.Sum.Recorded, job.Several(r.Sum.Asked, "provider"), job.Several(r.Sum.Known, "node"))
	convicted := strconv.Itoa(len(r.Convicted))
	if r.Convicted == nil {
		convicted = "not known: no chain tells"
	}
	fmt.Fprintf(w, "cooling off\t%d\nconvicted\t%s\n", r.Sum.Resting, convicted)
	for _, node := range r.Convicted {
		fmt.Fprintf(w, "\t%s\n", node)
	}
	if len(r.Classes) > 0 {
		fmt.Fprintln(w, "\nHARDWARE\tOFFERS\tSLOTS\tLOWEST\tMIDDLE\tHIGHEST\tHPIPS FOR AN HOUR OF A CORE")
	}
	price := func(p *uint64) string {
		if p == nil {
			return "free: yours"
		}
		return money.Amount(*p).String()
	}
	for _, c := range r.Classes {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%s\n", cmp.Or(c.Class, "not named"), c.Offers, c.Slots, price(c.Lowest), price(c.Median), price(c.Highest))
	}
	var known []client.Standing
	for _, s := range r.Standings {
		if s.Verified {
			known = append(known, s)
		}
	}
	if len(known) == 0 {
		fmt.Fprintln(w, "\nno result was verified yet: every provider has a newcomer's score")
		return
	}
	fmt.Fprintln(w, "\nBEST\tSCORE\tRIGHT\tWRONG\tLOST\tUNVERIFIED\tLAST SEEN")
	for _, s := range known[:min(len(known), shown)] {
		standingLine(w, s)
	}
	if rest := known[min(len(known), shown):]; len(rest) > 0 {
		fmt.Fprintln(w, "\nWORST\tSCORE\tRIGHT\tWRONG\tLOST\tUNVERIFIED\tLAST SEEN")
		for _, s := range slices.Backward(rest[max(0, len(rest)-shown):]) {
			standingLine(w, s)
		}
	}
}

func standingLine(w io.Writer, s client.Standing) {
	var sum client.Record
	for _, r := range s.Records {
		sum.Right, sum.Wrong, sum.Lost, sum.Unverified = sum.Right+r.Right, sum.Wrong+r.Wrong, sum.Lost+r.Lost, sum.Unverified+r.Unverified
		if r.Seen.After(sum.Seen) {
			sum.Seen = r.Seen
		}
	}
	rests := ""
	if s.Rests != nil {
		rests = "cools off until " + s.Rests.Local().Format(time.DateTime)
	}
	fmt.Fprintf(w, "%s\t%.3f\t%d\t%d\t%d\t%d\t%s\t%s\n", s.Node, s.Score, sum.Right, sum.Wrong, sum.Lost, sum.Unverified, sum.Seen.Local().Format(time.DateTime), rests)
}
