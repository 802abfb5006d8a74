package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/chain"
	"github.com/hpips/hpips/chain/full"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/node"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/sortition"
)

// The files of a home about its chain, as package node reads them.
const (
	genesisFile = "genesis.json"
	pinFile     = "genesis.sha256"
	trustFile   = "trust"
)

func (p *purse) chainFile(name string) string { return filepath.Join(p.home, "chain", name) }

// beginning is a genesis as it is shown.
type beginning struct {
	ChainID   string                  `json:"chainId"`
	Network   string                  `json:"network"`
	SHA256    string                  `json:"sha256"`
	Total     money.Amount            `json:"total"`
	TotalBase string                  `json:"totalBase"`
	Accounts  map[string]money.Amount `json:"accounts"` // the five
	Moves     []move                  `json:"moves"`
	Seats     int                     `json:"seats"`
	Guardians int                     `json:"guardians"`
	Trust     string                  `json:"trust,omitempty"` // beside the genesis in its file
	File      string                  `json:"file,omitempty"`
}

type move struct {
	From   string       `json:"from"`
	To     string       `json:"to"`
	Label  string       `json:"label"`
	Amount money.Amount `json:"amount"`
}

// examine checks a genesis and says what it comes to.
func examine(text []byte) (beginning, error) {
	doc, err := chain.ReadGenesis(text)
	if err != nil {
		return beginning{}, wrongGenesis(err)
	}
	s, err := chain.CheckGenesis(doc)
	if err != nil {
		return beginning{}, wrongGenesis(err)
	}
	b := beginning{ChainID: s.ChainID, Network: s.Network, SHA256: s.Hash, Accounts: map[string]money.Amount{}, Moves: []move{}, Seats: s.Seats, Guardians: s.Guardians}
	point, err := full.GenesisTrust(text)
	if err != nil {
		return b, wrongGenesis(err)
	}
	if point != nil {
		b.Trust = point.String()
	}
	if b.Total, err = money.ParseBase(s.Total); err != nil {
		return b, wrongGenesis(err)
	}
	b.TotalBase = b.Total.Base()
	for _, a := range s.Accounts {
		if b.Accounts[a.Name], err = money.ParseBase(a.Amount); err != nil {
			return b, wrongGenesis(err)
		}
	}
	for _, m := range s.Moves {
		a, err := money.ParseBase(m.Amount.String())
		if err != nil {
			return b, wrongGenesis(err)
		}
		b.Moves = append(b.Moves, move{m.From, m.To, m.Label, a})
	}
	return b, nil
}

func wrongGenesis(err error) error {
	return &job.Failure{Code: job.CodeUsage, Message: "this genesis is wrong: " + strings.TrimPrefix(err.Error(), "genesis: "), Hint: "ask those who founded the chain for theirs, and compare its SHA-256"}
}

func (p *purse) tell(b beginning) error {
	return p.show(b, b.SHA256, func(w io.Writer) {
		fmt.Fprintf(w, "chain\t%s (%s)\nsha256\t%s\ntotal\t%s HPIPS\n", b.ChainID, b.Network, b.SHA256, b.Total)
		for _, name := range []string{"investors", "founders", "operations", "community", "fund"} {
			fmt.Fprintf(w, "  %s\t%s\n", name, b.Accounts[name])
		}
		for _, m := range b.Moves {
			fmt.Fprintf(w, "  %s from %s\t%s to %s\n", m.Label, m.From, m.Amount, m.To)
		}
		fmt.Fprintf(w, "seats\t%d, %d of them guardians\n", b.Seats, b.Guardians)
		if b.Trust != "" {
			fmt.Fprintf(w, "trust\tblock %s, which the SHA-256 does not cover\n", b.Trust)
		}
		if b.File != "" {
			fmt.Fprintf(w, "file\t%s\n", b.File)
		}
	})
}

func (p *purse) genesisCommand() *cobra.Command {
	var id, network, to, trust string
	var seats, grants []string
	c := &cobra.Command{
		Use:   "genesis [FILE]",
		Short: "Check a genesis and show what it comes to; with --seat, build one",
		Long: `Check a genesis and show what it comes to: that of a file, of this home, or of the chain that its node follows.
With --seat, build a new one of seats that their owners wrote with hpips chain seat. With --trust, write it once more with a block to trust beside it, for those
who join late: they take it from the file that they name, and never from a peer. The genesis and its SHA-256 stay the same; who gives the file answers for the block.`,
		Args: optional("one file"),
		Example: `  hpips chain genesis -o json
  hpips chain genesis --network public --id hpips-1 --seat alice.json --seat bob.json -O genesis.json
  hpips chain genesis --trust $(hpips chain snapshot -q) -O genesis-trusted.json`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(seats) > 0 {
				if to == "" || id == "" || len(args) > 0 {
					return usage(c, "a new genesis needs --id NAME and -O FILE, and no other")
				}
				return p.build(network, id, to, seats, grants)
			}
			if (trust == "") != (to == "") {
				return usage(c, "-O FILE goes with --seat, or with --trust HEIGHT:HASH")
			}
			text, err := p.genesis(c.Context(), first(args, ""))
			if err != nil {
				return err
			}
			if trust != "" {
				if text, err = trusting(text, trust); err == nil {
					err = writeNew(to, text)
				}
				if err != nil {
					return err
				}
			}
			b, err := examine(text)
			if err != nil {
				return err
			}
			b.File = to
			return p.tell(b)
		},
	}
	f := c.Flags()
	f.StringVar(&trust, "trust", "", "HEIGHT:HASH of a block that whoever joins by the file may trust; see hpips chain snapshot")
	f.StringArrayVar(&seats, "seat", nil, "file of a first seat, from hpips chain seat (repeatable)")
	f.StringVar(&id, "id", "", "name of the new chain, such as hpips-1")
	f.StringVar(&network, "network", chain.Pool, "kind of the new chain: public, pool or dev")
	f.StringArrayVar(&grants, "grant", nil, "ADDRESS=AMOUNT:LABEL, moved out of community, in a public chain out of investors (repeatable)")
	f.StringVarP(&to, "to", "O", "", "file to write the new genesis to")
	return c
}

// trusting is a genesis with a block to trust beside it, in place of another one.
func trusting(text []byte, trust string) ([]byte, error) {
	if _, err := parseTrust(trust); err != nil {
		return nil, err
	}
	point, err := full.ParseTrust(trust)
	if err != nil {
		return nil, err
	}
	doc, err := chain.ReadGenesis(text)
	if err != nil {
		return nil, wrongGenesis(err)
	}
	if text, err = chain.GenesisBytes(doc); err != nil {
		return nil, err
	}
	return full.WithTrust(text, point)
}

// genesis finds the text of a genesis: of a file, of this home, of the running node.
func (p *purse) genesis(ctx context.Context, file string) ([]byte, error) {
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			err = &job.Failure{Code: job.CodeNotFound, Message: err.Error(), Hint: "name a genesis file"}
		}
		return text, err
	}
	if p.chain == "" {
		text, err := os.ReadFile(p.chainFile(genesisFile))
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return text, err
		}
	}
	window, err := p.window()
	if err != nil {
		return nil, err
	}
	defer window.Close()
	return window.Genesis(ctx)
}

var chainName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}-[1-9][0-9]{0,4}$`)

func (p *purse) build(network, id, to string, seats, grants []string) error {
	g := chain.Genesis{Network: network, ChainID: id, Time: time.Now().UTC()}
	for _, file := range seats {
		n, err := readSeat(file)
		if err != nil {
			return err
		}
		g.Seats = append(g.Seats, n)
	}
	pot := "community"
	if network == chain.Public {
		pot = "investors"
	}
	for _, text := range grants {
		grant, err := parseGrant(text, pot)
		if err != nil {
			return err
		}
		g.Grants = append(g.Grants, grant)
	}
	text, b, err := found(g)
	if err != nil {
		return err
	}
	if err := writeNew(to, text); err != nil {
		return err
	}
	b.File = to
	return p.tell(b)
}

// maxSeat bounds the file of a seat, which holds a word of a few hundred bytes and its signatures.
const maxSeat = 64 << 10

// readSeat reads what hpips chain seat has written, perhaps on another's PC.
func readSeat(file string) (n chain.GenesisNode, err error) {
	f, err := os.Open(file)
	if err != nil {
		return n, &job.Failure{Code: job.CodeNotFound, Message: err.Error(), Hint: "name the file of a seat"}
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSeat+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return n, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	switch err = d.Decode(&n); {
	case len(text) > maxSeat:
		err = fmt.Errorf("more than %d bytes", maxSeat)
	case err == nil && d.More():
		err = errors.New("there is more behind the seat")
	}
	if err != nil {
		return n, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%s: %v", file, err), Hint: "it is not the file of a seat: ask its owner for what hpips chain seat writes"}
	}
	return n, nil
}

func parseGrant(text, pot string) (chain.Grant, error) {
	address, rest, _ := strings.Cut(text, "=")
	amount, label, _ := strings.Cut(rest, ":")
	if err := ledger.CheckAddress(address); err != nil {
		return chain.Grant{}, err
	}
	a, err := parseAmount(amount)
	if err != nil {
		return chain.Grant{}, err
	}
	if label == "" {
		return chain.Grant{}, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("--grant %.120q has no label", text), Hint: "it looks like hpips1…=100:travel"}
	}
	return chain.Grant{Address: address, Amount: uint64(a), From: pot, Label: label}, nil
}

// found builds a genesis and reads it back.
func found(g chain.Genesis) ([]byte, beginning, error) {
	if !chainName.MatchString(g.ChainID) {
		return nil, beginning{}, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%.60q is no name for a chain", g.ChainID), Hint: "it has small letters, digits and -, and ends with a number: family-1"}
	}
	doc, err := g.Build()
	if err != nil {
		return nil, beginning{}, wrongGenesis(err)
	}
	text, err := chain.GenesisBytes(doc)
	if err != nil {
		return nil, beginning{}, err
	}
	b, err := examine(text)
	return text, b, err
}

// seat makes a first seat of this home's node, owned by an account of this wallet.
func (p *purse) seat(id string, guardian bool) (chain.GenesisNode, error) {
	owner, err := p.signer()
	if err != nil {
		return chain.GenesisNode{}, err
	}
	keys, err := node.LoadChainKeys(p.home)
	if err != nil {
		return chain.GenesisNode{}, err
	}
	e, err := keys.Enrol(id, owner.Address(), 0)
	if err != nil {
		return chain.GenesisNode{}, err
	}
	if err := enrol(&e, owner); err != nil {
		return chain.GenesisNode{}, err
	}
	return chain.GenesisNode{Registration: e.Word, NodeSignature: e.Node, ConsensusSignature: e.Consensus, VRFProof: e.VRF, OwnerKey: e.OwnerKey, OwnerSignature: e.Owner, Guardian: guardian}, nil
}

func (p *purse) seatCommand() *cobra.Command {
	var id, to string
	var guardian bool
	c := &cobra.Command{
		Use:     "seat",
		Short:   "Write this home's node as a first seat of a new chain, for hpips chain genesis --seat",
		Args:    noArgs,
		Example: "  hpips chain seat --id hpips-1 -O alice.json",
		RunE: func(c *cobra.Command, _ []string) error {
			if id == "" || to == "" {
				return usage(c, "a seat needs --id NAME of the chain and -O FILE")
			}
			n, err := p.seat(id, guardian)
			if err != nil {
				return err
			}
			text, err := json.MarshalIndent(n, "", "  ")
			if err != nil {
				return err
			}
			if err := writeNew(to, append(text, '\n')); err != nil {
				return err
			}
			told := struct {
				File string `json:"file"`
			}{to}
			return p.show(told, to, func(w io.Writer) { fmt.Fprintf(w, "%s\tholds no secret: give it to whoever makes the genesis\n", to) })
		},
	}
	f := c.Flags()
	f.StringVar(&p.from, "from", "", "account that owns the node (default: the only one)")
	f.StringVar(&id, "id", "", "name of the chain")
	f.BoolVar(&guardian, "guardian", false, "it guards the chain until there are enough tickets")
	f.StringVarP(&to, "to", "O", "", "file to write")
	return c
}

// free makes sure that this home follows no chain yet.
func (p *purse) free() error {
	if _, err := os.Stat(p.chainFile(genesisFile)); err == nil {
		return &job.Failure{Code: job.CodeUsage, Message: "this home follows a chain already", Hint: "see hpips chain genesis; another chain needs another home: --home DIR"}
	}
	return os.MkdirAll(p.chainFile(""), 0o700)
}

func (p *purse) initCommand() *cobra.Command {
	id, network := "pool-1", chain.Pool
	c := &cobra.Command{
		Use:   "init",
		Short: "Found a chain of one's own: this home's node holds its first seat",
		Long: `Found a chain of one's own: this home's node holds its first seat, for an account of this wallet. Start it with hpips up; others join by
hpips up --join. Its committee grows by draw as they register. The founder's account gets the 3.4 M HPIPS that are free from the start, and its
node may spend 5 of them a day on carrying newcomers in.`,
		Args:    noArgs,
		Example: "  hpips chain init --id family-1",
		RunE: func(_ *cobra.Command, _ []string) error {
			if err := p.free(); err != nil {
				return err
			}
			n, err := p.seat(id, false)
			if err != nil {
				return err
			}
			g := chain.Genesis{Network: network, ChainID: id, Time: time.Now().UTC(), Seats: []chain.GenesisNode{n}}
			if err := p.endow(&g); err != nil {
				return err
			}
			text, b, err := found(g)
			if err != nil {
				return err
			}
			b.File = p.chainFile(genesisFile)
			if err := writeNew(b.File, text); err != nil {
				return err
			}
			return p.tell(b)
		},
	}
	f := c.Flags()
	f.StringVar(&p.from, "from", "", "account that owns the node (default: the only one)")
	f.StringVar(&id, "id", id, "name of the chain; it ends with a number")
	f.StringVar(&network, "network", network, "kind of the chain: pool or dev")
	return c
}

// founderDaily is what the founder's node may spend a day, in uhpips: a fifth of it on fees, by which it carries the first newcomers in.
const founderDaily = 5 * money.Scale

// endow gives the founder the part of investors that is free from the start, and the founder's node an allowance out of it. Without
// that nobody could pay for the second node's registration.
func (p *purse) endow(g *chain.Genesis) error {
	registration, err := sortition.ParseRegistration(g.Seats[0].Registration)
	if err != nil {
		return err
	}
	spend, err := node.LoadSpendKey(p.home)
	if err != nil {
		return err
	}
	founder := registration.Owner
	g.Grants = []chain.Grant{{Address: founder, Amount: chain.FreeAtStart, From: "investors", Label: "free from the start"}}
	g.Allowances = []chain.Allowance{{Owner: founder, Spender: spend.Address(), Daily: founderDaily}}
	return node.NamePayer(p.home, founder)
}

// joined is the chain that a home follows from now on.
type joined struct {
	SHA256 string `json:"sha256"`
	Trust  string `json:"trust,omitempty"`

	from string // what said which block to trust
}

func (p *purse) joinCommand() *cobra.Command {
	var trust string
	c := &cobra.Command{
		Use:   "join FILE|SHA256",
		Short: "Make this home follow a chain: by its genesis file, or by the SHA-256 of one that a joined node will give",
		Long: `Make this home follow a chain: by its genesis file, or by the SHA-256 of one that a joined node will give.
With --trust, or a genesis file with a block to trust in it, it takes a snapshot of others in place of all blocks, and checks it against that block. Without, it trusts
the genesis alone: it takes every block from the first on, checks each, and refuses to start where the genesis is older than 14 days. Whoever comes late, or comes back after
a long time, needs a block; a home that follows the chain already may be told a newer one by the same command. It counts from the next hpips up on.`,
		Args: exactly(1, "a genesis file, or the SHA-256 of one"),
		Example: `  hpips chain join genesis.json
  hpips chain join 9f86d081… --trust 120000:E3B0C442…`,
		RunE: func(_ *cobra.Command, args []string) error {
			point, err := parseTrust(trust)
			if err != nil {
				return err
			}
			told, err := p.join(args[0], point)
			if err != nil {
				return err
			}
			return p.show(told, told.SHA256, func(w io.Writer) {
				fmt.Fprintf(w, "genesis\t%s\ntrust\t%s\nnext\thpips up --join ADDRESS of a node of that chain\n", told.SHA256, told.trusts())
			})
		},
	}
	c.Flags().StringVar(&trust, "trust", "", "HEIGHT:HASH of a block that you know to be right, from somebody you trust")
	return c
}

// trusts says what a home compares the history with that it gets.
func (j joined) trusts() string {
	if j.Trust == "" {
		return "the genesis alone: all blocks from the first on; once it is 14 days old, a block must be named (--trust HEIGHT:HASH)"
	}
	return "block " + j.Trust + ", by " + j.from
}

// join writes down which chain this home follows, and which block its owner trusts.
func (p *purse) join(what string, point trustPoint) (joined, error) {
	told := joined{SHA256: strings.ToLower(what), from: "--trust"}
	text, named := []byte(nil), false
	if sum, err := hex.DecodeString(what); err == nil && len(sum) == sha256.Size {
		named = true
	} else if text, err = p.genesis(context.Background(), what); err != nil {
		return told, err
	} else if b, err := examine(text); err != nil {
		return told, err
	} else {
		told.SHA256 = b.SHA256
		if beside, err := parseTrust(b.Trust); err == nil && beside.height > point.height {
			point, told.from = beside, "the genesis file"
		}
	}
	switch had, err := os.ReadFile(p.chainFile(genesisFile)); {
	case err == nil:
		if b, err := examine(had); err != nil || point.height == 0 || b.SHA256 != told.SHA256 {
			return told, errors.Join(err, p.free())
		}
	case !errors.Is(err, fs.ErrNotExist):
		return told, err
	default:
		file := genesisFile
		if named {
			file, text = pinFile, []byte(told.SHA256+"\n")
		}
		if err := errors.Join(p.free(), os.WriteFile(p.chainFile(file), text, 0o600)); err != nil {
			return told, err
		}
	}
	if point.height == 0 {
		return told, nil
	}
	told.Trust = point.String()
	return told, os.WriteFile(p.chainFile(trustFile), []byte(told.Trust+"\n"), 0o600)
}

func (p *purse) snapshotCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "snapshot",
		Short: "A block for others to trust, HEIGHT:HASH, and the heights of which this node gives snapshots",
		Long: `A block for others to trust, HEIGHT:HASH: give it to somebody who joins the chain late and trusts you.
A node makes snapshots of the chain's state by itself; joiners take them from any node, and check them against the block that they trust.`,
		Args:    noArgs,
		Example: "  hpips chain snapshot -q",
		RunE: func(c *cobra.Command, _ []string) error {
			window, err := p.window()
			if err != nil {
				return err
			}
			defer window.Close()
			b, err := window.Block(c.Context(), 0)
			if err != nil {
				return err
			}
			told := struct {
				Trust     string   `json:"trust"`
				Height    int64    `json:"height"`
				Hash      string   `json:"hash"`
				Snapshots []string `json:"snapshots"`
			}{trustPoint{b.Height, b.Hash}.String(), b.Height, b.Hash, []string{}}
			list, _ := os.ReadDir(filepath.Join(node.NodeHome(p.home), "chain", "snapshots")) // none while the node made none
			for _, e := range list {
				if e.IsDir() && strings.Trim(e.Name(), "0123456789") == "" {
					told.Snapshots = append(told.Snapshots, e.Name())
				}
			}
			return p.show(told, told.Trust, func(w io.Writer) {
				fmt.Fprintf(w, "trust\t%s\nsnapshots\t%s\n", told.Trust, strings.Join(told.Snapshots, " "))
			})
		},
	}
}
