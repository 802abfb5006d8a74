package cli

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/chain/full"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/node"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/sortition"
)

// restartCommand is what people do when more than a third of the seats never return: docs/operations.md tells the story.
func (p *purse) restartCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "restart",
		Short: "Go on by hand when more than a third of the seats never return: propose, sign, show and accept a restart list",
		Long: `Go on by hand when more than a third of the seats never return. One proposes who sits on, the nodes of the last three committees sign,
and each owner accepts it on each PC. The node must be stopped. Balances, tickets and votes stay as they are; see docs/operations.md.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
		Example: `  hpips chain restart propose --seats 12D3KooWA…,12D3KooWB…
  hpips chain restart sign restart-81234.list
  hpips chain restart accept restart-81234.list`,
	}
	c.AddCommand(p.restartProposeCommand(), p.restartSignCommand(), p.restartShowCommand(), p.restartAcceptCommand())
	return c
}

// restarting is a restart list as it is shown.
type restarting struct {
	File    string    `json:"file,omitempty"`
	ChainID string    `json:"chainId"`
	Height  int64     `json:"height"` // of the last block
	First   int64     `json:"first"`  // height at which the chain goes on
	AppHash string    `json:"appHash"`
	Time    time.Time `json:"time"` // of the first block
	SHA256  string    `json:"sha256"`
	Seats   []string  `json:"seats"`
	Signed  []string  `json:"signed"` // who has a voice; without a state of one's own, who signed

	Voters []string `json:"voters,omitempty"` // of the last three committees
	Needed int      `json:"needed,omitempty"`
	Enough bool     `json:"enough"`
	Same   bool     `json:"same"`            // this home's own export is the genesis that the list names
	Wrong  string   `json:"wrong,omitempty"` // why not
	Aside  string   `json:"aside,omitempty"` // where what was before lies
}

func nodeNames(keys []sortition.Key) []string {
	all := []string{}
	for _, k := range keys {
		all = append(all, ledger.NodeText(k[:]))
	}
	return all
}

func describe(l sortition.RestartList) restarting {
	r := restarting{
		ChainID: l.Chain, Height: l.Height, First: l.First(), AppHash: strings.ToUpper(hex.EncodeToString(l.AppHash[:])), Time: time.Unix(l.Time, 0).UTC(),
		SHA256: hex.EncodeToString(l.Genesis[:]), Seats: nodeNames(l.Seats), Signed: []string{},
	}
	for _, s := range l.Signatures {
		r.Signed = append(r.Signed, ledger.NodeText(s.Node[:]))
	}
	return r
}

func (p *purse) tellRestart(r restarting) error {
	return p.show(r, r.File, func(w io.Writer) {
		fmt.Fprintf(w, "chain\t%s\nlast block\t%d, state %s\ngoes on\tat %d, not before %s\ngenesis\t%s\n", r.ChainID, r.Height, r.AppHash, r.First, r.Time.Local().Format(time.DateTime), r.SHA256)
		for _, s := range r.Seats {
			fmt.Fprintf(w, "sits on\t%s\n", s)
		}
		for _, s := range r.Signed {
			fmt.Fprintf(w, "signed\t%s\n", s)
		}
		if len(r.Voters) > 0 {
			fmt.Fprintf(w, "signatures\t%d of %d, %d needed\n", len(r.Signed), len(r.Voters), r.Needed)
		}
		switch {
		case r.Same:
			fmt.Fprintln(w, "this home\texports the same genesis")
		case r.Wrong != "":
			fmt.Fprintf(w, "this home\t%s\n", r.Wrong)
		}
		if r.Aside != "" {
			fmt.Fprintf(w, "before\t%s\nnext\thpips up\n", r.Aside)
		}
		if r.File != "" {
			fmt.Fprintf(w, "file\t%s\n", r.File)
		}
	})
}

// halted opens the chain of this home, whose node must be stopped.
func (p *purse) halted() (*full.Halted, error) {
	h, err := full.OpenHalted(p.chainFile(""), quiet())
	return h, refused(err)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// refused puts the reasons of a refusal into words with a hint.
func refused(err error) error {
	for _, row := range []struct {
		why  error
		hint string
	}{
		{full.ErrRuns, "stop hpips up on this home first"},
		{full.ErrOtherChain, "see hpips chain restart show; each chain has lists of its own"},
		{full.ErrOtherState, "start hpips up until this node has the last block, and stop it again; if it stands at that block, the list is wrong: do not take it"},
		{full.ErrOtherGenesis, "do not take it: ask who proposed it what else he changed, and whether all run the same version of hpips"},
		{full.ErrEarly, "a chain waits a day for its seats before it goes on without them"},
		{full.ErrSignedOther, "if that list is given up by all, say --instead"},
		{full.ErrAside, "look at that folder, and move it to another place"},
		{sortition.ErrFewSignatures, "hpips chain restart show says who signed; collect more with hpips chain restart sign"},
		{sortition.ErrSignature, "the list was changed after it was signed: ask for another copy"},
		{sortition.ErrOtherList, "these are two lists: choose one"},
		{os.ErrNotExist, "name the home of a node that follows a chain: --home DIR"},
	} {
		if errors.Is(err, row.why) {
			return &job.Failure{Code: job.CodeUsage, Message: err.Error(), Hint: row.hint}
		}
	}
	return err
}

// readLists reads copies of one list and puts their signatures together.
func readLists(files []string) (sortition.RestartList, error) {
	var l sortition.RestartList
	for i, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return l, &job.Failure{Code: job.CodeNotFound, Message: err.Error(), Hint: "name a restart list"}
		}
		text, err := io.ReadAll(io.LimitReader(f, sortition.MaxRestartList+1))
		if err = errors.Join(err, f.Close()); err != nil {
			return l, err
		}
		next, err := sortition.ParseRestartList(text)
		if err != nil {
			return l, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%s: %v", file, err), Hint: "it is not a restart list, or it is damaged: ask for another copy"}
		}
		if i == 0 {
			l = next
		} else if l, err = l.Merge(next); err != nil {
			return l, refused(fmt.Errorf("%s: %w", file, err))
		}
	}
	return l, nil
}

// someLists are the arguments of commands about lists.
func someLists(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usage(c, c.CommandPath()+" needs the file of a restart list, or several copies of one")
	}
	return nil
}

func (p *purse) restartProposeCommand() *cobra.Command {
	var seats []string
	var to string
	c := &cobra.Command{
		Use:   "propose --seats NODE,NODE…",
		Short: "Write a list of the nodes that sit on, for others to sign",
		Long: `Write a list of the nodes that sit on, for others to sign. Name those that are there and stay: nodes of the last three committees,
as hpips chain committee shows them. Start with the highest block that anybody has: all must stand at the same one.`,
		Args:    noArgs,
		Example: "  hpips chain restart propose --seats 12D3KooWA…,12D3KooWB…",
		RunE: func(c *cobra.Command, _ []string) (err error) {
			h, err := p.halted()
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, h.Close()) }()
			if len(seats) == 0 {
				return &job.Failure{Code: job.CodeUsage, Message: "nobody is named: --seats NODE,NODE…",
					Hint: "these have a voice and may sit: " + strings.Join(nodeNames(h.Voters), " ")}
			}
			var keys []sortition.Key
			for _, name := range seats {
				b, err := ledger.NodeKey(name)
				if err != nil {
					return err
				}
				keys = append(keys, sortition.Key(b))
			}
			l, err := h.Propose(keys, time.Now())
			if err != nil {
				return &job.Failure{Code: job.CodeUsage, Message: err.Error(), Hint: "these have a voice and may sit: " + strings.Join(nodeNames(h.Voters), " ")}
			}
			if to == "" {
				to = fmt.Sprintf("restart-%d.list", l.Height)
			}
			text, err := l.Bytes()
			if err != nil {
				return err
			}
			if err := writeNew(to, text); err != nil {
				return err
			}
			r := describe(l)
			r.File, r.Voters, r.Needed, r.Same = to, nodeNames(h.Voters), sortition.Most(len(h.Voters)), true
			return p.tellRestart(r)
		},
	}
	c.Flags().StringSliceVar(&seats, "seats", nil, "nodes that sit on, separated by commas")
	c.Flags().StringVarP(&to, "to", "O", "", "file to write (default: restart-HEIGHT.list)")
	return c
}

func (p *purse) restartSignCommand() *cobra.Command {
	var instead bool
	c := &cobra.Command{
		Use:   "sign LIST [COPY]…",
		Short: "Add this node's signature to a list, if its own state says the same; signatures of copies are put together in the first",
		Long: `Add this node's signature to a list, if its own state says the same. A node signs one list for a height, so that there are never two that
most have signed. Signatures of copies are put together in the first file.`,
		Args:    someLists,
		Example: "  hpips chain restart sign restart-81234.list",
		RunE: func(_ *cobra.Command, args []string) (err error) {
			l, err := readLists(args)
			if err != nil {
				return err
			}
			h, err := p.halted()
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, h.Close()) }()
			keys, err := node.LoadChainKeys(p.home) // where a node has run they are there
			if err != nil {
				return err
			}
			if !slices.Contains(h.Voters, sortition.Key(keys.Node[32:])) {
				return &job.Failure{Code: job.CodeUsage, Message: "this node sat in none of the last three committees: its signature does not count", Hint: "accept the list when others have signed it"}
			}
			if l, err = h.Sign(l, keys.Node, instead, time.Now()); err != nil {
				return refused(err)
			}
			if err := overwrite(args[0], l); err != nil {
				return err
			}
			r := judged(l, h, true)
			r.File = args[0]
			return p.tellRestart(r)
		},
	}
	c.Flags().BoolVar(&instead, "instead", false, "though this node has signed another list for this height, which all have given up")
	return c
}

// overwrite puts a list with more signatures in the place of the one before.
func overwrite(file string, l sortition.RestartList) error {
	text, err := l.Bytes()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// judged describes a list as this home sees it. same says that it was compared with the home's own export already.
func judged(l sortition.RestartList, h *full.Halted, same bool) restarting {
	r := describe(l)
	r.Voters, r.Needed = nodeNames(h.Voters), sortition.Most(len(h.Voters))
	who, err := l.Count(h.Voters)
	if err == nil && !same {
		_, err = h.Check(l, time.Now())
	}
	r.Signed, r.Enough = nodeNames(who), len(who) >= r.Needed
	if r.Same = err == nil; err != nil {
		r.Wrong = err.Error()
	}
	return r
}

func (p *purse) restartShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "show LIST [COPY]…",
		Short:   "Who sits on by a list, who has signed it, how many must, and whether this home's own state says the same",
		Args:    someLists,
		Example: "  hpips chain restart show restart-81234.list",
		RunE: func(_ *cobra.Command, args []string) (err error) {
			l, err := readLists(args)
			if err != nil {
				return err
			}
			h, err := p.halted()
			if err != nil { // a list can be read anywhere
				r := describe(l)
				r.Wrong = "cannot tell: " + err.Error()
				return p.tellRestart(r)
			}
			defer func() { err = errors.Join(err, h.Close()) }()
			return p.tellRestart(judged(l, h, false))
		},
	}
}

func (p *purse) restartAcceptCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "accept LIST [COPY]…",
		Short: "Make this home go on by a list that enough have signed; what was before is kept",
		Long: `Make this home go on by a list: if more than half of the nodes of the last three committees have signed it, this home's own state says the same,
and the chain has stood still for a day. Blocks and states of before are kept in chain/before-HEIGHT of the home.`,
		Args:    someLists,
		Example: "  hpips chain restart accept restart-81234.list",
		RunE: func(c *cobra.Command, args []string) error {
			l, err := readLists(args)
			if err != nil {
				return err
			}
			r := describe(l)
			if err := p.confirm(c, func(w io.Writer) {
				fmt.Fprintf(w, "%s goes on at block %d from the state of block %d.\nThese nodes sit, and nobody else: %s\n", r.ChainID, r.First, r.Height, strings.Join(r.Seats, " "))
			}); err != nil {
				return err
			}
			if r.Aside, err = full.Accept(p.chainFile(""), l, time.Now(), quiet()); err != nil {
				return refused(err)
			}
			r.Same, r.Enough = true, true
			return p.tellRestart(r)
		},
	}
	c.Flags().BoolVarP(&p.yes, "yes", "y", false, "do not ask")
	return c
}
