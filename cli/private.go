package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/store"
	"github.com/hpips/hpips/store/seal"
)

// privately is a private file that went in. Its key is told this once, or stands in a file.
type privately struct {
	client.Entry
	Key     string `json:"key,omitempty"`
	KeyFile string `json:"keyFile,omitempty"`
}

// putPrivate seals a path, or the standard input, on its way to the node. The node sees neither the key nor what is inside.
func (s *shell) putPrivate(ctx context.Context, api *client.Client, name, keyFile string) error {
	if s.quiet && keyFile == "" {
		return &job.Failure{Code: job.CodeUsage, Message: "-q prints the address alone, and the key would be lost", Hint: "name a file for the key with --key-out FILE"}
	}
	if name != "-" {
		if _, err := os.Stat(name); err != nil {
			return cannotRead(name, err)
		}
	}
	key, err := seal.NewKey()
	if err != nil {
		return err
	}
	told := privately{Key: key.Text()}
	if keyFile != "" {
		told.Key, told.KeyFile = "", absolute(keyFile, workingDir())
		if err := writeKey(keyFile, key); err != nil { // first: what went in without its key would be lost
			return err
		}
	}
	kind, e, err := s.sealing(ctx, api, name, key)
	if err != nil {
		if keyFile != "" {
			err = errors.Join(err, os.Remove(keyFile)) // it opens nothing
		}
		return err
	}
	told.Entry = e
	told.Kind, told.Name = string(kind), ""
	if name != "-" {
		told.Name = filepath.Base(absolute(name, workingDir()))
	}
	return s.show(told, e.CID, func(w io.Writer) {
		fmt.Fprintf(w, "%s\t%s\t%s\n", e.CID, bytesText(e.Size), name)
		if keyFile != "" {
			fmt.Fprintf(w, "\nThe key is in %s. Whoever has it and the address reads this; without it nobody does, and it is nowhere else.\n", keyFile)
			return
		}
		fmt.Fprintf(w, "\n%s\n\nThis key is shown once. Whoever has it and the address reads this, by hpips get CID --key FILE; without it nobody does, and it is nowhere else.\n", told.Key)
	})
}

// sealing is the way of the bytes: read, sealed, sent.
func (s *shell) sealing(ctx context.Context, api *client.Client, name string, key seal.Key) (seal.Kind, client.Entry, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	out, in := io.Pipe()
	step, end := s.transferBar("put " + filepath.Base(name))
	defer end()
	type outcome struct {
		kind seal.Kind
		err  error
	}
	ended := make(chan outcome, 1)
	go func() {
		var o outcome
		if name == "-" {
			o.kind, o.err = seal.File, sealStream(in, key, s.in)
		} else {
			o.kind, o.err = seal.Pack(ctx, in, key, name, counted(step))
		}
		ended <- o
		in.CloseWithError(o.err) // without an error this is the end
	}()
	e, err := api.PutBytes(ctx, out)
	out.Close() // what was not taken ends here
	var o outcome
	if err != nil && name == "-" {
		select { // nobody waits for somebody who types
		case o = <-ended:
		default:
		}
	} else {
		if err != nil {
			stop()
		}
		o = <-ended
	}
	switch {
	case o.err != nil && !errors.Is(o.err, io.ErrClosedPipe) && !errors.Is(o.err, context.Canceled):
		return "", e, unread(name, o.err)
	case err != nil:
		return "", e, err
	}
	return o.kind, e, o.err
}

func sealStream(to io.Writer, key seal.Key, from io.Reader) error {
	w, err := seal.New(to, key, seal.File)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, from); err != nil {
		return err
	}
	return w.Close()
}

func counted(step func(client.Progress)) func(int64) {
	if step == nil {
		return nil
	}
	return func(n int64) { step(client.Progress{Bytes: n}) }
}

// unread gives what the sealing found the words for people.
func unread(name string, err error) error {
	f := &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("%s was not put into the store: %v", name, err)}
	var p *fs.PathError
	switch {
	case errors.As(err, &p):
		return cannotRead(p.Path, err)
	case errors.Is(err, store.ErrUnsafe):
		f.Hint = "private folders hold files, folders and links within them: leave the rest out"
	default:
		f.Hint = "try again when nothing writes to it"
	}
	return f
}

// keyPlace refuses a place for a key that would lose it, or hand it on with what it opens.
func keyPlace(file, name string, private bool) error {
	f := &job.Failure{Code: job.CodeUsage}
	switch {
	case !private:
		f.Message, f.Hint = "--key-out is for --private: what is not private has no key", "add --private, or leave --key-out out"
	case file == "" || file == "-":
		f.Message, f.Hint = "--key-out wants a file", "name a new file for the key, or leave --key-out out to have it printed"
	case within(file, name):
		f.Message, f.Hint = fmt.Sprintf("%s lies in %s, and the key would go into the store with it", file, name), "choose another place for it"
	default:
		return nil
	}
	return f
}

// within tells whether a new file would lie in a folder, however both are named.
func within(file, folder string) bool {
	if folder == "-" {
		return false
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(absolute(file, workingDir())))
	top, lost := filepath.EvalSymlinks(absolute(folder, workingDir()))
	if err != nil || lost != nil { // told when the key is written, or the folder read
		return false
	}
	below, err := filepath.Rel(top, parent)
	return err == nil && filepath.IsLocal(below)
}

// writeKey makes a file for a key that its owner alone can read; one that is there is not touched.
func writeKey(file string, key seal.Key) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return &job.Failure{Code: job.CodeUsage, Message: file + " exists already", Hint: "each private file has a key of its own: choose another place for it"}
	}
	if err != nil {
		return &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("the key cannot be written: %v", err), Hint: "choose another place for it"}
	}
	_, err = io.WriteString(f, key.Text()+"\n")
	return errors.Join(err, f.Sync(), f.Close())
}

// readKey takes a key from a file, or from the standard input where that is -: typed unseen on a terminal.
func (s *shell) readKey(file string) (seal.Key, error) {
	if file == "" { // a variable that is not set: without this the sealed bytes would come out
		return seal.Key{}, &job.Failure{Code: job.CodeUsage, Message: "--key wants a file", Hint: "name the file with the key, or - for standard input"}
	}
	if strings.HasPrefix(strings.ToUpper(file), "AGE-SECRET-KEY-") {
		return seal.Key{}, &job.Failure{Code: job.CodeUsage, Message: "--key takes a file, not the key itself: other programs of this PC can read arguments, and the shell keeps them",
			Hint: "write the key into a file, or give it on standard input with --key -"}
	}
	text, err := s.keyText(file)
	if err != nil {
		return seal.Key{}, err
	}
	key, err := seal.ParseKey(text)
	if err != nil {
		return seal.Key{}, &job.Failure{Code: job.CodeUsage, Message: "the first line of " + file + " is no key of a private file", Hint: "a key is one line, AGE-SECRET-KEY-1 and 58 more characters, as hpips put --private printed it"}
	}
	return key, nil
}

func (s *shell) keyText(file string) (string, error) {
	switch {
	case file != "-":
		return lineOf(file)
	case terminal(s.in):
		return s.unseen("key")
	}
	return firstLine(s.in)
}

// getPrivate opens a private file on its way from the node, to a path or to the standard output.
func (s *shell) getPrivate(ctx context.Context, api *client.Client, address, target, keyFile string, force bool, idle time.Duration) error {
	toOut := target == "-"
	if toOut && s.formal() {
		return s.bothWantOutput()
	}
	key, err := s.readKey(keyFile)
	if err != nil {
		return err
	}
	if !toOut {
		if err := free(target, force); err != nil {
			return err
		}
	}
	what, err := api.List(ctx, address, idle)
	if err != nil {
		return err
	}
	if what.Kind == string(seal.Folder) {
		return unopened(address, seal.ErrPlain)
	}
	r, err := api.Read(ctx, address, idle)
	if err != nil {
		return err
	}
	defer r.Close()
	open, err := seal.Open(r, key)
	if err != nil {
		return unopened(address, err)
	}
	if toOut {
		if open.Kind == seal.Folder {
			return &job.Failure{Code: job.CodeUsage, Message: address + " is a private folder", Hint: "write it to a path with -O PATH"}
		}
		if _, err := io.Copy(s.out, open); err != nil {
			return unopened(address, err)
		}
		return nil
	}
	step, end := s.transferBar("get " + filepath.Base(target))
	defer end()
	size, err := seal.Unpack(ctx, open, target, force || isFolder(target), counted(step)) // free has looked: a folder there is empty
	if err != nil {
		return unopened(address, err)
	}
	told := struct {
		client.Entry
		Path string `json:"path"`
	}{client.Entry{CID: what.CID, Name: filepath.Base(target), Size: size, Kind: string(open.Kind)}, absolute(target, workingDir())}
	return s.show(told, what.CID, func(w io.Writer) { fmt.Fprintf(w, "%s\t%s\t%s\n", what.CID, bytesText(size), target) })
}

func isFolder(target string) bool {
	fi, err := os.Lstat(target)
	return err == nil && fi.IsDir()
}

// unopened gives what opening found the words for people.
func unopened(address string, err error) error {
	f := &job.Failure{Code: job.CodeUsage}
	switch {
	case errors.Is(err, seal.ErrPlain):
		f.Message, f.Hint = address+" is not a private file", "get it without --key"
	case errors.Is(err, seal.ErrKey):
		f.Message, f.Hint = "this key does not open "+address, "each private file has a key of its own, which hpips put --private printed"
	case errors.Is(err, seal.ErrChanged):
		f.Code, f.Message, f.Hint = job.CodeInternal, address+" was changed or cut off before it came into the store", "ask whoever gave you the address for another one"
	case errors.Is(err, store.ErrUnsafe), errors.Is(err, store.ErrTooLarge), errors.Is(err, store.ErrExists), errors.Is(err, fs.ErrExist), errors.Is(err, fs.ErrPermission):
		f.Message = fmt.Sprintf("%s was not written: %v", address, err)
	default:
		return notWhole(address, err)
	}
	return f
}
