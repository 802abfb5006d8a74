package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/node"
	"github.com/hpips/hpips/spec/job"
)

// rekeyed is a node with other keys.
type rekeyed struct {
	ledger.Receipt
	Node      string `json:"node"`
	Consensus string `json:"consensusKey"`
	VRF       string `json:"vrfKey"`
}

func (p *purse) keysCommand() *cobra.Command {
	var consensus, vrf bool
	c := &cobra.Command{
		Use:   "keys",
		Short: "Give this home's node new keys for its votes and its draws, and tell the chain",
		Long: `Give this home's node new keys for its votes and its draws, and tell the chain; --consensus or --vrf changes that one alone.
The node must hold no seat (hpips chain step-down). Its ticket goes, and it may take a new one when the keys are old enough. The new keys
are in keys/next before the chain hears of them; when it has taken them they come into their place, and the old ones stay in keys/old.
If it breaks off in the middle, type it again. The node uses the new keys once hpips up is started again.`,
		Args:    noArgs,
		Example: "  hpips chain keys --from main",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := p.mayAsk(c); err != nil {
				return err
			}
			window, err := p.window()
			if err != nil {
				return err
			}
			defer window.Close()
			both := !consensus && !vrf
			return p.rekey(c, window, consensus || both, vrf || both)
		},
	}
	p.signFlags(c)
	c.Flags().BoolVar(&consensus, "consensus", false, "the key of votes")
	c.Flags().BoolVar(&vrf, "vrf", false, "the key of draws")
	return c
}

// rekey changes the keys of this home's node:
//
//  1. What the chain knows of the node: it takes part, for the account that signs.
//  2. If new keys lie there and the chain has them, an earlier try broke off after it was sent: on to the last step.
//  3. It holds no seat: one would go on being asked for votes of the old key. Then the new keys are on the disk.
//  4. The chain takes the word, signed by the node, its new keys and its owner.
//  5. The new keys come into their place.
func (p *purse) rekey(c *cobra.Command, window *ledger.Ledger, consensus, vrf bool) error {
	owner, err := p.signer()
	if err != nil {
		return err
	}
	home := node.NodeHome(p.home)
	now, err := node.LoadChainKeys(home)
	if err != nil {
		return err
	}
	known, err := p.mine(c.Context(), window, now, owner.Address()) // 1
	if err != nil {
		return err
	}
	told := rekeyed{Node: known.Node}
	pending, err := node.NextChainKeys(home, false, false) // 2
	if err != nil {
		return err
	}
	if told.name(pending); !reflect.DeepEqual(pending, now) && known.Consensus == told.Consensus && known.VRF == told.VRF {
		if err := node.TakeNextChainKeys(home, known.KeysHeight); err != nil {
			return err
		}
		return p.show(told, told.Node, told.people)
	}
	if err := unseated(c.Context(), window, known); err != nil { // 3
		return err
	}
	next, err := node.NextChainKeys(home, consensus, vrf)
	if err != nil {
		return err
	}
	told.name(next)
	e, err := p.word(c.Context(), window, next, owner)
	if err != nil {
		return err
	}
	message := ledger.ChangeKeys(owner.Address(), e.Word, ledger.Signatures{Node: e.Node, Consensus: e.Consensus, VRF: e.VRF, OwnerKey: e.OwnerKey, Owner: e.Owner})
	var wrong error
	err = p.done(c, window, owner, "change the keys of "+known.Node, func(r ledger.Receipt) any { // 4
		told.Receipt = r
		wrong = node.TakeNextChainKeys(home, r.Height) // 5
		return told
	}, message)
	if err = errors.Join(err, wrong); err == nil {
		p.note("the node uses the new keys once hpips up is started again")
	}
	return err
}

func (r *rekeyed) name(k node.ChainKeys) {
	r.Consensus, r.VRF = hex.EncodeToString(k.Consensus[32:]), hex.EncodeToString(k.VRF[32:])
}

func (r rekeyed) people(w io.Writer) {
	fmt.Fprintf(w, "node\t%s\nvotes\t%s\ndraws\t%s\nnext\tstart hpips up again\n", r.Node, r.Consensus, r.VRF)
}

// mine is what the chain knows of this home's node, if it takes part for this owner.
func (p *purse) mine(ctx context.Context, window *ledger.Ledger, keys node.ChainKeys, owner string) (ledger.Node, error) {
	known, err := window.Node(ctx, keys.Node[32:])
	switch {
	case ledger.IsNotFound(err):
		return known, &job.Failure{Code: job.CodeNotFound, Message: "the chain does not know this home's node", Hint: "register it: hpips chain register"}
	case err != nil:
		return known, err
	case known.Standing != "active":
		return known, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("this home's node is %s", known.Standing), Hint: "another node, with a home of its own, may register"}
	case known.Owner != owner:
		return known, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("this home's node belongs to %s, not to %s", known.Owner, owner), Hint: "name its owner with --from"}
	}
	return known, nil
}

// unseated makes sure that a node has no seat.
func unseated(ctx context.Context, window *ledger.Ledger, n ledger.Node) error {
	k, err := window.Committee(ctx)
	if err == nil && slices.ContainsFunc(k.Seats, func(s ledger.Seat) bool { return s.Node == n.Node }) {
		err = &job.Failure{Code: job.CodeUsage, Message: "this home's node holds a seat, which votes with the keys that it has", Hint: "give it up first: hpips chain step-down"}
	}
	return err
}

// word is the registration of this home's node with these keys, as of now.
func (p *purse) word(ctx context.Context, window *ledger.Ledger, keys node.ChainKeys, owner *ledger.Holder) (client.Enrolment, error) {
	st, err := window.Status(ctx)
	if err != nil {
		return client.Enrolment{}, err
	}
	e, err := keys.Enrol(st.ChainID, owner.Address(), st.Height)
	if err != nil {
		return e, err
	}
	return e, enrol(&e, owner)
}

func (p *purse) stepDownCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "step-down",
		Short: "Give up the seat of this home's node, before the PC goes away for long",
		Long: `Give up the seat of this home's node, before the PC goes away for long. It costs nothing. A substitute takes the seat at once; without one it is
left empty as long as two thirds stay, else the node is asked for votes until the committee turns. The ticket stays, and may win again.
A chain without any seat would stand still: where all seats are this home's and nobody stands by, it is refused.`,
		Args:    noArgs,
		Example: "  hpips chain step-down",
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := p.open()
			if err != nil {
				return err
			}
			defer api.Close()
			st, err := api.Status(c.Context())
			if err != nil {
				return err
			}
			if err := p.heirs(c.Context(), st); err != nil {
				return err
			}
			if err := api.StepDown(c.Context()); err != nil {
				return err
			}
			told := struct {
				Node   string `json:"node"`
				Seated bool   `json:"seated"` // it was
			}{Node: st.Node, Seated: st.Chain != nil && st.Chain.Seated}
			return p.show(told, told.Node, func(w io.Writer) {
				if !told.Seated {
					fmt.Fprintf(w, "%s\tholds no seat, and claims none in this epoch\n", told.Node)
					return
				}
				fmt.Fprintf(w, "%s\tgives up its seat; hpips chain committee tells when it is gone\n", told.Node)
			})
		},
	}
}

// heirs makes sure that a chain goes on when the nodes of this home leave it: somebody else sits, or stands by.
func (p *purse) heirs(ctx context.Context, st client.Status) error {
	window, err := p.window()
	if err != nil {
		return err
	}
	defer window.Close()
	k, err := window.Committee(ctx)
	if err != nil {
		return err
	}
	others := slices.ContainsFunc(k.Seats, func(s ledger.Seat) bool { return s.Node != st.Node && !slices.Contains(st.Dev, s.Node) })
	if others || len(k.Seats) == 0 || len(k.Substitutes) > 0 {
		return nil
	}
	whose := "the only seat"
	if len(k.Seats) > 1 {
		whose = fmt.Sprintf("all %d seats", len(k.Seats))
	}
	chain := "its chain"
	if st.Chain != nil {
		chain = st.Chain.ID
	}
	return &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("this home holds %s of %s, which makes no block without: nobody stands by to take over", whose, chain),
		Hint: "wait until another node has a seat (hpips chain committee): it joins with hpips up --join, hpips chain register, and draws with its ticket; to end the chain, end hpips up"}
}
