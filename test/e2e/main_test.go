// Package e2e tests hpips as its users meet it: the real program, real processes, real files; all that the command line promises.
// It promises a test for every line of the main job's issue that a user can type, and for every bad input that it names.
// It leaves faults that come by chance to test/chaos, and the words of commands that need no network to package cli.
package e2e

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hpips/hpips/test/e2e/pc"
)

var soak = flag.Bool("soak", false, "run the full counts")

// built is what all tests use: the program under test and the programs that it runs.
var built struct{ hpips, dir string }

// modules are programs of a few bytes, written by hand; each is a module with one function of type ()→() unless it says other.
var modules = map[string]string{
	"trap":    module("_start", "\x03\x00\x00\x0b"),                 // unreachable
	"spin":    module("_start", "\x07\x00\x03\x40\x0c\x00\x0b\x0b"), // loop br 0 end
	"nothing": module("_start", "\x02\x00\x0b"),
	"nostart": module("_stark", "\x02\x00\x0b"),
}

// module gives the bytes of a WASM module that exports its only function, whose body (with its size) is given, under a name of six letters.
func module(name, body string) string {
	section := func(id byte, text string) string { return string([]byte{id, byte(len(text))}) + text }
	return "\x00asm\x01\x00\x00\x00" + section(1, "\x01\x60\x00\x00") + section(3, "\x01\x00") +
		section(7, "\x01\x06"+name+"\x00\x00") + section(10, "\x01"+body)
}

func TestMain(m *testing.M) {
	testscript.Main(runner{m}, nil)
}

// runner builds what the tests need, runs them, and takes it away again.
type runner struct{ m *testing.M }

func (r runner) Run() int {
	flag.Parse()
	dir, err := os.MkdirTemp("", "hpips-e2e-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = prepare(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return r.m.Run()
}

func prepare(dir string) (err error) {
	root := filepath.Join("..", "..")
	built.dir = dir
	if built.hpips, err = pc.Program(root, dir); err != nil {
		return err
	}
	for _, pkg := range []string{"test/e2e/testdata/guest", "examples/hello"} {
		if _, err = pc.Guest(root, dir, pkg); err != nil {
			return err
		}
	}
	for name, text := range modules {
		if err := os.WriteFile(wasm(name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	// What a link editor broke: a good beginning, and then half a module.
	whole, err := os.ReadFile(wasm("guest"))
	if err != nil {
		return err
	}
	return os.WriteFile(wasm("half"), whole[:len(whole)/2], 0o644)
}

// wasm gives the file of a program.
func wasm(name string) string { return filepath.Join(built.dir, name+".wasm") }

// alice has a PC that is a network of its own.
func alice(t *testing.T, flags ...string) *pc.PC {
	t.Helper()
	p := pc.New(t, built.hpips, "alice", flags...)
	p.Up(t)
	p.Ready(t, 0)
	return p
}
