package sortition

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
)

// A chain whose committee does not come back goes on by hand: people agree on the nodes that sit on, the nodes of the last three committees
// sign the list, and each owner accepts it or does not. Nothing of this happens by itself.

// Limits of a restart list. A committee has 301 seats, three of them turn by a third each: 2,000 keys are plenty.
const (
	MaxRestartList = 512 << 10
	maxRestartKeys = 2000
)

// RestartGap is how far beyond the last block a restarted chain begins, so that no vote of before counts after, or the other way round.
const RestartGap = 1000

const restartPrefix = "hpips/restart/v1\n"

// What makes a list worthless.
var (
	// ErrOtherList is returned for two lists that do not say the same.
	ErrOtherList = errors.New("the lists are not the same")
	// ErrFewSignatures is returned for a list that not enough nodes have signed.
	ErrFewSignatures = errors.New("too few signatures")
)

// RestartList says from which state a halted chain goes on, and who sits then.
type RestartList struct {
	Chain      string          `cbor:"chain"`
	Height     int64           `cbor:"height"`  // of the last block
	AppHash    [32]byte        `cbor:"appHash"` // of the state after it
	Time       int64           `cbor:"time"`    // of the first block, in Unix seconds
	Genesis    [32]byte        `cbor:"genesis"` // SHA-256 of the genesis to go on from
	Seats      []Key           `cbor:"seats"`   // nodes, rising
	Signatures []NodeSignature `cbor:"signatures,omitempty"`
}

// NodeSignature is a node's word for a restart list.
type NodeSignature struct {
	Node      Key    `cbor:"node"`
	Signature []byte `cbor:"signature"`
}

// Bytes gives the list's canonical bytes, or says why it is none.
func (l RestartList) Bytes() ([]byte, error) { return write(l, "restart list", MaxRestartList) }

// ParseRestartList reads a list from exactly its canonical bytes. It checks no signature.
func ParseRestartList(b []byte) (RestartList, error) {
	return parse[RestartList](b, "restart list", MaxRestartList)
}

// Signed gives the bytes that each node signs.
func (l RestartList) Signed() ([]byte, error) {
	l.Signatures = nil
	return signed(restartPrefix, l.Bytes)
}

// Sign gives the list with one node's signature more.
func (l RestartList) Sign(secret ed25519.PrivateKey) (RestartList, error) {
	sig, err := sign(secret, l.Signed)
	if err != nil {
		return RestartList{}, err
	}
	by := NodeSignature{Key(secret[ed25519.PrivateKeySize-len(Key{}):]), sig}
	return l.Merge(RestartList{l.Chain, l.Height, l.AppHash, l.Time, l.Genesis, l.Seats, []NodeSignature{by}})
}

// Merge gives the list with the signatures of both, if both say the same.
func (l RestartList) Merge(other RestartList) (RestartList, error) {
	a, err := l.Signed()
	if err != nil {
		return RestartList{}, err
	}
	b, err := other.Signed()
	if err != nil {
		return RestartList{}, err
	}
	if !bytes.Equal(a, b) {
		return RestartList{}, fmt.Errorf("restart list: %w", ErrOtherList)
	}
	all := slices.Concat(l.Signatures, other.Signatures)
	slices.SortStableFunc(all, func(a, b NodeSignature) int { return bytes.Compare(a.Node[:], b.Node[:]) })
	l.Signatures = slices.CompactFunc(all, func(a, b NodeSignature) bool { return a.Node == b.Node })
	return l, nil
}

// Count checks every signature and names the voters who signed, rising. A list with one wrong signature counts for nothing; one of a node
// without a voice is none the worse.
func (l RestartList) Count(voters []Key) ([]Key, error) {
	b, err := l.Signed()
	if err != nil {
		return nil, err
	}
	var who []Key
	for _, s := range l.Signatures {
		if err := verify(s.Node, b, s.Signature); err != nil {
			return nil, fmt.Errorf("restart list: node %s: %w", s.Node, err)
		}
		if slices.Contains(voters, s.Node) {
			who = append(who, s.Node)
		}
	}
	return who, nil
}

// Check tells whether more than half of the voters signed.
func (l RestartList) Check(voters []Key) error {
	who, err := l.Count(voters)
	if err != nil {
		return err
	}
	if want := Most(len(voters)); len(who) < want {
		return fmt.Errorf("restart list: %w: %d of %d nodes signed, %d must", ErrFewSignatures, len(who), len(voters), want)
	}
	return nil
}

// Most is the least number that is more than half of n.
func Most(n int) int { return n/2 + 1 }

// First is the height of the first block of the restarted chain.
func (l RestartList) First() int64 { return l.Height + RestartGap }

func (l RestartList) possible() bool {
	if !chain(l.Chain) || l.Height < 1 || l.Height > 1<<62 || l.Time < 0 || l.Time > 1<<40 || len(l.Seats) == 0 ||
		len(l.Seats) > maxRestartKeys || len(l.Signatures) > maxRestartKeys {
		return false
	}
	for i := range l.Seats {
		if i > 0 && bytes.Compare(l.Seats[i-1][:], l.Seats[i][:]) >= 0 {
			return false
		}
	}
	for i, s := range l.Signatures {
		if len(s.Signature) != ed25519.SignatureSize || i > 0 && bytes.Compare(l.Signatures[i-1].Node[:], s.Node[:]) >= 0 {
			return false
		}
	}
	return true
}
