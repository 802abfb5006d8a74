package sortition

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Every use has its own prefix, which ends in a zero byte, so that what was computed for one use is worthless for another.
const (
	genesisUse  = "hpips/genesis/v1\x00"
	seedUse     = "hpips/seed/v1\x00"
	drawUse     = "hpips/draw/v1\x00"
	pointUse    = "hpips/point/v1\x00"
	observerUse = "hpips/observer/v1\x00"
	pickUse     = "hpips/pick/v1\x00"
)

// Genesis is the seed before a chain's first block. Everybody knows it, so nothing is drawn from it.
func Genesis(chain string) Seed { return sha256.Sum256(text([]byte(genesisUse), chain)) }

// SeedAlpha is what the proposer of the block at height proves, given the seed before that block.
func SeedAlpha(chain string, height int64, before Seed) []byte {
	return append(number(text([]byte(seedUse), chain), uint64(height)), before[:]...)
}

// Extend gives the seed after a block whose proposer proved b.
func (s Seed) Extend(b Beta) Seed {
	return sha256.Sum256(append(append([]byte(seedUse), s[:]...), b[:]...))
}

// DrawAlpha is what a ticket proves to learn its output in the draw of an epoch, given that epoch's draw seed.
func DrawAlpha(chain string, epoch uint64, draw Seed) []byte {
	return append(number(text([]byte(drawUse), chain), epoch), draw[:]...)
}

// text appends the length of s and s, so that no two lists of fields give the same bytes.
func text(b []byte, s string) []byte { return append(number(b, uint64(len(s))), s...) }

// number appends n as 8 bytes, the highest first.
func number(b []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(b, n) }

// A seed travels as the first transaction of its block. Its first byte is zero, with which no transaction of a user can begin.
const (
	seedMagic   = "\x00hps"
	seedVersion = 1
	// SeedTxSize is the size of a seed transaction in bytes.
	SeedTxSize = len(seedMagic) + 1 + len(Proof{})
)

// SeedTx writes the transaction that carries a seed's proof.
func SeedTx(p Proof) []byte {
	return append(append([]byte(seedMagic), seedVersion), p[:]...)
}

var errSeedTx = errors.New("seed transaction is malformed")

// ParseSeedTx reads a seed transaction. The second result says whether tx is meant as one, that is, begins as one does;
// with an error it is then malformed, and without it tx is somebody else's.
func ParseSeedTx(tx []byte) (Proof, bool, error) {
	if len(tx) < len(seedMagic) || string(tx[:len(seedMagic)]) != seedMagic {
		return Proof{}, false, nil
	}
	if len(tx) != SeedTxSize || tx[len(seedMagic)] != seedVersion {
		return Proof{}, true, fmt.Errorf("%w: %d bytes", errSeedTx, len(tx))
	}
	return Proof(tx[len(seedMagic)+1:]), true, nil
}

// Carries tells whether a block must carry a seed; a block that must not may not. It is given the block's transactions, the seed's own not
// counted, its pieces of evidence, and whether the block before carried one (false before the first block).
//
// A block that holds something carries one. One that holds nothing follows its predecessor: after a seed comes the quiet block that
// only proves the state the seed left; after a quiet block the next empty one is a heartbeat.
func Carries(txs int, misbehaviour int, previousCarried bool) bool {
	return txs > 0 || misbehaviour > 0 || !previousCarried
}
