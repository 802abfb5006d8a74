package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/node"
)

// ready is the line of up, for programs.
type ready struct {
	Ready     bool     `json:"ready"`
	API       string   `json:"api"`
	Gateway   string   `json:"gateway,omitempty"` // URL
	Node      string   `json:"node"`
	Addresses []string `json:"addresses"`
}

func (s *shell) upCommand() *cobra.Command {
	var dev bool
	nodes := 1
	var given node.Flags
	c := &cobra.Command{
		Use:   "up",
		Short: "Make this PC a node, until Ctrl-C",
		Long: `Make this PC a node: it runs tasks for others and hands in yours. Alone it is a pool of one; others join it by the address that it prints.
It follows the chain whose genesis its home holds, or that the node which it joins follows; --dev founds one of its own.
It stays in the foreground and prints one line, "ready", once it can take a job.`,
		Args: noArgs,
		Example: `  hpips up
  hpips up --join /ip4/192.168.1.7/tcp/4711/p2p/12D3KooW…
  hpips up --dev --nodes 4 --seats 4`,
		RunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("nodes") && !dev {
				return usage(c, "--nodes needs --dev: without it, up is one node")
			}
			if c.Flags().Changed("seats") && (!dev || given.Seats < 1 || given.Seats > nodes) {
				return usage(c, fmt.Sprintf("--seats %d: want 1 … the number of nodes, with --dev", given.Seats))
			}
			if nodes < 1 || nodes > 64 {
				return usage(c, fmt.Sprintf("--nodes %d: want 1 … 64", nodes))
			}
			cfg, err := node.Load(s.home)
			if err != nil {
				return err
			}
			given.Changed = func(name string) bool { f := c.Flags().Lookup(name); return f != nil && f.Changed }
			cfg = given.Over(cfg)
			cfg.Version, cfg.Stderr, cfg.ChainNode.Checkpoint = Version, s.err, Checkpoint
			cfg.LogLevel, cfg.LogFormat = orElse(s.logLevel, cfg.LogLevel), orElse(s.logJSON, cfg.LogFormat)
			return s.serve(c.Context(), cfg, dev, nodes)
		},
	}
	f := c.Flags()
	f.BoolVar(&dev, "dev", false, "a whole network in this process, on loopback alone")
	f.IntVar(&nodes, "nodes", nodes, "how many nodes a --dev network has")
	f.StringArrayVar(&given.Join, "join", nil, "address of a node of the network to join (repeatable)")
	f.StringVar(&given.API, "api", "", "host:port of the API, loopback only; port 0 is any free one (default 127.0.0.1:4712)")
	f.StringVar(&given.Gateway, "gateway", "", "host:port to serve content at over HTTP; without a host loopback, port 0 is any free one (default: none)")
	f.BoolVar(&given.Pins, "pins", false, "the gateway takes requests of the IPFS Pinning Service API; the token stands in pins.token in the home")
	f.StringArrayVar(&given.Listen, "listen", nil, "address to listen on for other nodes (repeatable; default /ip4/0.0.0.0/tcp/4711 and QUIC beside it)")
	f.IntVar(&given.Slots, "slots", 0, "tasks to run at once (default one per core)")
	f.StringVar(&given.Price, "price", "", "HPIPS for an hour of one core, on a network with a chain; 0 gives work away, auto lets it follow the demand (default 3.6)")
	f.StringVar(&given.Keep, "keep", "", "of others' objects that are paid for, keep so much, such as 20GiB; 0 keeps none and hands over what is kept")
	f.StringVar(&given.Presence, "presence", os.Getenv(node.PresenceVariable), "whether somebody is at this PC: auto looks; in-use, away, headless say it (default $"+node.PresenceVariable+", else what config.toml says)")
	f.BoolVar(&given.NoProvider, "no-provider", false, "run no tasks: only hand in and store")
	f.IntVar(&given.Seats, "seats", 1, "how many nodes of a --dev network hold the first seats of its chain")
	f.StringVar(&given.Genesis, "genesis", "", "the only genesis to take: a file, or the SHA-256 of one")
	f.BoolVar(&given.Archive, "archive", false, "keep all blocks and states of the chain")
	f.BoolVar(&given.NoChain, "no-chain", false, "take no part in the chain")
	f.BoolVar(&given.NoMDNS, "no-mdns", false, "do not look for nodes on the local network")
	return c
}

// serve runs a node, or a development network of them, until ctx ends.
func (s *shell) serve(ctx context.Context, cfg node.Config, dev bool, nodes int) error {
	var house *node.House
	var err error
	if dev {
		house, err = node.Dev(ctx, cfg, nodes)
	} else {
		house, err = node.New(ctx, cfg)
	}
	if err != nil {
		return err
	}
	defer house.Close()
	err = house.Serve(ctx, func() { s.announce(house) })
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return nil // stopped as it was asked to
	}
	return err
}

func (s *shell) announce(h *node.House) {
	r := ready{Ready: true, API: h.API(), Gateway: h.GatewayURL(), Node: h.ID(), Addresses: h.Addresses()}
	if s.formal() {
		_ = s.encode(r) // a node goes on when nobody reads its standard output
		return
	}
	tail := ""
	if r.Gateway != "" {
		tail = " gateway=" + r.Gateway
	}
	fmt.Fprintf(s.out, "ready api=%s join=%s%s\n", r.API, strings.Join(r.Addresses, ","), tail)
}

func orElse(v, fallback string) string {
	if v != "" {
		return v
	}
	return fallback
}
