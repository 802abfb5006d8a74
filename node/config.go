package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/ipfs/go-cid"

	"github.com/hpips/hpips/api"
	"github.com/hpips/hpips/market"
	"github.com/hpips/hpips/p2p"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/spec/voucher"
	"github.com/hpips/hpips/store/gateway"
)

// ConfigFile is the configuration's name in a home.
const ConfigFile = "config.toml"

// configVersion is the only version of the file that this program reads and writes.
const configVersion = 1

// Config is all that can be said about a node; flags of up override the file.
type Config struct {
	Home    string    // absolute
	Version string    // of the program
	Stderr  io.Writer // where the log goes besides its file
	Child   []string  // how the program starts itself as a sandbox; nil: the running binary with "wasm-child"

	Listen   []string      // multiaddrs
	Join     []string      // multiaddrs with /p2p/ID
	MDNS     bool          // look for nodes on the local network
	throttle *p2p.Throttle // of this house, made by New
	Region   string        // where this node is, in its owner's words, such as "eu"; "" is not told
	Label    string        // name of the network that this node is in; nodes of one network do not check one another

	API string // host:port of this machine's loopback

	Gateway gateway.Config // of content over HTTP; without an address there is none
	Pins    bool           // the gateway takes requests to pin from whoever has the token in pins.token
	PinSize int64          // bytes of the content of one such request; 0 is no limit

	Provide    bool        // run tasks for others and for itself
	Slots      int         // tasks at once; 0: one per core
	Native     Consent     // whose native programs run here; "": as Unsaid has it
	Containers Consent     // whose container images: likewise
	Unsaid     Consent     // what is meant where nothing is said of them; "": Own
	Runtime    string      // what makes containers, such as "runsc"; "" is the engine's own choice
	Reach      []job.Reach // places outside that native programs may call when their job asks for them
	Prices     Prices      // of work, on a network with a chain
	Memory     job.Size    // that running tasks may take together; 0: 1 GiB per slot, 4 GiB at least
	Disk       job.Size    // of inputs and results of tasks; 0: 20 GiB, or 80 % of what is free
	Keep       Keeping     // of others' objects, on a network with a chain

	Buying  market.List // who may work for this node
	Selling market.List // for whom it works

	Chain     bool      // take part in the chain, once there is a genesis
	ChainNode ChainNode // how

	Share Sharing // what others may have of this PC

	LogLevel  string // debug | info | warn | error
	LogFormat string // text | json, on standard error; the file is always JSON
}

// Keeping is what this node keeps for others that pay for it.
type Keeping struct {
	Size  job.Size     // at most; 0: nothing, and what it keeps is handed over to others
	Price money.Amount // for a GiB for 30 days, at least

	wrong string // what was said and is no size
}

// mib is what it offers on the chain: whole MiB.
func (k Keeping) mib() uint64 { return uint64(max(0, k.Size)) >> 20 }

// perMiB is the least price of a MiB for a day, in uhpips, that is not below what a GiB costs for 30 days.
func (k Keeping) perMiB() uint64 { return (uint64(k.Price) + 30<<10 - 1) / (30 << 10) }

// keptUnasked is how much a new node offers to keep.
const keptUnasked = 20 << 30

// Prices are what others pay for this node's work, in HPIPS. Where there is no chain, all work is given away.
type Prices struct {
	Auto  bool          // they rise and fall with the work, never under Rates
	Rates voucher.Rates // in uhpips

	wrong string // what was said and is no price
}

// ChainNode is what can be said about the node's part in the chain. An empty address is the usual one on loopback where that is free, else any free one.
type ChainNode struct {
	Listen  string   // host:port for other nodes of the chain
	RPC     string   // host:port, for wallets and tools
	GRPC    string   // host:port
	REST    string   // host:port
	Origins []string // whose pages may ask RPC and REST
	Archive bool     // keep all blocks and states
	Peers   []string // ID@host:port
	Genesis string   // SHA-256 in hex, or path of a file: the only genesis that is taken
	// Checkpoint is the block that the program was built with, GENESIS:HEIGHT:HASH with the SHA-256 of the chain's genesis; empty: none.
	Checkpoint string
	Seats      int // of a development network: members that run chain nodes and hold the first seats; 0: one
}

// Default is the configuration of a new home.
func Default(home string) Config {
	d := p2p.Default()
	return Config{Home: home, Version: d.Version, Stderr: io.Discard, Listen: d.Listen, MDNS: true, Label: "lan",
		API: api.Default().Address, Gateway: noGateway(), Provide: true, Keep: Keeping{Size: keptUnasked}, Prices: Prices{Rates: market.DefaultRates}, Chain: true, Share: defaultSharing(), LogLevel: "info", LogFormat: "text"}
}

// noGateway is the gateway's settings with no address: it is off.
func noGateway() gateway.Config {
	c := gateway.Default()
	c.Address = ""
	return c
}

// file is the shape of config.toml. Fields that are left out keep their defaults.
type file struct {
	Version int `toml:"version"`
	Network struct {
		Listen []string `toml:"listen"`
		Join   []string `toml:"join"`
		MDNS   *bool    `toml:"mdns"`
		Label  string   `toml:"label"`
		Region string   `toml:"region"`
	} `toml:"network"`
	API struct {
		Address string `toml:"address"`
	} `toml:"api"`
	Gateway struct {
		Address     string   `toml:"address"`
		URL         string   `toml:"url"`
		Certificate string   `toml:"certificate"`
		Key         string   `toml:"key"`
		Fetch       bool     `toml:"fetch"`
		Cache       string   `toml:"cache"`
		Deny        []string `toml:"deny"`
		Origins     []string `toml:"origins"`
		Rate        float64  `toml:"rate"`
		PerClient   int      `toml:"per_client"`
		Pins        bool     `toml:"pins"`
		PinSize     string   `toml:"pin_size"`
	} `toml:"gateway"`
	Work struct {
		Provide    *bool    `toml:"provide"`
		Slots      int      `toml:"slots"`
		Native     Consent  `toml:"native"`
		Reach      []string `toml:"reach"`
		Containers Consent  `toml:"containers"`
		Runtime    string   `toml:"runtime"`
		Memory     string   `toml:"memory"`
		Disk       string   `toml:"disk"`
	} `toml:"work"`
	Storage struct {
		Keep  string `toml:"keep"`
		Price string `toml:"price"`
	} `toml:"storage"`
	Price struct {
		Auto   bool   `toml:"auto"`
		CPU    string `toml:"cpu"`
		GPU    string `toml:"gpu"`
		Memory string `toml:"memory"`
		Disk   string `toml:"disk"`
		Sent   string `toml:"sent"`
		Work   string `toml:"work"`
	} `toml:"price"`
	Requester struct {
		Allow []string `toml:"allow"`
		Deny  []string `toml:"deny"`
	} `toml:"requester"`
	Provider struct {
		Allow []string `toml:"allow"`
		Deny  []string `toml:"deny"`
	} `toml:"provider"`
	Chain struct {
		Enabled *bool    `toml:"enabled"`
		Listen  string   `toml:"listen"`
		RPC     string   `toml:"rpc"`
		GRPC    string   `toml:"grpc"`
		REST    string   `toml:"rest"`
		Origins []string `toml:"origins"`
		Archive bool     `toml:"archive"`
		Peers   []string `toml:"peers"`
	} `toml:"chain"`
	Share shareFile `toml:"share"`
	Log   struct {
		Level  string `toml:"level"`
		Format string `toml:"format"`
	} `toml:"log"`
}

// template is what a new home's config.toml says.
const template = `# The configuration of this HPIPS node. Flags of "hpips up" override it. What is commented out shows the default.
version = 1

[network]
# listen = ["/ip4/0.0.0.0/tcp/4711", "/ip4/0.0.0.0/udp/4711/quic-v1"]
# join = []          # addresses of nodes of the network to join, as "hpips status" prints them there
# mdns = true        # look for nodes on the local network
# label = "lan"      # name of the network that this node is in
# region = ""        # where this PC is, such as "eu": jobs may ask for it, and believe it

[api]
# address = "127.0.0.1:4712"

[gateway]            # content over HTTP: /ipfs/CID, /routing/v1, /pins
# address = ""       # host:port, such as "127.0.0.1:4713"; empty = none. At an address that other machines reach, blocks and CARs alone are served
# url = ""           # by which others reach it, such as "https://cdn.example"; empty = as it listens
# certificate = ""   # PEM files, for HTTPS; relative to this folder
# key = ""
# fetch = false      # bring what is not here from connected nodes, for whoever asks
# cache = "256MiB"   # of blocks in memory
# deny = []          # CIDs that are never served
# origins = []       # of pages that may ask at a loopback address, such as "https://site.example", or "*"
# rate = 500.0       # requests a second of one client
# per_client = 256   # connections of one client
# pins = false       # hold what is asked for by the IPFS Pinning Service API, with the token in pins.token; on loopback or with HTTPS
# pin_size = ""      # of the content of one such request, such as "100GiB"; empty = no limit

[work]
# provide = true     # run tasks
# slots = 0          # tasks at once; 0 = one per core
# native = "own"     # whose native programs run here, in sandboxes (Linux with bubblewrap): "own" = yours, and, without a chain, those of your pool; "everybody" = of strangers too; "nobody"
# containers = "own" # whose container images, without a network (Linux with Podman or Docker): likewise
# runtime = ""       # what makes containers, such as "runsc"; empty = what the engine takes itself
# reach = []         # places outside that native programs may call when their job asks for them, such as "*" (the internet, ports 80 and 443), "*.example.org:22", "192.168.1.5:5432"
# memory = ""        # of running tasks together, such as "8GiB"; empty = 1 GiB per slot
# disk = ""          # of inputs and results of tasks, such as "20GiB"; empty or "0" = 20 GiB, or four fifths of what is free

[storage]            # of others' objects, for pay, on a network with a chain
# keep = "20GiB"     # at most; "0" = none, and what is kept is handed over to others
# price = "0"        # take no less for a GiB for 30 days, in HPIPS

[price]              # of work for others, in HPIPS, on a network with a chain; your own jobs cost you nothing here
# cpu = "3.6"        # for an hour of one core; "0" gives it away
# memory = "0"       # for a GiB for an hour
# disk = "0"         # for a GiB for an hour
# gpu = "0"          # for an hour of one device
# sent = "0"         # for a GiB that is sent
# auto = false       # let prices rise while all is busy and fall again, never under these

[requester]          # who may work for this node: nodes (12D3Koo…), owners (hpips1…), networks (network:lan); hpips market allow | deny | forget
# allow = []         # where anybody is here, only they
# deny = []          # never these

[provider]           # for whom this node works: nodes, and accounts that pay; hpips market deny ID --as provider
# allow = []
# deny = []

[chain]
# enabled = true     # take part in the chain, once this home has its genesis
# listen = ""        # host:port for other nodes of the chain; empty = 0.0.0.0:26656, or any free port
# rpc = ""           # host:port for wallets; empty = 127.0.0.1:26657, or any free port
# grpc = ""          # likewise 127.0.0.1:9090
# rest = ""          # likewise 127.0.0.1:1317
# origins = []       # of pages that may ask rpc and rest, such as "https://wallet.example"; programs always may
# archive = false    # keep all blocks and states
# peers = []         # further nodes of the chain, ID@host:port

[log]
# level = "info"     # debug | info | warn | error
# format = "text"    # text | json
` + shareTemplate

var regionForm = regexp.MustCompile(`^[A-Za-z0-9-]{0,32}$`)

// Load reads the configuration of a home, strictly; a home without one has the defaults.
func Load(home string) (Config, error) {
	c := Default(home)
	name := filepath.Join(home, ConfigFile)
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, &job.Failure{Code: job.CodeUsage, Message: "the configuration cannot be read: " + err.Error(), Hint: "check the owner of " + home}
	}
	if err := c.read(text); err != nil {
		return c, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%s: %v", name, err), Hint: "correct it, or delete it to get a new one with all defaults"}
	}
	return c, nil
}

func (c *Config) read(text []byte) error {
	var f file
	meta, err := toml.NewDecoder(bytes.NewReader(text)).Decode(&f)
	if err != nil {
		return err
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return fmt.Errorf("unknown field %s", unknown[0])
	}
	if f.Version != configVersion {
		return fmt.Errorf("version %d is not known, this program reads version %d", f.Version, configVersion)
	}
	if f.Network.Listen != nil {
		c.Listen = f.Network.Listen
	}
	c.Join = f.Network.Join
	set(&c.MDNS, f.Network.MDNS)
	set(&c.Provide, f.Work.Provide)
	c.Label, c.Region = orElse(f.Network.Label, c.Label), f.Network.Region
	if !regionForm.MatchString(c.Region) {
		return fmt.Errorf("network.region: %q is no word of at most 32 letters, digits and dashes, such as \"eu\"", c.Region)
	}
	c.API = orElse(f.API.Address, c.API)
	if err := c.readGateway(f); err != nil {
		return err
	}
	c.Prices.Auto = f.Price.Auto
	for _, price := range []struct {
		name, text string
		to         *uint64
	}{{"cpu", f.Price.CPU, &c.Prices.Rates.CPU}, {"gpu", f.Price.GPU, &c.Prices.Rates.GPU}, {"memory", f.Price.Memory, &c.Prices.Rates.Memory},
		{"disk", f.Price.Disk, &c.Prices.Rates.Disk}, {"sent", f.Price.Sent, &c.Prices.Rates.Sent}, {"work", f.Price.Work, &c.Prices.Rates.Work}} {
		if price.text == "" {
			continue
		}
		a, err := money.Parse(price.text)
		if err != nil {
			return fmt.Errorf("price.%s: %w", price.name, err)
		}
		*price.to = uint64(a)
	}
	if f.Storage.Keep != "" {
		if c.Keep.Size, err = job.ParseSize(f.Storage.Keep); err != nil {
			return fmt.Errorf("storage.keep: %w", err)
		}
	}
	if f.Storage.Price != "" {
		if c.Keep.Price, err = money.Parse(f.Storage.Price); err != nil {
			return fmt.Errorf("storage.price: %w", err)
		}
	}
	c.Buying, c.Selling = market.List{Allow: f.Requester.Allow, Deny: f.Requester.Deny}, market.List{Allow: f.Provider.Allow, Deny: f.Provider.Deny}
	if err := c.Share.read(f.Share); err != nil {
		return err
	}
	set(&c.Chain, f.Chain.Enabled)
	c.ChainNode = ChainNode{Listen: f.Chain.Listen, RPC: f.Chain.RPC, GRPC: f.Chain.GRPC, REST: f.Chain.REST, Origins: f.Chain.Origins, Archive: f.Chain.Archive, Peers: f.Chain.Peers}
	c.Slots, c.Native, c.Containers, c.Runtime = f.Work.Slots, f.Work.Native, f.Work.Containers, f.Work.Runtime
	if c.Reach, err = job.ParseReaches(f.Work.Reach); err != nil {
		return fmt.Errorf("work.reach: %w", err)
	}
	c.LogLevel, c.LogFormat = orElse(f.Log.Level, c.LogLevel), orElse(f.Log.Format, c.LogFormat)
	for _, size := range []struct {
		name, text string
		to         *job.Size
	}{{"work.memory", f.Work.Memory, &c.Memory}, {"work.disk", f.Work.Disk, &c.Disk}} {
		if size.text == "" {
			continue
		}
		if *size.to, err = job.ParseSize(size.text); err != nil {
			return fmt.Errorf("%s: %w", size.name, err)
		}
	}
	return nil
}

// readGateway takes over what the file says about the gateway.
func (c *Config) readGateway(f file) error {
	from, to := f.Gateway, &c.Gateway
	to.Address, to.URL, to.Fetch, to.Origins = from.Address, from.URL, from.Fetch, from.Origins
	for name, path := range map[*string]string{&to.Certificate: from.Certificate, &to.Key: from.Key} {
		if *name = path; path != "" && !filepath.IsAbs(path) {
			*name = filepath.Join(c.Home, path)
		}
	}
	if from.Rate != 0 {
		to.Rate = from.Rate
		to.Burst = max(1, int(4*from.Rate))
	}
	if from.PerClient != 0 {
		to.PerClient = from.PerClient
	}
	if from.Cache != "" {
		size, err := job.ParseSize(from.Cache)
		if err != nil {
			return fmt.Errorf("gateway.cache: %w", err)
		}
		to.Cache = int64(size)
	}
	c.Pins = from.Pins
	if from.PinSize != "" {
		size, err := job.ParseSize(from.PinSize)
		if err != nil {
			return fmt.Errorf("gateway.pin_size: %w", err)
		}
		c.PinSize = int64(size)
	}
	for _, text := range from.Deny {
		id, err := cid.Decode(text)
		if err != nil {
			return fmt.Errorf("gateway.deny: %q: %w", text, err)
		}
		to.Deny = append(to.Deny, id)
	}
	return nil
}

func set[T any](to, v *T) {
	if v != nil {
		*to = *v
	}
}

func orElse(v, fallback string) string {
	if v != "" {
		return v
	}
	return fallback
}

// Flags are the words of the command line that override the file.
type Flags struct {
	Changed    func(flag string) bool
	Join       []string
	API        string
	Gateway    string
	Pins       bool
	Listen     []string
	Slots      int
	NoProvider bool
	NoMDNS     bool
	NoChain    bool
	Archive    bool
	Genesis    string
	Seats      int
	Price      string
	Keep       string
	Presence   string
}

// Over returns c as the flags want it.
func (f Flags) Over(c Config) Config {
	if f.Changed("join") {
		c.Join = append(append([]string{}, c.Join...), f.Join...)
	}
	if f.Changed("api") {
		c.API = f.API
	}
	if f.Changed("gateway") {
		c.Gateway.Address = f.Gateway
	}
	if f.Changed("pins") {
		c.Pins = f.Pins
	}
	if f.Changed("listen") {
		c.Listen = f.Listen
	}
	if f.Changed("slots") {
		c.Slots = f.Slots
		if f.Slots == 0 {
			c.Slots = -1 // Check tells
		}
	}
	if f.NoProvider {
		c.Provide = false
	}
	if f.Changed("keep") {
		var err error
		if c.Keep.Size, err = job.ParseSize(f.Keep); err != nil {
			c.Keep.wrong = f.Keep
		}
	}
	switch a, err := money.Parse(f.Price); {
	case !f.Changed("price"):
	case f.Price == "auto":
		c.Prices.Auto = true
	case err != nil:
		c.Prices.wrong = f.Price
	case a == 0:
		c.Prices = Prices{}
	default:
		c.Prices.Rates.CPU = uint64(a)
	}
	c.Share.Presence = orElse(f.Presence, c.Share.Presence)
	if f.NoMDNS {
		c.MDNS = false
	}
	if f.NoChain {
		c.Chain = false
	}
	c.ChainNode.Archive = c.ChainNode.Archive || f.Archive
	c.ChainNode.Genesis, c.ChainNode.Seats = f.Genesis, f.Seats
	return c
}

// Check says what is wrong with a configuration, in words for people.
func (c Config) Check() error {
	wrong := func(message, hint string) error {
		return &job.Failure{Code: job.CodeUsage, Message: message, Hint: hint}
	}
	switch {
	case !filepath.IsAbs(c.Home):
		return wrong(fmt.Sprintf("home %q is not an absolute path", c.Home), "name it with --home DIR")
	case c.Slots < 0 || c.Slots > 1024:
		return wrong(fmt.Sprintf("--slots %d is not possible", max(c.Slots, 0)), "1 … 1024; to run no tasks at all: --no-provider")
	case c.Memory < 0 || c.Disk < 0:
		return wrong("work.memory and work.disk cannot be negative", "leave them out")
	case c.Prices.wrong != "":
		return wrong(fmt.Sprintf("--price %q is no price", c.Prices.wrong), "write the HPIPS for an hour of one core, such as --price 3.6; 0 gives work away, auto lets it move")
	case c.Keep.wrong != "":
		return wrong(fmt.Sprintf("--keep %q is no size", c.Keep.wrong), "write what this node may keep for others, such as --keep 20GiB; 0 keeps nothing")
	case !slices.Contains(presences, c.Share.Presence):
		return wrong(fmt.Sprintf("--presence %q is not known", c.Share.Presence), "write --presence "+strings.Join(presences, ", "))
	case len(c.Listen) == 0:
		return wrong("there is no address to listen on", "write --listen /ip4/0.0.0.0/tcp/4711")
	}
	if _, err := parseLevel(c.LogLevel); err != nil {
		return wrong(err.Error(), "write --log-level debug, info, warn or error")
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		return wrong(fmt.Sprintf("log format %q is not known", c.LogFormat), "write --log-format text or json")
	}
	for _, a := range c.Join {
		if !strings.HasPrefix(a, "/") {
			return wrong(fmt.Sprintf("--join %q is not a multiaddress", a), "copy an address that hpips status prints on the other PC: /ip4/…/tcp/…/p2p/…")
		}
	}
	if c.Gateway.Address != "" {
		if err := c.Gateway.Check(); err != nil {
			return wrong(err.Error(), "write --gateway 127.0.0.1:4713, or see [gateway] in "+ConfigFile)
		}
		if c.Pins && !c.Gateway.Private() {
			return wrong("the token of the pinning service would travel in the clear to "+c.Gateway.Address, "name a certificate and its key in [gateway] of "+ConfigFile+", or listen on loopback")
		}
	} else if c.Pins {
		return wrong("the pinning service needs a gateway", "add --gateway 127.0.0.1:4713")
	}
	if err := c.checkLists(); err != nil {
		return err
	}
	if err := c.ChainNode.check(); err != nil {
		return wrong(err.Error(), "addresses of the chain look like 127.0.0.1:26657, its peers like ID@192.168.1.7:26656")
	}
	if err := c.network().Check(); err != nil {
		return wrong(err.Error(), "addresses look like /ip4/192.168.1.7/tcp/4711, those to join end in /p2p/ID")
	}
	return api.Config{Address: c.API, Token: strings.Repeat("x", tokenBytes)}.Check()
}

var chainPeer = regexp.MustCompile(`^[0-9a-f]{40}@[^@]+:[0-9]+$`)

func (c ChainNode) check() error {
	for name, a := range map[string]string{"listen": c.Listen, "rpc": c.RPC, "grpc": c.GRPC, "rest": c.REST} {
		if a == "" {
			continue
		}
		if _, port, err := net.SplitHostPort(a); err != nil || port == "" {
			return fmt.Errorf("chain.%s %q is not an address", name, a)
		}
	}
	for _, p := range c.Peers {
		if !chainPeer.MatchString(p) {
			return fmt.Errorf("chain.peers: %q is not a node of a chain", p)
		}
	}
	return nil
}

// network is the part of p2p.
func (c Config) network() p2p.Config {
	n := p2p.Default()
	n.Throttle = c.throttle
	n.Listen, n.Join, n.MDNS, n.Version, n.IncludeSelf = c.Listen, c.Join, c.MDNS, c.Version, c.Provide
	return n
}

// loopbackOnly tells whether other machines are not to reach this node.
func (c Config) loopbackOnly() bool {
	return !slices.ContainsFunc(c.Listen, func(a string) bool {
		return !strings.HasPrefix(a, "/ip4/127.") && !strings.HasPrefix(a, "/ip6/::1/")
	})
}

// slots is how many tasks run at once.
func (c Config) slots() int {
	if c.Slots > 0 {
		return c.Slots
	}
	return runtime.GOMAXPROCS(0)
}
