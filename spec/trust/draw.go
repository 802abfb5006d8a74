package trust

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

const auditPrefix = "hpips/audit/v1\x00"

// Drawn tells whether the index-th result under a redemption's root is checked. The seed is that of the first block with one that is at least two
// blocks after the redemption's: nobody knew it when the root was given. rate is in millionths.
func Drawn(seed, root [32]byte, index, rate uint64) bool {
	h := sha256.New()
	h.Write([]byte(auditPrefix))
	h.Write(seed[:])
	h.Write(root[:])
	h.Write(binary.BigEndian.AppendUint64(nil, index))
	lot, _ := bits.Mul64(binary.BigEndian.Uint64(h.Sum(nil)), Whole)
	return lot < rate
}
