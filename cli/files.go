package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/spf13/cobra"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/erasure"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/proof"
)

// pinned is a deal that stands in a block.
type pinned struct {
	ledger.Receipt
	Deal    uint64       `json:"deal"`
	CID     string       `json:"cid"`
	Scheme  string       `json:"scheme"`
	MiB     uint64       `json:"mib"` // of all parts, those that began
	Price   uint64       `json:"price"`
	Days    uint64       `json:"days"`
	Deposit money.Amount `json:"deposit"`
}

func (s *shell) pinCommand() *cobra.Command {
	p := &purse{shell: s}
	var copies, code, span, most string
	c := &cobra.Command{
		Use:   "pin CID",
		Short: "Pay other nodes to keep an object: shows the price and asks",
		Long: `Pay other nodes to keep an object. It is kept in parts, one for each holder, an owner and a network once: copies of it, or a Reed–Solomon code, by which any K of N parts give it back.
The price of all parts for all days is deposited, and each holder is paid for each day on which it proved that it has its part. A part that is lost becomes another's. What was not used returns when the days are over.

Without --copies and --rs it is RS(20,60), RS(10,30) below 200 nodes, and as many copies as there are holders, six at most, below 30 of them or for less than 1 MiB. Days are the chain's: 24 hours on the public one.`,
		Args: exactly(1, "one content address"),
		Example: `  hpips pin bafybei… --for 30d
  hpips pin bafybei… --copies 3 --for 365d --yes
  hpips pin bafybei… --rs 10/30 --price 0.02`,
		RunE: func(c *cobra.Command, args []string) error {
			how := client.Pinning{}
			days, err := daysOf(span)
			if err != nil {
				return err
			}
			if err := scheme(&how, copies, code); err != nil {
				return err
			}
			if most != "" {
				a, err := parseAmount(most)
				if err != nil {
					return err
				}
				price := (uint64(a) + 30<<10 - 1) / (30 << 10)
				how.Price = &price
			}
			if err := p.mayAsk(c); err != nil {
				return err
			}
			return p.pin(c, args[0], how, days)
		},
	}
	p.chainFlag(c)
	p.keyFlags(c)
	p.signFlags(c)
	f := c.Flags()
	f.StringVar(&copies, "copies", "", "so many copies")
	f.StringVar(&code, "rs", "", "K/N: of N parts any K give the object back")
	f.StringVar(&span, "for", "30d", "so many days of the chain")
	f.StringVar(&most, "price", "", "HPIPS for a GiB for 30 days (default: what the community fund pays for the chain's archive)")
	return c
}

// scheme reads how an object is to be cut.
func scheme(how *client.Pinning, copies, code string) error {
	var s erasure.Scheme
	var err error
	switch {
	case copies != "" && code != "":
		return &job.Failure{Code: job.CodeUsage, Message: "--copies and --rs exclude each other", Hint: "name one of both, or none"}
	case copies != "":
		s, err = erasure.ParseCopies(copies)
	case code != "":
		s, err = erasure.ParseCode(code)
	}
	if err != nil {
		return &job.Failure{Code: job.CodeUsage, Message: err.Error(), Hint: "such as --copies 3, or --rs 10/30"}
	}
	how.Need, how.Parts = s.Need, s.Pieces
	return nil
}

// daysOf reads "30d" or "30".
func daysOf(text string) (uint64, error) {
	n, err := strconv.ParseUint(strings.TrimSuffix(text, "d"), 10, 32)
	if err != nil || n == 0 {
		return 0, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("--for %.40q is no number of days", text), Hint: "write --for 30d"}
	}
	return n, nil
}

func (p *purse) pin(c *cobra.Command, address string, how client.Pinning, days uint64) error {
	api, err := p.open()
	if err != nil {
		return err
	}
	defer api.Close()
	from, err := p.signer()
	if err != nil {
		return err
	}
	window, err := p.window()
	if err != nil {
		return err
	}
	defer window.Close()
	draft, err := api.Draft(c.Context(), address, how)
	if err != nil {
		return err
	}
	terms, err := termsOf(draft, from.Address(), days)
	if err != nil {
		return err
	}
	told := pinned{CID: draft.CID, Scheme: draft.Scheme, Price: draft.Price, Days: days}
	for _, piece := range terms.Pieces {
		told.MiB += (piece.Leaves() + proof.SpanLeaves - 1) / proof.SpanLeaves
	}
	told.Deposit = money.Amount(told.MiB * told.Price * days)
	if _, err := affordable(c.Context(), window, from.Address(), told.Deposit); err != nil {
		return err
	}
	o := ledger.Order{Signer: from, Messages: []ledger.Message{ledger.Pin(terms)}}
	cost, err := window.Estimate(c.Context(), o)
	if err != nil {
		return err
	}
	if err := p.confirm(c, func(w io.Writer) {
		fmt.Fprintf(w, "object   %s, %s\nkept as  %s: %d MiB in %s\nprice    %s HPIPS a day, for %s\ndeposit  %s HPIPS; what is not used returns\nfrom     %s (%s)\nfee      %s HPIPS\n", draft.CID, bytesText(draft.Size), draft.Scheme,
			told.MiB, job.Several(draft.Parts, "part"), money.Amount(told.MiB*told.Price), job.Several(int(days), "day"), told.Deposit, from.Name, from.Address(), cost.Fee)
	}); err != nil {
		return err
	}
	if told.Receipt, err = window.Deliver(c.Context(), o); err != nil {
		return err
	}
	told.Deal, _ = ledger.Pinned(told.Receipt)
	return p.show(told, strconv.FormatUint(told.Deal, 10), func(w io.Writer) {
		fmt.Fprintf(w, "deal\t%d\nobject\t%s\nkept as\t%s\ndeposit\t%s HPIPS for %s\nblock\t%d\ntx\t%s\nnext\thpips files stat %d\n", told.Deal, told.CID, told.Scheme, told.Deposit, job.Several(int(days), "day"), told.Height, told.Hash, told.Deal)
	})
}

func termsOf(d client.Draft, payer string, days uint64) (ledger.Terms, error) {
	t := ledger.Terms{Payer: payer, Scheme: erasure.Scheme{Need: d.Need, Pieces: d.Parts}, Price: d.Price, Days: days}
	var err1, err2 error
	t.Object, err1 = cid.Decode(d.CID)
	t.Manifest, err2 = cid.Decode(d.Manifest)
	if err1 != nil || err2 != nil || copy(t.Origin[:], d.Node) != 32 {
		return t, &job.Failure{Code: job.CodeInternal, Message: "the node's draft of the deal cannot be read"}
	}
	for _, p := range d.Pieces {
		piece := proof.Piece{Size: p.Size}
		copy(piece.Root[:], p.Root)
		t.Pieces = append(t.Pieces, piece)
	}
	return t, nil
}

func (s *shell) filesCommand() *cobra.Command {
	p := &purse{shell: s}
	c := &cobra.Command{
		Use:     "files",
		Short:   "What others keep for you: who has it, since when it is proven, and until when it is paid",
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
		Example: "  hpips files ls\n  hpips files stat bafybei…",
	}
	p.chainFlag(c)
	p.keyFlags(c)
	c.AddCommand(p.filesListCommand(), p.filesStatCommand(), p.extendCommand())
	return c
}

func (p *purse) filesListCommand() *cobra.Command {
	var payer string
	c := &cobra.Command{
		Use:     "ls",
		Short:   "The deals that an account pays for",
		Args:    noArgs,
		Example: "  hpips files ls\n  hpips files ls --payer hpips1… -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			window, err := p.window()
			if err != nil {
				return err
			}
			defer window.Close()
			list, err := p.payers(payer)
			if err != nil {
				return err
			}
			told := struct {
				Deals []ledger.Deal `json:"deals"`
			}{[]ledger.Deal{}}
			for _, a := range list {
				some, err := window.DealsOf(c.Context(), a)
				if err != nil {
					return err
				}
				for _, d := range some {
					full, _, err := window.Deal(c.Context(), d.Number)
					if ledger.IsNotFound(err) {
						continue // it ended just now
					}
					if err != nil {
						return err
					}
					told.Deals = append(told.Deals, full)
				}
			}
			return p.show(told, "", func(w io.Writer) {
				fmt.Fprintln(w, "DEAL\tSTATE\tKEPT\tAS\tSIZE\tHPIPS A DAY\tPAID TO\tCID")
				for _, d := range told.Deals {
					fmt.Fprintf(w, "%d\t%s\t%d of %d\t%s\t%s\t%s\tday %d\t%s\n", d.Number, d.State, d.Kept, d.Parts, d.Scheme, bytesText(int64(d.Bytes)), d.Daily(), d.Last, d.CID) //nolint:gosec // a size for people
				}
			})
		},
	}
	c.Flags().StringVar(&payer, "payer", "", "account, by name or address (default: all of this home)")
	return c
}

// payers are the accounts whose deals are shown.
func (p *purse) payers(who string) ([]string, error) {
	if who != "" {
		a, err := p.one(who)
		return []string{a.Address}, err
	}
	all, err := p.named("")
	var list []string
	for _, a := range all {
		list = append(list, a.Address)
	}
	return list, err
}

// stated is a deal with its parts.
type stated struct {
	ledger.Deal
	Holders []ledger.DealPart `json:"holders"`
}

func (p *purse) filesStatCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "stat CID|DEAL",
		Short: "Who keeps each part of an object, and when that was proven last",
		Long: `Who keeps each part of an object, and when that was proven last. A part is kept, missed (its holder gave no answer on its last days), leaving (its holder goes, and hands it over), waits (nobody has it; its holder may
come back, and enough others are kept), or open: any node that keeps none of the deal may take it, making it anew from the others where it is lost.

Copies are made anew at the first loss. Parts of a code are when fewer than a threshold are kept, 32 of 60 and 18 of 30; near the danger point, 26 and 14, by whoever is first. A deal is kept (all parts are), whole (enough to give it back),
danger, lost, or waiting (it is new).`,
		Args:    exactly(1, "a content address, or a deal's number"),
		Example: "  hpips files stat bafybei…\n  hpips files stat 7 -o json",
		RunE: func(c *cobra.Command, args []string) error {
			window, err := p.window()
			if err != nil {
				return err
			}
			defer window.Close()
			numbers, err := dealsNamed(c.Context(), window, args[0])
			if err != nil {
				return err
			}
			told := struct {
				Deals []stated `json:"deals"`
			}{[]stated{}}
			for _, n := range numbers {
				d, parts, err := window.Deal(c.Context(), n)
				if ledger.IsNotFound(err) {
					return noDeal(args[0])
				}
				if err != nil {
					return err
				}
				told.Deals = append(told.Deals, stated{d, parts})
			}
			return p.show(told, "", func(w io.Writer) {
				for _, d := range told.Deals {
					fmt.Fprintf(w, "deal\t%d\t%s\nobject\t%s\nkept as\t%s, %s in all\nparts\t%d of %d kept; %s\nprice\t%s HPIPS a day, paid to day %d\ndeposit\t%s HPIPS\npayer\t%s\n\nPART\tSTATE\tPROVEN\tSINCE\tHOLDER\n", d.Number, d.State, d.CID, d.Scheme, bytesText(int64(d.Bytes)), d.Kept, d.Parts, renewed(d.Deal), d.Daily(), d.Last, d.Deposit, d.Payer) //nolint:gosec // a size for people
					for _, h := range d.Holders {
						who := h.Node
						if who == "" {
							who = h.Why
						}
						fmt.Fprintf(w, "%d\t%s\t%s\tday %d\t%s\n", h.Number, h.State, provenText(h.Proven), h.Since, who)
					}
				}
			})
		},
	}
}

// renewed says when lost parts of a deal are made anew.
func renewed(d ledger.Deal) string {
	if d.Renewed == d.Parts {
		return "what is lost is made anew at once"
	}
	return fmt.Sprintf("what is lost is made anew when fewer than %d are, in danger at %d, gone below %d", d.Renewed, d.Danger, d.Need)
}

// dealsNamed are the numbers of the deals that somebody means.
func dealsNamed(ctx context.Context, window *ledger.Ledger, text string) ([]uint64, error) {
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return []uint64{n}, nil
	}
	root, err := cid.Decode(strings.TrimPrefix(strings.TrimPrefix(text, "ipfs://"), "/ipfs/"))
	if err != nil {
		return nil, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%.80q is neither a content address nor a deal's number", text), Hint: "hpips files ls shows both"}
	}
	list, err := window.DealsAbout(ctx, root)
	if err == nil && len(list) == 0 {
		err = noDeal(text)
	}
	var numbers []uint64
	for _, d := range list {
		numbers = append(numbers, d.Number)
	}
	return numbers, err
}

func noDeal(what string) error {
	return &job.Failure{Code: job.CodeNotFound, Message: "no deal is about " + what, Hint: "it may be over; hpips files ls shows those that go on, hpips pin makes one"}
}

// dealNumber reads the number of a deal.
func dealNumber(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%.40q is no number of a deal", text), Hint: "hpips files ls shows them"}
	}
	return n, nil
}

func (p *purse) extendCommand() *cobra.Command {
	var span string
	c := &cobra.Command{
		Use:     "extend DEAL --for DAYS",
		Short:   "Pay for more days of a deal; shows the price and asks",
		Args:    exactly(1, "a deal's number"),
		Example: "  hpips files extend 7 --for 30d",
		RunE: func(c *cobra.Command, args []string) error {
			days, err := daysOf(span)
			if err != nil {
				return err
			}
			return p.changeDeal(c, args[0], func(payer string, d ledger.Deal) (string, ledger.Message) {
				return fmt.Sprintf("%s more of deal %d for %s HPIPS, to day %d", job.Several(int(days), "day"), d.Number, d.Daily()*money.Amount(days), d.Last+days), ledger.ExtendDeal(payer, d.Number, days) //nolint:gosec // below 2^32
			})
		},
	}
	p.signFlags(c)
	c.Flags().StringVar(&span, "for", "30d", "so many days of the chain")
	return c
}

func (s *shell) unpinCommand() *cobra.Command {
	p := &purse{shell: s}
	c := &cobra.Command{
		Use:     "unpin DEAL",
		Short:   "End a deal with this day; what was not used of its deposit returns",
		Args:    exactly(1, "a deal's number"),
		Example: "  hpips unpin 7",
		RunE: func(c *cobra.Command, args []string) error {
			return p.changeDeal(c, args[0], func(payer string, d ledger.Deal) (string, ledger.Message) {
				return fmt.Sprintf("end deal %d about %s with this day", d.Number, d.CID), ledger.Unpin(payer, d.Number)
			})
		},
	}
	p.chainFlag(c)
	p.keyFlags(c)
	p.signFlags(c)
	return c
}

// changeDeal says something about a deal as its payer.
func (p *purse) changeDeal(c *cobra.Command, text string, change func(payer string, d ledger.Deal) (string, ledger.Message)) error {
	n, err := dealNumber(text)
	if err != nil {
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
	from, err := p.signer()
	if err != nil {
		return err
	}
	d, _, err := window.Deal(c.Context(), n)
	if ledger.IsNotFound(err) {
		return noDeal(text)
	}
	if err != nil {
		return err
	}
	what, m := change(from.Address(), d)
	type told struct {
		ledger.Receipt
		Deal uint64 `json:"deal"`
	}
	return p.done(c, window, from, what, func(r ledger.Receipt) any { return told{r, n} }, m)
}
