// Package keeptest makes the people who keep pieces in tests of the chain's modules, and the world that those modules ask about: days, auditors, who takes part.
// It promises that a name always has the same key, and a number the same file.
// It leaves modules, segments and deals to the tests: it knows none of them, so that each may use it.
package keeptest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/cosmos/cosmos-sdk/codec/address"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"github.com/hpips/hpips/spec/placement"
	"github.com/hpips/hpips/spec/sortition"
)

// ChainID is the name of the chain.
const ChainID = "hpips-test-1"

// Bech32 writes addresses.
var Bech32 = address.NewBech32Codec("hpips")

// Node is somebody's, by the name of its owner.
type Node string

// Secret signs for it.
func (n Node) Secret() ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(string(n) + "'s node"))
	return ed25519.NewKeyFromSeed(seed[:])
}

// Key is the node's.
func (n Node) Key() sortition.Key {
	return sortition.Key(n.Secret().Public().(ed25519.PublicKey))
}

// Sender is the address of its key.
func (n Node) Sender() string {
	key := n.Key()
	sum := sha256.Sum256(key[:])
	text, err := Bech32.BytesToString(sum[:20])
	if err != nil {
		panic(err)
	}
	return text
}

// File is the bytes of the piece with a number: 700 for each.
func File(number uint64) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < int(number)*700; i++ { //nolint:gosec // a test's small number
		sum := sha256.Sum256(fmt.Appendf(nil, "%d %d", number, i))
		b.Write(sum[:])
	}
	return b.Bytes()
}

// World is what keepers of pieces ask of the chain's other modules.
type World struct {
	Nodes    []Node
	Retired  map[Node]bool
	Auditors []Node

	Today   uint64
	Current uint64 // epoch

	Kept  map[sortition.Key]uint64 // MiB of the archive that were proven
	Fined map[sortition.Key]uint64 // uhpips

	Looked int // so many times it was asked for a node's place
}

// New is the world of some nodes on day 10.
func New(nodes ...Node) World {
	return World{Nodes: nodes, Today: 10, Retired: map[Node]bool{}, Kept: map[sortition.Key]uint64{}, Fined: map[sortition.Key]uint64{}}
}

// Day is today.
func (w *World) Day(context.Context) uint64 { return w.Today }

// EpochNumber is that of the epoch.
func (w *World) EpochNumber(context.Context) uint64 { return w.Current }

// Slot is one for each day.
func (w *World) Slot(context.Context) (uint64, error) { return w.Today, nil }

// Limited tells that an owner counts once, and a network any number of times.
func (w *World) Limited(context.Context) (owner, network bool, err error) { return true, false, nil }

// Observers are the same auditors for everybody.
func (w *World) Observers(context.Context, sortition.Key, uint64) (keys []sortition.Key, needed uint32, err error) {
	for _, n := range w.Auditors {
		keys = append(keys, n.Key())
	}
	return keys, sortition.Needed(5, 3, uint32(len(keys))), nil //nolint:gosec // a few
}

// Placed gives a node that takes part. What its name has before a stroke is its owner's: alice/2 is alice's second.
func (w *World) Placed(_ context.Context, key sortition.Key) (placement.Node, bool, error) {
	w.Looked++
	for _, n := range w.Nodes {
		if n.Key() == key && !w.Retired[n] {
			owner, _, _ := strings.Cut(string(n), "/")
			return placement.Node{ID: key, Point: placement.NodePoint([32]byte{1}, key), Owner: owner, Weight: 1}, true, nil
		}
	}
	return placement.Node{}, false, nil
}

// Stored counts what was proven.
func (w *World) Stored(_ context.Context, key sortition.Key, mib uint64) error {
	w.Kept[key] += mib
	return nil
}

// Fine counts what a bond lost.
func (w *World) Fine(_ context.Context, key sortition.Key, amount uint64) error {
	w.Fined[key] += amount
	return nil
}

// Cached runs something as a transaction does: what it wrote is lost with an error.
func Cached(ctx sdk.Context, do func(ctx sdk.Context) error) error {
	ctx, write := ctx.CacheContext()
	err := do(ctx)
	if err == nil {
		write()
	}
	return err
}
