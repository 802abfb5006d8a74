package ledger

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/money"
)

// Refused is a question or a transaction that the chain refused, with the code that the refusing module registered for the reason.
type Refused struct {
	Codespace string `json:"codespace"`
	Code      uint32 `json:"code"`
	Log       string `json:"log"`
}

func (r *Refused) Error() string { return r.failure().Message }

// Unwrap gives the words for people.
func (r *Refused) Unwrap() error { return r.failure() }

func refused(codespace string, code uint32, log string) error { return &Refused{codespace, code, log} }

// Is tells one registered error from others.
func (r *Refused) is(codespace string, code uint32) bool {
	return r.Codespace == codespace && r.Code == code
}

// The codes of the SDK that the ledger acts on: package errors of the SDK, root codespace "sdk".
const (
	root          = "sdk"
	codeFunds     = 5
	codeNoAccount = 9
	codeGas       = 11
	codeFee       = 13
	codeFull      = 20
	codeLarge     = 21
	codeNoKey     = 22
	codeSequence  = 32
	codeNotFound  = 38
	codeUnauth    = 4
	codeHeight    = 26
	codeRequest   = 18
)

var (
	expected  = regexp.MustCompile(`account sequence mismatch, expected (\d+), got (\d+)`)
	available = regexp.MustCompile(`(\d+)([a-zA-Z][\w/:.-]*) is smaller than (\d+)[a-zA-Z]`)
	smallest  = regexp.MustCompile(`(\d+)uhpips, the least is (\d+)`)
	traced    = regexp.MustCompile(`(?s)\s*\[[^\]]*\.go:\d+\].*$`)
	carried   = regexp.MustCompile(`rpc error: code = \w+ desc = `)
	indexed   = regexp.MustCompile(`(?s)^failed to execute message; message (?:index: \d+|.*[>}"])\s*: `) // the index, or, of an errand, all that it says
)

// expects reads the sequence that the chain waits for out of a refusal.
func (r *Refused) expects() (uint64, bool) {
	m := expected.FindStringSubmatch(r.Log)
	if !r.is(root, codeSequence) || m == nil {
		return 0, false
	}
	n, err := strconv.ParseUint(m[1], 10, 64)
	return n, err == nil
}

// failure puts a refusal into a sentence and a hint.
func (r *Refused) failure() *job.Failure {
	f := &job.Failure{Code: job.CodeUsage, Message: "the chain refused: " + r.reason()}
	if strings.Contains(r.Log, "node is not registered") { // a question's answer comes without the module's own code
		f.Code, f.Message, f.Hint = job.CodeNotFound, "the chain does not know this node", "a node is known once another has carried its registration in; see hpips chain ticket"
		return f
	}
	if strings.Contains(r.Log, "lease is not known") { // likewise
		f.Code, f.Message, f.Hint = job.CodeNotFound, "the chain does not know this lease", "it was never opened, or it ended and everything of it is paid"
		return f
	}
	if m := available.FindStringSubmatch(r.Log); r.is(root, codeFunds) || m != nil && strings.Contains(r.Log, "insufficient funds") { // modules that wrap it lose the code
		f.Code, f.Message, f.Hint = job.CodeFunds, "not enough HPIPS: "+r.shortage(), "see hpips wallet balances, or send less: the fee comes on top"
		if m != nil && m[2] != money.Denom {
			f.Message = fmt.Sprintf("not enough %s: %s are there, %s are wanted", m[2], m[1], m[3])
		}
		return f
	}
	switch r.Codespace {
	case root:
	case "exchange":
		return r.traded(f)
	case "reward":
		return r.rewarded(f)
	default:
		return f
	}
	switch r.Code {
	case codeNoAccount, codeNotFound, codeNoKey:
		f.Code, f.Hint = job.CodeNotFound, "an account exists once it has received something"
	case codeGas:
		f.Hint = "the state changed meanwhile; try again"
	case codeFee:
		f.Code, f.Hint = job.CodeFunds, "the node asks for a higher fee; try again"
	case codeFull:
		f.Code, f.Hint = job.CodeUnavailable, "the node has too many transactions waiting; try again in a moment"
	case codeLarge:
		f.Hint = "a transaction has 128 KiB at most; split it"
	case codeSequence:
		f.Code, f.Hint = job.CodeUnavailable, "another program sends from this account at the same time; try again"
	case codeUnauth:
		f.Hint = "the wrong account signed, or the node is on another chain; see hpips chain status"
	case codeHeight:
		f.Code, f.Hint = job.CodeNotFound, "the node does not keep that height; a node with --archive does"
		if strings.Contains(r.Log, "wait for first block") {
			f.Code, f.Message, f.Hint = job.CodeUnavailable, "the node has no block of the chain yet", "wait a moment; hpips chain status tells how far it is"
		}
	case codeRequest:
		if strings.Contains(r.Log, "version mismatch") || strings.Contains(r.Log, "does not exist") {
			f.Code, f.Hint = job.CodeNotFound, "the node does not keep that height; a node with --archive does"
		}
	}
	return f
}

// The codes of the exchange and of the reward that people meet: errors.go of both modules.
const (
	codePrice   = 8
	codeAmount  = 9
	codeLeast   = 10
	codeMany    = 11
	codeUnknown = 12
	codeOwner   = 13
	codeNothing = 7
)

// traded puts a refusal of the exchange into words.
func (r *Refused) traded(f *job.Failure) *job.Failure {
	what, _, _ := strings.Cut(r.reason(), ":") // the number of an order, where it is about one
	switch r.Code {
	case codePrice:
		f.Message, f.Hint = "this limit is not possible", "a limit is above 0 and has four digits besides zeros at most, such as 0.05 or 12.34"
	case codeAmount:
		f.Message, f.Hint = "this is no amount for an order", "name the HPIPS to buy or to sell, such as 10"
	case codeLeast:
		f.Message, f.Hint = "the order is too small", "name more HPIPS"
		if m := smallest.FindStringSubmatch(r.Log); m != nil {
			f.Message = fmt.Sprintf("the order is too small: it is for %s HPIPS, the least is %s", amountOf(m[1]), amountOf(m[2]))
		}
	case codeMany:
		f.Message, f.Hint = "the account has as many open orders as it may: "+what, "take one back with hpips exchange cancel, or trade with another account"
	case codeUnknown:
		f.Code, f.Message, f.Hint = job.CodeNotFound, "there is no open order "+what, "it was traded or taken back, or there never was one; hpips exchange book shows those that are open"
	case codeOwner:
		f.Message, f.Hint = "order "+what+" is somebody else's", "only its owner takes it back: name the account with --from"
	}
	return f
}

// rewarded puts a refusal of the reward into words.
func (r *Refused) rewarded(f *job.Failure) *job.Failure {
	if r.Code == codeNothing {
		f.Code, f.Message, f.Hint = job.CodeUnavailable, "there is nothing to claim yet",
			"the holders' reward flows in the course of the day after the one that brought it; REWARD of hpips wallet balances says how much there is"
	}
	return f
}

// reason is the log without the places in the code that some carry.
func (r *Refused) reason() string {
	text := carried.ReplaceAllString(traced.ReplaceAllString(strings.TrimSpace(r.Log), ""), "")
	for next := indexed.ReplaceAllString(text, ""); next != text; next = indexed.ReplaceAllString(text, "") { // an errand's is in that of the transaction
		text = next
	}
	if text == "" {
		text = fmt.Sprintf("code %d of %s", r.Code, r.Codespace)
	}
	if len(text) > 500 {
		text = text[:500] + "…"
	}
	return text
}

// shortage says what there is and what is wanted in HPIPS, where the log says it.
func (r *Refused) shortage() string {
	if m := available.FindStringSubmatch(r.Log); m != nil {
		return fmt.Sprintf("%s are there, %s are wanted", amountOf(m[1]), amountOf(m[3]))
	}
	return r.reason()
}

// ErrOpen is an outcome that is not known yet: the transaction may still land. Never send its like again before it is known.
var ErrOpen = errors.New("the outcome is not known yet")

// open tells about a transaction whose outcome is not known.
type open struct {
	hash string
	why  string
}

func (o *open) Error() string   { return o.failure().Message }
func (o *open) Unwrap() []error { return []error{ErrOpen, o.failure()} }
func (o *open) failure() *job.Failure {
	return &job.Failure{Code: job.CodeUnavailable, Message: fmt.Sprintf("transaction %s was handed in, but %s", o.hash, o.why), Hint: "it may still land: see hpips chain tx " + o.hash + " before sending again"}
}

// unreachable tells that the node does not answer, or hands on what ended ctx.
func (l *Ledger) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if strings.Contains(err.Error(), "node is catching up") { // just started, for instance
		return &job.Failure{Code: job.CodeUnavailable, Message: fmt.Sprintf("the chain node at %s is not at the chain's head yet", l.place), Hint: "wait a moment; hpips chain status tells how far it is"}
	}
	var cut *url.Error
	if !errors.As(err, &cut) { // the node answered, and refused
		return fmt.Errorf("the chain node at %s: %w", l.place, err)
	}
	return &job.Failure{Code: job.CodeUnavailable, Message: fmt.Sprintf("no chain node answers at %s: %s", l.place, last(err)),
		Hint: "start one with hpips up, or name another with --chain URL"}
}

// last gives the innermost words of an error of the network.
func last(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 && strings.Contains(text, "dial tcp") {
		return text[i+2:]
	}
	return text
}
