// Package cosmjs drives a node by the library that ordinary Cosmos wallets are made of, so that what they do works here too.
// It promises a transfer, look-ups, queries of our own modules and one of our messages signed as a Ledger signs it, against the real program.
// It leaves our own wallet to test/e2e and the rules of the chain to package chain.
package cosmjs

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/money"
	"github.com/hpips/hpips/test/e2e/pc"
)

// sight is what wallet.mjs saw.
type sight struct {
	Version, Guessed, Chain, Address, Balance, Received string
	Height, Seats, RestSeats                            int
	RestBalance, Metadata, Left                         string
	Send                                                struct {
		Code, Height int
		Hash, Gas    string
	}
	Found  struct{ Height, Code, Events int }
	Search []string
	Burn   struct {
		Code int
		Log  string
	}
	Wrong any
}

// Alice runs a node. Bob's wallet is written in JavaScript: from the twelve or twenty-four words of his account he gets the same address as
// here, sends money to carol, finds the transfer, reads the committee, and burns a coin with a signature such as a Ledger gives.
func TestOrdinaryWallet(t *testing.T) {
	install(t)
	alice := pc.New(t, program(t), "alice", "--dev")
	alice.Up(t)
	st := alice.Await(t, "makes blocks", func(st client.Status) bool { return st.Chain != nil && st.Chain.Height > 0 })
	window, err := ledger.Open("http://"+st.Chain.RPC, ledger.Default())
	must(t, err)
	defer window.Close()
	bob, words := account(t, "bob")
	carol, _ := account(t, "carol")
	fund(t, window, alice.Home, bob, 10*money.Scale)

	saw := wallet(t, map[string]string{"rpc": "http://" + st.Chain.RPC, "rest": "http://" + st.Chain.REST, "words": words, "to": carol})
	check(t, "chain", saw.Chain, st.Chain.ID)
	check(t, "client that cosmjs guesses for CometBFT "+saw.Version, saw.Guessed, "Tendermint37Client")
	check(t, "address of the words", saw.Address, bob)
	check(t, "balance", saw.Balance, "10000000")
	check(t, "code of the transfer", saw.Send.Code, 0)
	check(t, "received", saw.Received, "2500000")
	check(t, "height by hash", saw.Found.Height, saw.Send.Height)
	check(t, "code by hash", saw.Found.Code, 0)
	check(t, "transfers by hash: the fee and the money", saw.Found.Events, 2)
	if !slices.Equal(saw.Search, []string{saw.Send.Hash}) {
		t.Errorf("search finds %v, want %s", saw.Search, saw.Send.Hash)
	}
	check(t, "seats by gRPC", saw.Seats, 1)
	check(t, "seats by REST", saw.RestSeats, 1)
	check(t, "balance by REST", saw.RestBalance, "7499000")
	check(t, "name of the money", saw.Metadata, "HPIPS")
	check(t, "code of the burn ("+saw.Burn.Log+")", saw.Burn.Code, 0)
	check(t, "code of a burn signed under another name: unauthorized", saw.Wrong, any(float64(4)))
	check(t, "left", saw.Left, "6498000")

	supply, err := window.Supply(t.Context())
	must(t, err)
	check(t, "burned", supply.Burned, money.Amount(money.Scale))
}

// wallet runs the script. What it gets goes by standard input: words are a secret.
func wallet(t *testing.T, with map[string]string) (saw sight) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	input, err := json.Marshal(with)
	must(t, err)
	cmd := exec.CommandContext(ctx, "node", "wallet.mjs")
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("wallet.mjs: %v\n%s", err, &errs)
	}
	t.Logf("%s", &out)
	must(t, json.Unmarshal(out.Bytes(), &saw))
	return saw
}

// account makes one with words of its own.
func account(t *testing.T, name string) (address, words string) {
	t.Helper()
	ring, err := ledger.OpenKeys(t.TempDir(), ledger.StoreTest, nil)
	must(t, err)
	a, words, err := ring.New(name)
	must(t, err)
	return a.Address, words
}

// fund sends from the account that a development chain gives to whoever develops.
func fund(t *testing.T, window *ledger.Ledger, home, to string, a money.Amount) {
	t.Helper()
	ring, err := ledger.OpenKeys(filepath.Join(home, "keys"), ledger.StoreTest, nil)
	must(t, err)
	dev, err := ring.Signer("dev")
	must(t, err)
	pay, err := ledger.Pay(dev.Address(), to, a)
	must(t, err)
	_, err = window.Send(t.Context(), dev, pay)
	must(t, err)
}

// install puts the packages that package-lock.json names, and no others, into node_modules, once.
func install(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v (make setup installs what is missing)", err)
		}
	}
	const mark = "node_modules/.package-lock.json"
	lock, err := os.Stat("package-lock.json")
	must(t, err)
	if done, err := os.Stat(mark); err == nil && done.ModTime().After(lock.ModTime()) {
		return
	}
	ctx, stop := context.WithTimeout(t.Context(), 4*time.Minute)
	defer stop()
	if out, err := exec.CommandContext(ctx, "npm", "ci", "--no-fund", "--no-audit", "--loglevel=error").CombinedOutput(); err != nil {
		t.Fatalf("npm ci in test/cosmjs: %v\n%s", err, out)
	}
	now := time.Now()
	must(t, os.Chtimes(mark, now, now))
}

// program is hpips: the one that HPIPS_BIN names, or one built for this test.
func program(t *testing.T) string {
	t.Helper()
	if given := os.Getenv("HPIPS_BIN"); given != "" {
		return given
	}
	to := filepath.Join(t.TempDir(), "hpips")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", to, "github.com/hpips/hpips/cmd/hpips")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build hpips: %v\n%s", err, out)
	}
	return to
}

func check[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
