package cli

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/chain/full"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/node"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/placement"
)

// kept is a segment of the archive, and who holds it.
type kept struct {
	ledger.Segment
	Holders []string `json:"holders"` // who is to hold it, the best placed first; none until the next block has placed the segment
	Held    []string `json:"held"`    // who said that it has it, and is asked for it each day
}

// archived is the whole archive, as the chain has it.
type archived struct {
	Copies   int    `json:"copies"` // of a segment that are wanted
	Next     uint64 `json:"next"`   // number of the segment that comes next
	From     int64  `json:"from"`   // its first block
	Said     int    `json:"said"`   // seats that said what they made of it
	Segments []kept `json:"segments"`

	Nodes []ledger.PieceHolder `json:"nodes"` // how those who hold do
}

func (p *purse) archiveCommand() *cobra.Command {
	var from uint64
	c := &cobra.Command{
		Use:   "archive",
		Short: "The segments in which the chain's blocks are kept, and which nodes hold them",
		Long: `The segments in which the chain's blocks are kept, and which nodes hold them: 51 of them, one for each owner, or all while there are fewer. Each segment is a CAR file that any
IPFS tool imports. A new home comes from them alone: hpips chain rebuild. Who holds some is asked for five leaves of them each day, and paid for the day from the community fund when auditors, or the chain, saw the answer.`,
		Args:    noArgs,
		Example: "  hpips chain archive\n  hpips chain archive --from 100 -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			window, err := p.window()
			if err != nil {
				return err
			}
			defer window.Close()
			next, err := window.NextSegment(c.Context())
			if err != nil {
				return err
			}
			list, err := window.Segments(c.Context(), from)
			if err != nil {
				return err
			}
			nodes, err := window.PieceHolders(c.Context())
			if err != nil {
				return err
			}
			all := archived{Copies: placement.Copies, Next: next.Number, From: next.From, Said: len(next.Said), Segments: []kept{}, Nodes: nodes}
			for _, s := range list {
				k := kept{s, []string{}, []string{}}
				copies, err := window.Copies(c.Context(), s.Number, nil)
				if err != nil && !ledger.IsNotFound(err) {
					return err
				}
				if copies.Wanted > 0 {
					all.Copies = copies.Wanted
				}
				for _, key := range copies.Line {
					k.Holders = append(k.Holders, ledger.NodeText(key[:]))
				}
				for _, key := range copies.Held {
					k.Held = append(k.Held, ledger.NodeText(key[:]))
				}
				all.Segments = append(all.Segments, k)
			}
			return p.show(all, strconv.FormatUint(next.Number-1, 10), all.print)
		},
	}
	c.Flags().Uint64Var(&from, "from", 1, "number of the first segment to show")
	return c
}

func (a archived) print(w io.Writer) {
	fmt.Fprintf(w, "SEGMENT\tBLOCKS\tSIZE\tHELD BY\tOF\tCID\n")
	for _, s := range a.Segments {
		fmt.Fprintf(w, "%d\t%d–%d\t%s\t%d\t%d of %d\t%s\n", s.Number, s.From, s.To, bytesText(int64(s.Bytes)), len(s.Held), len(s.Holders), a.Copies, s.CID)
	}
	fmt.Fprintf(w, "%d\tfrom %d\tin the making: %s said what they made\n", a.Next, a.From, job.Several(a.Said, "seat"))
	if len(a.Nodes) == 0 {
		return
	}
	fmt.Fprintf(w, "\nHOLDER\tSTANDING\tPIECES\tSIZE\tOFFERS\tPROVEN\tMISSED\n")
	for _, h := range a.Nodes {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%d\n", h.Node, h.Standing, h.Pieces, bytesText(int64(h.Bytes)), bytesText(int64(h.Offer<<20)), provenText(h.Proven), h.Missed)
	}
}

func (p *purse) doubtCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "doubt NODE",
		Short: "Make a holder of the archive show the chain itself what it keeps",
		Long: `Make a holder of the archive show the chain itself what it keeps, to the end of the next day: what auditors sign for it does not do until then. It costs the fee. A holder that shows nothing is not paid
for the day; hpips chain archive tells what came of it.`,
		Args:    exactly(1, "one node"),
		Example: "  hpips chain doubt 12D3KooW… --from main",
		RunE: func(c *cobra.Command, args []string) error {
			if err := p.mayAsk(c); err != nil {
				return err
			}
			key, err := ledger.NodeKey(args[0])
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
				Node string `json:"node"`
			}
			name := ledger.NodeText(key)
			return p.done(c, window, from, name+" shows the chain what it keeps, to the end of the next day", func(r ledger.Receipt) any { return told{r, name} }, ledger.DoubtHolder(from.Address(), key))
		},
	}
	p.signFlags(c)
	return c
}

// provenText names the last day that was proven.
func provenText(day uint64) string {
	if day == 0 {
		return "never"
	}
	return "day " + strconv.FormatUint(day, 10)
}

// rebuilt is how a home came from the archive.
type rebuilt struct {
	Height   int64  `json:"height"`
	AppHash  string `json:"appHash"`
	Segments int    `json:"segments"`
}

func (p *purse) rebuildCommand() *cobra.Command {
	var fromIPFS bool
	var given node.Flags
	c := &cobra.Command{
		Use:   "rebuild",
		Short: "Make the chain's blocks and state of this home anew from the archive alone",
		Long: `Make the chain's blocks and state of this home anew from the archive alone: segments of blocks, by their addresses, from whoever has them. Each block is believed by the signatures of its committee, from
the genesis on; none is taken that contradicts the block which hpips chain join --trust named. The node of this home must not run, and must have no blocks. hpips up goes on from there.`,
		Args: noArgs,
		Example: `  hpips chain join genesis.json --trust 120000:E3B0C442…
  hpips chain rebuild --from-ipfs --join /ip4/192.168.1.7/tcp/4711/p2p/12D3KooW…`,
		RunE: func(c *cobra.Command, _ []string) error {
			if !fromIPFS {
				return usage(c, "say from where: --from-ipfs")
			}
			cfg, err := node.Load(p.home)
			if err != nil {
				return err
			}
			given.Changed = func(name string) bool { f := c.Flags().Lookup(name); return f != nil && f.Changed }
			cfg = given.Over(cfg)
			cfg.Version, cfg.Stderr, cfg.ChainNode.Checkpoint = Version, io.Discard, Checkpoint
			told := rebuilt{}
			got, err := node.Rebuild(c.Context(), cfg, func(r node.Rebuilding) {
				told.Segments = r.Done
				if !p.formal() && !p.quiet && r.Done < r.Segments {
					fmt.Fprintf(p.err, "segment %d of %d, from block %d on\n", r.Done+1, r.Segments, r.Height+1)
				}
			})
			if err != nil {
				return unmade(err)
			}
			told.Height, told.AppHash = got.Height, fmt.Sprintf("%X", got.AppHash)
			return p.show(told, strconv.FormatInt(told.Height, 10), func(w io.Writer) {
				fmt.Fprintf(w, "blocks\tto %d\napp hash\t%s\nnext\thpips up\n", told.Height, told.AppHash)
			})
		},
	}
	f := c.Flags()
	f.BoolVar(&fromIPFS, "from-ipfs", false, "from the archive's segments, by their addresses")
	f.StringArrayVar(&given.Join, "join", nil, "address of a node of the network (repeatable)")
	f.StringArrayVar(&given.Listen, "listen", nil, "address to listen on for other nodes (repeatable)")
	f.BoolVar(&given.NoMDNS, "no-mdns", false, "do not look for nodes on the local network")
	return c
}

// unmade gives the reasons for which a home is not rebuilt their remedies.
func unmade(err error) error {
	for _, row := range []struct {
		why  error
		hint string
	}{
		{full.ErrHasBlocks, "it goes on by itself: hpips up; to begin anew, move the folder chain/data of the home to another place"},
		{full.ErrForged, "what was taken is gone again; ask whoever gave you the genesis and the block to trust whether they are of this chain"},
		{full.ErrNoTrust, "name a block that is not too old with hpips chain join --trust HEIGHT:HASH; hpips chain snapshot -q of somebody you trust prints one"},
	} {
		if errors.Is(err, row.why) {
			return &job.Failure{Code: job.CodeUsage, Message: err.Error(), Hint: row.hint}
		}
	}
	return err
}
