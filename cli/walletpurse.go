package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/node"
	"github.com/hpips/hpips/spec/job"
)

// purse is what the commands about the chain and its accounts share: where the chain answers, where the keys lie, and how to ask.
type purse struct {
	*shell
	chain      string // URL of a chain node's RPC
	keyring    string // store of keys; "": the one that this home uses
	passphrase string // file with the passphrase of the store
	from       string // account that signs
	yes        bool
}

func (p *purse) chainFlag(c *cobra.Command) {
	c.PersistentFlags().StringVar(&p.chain, "chain", "", "URL of a chain node, such as http://127.0.0.1:26657 (default: the one of the home)")
}

func (p *purse) keyFlags(c *cobra.Command) {
	c.PersistentFlags().StringVar(&p.keyring, "keyring", "", "where the keys are: os, file or test (default: where this home has them; for the first one os where there is one)")
	c.PersistentFlags().StringVar(&p.passphrase, "passphrase-file", "", "file with the passphrase of the keys, - for standard input (default: ask)")
}

// signFlags are those of a command that sends something.
func (p *purse) signFlags(c *cobra.Command) {
	c.Flags().StringVar(&p.from, "from", "", "account that signs (default: the only one)")
	c.Flags().BoolVarP(&p.yes, "yes", "y", false, "do not ask")
}

// window opens the chain that the command is about.
func (p *purse) window() (*ledger.Ledger, error) {
	address := p.chain
	if address == "" {
		text, err := os.ReadFile(filepath.Join(p.home, node.ChainAddressFile))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, p.noChain()
		}
		if err != nil {
			return nil, err
		}
		address = strings.TrimSpace(string(text))
	}
	return ledger.Open(address, ledger.Default())
}

// toFollow says how a node comes to a chain.
const toFollow = "join a node that follows one (hpips up --join), or found one (hpips chain init)"

// noChain tells why the home has no chain node: its node does not run, follows no chain, or has not started one yet.
func (p *purse) noChain() error {
	const other = ", or name another node's chain with --chain URL"
	f := &job.Failure{Code: job.CodeUnavailable, Message: "no node runs on " + p.home, Hint: "start it in another terminal, hpips up --home " + p.home + other}
	api, err := p.open()
	if err != nil {
		return f
	}
	defer api.Close()
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	switch st, err := api.Status(ctx); {
	case err != nil:
	case st.Chain == nil:
		f.Message, f.Hint = "the node of "+p.home+" follows no chain", toFollow+other
	default:
		f.Message, f.Hint = "the chain node of "+p.home+" does not run yet", "wait a moment; hpips node logs tells what keeps it"
	}
	return f
}

// keys opens the ring of this home.
func (p *purse) keys() (*ledger.Keys, error) {
	dir := filepath.Join(p.home, "keys")
	return ledger.OpenKeys(dir, storeOf(dir, p.keyring, ledger.HasSystem()), func(fresh bool) (string, error) {
		return p.secret(p.passphrase, "--passphrase-file", "passphrase of this wallet", fresh)
	})
}

// storeOf is the store of keys that a folder has or gets: the one that was named, the one that is there, that of the operating system if it has one, or files.
func storeOf(dir, named string, system bool) string {
	if named != "" {
		return named
	}
	for _, kind := range []string{ledger.StoreFile, ledger.StoreTest} {
		if all, err := os.ReadDir(filepath.Join(dir, "keyring-"+kind)); err == nil && len(all) > 0 {
			return kind
		}
	}
	if system {
		return ledger.StoreOS
	}
	return ledger.StoreFile
}

// signer gives the account that signs.
func (p *purse) signer() (*ledger.Holder, error) {
	ring, err := p.keys()
	if err != nil {
		return nil, err
	}
	return ring.Signer(p.from)
}

const shortest = 8 // letters of a passphrase

// secret reads a secret from a file, or from the terminal without showing it. fresh: it is a new one, which is asked for twice.
func (p *purse) secret(file, flag, what string, fresh bool) (string, error) {
	var text string
	var err error
	switch {
	case file == "-":
		text, err = firstLine(p.in)
	case file != "":
		text, err = lineOf(file)
	default:
		text, err = p.prompt(flag, what, fresh)
	}
	if err != nil {
		return "", err
	}
	if fresh && len(text) < shortest {
		return "", &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("the %s is too short", what), Hint: fmt.Sprintf("it has %d letters at least", shortest)}
	}
	return text, nil
}

func (p *purse) prompt(flag, what string, fresh bool) (string, error) {
	if !terminal(p.in) {
		return "", &job.Failure{Code: job.CodeUsage, Message: "nobody is there to ask for the " + what, Hint: fmt.Sprintf("name a file that holds it with %s FILE, - for standard input", flag)}
	}
	text, err := p.unseen(what)
	if err != nil || !fresh {
		return text, err
	}
	again, err := p.unseen("once more")
	if err == nil && again != text {
		err = &job.Failure{Code: job.CodeUsage, Message: "these are two different passphrases", Hint: "try again"}
	}
	return text, err
}

// unseen asks on the terminal for what is not shown there.
func (s *shell) unseen(what string) (string, error) {
	fmt.Fprintf(s.err, "%s: ", what)
	b, err := term.ReadPassword(int(s.in.Fd()))
	fmt.Fprintln(s.err)
	return string(b), err
}

// longestSecret is more than a passphrase or the words of an account need.
const longestSecret = 4096

func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, longestSecret)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", err
	}
	return strings.TrimRight(line, "\r\n"), nil
}

func lineOf(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", &job.Failure{Code: job.CodeNotFound, Message: err.Error(), Hint: "name a file whose first line is the secret"}
	}
	defer f.Close()
	return firstLine(f)
}

// confirm shows what will be done and asks. Who cannot be asked must have said --yes.
func (p *purse) confirm(c *cobra.Command, show func(w io.Writer)) error {
	if p.yes {
		return nil
	}
	if err := p.mayAsk(c); err != nil {
		return err
	}
	show(p.err)
	fmt.Fprint(p.err, "Do it? [y/N] ")
	agreed, err := agrees(p.in)
	if err == nil && !agreed {
		err = &job.Failure{Code: job.CodeCancelled, Message: "nothing was done"}
	}
	return err
}

// agrees reads an answer. Whatever is not y or yes is a no, an end without an answer too.
func agrees(r io.Reader) (bool, error) {
	line, err := firstLine(r)
	a := strings.ToLower(strings.TrimSpace(line))
	return err == nil && (a == "y" || a == "yes"), err
}

// mayAsk refuses at once what could not be confirmed later.
func (p *purse) mayAsk(c *cobra.Command) error {
	if p.yes || terminal(p.in) {
		return nil
	}
	return &job.Failure{Code: job.CodeUsage, Message: c.CommandPath() + " asks before it does anything, and nobody is there to ask", Hint: "say --yes to do it unasked"}
}

// writeNew writes a file that must not be there yet, for its owner's eyes alone.
func writeNew(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return &job.Failure{Code: job.CodeUsage, Message: name + " is there already", Hint: "choose another name, or move it away"}
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}
