package proof

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
)

// The limits of an entry.
const (
	MaxSegment  = 4096 // blocks of one
	MaxChainID  = 50   // the longest that CometBFT takes, in bytes
	addressSize = 36   // of a CIDv1 with SHA-256
	entryPrefix = "hpips/segment/v1\x00"
	codecRaw    = 0x55
	codecProto  = 0x70
	hashSHA256  = 0x12
	hashSize    = 0x20
	cidVersion  = 1
)

// ErrEntry is why something is no entry. A signature that is another's is ErrSignature.
var ErrEntry = errors.New("no entry of an archive's list")

// Entry is one of the list of the chain's archive: a segment of blocks, and the file that they make. Numbers begin with 1, and each entry goes on where the one before it ends.
type Entry struct {
	Number   uint64
	From, To int64  // heights of its first and its last block
	Address  []byte // CIDv1 of the file, of 36 bytes: raw or dag-pb, SHA-256
	Piece    Piece
}

// Check tells whether the fields are possible.
func (e Entry) Check() error {
	switch {
	case e.Number < 1 || e.From < 1 || e.To < e.From || e.To-e.From >= MaxSegment:
		return fmt.Errorf("proof: %w: number %d, blocks %d to %d", ErrEntry, e.Number, e.From, e.To)
	case e.Piece.Size < 1 || e.Piece.Size > MaxSize:
		return fmt.Errorf("proof: %w: %d bytes", ErrEntry, e.Piece.Size)
	case !IsAddress(e.Address):
		return fmt.Errorf("proof: %w: address %.40x", ErrEntry, e.Address)
	}
	return nil
}

// IsAddress tells whether bytes are a content address as the chain keeps them: a CIDv1 of 36 bytes, raw or dag-pb, SHA-256.
func IsAddress(a []byte) bool {
	return len(a) == addressSize && a[0] == cidVersion && (a[1] == codecRaw || a[1] == codecProto) && a[2] == hashSHA256 && a[3] == hashSize
}

// Same tells whether two entries say the same.
func (e Entry) Same(o Entry) bool {
	return e.Number == o.Number && e.From == o.From && e.To == o.To && string(e.Address) == string(o.Address) && e.Piece == o.Piece
}

// signed is what a node signs who says that it made the entry's file of the chain's blocks: the prefix, then chain, node, epoch, number, from, to, size, root, address; whole numbers in 8 bytes, the highest first, and the chain's ID with its
// length before it.
func (e Entry) signed(chain string, epoch uint64, node [32]byte) ([]byte, error) {
	if err := e.Check(); err != nil {
		return nil, err
	}
	if len(chain) < 1 || len(chain) > MaxChainID {
		return nil, fmt.Errorf("proof: %w: chain ID of %d bytes", ErrEntry, len(chain))
	}
	b := begun(entryPrefix, chain, node)
	for _, n := range []uint64{epoch, e.Number, uint64(e.From), uint64(e.To), e.Piece.Size} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return append(append(b, e.Piece.Root[:]...), e.Address...), nil
}

// Sign says by a node's key, in an epoch of the chain, that the node made this entry's file of its blocks.
func (e Entry) Sign(chain string, epoch uint64, secret ed25519.PrivateKey) ([]byte, error) {
	return sign(secret, func(node [32]byte) ([]byte, error) { return e.signed(chain, epoch, node) })
}

// CheckSigned checks a node's signature. ErrEntry means that there is nothing to sign, ErrSignature that it is not this node's.
func (e Entry) CheckSigned(chain string, epoch uint64, node [32]byte, signature []byte) error {
	b, err := e.signed(chain, epoch, node)
	if err != nil {
		return err
	}
	return check(node, b, signature)
}
