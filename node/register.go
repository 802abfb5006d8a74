package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hpips/hpips/api/client"
	"github.com/hpips/hpips/ledger"
	"github.com/hpips/hpips/spec/job"
	"github.com/hpips/hpips/spec/sortition"
)

// spendKeyFile holds the node's own account, in hex: it pays for errands of the owner, and loses no more than the owner allowed it a day.
const spendKeyFile = "spend.key"

// carriesPerDay is how many newcomers one node brings in; the chain refuses more, and their fees would be lost.
const carriesPerDay = 3

// LoadSpendKey reads the spending key of a home, or makes one.
func LoadSpendKey(home string) (*ledger.Secret, error) {
	raw, err := spendSecret(home)
	if err != nil {
		return nil, err
	}
	return ledger.KeySigner(raw)
}

// spendSecret reads the 32 bytes of a home's spending key, or makes them.
func spendSecret(home string) ([]byte, error) {
	file := filepath.Join(home, "keys", spendKeyFile)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		raw := make([]byte, 32)
		_, _ = rand.Read(raw) // never fails since Go 1.24
		text, err = []byte(hex.EncodeToString(raw)+"\n"), os.MkdirAll(filepath.Dir(file), 0o700)
		if err == nil {
			err = writeWhole(file, text)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("spending key: %w", err)
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err == nil {
		if _, err = ledger.KeySigner(raw); err == nil {
			return raw, nil
		}
	}
	return nil, &job.Failure{Code: job.CodeUsage, Message: fmt.Sprintf("the key %s is damaged", file), Hint: "delete it to get a new one, and allow that one to spend: hpips wallet allow"}
}

// Enrol signs a registration with the keys that it names. The owner's signature is left to the wallet.
func (k ChainKeys) Enrol(chain, owner string, height int64) (client.Enrolment, error) {
	var e client.Enrolment
	w := sortition.Registration{Chain: chain, Owner: owner, Height: height, Node: public(k.Node), Consensus: public(k.Consensus), VRF: public(k.VRF)}
	var err error
	if e.Word, err = w.Bytes(); err != nil {
		return e, err
	}
	if e.Signed, err = w.Signed(); err != nil {
		return e, err
	}
	if e.Node, err = w.Sign(k.Node); err != nil {
		return e, err
	}
	if e.Consensus, err = w.Sign(k.Consensus); err != nil {
		return e, err
	}
	proof, err := w.Prove(k.VRF)
	e.VRF = proof[:]
	return e, err
}

func public(secret []byte) sortition.Key { return sortition.Key(secret[32:]) }

// registration is what the owner signs to register the node.
func (c *chaining) registration(ctx context.Context, owner string) (client.Enrolment, error) {
	if err := ledger.CheckAddress(owner); err != nil {
		return client.Enrolment{}, err
	}
	h, err := onChain{c}.Head(ctx, public(c.keys.Node))
	if err != nil || h.CatchingUp {
		return client.Enrolment{}, errNotYet
	}
	e, err := c.keys.Enrol(h.Chain, owner, max(1, h.Height-1)) // who brings it in may not have the newest block yet
	if err != nil {
		return e, fmt.Errorf("registration: %w", err)
	}
	return e, nil
}

var errNotYet = &job.Failure{Code: job.CodeUnavailable, Message: "this node is not at the head of its chain yet", Hint: "wait a moment; hpips chain status tells how far it is"}

// enrol has a registration brought in: by a node that this one joined, by any other of the chain, or by this one, if it is registered itself.
func (c *chaining) enrol(ctx context.Context, e client.Enrolment) (client.Carried, error) {
	w, err := sortition.ParseRegistration(e.Word)
	if err != nil || len(e.Owner) == 0 {
		return client.Carried{}, &job.Failure{Code: job.CodeUsage, Message: "this is no registration that its owner has signed", Hint: "hpips chain register makes one"}
	}
	var refusals []error
	if w.Node == public(c.keys.Node) { // not only a matter of taste: a node that is not registered may carry nobody
		for _, p := range append(c.joined(), c.others()...) {
			a, err := askChain(ctx, c.host, p, chainAsk{What: askCarry, Carry: &e})
			if err == nil && a.Tx != "" {
				return client.Carried{Tx: a.Tx}, nil
			}
			refusals = append(refusals, fmt.Errorf("%s: %w", short(p), err))
			if len(refusals) == 8 {
				break
			}
		}
	}
	tx, err := c.carry(ctx, e)
	if err == nil {
		return client.Carried{Tx: tx}, nil
	}
	return client.Carried{}, &job.Failure{Code: job.CodeUnavailable, Message: fmt.Sprintf("no node of the chain carries this registration: %v", errors.Join(append(refusals, err)...)),
		Hint: "join a node that is registered and ask its owner to allow its spending key: hpips wallet allow"}
}

func short(p peer.ID) string { s := p.String(); return s[max(0, len(s)-8):] }

// carry brings a newcomer in, in the name of this node's owner and at its cost, a few a day.
func (c *chaining) carry(ctx context.Context, e client.Enrolment) (string, error) {
	life := c.running()
	h, err := onChain{c}.Head(ctx, public(c.keys.Node))
	switch {
	case life == nil || err != nil || h.CatchingUp:
		return "", errNotYet
	case !h.Place.Registered:
		return "", errors.New("this node is not registered itself")
	}
	w, err := sortition.ParseRegistration(e.Word)
	if err != nil {
		return "", err
	}
	proof, err := sortition.ProofOf(e.VRF)
	if err != nil {
		return "", err
	}
	if err := errors.Join(w.Check(e.Node, e.Consensus, proof), w.CheckHeight(h.Height)); err != nil {
		return "", err
	}
	if w.Chain != h.Chain {
		return "", fmt.Errorf("it is for the chain %.50q", w.Chain)
	}
	undo, err := c.carried.take(e.Word, time.Now())
	if err != nil {
		return "", err
	}
	m := ledger.Register(h.Place.Owner, e.Word, ledger.Signatures{Node: e.Node, Consensus: e.Consensus, VRF: e.VRF, OwnerKey: e.OwnerKey, Owner: e.Owner})
	order, err := ledger.Errand(c.spend, h.Place.Owner, m)
	if err != nil {
		undo()
		return "", err
	}
	r, err := life.ledger.Deliver(ctx, order)
	if err != nil {
		undo()
		return "", err
	}
	c.log.Info("A newcomer was brought in", "node", w.Node, "owner", w.Owner, "tx", r.Hash)
	return r.Hash, nil
}

// carried counts whom this node brought in during the last day.
type carried struct {
	mu   sync.Mutex
	list []carriage
}

type carriage struct {
	word []byte
	at   time.Time
}

// take counts one more; undo is for one that failed before it cost anything.
func (c *carried) take(word []byte, now time.Time) (undo func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.list) > 0 && now.Sub(c.list[0].at) >= 24*time.Hour {
		c.list = c.list[1:]
	}
	for _, old := range c.list {
		if bytes.Equal(old.word, word) {
			return nil, errors.New("this registration was carried already")
		}
	}
	if len(c.list) >= carriesPerDay {
		return nil, fmt.Errorf("this node has brought in %d today: ask another, or tomorrow", carriesPerDay)
	}
	c.list = append(c.list, carriage{word, now})
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for i, one := range c.list {
			if bytes.Equal(one.word, word) {
				c.list = append(c.list[:i], c.list[i+1:]...)
				return
			}
		}
	}, nil
}

// Registration is what the owner of this home's node signs to register it on the chain.
func (h *House) Registration(ctx context.Context, owner string) (client.Enrolment, error) {
	c, err := h.chained()
	if err != nil {
		return client.Enrolment{}, err
	}
	return c.registration(ctx, owner)
}

// Register brings a signed registration in.
func (h *House) Register(ctx context.Context, e client.Enrolment) (client.Carried, error) {
	c, err := h.chained()
	if err != nil {
		return client.Carried{}, err
	}
	return c.enrol(ctx, e)
}

// StepDown gives up the seats of this house; it is asked for before this PC sleeps.
func (h *House) StepDown(ctx context.Context) error {
	if _, err := h.chained(); err != nil {
		return err
	}
	var errs []error
	for _, m := range h.members {
		if m.chain != nil && m.chain.running() != nil {
			errs = append(errs, m.chain.seat.StepDown(ctx))
		}
	}
	return errors.Join(errs...)
}

// chained is the first node's part in the chain.
func (h *House) chained() (*chaining, error) {
	c := h.first().chain
	if c == nil || c.running() == nil {
		return nil, &job.Failure{Code: job.CodeUnavailable, Message: "this node follows no chain", Hint: chainRemedy}
	}
	return c, nil
}

// chainRemedy says how a node comes to a chain.
const chainRemedy = "join a node that follows one (hpips up --join ADDRESS), name its genesis (--genesis FILE), or found one: hpips chain init"
