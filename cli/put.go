package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
)

func (s *shell) putCommand() *cobra.Command {
	var private bool
	var keyFile string
	c := &cobra.Command{
		Use:   "put PATH",
		Short: "Bring a file or folder into the store and print its content address",
		Long: `Bring a file or folder into the node's store and print its content address (CID). PATH - is the standard input.

Whoever has the address can read what is behind it. With --private it is sealed here first, and a key for it is made and printed once: only who has
address and key can read it, and whoever lost the key cannot. --key-out writes the key to a file instead.`,
		Args: exactly(1, "one path"),
		Example: `  hpips put photos/
  CID=$(hpips put -q prog.wasm)
  hpips put --private letters/ --key-out letters.key`,
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("key-out") {
				if err := keyPlace(keyFile, args[0], private); err != nil {
					return err
				}
			}
			api, err := s.open()
			if err != nil {
				return err
			}
			defer api.Close()
			if private {
				return s.putPrivate(c.Context(), api, args[0], keyFile)
			}
			var e client.Entry
			if args[0] == "-" {
				e, err = api.PutBytes(c.Context(), s.in)
			} else {
				e, err = s.put(c.Context(), api, args[0])
			}
			if err != nil {
				return err
			}
			return s.show(e, e.CID, func(w io.Writer) { fmt.Fprintf(w, "%s\t%s\t%s\n", e.CID, bytesText(e.Size), args[0]) })
		},
	}
	c.Flags().BoolVar(&private, "private", false, "seal it here before it goes in, with a key of its own")
	c.Flags().StringVar(&keyFile, "key-out", "", "write the key of --private to this new file instead of printing it")
	return c
}

// put brings one path into the store, with a bar.
func (s *shell) put(ctx context.Context, api *client.Client, name string) (client.Entry, error) {
	if _, err := os.Stat(name); err != nil {
		return client.Entry{}, cannotRead(name, err)
	}
	whole, err := filepath.Abs(name)
	if err != nil {
		return client.Entry{}, err
	}
	step, end := s.transferBar("put " + filepath.Base(whole))
	defer end()
	return api.Put(ctx, whole, step)
}

func cannotRead(name string, err error) *job.Failure {
	if errors.Is(err, fs.ErrNotExist) {
		return &job.Failure{Code: job.CodeNotFound, Message: name + " is not there", Hint: "check the path"}
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%s cannot be read: %v", name, err), Hint: "check its permissions"}
}

func (s *shell) getCommand() *cobra.Command {
	var target, keyFile, from, most string
	var force bool
	timeout := time.Minute
	c := &cobra.Command{
		Use:   "get CID [-O PATH]",
		Short: "Write content to this PC",
		Long:  "Write the file or folder behind a content address (CID, ipfs://CID/path) to PATH; -O - writes a file to the standard output.\n\nWhat was put with --private comes out with --key FILE, a file whose first line is the key; - reads it from the standard input.\n\nWith --gateway it comes from somebody's gateway over HTTP instead of from connected nodes, every byte checked here. What has a price there is paid for as it comes, out of a deposit that the node makes (hpips wallet allow): MAX HPIPS at most. What is not used returns.",
		Args:  exactly(1, "one content address"),
		Example: `  hpips get bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi -O photos
  hpips get ipfs://bafy…/readme.txt -O -
  hpips get bafk… --key letters.key -O letters
  hpips get bafy… --gateway https://cdn.example --pay 0.5 -O film.mp4`,
		RunE: func(c *cobra.Command, args []string) error {
			buy, err := buying(c, from, most, target)
			if err != nil {
				return err
			}
			api, err := s.open()
			if err != nil {
				return err
			}
			defer api.Close()
			if target == "" {
				target = path.Base(strings.TrimSuffix(args[0], "/"))
			}
			if c.Flags().Changed("key") {
				return s.getPrivate(c.Context(), api, args[0], target, keyFile, force, timeout)
			}
			if target == "-" {
				return s.cat(c.Context(), api, args[0], timeout)
			}
			buy.Idle, buy.Force = max(1, int(timeout/time.Second)), force
			e, err := s.export(c.Context(), api, args[0], target, buy)
			if err != nil {
				return err
			}
			told := struct {
				client.Entry
				Path string `json:"path"`
			}{e, absolute(target, workingDir())}
			return s.show(told, e.CID, func(w io.Writer) {
				fmt.Fprintf(w, "%s\t%s\t%s", e.CID, bytesText(e.Size), target)
				if e.Paid > 0 {
					fmt.Fprintf(w, "\t%s HPIPS paid", e.Paid)
				}
				fmt.Fprintln(w)
			})
		},
	}
	c.Flags().StringVarP(&target, "out", "O", "", "where to write it (default ./CID); - is the standard output")
	c.Flags().BoolVar(&force, "force", false, "replace what is there")
	c.Flags().StringVar(&keyFile, "key", "", "file with the key of a private file, - for standard input")
	c.Flags().DurationVar(&timeout, "timeout", timeout, "give up after so long without progress")
	c.Flags().StringVar(&from, "gateway", "", "URL of a gateway to get it from, such as https://cdn.example")
	c.Flags().StringVar(&most, "pay", "", "HPIPS that it may cost at the gateway (default: nothing)")
	return c
}

// buying reads from which gateway something is to come, and what it may cost there.
func buying(c *cobra.Command, from, most, target string) (to client.Export, err error) {
	switch {
	case from == "" && most == "":
		return to, nil
	case from == "":
		return to, usage(c, "--pay is for what comes from a gateway: name it with --gateway")
	case target == "-" || c.Flags().Changed("key"):
		return to, usage(c, "--gateway writes to a path as it comes: get it so first, then again without --gateway, to standard output or with its key")
	}
	to.Gateway = from
	if most != "" {
		to.Pay, err = parseAmount(most)
	}
	return to, err
}

// get writes content to target and returns its entry.
func (s *shell) get(ctx context.Context, api *client.Client, address, target string, force bool, idle time.Duration) (client.Entry, error) {
	return s.export(ctx, api, address, target, client.Export{Force: force, Idle: max(1, int(idle/time.Second))})
}

// export is get with where it is to come from.
func (s *shell) export(ctx context.Context, api *client.Client, address, target string, to client.Export) (client.Entry, error) {
	whole, err := filepath.Abs(target)
	if err != nil {
		return client.Entry{}, err
	}
	if err := free(target, to.Force); err != nil {
		return client.Entry{}, err
	}
	step, end := s.transferBar("get " + filepath.Base(whole))
	defer end()
	to.Path, to.Force = whole, true
	return api.Get(ctx, address, to, step)
}

// free reports, as a failure, that something stands at target: anything but an empty folder.
func free(target string, force bool) error {
	fi, err := os.Lstat(target)
	if force || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return cannotRead(target, err)
	}
	if fi.IsDir() {
		if names, err := os.ReadDir(target); err == nil && len(names) == 0 {
			return nil
		}
	}
	return &job.Failure{Code: job.CodeUsage, Message: target + " exists already", Hint: "choose another place, or replace it with --force"}
}

// cat copies a file of the store to the standard output, which then has no room for an object.
func (s *shell) cat(ctx context.Context, api *client.Client, address string, idle time.Duration) error {
	if s.formal() {
		return s.bothWantOutput()
	}
	r, err := api.Read(ctx, address, idle)
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.Copy(s.out, r); err != nil {
		return notWhole(address, err)
	}
	return nil
}

// notWhole is told of content whose bytes ended before they should: its holders went away, or the node did.
func notWhole(address string, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return &job.Failure{Code: job.CodeUnavailable, Message: address + ": its bytes stopped coming before the end", Hint: "see whether a node that has it is up (hpips node peers), and try again"}
	}
	return fmt.Errorf("get %s: %w", address, err)
}

func (s *shell) bothWantOutput() *job.Failure {
	return &job.Failure{Code: job.CodeUsage, Message: "-O - and -o " + s.output.format + " both want standard output", Hint: "write to a path with -O PATH, or leave -o " + s.output.format + " out"}
}

func (s *shell) lsCommand() *cobra.Command {
	timeout := time.Minute
	c := &cobra.Command{
		Use:     "ls CID",
		Short:   "What a content address leads to",
		Args:    exactly(1, "one content address"),
		Example: "  hpips ls bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",
		RunE: func(c *cobra.Command, args []string) error {
			api, err := s.open()
			if err != nil {
				return err
			}
			defer api.Close()
			l, err := api.List(c.Context(), args[0], timeout)
			if err != nil {
				return err
			}
			rows := l.Entries
			if l.Kind != "directory" {
				rows = []client.Entry{l.Entry}
			}
			return s.show(l, listed(rows), func(w io.Writer) {
				for _, e := range rows {
					size, name := bytesText(e.Size), e.Name
					if e.Kind == "directory" {
						name += "/"
						if e.Size == 0 { // or not all of it is here
							size = "-"
						}
					}
					fmt.Fprintf(w, "%s\t%s\t%s\n", e.CID, size, name)
				}
			})
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", timeout, "give up after so long without progress")
	return c
}

func listed(rows []client.Entry) string {
	ids := make([]string, len(rows))
	for i, e := range rows {
		ids[i] = e.CID
	}
	return strings.Join(ids, "\n")
}
