package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multiaddr"
	"github.com/spf13/cobra"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/store/gateway"
)

// edgesFile keeps the gateways that hold what this home publishes, with their tokens.
const edgesFile = "edges.json"

// maxToken is the most bytes of a token that somebody gives.
const maxToken = 4 << 10

func (s *shell) cdnCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "cdn",
		Short: "Publish content through several gateways",
		Long: `Publish content through several gateways, each of which holds it. A gateway's owner runs "hpips up --gateway … --pins" and gives you its URL and
what stands in pins.token of its home. Readers check every byte (sdk/js), so that no gateway has to be trusted.`,
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
		Example: "  hpips cdn add https://cdn.example < token\n  hpips cdn publish film.mp4",
	}
	c.AddCommand(s.cdnAddCommand(), s.cdnListCommand(), s.cdnRemoveCommand(), s.cdnPublishCommand(), s.cdnWithdrawCommand())
	return c
}

// edges reads the gateways of this home.
func (s *shell) edges() (all []gateway.Edge, err error) {
	name := filepath.Join(s.home, edgesFile)
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		return nil, &job.Failure{Code: job.CodeUsage, Message: name + " cannot be read: " + err.Error(), Hint: "mend or remove it, and add the gateways again with hpips cdn add"}
	}
	return all, nil
}

// keep writes the gateways, readable by the home's owner alone, in one step.
func (s *shell) keep(all []gateway.Edge) error {
	text, err := json.MarshalIndent(append([]gateway.Edge{}, all...), "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.home, 0o700); err != nil {
		return cannotWrite(s.home, err)
	}
	name := filepath.Join(s.home, edgesFile)
	f, err := os.CreateTemp(s.home, edgesFile+".*")
	if err != nil {
		return cannotWrite(name, err)
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(cannotWrite(name, err), os.Remove(f.Name()))
	}
	return nil
}

func (s *shell) cdnAddCommand() *cobra.Command {
	from := "-"
	c := &cobra.Command{
		Use:   "add URL",
		Short: "Name a gateway that holds what this home publishes",
		Long: `Name a gateway that holds what this home publishes. Its token is read from the standard input, or from --token-file, never from the command line, which
other users of the PC can see. A gateway that is known gets the new token. Any service of the IPFS Pinning Service API that serves blocks at /ipfs/ works as well.`,
		Args:    exactly(1, "one URL"),
		Example: "  hpips cdn add https://cdn.example < token\n  hpips cdn add http://127.0.0.1:4713 --token-file ~/.hpips/pins.token",
		RunE: func(c *cobra.Command, args []string) error {
			token, err := s.readToken(from)
			if err != nil {
				return err
			}
			e := gateway.Edge{URL: strings.TrimSuffix(args[0], "/"), Token: token}
			if err := e.Check(); err != nil {
				return usage(c, err.Error())
			}
			all, err := s.edges()
			if err != nil {
				return err
			}
			all = append(slices.DeleteFunc(all, func(k gateway.Edge) bool { return k.URL == e.URL }), e)
			if err := s.keep(all); err != nil {
				return err
			}
			return s.show(map[string]any{"url": e.URL, "gateways": len(all)}, e.URL, func(w io.Writer) { fmt.Fprintf(w, "%s\tgateway %d of this home\n", e.URL, len(all)) })
		},
	}
	c.Flags().StringVar(&from, "token-file", from, "file with the token; - is the standard input")
	return c
}

func (s *shell) readToken(from string) (string, error) {
	var in io.Reader = s.in
	if from != "-" {
		f, err := os.Open(from)
		if err != nil {
			return "", cannotRead(from, err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxToken))
	if err != nil {
		return "", cannotRead(from, err)
	}
	return string(bytes.TrimSpace(text)), nil
}

func (s *shell) cdnListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "The gateways that hold what this home publishes", Args: noArgs, Example: "  hpips cdn ls",
		RunE: func(*cobra.Command, []string) error {
			all, err := s.edges()
			if err != nil {
				return err
			}
			urls := []string{}
			for _, e := range all {
				urls = append(urls, e.URL)
			}
			return s.show(map[string]any{"gateways": urls}, strings.Join(urls, "\n"), func(w io.Writer) {
				for _, u := range urls {
					fmt.Fprintln(w, u)
				}
			})
		},
	}
}

func (s *shell) cdnRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rm URL", Short: "Forget a gateway; what it holds it goes on holding", Args: exactly(1, "one URL"), Example: "  hpips cdn rm https://cdn.example",
		RunE: func(_ *cobra.Command, args []string) error {
			all, err := s.edges()
			if err != nil {
				return err
			}
			left := slices.DeleteFunc(slices.Clone(all), func(e gateway.Edge) bool { return e.URL == strings.TrimSuffix(args[0], "/") })
			if len(left) == len(all) {
				return &job.Failure{Code: job.CodeNotFound, Message: args[0] + " is none of this home's gateways", Hint: "see hpips cdn ls"}
			}
			if err := s.keep(left); err != nil {
				return err
			}
			return s.show(map[string]any{"gateways": len(left)}, "", func(w io.Writer) { fmt.Fprintf(w, "left: %s\n", job.Several(len(left), "gateway")) })
		},
	}
}

// published is what cdn publish tells.
type published struct {
	client.Entry
	URL      string     `json:"url"` // ipfs://CID with the gateways as hints
	Gateways []servedBy `json:"gateways"`
}

// servedBy is one gateway's part in it.
type servedBy struct {
	URL    string `json:"url"` // of the content there
	Serves bool   `json:"serves"`
	Error  string `json:"error,omitempty"`
}

func (s *shell) cdnPublishCommand() *cobra.Command {
	copies, timeout, price := 1, 10*time.Minute, ""
	c := &cobra.Command{
		Use:   "publish PATH",
		Short: "Bring a file or folder into the store and have this home's gateways hold and serve it",
		Long: `Bring a file or folder into the node's store, have each of this home's gateways (hpips cdn ls) fetch and hold it, and check that each serves it.
It prints one URL, ipfs://CID?gateway=…&gateway=…, that sdk/js reads from all of them at once, and where each serves it. Publishing again asks only
those that do not hold it yet.

With --price the gateways give it for that price alone, which each of them is paid itself, into its owner's account: hpips get CID --gateway URL --pay MAX buys it. Publishing again
with another price, or without, changes that.`,
		Args:    exactly(1, "one path"),
		Example: "  hpips cdn publish film.mp4\n  hpips cdn publish site/ --copies 2 -o json\n  hpips cdn publish film.mp4 --price 0.001/MiB",
		RunE: func(c *cobra.Command, args []string) error {
			rate, err := rateOf(price)
			if err != nil {
				return err
			}
			edges, err := s.edges()
			if err != nil {
				return err
			}
			switch {
			case len(edges) == 0:
				return &job.Failure{Code: job.CodeUsage, Message: "this home knows no gateway that would hold it", Hint: "name one: hpips cdn add https://cdn.example < token"}
			case copies < 1 || copies > len(edges):
				return usage(c, fmt.Sprintf("--copies %d: this home knows %s", copies, job.Several(len(edges), "gateway")))
			case timeout <= 0:
				return usage(c, "--timeout is a time, such as 10m")
			}
			api, err := s.open()
			if err != nil {
				return err
			}
			defer api.Close()
			e, err := s.put(c.Context(), api, args[0])
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			told, err := publish(ctx, api, e, rate, edges)
			if err != nil {
				return err
			}
			return s.tellPublished(c.Context(), told, copies)
		},
	}
	c.Flags().IntVar(&copies, "copies", copies, "gateways that have to serve it, or it is a failure")
	c.Flags().DurationVar(&timeout, "timeout", timeout, "for the gateways to fetch it")
	c.Flags().StringVar(&price, "price", "", "HPIPS that the gateways ask for it, such as 0.001/MiB or 0.5/GiB (default: it is free)")
	return c
}

// rateOf reads a price: base units for a GiB.
func rateOf(price string) (uint64, error) {
	if price == "" {
		return 0, nil
	}
	text, unit, _ := strings.Cut(price, "/")
	times := map[string]money.Amount{"MiB": 1 << 10, "GiB": 1}[unit]
	a, err := money.Parse(text)
	if err != nil || times == 0 || a == 0 || a > 1000*money.Scale {
		return 0, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("--price %.64q is no price", price), Hint: "write HPIPS for a MiB or a GiB, 1000 at most: 0.001/MiB, 0.5/GiB"}
	}
	return uint64(a * times), nil
}

// publish has all edges hold an entry, at once.
func publish(ctx context.Context, api *client.Client, e client.Entry, rate uint64, edges []gateway.Edge) (published, error) {
	root, err := cid.Decode(e.CID)
	if err != nil {
		return published{}, err
	}
	st, err := api.Status(ctx)
	if err != nil {
		return published{}, err
	}
	var origins []multiaddr.Multiaddr
	for _, text := range st.Addresses {
		if a, err := multiaddr.NewMultiaddr(text); err == nil {
			origins = append(origins, a)
		}
	}
	told := published{Entry: e, Gateways: make([]servedBy, len(edges))}
	var waits sync.WaitGroup
	for i, edge := range edges {
		waits.Go(func() {
			err := edge.Hold(ctx, root, e.Name, rate, origins)
			if err == nil {
				err = edge.Serves(ctx, root, rate)
			}
			told.Gateways[i] = servedBy{URL: edge.At(root), Serves: err == nil}
			if err != nil {
				told.Gateways[i].Error = err.Error()
			}
		})
	}
	waits.Wait()
	hints := url.Values{}
	for i, g := range told.Gateways {
		if g.Serves {
			hints.Add("gateway", edges[i].URL)
		}
	}
	told.URL = "ipfs://" + e.CID
	if len(hints) > 0 {
		told.URL += "?" + hints.Encode()
	}
	return told, nil
}

// tellPublished shows the outcome; fewer gateways than wanted are a failure with the reasons of the others.
func (s *shell) tellPublished(ctx context.Context, told published, copies int) error {
	serving, why := 0, ""
	for _, g := range told.Gateways {
		if g.Serves {
			serving++
			continue
		}
		why = g.Error
		s.note("%s", g.Error)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if serving < copies {
		return &job.Failure{Code: job.CodeUnavailable, Message: fmt.Sprintf("%s is served by %d of %s: %s", told.CID, serving, job.Several(len(told.Gateways), "gateway"), why),
			Hint: "publish again to go on: a gateway has to reach this node, so join its pool or listen where it can dial"}
	}
	return s.show(told, told.URL, func(w io.Writer) {
		fmt.Fprintf(w, "%s\t%s\n", told.URL, bytesText(told.Size))
		for _, g := range told.Gateways {
			if g.Serves {
				fmt.Fprintf(w, "%s\tserved\n", g.URL)
			}
		}
	})
}

func (s *shell) cdnWithdrawCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "withdraw CID",
		Short: "Have this home's gateways let go of a content",
		Long: `Have this home's gateways let go of a content. Each frees its disk when it collects garbage next; until then, and from its memory, it may still serve it. The node's
own copy stays.`,
		Args: exactly(1, "one content address"), Example: "  hpips cdn withdraw bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",
		RunE: func(c *cobra.Command, args []string) error {
			root, err := cid.Decode(args[0])
			if err != nil {
				return usage(c, fmt.Sprintf("%q is no content address: %v", args[0], err))
			}
			edges, err := s.edges()
			if err != nil {
				return err
			}
			let := 0
			for _, e := range edges {
				n, failed := e.LetGo(c.Context(), root)
				if n > 0 {
					let++
				}
				err = errors.Join(err, failed)
			}
			if err != nil {
				return &job.Failure{Code: job.CodeUnavailable, Message: err.Error(), Hint: "withdraw it again when the gateway answers"}
			}
			return s.show(map[string]any{"cid": root.String(), "gateways": let}, "", func(w io.Writer) { fmt.Fprintf(w, "%s\tlet go of by %s\n", root, job.Several(let, "gateway")) })
		},
	}
}
