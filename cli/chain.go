package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/sortition"
)

func (s *shell) chainCommand() *cobra.Command {
	p := &purse{shell: s}
	c := &cobra.Command{
		Use:   "chain",
		Short: "The chain: how it is, what is in it, how to found, join and verify one",
		Args:  noArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
		Example: `  hpips chain status
  hpips chain verify`,
	}
	p.chainFlag(c)
	p.keyFlags(c)
	c.AddCommand(p.chainStatusCommand(), p.blockCommand(), p.txCommand(), p.committeeCommand(), p.ticketCommand(), p.registerCommand(), p.keysCommand(), p.stepDownCommand(), p.verifyCommand(),
		p.genesisCommand(), p.seatCommand(), p.initCommand(), p.joinCommand(), p.snapshotCommand(), p.restartCommand(), p.dayCommand(),
		p.settleVerifyCommand(), p.archiveCommand(), p.doubtCommand(), p.rebuildCommand())
	return c
}

func (p *purse) chainStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Height, supply, seats and epoch of the chain, as the home's node sees it",
		Args:    noArgs,
		Example: "  hpips chain status -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			window, err := p.window()
			if err != nil {
				return err
			}
			defer window.Close()
			st, err := window.Status(c.Context())
			if err != nil {
				return err
			}
			return p.show(st, st.ChainID, func(w io.Writer) {
				at := "at the head"
				if st.CatchingUp {
					at = "catching up"
				}
				if st.Height == 0 {
					fmt.Fprintf(w, "chain\t%s\nheight\t0, no block yet\n", st.ChainID)
					return
				}
				fmt.Fprintf(w, "chain\t%s\nheight\t%d, %s\ntime\t%s\nhash\t%s\napp hash\t%s\n", st.ChainID, st.Height, at, st.Time.Local().Format(time.DateTime), st.Hash, st.AppHash)
				fmt.Fprintf(w, "supply\t%s HPIPS, %s circulate, %s burned\nseats\t%d\nepoch\t%d\nday\t%d\ntickets\t%d\npeers\t%d\nblocks held\tfrom %d\n",
					st.Supply, st.Circulating, st.Burned, st.Seats, st.Epoch, st.Day, st.Tickets, st.Peers, st.Oldest)
				if st.Breach != "" {
					fmt.Fprintf(w, "BREACH\t%s\n", st.Breach)
				}
			})
		},
	}
}

func (p *purse) blockCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "block [HEIGHT]",
		Short:   "A block: the last one, or that of a height",
		Args:    optional("one height"),
		Example: "  hpips chain block 17",
		RunE: func(c *cobra.Command, args []string) error {
			height, err := strconv.ParseInt(first(args, "0"), 10, 64)
			if err != nil || len(args) > 0 && height < 1 {
				return usage(c, fmt.Sprintf("%q is no height: want a number from 1 on", args[0]))
			}
			window, err := p.window()
			if err != nil {
				return err
			}
			defer window.Close()
			b, err := window.Block(c.Context(), height)
			if err != nil {
				return err
			}
			return p.show(b, b.Hash, func(w io.Writer) {
				seed := "no"
				if b.Seeded {
					seed = "yes"
				}
				fmt.Fprintf(w, "height\t%d\nhash\t%s\ntime\t%s\nproposer\t%s\nprevious\t%s\napp hash before\t%s\nseed\t%s\nevidence\t%d\ntransactions\t%d\n", b.Height, b.Hash,
					b.Time.Local().Format(time.DateTime), b.Proposer, b.Previous, b.AppHash, seed, b.Evidence, len(b.Transactions))
				for _, t := range b.Transactions {
					fmt.Fprintf(w, "%s\t%s %s\n", t.Hash, plainKinds(t.Kinds), t.Error)
				}
			})
		},
	}
}

func plainKinds(kinds []string) string {
	words := make([]string, len(kinds))
	for i, k := range kinds {
		words[i] = plainKind(k)
	}
	return strings.Join(words, " ")
}

func (p *purse) txCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "tx HASH",
		Short:   "A transaction and what became of it",
		Args:    exactly(1, "a transaction's hash"),
		Example: "  hpips chain tx 9F86D081…",
		RunE: func(c *cobra.Command, args []string) error {
			window, err := p.window()
			if err != nil {
				return err
			}
			defer window.Close()
			t, err := window.Tx(c.Context(), args[0])
			if err != nil {
				return err
			}
			return p.show(t, t.Hash, func(w io.Writer) {
				outcome := "done"
				if !t.OK {
					outcome = "failed: " + t.Error
				}
				fmt.Fprintf(w, "tx\t%s\nblock\t%d\ntime\t%s\noutcome\t%s\nfee\t%s HPIPS\ngas\t%d of %d\nmemo\t%s\n", t.Hash, t.Height, t.Time.Local().Format(time.DateTime), outcome, t.Fee, t.GasUsed, t.GasWanted, t.Memo)
				for _, m := range t.Messages {
					fmt.Fprintf(w, "message\t%s\n", m)
				}
			})
		},
	}
}

func (p *purse) committeeCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "committee",
		Short:   "Who sits, since when, and how the next draw stands",
		Args:    noArgs,
		Example: "  hpips chain committee -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			window, err := p.window()
			if err != nil {
				return err
			}
			defer window.Close()
			k, err := window.Committee(c.Context())
			if err != nil {
				return err
			}
			return p.show(k, "", func(w io.Writer) { seated(w, k) })
		},
	}
}

// seated shows who sits.
func seated(w io.Writer, k ledger.Committee) {
	guardians := 0
	for _, s := range k.Seats {
		if s.Guardian {
			guardians++
		}
	}
	fmt.Fprintf(w, "epoch\t%d\nseed\t%s\ntickets\t%d, %d waiting\nclaims\t%d\nsubstitutes\t%s\n", k.Epoch, k.Seed, k.Tickets, k.Waiting, k.Claims, strings.Join(k.Substitutes, " "))
	if guardians > 0 {
		fmt.Fprintf(w, "guardians\t%d of %s, from the genesis: the draw replaces none of them before their time is over\n", guardians, job.Several(int64(len(k.Seats)), "seat"))
	}
	fmt.Fprintln(w, "\nSEAT\tPOWER\tSINCE EPOCH\tNETWORK\tOWNER\t")
	for _, s := range k.Seats {
		var notes []string
		if s.Guardian {
			notes = append(notes, "guardian")
		}
		if s.Leaving {
			notes = append(notes, "leaving")
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%s\n", s.Node, s.Power, s.Since, s.Network, s.Owner, strings.Join(notes, ", "))
	}
}

func (p *purse) ticketCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "ticket [NODE]",
		Short:   "A node's ticket for the draw of seats, or why it has none",
		Args:    optional("one node"),
		Example: "  hpips chain ticket",
		RunE: func(c *cobra.Command, args []string) error {
			key, err := p.nodeKey(c, args)
			if err != nil {
				return err
			}
			window, err := p.window()
			if err != nil {
				return err
			}
			defer window.Close()
			t, err := window.Ticket(c.Context(), key)
			if err != nil {
				return err
			}
			return p.show(t, "", func(w io.Writer) {
				yes := map[bool]string{true: "yes", false: "no"}
				fmt.Fprintf(w, "node\t%s\nticket\t%s\n", t.Node, yes[t.Held])
				if t.Held {
					fmt.Fprintf(w, "since block\t%d\nuntil day\t%d\nnetwork\t%s, %s\nowner\t%s\n", t.Since, t.UntilDay, t.Network, job.Several(t.NetworkTickets, "ticket"), t.Owner)
				}
				fmt.Fprintf(w, "waits for the lot\t%s\nclaimed\t%s\nseated\t%s\n", yes[t.Waiting], yes[t.Claimed], yes[t.Seated])
				fmt.Fprintf(w, "the chain asks for\t%s\n", t.Asks)
				if t.Reason != "" {
					fmt.Fprintf(w, "not now\t%s\n", t.Reason)
				}
			})
		},
	}
}

// nodeKey is the key of a node that is named, else of this home's.
func (p *purse) nodeKey(c *cobra.Command, args []string) ([]byte, error) {
	if len(args) > 0 {
		return ledger.NodeKey(args[0])
	}
	api, err := p.open()
	if err != nil {
		return nil, usage(c, "no node runs on "+p.home+": name one")
	}
	defer api.Close()
	st, err := api.Status(c.Context())
	if err != nil {
		return nil, err
	}
	return ledger.NodeKey(st.Node)
}

func (p *purse) registerCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "register",
		Short: "Register this home's node on the chain for an account, which is paid for its work",
		Long: `Register this home's node on the chain for an account, which is paid for its work. The account signs and needs to hold nothing:
a node that is registered already carries the registration in and pays.`,
		Args:    noArgs,
		Example: "  hpips chain register --from main",
		RunE: func(c *cobra.Command, _ []string) error {
			owner, err := p.signer()
			if err != nil {
				return err
			}
			api, err := p.open()
			if err != nil {
				return err
			}
			defer api.Close()
			e, err := api.Registration(c.Context(), owner.Address())
			if err != nil {
				return err
			}
			if err := enrol(&e, owner); err != nil {
				return err
			}
			told, err := api.Register(c.Context(), e)
			if err != nil {
				return err
			}
			return p.show(told, told.Tx, func(w io.Writer) { fmt.Fprintf(w, "registered for\t%s\ntx\t%s\n", owner.Address(), told.Tx) })
		},
	}
	c.Flags().StringVar(&p.from, "from", "", "account that owns the node (default: the only one)")
	return c
}

// enrol signs a registration for its owner, if it is one and says what it should.
func enrol(e *client.Enrolment, owner *ledger.Holder) error {
	word, err := sortition.ParseRegistration(e.Word)
	if err != nil {
		return fmt.Errorf("the node's registration: %w", err)
	}
	if word.Owner != owner.Address() {
		return fmt.Errorf("the node's registration is for %.90q", word.Owner)
	}
	text, err := word.Signed()
	if err != nil {
		return err
	}
	e.OwnerKey, e.Owner, err = ledger.SignWord(owner, text)
	return err
}

func (p *purse) verifyCommand() *cobra.Command {
	var from, to int64
	var trust string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Recompute blocks: signatures, seeds, draws, seats and supply; exits with 1 at the first that is wrong",
		Long: `Recompute blocks: hashes, signatures, committees and their changes, the chain of seeds, every draw of seats, and the supply after each block.
Without flags from the oldest block that the node holds to the last. What the node says of a state counts only with a proof against a header that was checked.

Taken on trust: from the chain's first block on, the genesis, whose SHA-256 is shown; from a later one, who sat there: compare its hash, or name one with --trust.
That a ticket was rightly given and that votes were counted right, the committee's signatures vouch for: a node that replays the blocks checks these.
What cannot be recomputed because the node keeps no state that old is named.`,
		Args: noArgs,
		Example: `  hpips chain verify
  hpips chain verify --from 100 --to 200`,
		RunE: func(c *cobra.Command, _ []string) error {
			if from < 0 || to < 0 || to > 0 && from > to {
				return usage(c, fmt.Sprintf("--from %d --to %d: want heights, the first below the last", from, to))
			}
			point, err := parseTrust(trust)
			if err != nil {
				return err
			}
			window, err := p.window()
			if err != nil {
				return err
			}
			defer window.Close()
			last := time.Now()
			v, err := window.Verify(c.Context(), from, to, func(height int64) {
				if time.Since(last) > 2*time.Second {
					last = time.Now()
					p.note("block %d", height)
				}
			})
			if err != nil {
				return err
			}
			if err := p.trusted(c, window, point, &v); err != nil {
				return err
			}
			return p.verified(v)
		},
	}
	c.Flags().Int64Var(&from, "from", 0, "first height (default: the oldest block held)")
	c.Flags().Int64Var(&to, "to", 0, "last height (default: the last block)")
	c.Flags().StringVar(&trust, "trust", "", "HEIGHT:HASH of a block that you know to be right")
	return c
}

// exitWrong is the exit code of a chain that is not what it says.
const exitWrong = 1

// trusted compares a block in the verified range with what the owner knows of it.
func (p *purse) trusted(c *cobra.Command, window *ledger.Ledger, t trustPoint, v *ledger.Verified) error {
	if t.height == 0 || !v.OK {
		return nil
	}
	if t.height < v.From || t.height > v.To {
		return usage(c, fmt.Sprintf("--trust names block %d, which is not among blocks %d to %d", t.height, v.From, v.To))
	}
	b, err := window.Block(c.Context(), t.height)
	if err == nil && !strings.EqualFold(b.Hash, t.hash) {
		v.OK, v.Wrong = false, &ledger.Wrong{Height: t.height, What: fmt.Sprintf("its hash is %s, not %s", b.Hash, t.hash)}
	}
	return err
}

func (p *purse) verified(v ledger.Verified) error {
	err := p.show(v, "", func(w io.Writer) {
		if v.Wrong != nil {
			fmt.Fprintf(w, "WRONG\tblock %d\t%s\n", v.Wrong.Height, v.Wrong.What)
			return
		}
		fmt.Fprintf(w, "OK\tblocks %d to %d of %s\n", v.From, v.To, v.ChainID)
		fmt.Fprintf(w, "first\t%s\nlast\t%s\n", v.FirstHash, v.LastHash)
		fmt.Fprintf(w, "checked\t%s, %s, %s, %s, seats that changed: %d, %s\n", job.Several(v.Signatures, "signature"), job.Several(v.Transactions, "transaction"), job.Several(v.Seeds, "seed"),
			job.Several(v.Claims, "claim"), v.Changes, job.Several(v.Offences, "double signature"))
		fmt.Fprintf(w, "recomputed\t%s, %s of states\n", job.Several(v.Draws, "draw"), job.Several(v.Proofs, "proof"))
		for _, gap := range gaps(v) {
			fmt.Fprintf(w, "not checked\t%s\n", gap)
		}
		if v.ProvenTo > 0 {
			fmt.Fprintf(w, "supply\t%s HPIPS after block %d, %s burned\n", v.Supply, v.ProvenTo, v.Burned)
		}
		if v.ProvenFrom == v.From && v.SeedsFrom == v.From && v.Whole {
			fmt.Fprintf(w, "trusted\tthe genesis, %s\n", v.Genesis)
		} else {
			fmt.Fprintf(w, "trusted\twho sat in block %d; the genesis, %s\n", v.From, v.Genesis)
		}
	})
	if err == nil && !v.OK {
		return exit(exitWrong)
	}
	return err
}

// gaps tells what was not checked for want of states.
func gaps(v ledger.Verified) (all []string) {
	switch {
	case v.SeedsFrom == 0:
		all = append(all, "seeds and claims: the node keeps no state that old")
	case v.SeedsFrom > v.From:
		all = append(all, fmt.Sprintf("seeds and claims of blocks %d to %d: the node keeps no state that old", v.From, v.SeedsFrom-1))
	}
	switch {
	case v.ProvenTo == 0:
		return append(all, fmt.Sprintf("draws, seats and supply of blocks %d to %d: the node keeps no state that old, or no block behind them says yet which one they left", v.From, v.To))
	case v.ProvenFrom > v.From:
		all = append(all, fmt.Sprintf("draws, seats and supply of blocks %d to %d: the node keeps no state that old", v.From, v.ProvenFrom-1))
	}
	if v.ProvenTo < v.To {
		all = append(all, fmt.Sprintf("the state that block %d left: no block behind it says yet which one", v.To))
	}
	return all
}

// trustPoint is a block that the owner knows to be right.
type trustPoint struct {
	height int64
	hash   string
}

func parseTrust(text string) (trustPoint, error) {
	if text == "" {
		return trustPoint{}, nil
	}
	height, hash, _ := strings.Cut(text, ":")
	h, err := strconv.ParseInt(height, 10, 64)
	if err != nil || h < 1 || len(hash) != 64 || strings.Trim(strings.ToLower(hash), "0123456789abcdef") != "" {
		return trustPoint{}, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("--trust %.90q: want HEIGHT:HASH", text), Hint: "ask somebody you trust for it: hpips chain snapshot prints one"}
	}
	return trustPoint{h, strings.ToUpper(hash)}, nil
}

func (t trustPoint) String() string { return fmt.Sprintf("%d:%s", t.height, t.hash) }
